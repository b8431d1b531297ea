"""dlbridge as a DLPack producer. Test names carry the numbers of the compatibility list in the README."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlbridge
from dlpack_structs import delete, legacy_in, name_of, take, versioned_in


def tensor_of(*shape: int, dtype: str = "float32") -> dlbridge.Tensor:
    return dlbridge.from_dlpack(np.arange(np.prod(shape), dtype=dtype).reshape(shape))


def readonly_array() -> np.ndarray[Any, Any]:
    array = np.arange(6.0)
    array.flags.writeable = False
    return array


@pytest.mark.parametrize("max_version", [(1, 0), (1, 1), (1, 3), (1, 99)])
def test_p01_max_version_1_gets_a_versioned_tensor(max_version: tuple[int, int]) -> None:
    capsule = tensor_of(2, 3).__dlpack__(max_version=max_version)
    assert name_of(capsule) == b"dltensor_versioned"
    managed = versioned_in(capsule)
    assert (managed.major, managed.minor) == (1, 3)


@pytest.mark.parametrize("max_version", [None, (0, 8), (0, 0)])
def test_p02_no_or_old_max_version_gets_a_legacy_tensor(max_version: tuple[int, int] | None) -> None:
    capsule = tensor_of(2, 3).__dlpack__(max_version=max_version)
    assert name_of(capsule) == b"dltensor"
    assert legacy_in(capsule).dl_tensor.ndim == 2


def test_p02_no_keywords_at_all_is_legacy() -> None:
    assert name_of(tensor_of(1).__dlpack__()) == b"dltensor"


def test_p03_legacy_of_read_only_is_a_buffer_error() -> None:
    tensor = dlbridge.from_dlpack(readonly_array())
    words = r"read-only, .* legacy .*JAX and TensorFlow.*numpy\.array\(x\), .*__dlpack__\(max_version=\(1, 3\)\)"
    with pytest.raises(BufferError, match=words) as caught:
        tensor.__dlpack__()
    assert isinstance(caught.value, dlbridge.ReadOnlyError)
    assert name_of(dlbridge.from_dlpack(np.array(tensor)).__dlpack__()) == b"dltensor"
    assert name_of(tensor.__dlpack__(max_version=(1, 3))) == b"dltensor_versioned"


def test_p04_max_version_2_gets_1_3() -> None:
    managed = versioned_in(tensor_of(2).__dlpack__(max_version=(2, 0)))
    assert (managed.major, managed.minor) == (1, 3)


@pytest.mark.parametrize("bad", [1, "1.0", (1,), (1, 0, 0), (1.0, 0), ("1", "0"), [1, 0], (True, 0), ()])
def test_p05_malformed_max_version_is_a_type_error(bad: Any) -> None:
    with pytest.raises(TypeError, match="max_version"):
        tensor_of(2).__dlpack__(max_version=bad)


def test_p06_p07_p08_strides_0d_and_empty() -> None:
    empty = versioned_in(tensor_of(0, 3).__dlpack__(max_version=(1, 3))).dl_tensor
    assert not empty.data
    assert empty.strides[:2] == [3, 1]
    scalar = versioned_in(dlbridge.from_dlpack(np.array(7.0)).__dlpack__(max_version=(1, 3))).dl_tensor
    assert scalar.ndim == 0
    assert scalar.data


def test_p11_read_only_survives_every_export() -> None:
    tensor = dlbridge.from_dlpack(readonly_array())
    for _ in range(3):
        assert versioned_in(tensor.__dlpack__(max_version=(1, 3))).flags == 1
        tensor = dlbridge.from_dlpack(tensor.__dlpack__(max_version=(1, 3)))[::2]
    assert not np.from_dlpack(tensor).flags.writeable


def test_p15_every_export_has_its_own_header_and_keeps_the_source() -> None:
    array = np.arange(6.0)
    watch = weakref.ref(array)
    tensor = dlbridge.from_dlpack(array)
    first, second = (take(tensor.__dlpack__(max_version=(1, 3))) for _ in range(2))
    assert ctypes.addressof(first) != ctypes.addressof(second)
    assert ctypes.addressof(first.dl_tensor.shape.contents) != ctypes.addressof(second.dl_tensor.shape.contents)
    del array, tensor
    delete(first)
    gc.collect()
    assert watch() is not None
    delete(second)
    gc.collect()
    assert watch() is None


@pytest.mark.parametrize("max_version", [(1, 3), None])
def test_p16_an_unconsumed_capsule_deletes_once(max_version: tuple[int, int] | None) -> None:
    array = np.arange(6.0)
    watch = weakref.ref(array)
    tensor = dlbridge.from_dlpack(array)
    before = dlbridge.live_exports()
    capsule = tensor.__dlpack__(max_version=max_version)
    assert dlbridge.live_exports() == before + 1
    del array, tensor
    assert watch() is not None
    del capsule
    assert dlbridge.live_exports() == before
    assert watch() is None


def test_p16_a_consumed_capsule_never_deletes() -> None:
    tensor = tensor_of(3)
    capsule = tensor.__dlpack__(max_version=(1, 3))
    again = dlbridge.from_dlpack(capsule)
    live = dlbridge.live_exports()
    del capsule
    assert dlbridge.live_exports() == live
    del again


def test_p17_the_deleter_runs_on_a_plain_thread(native: ctypes.PyDLL, native_path: Path) -> None:
    array = np.arange(6.0)
    watch = weakref.ref(array)
    managed = take(dlbridge.from_dlpack(array).__dlpack__(max_version=(1, 3)))
    del array
    # CDLL lets go of the GIL, so that the thread's deleter, which ends in NumPy's, can take it.
    released = ctypes.CDLL(str(native_path))
    assert released.delete_on_plain_thread(ctypes.c_void_p(ctypes.addressof(managed))) == 0
    assert watch() is None


AFTER_THE_END = """
import ctypes, sys
import numpy as np
import dlbridge
from dlpack_structs import take
native = ctypes.PyDLL(sys.argv[1])
managed = take(dlbridge.from_dlpack(np.arange(1000.0)).__dlpack__(max_version=(1, 3)))
native.delete_at_exit(ctypes.c_void_p(ctypes.addressof(managed)))
kept = dlbridge.from_dlpack(np.arange(10.0))  # and one that module teardown finds
capsule = kept.__dlpack__(max_version=(1, 3))
"""


def test_p19_after_the_interpreter_has_finalised(native_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", AFTER_THE_END, str(native_path)],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "deleted after the interpreter\n", "")


def test_p20_a_destroyed_capsule_leaves_a_pending_exception(native: ctypes.PyDLL) -> None:
    native.exception_survives_drop.argtypes = [ctypes.c_void_p]
    for max_version in ((1, 3), None):
        capsule = dlbridge.from_dlpack(np.arange(6.0)).__dlpack__(max_version=max_version)
        address = id(capsule)
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(capsule))
        del capsule
        assert native.exception_survives_drop(address) == 1


def test_p22_dlpack_device_equals_the_capsule() -> None:
    tensor = tensor_of(2)
    device = versioned_in(tensor.__dlpack__(max_version=(1, 3))).dl_tensor.device
    assert tensor.__dlpack_device__() == (device.device_type, device.device_id)


def test_p23_host_memory_has_id_0() -> None:
    assert tensor_of(2).__dlpack_device__() == (1, 0)


@pytest.mark.parametrize("stream", [0, 1, 2, -1, 12345])
def test_p24_cpu_with_a_stream_is_an_error(stream: int) -> None:
    with pytest.raises(dlbridge.Error, match=str(stream)):
        tensor_of(2).__dlpack__(stream=stream)


def test_p12_p13_a_copy_on_request_has_memory_of_its_own_and_says_so() -> None:
    tensor = dlbridge.from_dlpack(np.arange(3.0))
    copied = dlbridge.from_dlpack(tensor.__dlpack__(copy=True, max_version=(1, 3)))
    assert copied.copied
    assert copied.data_ptr != tensor.data_ptr
    assert copied.numpy().tolist() == [0, 1, 2]
    shared = dlbridge.from_dlpack(tensor.__dlpack__(max_version=(1, 3)))
    assert not shared.copied
    assert shared.data_ptr == tensor.data_ptr
    legacy = dlbridge.from_dlpack(tensor.__dlpack__(copy=True))
    assert legacy.data_ptr != tensor.data_ptr


def test_p14_p29_other_devices_are_buffer_errors() -> None:
    with pytest.raises(BufferError, match="device"):
        tensor_of(2).__dlpack__(dl_device=(2, 0))
    assert tensor_of(2).__dlpack__(dl_device=(1, 0), copy=False) is not None
    with pytest.raises(dlbridge.UnsupportedError, match=r"dl_device=\(2, 0\) .*; give the consumer x\.to\(\"cuda"):
        tensor_of(2).__dlpack__(dl_device=(2, 0))
    for wanted in ((1, 1), (8, 0), (99, 0), (2, -1)):
        with pytest.raises(dlbridge.UnsupportedError, match=r"; leave dl_device out, and move it with"):
            tensor_of(2).__dlpack__(dl_device=wanted)


def test_p30_another_byte_order_names_the_fix() -> None:
    array = np.arange(3, dtype=">i4")
    with pytest.raises(dlbridge.UnsupportedError, match="newbyteorder"):
        dlbridge.from_dlpack(array)
    assert dlbridge.from_dlpack(array.astype(array.dtype.newbyteorder("="))).dtype == "int32"


class ExchangeTable(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("prev_api", ctypes.c_void_p),
        ("allocator", ctypes.c_void_p),
        ("managed_from_py", ctypes.c_void_p),
        ("managed_to_py", ctypes.c_void_p),
        ("dltensor_from_py", ctypes.c_void_p),
        ("current_work_stream", ctypes.c_void_p),
    )


def exchange_table() -> ExchangeTable:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = dlbridge.Tensor.__dlpack_c_exchange_api__
    return ExchangeTable.from_address(pointer(capsule, b"dlpack_exchange_api"))


def test_p32_the_exchange_table_is_complete() -> None:
    table = exchange_table()
    assert (table.major, table.minor, table.prev_api) == (1, 3, None)
    assert all(getattr(table, name) for name, _ in ExchangeTable._fields_[3:])
    assert ctypes.addressof(exchange_table()) == ctypes.addressof(table)


def test_p32_the_exchange_table_hands_over_and_back() -> None:
    table, tensor, managed = exchange_table(), tensor_of(2, 3), ctypes.c_void_p()
    export = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(ctypes.c_void_p))(
        table.managed_from_py
    )
    assert export(tensor, ctypes.byref(managed)) == 0
    adopt = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))(table.managed_to_py)
    out = ctypes.c_void_p()
    assert adopt(managed, ctypes.byref(out)) == 0
    back = ctypes.cast(out, ctypes.py_object).value
    ctypes.pythonapi.Py_DecRef(out)
    assert (back.data_ptr, back.shape) == (tensor.data_ptr, (2, 3))
    with pytest.raises(dlbridge.NotAnArrayError, match="list"):
        export([1], ctypes.byref(managed))


class Description(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.c_void_p),
        ("byte_offset", ctypes.c_uint64),
    )


def exchange_allocate(prototype: Description | None) -> tuple[ctypes.c_void_p, list[tuple[bytes, bytes]]]:
    """What the table's allocator makes, and what it says."""
    said: list[tuple[bytes, bytes]] = []
    set_error = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p)
    kind = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(Description), ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p, set_error
    )
    out = ctypes.c_void_p()
    report = set_error(lambda _, error, words: said.append((error, words)))
    status = kind(exchange_table().allocator)(prototype, ctypes.byref(out), None, report)
    assert status == (0 if out else -1)
    return out, said


