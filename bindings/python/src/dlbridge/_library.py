"""The shared library: where it is, and its C functions as declared in dlbridge.h."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from ._errors import BY_STATUS, ProducerError

_FOLDER = Path(__file__).parent


class DLDevice(ctypes.Structure):
    _fields_ = (("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


class DLDataType(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16))


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", DLDevice),
        ("ndim", ctypes.c_int32),
        ("dtype", DLDataType),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


READ_ONLY = 1
SLICE_END = -(2**63)


def get_library() -> str:
    """The path of the shared library, for linking and for loading it yourself."""
    return str(_FOLDER / "libdlbridge.so")


def get_include() -> str:
    """The folder of `dlbridge.h`, `dlbridge.hpp` and `dlbridge/torch.hpp`, for a compiler's `-I`."""
    return str(_FOLDER / "include")


# PyDLL, not CDLL: the GIL stays held, so an exception that a producer raised is still there afterwards.
_c = ctypes.PyDLL(get_library())

_HANDLE = ctypes.c_void_p
_OUT = ctypes.POINTER(ctypes.c_void_p)


def _function(name: str, result: Any, *arguments: Any) -> Any:
    function = getattr(_c, name)
    function.restype = result
    function.argtypes = arguments
    return function


_version = _function("dlb_version", ctypes.c_char_p)
_error_message = _function("dlb_error_message", ctypes.c_char_p)
_dtype_name = _function("dlb_dtype_name", ctypes.c_size_t, DLDataType, ctypes.c_char_p, ctypes.c_size_t)
_dtype_parse = _function("dlb_dtype_parse", ctypes.c_int32, ctypes.c_char_p, ctypes.POINTER(DLDataType))
_device_name = _function("dlb_device_name", ctypes.c_size_t, DLDevice, ctypes.c_char_p, ctypes.c_size_t)
_view = _function("dlb_tensor_view", ctypes.POINTER(DLTensor), _HANDLE)
_live_tensors = _function("dlb_live_tensors", ctypes.c_size_t)
_live_exports = _function("dlb_live_exports", ctypes.c_size_t)

release = _function("dlb_tensor_release", None, _HANDLE)
flags = _function("dlb_tensor_flags", ctypes.c_uint64, _HANDLE)
size = _function("dlb_tensor_size", ctypes.c_size_t, _HANDLE)
nbytes = _function("dlb_tensor_nbytes", ctypes.c_size_t, _HANDLE)
is_contiguous = _function("dlb_tensor_is_contiguous", ctypes.c_bool, _HANDLE, ctypes.c_char)
tensor_slice = _function(
    "dlb_tensor_slice",
    ctypes.c_int32,
    _HANDLE,
    ctypes.c_int32,
    ctypes.c_int64,
    ctypes.c_int64,
    ctypes.c_int64,
    _OUT,
)
tensor_select = _function("dlb_tensor_select", ctypes.c_int32, _HANDLE, ctypes.c_int32, ctypes.c_int64, _OUT)
tensor_unsqueeze = _function("dlb_tensor_unsqueeze", ctypes.c_int32, _HANDLE, ctypes.c_int32, _OUT)
tensor_reinterpret = _function("dlb_tensor_reinterpret", ctypes.c_int32, _HANDLE, DLDataType, _OUT)
python_import = _function("dlb_python_import", ctypes.c_int32, ctypes.py_object, _OUT)
_python_capsule = _function("dlb_python_capsule", ctypes.c_int32, _HANDLE, ctypes.c_int, _OUT)
_drop_reference = ctypes.pythonapi.Py_DecRef
_drop_reference.restype = None
_drop_reference.argtypes = (ctypes.c_void_p,)


def version() -> str:
    """The version of the shared library."""
    return str(_version().decode())


def live_tensors() -> int:
    """How many tensors the library holds in this process, views included: for leak tests."""
    return int(_live_tensors())


def live_exports() -> int:
    """How many exports are out: handed to a consumer that has not let go yet. For leak tests."""
    return int(_live_exports())


def check(status: int) -> None:
    """Raises the error that a status stands for."""
    if status:
        raise BY_STATUS[status](_error_message().decode())


def make(function: Any, *arguments: Any) -> int:
    """Calls a function that makes a tensor, and returns its handle, owned by the caller."""
    out = ctypes.c_void_p()
    try:
        status = function(*arguments, ctypes.byref(out))
    except Exception as raised:
        # The library left the producer's exception set; ctypes raised it.
        raise ProducerError(_error_message().decode()) from raised
    check(status)
    assert out.value is not None
    return out.value


def capsule(handle: int, legacy: bool) -> Any:
    """A new capsule with an export of the tensor."""
    out = ctypes.c_void_p()
    check(_python_capsule(handle, legacy, ctypes.byref(out)))
    owned = ctypes.cast(out, ctypes.py_object).value
    # `value` counted a reference for us; the one that came through `out` is not needed any more.
    _drop_reference(out)
    return owned


def view(handle: int) -> DLTensor:
    """The description behind a handle, valid as long as that."""
    description: DLTensor = _view(handle).contents
    return description


def dtype_name(dtype: DLDataType) -> str:
    buffer = ctypes.create_string_buffer(64)
    _dtype_name(dtype, buffer, len(buffer))
    return buffer.value.decode()


def dtype_parse(name: str) -> DLDataType:
    dtype = DLDataType()
    check(_dtype_parse(name.encode(), ctypes.byref(dtype)))
    return dtype


def device_name(device: DLDevice) -> str:
    buffer = ctypes.create_string_buffer(64)
    _device_name(device, buffer, len(buffer))
    return buffer.value.decode()
