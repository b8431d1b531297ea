"""Uploads, downloads, `Tensor.to`, `device=`: the elements arrive, and each transfer is counted once."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from place import IS_CUDA, counted, host, needs_cuda, torch_on_device

import dlbridge

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from test_process import run

ODD = [
    np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    np.arange(24, dtype=np.int16).reshape(2, 3, 4).T,
    np.arange(24, dtype=np.int16).reshape(2, 3, 4)[:, ::-1],
    np.arange(24, dtype=np.int16).reshape(2, 3, 4)[..., ::2],
    np.arange(60.0).reshape(5, 12)[1:4, 3:7],
    np.arange(24, dtype=np.int16).reshape(2, 3, 4)[:, :0],
    np.array(7, np.complex128),
    np.arange(5003, dtype=np.uint8)[1:],
]


@pytest.mark.parametrize("array", ODD, ids=lambda array: f"{array.shape} {array.strides}")
def test_there_and_back(array: Any, device: str) -> None:
    there = dlbridge.upload(array, device)
    assert (there.device, there.shape, there.contiguous) == (device, array.shape, True)
    np.testing.assert_array_equal(host(there), array)
    np.testing.assert_array_equal(there.to("cpu").numpy(), array)


def test_views_on_the_device_come_back(device: str) -> None:
    array = np.arange(2 * 30 * 41, dtype=np.float32).reshape(2, 30, 41)
    there = dlbridge.upload(array, device)
    for view in (
        (0,),
        (slice(None), slice(3, 20), slice(5, 17)),
        (1, slice(None, None, 3)),
        (..., slice(None, None, 2)),
    ):
        np.testing.assert_array_equal(host(there[view]), array[view])


def test_a_round_trip_counts_exactly_two(device: str) -> None:
    array = np.arange(5000.0)
    before = dlbridge.memory_stats()
    dlbridge.download(dlbridge.upload(array, device)).result()
    if IS_CUDA:
        expected = {"uploads": 1, "uploaded_bytes": 40000, "downloads": 1, "downloaded_bytes": 40000}
        assert counted(before) == expected
        assert dlbridge.memory_stats().transfers - before.transfers == 2
    else:
        assert counted(before) == {"copies": 2, "copied_bytes": 80000}
        assert dlbridge.memory_stats().transfers == before.transfers


def test_to_the_same_device_is_the_same_tensor_and_counts_nothing(device: str) -> None:
    there = dlbridge.upload(np.arange(3.0), device)
    before = dlbridge.memory_stats()
    assert there.to(device) is there
    assert dlbridge.from_dlpack(there, device=device) is there
    assert dlbridge.from_dlpack(there, device=device, copy=False) is there
    assert counted(before) == {}


def test_nothing_else_counts() -> None:
    array = np.arange(1000.0)
    before = dlbridge.memory_stats()
    tensor = dlbridge.from_dlpack(array)
    dlbridge.to_torch(array)
    dlbridge.to_numpy(tensor[::2])
    np.from_dlpack(tensor)
    assert counted(before) == {}


@needs_cuda
def test_device_moves_what_is_elsewhere_unless_copying_is_forbidden(device: str) -> None:
    array = np.arange(6.0)
    before = dlbridge.memory_stats()
    there = dlbridge.from_dlpack(array, device=device)
    assert there.device == device
    assert counted(before) == {"uploads": 1, "uploaded_bytes": 48}
    back = dlbridge.from_dlpack(there, device="cpu")
    assert back.numpy().tolist() == array.tolist()
    assert counted(before)["downloads"] == 1
    for x, where in ((array, device), (there, "cpu")):
        with pytest.raises(dlbridge.CopyRequiredError, match="copy=False"):
            dlbridge.from_dlpack(x, device=where, copy=False)
    assert counted(before)["uploads"] == 1, "what is refused moves nothing"


@needs_cuda
@pytest.mark.parametrize("size", [3, 5000, 1_500_001])
def test_another_dtype_on_a_device_is_one_pass_into_pinned_memory_and_one_upload(
    size: int, device: str, standin: Any
) -> None:
    array = np.arange(2 * size, dtype=np.int64)[::2]
    calls = (b"cuMemcpyHtoDAsync", b"cuMemcpy2DAsync", b"cuMemcpyDtoDAsync", b"cuLaunchHostFunc")
    before, driven = dlbridge.memory_stats(), [standin.standin_calls(name) for name in calls]
    pinned = dlbridge.memory_stats(pinned=True)
    there = dlbridge.from_dlpack(array, dtype="int32", device=device)
    assert (there.device, there.dtype, there.shape) == (device, "int32", (size,))
    assert counted(before) == {"uploads": 1, "uploaded_bytes": 4 * size}, "of what it was cast to, once"
    now = [standin.standin_calls(name) for name in calls]
    assert [n - b for n, b in zip(now, driven, strict=True)] == [1, 0, 0, 0], "not staged: it is pinned"
    allocated = dlbridge.memory_stats(pinned=True)
    assert allocated.allocations - pinned.allocations == 1, "and into nothing else before"
    assert (host(there) == array).all()
    with pytest.raises(dlbridge.CopyRequiredError, match="int64 becomes int32"):
        dlbridge.from_dlpack(array, dtype="int32", device=device, copy=False)


@needs_cuda
def test_a_cast_that_loses_something_uploads_nothing(device: str) -> None:
    array = np.array([1.0, 0.1, 2.0])
    before = dlbridge.memory_stats()
    for call in (dlbridge.from_dlpack, dlbridge.to_torch):
        with pytest.raises(dlbridge.LossyError, match="1 of 3 elements changes"):
            call(array, dtype="float32", device=device, casting="same_value")
    assert counted(before) == {}
    there, report = dlbridge.from_dlpack(array, dtype="float32", device=device, report=True)
    assert (report.inexact, there.device) == (1, device)
    assert (host(there) == array.astype("float32")).all()


@needs_cuda
def test_what_is_on_a_device_is_not_cast_there(device: str) -> None:
    there = dlbridge.upload(np.arange(3.0), device)
    before = dlbridge.memory_stats()
    with pytest.raises(dlbridge.UnsupportedError, match=device):
        dlbridge.from_dlpack(there, dtype="float32")
    assert counted(before) == {}
    back = dlbridge.from_dlpack(there, dtype="float32", device="cpu")
    assert back.numpy().tolist() == [0, 1, 2]
    assert counted(before) == {"downloads": 1, "downloaded_bytes": 24}


@needs_cuda
def test_to_torch_casts_and_uploads_once(device: str) -> None:
    torch = torch_on_device()
    array = np.arange(5001.0)
    before = dlbridge.memory_stats()
    there = dlbridge.to_torch(array, dtype="float32", device=device)
    assert (there.dtype, there.device) == (torch.float32, torch.device(device))
    assert counted(before) == {"uploads": 1, "uploaded_bytes": 4 * 5001}
    assert there.cpu().tolist() == array.tolist()


@needs_cuda
def test_the_host_is_never_reached_unasked(device: str) -> None:
    there = dlbridge.upload(np.arange(6.0), device)
    for hidden in (dlbridge.to_numpy, there.numpy, np.asarray):
        before = dlbridge.memory_stats()
        with pytest.raises(dlbridge.UnsupportedError, match=r"dlbridge\.download\(x\)\.result\(\)"):
            hidden(*(() if hidden == there.numpy else (there,)))
        assert counted(before) == {}


def test_a_source_that_is_not_pinned_may_be_written_when(device: str) -> None:
    """On CUDA when the call returns: it has been staged. On the CPU when the event is done."""
    stream = dlbridge.Stream(device)
    for size in (10, 1000, 3_000_017):
        source = np.arange(size, dtype=np.uint32)
        there = dlbridge.upload(source, device, stream=stream)
        if not IS_CUDA:
            stream.record().wait()
        source[:] = 0xFFFFFFFF
        assert (host(there) == np.arange(size, dtype=np.uint32)).all()


@needs_cuda
def test_a_pinned_source_may_be_written_at_the_event(device: str) -> None:
    stream = dlbridge.Stream(device)
    source = dlbridge.empty_pinned(3_000_017, "uint32")
    for turn in range(5):
        source.numpy()[:] = np.arange(turn, turn + source.size, dtype=np.uint32)
        there = dlbridge.upload(source, device, stream=stream)
        stream.record().wait(60)
        source.numpy()[:] = 0xFFFFFFFF
        assert (host(there) == np.arange(turn, turn + source.size, dtype=np.uint32)).all()


def test_streams_are_ordered_by_events_and_not_by_luck(device: str) -> None:
    one, other = dlbridge.Stream(device), dlbridge.Stream(device)
    for turn in range(20):
        array = np.full(100_003, turn, np.int32)
        there = dlbridge.upload(array, device, stream=one)
        back = dlbridge.download(there, stream=other)  # of another stream: waits for the upload all the same
        assert (back.result(60).numpy() == turn).all()


def test_stress(device: str) -> None:
    failures: list[str] = []
    streams = [dlbridge.Stream(device) for _ in range(4)]

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for turn in range(40):
            array = random.integers(0, 255, random.integers(1, 300_000), dtype=np.uint8)
            there = dlbridge.upload(array, device, stream=streams[random.integers(4)])
            futures = [dlbridge.download(there, stream=streams[random.integers(4)]) for _ in range(2)]
            del there
            for future in futures:
                if not np.array_equal(future.result(60).numpy(), array):
                    failures.append(f"{seed}, {turn}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@needs_cuda
def test_torch_computes_on_what_was_moved(device: str) -> None:
    torch = torch_on_device()
    x, y = (dlbridge.to_torch(np.array(values), device=device) for values in ([1.0, 2, 3], [4.0, 5, 6]))
    assert (x + y).tolist() == [5, 7, 9]
    assert x.device == torch.device(device)
    tensor = dlbridge.from_dlpack(x)
    assert tensor.data_ptr == x.data_ptr()
    assert dlbridge.to_torch(tensor).data_ptr() == x.data_ptr()
    assert host(x * 2).tolist() == [2, 4, 6]
    assert dlbridge.to_torch(x, device="cpu").tolist() == [1, 2, 3]
    assert dlbridge.to_torch(torch.ones(3), device=device).sum().item() == 3


# Another thread's upload has its turn on the library's own stream and waits for a stream of the CPU, whose thread
# is in a release function that wants the GIL.
TURN = """
import ctypes, faulthandler, threading, time
import numpy as np, dlbridge
faulthandler.dump_traceback_later(30, exit=True)