def prototype(device: int, bits: int, *shape: int) -> Description:
    return Description(None, device, 0, len(shape), 2, bits, 1, (ctypes.c_int64 * len(shape))(*shape))


def test_p32_the_allocator_allocates() -> None:
    managed, said = exchange_allocate(prototype(1, 32, 3, 5))
    assert managed
    assert not said
    adopt = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
    out = ctypes.c_void_p()
    assert adopt(exchange_table().managed_to_py)(managed, ctypes.byref(out)) == 0
    tensor = ctypes.cast(out, ctypes.py_object).value
    ctypes.pythonapi.Py_DecRef(out)
    assert (tensor.shape, tensor.dtype, tensor.readonly, tensor.data_ptr % 256) == ((3, 5), "float32", False, 0)
    tensor.numpy()[:] = 1


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (None, b"ValueError", b"prototype is NULL"),
        (prototype(2, 32, 3), b"RuntimeError", b"memory on cuda:0 cannot be allocated"),
        (prototype(1, 32, -3), b"ValueError", b"dimension 0 of the shape is -3"),
        (prototype(1, 7, 3), b"ValueError", b"cannot exist"),
        (prototype(1, 64, 1 << 50), b"MemoryError", b"9007199254740992 bytes"),
    ],
)
def test_p32_the_allocator_reports_through_the_callers_function(
    asked: Description | None, error: bytes, words: bytes
) -> None:
    managed, said = exchange_allocate(asked)
    assert not managed
    assert said[0][0] == error
    assert words in said[0][1]
