"""Streams, events and copies that go on: thin classes over the C functions, which release the GIL."""

from __future__ import annotations

import ctypes
import numbers
import reprlib
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, NoReturn

from ._errors import BY_NUMBER, Error, InvalidArgumentError, UnavailableError, WrongTypeError
from ._library import get_library, native

# CDLL, not PyDLL: the GIL is released while a call waits.
_c = ctypes.CDLL(get_library())
_c.dlb_device_name.restype = _c.dlb_device_list.restype = ctypes.c_size_t
_c.dlb_event_done.restype = ctypes.c_bool
_c.dlb_event_done.argtypes = _c.dlb_event_release.argtypes = _c.dlb_stream_release.argtypes = (ctypes.c_void_p,)
_c.dlb_event_release.restype = _c.dlb_stream_release.restype = None
_c.dlb_event_wait.argtypes = (ctypes.c_void_p, ctypes.c_uint64)
_c.dlb_stream_synchronize_for.argtypes = (ctypes.c_void_p, ctypes.c_uint64)
_c.dlb_stream_wait_event.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
_c.dlb_stream_record.argtypes = (ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
_TIMEOUT = 10
_FOREVER = (1 << 64) - 1
# Python looks for signals between the slices of a wait.
_SLICE = 0.02


# `DLDevice`: type and id.
_FIELDS = {"_fields_": [("type", ctypes.c_int32), ("id", ctypes.c_int32)]}
_Device: Any = type("_Device", (ctypes.Structure,), _FIELDS)


_c.dlb_stream_create.argtypes = (_Device, ctypes.POINTER(ctypes.c_void_p))
_c.dlb_stream_from_native.argtypes = (_Device, ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
_c.dlb_stream_native.argtypes = (ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p))
_c.dlb_device_check.argtypes = (_Device,)
_c.dlb_device_name.argtypes = (_Device, ctypes.c_char_p, ctypes.c_size_t)
_c.dlb_device_list.argtypes = (ctypes.POINTER(_Device), ctypes.c_size_t)
_CUDA = _Device(2, 0)


def _check(status: int) -> None:
    if status:
        raise BY_NUMBER[status](native._words())


def devices() -> list[str]:
    """The devices that streams can be made on and memory be had of: `['cpu', 'cuda:0']`, or `['cpu']` without a
    driver.
    """
    count = _c.dlb_device_list(None, 0)
    found = (_Device * count)()
    _c.dlb_device_list(found, count)
    return [name_of(device) for device in found]


def name_of(device: Any) -> str:
    name = ctypes.create_string_buffer(64)
    _c.dlb_device_name(device, name, len(name))
    return name.value.decode()


def _native_of(stream: Any) -> tuple[int, Any]:
    """The handle of a foreign stream, and its device."""
    handle: Any = None
    where: Any = None
    if isinstance(stream, int) and not isinstance(stream, bool):
        handle = stream
    elif hasattr(stream, "cuda_stream"):  # torch
        handle, where = stream.cuda_stream, stream.device
    elif hasattr(stream, "__cuda_stream__"):
        handle = stream.__cuda_stream__()[1]
    elif hasattr(stream, "ptr"):  # CuPy
        handle = stream.ptr
    if not isinstance(handle, int):  # nor has one a class of streams, whose attribute it is
        raise WrongTypeError(
            f"stream is {reprlib.repr(stream)}, of type {type(stream).__name__}; pass a stream of torch or CuPy, "
            "or a cudaStream_t as an integer"
        )
    number = getattr(stream, "device_id", -1)  # CuPy's; -1 where it stands for any device
    if where is None:
        where = f"cuda:{number}" if isinstance(number, int) and number >= 0 else "cuda:0"
    if not 0 <= handle < 1 << 64:
        raise InvalidArgumentError(f"stream is {handle}; pass a cudaStream_t, 0 or more")
    return handle, where


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


def check_device(device: Any) -> None:
    """Refuses a device that no stream can be made on here."""
    _check(_c.dlb_device_check(_Device(*native._device(device))))


def _check_timeout(timeout: Any) -> None:
    if not isinstance(timeout, numbers.Real) or timeout != timeout:  # NaN
        raise WrongTypeError(f"timeout is {timeout!r}; pass seconds, or None to wait for as long as it takes")


def _end_of(timeout: float) -> float:
    """When a wait ends that begins now."""
    _check_timeout(timeout)
    return time.monotonic() + timeout


def _left_until(end: float) -> int:
    """Nanoseconds, as the C functions take them."""
    return int(min(max(end - time.monotonic(), 0.0) * 1e9, 1e18))


def _slice_until(end: float) -> int:
    return min(_left_until(end), int(_SLICE * 1e9))


def _timed_out(timeout: float | None) -> Exception:
    if timeout is not None and timeout > 0:
        return BY_NUMBER[_TIMEOUT](f"it was not done within {timeout} s; wait again, or longer")
    advice = "pass seconds above 0, or None to wait for as long as it takes"
    return BY_NUMBER[_TIMEOUT](f"it is not done, and timeout={timeout} does not wait; {advice}")


class Unique:
    """What has a handle of the library's and lets it go once: a copy would let it go again, and another process has
    nothing at that address."""

    def __reduce__(self) -> NoReturn:
        """Refused: for pickle and for the module copy."""
        raise WrongTypeError(
            f"a dlbridge.{type(self).__name__} belongs to this process, and can be neither copied nor pickled; "
            "pass on this one, or make another where it is needed"
        )


class Event(Unique):
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
        if timeout is None:
            native._wait(self._handle)
            return
        end = _end_of(timeout)
        while (status := _c.dlb_event_wait(self._handle, _slice_until(end))) == _TIMEOUT:
            if time.monotonic() >= end:
                raise _timed_out(timeout)
        _check(status)

    # At hand when the interpreter has emptied this module already.
    _release = _c.dlb_event_release

    def __del__(self) -> None:
        if self._handle is not None:
            self._release(self._handle)

    def __repr__(self) -> str:
        return f"<dlbridge.Event {'done' if self.done() else 'pending'}>"


class Stream(Unique):
    """An ordered queue of work on a device; on the CPU a thread of the library, which runs no Python code; on CUDA
    a stream of the driver's, which other libraries take through `__cuda_stream__`.

    As a context manager it waits at the end until everything queued is done. Dropping a stream does not wait: what
    is queued is carried out as long as the process lives. A forked child cannot use the streams of its parent
    (`UnavailableError`), and makes new ones. Thread-safe.

    >>> with dlbridge.Stream() as stream:
    ...     tensor = dlbridge.upload(array, stream=stream)
    """

    _handle: int | None = None
    _foreign: Any = None

    def __init__(self, device: Any = "cpu") -> None:
        out = ctypes.c_void_p()
        self._device = _Device(*native._device(device))
        _check(_c.dlb_stream_create(self._device, ctypes.byref(out)))
        self._handle = out.value

    @classmethod
    def from_native(cls, stream: Any, device: Any = None) -> Stream:
        """A stream that somebody else made: of torch, of CuPy, anything with `__cuda_stream__`, or a `cudaStream_t`
        as an integer (0 or 1 is the legacy default stream, 2 the per-thread one).

        What others queue on it and what is queued through the result is one order. An object is kept alive as long
        as the result; an integer must stay valid as long. `device` is asked of the object where it is left out, and
        else `"cuda:0"`.

        >>> copies = dlbridge.Stream.from_native(torch.cuda.current_stream())
        """
        handle, where = _native_of(stream)
        made = cls.__new__(cls)
        made._device = _Device(*native._device(where if device is None else device))
        out = ctypes.c_void_p()
        _check(_c.dlb_stream_from_native(made._device, handle, ctypes.byref(out)))
        made._handle, made._foreign = out.value, stream
        return made

    @property
    def device(self) -> str:
        """Where it works: 'cpu', 'cuda:0'."""
        return name_of(self._device)

    def __cuda_stream__(self) -> tuple[int, int]:
        """NVIDIA's protocol: version 0, and the `cudaStream_t`. `UnsupportedError` on the CPU, which has none."""
        out = ctypes.c_void_p()
        _check(_c.dlb_stream_native(self._handle, ctypes.byref(out)))
        return 0, out.value or 0

    def record(self) -> Event:
        """An event that is done when everything queued so far is."""
        out = ctypes.c_void_p()
        _check(_c.dlb_stream_record(self._handle, ctypes.byref(out)))
        assert out.value is not None
        return Event._adopt(out.value)

    def wait_event(self, event: Event) -> None:
        """Has everything queued from now on wait for an event of any stream.

        The caller does not wait, unless this is a stream of CUDA and the event one of the CPU.
        """
        if not isinstance(event, Event):
            raise WrongTypeError(f"event is of type {type(event).__name__}; pass what stream.record() gave")
        _check(_c.dlb_stream_wait_event(self._handle, event._handle))

    def synchronize(self, timeout: float | None = None) -> None:
        """Waits until everything queued so far is done, and raises what failed since the last time.

        `TimedOutError` after `timeout` seconds: what failed is raised by a later call then. The GIL is released,
        and Ctrl-C ends the wait.
        """
        end = None if timeout is None else _end_of(timeout)
        if end is None:
            with suppress(Error):  # the stream says below what failed
                self.record().wait()
        elif _left_until(end):  # else an event would be one thing more to wait for
            event = self.record()
            while not event.done() and time.monotonic() < end:
                _c.dlb_event_wait(event._handle, _slice_until(end))
        status = _c.dlb_stream_synchronize_for(self._handle, _FOREVER if end is None else _left_until(end))
        if status == _TIMEOUT:
            raise _timed_out(timeout)
        _check(status)

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.synchronize()

    def __repr__(self) -> str:
        return f"<dlbridge.Stream on {name_of(self._device)}>"

    # At hand when the interpreter has emptied this module already.
    _release = _c.dlb_stream_release

    def __del__(self) -> None:
        if self._handle is not None:
            self._release(self._handle)


def handle_of(stream: Any) -> int:
    """The handle of a stream argument; 0 for None, which stands for the library's own stream of the device."""
    if stream is None:
        return 0
    if not isinstance(stream, Stream):
        raise WrongTypeError(
            f"stream is {reprlib.repr(stream)}, of type {type(stream).__name__}; pass a dlbridge.Stream, as "
            "Stream.from_native makes of torch's or CuPy's, or None"
        )
    return stream._handle or 0


def upload(x: Any, /, device: Any = "cpu", *, stream: Stream | None = None) -> Any:
    """A `Tensor` of its own memory on `device` into which `x` is being copied; returns at once.

    Only where it comes after a copy on a stream of the CPU, and goes to CUDA, which knows nothing of that stream,
    does it return when that copy is done.

    Whoever reaches the elements of the result waits for the copy, with the GIL released: `data_ptr`, `numpy()`,
    `torch()`, `__dlpack__`; a consumer with a stream has that wait instead. `x` is kept alive until then. Do not
    write to it before: once `stream.record().wait()` or a look at the result has answered, it may be written. On
    its way to a CUDA device, what is not pinned has been staged, and may be written again, when this returns.
    Without `stream` the copy is queued on the library's own stream of the device. In `memory_stats` it counts as
    one transfer to a CUDA device, and as one copy on the CPU.

    >>> dlbridge.upload(numpy.arange(6.0)).numpy()
    array([0., 1., 2., 3., 4., 5.])
    """
    return native._upload(x, device, handle_of(stream))
