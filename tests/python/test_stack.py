"""`stack` beside NumPy's `stack`, `astype`, `transpose` and arithmetic, on arrays of every framework."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge
from dlpack_structs import NAMES, NEW_CAPSULE, Producer, Versioned

Array = np.ndarray[Any, Any]
MIXERS: list[Callable[[Array], Any]] = [lambda a: a, torch.from_numpy, dlbridge.from_dlpack]


def mixed(arrays: list[Array]) -> list[Any]:
    """The same arrays in the hands of NumPy, torch and dlbridge in turn."""
    return [MIXERS[index % 3](array) for index, array in enumerate(arrays)]


def pictures(seed: int, count: int, shape: tuple[int, ...], dtype: str = "uint8") -> list[Array]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, shape).astype(dtype) for _ in range(count)]


def view(rng: np.random.Generator, array: Array) -> Array:
    """The same values in another layout that torch can show too."""
    kind = rng.integers(0, 3)
    if kind == 0 or array.ndim == 0:
        return array
    if kind == 1:
        return np.asfortranarray(array)
    spread = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
    spread[..., ::2] = array
    return spread[..., ::2]


SHAPES: list[tuple[int, ...]] = [(), (1,), (7,), (0, 3), (3, 5), (4, 3, 2), (2, 3, 4, 5), (1, 1, 9)]
DTYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_plain_stacking_is_numpys(dtype: str) -> None:
    rng = np.random.default_rng(1)
    for turn in range(60):
        shape = SHAPES[turn % len(SHAPES)]
        arrays = [view(rng, a) for a in pictures(turn, int(rng.integers(1, 6)), shape, dtype)]
        expected = np.stack(arrays)
        made = dlbridge.stack(mixed(arrays))
        assert (made.dtype, made.shape) == (dtype, expected.shape)
        assert np.array_equal(made.numpy(), expected)
        out = np.zeros((*expected.shape[:1], *expected.shape[1:][::-1]), dtype).transpose(
            0, *range(expected.ndim - 1, 0, -1)
        )
        assert dlbridge.stack(mixed(arrays), out=out) is out
        assert np.array_equal(out, expected)


@pytest.mark.parametrize("source", ["uint8", "int16", "float16", "float32", "float64", "bool"])
@pytest.mark.parametrize("target", ["uint8", "float16", "float32", "float64", "int64"])
def test_casts_on_the_way_are_numpys(source: str, target: str) -> None:
    rng = np.random.default_rng(2)
    for turn in range(20):
        arrays = [view(rng, a) for a in pictures(turn, 3, SHAPES[turn % len(SHAPES)], source)]
        made = dlbridge.stack(mixed(arrays), dtype=target, casting="unsafe", as_="numpy")
        assert made.dtype == target
        assert np.array_equal(made, np.stack(arrays).astype(target))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("source", ["uint8", "uint16", "float32", "float64", "int64"])
@pytest.mark.parametrize("target", ["float32", "float64", "float16"])
@pytest.mark.parametrize("layout", ["CHW", "HWC", None])
def test_scale_and_bias_give_the_bits_of_multiply_then_add(
    channels: int, source: str, target: str, layout: Any
) -> None:
    rng = np.random.default_rng(3)
    compute = "float64" if target == "float64" else "float32"
    for height, width in ((1, 1), (3, 7), (16, 16), (5, 64), (9, 131)):
        shape = (channels, height, width) if layout == "HWC" else (height, width, channels)
        arrays = [view(rng, a) for a in pictures(height, 3, shape, source)]
        scale, bias = rng.standard_normal(channels) / 7, rng.standard_normal(channels)
        for one, other in ((scale, bias), (float(scale[0]), None), (None, list(bias)), (torch.tensor(scale), 0.1)):
            factor = np.asarray(1 if one is None else one, compute)
            offset = np.asarray(-0.0 if other is None else other, compute)
            stacked = np.stack(arrays)
            if layout == "HWC":
                stacked = stacked.transpose(0, 2, 3, 1)
            expected = ((stacked.astype(compute) * factor).astype(compute) + offset).astype(compute).astype(target)
            if layout == "CHW":
                expected = expected.transpose(0, 3, 1, 2)
            made = dlbridge.stack(
                mixed(arrays), dtype=target, casting="unsafe", layout=layout, scale=one, bias=other, as_="numpy"
            )
            assert made.dtype == target
            bits = f"u{made.itemsize}"
            assert np.array_equal(made.view(bits), np.ascontiguousarray(expected).view(bits))


def test_layouts_turn_pictures_and_grey_ones_have_a_channel() -> None:
    arrays = pictures(4, 3, (6, 5, 3))
    assert np.array_equal(dlbridge.stack(arrays, layout="CHW").numpy(), np.stack(arrays).transpose(0, 3, 1, 2))
    chw = [np.ascontiguousarray(a.transpose(2, 0, 1)) for a in arrays]
    assert np.array_equal(dlbridge.stack(chw, layout="HWC").numpy(), np.stack(arrays))
    views = [a.transpose(2, 0, 1) for a in arrays]  # already turned, without a copy
    assert np.array_equal(dlbridge.stack(views).numpy(), np.stack(views))
    grey = pictures(5, 2, (6, 5))
    assert dlbridge.stack(grey, layout="CHW").shape == (2, 1, 6, 5)
    assert dlbridge.stack(grey, layout="HWC").shape == (2, 6, 5, 1)
    made = dlbridge.stack(grey, layout="CHW", dtype="float32", scale=0.5)
    assert np.array_equal(made.numpy()[:, 0], np.stack(grey).astype("float32") * np.float32(0.5))
    with pytest.raises(ValueError, match=r"shape \[4\] is no picture of height, width and channels"):
        dlbridge.stack(pictures(6, 2, (4,)), layout="CHW")
    with pytest.raises(ValueError, match=r'layout "NCHW" is none that is known; pass "CHW"'):
        dlbridge.stack(arrays, layout="NCHW")  # type: ignore[call-overload]


@pytest.mark.parametrize("layout", ["CHW", None])
def test_large_batches_are_made_by_several_threads(layout: Any) -> None:
    for count, shape in ((64, (97, 101, 3)), (3, (700, 801, 3)), (1, (1001, 1003, 3))):
        arrays = pictures(7, count, shape)
        expected = np.stack(arrays).astype("float32") * np.float32(0.25) + np.float32(-3)
        if layout:
            expected = expected.transpose(0, 3, 1, 2)
        made = dlbridge.stack(mixed(arrays), layout=layout, dtype="float32", scale=0.25, bias=-3, as_="torch")
        assert isinstance(made, torch.Tensor)
        assert np.array_equal(made.numpy(), expected)
        plain = dlbridge.stack(mixed(arrays), layout=layout, as_="numpy")
        assert np.array_equal(plain, np.stack(arrays).transpose(0, 3, 1, 2) if layout else np.stack(arrays))


def test_the_result_is_whose_it_is_asked_to_be() -> None:
    arrays = mixed([np.arange(3.0)] * 3)
    assert isinstance(dlbridge.stack(arrays), dlbridge.Tensor)
    assert isinstance(dlbridge.stack(arrays, as_="numpy"), np.ndarray)
    assert isinstance(dlbridge.stack(arrays, as_="torch"), torch.Tensor)
    out = torch.zeros(3, 3, dtype=torch.float64)
    array = dlbridge.stack(arrays, out=out, as_="numpy")
    assert array.ctypes.data == out.data_ptr()
    assert out.tolist() == [[0, 1, 2]] * 3
    assert dlbridge.stack(torch.arange(6).reshape(3, 2)).shape == (3, 2)  # whatever can be iterated
    assert dlbridge.stack(np.full(2, i) for i in range(4)).shape == (4, 2)
    for name in ("np", np):
        assert isinstance(dlbridge.stack(arrays, as_=name), np.ndarray)
    for name in ("pytorch", torch):
        assert isinstance(dlbridge.stack(arrays, as_=name), torch.Tensor)
    films = types.ModuleType("films")
    films.from_dlpack = lambda x: ("film", x.shape)  # type: ignore[attr-defined]
    assert dlbridge.stack(arrays, as_=films) == ("film", (3, 3))
    with pytest.raises(dlbridge.WrongTypeError, match=r'^as_ is 3; pass "numpy", "torch", "jax"'):
        dlbridge.stack(arrays, as_=3)


def test_small_floats_of_torch() -> None:
    arrays = [torch.randn(4, 5) for _ in range(3)]
    made = dlbridge.stack(arrays, dtype="bfloat16", as_="torch")
    assert torch.equal(made, torch.stack(arrays).bfloat16())
    again = dlbridge.stack(list(made), dtype=torch.float32, scale=2.0, as_="torch")
    assert torch.equal(again, made.float() * 2)
    assert torch.equal(dlbridge.stack(list(made), as_="torch"), made)


ARRAYS = [np.zeros((2, 3), "float32") for _ in range(5)]


def with_bad(bad: Any) -> list[Any]:
    """Five arrays, of which the one with index 3 is `bad`."""
    return [*ARRAYS[:3], bad, ARRAYS[4]]


def on_cuda() -> Producer:
    managed = Versioned(major=1, minor=3)
    tensor = managed.dl_tensor
    tensor.device.device_type, tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes = 2, 2, 32, 1
    tensor.data = 4096
    ON_CUDA.append(managed)
    import ctypes

    return Producer(NEW_CAPSULE(ctypes.addressof(managed), NAMES[0], None))


ON_CUDA: list[Versioned] = []


@pytest.mark.parametrize(
    ("bad", "error", "words"),
    [
        (
            np.zeros((3, 2), "float32"),
            ValueError,
            r"array 3: its shape is \[3, 2\] and that of array 0 is \[2, 3\]",
        ),
        (np.zeros((2, 3)), ValueError, r"array 0 holds float32.* array 3 holds float64.*; pass dtype="),
        ([[1.0, 2.0]], dlbridge.NotAnArrayError, r"array 3: arrays\[3\] is of type list"),
        (None, dlbridge.NotAnArrayError, r"array 3: arrays\[3\] is of type NoneType"),
        (np.zeros((2, 3), ">f4"), dlbridge.Error, r"array 3: .*byte order"),
        (
            np.ma.masked_array(np.zeros((2, 3), "float32"), np.eye(2, 3)),
            dlbridge.UnsupportedError,
            r"array 3: .*masked",
        ),
        (torch.zeros(2, 3, requires_grad=True), dlbridge.UnsupportedError, r"array 3: .*requires grad"),
        (torch.zeros(2, 3, device="meta"), dlbridge.Error, r"array 3: "),
    ],
)
def test_a_bad_array_is_named_and_nothing_is_written(bad: Any, error: type[Exception], words: str) -> None:
    out = np.full((5, 2, 3), 7, "float32")
    for place in (None, out):
        with pytest.raises(error, match=words):
            dlbridge.stack(with_bad(bad), out=place)
    assert np.all(out == 7)


def test_device_memory_is_named() -> None:
    with pytest.raises(
        dlbridge.UnsupportedError, match=r"array 0: the memory is on cuda:0 and the host cannot read it"
    ):
        dlbridge.stack([on_cuda()])


def test_a_refused_value_spoils_the_whole_batch() -> None:
    arrays = [np.full(4, float(i)) for i in range(4)]
    arrays[2][1] = 1e300
    out = np.zeros((4, 4), "float32")
    with pytest.raises(
        dlbridge.LossyError, match=r"array 2: 1 of 4 elements.*1e\+?300.*casting=.saturate"
    ) as caught:
        dlbridge.stack(arrays, out=out, dtype="float32")
    assert caught.value.report.overflow == 1  # type: ignore[attr-defined]
    assert np.all(np.isnan(out))
    with pytest.raises(dlbridge.LossyError, match=r"array 2: values of float64 do not fit"):
        dlbridge.stack(arrays, out=out, dtype="float32", scale=2)
    assert np.all(np.isnan(out))
    made = dlbridge.stack(arrays, dtype="float32", casting="saturate", as_="numpy")
    assert made[2, 1] == np.finfo("float32").max
    whole = np.zeros((2, 3), "int8")
    with pytest.raises(dlbridge.LossyError, match="array 1: "):
        dlbridge.stack([np.array([1, 2, 3]), np.array([1, 300, 3])], out=whole, dtype="int8")
    assert np.all(whole == -128)


def test_what_makes_no_batch_says_why() -> None:
    a = np.zeros((2, 3), "float32")
    cases: list[tuple[str, type[Exception], Callable[[], Any]]] = [
        ("no arrays to stack; pass at least one", ValueError, lambda: dlbridge.stack([])),
        (r"arrays is 3; pass a sequence of arrays", TypeError, lambda: dlbridge.stack(3)),  # type: ignore[call-overload]
        (
            r"out has shape \[3, 2\] and the batch has \[2, 2, 3\]",
            ValueError,
            lambda: dlbridge.stack([a, a], out=np.zeros((3, 2), "f4")),
        ),
        (
            "the arrays hold float32 and out holds float64",
            ValueError,
            lambda: dlbridge.stack([a], out=np.zeros((1, 2, 3))),
        ),
        (
            "dtype is float64 and out holds float32",
            ValueError,
            lambda: dlbridge.stack([a], out=np.zeros((1, 2, 3), "f4"), dtype="f8"),
        ),
        ("scale has 2 values for 3 channels", ValueError, lambda: dlbridge.stack([a], scale=[1, 2])),
        ('^scale is "much", no number', TypeError, lambda: dlbridge.stack([a], scale=["much"])),  # type: ignore[list-item]
        (
            "uint8 is not that; pass dtype=",
            ValueError,
            lambda: dlbridge.stack([a], dtype="uint8", casting="unsafe", scale=2),
        ),
        ("casting", ValueError, lambda: dlbridge.stack([a], casting="maybe")),  # type: ignore[call-overload]
        ("array 0: .*float32.*int8", dlbridge.Error, lambda: dlbridge.stack([a], dtype="int8")),
    ]
    for words, error, call in cases:
        with pytest.raises(error, match=words):
            call()
    frozen = np.zeros((1, 2, 3), "float32")
    frozen.flags.writeable = False
    with pytest.raises(dlbridge.ReadOnlyError):
        dlbridge.stack([a], out=frozen)
    batch = np.zeros((2, 2, 3), "float32")
    with pytest.raises(dlbridge.UnsupportedError, match="out shares memory with array 1"):
        dlbridge.stack([a, batch[0]], out=batch)
    with pytest.raises(dlbridge.Error, match="read-only"):
        dlbridge.stack([a, a], out=np.broadcast_to(np.zeros((1, 2, 3), "float32"), (2, 2, 3)))


def test_nothing_leaks() -> None:
    before = dlbridge.live_tensors()
    for _ in range(20):
        dlbridge.stack(mixed(pictures(8, 3, (4, 4, 3))), layout="CHW", dtype="float32", scale=2, as_="torch")
        with pytest.raises(ValueError, match="array 1"):
            dlbridge.stack([np.zeros(2), np.zeros(3)])
    assert dlbridge.live_tensors() == before


def test_a_trace_that_begins_between_two_arrays_is_seen() -> None:
    from torch.fx.experimental.proxy_tensor import ProxyTorchDispatchMode, PythonKeyTracer

    trace = ProxyTorchDispatchMode(PythonKeyTracer(), "real")

    class Meta(type(np.ndarray)):  # type: ignore[misc] # a class that is looked at begins it
        def __getattr__(cls, name: str) -> Any:
            if name == "harden_mask":
                trace.__enter__()
            raise AttributeError(name)

    class Looked(np.ndarray[Any, Any], metaclass=Meta):
        pass

    array = np.ones(3, "float32").view(Looked)
    try:
        with pytest.raises(dlbridge.UnsupportedError, match=r"array 2: .*being traced"):
            dlbridge.stack([torch.ones(3), array, torch.ones(3)])
    finally:
        trace.__exit__(None, None, None)
