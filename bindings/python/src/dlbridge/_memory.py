"""Memory of our own: pinned tensors, what memory costs and what was copied, and giving back what is cached."""

from __future__ import annotations

import ctypes
import operator
from typing import Any, NamedTuple

from ._errors import BY_NUMBER, InvalidArgumentError, WrongTypeError
from ._fields import explained
from ._library import get_library, native
from ._streams import Unique, _Device, name_of

# CDLL, not PyDLL: giving memory back takes a while, and other threads may run meanwhile.
_c = ctypes.CDLL(get_library())
_c.dlb_allocator_trim.restype = ctypes.c_size_t
_c.dlb_allocator_trim.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_c.dlb_allocator_limit.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_c.dlb_memory_pin.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.POINTER(ctypes.c_void_p))
_c.dlb_pin_release.argtypes = (ctypes.c_void_p,)
_c.dlb_pin_release.restype = None
_c.dlb_allocator_stats.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
_c.dlb_transfer_stats.argtypes = (ctypes.c_void_p,)
_c.dlb_allocator_device.argtypes = _c.dlb_allocator_pinned.argtypes = (_Device, ctypes.POINTER(ctypes.c_void_p))


def empty_pinned(shape: Any, dtype: Any) -> Any:
    """`empty(shape, dtype, pinned=True)`: memory that CUDA devices copy from and to without help of the CPU.

    It comes from a pool of its own and goes back there; torch sees it as pinned. Page-locking is the costly part,
    so keep such tensors, or let the pool do it. `UnavailableError` where there is no CUDA driver.

    >>> batch = dlbridge.empty_pinned((32, 3, 224, 224), "float32")
    >>> there = dlbridge.upload(batch, "cuda")
    """
    return native.empty(shape, dtype, pinned=True)


def zeros_pinned(shape: Any, dtype: Any) -> Any:
    """`zeros(shape, dtype, pinned=True)`. Touches all of it once."""
    return native.zeros(shape, dtype, pinned=True)


def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None, pinned: bool = False) -> Any:
    """`empty` with the shape of `x`, any array; row-major, whatever the strides of `x`.

    `dtype` and `device` are those of `x` where they are not given; with `pinned=True` it is pinned memory of the
    host.

    >>> batch = dlbridge.empty_like(images, dtype="float32", pinned=True)
    """
    return _like(native.empty, x, dtype, device, pinned)


def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None, pinned: bool = False) -> Any:
    """`zeros` with the shape of `x`; `dtype`, `device` and `pinned` as for `empty_like`."""
    return _like(native.zeros, x, dtype, device, pinned)


def empty_like_pinned(x: Any, /) -> Any:
    """`empty_like(x, pinned=True)`."""
    return empty_like(x, pinned=True)


def _like(make: Any, x: Any, dtype: Any, device: Any, pinned: bool) -> Any:
    # Of a parameter too: the elements are not looked at, and autograd is not concerned.
    like = native.from_dlpack(x.detach() if getattr(x, "requires_grad", False) is True else x)
    if device is None and not pinned:
        device = like.device
    return make(like.shape, like.dtype if dtype is None else dtype, device=device, pinned=pinned)


