"""dlbridge.copy and everything that copies: beside NumPy and torch, on many random layouts."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge

DTYPES = ["bool", "u1", "i2", "u2", "f2", "i4", "f4", "i8", "f8", "c8", "c16"]
MOST = {0: 1, 1: 300, 2: 40, 3: 14, 4: 8, 5: 5}


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(20)


def same(made: Any, expected: Any) -> bool:
    """Whether both are equal to the last bit."""
    made, expected = np.asarray(made), np.asarray(expected)
    return bool(
        made.dtype == expected.dtype and made.shape == expected.shape and made.tobytes() == expected.tobytes()
    )


def layout(random: np.random.Generator, dtype: str, shape: tuple[int, ...], repeats: bool) -> Any:
    """An array of random bits with this shape: permuted, with gaps and an offset, backwards, repeated."""
    order = random.permutation(len(shape))
    steps = random.choice([1, 1, 1, 2, 3], len(shape))
    inner = [int(shape[axis] * steps[axis] + random.integers(0, 2)) for axis in order]
    raw = random.integers(0, 256, (int(np.prod(inner)) + 3) * np.dtype(dtype).itemsize, np.uint8)
    if dtype == "bool":
        raw &= 1
    whole = raw.view(dtype)[int(random.integers(0, 3)) :][: int(np.prod(inner))].reshape(inner)
    array = whole.transpose(np.argsort(order))
    for axis, extent in enumerate(shape):
        index: list[Any] = [slice(None)] * len(shape)
        index[axis] = slice(None, extent * int(steps[axis]), int(steps[axis]))
        array = array[tuple(index)]
        if random.random() < 0.25:
            array = np.flip(array, axis)
    if repeats and len(shape) and random.random() < 0.2:
        axis = int(random.integers(0, len(shape)))
        index = [slice(None)] * len(shape)
        index[axis] = slice(0, 1)
        array = np.broadcast_to(array[tuple(index)], shape)
    return array


def shape_of(random: np.random.Generator) -> tuple[int, ...]:
    ndim = int(random.integers(0, 6))
    return tuple(
        int(extent) for extent in random.integers(1 if random.random() < 0.97 else 0, MOST[ndim] + 1, ndim)
    )


def test_random_layouts_become_what_numpy_makes_of_them(random: np.random.Generator) -> None:
    for case in range(8000):
        dtype = DTYPES[case % len(DTYPES)]
        source = layout(random, dtype, shape_of(random), repeats=True)
        order = "CFAK"[case % 4]
        made = dlbridge.copy(source, order=order)
        assert made.copied
        assert not made.readonly
        assert same(made, source), (case, source.shape, source.strides, dtype)
        if order == "C" or order == "F":
            assert made.numpy().flags[f"{order}_CONTIGUOUS"]


def test_random_layouts_arrive_in_random_layouts_and_touch_nothing_else(random: np.random.Generator) -> None:
    for case in range(8000):
        dtype = DTYPES[case % len(DTYPES)]
        shape = shape_of(random)
        source = layout(random, dtype, shape, repeats=True)
        out = layout(random, dtype, shape, repeats=False)
        base = out
        while base.base is not None:
            base = base.base
        before = base.copy()
        assert dlbridge.copy(source, out=out) is out
        after = base.copy()
        base[...] = before
        np.copyto(out, source)
        assert same(base, after), (case, source.strides, out.strides, dtype)


def test_overlapping_views_end_as_numpy_has_them(random: np.random.Generator) -> None:
    for _ in range(3000):
        ours = random.integers(0, 256, (7, 9, 5), np.uint8)
        numpys = ours.copy()
        axes, flips = random.permutation(3), random.random(3) < 0.4

        def pair(array: Any, axes: Any = axes, flips: Any = flips) -> tuple[Any, Any]:
            # Two views of one shape on one memory.
            first, second = array[:5, :5, :5], array[1:6, 2:7, :5].transpose(axes)
            for axis in np.flatnonzero(flips):
                second = np.flip(second, axis)
            return first, second

        out, source = pair(ours)
        dlbridge.copy(source, out=out)
        out, source = pair(numpys)
        np.copyto(out, source)
        assert same(ours, numpys)


def test_views_flipped_on_both_sides_overlap_within_their_memory(random: np.random.Generator) -> None:
    for _ in range(2000):
        shape = random.integers(1, 5, random.integers(1, 4))
        shift = random.integers(0, shape + 1)
        flips = tuple(slice(None, None, -1 if flip else 1) for flip in random.random(len(shape)) < 0.7)
        # Where only the first axis is shifted, both may be one run.
        shift[1 if random.random() < 0.7 else len(shape) :] = 0
        around = random.integers(0, 256, int((shape + shift).prod()) + 64, np.uint8)
        numpys = around.copy()

        def pair(memory: Any, shape: Any = shape, shift: Any = shift, flips: Any = flips) -> tuple[Any, Any]:
            array = memory[32:-32].reshape(shape + shift)
            first = array[tuple(slice(size) for size in shape)][flips]
            return first, array[tuple(slice(by, None) for by in shift)][flips]

        swap = random.random() < 0.5
        out, source = reversed(pair(around)) if swap else pair(around)
        dlbridge.copy(source, out=out)
        out, source = reversed(pair(numpys)) if swap else pair(numpys)
        np.copyto(out, source)
        assert same(around, numpys), (shape, shift, flips)


def test_large_copies_are_right_with_any_number_of_threads(random: np.random.Generator) -> None:
    square = random.integers(0, 1 << 30, (1531, 1203), np.int32)
    picture = random.integers(0, 256, (1079, 1917, 3), np.uint8)
    batch = random.integers(0, 256, (6, 301, 299, 4), np.uint8)
    try:
        for threads in (1, 2, 3):
            dlbridge.set_num_threads(threads)
            assert dlbridge.get_num_threads() == threads
            for source in (
                square,
                square.T,
                square[:, ::-1],
                square[::2, ::3],
                square[::-1].T,
                picture.transpose(2, 0, 1),
                picture[:, ::-1],
                picture[..., ::-1],
                picture[..., ::-1].transpose(2, 0, 1),
                batch[..., :3],
                batch[..., 2::-1],
                batch.transpose(0, 3, 1, 2),
                batch.transpose(3, 0, 1, 2)[:3],
                np.ascontiguousarray(picture.transpose(2, 0, 1)).transpose(1, 2, 0),
                square.view(">i4").T,
            ):
                assert np.array_equal(dlbridge.copy(source).numpy(), source)
    finally:
        dlbridge.set_num_threads(0)
    with pytest.raises(dlbridge.InvalidArgumentError, match="count is -1"):
        dlbridge.set_num_threads(-1)


@pytest.mark.parametrize("level", ["portable", "avx2", "avx512"])
def test_every_level_gives_the_same_bits(level: str) -> None:
    program = (
        "import dlbridge, hashlib, numpy as np\n"
        "r = np.random.default_rng(5); found = hashlib.sha256()\n"
        "for d in ('u1', 'u2', 'f4', 'f8', 'c16'):\n"
        "    a = r.integers(0, 256, 40 * 37 * 3 * np.dtype(d).itemsize, np.uint8).view(d).reshape(40, 37, 3)\n"
        "    for v in (a, a.T, a[:, ::-1], a[..., ::-1], a[..., :2], a[::2, ::2],\n"
        "              a.transpose(2, 0, 1), a[..., 0].T, a.transpose(1, 0, 2)):\n"
        "        found.update(dlbridge.copy(v).numpy().tobytes())\n"
        "print(dlbridge.simd_level(), found.hexdigest())\n"
    )

    def run(level: str) -> tuple[str, str]:
        environment = {**os.environ, "DLB_SIMD": level}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        name, digest = done.stdout.split()
        return name, digest

    used, digest = run(level)
    if used != level:
        pytest.skip(f"UNAVAILABLE: this processor has no {level}")
    assert digest == run("portable")[1]


def test_what_dlpack_cannot_describe_is_copied_from_numpy() -> None:
    records = np.zeros(10, [("flag", "u1"), ("value", "f4"), ("other", "u2")])
    records["value"] = np.arange(10)
    assert same(dlbridge.copy(records["value"]), np.arange(10, dtype="f4"))
    assert same(
        dlbridge.copy(records["value"].reshape(2, 5).T, order="F"), np.arange(10, dtype="f4").reshape(2, 5).T
    )
    out = np.zeros(10, "f4")
    dlbridge.copy(records["value"], out=out)
    assert out.tolist() == list(range(10))
    swapped = records.astype([("flag", "u1"), ("value", ">f4"), ("other", "u2")])["value"].reshape(2, 5)
    expected = np.arange(10, dtype="f4").reshape(2, 5)
    for order in ("C", "F"):
        assert same(dlbridge.copy(swapped, order=order), expected)
    assert dlbridge.copy(swapped, out=np.zeros((2, 5), "f4")).tolist() == expected.tolist()
    assert dlbridge.to_torch(swapped, copy=True).tolist() == expected.tolist()
    foreign = np.arange(12, dtype=">i4").reshape(3, 4)
    assert same(dlbridge.copy(foreign.T), np.arange(12, dtype="i4").reshape(3, 4).T)
    assert dlbridge.to_torch(foreign, copy=True).tolist() == foreign.tolist()
    assert same(dlbridge.copy((foreign + 1j).astype(">c16")), foreign + 1j)


def test_torch_tensors_are_copied_from_and_to() -> None:
    source = torch.arange(24, dtype=torch.bfloat16).reshape(2, 3, 4)
    out = torch.zeros(4, 2, 3, dtype=torch.bfloat16)
    assert dlbridge.copy(source.permute(2, 0, 1), out=out) is out
    assert torch.equal(out, source.permute(2, 0, 1))
    made = dlbridge.to_torch(source.permute(2, 0, 1), copy=True)
    assert torch.equal(made, source.permute(2, 0, 1))
    assert made.data_ptr() != source.data_ptr()
    assert made.stride() == source.permute(2, 0, 1).clone().stride()
    float8 = source.to(torch.float8_e4m3fn)
    assert torch.equal(dlbridge.to_torch(dlbridge.copy(float8)).float(), float8.float())
    leaf = torch.ones(3, requires_grad=True)
    assert dlbridge.to_torch(leaf, copy=True).grad_fn is not None
    array = np.zeros((3, 2), "f4")
    dlbridge.copy(torch.arange(6.0).reshape(2, 3).T, out=array)
    assert array.tolist() == [[0, 3], [1, 4], [2, 5]]


def test_a_copy_says_so_and_a_view_of_the_source_does_not() -> None:
    array = np.arange(6.0).reshape(2, 3)
    shared, made = dlbridge.from_dlpack(array), dlbridge.from_dlpack(array.T, copy=True)
    assert not shared.copied
    assert made.copied
    assert made[0].copied
    assert made.contiguous
    assert same(made, array.T)
    assert same(made.copy(order="F"), array.T)
    assert made.copy().data_ptr != made.data_ptr
    # The export that copies says so, and no other does.
    asked = dlbridge.from_dlpack(_Producer(shared, copy=True))
    assert asked.copied
    assert asked.data_ptr != shared.data_ptr
    assert dlbridge.from_dlpack(_Producer(made, copy=None)).data_ptr == made.data_ptr
    array[0, 0] = 7
    assert made.numpy()[0, 0] == 0
    read_only = array.copy()
    read_only.flags.writeable = False
    assert dlbridge.to_torch(read_only, readonly="copy").tolist() == read_only.tolist()
    assert dlbridge.to_numpy(read_only, copy=True).flags.writeable


class _Producer:
    """Exports a tensor with the arguments that a consumer of ours would not pass."""

    def __init__(self, tensor: Any, copy: bool | None) -> None:
        self.tensor, self.copy = tensor, copy

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __dlpack__(self, **_: Any) -> Any:
        return self.tensor.__dlpack__(max_version=(1, 3), copy=self.copy)


def test_what_cannot_be_copied_is_refused_and_out_is_left_alone() -> None:
    out = np.zeros((2, 3), "f4")
    for wrong, error, words in (
        (np.ones((3, 2), "f4"), ValueError, "shape"),
        (np.ones((2, 3), "f8"), ValueError, "does not convert"),
        (np.ones((2, 3), object), BufferError, "object"),
        ("text", TypeError, "str"),
    ):
        with pytest.raises(error, match=words):
            dlbridge.copy(wrong, out=out)
    source = np.ones((2, 3), "f4")
    out.flags.writeable = False
    with pytest.raises(dlbridge.ReadOnlyError):
        dlbridge.copy(source, out=out)
    with pytest.raises(ValueError, match='order is "Z"; pass "C"'):
        dlbridge.copy(source, order="Z")  # type: ignore[call-overload]
    with pytest.raises(TypeError, match="copy"):
        dlbridge.copy()  # type: ignore[call-overload]
    assert not out.any()


def test_memory_of_large_copies_is_pooled_and_trim_gives_it_back() -> None:
    dlbridge.trim()
    source = np.ones(8 << 20, "u1")
    dlbridge.copy(source)
    assert dlbridge.memory_stats().cached >= source.nbytes
    hits = dlbridge.memory_stats().hits
    dlbridge.copy(source)
    assert dlbridge.memory_stats().hits == hits + 1
    assert dlbridge.trim() >= source.nbytes
    assert dlbridge.memory_stats().cached == 0


def test_nothing_is_left_behind() -> None:
    before = dlbridge.live_tensors(), dlbridge.live_exports()
    source = np.arange(12.0).reshape(3, 4)
    for _ in range(100):
        made = dlbridge.copy(source.T)
        dlbridge.to_torch(made, copy=True)
        made.__dlpack__(copy=True, max_version=(1, 0))
        with pytest.raises(ValueError, match="shape"):
            dlbridge.copy(source, out=made)
        del made
    assert (dlbridge.live_tensors(), dlbridge.live_exports()) == before
