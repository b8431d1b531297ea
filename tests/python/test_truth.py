"""Sources that promise not to be written, things that are no arrays, and arguments."""

from __future__ import annotations

import ctypes
import gc
import mmap
import re
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


# --- what is no array ---

ASARRAY = r"pass an array, for example numpy\.asarray\(x\)"
NO_ARRAYS = [
    *((thing, ASARRAY + "$") for thing in (1, 1.5, True, object(), range(3))),
    *((thing, ASARRAY + r", or dlbridge\.stack\(x\) where it holds arrays$") for thing in ([1, 2], (1, 2))),
    ((array for array in [np.ones(2)]), r"for example dlbridge\.stack\(x\) where it yields arrays$"),
    # NumPy makes no numbers of these.
    *((thing, "pass an array$") for thing in ({"a": 1}, None, "text", {1}, lambda: 1, sys)),
]


@pytest.mark.parametrize("call", [dlbridge.from_dlpack, dlbridge.to_numpy, dlbridge.to_torch])
@pytest.mark.parametrize(("thing", "remedy"), NO_ARRAYS, ids=lambda thing: type(thing).__name__)
def test_what_is_no_array_is_refused_with_a_call_that_makes_one(
    thing: Any, remedy: str, call: Callable[[Any], Any]
) -> None:
    words = rf"{type(thing).__name__}\b.* is no DLPack producer: .*; .*{remedy}"
    with pytest.raises(dlbridge.NotAnArrayError, match=words) as caught:
        call(thing)
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("kind", [np.ndarray, torch.Tensor, dlbridge.Tensor, int])
def test_a_class_is_no_array(kind: Any) -> None:
    with pytest.raises(dlbridge.NotAnArrayError, match=r"^x is a class and no array; pass an instance$"):
        dlbridge.from_dlpack(kind)


def test_memory_that_cuda_array_interface_alone_shows_is_named() -> None:
    class Numba:
        def __init__(self) -> None:
            self.__cuda_array_interface__ = {"shape": (3,), "typestr": "<f4", "data": (512, False), "version": 3}

    words = r'^a Numba shows its memory by __cuda_.*; pass torch\.as_tensor\(x, device="cuda"\), or cupy'
    with pytest.raises(dlbridge.UnsupportedError, match=words):
        dlbridge.to_torch(Numba())


@pytest.mark.parametrize("thing", [[1, 2], (1, 2), 1, 1.5, True])
def test_asarray_is_the_call_that_works(thing: Any) -> None:
    assert dlbridge.to_torch(np.asarray(thing)).tolist() == (list(thing) if isinstance(thing, tuple) else thing)


def test_ctypes_arrays_and_the_standard_array_are_shared() -> None:
    values = (ctypes.c_double * 3)(1, 2, 3)
    tensor = dlbridge.to_torch(values)
    tensor[0] = 9
    assert values[0] == 9
    assert tensor.data_ptr() == ctypes.addressof(values)


def test_ctypes_pointers_and_structs_are_refused_with_a_call_that_shows_their_memory() -> None:
    pixels = (ctypes.c_uint8 * 6)(*range(6))
    pointer = ctypes.cast(pixels, ctypes.POINTER(ctypes.c_uint8))
    with pytest.raises(dlbridge.UnsupportedError, match=r"pass numpy\.ctypeslib\.as_array\(x, shape\)$"):
        dlbridge.from_dlpack(pointer)
    assert dlbridge.from_dlpack(np.ctypeslib.as_array(pointer, (2, 3))).data_ptr == ctypes.addressof(pixels)
    address = ctypes.cast(pixels, ctypes.c_void_p)
    with pytest.raises(
        dlbridge.UnsupportedError, match=r"pass \(ctypes\.c_uint8 \* size\)\.from_address\(x\.value\)$"
    ):
        dlbridge.from_dlpack(address)
    assert dlbridge.from_dlpack((ctypes.c_uint8 * 6).from_address(address.value or 0)).tolist() == list(range(6))

    class Pixel(ctypes.Structure):
        _fields_ = [("red", ctypes.c_uint8), ("green", ctypes.c_uint8)]

    pair = (Pixel * 2)((1, 2), (3, 4))
    with pytest.raises(dlbridge.UnsupportedError, match=r'pass one of its fields, numpy\.asarray\(x\)\["field"\]$'):
        dlbridge.from_dlpack(pair)
    assert dlbridge.from_dlpack(np.asarray(pair)["green"]).tolist() == [2, 4]


# --- arguments ---


@pytest.mark.parametrize("call", [dlbridge.from_dlpack, dlbridge.to_numpy, dlbridge.to_torch])
def test_wrong_calls_are_type_errors(call: Callable[..., Any]) -> None:
    name, array = call.__name__, np.ones(2)
    with pytest.raises(TypeError, match=rf"^{name}\(\) needs x, by position; call {name}\(x\)$"):
        call()
    with pytest.raises(TypeError, match=rf"^{name}\(\) needs x, by position; call {name}\(x\)$"):
        call(x=array)
    with pytest.raises(
        TypeError,
        match=rf"^{name}\(\) takes x by position, and 2 were given; call {name}\(x\), and name the rest: .*copy=",
    ):
        call(array, array)
    with pytest.raises(TypeError, match=rf"{name}\(\) .* unexpected keyword argument 'colour'; there are .*copy="):
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
    moves = "and dlbridge moves to the CPU and to CUDA devices only"
    words = rf'device is ("{shown}"|{shown})(, {moves}|; pass a tuple)'
    for call in (dlbridge.to_torch, dlbridge.from_dlpack):
        with pytest.raises((ValueError, TypeError), match=words):
            call(make(2), device=device)


@pytest.mark.parametrize("call", [dlbridge.from_dlpack, dlbridge.to_torch])
def test_a_device_that_is_not_here_is_unavailable_with_the_reason(call: Callable[..., Any]) -> None:
    for device in ("cuda:0", torch.device("cuda", 0), (2, 0)):
        with pytest.raises(dlbridge.UnavailableError, match="cuda:0 cannot be used here: libcuda"):
            call(np.ones(2), device=device)
        with pytest.raises(dlbridge.CopyRequiredError, match=r"the data is on cpu.* copy=False"):
            call(np.ones(2), device=device, copy=False)


def test_a_device_that_is_not_here_is_unavailable_for_a_torch_tensor_too() -> None:
    with pytest.raises(dlbridge.UnavailableError, match="cuda:0 cannot be used here"):
        dlbridge.to_torch(torch.ones(2), device="cuda:0")