class pin(Unique):
    """Page-locks the memory of an array where it is, until the end of the `with` block: CUDA devices then copy from
    and to it without help of the CPU. Nothing is copied, and the array stays what it is.

    Whatever shows its memory on the host will do; of a view that has gaps, the gaps are pinned too. Refused:
    read-only memory (`ReadOnlyError`), memory that is not the host's, an array without elements, and what the
    driver cannot pin (`OutOfMemoryError`, with how much is pinned and the limit). Pinning what is pinned counts:
    the memory is unlocked with the last one. That goes for a part of a pinned array; an array of which only a part
    is pinned is refused (`InvalidArgumentError`). The array is kept alive until then. Leaving the block waits for
    the copies from and to it; a tensor of `empty_pinned` stays pinned, so there it waits for nothing (what NumPy or
    torch shows of its memory is refused). It costs about as much as writing the memory once, so it pays for buffers
    that are used again. `release()` instead of a `with` block.

    >>> with dlbridge.pin(frames):
    ...     for _ in range(1000):
    ...         grab(frames)
    ...         use(dlbridge.upload(frames, "cuda"))
    """

    _handle: int | None = None

    def __init__(self, array: Any, /) -> None:
        tensor = native.from_dlpack(array)
        address, size = native._span(tensor)
        out = ctypes.c_void_p()
        if tensor.device != "cuda_host":  # which is pinned for as long as it is kept
            status = _c.dlb_memory_pin(address, size, ctypes.byref(out))
            if status:
                raise BY_NUMBER[status](native._words())
        self._handle, self._kept, self._array = out.value, tensor, array
        self.nbytes: int = size

    def release(self) -> None:
        """Ends it. Does nothing the second time."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._release(handle)
        self._kept = self._array = None

    def __enter__(self) -> Any:
        return self._array

    def __exit__(self, *error: object) -> None:
        self.release()

    # At hand when the interpreter has emptied this module already.
    _release = _c.dlb_pin_release

    def __del__(self) -> None:
        if self._handle is not None:
            self._release(self._handle)


@explained
class MemoryStats(NamedTuple):
    """The numbers of the pool, then what was to be copied in this process. Printed, it is a table.

    The first five are bytes. Copies are counted when they are queued, whether or not they fail, and each as
    one, however many pieces the driver was given.

    `asked`: In use, as it was asked for.
    `held`: In use, as it was set aside: rounded up to 4 KiB, or a cached block that is up to an eighth larger.
    `cached`: Kept for reuse; trim() gives it back.
    `peak_asked`: The largest `asked` so far.
    `peak_held`: The largest sum of `held` and `cached` so far.
    `allocations`: Requests that were granted.
    `hits`: Those of them that a cached block served.
    `limit`: What it may have at most, in use and cached; None for any amount.
    `cached_limit`: What it may cache at most, as `memory_limit` set it last; None for any amount.
    `copies`: Copies within the host's memory, which all copies on the CPU device are.
    `copied_bytes`: Their bytes.
    `uploads`: Copies from the host to a device.
    `uploaded_bytes`: Their bytes.
    `downloads`: Copies from a device to the host.
    `downloaded_bytes`: Their bytes.
    `device_copies`: Copies within a device, or from one to another.
    `device_copied_bytes`: Their bytes.
    """

    asked: int
    held: int
    cached: int
    peak_asked: int
    peak_held: int
    allocations: int
    hits: int
    limit: int | None
    cached_limit: int | None
    copies: int
    copied_bytes: int
    uploads: int
    uploaded_bytes: int
    downloads: int
    downloaded_bytes: int
    device_copies: int
    device_copied_bytes: int

    @property
    def transfers(self) -> int:
        """Copies between the host and a device, or between two: there and back again is two."""
        return self.uploads + self.downloads

    def __str__(self) -> str:
        rows = [(name, "any" if value is None else f"{value:,}") for name, value in self._asdict().items()]
        names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
        return "\n".join(f"{name:<{names}}  {value:>{values}}" for name, value in rows)


def memory_stats(*, device: Any = "cpu", pinned: bool = False) -> MemoryStats:
    """What a pool has and did, and what was copied on streams, in this process. Costs about a microsecond.

    What was copied are the transfers that were queued on streams, by `upload`, `download`, `to` or a
    `Stager`: `dlbridge.copy`, `cast` and `stack`, which are done when they return, do not count.

    By default it is the pool behind `empty`, which serves tensors of 1 MiB and more in the host's memory. `device`
    and `pinned` name another one, as they do for `empty`. What was copied is the same for all.

    >>> before = dlbridge.memory_stats()
    >>> dlbridge.download(dlbridge.upload(frame, "cuda")).result()
    >>> dlbridge.memory_stats().transfers - before.transfers
    2
    """
    *pool, limit, cached = _numbers(_c.dlb_allocator_stats, 9, _pool(device, pinned))
    limits = (None if most == _ANY else most for most in (limit, cached))
    return MemoryStats(*pool, *limits, *_numbers(_c.dlb_transfer_stats, 8))


_ANY = ctypes.c_size_t(-1).value


def _numbers(ask: Any, count: int, *arguments: int | None) -> list[int]:
    """The numbers of a struct that begins with its own size, all of 64 bits."""
    stats = (ctypes.c_uint64 * (1 + count))()
    stats[0] = ctypes.sizeof(stats)
    ask(*arguments, stats)
    return stats[1:]


def trim(keep: int = 0, *, device: Any = "cpu", pinned: bool = False) -> int:
    """Gives back what a pool caches until at most `keep` bytes are left; how many bytes were given back.

    The pool is that of `memory_stats`.
    """
    return int(_c.dlb_allocator_trim(_pool(device, pinned), _bytes("keep", keep)))


def memory_limit(cached: int, *, device: Any = "cpu", pinned: bool = False) -> None:
    """How many bytes a pool may cache from now on.

    At first the host's and the pinned one cache an eighth of the machine's or container's memory each, and a
    device's any amount. `memory_stats().cached_limit` tells.
    """
    _c.dlb_allocator_limit(_pool(device, pinned), _bytes("cached", cached))


# Those asked for so far; they are the library's own, and live as long as the process.
_pools: dict[tuple[int, int, bool], int | None] = {(1, 0, False): None}


def _pool(device: Any, pinned: bool) -> int | None:
    """The pool of a place; None is the host's."""
    if not isinstance(pinned, bool):
        raise WrongTypeError(f"pinned is {pinned!r}; pass True or False")
    host = isinstance(device, str) and device == "cpu"
    kind, number = (1, 0) if host else native._device(device)
    place = kind, number, pinned
    if place not in _pools:
        out = ctypes.c_void_p()
        if pinned and kind != 1:
            raise InvalidArgumentError(
                f"pinned memory is the host's, and device is {device}; leave out one of the two"
            )
        ask, where = (_c.dlb_allocator_pinned, (2, 0)) if pinned else (_c.dlb_allocator_device, (kind, number))
        status = ask(_Device(*where), ctypes.byref(out))
        if status:
            # Nobody asked for memory here, but for the pool of it.
            words = native._words().partition("; ")[0]
            why = words.partition(": ")[2] or words
            what, option = (
                ("of pinned memory", "pinned=") if pinned else (f"on {name_of(_Device(*where))}", "device=")
            )
            raise BY_NUMBER[status](f"there is no pool {what}: {why}; leave {option} out for that of the host")
        _pools[place] = out.value
    return _pools[place]


def _bytes(name: str, value: int) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        raise WrongTypeError(f"{name} is {value!r}; pass a number of bytes, 0 or more") from None
    if not 0 <= count < 1 << 64:
        raise InvalidArgumentError(f"{name} is {count}; pass a number of bytes, 0 or more")
    return count
