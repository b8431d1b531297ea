"""Pinned memory, pins in place, memory of a device: what they are, what is refused and why, and what runs out."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
from place import IS_CUDA, IS_STANDIN, host, needs_cuda, torch_on_device

import dlbridge

without_driver = pytest.mark.skipif(IS_CUDA, reason="there is a driver")


@without_driver
def test_without_a_driver_the_reason_is_said() -> None:
    array = np.zeros(3)
    calls: list[Any] = [
        lambda: dlbridge.empty(3, "float32", pinned=True),
        lambda: dlbridge.empty_pinned(3, "float32"),
        lambda: dlbridge.zeros_pinned(3, "float32"),
        lambda: dlbridge.empty_like_pinned(array),
    ]
    words = r"libcuda.*call dlbridge\.empty\(shape, dtype\) without pinned"
    for call in calls:
        with pytest.raises(dlbridge.UnavailableError, match=words):
            call()
    for ask in (dlbridge.memory_stats, dlbridge.trim):
        with pytest.raises(dlbridge.UnavailableError, match="libcuda"):
            ask(pinned=True)
        with pytest.raises(dlbridge.UnavailableError, match="there is no pool on cuda:0: libcuda"):
            ask(device="cuda")
    with pytest.raises(dlbridge.UnavailableError, match="cannot be pinned: libcuda"):
        dlbridge.pin(array)
    for stream in (1, 0, 12345):
        with pytest.raises(dlbridge.UnavailableError, match="there are no streams on cuda:0 here: libcuda"):
            dlbridge.Stream.from_native(stream)
    assert dlbridge.devices() == ["cpu"]
    assert not dlbridge.cuda_available()


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(dlbridge.InvalidArgumentError, match="leave out one of the two"):
        dlbridge.trim(device="cuda:0", pinned=True)
    assert dlbridge.memory_stats(device="cpu:0") == dlbridge.memory_stats()
    with pytest.raises(dlbridge.InvalidArgumentError, match="leave out one of the two"):
        dlbridge.empty(3, "float32", device="cuda:0", pinned=True)
    frozen = np.zeros(3)
    frozen.flags.writeable = False
    with pytest.raises(dlbridge.ReadOnlyError, match="pin a copy"):
        dlbridge.pin(frozen)
    with pytest.raises(dlbridge.ReadOnlyError, match=r"pin a copy \(dlbridge\.copy\(x\)\)"):
        dlbridge.pin(b"abc")
    with pytest.raises(dlbridge.InvalidArgumentError, match="no memory to pin"):
        dlbridge.pin(np.zeros((3, 0)))
    with pytest.raises(dlbridge.NotAnArrayError):
        dlbridge.pin(3)
    for stream in ("main", None, True, object()):
        with pytest.raises(dlbridge.InvalidArgumentError, match="a stream of torch or CuPy"):
            dlbridge.Stream.from_native(stream)
    with pytest.raises(dlbridge.InvalidArgumentError, match="-1"):
        dlbridge.Stream.from_native(-1)
    with pytest.raises(dlbridge.UnsupportedError, match="cpu has no native streams"):
        dlbridge.Stream.from_native(7, "cpu")
    with pytest.raises(dlbridge.UnsupportedError, match="cpu has no native streams"):
        dlbridge.Stream("cpu").__cuda_stream__()


@needs_cuda
def test_pinned_tensors_are_made_filled_and_moved(device: str) -> None:
    array = np.arange(12.0).reshape(3, 4)
    for pinned in (
        dlbridge.empty((3, 4), "float64", pinned=True),
        dlbridge.empty_pinned((3, 4), "float64"),
        dlbridge.empty_like_pinned(array.T[::-1].T),
        dlbridge.zeros_pinned((3, 4), np.float64),
        dlbridge.zeros((3, 4), "float64", pinned=True),
        dlbridge.zeros_like(array, pinned=True),
        dlbridge.empty_like(dlbridge.empty_pinned((3, 4), "float64")),
        dlbridge.empty_like(array.astype("int8"), dtype="float64", device="cpu", pinned=True),
    ):
        assert (pinned.device, pinned.shape, pinned.dtype) == ("cuda_host", (3, 4), "float64")
        assert pinned.data_ptr % 256 == 0
        assert not pinned.readonly
        pinned.numpy()[:] = array
        assert host(dlbridge.upload(pinned, device)).tolist() == array.tolist()
    for _ in range(2):
        zeros = dlbridge.zeros_pinned(100_000, "uint8").numpy()
        assert not zeros.any()
        zeros[:] = 1
        del zeros
    assert dlbridge.empty_pinned((3, 0), "float32").data_ptr == 0


@needs_cuda
def test_memory_of_the_device_is_made(device: str) -> None:
    tensor = dlbridge.empty((3, 1000), "float32", device=device)
    assert (tensor.device, tensor.data_ptr % 256) == (device, 0)
    assert dlbridge.empty_like(tensor).device == device
    for zeros in (dlbridge.zeros((3, 1000), "float32", device=device), dlbridge.zeros_like(tensor)):
        assert zeros.device == device
        assert not dlbridge.download(zeros).result().numpy().any()
    assert dlbridge.zeros_like(tensor, device="cpu").device == "cpu"
    with pytest.raises(dlbridge.UnsupportedError, match="download"):
        tensor.numpy()
    stream = dlbridge.Stream(device)
    assert stream.device == device


@needs_cuda
def test_each_place_has_a_pool_of_its_own_that_gives_back(device: str) -> None:
    size = 5 << 20
    for where in ({"device": device}, {"pinned": True}):
        dlbridge.trim(**where)
        before = dlbridge.memory_stats(**where)
        tensor = dlbridge.empty(size, "uint8", **where)
        assert dlbridge.memory_stats(**where).asked - before.asked == size
        assert dlbridge.memory_stats(**where).held - before.held == size, "exact sizes, not powers of two"
        del tensor
        assert dlbridge.memory_stats(**where).cached == size
        again = dlbridge.empty(size, "uint8", **where)
        assert dlbridge.memory_stats(**where).hits - before.hits == 1
        del again
        assert dlbridge.trim(**where) == size
        assert dlbridge.memory_stats(**where).cached == 0
        dlbridge.memory_limit(0, **where)
        dlbridge.empty(size, "uint8", **where)
        assert dlbridge.memory_stats(**where).cached == 0
        dlbridge.memory_limit(1 << 40, **where)


@needs_cuda
def test_an_array_is_pinned_in_place_and_kept(device: str) -> None:
    array = np.arange(100_000, dtype=np.float32)
    address = array.ctypes.data
    pin = dlbridge.pin(array)
    assert pin.nbytes == array.nbytes
    with pin as inside:
        assert inside is array
        with dlbridge.pin(array[10:20]), dlbridge.pin(array.reshape(100, 1000)[::-1, ::2]):
            assert host(dlbridge.upload(array, device)).sum() == array.sum()
    assert array.ctypes.data == address
    pin.release()
    pin.release()
    pin = dlbridge.pin(array)
    del array, inside  # the pin has it
    gc.collect()
    del pin


@needs_cuda
def test_pinning_what_is_pinned_counts_and_half_of_it_is_refused(standin: Any) -> None:
    pinned = dlbridge.zeros_pinned(100_000, "uint8")
    with dlbridge.pin(pinned) as inside, dlbridge.pin(pinned[5:]):
        assert inside is pinned
    assert not pinned.numpy().any()
    array = np.zeros(100_000, np.uint8)
    with dlbridge.pin(array[40_000:]), pytest.raises(dlbridge.InvalidArgumentError, match="a part of it"):
        dlbridge.pin(array)


@needs_cuda
def test_unpinning_waits_for_copies(device: str) -> None:
    for _ in range(20):
        array = np.random.default_rng().random(50_000)
        with dlbridge.pin(array):
            there = dlbridge.upload(array, device)
        array[:] = 0  # the block has waited
        assert host(there).sum() != 0


@needs_cuda
def test_out_of_memory_is_an_error_of_its_own_and_leaves_all_as_it_was(device: str) -> None:
    before = dlbridge.live_tensors()
    for make in (
        lambda: dlbridge.empty(1 << 45, "uint8", device=device),
        lambda: dlbridge.empty_pinned(1 << 45, "uint8"),
    ):
        with pytest.raises(MemoryError) as refused:
            make()
        assert isinstance(refused.value, dlbridge.OutOfMemoryError)
        assert "35184372088832 bytes" in str(refused.value)
        assert "CUDA_ERROR" in str(refused.value) or "OUT_OF_MEMORY" in str(refused.value).upper()
    assert dlbridge.live_tensors() == before
    assert host(dlbridge.upload(np.ones(3), device)).sum() == 3


@needs_cuda
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    for call in (lambda: dlbridge.upload(np.ones(3), "cuda:63"), lambda: dlbridge.Stream("cuda:63")):
        with pytest.raises(dlbridge.UnavailableError, match="cuda:63"):
            call()
    with pytest.raises(dlbridge.UnavailableError, match="cuda:63"):
        dlbridge.empty(3, "float32", device="cuda:63")


@needs_cuda
def test_other_devices_are_reached_and_others_streams_refused(device: str) -> None:
    others = [other for other in dlbridge.devices() if other.startswith("cuda") and other != device]
    there = dlbridge.upload(np.arange(1000.0), device)
    if not others:
        pytest.skip("UNAVAILABLE: a second CUDA device")
    before = dlbridge.memory_stats()
    moved = there.to(others[0])
    assert moved.device == others[0]
    assert host(moved).sum() == np.arange(1000.0).sum()
    assert dlbridge.memory_stats().device_copies - before.device_copies == 1
    with pytest.raises(dlbridge.UnsupportedError, match="a stream of cuda"):
        dlbridge.download(there, stream=dlbridge.Stream(others[0])).result()
    with pytest.raises(dlbridge.UnsupportedError, match="a stream of cpu cannot reach"):
        dlbridge.download(there, stream=dlbridge.Stream("cpu"))


@needs_cuda
def test_a_foreign_stream_is_one_order_with_ours(device: str) -> None:
    own = dlbridge.Stream(device)
    version, handle = own.__cuda_stream__()
    assert (version, handle > 2) == (0, True)

    class Other:
        def __cuda_stream__(self) -> tuple[int, int]:
            return 0, handle

    class Cupy:
        ptr, device_id = handle, int(device.partition(":")[2])

    for foreign in (handle, Other(), Cupy(), own, 0, 1, 2):
        stream = dlbridge.Stream.from_native(foreign, device)
        assert stream.device == device
        if foreign not in (0, 1, 2):
            assert stream.__cuda_stream__() == (0, handle)
        array = np.random.default_rng().random(20_000)
        there = dlbridge.upload(array, device, stream=stream)
        event = stream.record()
        event.wait(60)
        assert event.done()
        assert dlbridge.download(there, stream=stream).result(60).numpy().tolist() == array.tolist()
    assert dlbridge.Stream.from_native(Cupy()).device == device


@needs_cuda
def test_torch_streams_are_taken_and_torch_takes_ours(device: str) -> None:
    torch = torch_on_device()
    theirs = torch.cuda.Stream(device)
    stream = dlbridge.Stream.from_native(theirs)
    assert (stream.device, stream.__cuda_stream__()) == (device, (0, theirs.cuda_stream))
    own = dlbridge.Stream(device)  # torch does not keep it
    ours = torch.cuda.ExternalStream(own.__cuda_stream__()[1], device=device)
    array = np.random.default_rng().random(1_000_003)
    for on in (theirs, ours):
        for _ in range(50):
            with torch.cuda.stream(on):
                tensor = dlbridge.to_torch(array, device=device)
                assert (tensor * 2).sum().item() == pytest.approx(array.sum() * 2)


@needs_cuda
def test_cupy_is_on_the_same_memory(device: str) -> None:
    cupy = pytest.importorskip("cupy", reason="UNAVAILABLE: CuPy is not installed")
    array = np.arange(1000.0)
    there = dlbridge.upload(array, device)
    theirs = cupy.from_dlpack(there)
    assert theirs.data.ptr == there.data_ptr
    assert float(theirs.sum()) == array.sum()
    with cupy.cuda.Stream(non_blocking=True) as stream:
        made = cupy.arange(1_000_003, dtype=cupy.float64) * 3
        assert host(made).sum() == np.arange(1_000_003.0).sum() * 3
        assert dlbridge.Stream.from_native(stream).__cuda_stream__() == (0, stream.ptr)
    assert dlbridge.from_dlpack(made).data_ptr == made.data.ptr


@needs_cuda
def test_jax_is_on_the_same_memory(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    jax = pytest.importorskip("jax", reason="UNAVAILABLE: JAX is not installed")
    if IS_STANDIN or jax.default_backend() != "gpu":
        pytest.skip("UNAVAILABLE: a GPU that JAX can use")
    array = np.arange(1_000_003, dtype=np.float32)
    for _ in range(20):
        there = dlbridge.upload(array, device)
        theirs = jax.dlpack.from_dlpack(there)
        assert theirs.unsafe_buffer_pointer() == there.data_ptr
        del there  # what JAX has queued keeps it
        made = theirs * 2
        back = dlbridge.from_dlpack(made)
        assert (back.device, back.data_ptr) == (device, made.unsafe_buffer_pointer())
        np.testing.assert_array_equal(host(back), array * 2)


@needs_cuda
def test_torch_sees_pinned_memory_as_pinned_and_frees_nothing_early(device: str) -> None:
    torch = torch_on_device()
    pinned = dlbridge.empty_pinned((1000, 1000), "float32")
    assert pinned.torch().is_pinned()
    array = np.ones(1_000_000, np.float32)
    with dlbridge.pin(array):
        assert torch.from_numpy(array).is_pinned()
    assert dlbridge.download(dlbridge.upload(array, device)).result().torch().is_pinned()
    for turn in range(200):  # kernels that are queued while their input goes
        there = dlbridge.to_torch(np.full(300_007, turn, np.float32), device=device)
        for _ in range(10):
            result = there * 2 + 1
        del there
        next_one = dlbridge.upload(np.zeros(300_007, np.float32), device)
        assert bool((result == 2 * turn + 1).all())
        del next_one
