"""DLPack structs by hand, for producers that get it wrong."""

from __future__ import annotations

import ctypes
from typing import Any

NEW_CAPSULE = ctypes.pythonapi.PyCapsule_New
NEW_CAPSULE.restype = ctypes.py_object
NEW_CAPSULE.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]

_GET_NAME = ctypes.pythonapi.PyCapsule_GetName
_GET_NAME.restype = ctypes.c_char_p
_GET_NAME.argtypes = [ctypes.py_object]

_GET_POINTER = ctypes.pythonapi.PyCapsule_GetPointer
_GET_POINTER.restype = ctypes.c_void_p
_GET_POINTER.argtypes = [ctypes.py_object, ctypes.c_char_p]

_SET_NAME = ctypes.pythonapi.PyCapsule_SetName
_SET_NAME.argtypes = [ctypes.py_object, ctypes.c_char_p]

NAMES = (b"dltensor_versioned", b"dltensor")
USED_NAMES = (b"used_dltensor_versioned", b"used_dltensor")


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


class Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("manager_ctx", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p),
        ("flags", ctypes.c_uint64),
        ("dl_tensor", DLTensor),
    )


class Legacy(ctypes.Structure):
    _fields_ = (("dl_tensor", DLTensor), ("manager_ctx", ctypes.c_void_p), ("deleter", ctypes.c_void_p))


def name_of(capsule: Any) -> bytes:
    return bytes(_GET_NAME(capsule))


def versioned_in(capsule: Any) -> Versioned:
    """The struct in a versioned capsule; it keeps the capsule alive."""
    managed = Versioned.from_address(_GET_POINTER(capsule, NAMES[0]))
    managed.capsule = capsule
    return managed


def legacy_in(capsule: Any) -> Legacy:
    """The struct in a legacy capsule; it keeps the capsule alive."""
    managed = Legacy.from_address(_GET_POINTER(capsule, NAMES[1]))
    managed.capsule = capsule
    return managed


def take(capsule: Any) -> Versioned:
    """Consumes a versioned capsule, as a consumer would: the caller has to call the deleter."""
    managed = versioned_in(capsule)
    _SET_NAME(capsule, USED_NAMES[0])
    return managed


def take_legacy(capsule: Any) -> Legacy:
    """The same of a legacy capsule."""
    managed = legacy_in(capsule)
    _SET_NAME(capsule, USED_NAMES[1])
    return managed


def delete(managed: Versioned | Legacy) -> None:
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(managed.deleter)(ctypes.addressof(managed))


class Producer:
    """An object whose `__dlpack__` answers what it is told to, and that takes no keywords."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer

    def __dlpack__(self) -> Any:
        return self.answer() if callable(self.answer) else self.answer
