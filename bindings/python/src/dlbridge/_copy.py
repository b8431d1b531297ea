"""What copies cost and who makes them: threads, and the instructions in use."""

from __future__ import annotations

import ctypes
import operator

from ._errors import InvalidArgumentError, WrongTypeError
from ._library import get_library

_MOST = 1024
_c = ctypes.CDLL(get_library())
_c.dlb_threads_get.restype = ctypes.c_size_t
_c.dlb_threads_set.argtypes = (ctypes.c_size_t,)
_c.dlb_threads_set.restype = None
_c.dlb_simd_level.restype = ctypes.c_char_p


def get_num_threads() -> int:
    """How many threads share the work of one large copy, the calling one among them.

    What set_num_threads() said, else the environment variable DLB_NUM_THREADS, else the processors of this process.
    """
    return int(_c.dlb_threads_get())


def set_num_threads(count: int) -> None:
    """Changes that from now on, up to 1024: 1 for no others, 0 for what DLB_NUM_THREADS or the machine says."""
    try:
        number = operator.index(count)
    except TypeError:
        raise WrongTypeError(f"count is {count!r}; pass an int, 1 to {_MOST}, or 0 for the default") from None
    if not 0 <= number <= _MOST:
        raise InvalidArgumentError(f"count is {number}; pass 1 to {_MOST} threads, or 0 for the default")
    _c.dlb_threads_set(number)


def simd_level() -> str:
    """The instructions that copies use: "portable", "avx2" or "avx512".

    The best that the processor has, or what the environment variable DLB_SIMD asks for. The bits are the same.
    """
    return str(_c.dlb_simd_level().decode())