there = dlbridge.empty((4,), "float32", device="cuda:0")

class Producer:
    def __dlpack_device__(self): return 2, 0
    def __dlpack__(self, **keywords): return there.__dlpack__(**keywords)

dlbridge.from_dlpack(Producer())
lib = ctypes.CDLL(dlbridge.get_library())
RELEASE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
released = []
release = RELEASE(lambda _: released.append(True))

class Tensor(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", ctypes.c_int32 * 2), ("ndim", ctypes.c_int32),
                ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.c_void_p),
                ("offset", ctypes.c_uint64)]

def wrap(array):
    shape, out = (ctypes.c_int64 * 1)(array.size), ctypes.c_void_p()
    view = Tensor(array.ctypes.data, (1, 0), 1, 1, 8, 1, shape, None, 0)
    assert lib.dlb_tensor_wrap(ctypes.byref(view), ctypes.c_uint64(0), release, None, ctypes.byref(out)) == 0
    return out

stream = dlbridge.Stream()
one, two = np.zeros(1 << 29, "u1"), np.empty(1 << 29, "u1")
source, destination = wrap(one), wrap(two)
assert lib.dlb_copy_async(source, destination, ctypes.c_void_p(stream._handle), None) == 0
lib.dlb_tensor_release(source)
behind = dlbridge.upload(np.zeros(1000), stream=stream)
thread = threading.Thread(target=lambda: dlbridge.upload(behind, "cuda:0"))
thread.start()
time.sleep(0.02)
early = not released
dlbridge.from_dlpack(Producer())
thread.join()
lib.dlb_tensor_release(destination)
print("imported", early)
"""


@needs_cuda
def test_an_import_waits_for_its_turn_without_the_gil(standin: Any) -> None:
    assert run(TURN) == (0, "imported True\n", "")
