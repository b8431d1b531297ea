"""`Stager`: batches loaded by threads of its own while the loop computes on the one before."""

from __future__ import annotations

import importlib
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Callable

from ._errors import ClosedError, Error, InvalidArgumentError, UnavailableError
from ._explain import to
from ._library import native
from ._recipe import Recipe
from ._structure import put_together, take_apart
from ._timeline import StagerStats, Timeline

_clock = time.perf_counter_ns
_CUDA = 2
# How long closing waits for a source that does not return.
_PATIENCE = 5.0


class _Ring:
    """The handle of a ring; it goes with the last who has this."""

    def __init__(self, device: Any, slots: int, keep: int, first_come: bool) -> None:
        self.handle = native._staging_create(device, slots, keep, first_come)

    _drop = native._staging_drop

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            type(self)._drop(self.handle)


class _Work:
    """One pass over the batches: what the workers and the loop share. It knows no `Stager`, so that one can go."""

    def __init__(self, ring: _Ring, source: Iterator[Any], workers: int, ragged: bool, recipe: Recipe) -> None:
        self.ring, self.source, self.ragged, self.recipe = ring, source, ragged, recipe
        self.asking = threading.Lock()  # whoever asks the source for a batch
        self.lock = threading.Lock()
        self.error: BaseException | None = None
        self.over = False
        self.left = workers
        self.count = 0
        self.first: tuple[list[str], tuple[Any, ...]] | None = (
            None  # the arrays of batch 0: paths, shapes and dtypes
        )
        self.rests: dict[
            int, tuple[Any, int]
        ] = {}  # by number of the batch: what was around its arrays, and since when
        self.timeline = Timeline()
        self.times = {"source": 0, "copy": 0, "slot": 0, "compute": 0, "batch": 0}
        self.begun = self.ended = _clock()

    def run(self, name: str) -> None:
        """A worker's life."""
        try:
            while self.step(name):
                pass
        except ClosedError as closed:
            if not self.over:
                self.fail(closed)
        except BaseException as error:  # whatever the source raises belongs to the loop
            self.fail(error)
        with self.lock:
            self.left -= 1
            last = self.left == 0
        if last:
            native._staging_end(self.ring.handle, None)
            self.source = iter(())

    def step(self, name: str) -> bool:
        """Takes one batch from the source into a slot; False after the last."""
        with self.asking:
            if self.over:
                return False
            begin = _clock()
            try:
                batch = next(self.source)
            except StopIteration:
                self.over = True
                return False
            asked = _clock()
            number, self.count = self.count, self.count + 1
            arrays, paths, keys, rest = take_apart(batch, self.recipe.stacks)
            found = [self.prepare(number, *each) for each in zip(paths, arrays, keys)]
            likes = tuple(like for _, like, _ in found)
            self.check(number, paths, likes)
            del batch, arrays
            waiting = _clock()
            # In order: slots are acquired as the source yields.
            slot, ticket, chosen = native._staging_acquire(self.ring.handle, likes)
        filling = _clock()
        self.rests[ticket] = rest
        self.fill(number, paths, slot, found)
        end = _clock()
        add = self.timeline.add
        with self.lock:
            times = self.times
            times["source"] += add("producer" + name, "load", ticket, begin, asked)
            times["slot"] += add("producer" + name, "wait for slot", ticket, waiting, filling)
            times["copy"] += add("copy" + name, "copy", ticket, filling, end)
            add(f"slot {chosen}", "fill", ticket, filling, end)
        return True

    def prepare(self, number: int, path: str, array: Any, key: Any) -> tuple[Any, Any, Any]:
        try:
            return self.recipe.prepare(array, key)
        except Error as error:
            raise type(error)(f"batch {number}{_at(path)}: {error}") from error

    def fill(self, number: int, paths: list[str], slot: int, found: list[tuple[Any, Any, Any]]) -> None:
        """Copies, or stacks, into a slot and submits it; where that fails the slot goes back."""
        at = 0
        try:
            for at, (rows, _, options) in enumerate(found):
                if options is not None:
                    self.recipe.write(rows, options, native._staging_tensor(slot, at))
        except BaseException as error:
            native._staging_submit(slot, None)
            if isinstance(error, Error):
                raise type(error)(f"batch {number}{_at(paths[at])}: {error}") from error
            raise
        native._staging_submit(slot, tuple(rows if options is None else None for rows, _, options in found))

    def check(self, number: int, paths: list[str], likes: tuple[Any, ...]) -> None:
        """Refuses a batch that is not like the first."""
        if not likes:
            raise InvalidArgumentError(f"batch {number} holds no array; yield arrays, or tuples or dicts of them")
        paths0, likes0 = self.first = self.first or (paths, likes)
        if self.ragged or (likes == likes0 and paths == paths0):
            return
        advice = "; pad it, drop it (drop_last), or pass ragged=True"
        if paths != paths0:
            have, had = ", ".join(paths), ", ".join(paths0)
            raise InvalidArgumentError(f"batch {number} has the arrays {have} and batch 0 had {had}{advice}")
        for path, (shape, dtype), (shape0, dtype0) in zip(paths, likes, likes0):
            where = f"batch {number}{_at(path)}"
            if shape != shape0:
                raise InvalidArgumentError(f"{where} has shape {shape} and batch 0 had {shape0}{advice}")
            if dtype != dtype0:
                raise InvalidArgumentError(f"{where} is {dtype} and batch 0 was {dtype0}{advice}")

    def fail(self, error: BaseException) -> None:
        """The loop gets what was loaded before, then this."""
        with self.lock:
            self.error = self.error or error
            self.over = True
        native._staging_end(self.ring.handle, None)


