"""`equal` and `allclose` beside NumPy's `array_equal` and `allclose`, and what they report."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import dlbridge

SMALL = ["bfloat16", "float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz", "float8_e4m3fn", "float8_e4m3fnuz"]
SMALL += ["float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"]
FLOATS = ["float16", "float32", "float64"]
INTEGERS = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
COMPLEX = ["complex64", "complex128"]
NATIVE = ["bool", *INTEGERS, *FLOATS, *COMPLEX]


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name) if name in SMALL else name)


def any_bits(rng: np.random.Generator, name: str, shape: Any) -> np.ndarray[Any, Any]:
    """Every kind of value of the dtype: NaN, infinities, zeros, denormals, limits; few, so that equals meet."""
    dtype = dtype_of(name)
    if name == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        special = [limits.min, limits.max, limits.max - 1, 0, 1, 2, 3, limits.max // 2 + 1]
        return np.array(special, dtype)[rng.integers(0, len(special), shape)]
    if dtype.kind == "c":
        parts = "float32" if name == "complex64" else "float64"
        return (any_bits(rng, parts, shape) + 1j * any_bits(rng, parts, shape)).astype(dtype)
    if dtype.itemsize == 1:
        return rng.integers(0, 256, shape).astype("uint8").view(dtype)
    info = np.finfo(dtype) if name in FLOATS else ml_dtypes.finfo(dtype)
    tiny = np.array(1, f"u{dtype.itemsize}").view(dtype)
    special = [np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 1 + float(info.eps), -1.0, 2.0**24 + 1, tiny]
    special += [info.max, info.tiny, 3.0]
    return np.asarray(np.array(special, "float64").astype(dtype)[rng.integers(0, len(special), shape)])


def views(rng: np.random.Generator, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The same values in another layout."""
    kind = rng.integers(0, 5)
    if array.ndim == 0 or kind == 0:
        return array
    if kind == 1:
        return np.asfortranarray(array)
    if kind == 2:
        spread = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        spread[..., ::2] = array
        return spread[..., ::2]
    if kind == 3:
        return np.ascontiguousarray(array[::-1])[::-1]
    return np.ascontiguousarray(array.T).T


SHAPES: list[tuple[int, ...]] = [(), (0,), (1,), (5,), (3, 0), (2, 3), (17,), (4, 3, 5), (300,), (2, 1, 40)]


@pytest.mark.parametrize("name", [*NATIVE, *SMALL])
@pytest.mark.filterwarnings("ignore")
def test_equal_is_array_equal(name: str) -> None:
    rng = np.random.default_rng(1)
    for turn in range(400):
        shape = SHAPES[turn % len(SHAPES)]
        a = any_bits(rng, name, shape)
        b = a.copy() if turn % 3 else any_bits(rng, name, shape)
        if turn % 3 == 2 and b.size:
            b.reshape(-1)[rng.integers(0, b.size)] = any_bits(rng, name, ())
        a, b = views(rng, a), views(rng, b)
        for equal_nan in (False, True):
            # ml_dtypes' types are compared as what they are exactly, by NumPy itself.
            x, y = (z.astype("float64") if name in SMALL else z for z in (a, b))
            expected = bool(np.array_equal(x, y, equal_nan=equal_nan))
            assert dlbridge.equal(a, b, equal_nan=equal_nan) is expected, (a, b, equal_nan)
            found = dlbridge.equal(a, b, equal_nan=equal_nan, report=True)
            assert found.equal is expected
            same = (x == y) | (np.isnan(x) & np.isnan(y) if equal_nan else False)
            assert found.differing == int(np.sum(~same))
            assert found.compared == a.size
            if not expected:
                assert found.first is not None
                assert found.first.index == tuple(np.argwhere(~same)[0])


@pytest.mark.parametrize(("left", "right"), list(itertools.product(NATIVE, NATIVE)))
@pytest.mark.filterwarnings("ignore")
def test_dtypes_that_differ_are_compared_as_numpy_promotes_them(left: str, right: str) -> None:
    rng = np.random.default_rng(2)
    for turn in range(30):
        a = views(rng, any_bits(rng, left, SHAPES[turn % len(SHAPES)]))
        b = any_bits(rng, right, a.shape) if turn % 2 else a.astype(right)
        for equal_nan in (False, True):
            assert dlbridge.equal(a, b, equal_nan=equal_nan) is bool(np.array_equal(a, b, equal_nan=equal_nan)), (
                a,
                b,
            )
            for rtol, atol in ((1e-5, 1e-8), (0, 0), (1e-3, 0.5), (float("inf"), 0)):
                expected = bool(np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan))
                assert dlbridge.allclose(a, b, rtol=rtol, atol=atol, equal_nan=equal_nan) is expected, (
                    a,
                    b,
                    rtol,
                    atol,
                )


