"""One pass of a `Stager`: its ring, its threads, and what they share with the loop."""

from __future__ import annotations

import re
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

from ._errors import Error, InvalidArgumentError, LossyError, NotAnArrayError
from ._library import native
from ._promotion import promoted
from ._recipe import Recipe
from ._structure import take_apart
from ._timeline import Load, Timeline, clock

# The times of a load, the set of its slot, and what is to go there: paths; tensors, their likes and options.
_Taken = tuple[tuple[int, int, int, int], int, list[str], list[Any]]
# How long closing waits for a source that does not return.
_PATIENCE = 5.0


class Ring:
    """The handle of a ring; it goes with the last who has this."""

    def __init__(self, device: Any, slots: int, keep: int, first_come: bool) -> None:
        self.handle = native._staging_create(device, slots, keep, first_come)

    _drop = native._staging_drop

    def __del__(self) -> None:
        if hasattr(self, "handle"):
            type(self)._drop(self.handle)


class Work:
    """One pass over the batches: what the workers and the loop share. It knows no `Stager`, so that one can go."""

    def __init__(
        self,
        ring: Ring,
        source: Iterator[Any],
        workers: int,
        ragged: bool,
        recipe: Recipe,
        kept: bool,
        wide: bool,
    ) -> None:
        self.ring, self.source, self.ragged, self.recipe, self.kept = ring, source, ragged, recipe, kept
        self.wide = wide  # whether small batches are to have more slots
        self.asking = threading.Lock()  # whoever asks the source for a batch
        self.lock = threading.Lock()
        self.error: BaseException | None = None
        self.failed: int | None = None  # the number of the batch that the error is of
        self.over = self.shut = False
        self.left = workers
        self.count = 0
        self.first: tuple[list[str], tuple[Any, ...]] | None = (
            None  # the arrays of batch 0: paths, shapes and dtypes
        )
        self.rests: dict[int, Any] = {}  # by number of the batch: what was around its arrays
        self.leaves: set[type] = set()  # types of arrays
        self.timeline = Timeline()
        self.begun = self.ended = clock()

    def run(self, name: str) -> None:
        """A worker's life."""
        load = self.timeline.worker(name)
        producer = native._staging_producer(self.ring.handle)
        try:
            while self.step(load, producer):
                pass
        finally:
            native._staging_leave(producer)
        with self.lock:
            self.left -= 1
            last = self.left == 0
        if last:
            native._staging_end(self.ring.handle, None)
            self.source = iter(())

    def step(self, load: Load, producer: int) -> bool:
        """Takes one batch from the source into a slot; False after the last."""
        with self.asking:
            number = self.count
            try:
                taken = None if self.over else self.take(producer, number)
            except BaseException as error:  # whatever the source raises belongs to the loop
                self.fail(number, error)
                return False
            if taken is None:
                self.over = True
                return False
            self.count += 1
        times, slot, paths, found = taken
        try:
            self.fill(number, paths, producer, found)
        except BaseException as error:
            # First the error, then the slot: the batch behind it is not to pass.
            self.fail(number, error)
            native._staging_give_up(producer)
            return False
        self.timeline.add_load(load, number, slot, *times)
        return True

    def take(
        self, producer: int, number: int
    ) -> tuple[tuple[int, int, int, int], int, list[str], list[Any]] | None:
        """Asks the source for a batch and waits for a slot. In order: slots are acquired as the source yields, so
        that the number of a batch is the one of its slot."""
        begin = clock()
        try:
            batch = next(self.source)
        except StopIteration:
            return None
        asked = clock()
        try:
            arrays, paths, keys, rest = take_apart(batch, self.recipe.stacks, self.leaves)
        except RecursionError as error:
            raise InvalidArgumentError(f"batch {number} contains itself, or is nested too deep") from error
        if number == 0 and not self.ragged:
            self.recipe.check(keys)
        found = [self.prepare(number, *each) for each in zip(paths, arrays, keys)]
        likes = tuple([like for _, like, _ in found])
        self.check(number, paths, keys, likes)
        del batch, arrays
        if number == 0 and self.wide:
            native._staging_widen(self.ring.handle, likes)
        waiting = clock()
        ticket, slot = native._staging_acquire(producer, likes)
        self.rests[ticket] = rest
        return (begin, asked, waiting, clock()), slot, paths, found

    def prepare(self, number: int, path: str, array: Any, key: Any) -> tuple[Any, Any, Any]:
        try:
            return self.recipe.prepare(array, key)
        except Error as error:
            raise _located(error, number, path) from error

    def fill(self, number: int, paths: list[str], producer: int, found: list[tuple[Any, Any, Any]]) -> None:
        """Copies, or stacks, into the slot, and submits it."""
        at = 0
        try:
            for at, (rows, _, options) in enumerate(found):
                if options is not None:
                    self.recipe.write(rows, options, native._staging_tensor(producer, at))
        except Error as error:
            raise _located(error, number, paths[at]) from error
        native._staging_submit(producer, tuple([rows if options is None else None for rows, _, options in found]))

    def check(self, number: int, paths: list[str], keys: list[Any], likes: tuple[Any, ...]) -> None:
        """Refuses a batch that is not like the first."""
        if not likes:
            raise InvalidArgumentError(f"batch {number} holds no array; yield arrays, or tuples or dicts of them")
        paths0, likes0 = self.first = self.first or (paths, likes)
        if self.ragged or (likes == likes0 and paths == paths0):
            return
        if paths != paths0:
            advice = "yield the same arrays each time, or pass ragged=True"
            raise InvalidArgumentError(
                f"batch {number} has {_list(paths)} and batch 0 had {_list(paths0)}; {advice}"
            )
        for path, key, (shape, dtype), (shape0, dtype0) in zip(paths, keys, likes, likes0):
            where = f"batch {number}{_at(path)}"
            if shape != shape0:
                advice = "pad it, leave it out (drop_last=True of a DataLoader), or pass ragged=True"
                raise InvalidArgumentError(f"{where} has shape {shape} and batch 0 had {shape0}; {advice}")
            if dtype != dtype0:
                both = promoted(dtype, dtype0)
                cast = f"dtype={both!r}" if key is None else f"dtype={{{key!r}: {both!r}}}"
                advice = "pass ragged=True" if both is None else f"pass {cast} to cast it, or ragged=True"
                raise InvalidArgumentError(f"{where} is {dtype} and batch 0 was {dtype0}; {advice}")

    def is_behind(self, number: int) -> bool:
        """Whether a batch before this one failed, and order is kept."""
        return self.kept and self.failed is not None and number > self.failed

    def ending(self) -> BaseException | None:
        """What the loop is to raise instead of ending quietly."""
        with self.lock:
            error, self.error = self.error, None
        if error is None:
            try:
                native._staging_check(self.ring.handle)
            except Error as failed:  # whose worker is about to tell it, or nobody
                error = None if self.shut else failed
        return error

    def fail(self, number: int, error: BaseException) -> None:
        """The loop gets what was loaded before, then this. Of several errors the one of the first batch counts."""
        with self.lock:
            if not self.shut and (self.failed is None or number < self.failed):
                self.failed, self.error = number, error
            self.over = True
        native._staging_end(self.ring.handle, None)