def _at(path: str) -> str:
    return f", array {path}" if path else ""


def _shut(work: _Work, threads: list[threading.Thread]) -> None:
    """Ends a pass, wherever its workers are. They do not outlive it, unless the source does not return."""
    work.over = True
    native._staging_end(work.ring.handle, "the stager was closed")
    end = time.monotonic() + _PATIENCE
    for thread in threads:
        if thread is not threading.current_thread() and thread.is_alive():
            thread.join(max(end - time.monotonic(), 0.0))
            if thread.is_alive():
                warnings.warn(
                    "the source of a closed Stager does not return; its thread ends when it does",
                    ResourceWarning,
                    stacklevel=2,
                )
    work.rests.clear()


class Stager:
    """Double buffering over any iterable of batches: while the loop computes on one, the next is being loaded.

    A batch is an array of any framework, or tuples, lists, dicts and dataclasses of arrays (numbers, strings and
    None come along as they are); the loop gets the same structure with `Tensor`s, or what `as_` names, on `device`.
    Each array is copied once, into a slot of memory that is used again and again: but never while a tensor, an
    array or a view on it is alive. So what you keep is safe; up to `keep` batches are, beyond the `slots`, then
    `OutOfMemoryError` says which.

    workers: threads that ask the source and copy. One is enough unless the copying is the bottleneck, and with one
        the source may yield the same array again and again; with more it must not change what it has yielded.
    as_: "torch", "numpy", "jax" or another framework, or None for `Tensor`.
    timeout: how many seconds the loop waits for a batch before `TimedOutError`; None for any.
    order: "kept", or "first" for batches as they get ready.
    ragged: whether batches may differ from the first in shape, dtype and structure.
    progress: a bar by tqdm.
    stack: whether lists are arrays to be stacked to one.
    dtype, casting, layout, scale, bias: as for `dlbridge.stack`; without `stack` an array is a stack already. Done
        on the way into the slot, in the one pass that copies. Each of these six may be a dict, for the arrays of a
        batch that it names: `dtype={0: "float32"}` for the first of a tuple, `layout={"image": "CHW"}` for one of a
        dict.

    What the source raises is raised by the loop, with its traceback, after the batches before it. However the loop
    ends, closing (`with`, `close()`, garbage collection, the end of the interpreter) ends the threads. A source
    that can be iterated again starts anew with each `for`. Several threads may iterate: each batch goes to one of
    them.

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
        slots: int = 2,
        workers: int = 1,
        as_: Any = None,
        timeout: float | None = None,
        order: str = "kept",
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
            raise InvalidArgumentError(f"batches is a {type(batches).__name__}; pass an iterable of batches")
        if workers < 1:
            raise InvalidArgumentError(f"workers is {workers}; pass 1 or more")
        if timeout is not None and timeout < 0:
            raise InvalidArgumentError(f"timeout is {timeout}; pass seconds, 0 or more, or None to wait for ever")
        if order not in ("kept", "first"):
            raise InvalidArgumentError(f"order is {order!r}; pass 'kept' or 'first'")
        self._device: tuple[int, int] = native._device(device)
        self._batches, self._workers, self._ragged = batches, workers, ragged
        self._timeout = -1 if timeout is None else int(timeout * 1e9)
        self._ring_options = (device, slots, keep, order == "first")
        self._convert = _converter(as_)
        self._recipe = Recipe(stack, dtype=dtype, casting=casting, layout=layout, scale=scale, bias=bias)
        self._progress = _progress(batches) if progress else None
        self._work: _Work | None = None
        self._close: Any = None
        self._loops = threading.local()
        self._ring = _Ring(*self._ring_options)

    def _start(self) -> _Work:
        """A pass over the batches, with its threads."""
        if self._work is not None:
            if not self._work.over or self._work.rests:
                return self._work
            self.close()
            self._ring = _Ring(*self._ring_options)
        source = iter(self._batches)
        if source is self._batches:
            # An iterator, which ends with this pass: a generator is closed when its last reference goes.
            self._batches = ()
        work = self._work = _Work(self._ring, source, self._workers, self._ragged, self._recipe)
        del source
        names = [""] if self._workers == 1 else [f" {number}" for number in range(self._workers)]
        threads = [
            threading.Thread(target=work.run, args=(name,), name=f"dlbridge stager{name}", daemon=True)
            for name in names
        ]
        # Also when this is collected, and when the interpreter ends.
        self._close = weakref.finalize(self, _shut, work, threads)
        for thread in threads:
            thread.start()
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
        work = self._work
        if work is None or (self._close is not None and not self._close.alive):
            raise StopIteration
        asked = _clock()
        before = getattr(self._loops, "given", None)
        if before is not None:
            number, chosen, since = before
            self._loops.given = None
            with work.lock:
                work.times["compute"] += work.timeline.add("consumer", "compute", number, since, asked)
                work.timeline.add(f"slot {chosen}", "use", number, since, asked)
        work.ended = asked
        try:
            number, chosen, *tensors = native._staging_next(
                work.ring.handle, self._timeout, _stream_on(self._device)
            )
        except ClosedError:
            error, work.error = work.error, None
            self.close()
            if error is not None:
                raise error from None
            raise StopIteration from None
        batch = put_together(work.rests.pop(number), [self._convert(tensor) for tensor in tensors])
        given = _clock()
        with work.lock:
            work.times["batch"] += work.timeline.add("consumer", "wait for batch", number, asked, given)
        self._loops.given = (number, chosen, given)
        if self._progress is not None:
            self._progress.update()
        return batch

    def close(self) -> None:
        """Ends the threads and lets go of the source. Batches that the loop has stay what they are."""
        if self._close is not None:
            self._close()
        if self._progress is not None:
            self._progress.close()

    @property
    def stats(self) -> StagerStats:
        """What it has done in this pass so far; `print(stager.stats)` is a table."""
        work = self._work
        if work is None:
            return StagerStats(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0)
        _, handed, size, sets, _, _ = native._staging_totals(work.ring.handle)
        seconds = max(work.ended - work.begun, 1) / 1e9
        times = {name: value / 1e9 for name, value in work.times.items()}
        load = (times["source"] + times["copy"]) / self._workers
        shorter = min(load, times["compute"])
        hidden = load + times["compute"] - seconds
        overlap = min(max(hidden / shorter, 0.0), 1.0) if shorter > 0 else 0.0
        return StagerStats(
            handed,
            size,
            seconds,
            times["source"],
            times["copy"],
            times["compute"],
            times["slot"],
            times["batch"],
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
        device, slots, _, _ = self._ring_options
        return f"<dlbridge.Stager of {slots} slots on {device}>"


def _converter(as_: Any) -> Callable[[Any], Any]:
    if as_ is None:
        return lambda tensor: tensor
    direct: dict[Any, Callable[[Any], Any]] = {"torch": native.to_torch, "numpy": native.to_numpy}
    if isinstance(as_, str) and as_ in direct:
        return direct[as_]
    return lambda tensor: to(tensor, as_)


def _stream_on(device: tuple[int, int]) -> int:
    """The stream that the loop computes on: torch's current one if torch uses CUDA, else the default one."""
    kind, number = device
    torch = sys.modules.get("torch") if kind == _CUDA else None
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.current_stream(number).cuda_stream)


def _progress(batches: Any) -> Any:
    try:
        tqdm = importlib.import_module("tqdm.auto").tqdm
    except ImportError as missing:
        raise UnavailableError("tqdm is not installed; run pip install tqdm, or leave progress out") from missing
    return tqdm(total=len(batches) if hasattr(batches, "__len__") else None)
