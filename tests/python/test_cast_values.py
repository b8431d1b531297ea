"""What casts give, beside NumPy, torch and ml_dtypes: results and losses, in any layout, on every level."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch

import dlbridge
from cast_values import (
    DTYPES,
    FLOATS,
    FOREIGN,
    PAIRS,
    RNG,
    VALUES,
    bits,
    by_numpy,
    cast,
    clamped,
    kept,
    kind,
    layouts,
    same,
)

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_unsafe_is_what_numpy_gives(source: str, target: str) -> None:
    array = VALUES[source]
    ours, theirs = cast(array, target, "unsafe"), by_numpy(array, target)
    agree = same(ours, theirs)
    assert agree.all(), list(zip(array[~agree][:5], ours[~agree][:5], theirs[~agree][:5]))


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
        finite = [
            np.isfinite(np.asarray(part, "float64")) for each in (array, plain) for part in (each.real, each.imag)
        ]
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
    integers = ("int8", "int16", "int32", "int64", "uint16", "uint32", "uint64")
    for source, target in itertools.product(("float32", "float64"), integers):
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
    assert np.array_equal(
        cast(half.view("float16"), "float32", "unsafe").view("uint32"),
        half.view("float16").astype("float32").view("uint32"),
    )
    brain = np.arange(65536, dtype="uint16")
    brain = brain[np.isnan(brain.view(ml_dtypes.bfloat16))]
    wide = cast(brain.view(ml_dtypes.bfloat16), "float32", "same_value")
    assert np.array_equal(cast(wide, "bfloat16", "same_value").view("uint16"), brain)
    quiet = np.array([0x7FF8_0000_2000_0000, 0xFFF8_2468_A000_0000, 0xFFF8_0000_0000_0001], "uint64").view(
        "float64"
    )
    for target in ("float16", "float32"):
        assert np.array_equal(bits(cast(quiet, target, "unsafe")), bits(quiet.astype(target))), target
    signs = np.array([np.nan, -np.nan, 0.0, -0.0, np.inf, -np.inf], "float32")
    for target in FLOATS:
        assert np.array_equal(np.signbit(cast(signs, target, "unsafe")), np.signbit(signs)), target


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
        sizes, starts = RNG.integers(1, 40, 350), RNG.integers(0, values.size, 350)
        convert, wanted = dlbridge.cast, bits(expected)
        words = wanted.size // values.size
        for size, start in zip(sizes.tolist(), starts.tolist()):
            made = bits(convert(values[start : start + size], target, casting="unsafe").numpy())
            assert np.array_equal(made, wanted[words * start : words * (start + size)]), (
                source,
                target,
                start,
                size,
            )
            cases += 1
    assert cases >= 100_000


@pytest.mark.parametrize("level", ["portable", "avx2", "avx512"])
def test_every_level_gives_the_same_bits(level: str) -> None:
    program = (
        "import dlbridge, hashlib\n"
        "from cast_values import PAIRS, VALUES\n"
        "found = hashlib.sha256()\n"
        "for source, target in PAIRS:\n"
        "    for casting in ('unsafe', 'saturate'):\n"
        "        for array in (VALUES[source], VALUES[source][::-2]):\n"
        "            made, report = dlbridge.cast(array, target, casting=casting, report=True)\n"
        "            found.update(made.numpy().tobytes() + repr(report).encode())\n"
        "            plain = dlbridge.cast(array, target, casting=casting)\n"
        "            assert plain.numpy().tobytes() == made.numpy().tobytes()\n"
        "print(dlbridge.simd_level(), found.hexdigest())\n"
    )
    found = []
    for asked in ("portable", level):
        environment = {
            **os.environ,
            "DLB_SIMD": asked,
            "PYTHONWARNINGS": "ignore",
            "PYTHONPATH": str(Path(__file__).parent),
        }
        run = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
        )
        found.append(run.stdout.split())
    if found[1][0] != level:
        pytest.skip(f"this processor has no {level}")
    assert found[0][0] == "portable"
    assert found[0][1] == found[1][1]
