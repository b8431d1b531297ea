"""Compiles _invert, a module with C code of one's own on dlbridge, with cffi in API mode: python build.py FOLDER"""

import os
import sys

from cffi import FFI

import dlbridge

ffi = FFI()
# The compiler knows the rest from dlbridge.h: `...` leaves it to it.
ffi.cdef("""
    typedef int... dlb_status;
    typedef struct dlb_tensor dlb_tensor;
    const char *dlb_error_message(void);
    dlb_status dlb_python_import(void *object, dlb_tensor **out);
    void dlb_tensor_release(dlb_tensor *tensor);
    dlb_status invert(const dlb_tensor *image);
""")
ffi.set_source(
    "_invert",
    """
    #include <dlbridge.h>

    /* Makes a packed uint8 image its own negative, in place. */
    static dlb_status invert(const dlb_tensor *image) {
        dlb_tensor *flat = NULL;
        void *pixels = NULL;
        int64_t all = -1;
        dlb_status status = dlb_tensor_reshape(image, &all, 1, &flat); /* refused where that would need a copy */
        if (!status) status = dlb_tensor_mutable_data(flat, (DLDataType){kDLUInt, 8, 1}, &pixels);
        for (size_t i = 0; !status && i < dlb_tensor_size(flat); i++) ((uint8_t *)pixels)[i] ^= 255;
        dlb_tensor_release(flat);
        return status;
    }
    """,
    include_dirs=[dlbridge.get_include()],
    extra_link_args=[dlbridge.get_library(), "-Wl,-rpath," + os.path.dirname(dlbridge.get_library())],
)

if __name__ == "__main__":
    ffi.compile(tmpdir=sys.argv[1])
