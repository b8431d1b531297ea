"""Downloads: what is on its way to the host, and cannot be touched before it has arrived."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Generator
from typing import Any

from ._errors import Error, WrongTypeError
from ._library import native
from ._streams import Event, Stream, Unique, handle_of

_Callback = Callable[["Future"], object]


class Future(Unique):
    """A download under way. Made by `download()`; thread-safe.

    The data is reached through `result()` alone, which waits, so it cannot be read too early; in asyncio through
    `await future`, which holds up nobody else. A process that exits waits neither for downloads nor for their
    callbacks. In a forked child what was unfinished raises `UnavailableError`.
    """

    def __init__(self) -> None:
        raise WrongTypeError("a future is made by a download; call dlbridge.download(x)")

    @classmethod
    def _of(cls, tensor: Any, event: Event) -> Future:
        future = cls.__new__(cls)
        future._tensor, future._event = tensor, event
        future._lock, future._callbacks, future._thread = threading.Lock(), [], None
        return future

    _tensor: Any
    _event: Event
    _lock: threading.Lock
    # None once they have been taken to be called: from then on a callback is called where it is added.
    _callbacks: list[_Callback] | None
    # Who is to call them. A forked child does not have it.
    _thread: threading.Thread | None

    def done(self) -> bool:
        """Whether `result()` would answer at once. Never blocks."""
        return self._event.done()

    def result(self, timeout: float | None = None) -> Any:
        """The `Tensor` in host memory, once it is there; `TimedOutError` after `timeout` seconds.

        Raises what failed on the way, each time it is asked. The GIL is released, and Ctrl-C ends the wait.
        """
        self._event.wait(timeout)
        return self._tensor

    def __await__(self) -> Generator[Any, None, Any]:
        """`result()` for asyncio: others run until it is there. Giving up (`asyncio.wait_for`) stops no copy."""
        if not self.done():
            from asyncio import get_running_loop  # who awaits has it

            loop = get_running_loop()
            arrival = loop.create_future()

            def arrive() -> None:
                if not arrival.done():  # nobody has given up
                    arrival.set_result(None)

            def tell(_: Future) -> None:
                with contextlib.suppress(RuntimeError):  # the loop was closed
                    loop.call_soon_threadsafe(arrive)

            self.add_done_callback(tell)
            yield from arrival
        return self.result()

    def exception(self, timeout: float | None = None) -> Error | None:
        """What failed on the way, or None; waits as `result()` does."""
        try:
            self._event.wait(timeout)
        except Error as error:
            if not self.done():
                raise
            return error
        return None

    def add_done_callback(self, callback: _Callback, /) -> None:
        """Has `callback(future)` called once, when the download is done or has failed.

        On a thread of its own, in the order of adding; on this one, at once, if it is done. What a callback raises
        is logged to `dlbridge` and goes no further. Where no thread can be started, that error is raised and the
        callback is not added. A forked child does not call what was added before the fork: its parent does.
        """
        if not callable(callback):
            raise WrongTypeError(f"callback is {callback!r}; pass a function that takes the future")
        with self._lock:
            attended = self._thread is not None and self._thread.is_alive()
            if not attended and self.done():
                self._callbacks = None
            if self._callbacks is not None:
                if not attended:
                    thread = threading.Thread(target=self._attend, name="dlbridge callbacks", daemon=True)
                    thread.start()
                    self._thread = thread
                self._callbacks.append(callback)
                return
        self._call(callback, Exception)

    def _attend(self) -> None:
        with contextlib.suppress(Exception):  # the callbacks ask for it themselves
            self.exception()
        with self._lock:
            callbacks, self._callbacks = self._callbacks or [], None
        for callback in callbacks:
            self._call(callback, BaseException)  # nobody else is here whom SystemExit could concern

    def _call(self, callback: _Callback, caught: type[BaseException]) -> None:
        try:
            callback(self)
        except caught:
            logging.getLogger("dlbridge").exception("a callback of %s raised", repr(self))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        raise WrongTypeError("a Future is no array; pass future.result(), which waits for it")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(native.Tensor, name):
            raise AttributeError(f"a Future has no attribute {name!r}")
        raise AttributeError(
            f"a Future is no array, and future.result() waits for one; write future.result().{name}"
        )

    def __repr__(self) -> str:
        return f"<dlbridge.Future {'done' if self.done() else 'pending'}>"


def download(x: Any, /, *, stream: Stream | None = None) -> Future:
    """A copy of `x` in host memory of its own, under way: a `Future`; returns at once.

    From a CUDA device it goes into pinned memory, as the driver's copies want it, from a pool. `x` is kept alive
    until it is done, and may be written again then. Without `stream` the copy is queued on the library's own stream
    of the device. In `memory_stats` it counts as one transfer from a CUDA device, and as one copy on the CPU.

    >>> future = dlbridge.download(tensor)
    >>> future.result().numpy()
    array([0., 1., 2., 3., 4., 5.])
    """
    tensor, event = native._download(x, handle_of(stream))
    return Future._of(tensor, Event._adopt(event))
