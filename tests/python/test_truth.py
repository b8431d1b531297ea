"""Sources that promise not to be written, columns with missing values, things that are no arrays, and arguments."""

from __future__ import annotations

import ctypes
import datetime
import decimal
import gc
import mmap
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge

CHOICES = r'read-only .* pass readonly="copy" .* or readonly="alias"'


def mapped(tmp_path: Path) -> Any:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(range(16)))
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def unwritable(tmp_path: Path) -> Any:
    array = np.arange(16, dtype="uint8")
    array.flags.writeable = False
    return array


def memmapped(tmp_path: Path) -> Any:
    (tmp_path / "bytes").write_bytes(bytes(range(16)))
    return np.memmap(tmp_path / "bytes", dtype="uint8", mode="r")


def arrow(tmp_path: Path) -> Any:
    return pytest.importorskip("pyarrow", reason="pyarrow is not installed").array(range(16), "uint8")


def pandas(tmp_path: Path) -> Any:
    return (
        pytest.importorskip("pandas", reason="pandas is not installed").Series(range(16), dtype="uint8").to_numpy()
    )


READ_ONLY: dict[str, Callable[[Path], Any]] = {
    "unwritable": unwritable,
    "bytes": lambda _: bytes(range(16)),
    "memoryview_of_bytes": lambda _: memoryview(bytes(range(16))),
    "readonly_memoryview": lambda _: memoryview(bytearray(range(16))).toreadonly(),
    "frombuffer": lambda _: np.frombuffer(bytes(range(16)), "uint8"),
    "broadcast": lambda _: np.broadcast_to(np.arange(16, dtype="uint8"), (2, 16))[0],
    "view_of_unwritable": lambda path: unwritable(path)[:],
    "mmap": mapped,
    "memmap": memmapped,
    "arrow": arrow,
    "pandas": pandas,
    "Tensor": lambda path: dlbridge.from_dlpack(unwritable(path)),
    "capsule": lambda path: dlbridge.from_dlpack(unwritable(path)).__dlpack__(max_version=(1, 3)),
}


@pytest.mark.parametrize("name", READ_ONLY)
def test_a_read_only_source_goes_to_torch_only_as_the_caller_says(name: str, tmp_path: Path) -> None:
    values = list(range(16))
    with pytest.raises(dlbridge.ReadOnlyError, match=CHOICES) as caught:
        dlbridge.to_torch(READ_ONLY[name](tmp_path))
    assert isinstance(caught.value, BufferError)
    source = dlbridge.from_dlpack(READ_ONLY[name](tmp_path))
    copied = dlbridge.to_torch(source, readonly="copy")
    assert copied.data_ptr() != source.data_ptr
    assert copied.tolist() == values
    copied += 1  # its own memory, so it may be written
    shared = dlbridge.to_torch(source, readonly="alias")
    assert shared.data_ptr() == source.data_ptr
    assert shared.tolist() == values
    forced = dlbridge.to_torch(source, copy=True)
    assert forced.data_ptr() != source.data_ptr


@pytest.mark.parametrize("name", READ_ONLY)
def test_the_flag_survives_every_re_export(name: str, tmp_path: Path) -> None:
    tensor = dlbridge.from_dlpack(READ_ONLY[name](tmp_path))
    address = tensor.data_ptr
    for _ in range(2):
        assert tensor.readonly
        tensor = dlbridge.from_dlpack(tensor.__dlpack__(max_version=(1, 3)))  # a capsule
        assert tensor.readonly
        tensor = dlbridge.from_dlpack(dlbridge.to_numpy(tensor))  # NumPy
        assert tensor.readonly
        tensor = dlbridge.from_dlpack(memoryview(dlbridge.to_numpy(tensor)))  # the buffer protocol
        assert tensor.readonly
        tensor = dlbridge.from_dlpack(np.from_dlpack(tensor))  # NumPy's own consumer
        assert tensor.readonly
        tensor = tensor.view("int8").view("uint8")[::-1][::-1][None][0]  # views
    assert tensor.data_ptr == address


@pytest.mark.parametrize("name", READ_ONLY)
def test_numpy_results_of_read_only_sources_cannot_be_written(name: str, tmp_path: Path) -> None:
    source = dlbridge.from_dlpack(READ_ONLY[name](tmp_path))
    for array in (dlbridge.to_numpy(source), np.asarray(source), source.numpy(), np.from_dlpack(source)):
        assert not array.flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
        with pytest.raises(ValueError, match="WRITEABLE"):
            array.flags.writeable = True
    assert dlbridge.to_numpy(source, copy=True).flags.writeable
    assert np.array(source).flags.writeable


