"""`dtype=`: read in every spelling that NumPy and torch read, and what has two meanings or none is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge

SAME = ["float64", np.float64, np.dtype("float64"), torch.float64, torch.double, None]
OTHER = ["float32", np.float32, np.dtype("float32"), torch.float32]


@pytest.mark.parametrize("call", [dlbridge.to_numpy, dlbridge.to_torch])
@pytest.mark.parametrize("make", [np.ones, lambda n: torch.ones(n, dtype=torch.float64)])
def test_another_dtype_is_a_cast_into_memory_of_its_own(
    call: Callable[..., Any], make: Callable[[int], Any]
) -> None:
    source = make(3)
    for same in SAME:
        assert str(call(source, dtype=same).dtype).endswith("float64")
    for other in OTHER:
        made = call(source, dtype=other)
        assert str(made.dtype).endswith("float32")
        assert made.tolist() == [1, 1, 1]
        with pytest.raises(dlbridge.CopyRequiredError, match="float64 becomes float32 in memory of its own only"):
            call(source, dtype=other, copy=False)
    cast = source.astype("float32") if isinstance(source, np.ndarray) else source.to(torch.float32)
    assert str(call(cast, dtype="float32").dtype).endswith("float32")


SPELLINGS: list[Any] = [
    *"?bBhHiIlLqQnNpPefdFD",
    *("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16"),
    *("<f4", "=f4", "|f4", "<i8", "|u1", ">u1", "|b1"),
    *(
        "bool_",
        "ubyte",
        "short",
        "ushort",
        "intc",
        "uintc",
        "long",
        "ulong",
        "longlong",
        "ulonglong",
        "int_",
        "intp",
    ),
    *("uint", "uintp", "half", "single", "double", "complex", "csingle", "cdouble", "float32", "int8"),
    *(float, int, bool, complex),
    *(np.byte, np.longlong, np.intp, np.half, np.csingle, np.bool_, np.dtype("<f4"), np.dtype("long")),
]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=str)
def test_a_dtype_is_read_in_every_spelling_that_numpy_reads(spelling: Any) -> None:
    dtype = np.dtype(spelling)
    array, other = np.ones(2, dtype), np.ones(2, "uint16" if dtype == np.uint8 else "uint8")
    tensor = dlbridge.to_torch(array)
    assert dlbridge.to_numpy(array, dtype=spelling) is array
    assert dlbridge.to_torch(array, dtype=spelling).data_ptr() == array.ctypes.data
    assert dlbridge.to_torch(tensor, dtype=spelling) is tensor
    assert dlbridge.from_dlpack(np.ones(16, "uint8")).view(spelling).dtype == dtype.name
    for call in (dlbridge.to_numpy, dlbridge.to_torch):
        made = call(other, dtype=spelling, casting="same_value")
        assert dlbridge.from_dlpack(made).dtype == dtype.name
        with pytest.raises(dlbridge.CopyRequiredError, match=f"{other.dtype} becomes {dtype.name} in memory of"):
            call(other, dtype=spelling, copy=False)


@pytest.mark.filterwarnings("ignore")
def test_the_dtypes_of_ml_dtypes_and_torch_are_confirmed() -> None:
    import ml_dtypes

    tensor = torch.ones(2, dtype=torch.bfloat16)
    for same in ("bfloat16", ml_dtypes.bfloat16, np.dtype(ml_dtypes.bfloat16), torch.bfloat16):
        assert dlbridge.to_torch(tensor, dtype=same) is tensor
        assert dlbridge.to_numpy(tensor, dtype=same).dtype == ml_dtypes.bfloat16
    four = torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    assert dlbridge.to_torch(dlbridge.from_dlpack(four), dtype=torch.float4_e2m1fn_x2).dtype == four.dtype
    quantized = torch._empty_affine_quantized(2, scale=1.0, zero_point=0, dtype=torch.quint8)
    assert dlbridge.to_torch(quantized, dtype=torch.quint8) is quantized  # although DLPack has none like it


@pytest.mark.parametrize(
    ("given", "two"), [("float", "float64.*float32"), ("int", "int64.*int32"), ("byte", "int8.*u")]
)
def test_a_dtype_that_numpy_and_torch_read_differently_is_refused(given: str, two: str) -> None:
    for source in (np.ones(2), np.ones(2, "float32"), torch.ones(2), np.ones(2, "int8")):
        with pytest.raises(ValueError, match=f'dtype is "{given}", which is {two}.*name the one you mean'):
            dlbridge.to_torch(source, dtype=given)


@pytest.mark.parametrize(
    "given",
    [
        "nonsense",
        "",
        "f3",
        "f16",
        "V",
        "U4",
        "datetime64[s]",
        "torch.float",
        3,
        True,
        object,
        np.dtype("M8[s]"),
        torch.quint8,
    ],
)
def test_a_dtype_that_is_none_is_named(given: Any) -> None:
    name = re.escape(getattr(given, "__name__", str(given)).removeprefix("torch."))
    for call in (dlbridge.to_numpy, dlbridge.to_torch):
        with pytest.raises(
            ValueError, match=f'^"{name}" names no dtype; write it as NumPy does: float32'
        ) as caught:
            call(np.ones(2), dtype=given)
        assert isinstance(caught.value, dlbridge.InvalidArgumentError)


@pytest.mark.parametrize("function", [torch.complex, torch.ones(1).double, torch.Tensor.half])
def test_a_function_named_like_a_dtype_is_none(function: Any) -> None:
    for source in (np.ones(2, "complex128"), np.ones(2), np.ones(2, "float16")):
        for call in (dlbridge.to_numpy, dlbridge.to_torch):
            with pytest.raises(ValueError, match=r"method.*names no dtype; write it as NumPy does"):
                call(source, dtype=function)


def test_a_dtype_in_the_other_byte_order_is_refused() -> None:
    with pytest.raises(ValueError, match='dtype is ">f4", which is in the other byte order'):
        dlbridge.to_torch(np.ones(2, "f4"), dtype=">f4")


def test_the_first_call_of_a_process_may_be_a_cast() -> None:
    code = (
        "import numpy as np, torch, dlbridge\n"
        "for dtype, x in (('bfloat16', np.ones(2)), ('bfloat16', torch.ones(2)), ('int16', np.ones(2, 'int8'))):\n"
        "    print((dlbridge.to_numpy if isinstance(x, np.ndarray) else dlbridge.to_torch)(x, dtype=dtype).dtype)\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["bfloat16", "torch.bfloat16", "int16"]


def test_reading_a_dtype_imports_no_numpy() -> None:
    code = (
        "import sys, dlbridge\n"
        "t = dlbridge.from_dlpack(bytearray(8)).view('f4').view(float).view('half')\n"
        "print(t.dtype, 'numpy' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["float16", "False"]


def test_the_error_names_the_view_where_ml_dtypes_is_missing() -> None:
    code = (
        "import sys; sys.modules['ml_dtypes'] = None\n"
        "import dlbridge, numpy, torch\n"
        "x = torch.tensor([1.0, -2.0], dtype=torch.bfloat16)\n"
        "y = torch.tensor([1.0, -2.0]).to(torch.float8_e4m3fn)\n"
        "for z in (x, y):\n"
        "    for call in (dlbridge.to_numpy, lambda z: numpy.asarray(dlbridge.from_dlpack(z))):\n"
        "        try: call(z)\n"
        "        except dlbridge.UnsupportedError as error: print(error)\n"
        "print(dlbridge.to_numpy(dlbridge.from_dlpack(x).view('uint16')).tolist())\n"
        "print(dlbridge.to_numpy(dlbridge.from_dlpack(y).view('uint8')).tolist())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = run.stdout.splitlines()
    view = 'or take the bytes with dlbridge.to_numpy(dlbridge.from_dlpack(x).view("uint{}"))'
    assert lines[0] == lines[1] == f"NumPy has no bfloat16; run pip install -U ml_dtypes, {view.format(16)}"
    assert lines[2] == lines[3] == f"NumPy has no float8_e4m3fn; run pip install -U ml_dtypes, {view.format(8)}"
    assert lines[4:] == ["[16256, 49152]", "[56, 192]"]
