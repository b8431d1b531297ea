"""NumPy arrays that DLPack or torch cannot say: refused in words that work. And the odd ones that pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch

import dlbridge

CALLS = [dlbridge.from_dlpack, dlbridge.to_torch, lambda x: np.asarray(dlbridge.from_dlpack(x))]


def packed_records() -> np.ndarray[Any, Any]:
    records = np.zeros(3, dtype=[("tag", "u1"), ("value", "<f4")])
    records["value"] = [1, 2, 3]
    return records


Case = tuple[Callable[[], Any], str, Callable[[Any], Any], Any]
STRINGS = r'has no DLPack type; strings stay where they are; pass x\.astype\("float64"\) where they spell numbers$'
# What it is; the words; the call that they name; and what is then in the array.
REFUSED: dict[str, Case] = {
    "big_endian": (
        lambda: np.array([1.5, 2], ">f8"),
        r'>f8 is not in the byte order.*; pass dlbridge\.copy\(x\), or x\.astype\(x\.dtype\.newbyteorder\("="\)\)',
        lambda x: x.astype(x.dtype.newbyteorder("=")),
        [1.5, 2],
    ),
    "big_endian_int": (
        lambda: np.array([1, 2], ">i2"),
        r"dtype >i2 is not in the byte order",
        lambda x: x.astype(x.dtype.newbyteorder("=")),
        [1, 2],
    ),
    "datetime": (
        lambda: np.array(["1970-01-02"], "M8[D]"),
        r'dtype datetime64\[D\] has no DLPack type; pass x\.view\("int64"\)$',
        lambda x: x.view("int64"),
        [1],
    ),
    "timedelta": (
        lambda: np.array([5], "m8[ms]"),
        r'dtype timedelta64\[ms\] has no DLPack type; pass x\.view\("int64"\)$',
        lambda x: x.view("int64"),
        [5],
    ),
    "swapped_datetime": (
        lambda: np.array(["1970-01-02"], ">M8[D]"),
        r'dtype >M8\[D\] has no DLPack type; pass x\.astype\(x\.dtype\.newbyteorder\("="\)\)\.view\("int64"\)$',
        lambda x: x.astype(x.dtype.newbyteorder("=")).view("int64"),
        [1],
    ),
    "unicode": (lambda: np.array(["1.5"]), "dtype <U3 " + STRINGS, lambda x: x.astype("float64"), [1.5]),
    "bytes": (lambda: np.array([b"2"]), r"dtype \|S1 " + STRINGS, lambda x: x.astype("float64"), [2]),
    "StringDType": (
        lambda: np.array(["2"], dtype=np.dtypes.StringDType()),
        r"dtype StringDType\(\) " + STRINGS,
        lambda x: x.astype("float64"),
        [2],
    ),
    "structured": (
        packed_records,
        r"\('value', '<f4'\)\] has no DLPack type; pass one of its fields, x\[\"field\"\]$",
        lambda x: x["value"].copy(),
        [1, 2, 3],
    ),
    "recarray": (
        lambda: packed_records().view(np.recarray),
        r"\('value', '<f4'\)\]\) has no DLPack type",
        lambda x: np.ascontiguousarray(x.value),
        [1, 2, 3],
    ),
    "structured_apart": (
        lambda: np.ones(2, {"names": ["value"], "formats": ["f4"], "offsets": [4]}),
        r"'value'.* has no DLPack type; pass one of its fields, x\[\"field\"\]$",
        lambda x: x["value"],
        [1, 1],
    ),
    "void": (
        lambda: np.array([b"ab"], "V2"),
        r'dtype \|V2 has no DLPack type; .* x\.view\("uint8"\)$',
        lambda x: x.view("uint8"),
        [97, 98],
    ),
    "object": (
        lambda: np.array([1, 2.5], object),
        r'dtype object has no DLPack type; pass x\.astype\("float64"\) where the objects are numbers$',
        lambda x: x.astype("float64"),
        [1, 2.5],
    ),
    "longdouble": (
        lambda: np.array([1.5], "longdouble"),
        r'dtype float\d+ has no DLPack type; pass x\.astype\("float64"\)$',
        lambda x: x.astype("float64"),
        [1.5],
    ),
    "clongdouble": (
        lambda: np.array([1.5j], "clongdouble"),
        r'dtype complex\d+ has no DLPack type; pass x\.astype\("complex128"\)$',
        lambda x: x.astype("complex128"),
        [1.5j],
    ),
    "masked": (
        lambda: np.ma.array([1.0, 2, 3], mask=[0, 1, 1]),
        r"masked \(.*2 elements.*\).*call x\.filled\(value\), or x\.data",
        lambda x: x.filled(-1),
        [1, -1, -1],
    ),
    "masked_data": (
        lambda: np.ma.array([1.0, 2, 3], mask=[0, 1, 1]),
        r"the mask would be lost",
        lambda x: x.data,
        [1, 2, 3],
    ),
    "odd_strides": (
        lambda: packed_records()["value"],
        r"axis 0 steps 5 bytes, no multiple of the 4.*; pass dlbridge\.copy\(x\), or numpy\.ascontiguousarray\(x\)",
        np.ascontiguousarray,
        [1, 2, 3],
    ),
    "float4": (
        lambda: np.array([1.5, -2], ml_dtypes.float4_e2m1fn),
        r'float4_e2m1fn in a byte of its own, where DLPack packs them; pass x\.view\("uint8"\)',
        lambda x: x.view("uint8"),
        [3, 12],
    ),
    "int4": (
        lambda: np.array([1, -1], ml_dtypes.int4),
        r'int4 in a byte of its own.*x\.view\("uint8"\)',
        lambda x: x.view("uint8") & 15,
        [1, 15],
    ),
}


@pytest.mark.parametrize("call", CALLS, ids=["from_dlpack", "to_torch", "asarray"])
@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_call_that_works(name: str, call: Callable[[Any], Any]) -> None:
    make, words, mend, values = REFUSED[name]
    source = make()
    with pytest.raises(dlbridge.UnsupportedError, match=words) as caught:
        call(source)
    assert isinstance(caught.value, BufferError)
    assert dlbridge.to_numpy(dlbridge.from_dlpack(mend(source))).tolist() == values
    assert dlbridge.to_torch(mend(source)).tolist() == values


@pytest.mark.parametrize("name", [name for name in REFUSED if not name.startswith("masked")])
def test_an_array_is_its_own_numpy_array_whatever_its_dtype(name: str) -> None:
    source = REFUSED[name][0]()
    assert dlbridge.to_numpy(source) is source


@pytest.mark.parametrize("call", [*CALLS, dlbridge.to_numpy])
def test_a_mask_is_never_lost_even_if_nothing_is_masked(call: Callable[[Any], Any]) -> None:
    with pytest.raises(dlbridge.UnsupportedError, match=r"masked \(.*0 elements.*\)"):
        call(np.ma.array([1.0, 2.0]))


def test_negative_strides_name_the_axis_and_the_calls_that_work() -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    for axis, flipped in enumerate((array[::-1], array[:, ::-2], array[..., ::-1])):
        stride = flipped.strides[axis] // 8
        words = rf"axis {axis} has the negative stride {stride}, .*numpy\.ascontiguousarray\(x\)"
        for source in (flipped, dlbridge.from_dlpack(flipped)):
            with pytest.raises(dlbridge.UnsupportedError, match=words):
                dlbridge.to_torch(source)
            copied = dlbridge.to_torch(source, copy=True)
            assert np.array_equal(copied.numpy(), flipped)
            assert not np.shares_memory(copied.numpy(), array)
        assert np.array_equal(dlbridge.to_torch(np.ascontiguousarray(flipped)).numpy(), flipped)
        assert dlbridge.to_numpy(dlbridge.from_dlpack(flipped)).ctypes.data == flipped.ctypes.data


def test_a_negative_stride_of_an_axis_that_is_never_stepped_along_is_shared() -> None:
    array = np.arange(6.0).reshape(1, 6)[::-1]
    assert dlbridge.to_torch(array).data_ptr() == array.ctypes.data
    assert dlbridge.to_torch(np.zeros((2, 0, 3))[::-1]).shape == (2, 0, 3)


@pytest.mark.parametrize("name", ["big_endian", "odd_strides"])
def test_what_every_call_refuses_has_a_remedy_that_every_call_takes(name: str) -> None:
    make, _, _, values = REFUSED[name]
    source = make()
    calls: list[Callable[[Any], Any]] = [
        *CALLS,
        lambda x: dlbridge.cast(x, "float64"),
        lambda x: dlbridge.stack([x], dtype="float64"),
        lambda x: dlbridge.equal(np.float64(values), x),
        lambda x: dlbridge.allclose(x, np.float64(values)),
    ]
    for call in calls:
        with pytest.raises(dlbridge.UnsupportedError, match=r"; pass dlbridge\.copy\((x|b|a|arrays\[0\])\), or"):
            call(source)
        made = call(dlbridge.copy(source))
        assert made is True or np.asarray(made).ravel().tolist() == values


def test_copy_true_copies_from_odd_strides() -> None:
    assert dlbridge.to_torch(packed_records()["value"], copy=True).tolist() == [1, 2, 3]


def test_readonly_copy_copies_from_negative_strides() -> None:
    source = np.frombuffer(bytes(range(4)), "uint8")[::-1]
    assert dlbridge.to_torch(source, readonly="copy").tolist() == [3, 2, 1, 0]


def test_a_datetime_scalar_is_refused_as_the_array_is() -> None:
    with pytest.raises(dlbridge.UnsupportedError, match="datetime64"):
        dlbridge.from_dlpack(np.datetime64("2020-01-01"))


SCALARS = [
    np.float64(1.5),
    np.float32(1.5),
    np.int8(-3),
    np.uint64(7),
    np.bool_(True),
    np.complex64(1j),
    np.float16(2),
]


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: str(scalar.dtype))
def test_numpy_scalars_are_read_only_tensors_without_axes(scalar: Any) -> None:
    tensor = dlbridge.from_dlpack(scalar)
    assert (tensor.shape, tensor.dtype, tensor.readonly) == ((), str(scalar.dtype), True)
    assert dlbridge.to_numpy(scalar)[()] == scalar
    assert dlbridge.to_torch(scalar, readonly="copy").item() == scalar


@pytest.mark.parametrize("scalar", [np.longdouble(1), np.str_("a"), packed_records()[0]], ids=["g", "U", "V"])
def test_other_numpy_scalars_are_refused_with_their_format(scalar: Any) -> None:
    with pytest.raises(dlbridge.UnsupportedError, match=r"the buffer has the format .* no DLPack type"):
        dlbridge.from_dlpack(scalar)


def misaligned() -> np.ndarray[Any, Any]:
    array = np.frombuffer(bytearray(33), "uint8")[1:].view("float32")
    array[:] = range(8)
    return array


def cube() -> np.ndarray[Any, Any]:
    return np.arange(24.0).reshape(2, 3, 4)


ODD: dict[str, Callable[[Path], np.ndarray[Any, Any]]] = {
    "0-d": lambda _: np.array(2.5),
    "0-d view": lambda _: cube()[1, 1, 1, ...],
    "size 0": lambda _: np.zeros((0, 3)),
    "size 0 inside": lambda _: np.zeros((2, 0, 3)),
    "size 0 slice": lambda _: cube()[5:],
    "fortran": lambda _: np.asfortranarray(cube()),
    "transposed": lambda _: cube().T,
    "sliced": lambda _: cube()[:, ::2, 1:3],
    "matrix": lambda _: np.matrix([[1.0, 2.0]]),
    "memmap": lambda path: np.memmap(path / "map", dtype="int16", mode="w+", shape=(2, 3)),
    "misaligned": lambda _: misaligned(),
    "64 axes": lambda _: np.ones((1,) * 64),
    "field": lambda _: np.zeros(3, dtype=[("a", "f4"), ("b", "f4")])["b"],
    "subclass": lambda _: cube().view(type("Mine", (np.ndarray,), {})),
    "longlong": lambda _: np.array([1, 2], "longlong"),
    "sliding": lambda _: np.lib.stride_tricks.sliding_window_view(np.arange(5.0), 2, writeable=True),
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", ODD)
def test_odd_arrays_are_shared_as_they_are(name: str, tmp_path: Path) -> None:
    array = ODD[name](tmp_path)
    there = dlbridge.to_torch(array)
    back = dlbridge.to_numpy(there)
    through = dlbridge.to_numpy(dlbridge.from_dlpack(array))
    for result in (back, through):
        assert type(result) is np.ndarray
        assert (result.dtype, result.shape) == (array.dtype, array.shape)
        assert np.array_equal(result, array)
        assert result.flags.writeable
        assert result.flags.aligned == array.flags.aligned
        if array.size:
            assert result.ctypes.data == array.ctypes.data
            assert [s for s, n in zip(result.strides, result.shape) if n > 1] == [
                s for s, n in zip(array.strides, array.shape) if n > 1
            ]


def test_no_array_has_more_than_64_axes_and_a_tensor_that_has_is_stopped() -> None:
    tensor = dlbridge.from_dlpack(np.ones((1,) * 64))[None]
    for call, name in ((dlbridge.to_numpy, "NumPy"), (dlbridge.to_torch, "torch")):
        words = rf"65 dimensions and {name} takes 64; pass parts .* x\[0\]"
        with pytest.raises(dlbridge.UnsupportedError, match=words):
            call(tensor)
        assert call(tensor[0]).ndim == 64


# --- the small floats, both ways ---

BOTH = ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu"]
NUMPY_ONLY = ["float8_e3m4", "float8_e4m3", "float8_e4m3b11fnuz"]
VALUES = [1.0, 2.0, 0.5]


@pytest.mark.parametrize("name", BOTH)
def test_small_floats_go_both_ways_with_ml_dtypes(name: str) -> None:
    array = np.array(VALUES, dtype=getattr(ml_dtypes, name))
    there = dlbridge.to_torch(array)
    assert there.dtype is getattr(torch, name)
    assert there.float().tolist() == VALUES
    back = dlbridge.to_numpy(there)
    assert back.dtype == array.dtype
    assert back.ctypes.data == array.ctypes.data
    tensor = dlbridge.from_dlpack(there)
    assert tensor.dtype == name
    assert np.asarray(tensor).dtype == array.dtype
    assert dlbridge.to_numpy(torch.tensor(VALUES).to(getattr(torch, name))).astype("float32").tolist() == VALUES


@pytest.mark.parametrize("name", NUMPY_ONLY)
def test_float8_that_torch_lacks_names_the_view(name: str) -> None:
    array = np.array(VALUES, dtype=getattr(ml_dtypes, name))
    words = rf'torch has no {name}; take the bytes with dlbridge\.from_dlpack\(x\)\.view\("uint8"\)'
    with pytest.raises(dlbridge.UnsupportedError, match=words):
        dlbridge.to_torch(array)
    bytes_ = dlbridge.to_torch(dlbridge.from_dlpack(array).view("uint8"))
    assert bytes_.tolist() == array.view("uint8").tolist()
    assert dlbridge.to_numpy(dlbridge.from_dlpack(array)).astype("float32").tolist() == VALUES


def test_packed_float4_of_torch_names_the_view() -> None:
    source = torch.tensor([0x21, 0x43], dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    tensor = dlbridge.from_dlpack(source)
    assert tensor.dtype == "float4_e2m1fnx2"
    words = r'NumPy has no float4_e2m1fnx2; .*dlbridge\.to_numpy\(dlbridge\.from_dlpack\(x\)\.view\("uint8"\)\)'
    with pytest.raises(dlbridge.UnsupportedError, match=words):
        dlbridge.to_numpy(source)
    assert dlbridge.to_numpy(dlbridge.from_dlpack(source).view("uint8")).tolist() == [0x21, 0x43]
    back = dlbridge.to_torch(tensor)
    assert back.dtype is torch.float4_e2m1fn_x2
    assert back.data_ptr() == source.data_ptr()


def test_values_that_only_bits_can_tell_survive() -> None:
    bits = np.array([0x7FC0_0001, 0xFFC1_2345, 0x8000_0000, 0x7F80_0000, 0x0000_0001], "uint32")
    array = bits.view("float32")
    assert dlbridge.to_numpy(dlbridge.to_torch(array)).view("uint32").tolist() == bits.tolist()
    assert dlbridge.to_torch(array).isnan().tolist() == [True, True, False, False, False]