@pytest.mark.filterwarnings("ignore")
def test_integers_of_64_bits_are_exact_beside_integers_and_rounded_beside_floats() -> None:
    big = 2**53
    assert not dlbridge.equal(np.array([big + 1]), np.array([big]))
    assert dlbridge.equal(np.array([big + 1]), np.array([float(big)]))  # as NumPy: 2**53 + 1 is no float64
    assert np.array_equal(np.array([big + 1]), np.array([float(big)]))
    assert not dlbridge.equal(np.array([-1]), np.array([2**64 - 1], "uint64"))
    assert dlbridge.equal(np.array([2**63 - 1]), np.array([2**63 - 1], "uint64"))
    assert not dlbridge.equal(np.array([2**63 - 1]), np.array([2**63], "uint64"))


@pytest.mark.parametrize("name", [*FLOATS, "int8", "int64", "uint64", "bool", "complex64", "complex128"])
@pytest.mark.filterwarnings("ignore")
def test_allclose_is_numpys_to_the_last_bit(name: str) -> None:
    rng = np.random.default_rng(3)
    for turn in range(600):
        shape = SHAPES[turn % len(SHAPES)]
        scale = 10.0 ** rng.integers(-9, 5)
        b = (rng.standard_normal(shape) * scale).astype(name)
        # Python's floats: those of NumPy have a dtype, float64, that would take part in its promotion.
        rtol, atol = float(10.0 ** rng.integers(-8, 0)), float(10.0 ** rng.integers(-10, 2))
        # Right at the edge of what is allowed, on both sides.
        edge = b + (atol + rtol * np.abs(b)) * (1 + 1e-6 * rng.standard_normal(shape))
        a = views(rng, np.asarray(edge.astype(name)))
        if name.startswith("complex"):  # NumPy's own abs() differs by a last bit between processors
            a = b + (a - b) * rng.choice([0.99, 1.01])
            a = a.astype(name)
        expected = bool(np.allclose(a, b, rtol=rtol, atol=atol))
        assert dlbridge.allclose(a, b, rtol=rtol, atol=atol) is expected, (a, b, rtol, atol)
        found = dlbridge.allclose(a, b, rtol=rtol, atol=atol, report=True)
        assert found.differing == int(np.sum(~np.isclose(a, b, rtol=rtol, atol=atol)))


