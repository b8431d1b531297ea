"""Casts, beside NumPy, torch and ml_dtypes: results, what counts as lost, layouts, and what happens to `out`.

What is right is computed apart from the library: results by NumPy (ml_dtypes for bfloat16 and float8), losses by
converting back and comparing.
"""

from __future__ import annotations

import itertools
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import dlbridge

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
FLOATS = ["float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"]
COMPLEX = ["complex64", "complex128"]
NAMES = ["bool", *INTEGERS, *FLOATS, *COMPLEX]
FOREIGN = {"bfloat16", "float8_e4m3fn", "float8_e5m2"}
DTYPES = {name: np.dtype(getattr(ml_dtypes, name) if name in FOREIGN else name) for name in NAMES}
PAIRS = list(itertools.product(NAMES, NAMES))
RNG = np.random.default_rng(7)

pytestmark = pytest.mark.filterwarnings("ignore")


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
    edges = [0, 1, 2, 3, 100, 127, 128, 129, 255, 256, 257, 448, 449, 464, 465, 479, 480, 32767, 32768, 65503, 65504]
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
    extra = [limits.max, limits.smallest_normal, limits.smallest_subnormal, limits.eps, np.inf, 1e300, 1e-300, 1e38, 1e-44]
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
        return np.repeat(array, 16).astype(dtype)[::16] if array.dtype.itemsize > 2 else by_numpy(array.astype("float32"), target)
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
    """Where two arrays of one dtype have the same bits, or are both NaN: of those, payloads have a test of their own."""
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


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_unsafe_is_what_numpy_gives(source: str, target: str) -> None:
    array = VALUES[source]
    ours, theirs = cast(array, target, "unsafe"), by_numpy(array, target)
    agree = same(ours, theirs)
    assert agree.all(), list(zip(array[~agree][:5], ours[~agree][:5], theirs[~agree][:5]))


