"""What casts are tested with: values at which something changes, and what is right.

That is computed apart from the library: results by NumPy (ml_dtypes for bfloat16 and float8), losses by converting
back and comparing.
"""

from __future__ import annotations

import itertools
from typing import Any

import ml_dtypes
import numpy as np

import dlbridge

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]
COMPLEX = ["complex64", "complex128"]
NAMES = ["bool", *INTEGERS, *FLOATS, *COMPLEX]
FOREIGN = {"bfloat16", "float8_e4m3fn", "float8_e5m2"}
DTYPES = {name: np.dtype(getattr(ml_dtypes, name) if name in FOREIGN else name) for name in NAMES}
PAIRS = list(itertools.product(NAMES, NAMES))
RNG = np.random.default_rng(7)


def kind(name: str) -> int:
    """NumPy's kinds, from the least general on; what ml_dtypes adds is floating-point."""
    return next(rank for rank, stem in enumerate(["bool", "uint", "int", "float", "complex"]) if stem in name)


def bits(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bytes of each element as an unsigned number."""
    array = np.ascontiguousarray(array)
    if array.dtype.itemsize == 16:
        return array.view("uint64")
    return array.view(f"uint{8 * array.dtype.itemsize}")


def every_value(name: str) -> np.ndarray[Any, Any]:
    """All bit patterns of types of 8 and 16 bits; of the others, values at which something changes."""
    dtype = DTYPES[name]
    if name == "bool":
        return np.array([False, True])
    if dtype.itemsize <= 2:
        return np.arange(256**dtype.itemsize, dtype=f"uint{8 * dtype.itemsize}").view(dtype)
    edges = [
        0,
        1,
        2,
        3,
        100,
        127,
        128,
        129,
        255,
        256,
        257,
        448,
        449,
        464,
        465,
        479,
        480,
        32767,
        32768,
        65503,
        65504,
    ]
    edges += [65505, 65519, 65520, 65535, 65536, 57344, 57345, 61439, 61440, 61441]
    edges += [2**power + add for power in (8, 11, 24, 25, 31, 32, 53, 54, 63) for add in (-2, -1, 0, 1, 2, 3)]
    edges += [3 * 2**power + 1 for power in range(62)] + [2**power for power in range(64)]
    edges += [2**power + 2 ** (power - 8) for power in range(8, 63)]
    whole = [sign * edge for edge in edges for sign in (1, -1)]
    if name in INTEGERS:
        limits = np.iinfo(dtype)
        whole += [limits.min, limits.max, limits.min + 1, limits.max - 1]
        return np.array([value for value in whole if limits.min <= value <= limits.max], dtype)
    part = np.dtype("float32") if name in ("float32", "complex64") else np.dtype("float64")
    numbers = [np.array(whole, "float64"), np.array([0.25, 0.5, 1.5, 2.5, 0.1, 1 / 3, -0.0, -0.3, 254.5, 255.5])]
    for small in ("float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"):
        finite = every_value(small).astype("float64")
        finite = np.unique(finite[np.isfinite(finite)])
        if finite.size > 1000:
            finite = finite[:: finite.size // 1000]
        halves = (finite[1:] + finite[:-1]) / 2
        numbers += [finite, halves, np.nextafter(halves, np.inf), np.nextafter(halves, -np.inf)]
    array = np.concatenate(numbers).astype(part)
    limits = np.finfo(part)
    extra = [
        limits.max,
        limits.smallest_normal,
        limits.smallest_subnormal,
        limits.eps,
        np.inf,
        1e300,
        1e-300,
        1e38,
        1e-44,
    ]
    extra += [3.4028235677973362e38, 3.4028235677973366e38, 2.0**64, 2.0**65, 9.3e18, 1.9e19]
    extra = np.array([*extra, *(-np.array(extra))]).astype(part)
    word = f"uint{8 * part.itemsize}"
    nans = (np.array([1 << 9, 1 << 13, 1, 12345, 0], word) | np.array([np.nan], part).view(word)).view(part)
    array = np.concatenate([array, np.nextafter(array, part.type(np.inf)), extra, nans, -nans])
    patterns = np.frombuffer(RNG.bytes(part.itemsize * 2000), part)
    # Signalling NaNs are what processors and NumPy do not agree on: see the test of payloads.
    array = np.concatenate([array, patterns[~np.isnan(patterns)]])
    if name in COMPLEX:
        return pairs(array, dtype)
    return array


def pairs(parts: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Complex numbers of these real parts; some are real."""
    made = np.zeros(parts.size, dtype)
    made.real = parts
    made.imag = np.roll(parts, 5)
    made.imag[::3] = 0
    return made


with np.errstate(all="ignore"):
    VALUES = {name: every_value(name) for name in NAMES}


def by_numpy(array: np.ndarray[Any, Any], target: str) -> np.ndarray[Any, Any]:
    """`array.astype`, without ml_dtypes' detours, and on arrays long enough for NumPy to use vectors."""
    dtype, source = DTYPES[target], array.dtype.name
    if array.dtype.kind == "c" and dtype.kind != "c":
        if target == "bool":
            return (array != 0) | np.isnan(array)
        array = array.real
    if dtype.kind == "c":
        if array.dtype.kind == "c":
            return array.astype(dtype)
        made = np.zeros(array.shape, dtype)
        made.real = by_numpy(array, "float32" if target == "complex64" else "float64")
        return made
    if source in FOREIGN and target not in FOREIGN:
        # Exact, and NumPy's own from there.
        array = array.astype("float32")
    if target in FOREIGN and array.dtype.itemsize >= 4 and array.dtype != np.float32:
        array = odd(array)  # ml_dtypes rounds to float32 first
    if target == "uint32" and array.dtype.kind == "f":
        # NumPy has one result for vectors and another for what is left over at their end.
        return (
            np.repeat(array, 16).astype(dtype)[::16]
            if array.dtype.itemsize > 2
            else by_numpy(array.astype("float32"), target)
        )
    return array.astype(dtype)


def odd(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """float32 that rounds to narrower types as the number itself does: of its two neighbours the odd one."""

    def one(value: Any) -> Any:
        near = np.float32(value)
        if not np.isfinite(near) or float(near) == value:  # Python compares exactly
            return near
        other = np.nextafter(near, np.float32(np.inf if float(near) < value else -np.inf))
        return near if near.view("uint32") & 1 else other

    return np.array([one(value) for value in array.tolist()], "float32")


def same(ours: np.ndarray[Any, Any], theirs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where two arrays of one dtype have the same bits, or are both NaN: payloads have a test of their own."""
    assert ours.dtype == theirs.dtype
    if ours.dtype.kind == "c":
        return same(ours.real, theirs.real) & same(ours.imag, theirs.imag)
    equal = bits(ours) == bits(theirs)
    return equal if ours.dtype.kind in "biu" else equal | (np.isnan(ours) & np.isnan(theirs))


def cast(array: Any, target: str, casting: Any, **options: Any) -> Any:
    made = dlbridge.cast(array, target, casting=casting, **options)
    if options.get("report"):
        return made[0].numpy(), made[1]
    return made.numpy()


def kept(array: np.ndarray[Any, Any], made: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where a value is still the same, in Python's arithmetic, which is exact across types."""
    if array.dtype.kind == "c" or made.dtype.kind == "c":
        return kept(array.real, made.real) & kept(array.imag, made.imag)
    exact = [np.asarray(each, "float64") if each.dtype.name in FOREIGN else each for each in (array, made)]
    return np.array([a == b or (a != a and b != b) for a, b in zip(*(each.tolist() for each in exact))], bool)


def clamped(array: np.ndarray[Any, Any], target: str) -> np.ndarray[Any, Any]:
    """`saturate`, by its definition."""
    dtype = DTYPES[target]
    if dtype.kind in "b":
        return by_numpy(array, target)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = array.real if array.dtype.kind == "c" else array
        values = values.astype("float64") if values.dtype.name in FOREIGN else values

        def one(value: Any) -> int:
            if value != value:
                return 0
            return max(
                limits.min,
                min(limits.max, int(value) if abs(value) != float("inf") else int(np.sign(value)) * 2**70),
            )

        return np.array([one(value) for value in values.tolist()], dtype)
    if dtype.kind == "c":
        made = np.zeros(array.shape, dtype)
        part = "float32" if target == "complex64" else "float64"
        made.real = clamped(array.real, part)
        made.imag = clamped(array.imag, part) if array.dtype.kind == "c" else 0
        return made
    array = array.real
    plain = by_numpy(array, target)
    wide, made = (np.asarray(each, "float64") for each in (array, plain))
    largest = float(ml_dtypes.finfo(dtype).max)
    infinite = np.isinf(wide) if target == "float8_e4m3fn" else np.zeros(wide.shape, bool)
    over = ~np.isnan(wide) & (np.isfinite(wide) | infinite) & ~np.isfinite(made)
    plain[over] = np.copysign(largest, wide[over]).astype(dtype)
    return plain


def layouts(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """Arrays of one shape in many layouts, all over random memory."""
    while True:
        ndim = len(shape)
        order = RNG.permutation(ndim)
        steps = RNG.choice([1, 1, 1, 2, 3], ndim)
        signs = RNG.choice([1, 1, -1], ndim)
        memory = np.zeros([shape[axis] * steps[axis] + int(RNG.integers(2)) for axis in order], dtype)
        view = memory.transpose(np.argsort(order))
        view = view[(..., *(slice(None, shape[axis] * steps[axis], steps[axis]) for axis in range(ndim)))]
        view = view[(..., *(slice(None, None, sign) for sign in signs))]
        assert view.shape == shape
        yield view
