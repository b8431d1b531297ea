"""The C functions of dlbridge.h from Python with ctypes alone: no dlbridge package, no compiler.

Run it with the path of the shared library: python ctypes_only.py target/release/libdlbridge.so
"""

import ctypes
import sys

import numpy as np

# CDLL lets go of the GIL; the dlb_python_* functions take it themselves.
dlb = ctypes.CDLL(sys.argv[1])
dlb.dlb_error_message.restype = ctypes.c_char_p
dlb.dlb_tensor_release.argtypes = [ctypes.c_void_p]
dlb.dlb_tensor_release.restype = None
dlb.dlb_tensor_nbytes.argtypes = [ctypes.c_void_p]
dlb.dlb_tensor_nbytes.restype = ctypes.c_size_t
dlb.dlb_python_import.argtypes = [ctypes.py_object, ctypes.POINTER(ctypes.c_void_p)]
dlb.dlb_python_capsule.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(ctypes.c_void_p)]


def check(status: int) -> None:
    if status != 0:
        raise RuntimeError(dlb.dlb_error_message().decode())


class Capsule:
    """What numpy.from_dlpack wants to see: an object with `__dlpack__`."""

    def __init__(self, tensor: ctypes.c_void_p) -> None:
        self.tensor = tensor

    def __dlpack_device__(self) -> tuple:
        return (1, 0)

    def __dlpack__(self, *, max_version: object = None, copy: object = None, **_: object) -> object:
        if copy:
            raise BufferError("this shares memory; copy what comes out")
        out = ctypes.c_void_p()
        legacy = max_version is None  # who names no version knows only DLPack from before 1.0
        check(dlb.dlb_python_capsule(self.tensor, legacy, ctypes.byref(out)))
        capsule = ctypes.cast(out, ctypes.py_object).value  # counts a reference for us...
        ctypes.pythonapi.Py_DecRef(out)  # ...so the one that came through `out` is not needed any more
        return capsule


array = np.arange(6.0).reshape(2, 3)
tensor = ctypes.c_void_p()
check(dlb.dlb_python_import(array, ctypes.byref(tensor)))
print("bytes:", dlb.dlb_tensor_nbytes(tensor))

shared = np.from_dlpack(Capsule(tensor))
dlb.dlb_tensor_release(tensor)  # `shared` keeps the memory alive by itself
shared[1, 2] = 42
assert array[1, 2] == 42
assert shared.ctypes.data == array.ctypes.data

assert dlb.dlb_python_import("no array", ctypes.byref(tensor)) == 1
print("refused:", dlb.dlb_error_message().decode())
