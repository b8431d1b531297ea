"""Memory of our own: `empty`, the pool behind it, and its numbers."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge

MIB = 1 << 20


@pytest.fixture(autouse=True)
def an_empty_cache() -> Iterator[None]:
    gc.collect()
    dlbridge.trim()
    before = dlbridge.memory_stats()
    assert before.cached == 0
    yield
    gc.collect()
    after = dlbridge.memory_stats()
    assert (after.asked, after.held) == (before.asked, before.held), "memory did not go back"


@pytest.mark.parametrize("shape", [(), (7,), (480, 640, 3), (3, 4 * MIB)])
def test_p10_own_memory_is_aligned_and_writable(shape: tuple[int, ...]) -> None:
    tensor = dlbridge.empty(shape, "float32")
    assert (tensor.shape, tensor.dtype, tensor.device) == (shape, "float32", "cpu")
    assert tensor.data_ptr % 256 == 0
    assert tensor.contiguous
    assert not tensor.readonly
    array = np.from_dlpack(tensor)
    assert array.flags.writeable
    array[...] = 3
    assert tensor.torch().sum().item() == 3 * array.size


def test_every_spelling_of_shape_and_dtype() -> None:
    assert dlbridge.empty(5, "u1").shape == (5,)
    assert dlbridge.empty(np.int64(5), np.uint8).shape == (5,)
    assert dlbridge.empty([2, np.int32(3)], torch.bfloat16).dtype == "bfloat16"
    assert dlbridge.empty(torch.Size((2, 3)), dtype="float4_e2m1fn").nbytes == 3
    assert dlbridge.empty(np.zeros((2, 3)).shape, np.dtype("f8"), device=torch.device("cpu")).dtype == "float64"
    assert dlbridge.empty((2, 3), "bool", device=(1, 0), pinned=False).dtype == "bool"


def test_a_tensor_without_elements_has_no_memory() -> None:
    tensor = dlbridge.empty((3, 0), "int8")
    assert (tensor.data_ptr, tensor.nbytes) == (0, 0)
    assert tensor.numpy().shape == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "words"),
    [
        (((2, -1), "u1"), {}, ValueError, "dimension 1 of the shape is -1"),
        (((1 << 40, 1 << 40), "u1"), {}, ValueError, r"does not fit 63 bits of bytes"),
        (((1 << 50,), "u1"), {}, MemoryError, "1125899906842624 bytes could not .*; check the shape$"),
        (((1,) * 129, "u1"), {}, ValueError, "129 dimensions"),
        (((2.5,), "u1"), {}, TypeError, "2.5 is no integer"),
        ((2.5, "u1"), {}, TypeError, "2.5 is no integer"),
        (("ab", "u1"), {}, TypeError, "a is no integer"),
        (((2,), "float33"), {}, ValueError, "float33"),
        (((2,), "float"), {}, ValueError, "float64 in NumPy and float32 in torch"),
        (((2,),), {}, TypeError, "needs a dtype"),
        ((), {}, TypeError, "needs a shape; call empty"),
        (((2,), "u1", 3), {}, TypeError, r"3 were given; call empty\(shape, dtype\), and name the rest: device="),
        (((2,), "u1"), {"dtype": "u1"}, TypeError, "multiple values for argument 'dtype'"),
        (((2,), "u1"), {"order": "F"}, TypeError, "unexpected keyword argument 'order'"),
        (((2,), "u1"), {"device": "gpu"}, ValueError, "gpu"),
    ],
)
def test_what_makes_no_sense_is_refused(
    arguments: tuple[object, ...], keywords: dict[str, object], error: type[Exception], words: str
) -> None:
    for name in ("empty", "zeros"):
        with pytest.raises(error, match=words.replace("empty", name)):
            getattr(dlbridge, name)(*arguments, **keywords)


@pytest.mark.parametrize("keywords", [{"pinned": True}, {"device": "cuda"}, {"device": torch.device("cuda:1")}])
def test_what_needs_a_driver_is_unavailable(keywords: dict[str, object]) -> None:
    with pytest.raises(dlbridge.UnavailableError, match=r"call dlbridge\.empty\(shape, dtype\)"):
        dlbridge.empty((2, 3), "float32", **keywords)
    with pytest.raises(dlbridge.UnavailableError, match="libcuda"):
        dlbridge.zeros((2, 3), "float32", **keywords)
    with pytest.raises(dlbridge.UnavailableError, match="libcuda"):
        dlbridge.zeros_like(np.ones((2, 3)), **keywords)


@pytest.mark.parametrize("shape", [(), (7,), (3, 0), (480, 641, 3), (3, 4 * MIB + 1)])
@pytest.mark.parametrize("dtype", ["float32", np.uint8, torch.bfloat16, "complex128", "bool"])
def test_zeros_are_zeros_for_every_framework(shape: tuple[int, ...], dtype: Any) -> None:
    for _ in range(2):  # in fresh memory, and in memory that was used
        tensor = dlbridge.zeros(shape, dtype=dtype)
        assert (tensor.shape, tensor.device, tensor.readonly) == (shape, "cpu", False)
        assert tensor.data_ptr % 256 == 0
        there = torch.from_dlpack(tensor)
        assert not there.count_nonzero()
        if dtype is not torch.bfloat16:
            assert np.from_dlpack(tensor).dtype == np.dtype(dtype)
            assert not np.from_dlpack(tensor).any()
        there.fill_(1)


def test_zeros_for_jax() -> None:
    jax = pytest.importorskip("jax")
    assert jax.dlpack.from_dlpack(dlbridge.zeros((3, 5), "float32")).sum() == 0


def test_an_array_is_no_number_no_switch_and_no_device_of_a_pool() -> None:
    for array in (np.ones(2), torch.ones(2)):
        with pytest.raises(dlbridge.WrongTypeError, match=r"keep is .*; pass a number of bytes, 0 or more$"):
            dlbridge.trim(array)  # type: ignore[arg-type]
        for call in (dlbridge.memory_stats, dlbridge.trim):
            with pytest.raises(dlbridge.WrongTypeError, match=r"pinned is .*; pass True or False$"):
                call(pinned=array)
            with pytest.raises(dlbridge.WrongTypeError, match=r"device is "):
                call(device=array)
    assert dlbridge.trim(np.int64(0)) == 0  # type: ignore[arg-type]


def test_like_another_array() -> None:
    image = np.ones((4, 5, 3), "uint16")[::-1, :, ::2]
    for like in (image, dlbridge.from_dlpack(image), torch.ones(4, 5, 2, dtype=torch.uint16).expand(4, 5, 2)):
        for made in (dlbridge.empty_like(like), dlbridge.zeros_like(like)):
            assert (made.shape, made.dtype, made.strides) == ((4, 5, 2), "uint16", (10, 2, 1))
        assert not dlbridge.zeros_like(like).numpy().any()
        other = dlbridge.zeros_like(like, dtype=torch.float32, device="cpu", pinned=False)
        assert dlbridge.equal(other, np.zeros((4, 5, 2), "f4"), strict=True)
        assert dlbridge.empty_like(like, dtype="float64").dtype == "float64"
    with pytest.raises(dlbridge.NotAnArrayError, match=r"numpy\.asarray"):
        dlbridge.zeros_like([1, 2, 3])


def test_like_a_parameter_for_what_an_optimiser_keeps() -> None:
    parameter = torch.nn.Parameter(torch.ones(3, 2, dtype=torch.bfloat16))
    for like in (parameter, parameter * 2):
        momentum = dlbridge.zeros_like(like, dtype="float32").torch()
        assert (momentum.tolist(), momentum.requires_grad) == ([[0, 0]] * 3, False)
        assert dlbridge.empty_like(like).dtype == "bfloat16"


def test_memory_returns_to_the_pool_and_is_reused() -> None:
    before = dlbridge.memory_stats()
    tensor = dlbridge.empty((4, MIB), "uint8")
    address = tensor.data_ptr
    assert dlbridge.memory_stats().asked == before.asked + 4 * MIB
    array = tensor[1:].numpy()
    shared = torch.from_dlpack(tensor)
    del tensor
    assert dlbridge.memory_stats().cached == 0, "an array and a torch tensor are on it"
    del array
    assert dlbridge.memory_stats().cached == 0
    del shared
    assert dlbridge.memory_stats().cached == 4 * MIB
    assert dlbridge.empty((4 * MIB - 5,), "uint8").data_ptr == address
    after = dlbridge.memory_stats()
    assert (after.allocations - before.allocations, after.hits - before.hits) == (2, 1)
    assert dlbridge.trim(keep=4 * MIB) == 0
    assert dlbridge.trim() == 4 * MIB


def test_small_tensors_are_not_the_pools() -> None:
    before = dlbridge.memory_stats()
    dlbridge.empty(MIB - 1, "uint8")
    assert dlbridge.memory_stats() == before


def test_what_is_cached_is_limited() -> None:
    stats = dlbridge.memory_stats()
    try:
        dlbridge.memory_limit(3 * MIB)
        del_me = [dlbridge.empty(2 * MIB, "uint8") for _ in range(3)]
        del del_me
        assert dlbridge.memory_stats().cached == stats.cached + 2 * MIB
        assert dlbridge.memory_stats().cached_limit == 3 * MIB
        assert dlbridge.memory_stats().limit is None
        assert "any" in str(dlbridge.memory_stats())
    finally:
        dlbridge.memory_limit(1 << 30)
    for call in (dlbridge.trim, dlbridge.memory_limit):
        with pytest.raises(ValueError, match="-1"):
            call(-1)


def test_the_numbers_print_as_a_table() -> None:
    tensor = dlbridge.empty(1_234_567, "uint8")
    lines = str(dlbridge.memory_stats()).split("\n")
    assert [line.split()[0] for line in lines] == list(dlbridge.MemoryStats._fields)
    assert lines[0].endswith(" 1,234,567")
    assert len({len(line) for line in lines}) == 1
    del tensor


def test_threads_share_the_pool() -> None:
    failures: list[str] = []

    def work(seed: int) -> None:
        for turn in range(60):
            array = dlbridge.empty((MIB + 4096 * ((seed + turn) % 5),), "uint8").numpy()
            array[:] = seed
            if not (array == seed).all():
                failures.append(f"{seed}, {turn}")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_starts_afresh() -> None:
    kept = dlbridge.empty(2 * MIB, "uint8")
    dlbridge.empty(3 * MIB, "uint8")
    child = os.fork()
    if child == 0:
        fresh = dlbridge.memory_stats().cached == 0 and dlbridge.memory_stats().held == 0
        del kept
        os._exit(7 if fresh and dlbridge.empty(3 * MIB, "uint8").numpy().size == 3 * MIB else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert kept.data_ptr % 256 == 0


def test_p10_jax_shares_it() -> None:
    jax = pytest.importorskip("jax")
    tensor = dlbridge.empty((64, 64), "float32")
    tensor.numpy()[:] = 1
    array = jax.dlpack.from_dlpack(tensor)
    assert array.unsafe_buffer_pointer() == tensor.data_ptr
    del array
