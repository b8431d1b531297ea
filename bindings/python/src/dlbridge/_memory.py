"""What memory of our own costs: the numbers of the pool that `empty` uses, and giving back what it caches."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

from ._errors import InvalidArgumentError, WrongTypeError
from ._library import get_library

# CDLL, not PyDLL: giving memory back takes a while, and other threads may run meanwhile.
_c = ctypes.CDLL(get_library())
_c.dlb_allocator_trim.restype = ctypes.c_size_t
_c.dlb_allocator_trim.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_c.dlb_allocator_limit.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


class MemoryStats(NamedTuple):
    """The numbers of the pool; all but the last two are bytes. Printed, it is a table."""

    asked: int
    """In use, as it was asked for."""
    held: int
    """In use, as it was set aside: rounded up to 4 KiB, or a cached block that is up to an eighth larger."""
    cached: int
    """Kept for reuse; trim() gives it back."""
    peak_asked: int
    """The largest `asked` so far."""
    peak_held: int
    """The largest sum of `held` and `cached` so far."""
    allocations: int
    """Requests that were granted."""
    hits: int
    """Those of them that a cached block served."""

    def __str__(self) -> str:
        rows = [(name, f"{value:,}") for name, value in self._asdict().items()]
        names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
        return "\n".join(f"{name:<{names}}  {value:>{values}}" for name, value in rows)


def memory_stats() -> MemoryStats:
    """What the pool behind `empty` has and did, in this process. It serves tensors of 1 MiB and more.

    >>> print(dlbridge.memory_stats())
    asked        29,491,200
    held         29,491,200
    cached                0
    peak_asked   29,491,200
    peak_held    29,491,200
    allocations           1
    hits                  0
    """
    # A `dlb_pool_stats`: its own size, then the numbers, all of 64 bits.
    stats = (ctypes.c_uint64 * (1 + len(MemoryStats._fields)))()
    stats[0] = ctypes.sizeof(stats)
    _c.dlb_allocator_stats(None, stats)
    return MemoryStats(*stats[1:])


def trim(keep: int = 0) -> int:
    """Gives back what the pool caches until at most `keep` bytes are left; how many bytes were given back."""
    return int(_c.dlb_allocator_trim(None, _bytes("keep", keep)))


def memory_limit(cached: int) -> None:
    """How many bytes the pool may cache from now on; at first an eighth of the machine's or container's memory."""
    _c.dlb_allocator_limit(None, _bytes("cached", cached))


def _bytes(name: str, value: int) -> int:
    if not hasattr(type(value), "__index__"):
        raise WrongTypeError(f"{name} is {value!r}; pass a number of bytes, 0 or more")
    if not 0 <= value < 1 << 64:
        raise InvalidArgumentError(f"{name} is {value}; pass a number of bytes, 0 or more")
    return value
