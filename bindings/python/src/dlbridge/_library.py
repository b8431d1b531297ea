"""The shared library: where it is, and the builtins it makes for this interpreter."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

from ._errors import BY_NUMBER, UnavailableError
from ._loss import read as read_loss

_FOLDER = Path(__file__).parent
# Under its soname, so that what is linked to it finds it.
_LIBRARY = next(_FOLDER.glob("libdlbridge.so.*"))


def get_library() -> str:
    """The path of the shared library, for linking and for loading it yourself.

    cc main.c -I"$(python -c 'import dlbridge; print(dlbridge.get_include())')" \\
        "$(python -c 'import dlbridge; print(dlbridge.get_library())')" -Wl,-rpath,FOLDER_OF_THE_LIBRARY
    """
    return str(_LIBRARY)


def get_include() -> str:
    """The folder of `dlbridge.h`, `dlbridge.hpp` and `dlbridge/torch.hpp`, for a compiler's `-I`."""
    return str(_FOLDER / "include")


def get_cmake_dir() -> str:
    """The folder of the CMake package, for `-Ddlbridge_DIR`; scikit-build-core finds it without.

    `find_package(dlbridge)` gives the target `dlbridge::dlbridge`: the library that this package loads, so that an
    extension module linked to it finds it by its soname once `import dlbridge` was executed.
    """
    return str(_FOLDER / "cmake")


# PyDLL, not CDLL: the GIL stays held, as a function that makes Python objects wants it.
_c = ctypes.PyDLL(get_library())
_c.dlb_version.restype = ctypes.c_char_p
_c.dlb_error_message.restype = ctypes.c_char_p
_c.dlb_live_tensors.restype = ctypes.c_size_t
_c.dlb_live_exports.restype = ctypes.c_size_t
_c.dlb_python_module.argtypes = (ctypes.py_object, ctypes.POINTER(ctypes.c_void_p))


def _load() -> Any:
    """The module of builtins. ctypes is used this once; what it returns is called directly."""
    python = ctypes.pythonapi
    for function in (python.PyInterpreterState_Get, python.PyInterpreterState_Main):
        function.restype = ctypes.c_void_p
    if python.PyInterpreterState_Get() != python.PyInterpreterState_Main():
        # Asked here, because up to CPython 3.11 a library cannot find out without risking a deadlock.
        raise UnavailableError("dlbridge serves the main interpreter only; import it there")
    out = ctypes.c_void_p()
    status = _c.dlb_python_module((*BY_NUMBER, read_loss), ctypes.byref(out))
    if status:
        raise BY_NUMBER[status](_c.dlb_error_message().decode())
    module = ctypes.cast(out, ctypes.py_object).value
    # `value` counted a reference for us; the one that came through `out` is not needed any more.
    ctypes.pythonapi.Py_DecRef(out)
    return module


native = _load()


def version() -> str:
    """The version of the shared library."""
    return str(_c.dlb_version().decode())


def live_tensors() -> int:
    """How many tensors the library holds in this process, views included: for leak tests."""
    return int(_c.dlb_live_tensors())


def live_exports() -> int:
    """How many exports are out: handed to a consumer that has not let go yet. For leak tests."""
    return int(_c.dlb_live_exports())