def test_allclose_of_every_float16() -> None:
    every = np.arange(65536, dtype="uint16").view("float16")
    rng = np.random.default_rng(4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for rtol, atol in ((1e-5, 1e-8), (1e-3, 0), (0, 6e-8), (2e-3, 1e-3), (0.1, 1)):
            for other in (
                every,
                np.roll(every, 1),
                rng.permutation(every),
                (every * np.float16(1.001)).astype("float16"),
            ):
                close = np.isclose(every, other, rtol=rtol, atol=atol, equal_nan=True)
                found = dlbridge.allclose(every, other, rtol=rtol, atol=atol, equal_nan=True, report=True)
                assert found.differing == int(np.sum(~close))
                # The row kernels, one pair of elements after the other and all of a kind at once.
                assert dlbridge.allclose(every[close], other[close], rtol=rtol, atol=atol, equal_nan=True)
                for index in rng.integers(0, 65536, 300):
                    one = slice(index, index + 1)
                    answer = dlbridge.allclose(every[one], other[one], rtol=rtol, atol=atol, equal_nan=True)
                    assert answer is bool(close[index]), (every[one], other[one], rtol, atol)


@pytest.mark.parametrize("name", SMALL)
def test_allclose_of_small_floats_is_that_of_float64(name: str) -> None:
    rng = np.random.default_rng(5)
    for turn in range(200):
        a, b = (any_bits(rng, name, SHAPES[turn % len(SHAPES)]) for _ in range(2))
        if turn % 2:
            a = b.copy()
        for rtol in (1e-5, 0.5):
            expected = np.allclose(a.astype("float64"), b.astype("float64"), rtol=rtol, equal_nan=True)
            assert dlbridge.allclose(a, b, rtol=rtol, equal_nan=True) is bool(expected)
            mixed = np.allclose(a.astype("float32"), b.astype("float32"), rtol=rtol, equal_nan=True)
            assert dlbridge.allclose(a, b.astype("float32"), rtol=rtol, equal_nan=True) is bool(mixed)


def test_allclose_is_asymmetric_and_knows_infinities_and_nan() -> None:
    a, b = np.array([10.0]), np.array([11.05])
    assert dlbridge.allclose(a, b, rtol=0.1, atol=0) is np.allclose(a, b, rtol=0.1, atol=0) is True
    assert dlbridge.allclose(b, a, rtol=0.1, atol=0) is np.allclose(b, a, rtol=0.1, atol=0) is False
    inf = np.array([np.inf, -np.inf])
    assert dlbridge.allclose(inf, inf)
    assert not dlbridge.allclose(inf, -inf)
    assert not dlbridge.allclose(np.array([1e308]), np.array([np.inf]), rtol=1)
    nan = np.array([np.nan])
    assert not dlbridge.allclose(nan, nan)
    assert dlbridge.allclose(nan, nan, equal_nan=True)


def test_shapes_broadcast_for_allclose_and_never_for_equal() -> None:
    a, b = np.ones((2, 3)), np.ones((3,))
    assert dlbridge.equal(a, b) is np.array_equal(a, b) is False
    assert dlbridge.allclose(a, b) is np.allclose(a, b) is True
    assert dlbridge.allclose(np.ones((4, 1)), np.ones((1, 5)))
    assert dlbridge.allclose(np.ones((0, 3)), np.ones(()))
    found = dlbridge.allclose(np.ones((2, 1)), np.array([1.0, 2.0, 1.0]), report=True)
    assert (found.differing, found.compared, found.first and found.first.index) == (2, 6, (0, 1))
    with pytest.raises(ValueError, match=r"\[2, 3\] and \[4\] do not broadcast to one; align them"):
        dlbridge.allclose(a, np.ones(4))
    report = dlbridge.equal(a, b, report=True)
    assert not report
    assert str(report) == "the shapes are [2, 3] and [3]"
    assert (report.shapes, report.first) == (((2, 3), (3,)), None)


def test_strict_asks_for_the_dtype_too() -> None:
    a, b = np.array([1, 2]), np.array([1.0, 2.0])
    assert dlbridge.equal(a, b)
    assert not dlbridge.equal(a, b, strict=True)
    assert dlbridge.equal(a, torch.tensor([1, 2]), strict=True)
    report = dlbridge.equal(a, b, strict=True, report=True)
    assert not report
    assert str(report) == "the values are equal, the dtypes are int64 and float64"
    assert report.dtypes == ("int64", "float64")


def test_a_report_says_the_first_and_the_worst() -> None:
    a = np.arange(12.0).reshape(3, 4)
    b = a.copy()
    b[1, 2], b[2, 0], b[2, 3] = 7, 108, 11.5
    found = dlbridge.equal(a, torch.from_numpy(b), report=True)
    assert found.first == ((1, 2), 6.0, 7.0)
    assert found.absolute == (100.0, (2, 0), 8.0, 108.0)
    assert found.relative is not None
    assert found.relative.index == (2, 0)
    assert (found.differing, found.compared, bool(found)) == (3, 12, False)
    assert str(found).startswith(
        "3 of 12 elements differ, the first at [1, 2]: 6.0 and 7.0; largest absolute error 100.0"
    )
    close = dlbridge.allclose(a + 1e-9, b, report=True)
    assert str(close).startswith("3 of 12 elements are not close (rtol=1e-5, atol=1e-8), the first at [1, 2]: ")
    assert "1 of 1 elements is not close (rtol=0.0, atol=0.5), " in str(
        dlbridge.allclose(np.ones(1), np.zeros(1), rtol=0, atol=0.5, report=True)
    )
    exact = dlbridge.equal(np.array([2**63, 5], "uint64"), np.array([-(2**63), 5]), report=True)
    assert exact.first == ((0,), 2**63, -(2**63))
    assert isinstance(exact.first.a, int)
    pair = dlbridge.equal(np.array([1 + 2j]), np.array([1 - 2j]), report=True)
    assert pair.first == ((0,), 1 + 2j, 1 - 2j)
    assert pair.absolute is not None
    assert pair.absolute.error == 4.0
    assert dlbridge.equal(np.array([True]), np.array([False]), report=True).first == ((0,), True, False)
    assert str(dlbridge.equal(a, a, report=True)) == "equal"
    nan = dlbridge.equal(np.array([1, np.nan]), np.array([1.5, np.nan]), report=True)
    assert (nan.differing, nan.absolute and nan.absolute.error) == (2, 0.5)


def test_frameworks_and_layouts_meet() -> None:
    image = np.random.default_rng(6).integers(0, 256, (31, 17, 3), "uint8")
    chw = torch.from_numpy(image).permute(2, 0, 1)
    assert dlbridge.equal(chw, np.ascontiguousarray(image.transpose(2, 0, 1)))
    assert dlbridge.equal(chw.float(), image.transpose(2, 0, 1))
    assert not dlbridge.equal(chw.contiguous() + 1, image.transpose(2, 0, 1))
    half = torch.randn(1000).to(torch.bfloat16)
    assert dlbridge.equal(half, half.float().numpy())
    assert dlbridge.equal(half, dlbridge.from_dlpack(half))
    assert dlbridge.allclose(half, half.double() * (1 + 1e-6))
    eight = torch.randn(1000).to(torch.float8_e4m3fn)
    assert dlbridge.equal(eight, eight.float())
    assert dlbridge.equal(torch.ones(3).expand(5, 3), np.ones((5, 3)))
    odd = np.frombuffer(bytes(41), np.uint8)[1:].view("float64")  # an odd address
    assert dlbridge.equal(odd, np.zeros(5))


@pytest.mark.parametrize("dtype", ["float32", "uint8", "float64", "complex64"])
def test_long_arrays_are_compared_by_several_threads(dtype: str) -> None:
    size = (3 << 20) + 17
    a = np.arange(size).astype(dtype).reshape(-1, 1)[:, 0]
    b = a.copy()
    assert dlbridge.equal(a, b)
    assert dlbridge.allclose(a, b)
    rng = np.random.default_rng(7)
    for place in (0, size - 1, *rng.integers(0, size, 20)):
        b[place] = 100 if a[place] < 50 else 0
        assert not dlbridge.equal(a, b)
        assert not dlbridge.allclose(a, b)
        assert not dlbridge.equal(a[::-1], b[::-1])
        b[place] = a[place]
    b[[5, size // 2]] += 100
    found = dlbridge.equal(a, b, report=True)
    assert (found.differing, found.first and found.first.index) == (2, (5,))


def test_what_cannot_be_compared_says_why() -> None:
    a = np.ones(3)
    with pytest.raises(TypeError, match=r"^equal\(\) needs b, by position; call equal\(a, b\)$"):
        dlbridge.equal(a)  # type: ignore[call-overload]
    with pytest.raises(dlbridge.NotAnArrayError, match=r"^b is of type list, .*numpy.asarray\(b\), or"):
        dlbridge.equal(a, [1, 1, 1])
    with pytest.raises(dlbridge.NotAnArrayError, match=r"^a is of type list, .*numpy.asarray\(a\), or"):
        dlbridge.allclose([1, 1, 1], a)
    with pytest.raises(dlbridge.UnsupportedError, match=r"call b.filled\(value\), or b.data"):
        dlbridge.equal(a, np.ma.zeros(3))
    with pytest.raises(TypeError, match=r"^atol is \[1\], no number"):
        dlbridge.allclose(a, a, atol=[1])  # type: ignore[call-overload]
    with pytest.raises(ValueError, match=r"rtol is NaN; pass a number"):
        dlbridge.allclose(a, a, rtol=float("nan"))
    with pytest.raises(TypeError, match='rtol is "much", no number'):
        dlbridge.allclose(a, a, rtol="much")  # type: ignore[call-overload]
    if hasattr(torch, "float4_e2m1fn_x2"):
        four = torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
        with pytest.raises(dlbridge.UnsupportedError, match=r"float4_e2m1fnx2 have no values.*view both as uint8"):
            dlbridge.equal(four, four)
        assert dlbridge.equal(*[dlbridge.from_dlpack(four).view("uint8")] * 2)
