"""The C functions of dlbridge.h from Python with cffi alone, in ABI mode: no dlbridge package, no compiler.

Run it with the path of the shared library: python cffi_only.py target/release/libdlbridge.so
"""

import ctypes
import sys

import numpy as np
from cffi import FFI

ffi = FFI()
ffi.cdef("""
    typedef int32_t dlb_status;
    typedef struct dlb_tensor dlb_tensor;
    typedef struct { uint32_t device_type; int32_t device_id; } DLDevice;
    typedef struct { uint8_t code; uint8_t bits; uint16_t lanes; } DLDataType;
    typedef struct {
        void *data; DLDevice device; int32_t ndim; DLDataType dtype;
        int64_t *shape; int64_t *strides; uint64_t byte_offset;
    } DLTensor;
    const char *dlb_error_message(void);
    dlb_status dlb_python_import(void *object, dlb_tensor **out);
    dlb_status dlb_tensor_slice(const dlb_tensor *, int32_t axis, int64_t start, int64_t stop, int64_t step,
                                dlb_tensor **out);
    const DLTensor *dlb_tensor_view(const dlb_tensor *);
    void dlb_tensor_release(dlb_tensor *);
""")
dlb = ffi.dlopen(sys.argv[1])


def make(function, *arguments):
    """Calls a function that makes a tensor; the result releases itself."""
    out = ffi.new("dlb_tensor **")
    if function(*arguments, out) != 0:
        raise RuntimeError(ffi.string(dlb.dlb_error_message()).decode())
    return ffi.gc(out[0], dlb.dlb_tensor_release)


array = np.arange(12, dtype="float32").reshape(3, 4)
tensor = make(dlb.dlb_python_import, ffi.cast("void *", id(array)))  # cffi lets go of the GIL; dlbridge takes it
row = make(dlb.dlb_tensor_slice, tensor, 0, 1, 2, 1)

view = dlb.dlb_tensor_view(row)
print("shape:", list(ffi.unpack(view.shape, view.ndim)), "address:", hex(int(ffi.cast("uintptr_t", view.data))))
values = (ctypes.c_float * 4).from_address(int(ffi.cast("uintptr_t", view.data)))
values[0] = -1
assert array[1, 0] == -1

try:
    make(dlb.dlb_python_import, ffi.cast("void *", id(None)))
except RuntimeError as refused:
    print("refused:", refused)
