"""`Stager`: batches loaded by threads of its own while the loop computes on the one before."""

from __future__ import annotations

import importlib
import numbers
import operator
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from itertools import islice
from types import TracebackType
from typing import Any, Callable, Literal

from ._errors import ClosedError, InvalidArgumentError, UnavailableError, WrongTypeError
from ._frameworks import consumer
from ._library import native
from ._recipe import Recipe
from ._streams import Unique, _Device, name_of
from ._structure import put_together
from ._timeline import StagerStats, Timeline, clock
from ._work import Ring, Work, shut_down

_CUDA = 2
# One is filled, one is on its way to the device, one is used.
_SLOTS = 3


class Stager(Unique):
    """Double buffering over any iterable of batches: while the loop computes on one, the next is being loaded.

    A batch is an array of any framework, or tuples, lists, dicts and dataclasses of arrays (numbers, strings and
    None come along as they are); the loop gets the same structure with `Tensor`s, or what `as_` names, on `device`.
    Named tuples and dataclasses keep their class; other mappings become dicts, other kinds of tuples and lists
    plain ones.
    Each array is copied once, into a slot of memory that is used again and again: but never while a tensor, an
    array or a view on it is alive. So what you keep is safe; up to `keep` batches are, beyond the `slots`, then
    `OutOfMemoryError` says which.

    slots: how many batches there may be at a time, being loaded, on their way and in use. Each has memory of the
        size of a batch; on a device pinned memory, and as much of the device. Left out it is 3, or, where batches
        are alike and small, as many as 256 KiB hold, at most 16. 2 overlap loading with computing on the CPU; a
        device whose link is to be busy all the time needs 3: of batches of 64 MiB they pin 192 MiB.
    workers: threads that ask the source and copy. One is enough unless the copying is the bottleneck, and with one
        the source may yield the same array again and again; with more it must not change what it has yielded.
    as_: any framework that `dlbridge.to` takes ("torch", "numpy", "jax", ...), or None for `Tensor`.
    timeout: how many seconds the loop waits for a batch before `TimedOutError`; None for any number.
    order: "kept", or "first" for batches as they get ready.
    ragged: whether batches may differ from the first in shape, dtype and structure.
    progress: a bar by tqdm, for each pass.
    stack: whether lists are arrays to be stacked to one.
    dtype, casting, layout, scale, bias: as for `dlbridge.stack`; without `stack` an array is a stack already. Done
        on the way into the slot, in the one pass that copies. Each of these six may be a dict, for the arrays of a
        batch that it names: `dtype={0: "float32"}` for the first of a tuple, `layout={"image": "CHW"}` for one of a
        dict, or for that field of a named tuple or a dataclass. Only the top level of a batch counts: a name there
        is for all arrays below it, and those cannot be named singly. Unless `ragged`, a name that the first batch
        does not have is an error.

    What the source raises is raised by the loop, with its traceback, after the batches before it; where order is
    kept, after all of them and no other. A pass and its threads end with the last batch, with an error of the
    source, and with closing: the end of `with`, `close()`, garbage collection, the end of the interpreter. `break`
    and exceptions in the loop do not end it as long as something refers to the Stager: the next `for` goes on with
    the batch after. So use `with`. Nobody can stop a source that does not return: closing waits for it, for up to 5
    seconds, then warns (`RuntimeWarning`) and leaves its thread, which ends with the next batch of the source and
    drops that; so let a source that waits for others give up by itself. After the end, `for` begins another
    pass if the source can be iterated again.
    Several threads may iterate: each batch goes to one of them, which is done with it when it asks for another, or
    when all on its memory is gone. One that keeps a batch and never asks again holds a slot, and nobody is told.

    >>> with dlbridge.Stager(batches) as stager:
    ...     for images, labels in stager:
    ...         step(images.torch(), labels.torch())
    >>> print(stager.stats)
    """

    def __init__(
        self,
        batches: Iterable[Any],
        *,
        device: Any = "cpu",
        slots: int | None = None,
        workers: int = 1,
        as_: Any = None,
        timeout: float | None = None,
        order: Literal["kept", "first"] = "kept",
        ragged: bool = False,
        progress: bool = False,
        keep: int = 16,
        stack: Any = False,
        dtype: Any = None,
        casting: Any = None,
        layout: Any = None,
        scale: Any = None,
        bias: Any = None,
    ) -> None:
        if not hasattr(type(batches), "__iter__") and not hasattr(type(batches), "__getitem__"):
            kind = type(batches).__name__
            raise WrongTypeError(f"batches is of type {kind}; pass an iterable of batches, such as a list")
        for name, value in (("ragged", ragged), ("progress", progress)):
            if not isinstance(value, bool):
                raise WrongTypeError(f"{name} is {value!r}; pass True or False")
        workers = _count("workers", workers, 1, 1024)
        self._wide = slots is None and not ragged
        slots = _SLOTS if slots is None else _count("slots", slots, 1, 1 << 16)
        keep = _count("keep", keep, 0, 1 << 16)
        if not (isinstance(order, str) and order in ("kept", "first")):
            wrong = InvalidArgumentError if isinstance(order, str) else WrongTypeError
            raise wrong(f"order is {order!r}; pass 'kept' or 'first'")
        self._device: tuple[int, int] = native._device(device)
        self._batches, self._workers, self._ragged = batches, workers, ragged
        self._timeout = -1 if timeout is None else _nanoseconds(timeout)
        self._ring_options = (device, slots, keep, order == "first")
        self._convert: Callable[[Any], Any] | None = None if as_ is None else consumer(as_, "as_")
        self._recipe = Recipe(stack, dtype=dtype, casting=casting, layout=layout, scale=scale, bias=bias)
        self._new_bar = _bars() if progress else None
        self._bar: Any = None
        self._work: Work | None = None
        self._close: Any = None
        self._fresh = True
        self._starting = threading.RLock()
        self._kept = order == "kept"
        self._ring = Ring(*self._ring_options)

    def _start(self) -> Work:
        """The pass over the batches, with its threads: another once the loop was told the end of the last."""
        with self._starting:
            if self._work is not None:
                if self._close.alive:
                    return self._work
                self._close()
                self._ring = Ring(*self._ring_options)
            if self._new_bar is not None:
                self._bar = self._new_bar(total=operator.length_hint(self._batches) or None)
            self._fresh = False
            self._work = work = Work(
                self._ring,
                _iterated(self._batches),
                self._workers,
                self._ragged,
                self._recipe,
                self._kept,
                self._wide,
            )
            names = [""] if self._workers == 1 else [f" {number}" for number in range(self._workers)]
            threads = [
                threading.Thread(target=work.run, args=(name,), name=f"dlbridge stager{name}", daemon=True)
                for name in names
            ]
            # Also when this is collected, and when the interpreter ends.
            self._close = weakref.finalize(self, shut_down, work, threads)
            try:
                with work.asking:  # nobody asks the source before all are there
                    try:
                        for thread in threads:
                            thread.start()
                    except BaseException:
                        work.over = True
                        raise
            except RuntimeError as error:
                self._close()
                advice = "end some threads, pass fewer workers, or raise the limit (ulimit -u)"
                raise UnavailableError(f"no thread for the source: {error}; {advice}") from error
            except BaseException:
                self._close()
                raise
            if work.source is self._batches:
                # An iterator, which ends with this pass: a generator is closed when its last reference goes.
                self._batches = ()
            return work

    def __enter__(self) -> Stager:
        self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Stager:
        self._start()
        return self

    def __next__(self) -> Any:
        work = self._start() if self._fresh else self._work
        if work is None or (self._close is not None and not self._close.alive):
            raise StopIteration
        use = work.timeline.consumer()
        asked = clock()
        work.timeline.end_use(use, asked)
        work.ended = asked
        got: tuple[Any, ...] | None
        try:
            got = native._staging_next(work.ring.handle, self._timeout, _stream_on(self._device))
        except ClosedError:
            got = None
        if got is None or work.is_behind(got[0]):
            error = work.ending()
            with self._starting:
                if work is self._work:  # and no other thread has begun another pass
                    self.close()
            # Out of the `except`: its cause and context stay what they are.
            raise StopIteration if error is None else error
        number, slot, *tensors = got
        del got
        convert = self._convert
        batch = put_together(work.rests.pop(number), tensors if convert is None else [convert(x) for x in tensors])
        work.timeline.add_use(use, number, slot, asked)
        if self._bar is not None:
            self._bar.update()
        return batch

    def close(self) -> None:
        """Ends the pass, if one is under way, with its threads; what was loaded and not handed out is dropped.

        Batches that the loop has stay what they are. A `for` after it begins another pass, where the source can be
        iterated again; `next(stager)` does not.
        """
        self._fresh = False
        if self._close is not None:
            self._close()
        if self._bar is not None:
            self._bar.close()

    @property
    def stats(self) -> StagerStats:
        """What it has done in this pass so far; `print(stager.stats)` is a table."""
        work = self._work
        if work is None:
            return StagerStats(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
        _, handed, size, sets, _, _ = native._staging_totals(work.ring.handle)
        seconds = max(work.ended - work.begun, 1) / 1e9
        source, copy, slot, compute, batch = work.timeline.seconds()
        load = (source + copy) / self._workers
        shorter = min(load, compute)
        hidden = load + compute - seconds
        overlap = min(max(hidden / shorter, 0.0), 1.0) if shorter > 0 else 0.0
        return StagerStats(
            handed,
            size,
            seconds,
            source,
            copy,
            compute,
            slot,
            batch,
            overlap,
            handed / seconds,
            size / 1e6 / seconds,
            sets,
        )

    def trace(self, path: Any) -> None:
        """Writes the timeline of this pass for ui.perfetto.dev: lanes for producers, copies, slots and the loop."""
        (self._work.timeline if self._work else Timeline()).write(path)

    def plot(self, path: Any) -> None:
        """Draws the last part of the timeline, with matplotlib."""
        (self._work.timeline if self._work else Timeline()).plot(path)

    def __repr__(self) -> str:
        return f"<dlbridge.Stager of {self._ring_options[1]} slots on {name_of(_Device(*self._device))}>"


def _iterated(batches: Any) -> Iterator[Any]:
    """`iter(batches)`; what is only indexed, as a map-style Dataset is, not past its `len()`: Python asks for one
    index after the other until an IndexError, which not all of them raise."""
    iterator = iter(batches)
    indexed = not hasattr(type(batches), "__iter__") and hasattr(type(batches), "__len__")
    return islice(iterator, len(batches)) if indexed else iterator


def _count(name: str, value: Any, least: int, most: int) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        raise WrongTypeError(f"{name} is {value!r}; pass an int, {least} to {most}") from None
    if not least <= count <= most:
        raise InvalidArgumentError(f"{name} is {count}; pass {least} to {most}")
    return count


def _nanoseconds(timeout: Any) -> int:
    is_real = isinstance(timeout, numbers.Real)
    if not is_real:
        raise WrongTypeError(f"timeout is {timeout!r}; pass seconds, or None to wait for ever")
    if not 0 <= timeout < 2**63 / 1e9:
        raise InvalidArgumentError(f"timeout is {timeout}; pass seconds, 0 or more, or None to wait for ever")
    return int(timeout * 1e9)


def _stream_on(device: tuple[int, int]) -> int:
    """The stream that the loop computes on: torch's current one if torch uses CUDA, else the default one."""
    kind, number = device
    torch = sys.modules.get("torch") if kind == _CUDA else None
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.current_stream(number).cuda_stream)


def _bars() -> Any:
    """What makes a bar."""
    try:
        return importlib.import_module("tqdm.auto").tqdm
    except ImportError as missing:
        raise UnavailableError("tqdm is not installed; run pip install tqdm, or leave progress out") from missing