def test_copy_true_and_a_writable_source_need_no_choice() -> None:
    array = np.arange(3.0)
    for choice in ("error", "copy", "alias"):
        assert dlbridge.to_torch(array, readonly=choice).data_ptr() == array.ctypes.data


def test_copy_false_never_copies() -> None:
    source = np.frombuffer(bytes(16), "uint8")
    with pytest.raises(BufferError, match="copy=False"):
        dlbridge.to_torch(source, copy=False, readonly="copy")


def test_a_writable_mmap_stays_open_while_it_is_shared(tmp_path: Path) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(bytes(16))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        tensor = dlbridge.to_torch(memory)
        tensor[3] = 7
        assert memory[3] == 7
        with pytest.raises(BufferError, match="exported pointers exist"):
            memory.close()
        del tensor
        gc.collect()  # torch lets go without the GIL, so the buffer is given back a few bytecodes later
    assert path.read_bytes()[3] == 7


# --- columns ---


def test_arrow_nulls_are_counted_and_can_be_filled() -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    column = pa.array([1.0, None, 3.0, None])
    for call in (dlbridge.from_dlpack, dlbridge.to_numpy, dlbridge.to_torch):
        with pytest.raises(dlbridge.UnsupportedError, match=r"DoubleArray has 2 nulls.*x\.fill_null\(value\)"):
            call(column)
    assert dlbridge.to_numpy(column.fill_null(0)).tolist() == [1, 0, 3, 0]


def test_arrow_shares_what_has_no_nulls() -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    column = pa.array([1.0, 2.0, 3.0])
    tensor = dlbridge.from_dlpack(column)
    assert tensor.data_ptr == column.buffers()[1].address
    assert tensor.readonly
    assert dlbridge.from_dlpack(column.slice(1)).data_ptr == tensor.data_ptr + 8


def test_a_chunked_array_names_combine_chunks() -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    column = pa.chunked_array([[1.0], [2.0, 3.0]])
    with pytest.raises(dlbridge.UnsupportedError, match=r"pieces \(here 2\); pass x\.combine_chunks\(\)"):
        dlbridge.from_dlpack(column)
    assert dlbridge.explain(column, "torch").nbytes == column.nbytes  # they are copied together
    single = pa.chunked_array([[1.0, 2.0]])
    with pytest.raises(dlbridge.UnsupportedError, match=r"pieces \(here 1\); pass x\.chunk\(0\)"):
        dlbridge.from_dlpack(single)
    assert dlbridge.explain(single, "torch").nbytes == 0
    assert dlbridge.from_dlpack(single.chunk(0)).data_ptr == single.chunk(0).buffers()[1].address
    combined = column.combine_chunks()
    assert dlbridge.to_numpy(combined).tolist() == [1, 2, 3]
    with pytest.raises(dlbridge.UnsupportedError, match="ChunkedArray has 1 nulls"):
        dlbridge.from_dlpack(pa.chunked_array([[1.0], [None]]))


DAY = datetime.datetime(1970, 1, 2)

ARROW: dict[str, tuple[list[Any], str, Callable[[Any], Any], list[Any]]] = {
    "bool": ([True, False], r'cast\("uint8"\), or .*', lambda x: x.cast("uint8"), [1, 0]),
    "bool_numpy": ([True], r".*to_numpy\(zero_copy_only=False\)", lambda x: x.to_numpy(zero_copy_only=False), [1]),
    "string": (["1.5"], r".*spell numbers", lambda x: x.cast("float64"), [1.5]),
    "date32[day]": ([DAY.date()], r'pass x\.view\("int32"\)', lambda x: x.view("int32"), [1]),
    "timestamp[us]": ([DAY], r'pass x\.view\("int64"\)', lambda x: x.view("int64"), [86_400_000_000]),
    "time64[us]": ([DAY.time()], r'pass x\.view\("int64"\)', lambda x: x.view("int64"), [0]),
    "duration[us]": (
        [datetime.timedelta(1)],
        r'pass x\.view\("int64"\)',
        lambda x: x.view("int64"),
        [86_400_000_000],
    ),
    "decimal128(2, 1)": (
        [decimal.Decimal("1.5")],
        r'pass x\.cast\("float64"\)',
        lambda x: x.cast("float64"),
        [1.5],
    ),
    "list<item: int64>": ([[1], [2, 3]], r"its values, x\.flatten\(\)", lambda x: x.flatten(), [1, 2, 3]),
    "struct<a: int64>": ([{"a": 7}], r"fields, x\.field\(0\)", lambda x: x.field(0), [7]),
}