def kept(array: np.ndarray[Any, Any], made: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Where a value is still the same, in Python's arithmetic, which is exact across types."""
    if array.dtype.kind == "c" or made.dtype.kind == "c":
        return kept(array.real, made.real) & kept(array.imag, made.imag)
    exact = [np.asarray(each, "float64") if each.dtype.name in FOREIGN else each for each in (array, made)]
    return np.array([a == b or (a != a and b != b) for a, b in zip(*(each.tolist() for each in exact))], bool)


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_same_value_refuses_exactly_what_changes(source: str, target: str) -> None:
    array = VALUES[source]
    if array.size > 4000:
        array = array[RNG.permutation(array.size)[:4000]]
    plain = cast(array, target, "unsafe")
    keeps = kept(array, plain)
    exact, report = cast(array[keeps], target, "same_value", report=True)
    assert same(exact, plain[keeps]).all()
    assert (report.lost, report.first_index, report.elements) == (0, None, int(keeps.sum()))
    if keeps.all():
        return
    with pytest.raises(dlbridge.LossyError) as error:
        cast(array, target, "same_value")
    report = error.value.report
    assert report is not None
    first = int(np.flatnonzero(~keeps)[0])
    assert (report.lost, report.elements, report.first_index) == (int((~keeps).sum()), array.size, (first,))
    # One by one, so that no neighbour can be why.
    for index in np.flatnonzero(~keeps)[:20]:
        with pytest.raises(dlbridge.LossyError):
            cast(array[index : index + 1], target, "same_value")


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_same_kind_goes_numpys_way_and_refuses_what_is_out_of_range(source: str, target: str) -> None:
    array = VALUES[source]
    if not {source, target} & FOREIGN:
        assert (kind(source) <= kind(target)) == np.can_cast(source, target, "same_kind")
    if kind(source) > kind(target):
        with pytest.raises(dlbridge.InvalidArgumentError, match=f"{source} is not cast to {target}"):
            cast(array, target, "same_kind")
        return
    plain, report = cast(array, target, "unsafe", report=True)
    if DTYPES[target].kind in "biu":
        fits = kept(array, plain)
    else:
        finite = [np.isfinite(np.asarray(part, "float64")) for each in (array, plain) for part in (each.real, each.imag)]
        nans = [np.isnan(np.asarray(part, "float64")) for part in (array.real, array.imag)]
        infinite = target == "float8_e4m3fn"  # has none
        before = [finite[0] | (infinite & ~nans[0]), finite[1] | (infinite & ~nans[1])]
        fits = ~((before[0] & ~finite[2]) | (before[1] & ~finite[3]))
    assert report.overflow + report.nan == (~fits).sum()
    assert same(cast(array[fits], target, "same_kind"), plain[fits]).all()
    if fits.all():
        return
    with pytest.raises(dlbridge.LossyError) as error:
        cast(array, target, "same_kind")
    report = error.value.report
    assert report is not None
    assert (report.overflow + report.nan, report.inexact + report.underflow) == ((~fits).sum(), 0)
    assert report.first_index == (int(np.flatnonzero(~fits)[0]),)


def clamped(array: np.ndarray[Any, Any], target: str) -> np.ndarray[Any, Any]:
    """`saturate`, by its definition."""
    dtype = DTYPES[target]
    if dtype.kind in "b":
        return by_numpy(array, target)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = (array.real if array.dtype.kind == "c" else array)
        values = values.astype("float64") if values.dtype.name in FOREIGN else values

        def one(value: Any) -> int:
            if value != value:
                return 0
            return max(limits.min, min(limits.max, int(value) if abs(value) != float("inf") else int(np.sign(value)) * 2**70))

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


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_saturate_clamps(source: str, target: str) -> None:
    array = VALUES[source]
    ours, report = cast(array, target, "saturate", report=True)
    theirs = clamped(array, target)
    agree = same(ours, theirs)
    assert agree.all(), list(zip(array[~agree][:5], ours[~agree][:5], theirs[~agree][:5]))
    assert report.lost == (~kept(array, ours)).sum()
    assert same(cast(array, target, "saturate"), ours).all()


def test_torch_agrees_where_numpy_leaves_it_undefined() -> None:
    for source, target in itertools.product(("float32", "float64"), ("int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")):
        array = VALUES[source]
        # Repeated, because torch too has other results for what is left over at the end of an array.
        theirs = torch.from_numpy(np.repeat(array, 16)).to(getattr(torch, target)).numpy()[::16]
        assert np.array_equal(cast(array, target, "unsafe"), theirs), (source, target)


def test_torch_agrees_on_bfloat16_and_float8() -> None:
    array = VALUES["float32"]
    for target in ("bfloat16", "float8_e5m2", "float8_e4m3fn"):
        theirs = torch.from_numpy(array.copy()).to(getattr(torch, target))
        ours = dlbridge.to_torch(dlbridge.cast(array, target, casting="unsafe"))
        agree = (ours.float() == theirs.float()) | (ours.float().isnan() & theirs.float().isnan())
        # torch clamps what float8_e4m3fn has no value for, where ml_dtypes, and so NumPy, has NaN.
        within = torch.from_numpy(np.abs(array) <= 464) if target == "float8_e4m3fn" else agree
        assert agree[within].all(), target


def test_payloads_and_signs_of_nan_survive() -> None:
    half = np.arange(65536, dtype="uint16")
    half = half[np.isnan(half.view("float16"))]
    for target in ("float32", "float64", "complex64"):
        wide = cast(half.view("float16"), target, "same_value")
        quiet = 0x200 if target == "float64" else 0  # the processor's mark
        assert np.array_equal(cast(wide.real.copy(), "float16", "same_value").view("uint16"), half | quiet)
    assert np.array_equal(cast(half.view("float16"), "float32", "unsafe").view("uint32"), half.view("float16").astype("float32").view("uint32"))
    brain = np.arange(65536, dtype="uint16")
    brain = brain[np.isnan(brain.view(ml_dtypes.bfloat16))]
    wide = cast(brain.view(ml_dtypes.bfloat16), "float32", "same_value")
    assert np.array_equal(cast(wide, "bfloat16", "same_value").view("uint16"), brain)
    quiet = np.array([0x7FF8_0000_2000_0000, 0xFFF8_2468_A000_0000, 0xFFF8_0000_0000_0001], "uint64").view("float64")
    for target in ("float16", "float32"):
        assert np.array_equal(bits(cast(quiet, target, "unsafe")), bits(quiet.astype(target))), target
    signs = np.array([np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf], "float32")
    for target in FLOATS:
        assert np.array_equal(np.signbit(cast(signs, target, "unsafe")), np.signbit(signs)), target


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


def test_any_layout_into_any_layout() -> None:
    cases = 0
    for round in range(30):
        for source, target in PAIRS:
            shape = tuple(RNG.integers(0 if RNG.random() < 0.05 else 1, 7, RNG.integers(0, 5)))
            array, out = next(layouts(shape, DTYPES[source])), next(layouts(shape, DTYPES[target]))
            array[...] = RNG.choice(VALUES[source], shape)
            expected = cast(np.ascontiguousarray(array).reshape(-1), target, "unsafe").reshape(shape)
            assert dlbridge.cast(array, target, casting="unsafe", out=out) is out
            assert same(out.copy(), expected).all()
            if round % 3 == 0 and array.size:
                keeps = kept(array.reshape(-1), expected.reshape(-1))
                if keeps.all():
                    continue
                with pytest.raises(dlbridge.LossyError) as error:
                    dlbridge.cast(array, target, casting="same_value", out=out)
                first = np.unravel_index(int(np.flatnonzero(~keeps)[0]), shape)
                report = error.value.report
                assert report is not None
                assert (report.lost, report.first_index) == ((~keeps).sum(), tuple(first))
            cases += 1
    assert cases > 5000


def test_many_small_arrays() -> None:
    cases = 0
    for source, target in PAIRS:
        values, expected = VALUES[source], cast(VALUES[source], target, "unsafe")
        sizes, starts = RNG.integers(1, 40, 180), RNG.integers(0, values.size, 180)
        convert, wanted = dlbridge.cast, bits(expected)
        words = wanted.size // values.size
        for size, start in zip(sizes.tolist(), starts.tolist()):
            made = bits(convert(values[start : start + size], target, casting="unsafe").numpy())
            assert np.array_equal(made, wanted[words * start : words * (start + size)]), (source, target, start, size)
            cases += 1
    assert cases >= 50_000


def test_zero_strides_and_scalars() -> None:
    array = np.broadcast_to(np.float64(2.5), (3, 4))
    assert np.array_equal(cast(array, "float32", "same_value"), np.full((3, 4), 2.5, "float32"))
    scalar = cast(np.array(3.7), "int32", "unsafe")
    assert (scalar.shape, int(scalar)) == ((), 3)
    with pytest.raises(dlbridge.LossyError, match=r"1 of 1 elements changes its value.*at \(\), is 3\.7 and became 3"):
        cast(np.array(3.7), "int32", "same_value")
    empty, report = cast(np.empty((0, 3)), "int8", "same_value", report=True)
    assert (empty.shape, report.lost) == ((0, 3), 0)


def test_report_and_error_do_not_depend_on_threads() -> None:
    array = RNG.standard_normal((1000, 999)) * 1e5
    array[700, 3] = 1e39
    array[200, 900] = np.nan
    reports = []
    for view, order in ((array, "C"), (array.T, "T"), (array[::-1], "R"), (array[:, ::2], "S")):
        ours, report = cast(view, "float32", "unsafe", report=True)
        assert same(ours, view.astype("float32")).all()
        changed = ~kept(view.reshape(-1), ours.reshape(-1))
        assert (report.inexact, report.overflow) == (changed.sum() - 1, 1) if order != "S" else True
        assert report.first_index == np.unravel_index(np.flatnonzero(changed)[0], view.shape)
        difference = np.abs(ours.astype("float64") - view)[np.isfinite(ours)]
        assert report.max_absolute_error == difference.max()
        relative = (difference / np.abs(view[np.isfinite(ours)])).max()
        assert report.max_relative_error == pytest.approx(relative)
        reports.append(report)
        with pytest.raises(dlbridge.LossyError) if order != "S" else warnings.catch_warnings() as error:
            cast(view, "float32", "same_kind")
        if order != "S":
            assert error.value.report.overflow == 1
            assert error.value.report.first_index == np.unravel_index(np.argmax(view == 1e39), view.shape)
    assert reports[0][:7] == reports[1][:7] == reports[2][:7]


def test_the_words_of_an_error() -> None:
    array = np.array([[1.0, 16777217.0], [0.1, 2.0]])
    with pytest.raises(dlbridge.LossyError) as error:
        dlbridge.cast(array, "float32", casting="same_value")
    words = str(error.value)
    assert words == (
        "2 of 4 elements change their values on the way from float64 to float32; the first, at (0, 1), is 16777217.0 and "
        "became 16777216.0; the largest absolute error is 1, the largest relative error 5.96046e-8; "
        'casting="same_value" does not allow that, pass casting="same_kind" to round them'
    )
    assert isinstance(error.value, ValueError)
    with pytest.raises(dlbridge.LossyError, match=r'1 of 2 elements is out of range.*is 70000\.0 and became inf.*"saturate" to clamp'):
        dlbridge.cast(np.array([70000.0, 1]), "float16")
    with pytest.raises(dlbridge.LossyError, match=r'is NaN, which has no value.*is nan and became 0.*"saturate"'):
        dlbridge.cast(np.array([np.nan, 1]), "uint8", casting="same_value")
    with pytest.raises(dlbridge.InvalidArgumentError, match=r'float64 is not cast to int32.*pass casting="same_value"'):
        dlbridge.cast(array, "int32")
    with pytest.raises(dlbridge.InvalidArgumentError, match='casting is "no"; pass "same_kind"'):
        dlbridge.cast(array, "int32", casting="no")
    with pytest.raises(dlbridge.InvalidArgumentError, match="casting is 3; pass"):
        dlbridge.cast(array, "int32", casting=3)  # type: ignore[arg-type]
    with pytest.raises(dlbridge.UnsupportedError, match="float4_e2m1fn is not cast"):
        dlbridge.cast(array, "float4_e2m1fn")


def test_a_report_prints_as_a_table() -> None:
    _, report = dlbridge.cast(np.array([1.5, 16777217.0, 1e39, 1e-60, np.nan]), "float32", casting="unsafe", report=True)
    assert str(report).splitlines() == [
        "elements            5",
        "changed             3 (60.000%)",
        "  inexact           1 (20.000%)",
        "  overflow          1 (20.000%)",
        "  underflow         1 (20.000%)",
        "  nan               0",
        "max absolute error  1",
        "max relative error  1",
        "first at            1",
        "  value             16777217.0",
        "  result            16777216.0",
    ]
    assert report.lost == 3


@pytest.mark.parametrize("target", NAMES)
def test_nothing_in_out_looks_like_a_result_after_a_refusal(target: str) -> None:
    if target == "complex128":
        pytest.skip("every value but those of int64 and uint64 is one of complex128")
    array = np.array([[1.0, 0.0], [0.1, 1e300]])
    memory = np.zeros((2, 5), DTYPES[target])
    out = memory[:, 1:4:2]
    with pytest.raises(dlbridge.LossyError) if target != "float64" else pytest.raises(dlbridge.LossyError):
        source = array if target != "float64" else np.array([[2**53 + 1, 0], [1, 2]])
        dlbridge.cast(source, target, casting="same_value", out=out)
    if DTYPES[target].kind in "bu":
        assert (out == np.array(-1).astype(target)).all()
    elif DTYPES[target].kind == "i":
        assert (out == np.iinfo(target).min).all()
    else:
        assert np.isnan(out).all()
    assert (memory[:, ::2] == 0).all()


def test_out_is_checked_before_anything_is_written() -> None:
    array = np.arange(6.0).reshape(2, 3)
    out = np.zeros((2, 3), "float32")
    for call, error, words in [
        (lambda: dlbridge.cast(array, "float16", out=out), dlbridge.InvalidArgumentError, "holds float32, not float16"),
        (lambda: dlbridge.cast(array[:1], "float32", out=out), dlbridge.InvalidArgumentError, r"shape \[1, 3\]"),
        (lambda: dlbridge.cast(array, "float32", out=np.broadcast_to(out[:1], (2, 3))), dlbridge.ReadOnlyError, "read-only"),
        (lambda: dlbridge.cast(out.view("int32"), "float32", out=out), dlbridge.UnsupportedError, "overlap"),
    ]:
        with pytest.raises(error, match=words):
            call()
    assert (out == 0).all()
    tensor = torch.zeros(2, 3)
    assert dlbridge.cast(array, torch.float32, out=tensor) is tensor
    assert tensor.tolist() == array.tolist()
    same_out, report = dlbridge.cast(array, "f4", out=out, report=True)
    assert same_out is out
    assert report.lost == 0


def test_astype_and_dtype_of_the_conversions() -> None:
    array = np.array([1.5, 2.5, 1e39])
    tensor = dlbridge.from_dlpack(array)
    assert tensor.astype("float64").data_ptr != tensor.data_ptr
    assert tensor[:2].astype("float32").numpy().tolist() == [1.5, 2.5]
    with pytest.raises(dlbridge.LossyError):
        tensor.astype("float32")
    made, report = tensor.astype("float16", casting="saturate", report=True)
    assert made.numpy().tolist() == [1.5, 2.5, 65504]
    assert report.overflow == 1
    assert dlbridge.to_torch(array[:2], dtype="float32").tolist() == [1.5, 2.5]
    assert dlbridge.to_torch(array[:2], dtype=torch.float64).data_ptr() == array.ctypes.data
    assert dlbridge.to_numpy(torch.ones(2), dtype="int16", casting="same_value").dtype == np.int16
    for call in (dlbridge.to_numpy, dlbridge.to_torch):
        with pytest.raises(dlbridge.CopyRequiredError, match="float64 becomes float32 in memory of its own only"):
            call(array, dtype="float32", copy=False)
        shared, report = call(array, report=True)
        assert (report.elements, report.lost) == (3, 0)
    frozen = array[:2].copy()
    frozen.flags.writeable = False
    assert dlbridge.to_torch(frozen, dtype="float32").tolist() == [1.5, 2.5]
    assert dlbridge.to_torch(array[1::-1], dtype="bfloat16").tolist() == [2.5, 1.5]
    brain = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    assert dlbridge.to_numpy(brain, dtype="float32").tolist() == [1.5, -2.0]