def _at(path: str) -> str:
    return f", array {path}" if path else ""


def _list(paths: list[str]) -> str:
    """The arrays of a batch, for a message."""
    return "one array" if paths == [""] else "the arrays " + ", ".join(paths)


def _located(error: Error, number: int, path: str) -> Error:
    """The same error, of this array, which it calls x."""
    words = re.sub(r'(?<![\w"])x(?![\w"])', lambda _: f"batch{path}", str(error))
    if isinstance(error, NotAnArrayError):
        words += ", or a number or a string that stands for it, which come along as they are"
    located = type(error)(f"batch {number}{_at(path)}: {words}")
    if isinstance(located, LossyError):
        located.report = getattr(error, "report", None)
    return located


def shut_down(work: Work, threads: list[threading.Thread]) -> None:
    """Ends a pass, wherever its workers are. They do not outlive it, unless the source does not return."""
    work.over = work.shut = True
    native._staging_end(work.ring.handle, "the stager was closed")
    end, stuck = time.monotonic() + _PATIENCE, False
    for thread in threads:
        if thread is not threading.current_thread() and thread.is_alive():
            thread.join(max(end - time.monotonic(), 0.0))
            stuck = stuck or thread.is_alive()
    if stuck:
        words = "the source of a closed Stager does not return; its thread ends when it does"
        warnings.warn(words, RuntimeWarning, stacklevel=_level_of_caller())


def _level_of_caller() -> int:
    """The stacklevel of whoever closes: the first frame above that is neither of this package nor of weakref."""
    level, frame = 1, sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("dlbridge", "weakref"):
        level, frame = level + 1, frame.f_back  # type: ignore[assignment]
    return level