@pytest.mark.parametrize("name", ARROW)
def test_arrow_types_without_a_dlpack_type_are_refused_with_the_call_that_works(name: str) -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    values, call, mend, wanted = ARROW[name]
    column = pa.array(values)
    words = rf"Array of type {re.escape(name.removesuffix('_numpy'))} has no DLPack type; .*{call}$"
    for convert in (dlbridge.from_dlpack, dlbridge.to_torch):
        with pytest.raises(dlbridge.UnsupportedError, match=words):
            convert(column)
    assert dlbridge.to_numpy(dlbridge.from_dlpack(mend(column))).tolist() == wanted


def test_an_arrow_dictionary_is_refused_and_what_it_is_of_is_not() -> None:
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    column = pa.array([5, 7, 5]).dictionary_encode()
    with pytest.raises(dlbridge.UnsupportedError, match=r"pass x\.indices, or x\.dictionary_decode\(\)$"):
        dlbridge.from_dlpack(column)
    assert dlbridge.to_numpy(column.indices).tolist() == [0, 1, 0]
    assert dlbridge.to_numpy(column.dictionary_decode()).tolist() == [5, 7, 5]


def test_pandas_missing_values_are_counted_and_can_be_filled() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    column = pd.Series([1, None, 3], dtype="Int64")
    words = r"Series of dtype Int64 has 1 missing values; pass x\.to_numpy\(dtype=\.\.\., na_value=\.\.\.\)"
    with pytest.raises(dlbridge.UnsupportedError, match=words):
        dlbridge.from_dlpack(column)
    array = column.to_numpy(dtype="int64", na_value=-1)
    assert dlbridge.to_torch(array, readonly="copy").tolist() == [1, -1, 3]


def test_pandas_objects_name_their_dtype() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    column = pd.Series(["1.5", "2"], dtype=object)
    words = r'holds Python objects \(dtype object\); .*x\.astype\("float64"\)\.to_numpy\(\)'
    with pytest.raises(dlbridge.UnsupportedError, match=words):
        dlbridge.from_dlpack(column)
    assert dlbridge.to_numpy(column.astype("float64").to_numpy()).tolist() == [1.5, 2]
    for plain in (pd.Series([1.0, 2.0]), pd.DataFrame({"a": [1.0]}), pd.Index([1, 2])):
        with pytest.raises(dlbridge.UnsupportedError, match=r"is no array; pass x\.to_numpy\(\)"):
            dlbridge.from_dlpack(plain)
        assert dlbridge.from_dlpack(plain.to_numpy()).size == plain.size


# --- what is no array ---

NO_ARRAYS = [
    [1, 2],
    (1, 2),
    {"a": 1},
    None,
    1,
    1.5,
    True,
    "text",
    {1},
    object(),
    range(3),
    [torch.ones(2)],
]


@pytest.mark.parametrize("call", [dlbridge.from_dlpack, dlbridge.to_numpy, dlbridge.to_torch])
@pytest.mark.parametrize("thing", NO_ARRAYS, ids=lambda thing: type(thing).__name__)
def test_what_is_no_array_is_refused_naming_asarray(thing: Any, call: Callable[[Any], Any]) -> None:
    words = rf"{type(thing).__name__}\b.* is no DLPack producer: .*numpy\.asarray\(x\)"
    with pytest.raises(dlbridge.NotAnArrayError, match=words) as caught:
        call(thing)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("thing", [[1, 2], (1, 2), 1, 1.5, True])
def test_asarray_is_the_call_that_works(thing: Any) -> None:
    assert dlbridge.to_torch(np.asarray(thing)).tolist() == (list(thing) if isinstance(thing, tuple) else thing)


def test_ctypes_arrays_and_the_standard_array_are_shared() -> None:
    values = (ctypes.c_double * 3)(1, 2, 3)
    tensor = dlbridge.to_torch(values)
    tensor[0] = 9
    assert values[0] == 9
    assert tensor.data_ptr() == ctypes.addressof(values)


# --- arguments ---


