"""Streams, events and copies that go on: thin classes over the C functions, which release the GIL."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from types import TracebackType
from typing import Any

from ._errors import BY_NUMBER, InvalidArgumentError, UnavailableError, WrongTypeError
from ._library import get_library, native

# CDLL, not PyDLL: the GIL is released while a call waits.
_c = ctypes.CDLL(get_library())
_c.dlb_error_message.restype = ctypes.c_char_p
_c.dlb_device_name.restype = _c.dlb_device_list.restype = ctypes.c_size_t
_c.dlb_event_done.restype = ctypes.c_bool
_c.dlb_event_done.argtypes = _c.dlb_event_release.argtypes = _c.dlb_stream_release.argtypes = (ctypes.c_void_p,)
_c.dlb_event_release.restype = _c.dlb_stream_release.restype = None
_c.dlb_event_wait.argtypes = (ctypes.c_void_p, ctypes.c_uint64)
_c.dlb_stream_synchronize.argtypes = (ctypes.c_void_p,)
_c.dlb_stream_wait_event.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
_c.dlb_stream_record.argtypes = (ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
_TIMEOUT = 10
# Python looks for signals between the slices of a wait.
_SLICE = 0.02


# `DLDevice`: type and id.
_FIELDS = {"_fields_": [("type", ctypes.c_int32), ("id", ctypes.c_int32)]}
_Device: Any = type("_Device", (ctypes.Structure,), _FIELDS)


_c.dlb_stream_create.argtypes = (_Device, ctypes.POINTER(ctypes.c_void_p))
_c.dlb_device_check.argtypes = (_Device,)
_c.dlb_device_name.argtypes = (_Device, ctypes.c_char_p, ctypes.c_size_t)
_c.dlb_device_list.argtypes = (ctypes.POINTER(_Device), ctypes.c_size_t)
_CUDA = _Device(2, 0)


def _check(status: int) -> None:
    if status:
        raise BY_NUMBER[status](_c.dlb_error_message().decode())


def devices() -> list[str]:
    """The devices that streams can be made on: `['cpu']`."""
    count = _c.dlb_device_list(None, 0)
    found = (_Device * count)()
    _c.dlb_device_list(found, count)
    return [_name(device) for device in found]


def _name(device: Any) -> str:
    name = ctypes.create_string_buffer(64)
    _c.dlb_device_name(device, name, len(name))
    return name.value.decode()


def cuda_available() -> bool:
    """Whether there is a CUDA device to make streams on; `python -m dlbridge info` says why not."""
    return cuda_problem() is None


def cuda_problem() -> str | None:
    """Why there is no CUDA device to make streams on."""
    try:
        _check(_c.dlb_device_check(_CUDA))
    except UnavailableError as error:
        return str(error)
    return None


def _check_timeout(timeout: float) -> None:
    try:
        number = timeout < 0 or timeout >= 0  # NaN is neither
    except TypeError:
        number = False
    if not number:
        raise WrongTypeError(f"timeout is {timeout!r}; pass seconds, or None to wait for as long as it takes")


class Event:
    """A point in a stream: done once everything queued before it is. Made by `Stream.record()`. Thread-safe."""

    def __init__(self) -> None:
        raise WrongTypeError("an event is made by a stream; call stream.record()")

    @classmethod
    def _adopt(cls, handle: int) -> Event:
        event = cls.__new__(cls)
        event._handle = handle
        return event

    _handle: int | None = None

    def done(self) -> bool:
        """Whether it is done, or never will be (in a forked child). Never blocks."""
        return bool(_c.dlb_event_done(self._handle))

    def wait(self, timeout: float | None = None) -> None:
        """Waits until it is done and raises what failed before it; `TimedOutError` after `timeout` seconds.

        The GIL is released, and Ctrl-C ends the wait.
        """
        if timeout is not None:
            _check_timeout(timeout)
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = _SLICE if end is None else max(min(end - time.monotonic(), _SLICE), 0.0)
            status = _c.dlb_event_wait(self._handle, int(left * 1e9))
            if status != _TIMEOUT:
                return _check(status)
            if end is not None and time.monotonic() >= end:
                raise BY_NUMBER[_TIMEOUT](f"it was not done within {timeout} s; wait again, or longer")

    # At hand when the interpreter has emptied this module already.
    _release = _c.dlb_event_release

    def __del__(self) -> None:
        if self._handle is not None:
            self._release(self._handle)

    def __repr__(self) -> str:
        return f"<dlbridge.Event {'done' if self.done() else 'pending'}>"


class Stream:
    """An ordered queue of work on a device; on the CPU a thread of the library, which runs no Python code.

    As a context manager it waits at the end until everything queued is done. Dropping a stream does not wait: what
    is queued is carried out as long as the process lives. A forked child cannot use the streams of its parent
    (`UnavailableError`), and makes new ones. Thread-safe.

    >>> with dlbridge.Stream() as stream:
    ...     tensor = dlbridge.upload(array, stream=stream)
    """

    _handle: int | None = None

    def __init__(self, device: Any = "cpu") -> None:
        out = ctypes.c_void_p()
        self._device = _Device(*native._device(device))
        _check(_c.dlb_stream_create(self._device, ctypes.byref(out)))
        self._handle = out.value

    def record(self) -> Event:
        """An event that is done when everything queued so far is."""
        out = ctypes.c_void_p()
        _check(_c.dlb_stream_record(self._handle, ctypes.byref(out)))
        assert out.value is not None
        return Event._adopt(out.value)

    def wait_event(self, event: Event) -> None:
        """Has everything queued from now on wait for an event of any stream. The caller does not wait."""
        if not isinstance(event, Event):
            raise InvalidArgumentError(f"event is a {type(event).__name__}; pass what stream.record() gave")
        _check(_c.dlb_stream_wait_event(self._handle, event._handle))

    def synchronize(self) -> None:
        """Waits until everything queued so far is done, and raises what failed since the last time."""
        event = self.record()
        while not event.done():  # in slices, which the call below is not
            _c.dlb_event_wait(event._handle, int(_SLICE * 1e9))
        _check(_c.dlb_stream_synchronize(self._handle))

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.synchronize()

    def __repr__(self) -> str:
        return f"<dlbridge.Stream on {_name(self._device)}>"

    # At hand when the interpreter has emptied this module already.
    _release = _c.dlb_stream_release

    def __del__(self) -> None:
        if self._handle is not None:
            self._release(self._handle)


_own: Stream | None = None
_lock = threading.Lock()


def _own_stream() -> Stream:
    """The stream of who names none."""
    global _own
    with _lock:
        if _own is None:
            _own = Stream("cpu")
        return _own


def _forget_streams() -> None:
    """In a child of a fork, whose streams stayed in the parent, as may have who held the lock."""
    global _own, _lock
    _own, _lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_streams)


def upload(x: Any, /, device: Any = "cpu", *, stream: Stream | None = None) -> Any:
    """A `Tensor` of its own memory on `device` into which `x` is being copied; returns at once.

    Whoever reaches the elements of the result waits for the copy, with the GIL released: `data_ptr`, `numpy()`,
    `torch()`, `__dlpack__`. `x` is kept alive until then. Do not write to it before: once `stream.record().wait()`
    or a look at the result has answered, it may be written. Without `stream` the copy is queued on a stream of the
    library's own.

    >>> dlbridge.upload(numpy.arange(6.0)).numpy()
    array([0., 1., 2., 3., 4., 5.])
    """
    _check(_c.dlb_device_check(_Device(*native._device(device))))
    used = _own_stream() if stream is None else stream
    if not isinstance(used, Stream):
        raise InvalidArgumentError(f"stream is a {type(used).__name__}; pass a dlbridge.Stream, or None")
    return native._upload(x, used._handle)