@pytest.mark.parametrize("call", [dlbridge.from_dlpack, dlbridge.to_numpy, dlbridge.to_torch])
def test_wrong_calls_are_type_errors(call: Callable[..., Any]) -> None:
    name, array = call.__name__, np.ones(2)
    with pytest.raises(TypeError, match=rf"{name}\(\) takes 1 positional(-only)? arguments? but 0 were given"):
        call()
    with pytest.raises(TypeError, match=rf"{name}\(\) takes 1 positional(-only)? arguments? but 2 were given"):
        call(array, array)
    with pytest.raises(TypeError, match=rf"{name}\(\) got an unexpected keyword argument 'colour'"):
        call(array, colour=1)


@pytest.mark.parametrize("wrong", ["maybe", "", None, True, "ALIAS"])
def test_a_wrong_readonly_is_named_with_the_three_that_exist(wrong: Any) -> None:
    with pytest.raises(ValueError, match=rf'readonly is .?{wrong}.?; pass "error", "copy" or "alias"') as caught:
        dlbridge.to_torch(np.ones(2), readonly=wrong)
    assert isinstance(caught.value, dlbridge.InvalidArgumentError)


@pytest.mark.parametrize("copy", [None, False, True])
@pytest.mark.parametrize("make", [np.ones, torch.ones, lambda n: dlbridge.from_dlpack(np.ones(n))])
def test_copy_is_never_always_or_only_if_it_must(make: Callable[[int], Any], copy: bool | None) -> None:
    source = make(4)
    address = dlbridge.from_dlpack(source).data_ptr
    assert (dlbridge.to_numpy(source, copy=copy).ctypes.data == address) is (copy is not True)
    assert (dlbridge.to_torch(source, copy=copy).data_ptr() == address) is (copy is not True)


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


@pytest.mark.parametrize(
    "device",
    ["cpu", "cpu:0", "cpu:1", (1, 0), (1, 1), torch.ones(1).__dlpack_device__(), torch.device("cpu"), None],
)
@pytest.mark.parametrize("call", [dlbridge.from_dlpack, dlbridge.to_torch])
def test_the_device_can_be_confirmed(call: Callable[..., Any], device: Any) -> None:
    assert str(call(np.ones(2), device=device).device) == "cpu"


def test_the_device_of_a_torch_tensor_can_be_confirmed() -> None:
    tensor = torch.ones(2)
    assert dlbridge.from_dlpack(tensor, device=(1, 0)).device == "cpu"
    for device in ("cpu", "cpu:0", "cpu:1", (1, 0), (1, 1), tensor.__dlpack_device__(), torch.device("cpu"), None):
        assert dlbridge.to_torch(tensor, device=device) is tensor
    meta = torch.ones(2, device="meta")  # a device that DLPack has no name for
    assert dlbridge.to_torch(meta, device=torch.device("meta")) is meta
    with pytest.raises(dlbridge.UnsupportedError, match="on the meta device and has no data"):
        dlbridge.to_torch(meta, device="cpu")


@pytest.mark.parametrize(
    "device", ["bogus", "", "cuda:", "cpu:x", 1, (1,), ("cpu", 0), (99, 0), (-1, 0), (2, -1), (True, 0)]
)
@pytest.mark.parametrize("make", [np.ones, torch.ones])
def test_a_device_that_is_none_is_named_with_what_is_accepted(make: Callable[[int], Any], device: Any) -> None:
    shown = re.escape(str(device))
    words = rf'device is ("{shown}", which DLPack does not know; pass a name|{shown}; pass a tuple of two integers)'
    for call in (dlbridge.to_torch, dlbridge.from_dlpack):
        with pytest.raises((ValueError, TypeError), match=words):
            call(make(2), device=device)


@pytest.mark.parametrize("call", [dlbridge.from_dlpack, dlbridge.to_torch])
def test_a_device_that_is_not_here_is_unavailable_with_the_reason(call: Callable[..., Any]) -> None:
    for device in ("cuda:0", torch.device("cuda", 0), (2, 0)):
        with pytest.raises(dlbridge.UnavailableError, match="no streams on cuda:0 here: libcuda"):
            call(np.ones(2), device=device)
        with pytest.raises(dlbridge.CopyRequiredError, match=r"the data is on cpu.* copy=False"):
            call(np.ones(2), device=device, copy=False)


def test_a_device_that_is_not_here_is_unavailable_for_a_torch_tensor_too() -> None:
    with pytest.raises(dlbridge.UnavailableError, match="no streams on cuda:0 here"):
        dlbridge.to_torch(torch.ones(2), device="cuda:0")


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
