"""What a `Stager` did and when: its numbers as a table, its timeline for Perfetto and as a picture."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from ._errors import InvalidArgumentError, UnavailableError, WrongTypeError
from ._fields import explained

clock = time.perf_counter_ns


@explained
class StagerStats(NamedTuple):
    """The numbers of a `Stager` so far; all times are seconds. Printed, it is a table.

    `batches`: Batches that the loop got.
    `bytes`: Bytes of their arrays.
    `seconds`: From the start until the loop asked for the last time.
    `source`: Seconds that the source took to yield its batches, summed over the workers.
    `copy`: Seconds that it took to copy them into slots, summed over the workers.
    `compute`: Seconds that the loop had a batch before it asked for the next, summed over its threads.
    `waited_for_slot`: Seconds that workers waited because the loop was behind, summed over them.
    `waited_for_batch`: Seconds that the loop waited because the workers were behind, summed over its threads.
    `overlap`: The share of the shorter of loading and computing that was hidden behind the other: 1 is all.
    `batches_per_second`: `batches` over `seconds`.
    `megabytes_per_second`: Millions of `bytes` over `seconds`.
    `sets`: Sets of buffers that were made, when first needed: at most as many as slots, more if batches were kept.
    """

    batches: int
    bytes: int
    seconds: float
    source: float
    copy: float
    compute: float
    waited_for_slot: float
    waited_for_batch: float
    overlap: float
    batches_per_second: float
    megabytes_per_second: float
    sets: int

    def __str__(self) -> str:
        rows = [(name.replace("_", " "), _shown(name, value)) for name, value in self._asdict().items()]
        names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
        return "\n".join(f"{name:<{names}}  {value:>{values}}" for name, value in rows)


_TIMES = ("seconds", "source", "copy", "compute", "waited_for_slot", "waited_for_batch")


def _shown(name: str, value: float) -> str:
    """A number in the table; a time in the unit that leaves digits to read."""
    if name in _TIMES:
        unit, size = next((each for each in (("s", 1.0), ("ms", 1e-3)) if value >= each[1]), ("us", 1e-6))
        return f"{value / size:,.3f} {unit:<2}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


class Span(NamedTuple):
    """Something that went on for a while; times in nanoseconds of `time.perf_counter_ns`."""

    lane: str
    what: str
    batch: int
    begin: int
    end: int


class Load:
    """What one worker did: sums in nanoseconds, which it alone adds to."""

    __slots__ = ("copy", "name", "slot", "source")

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = self.slot = self.copy = 0


class Use:
    """What one thread of the loop did, likewise; and the batch that it has, its slot, when that was asked for and
    given."""

    __slots__ = ("batch", "compute", "record")

    def __init__(self) -> None:
        self.batch = self.compute = 0
        self.record: tuple[int, int, int, int] | None = None


class Timeline:
    """What went on with each batch, the last of them where there are too many, and the sums. Threads add to it
    without a lock: each has a `Load` or a `Use` of its own, and a deque may be appended to by any."""

    MOST = 15_000  # batches

    def __init__(self) -> None:
        # Tuples of numbers: they are made for every batch, read seldom, and nothing for the garbage collector.
        self.loaded: deque[tuple[str, int, int, int, int, int, int, int]] = deque(maxlen=self.MOST)
        self.used: deque[tuple[int, int, int, int, int]] = deque(maxlen=self.MOST)
        self.loads: list[Load] = []
        self.uses: dict[int, Use] = {}  # by thread; one that ended leaves its place to the next

    def worker(self, name: str) -> Load:
        """For a worker to note what it does; `name` is "" or a number."""
        self.loads.append(Load(name))
        return self.loads[-1]

    def consumer(self) -> Use:
        """For the thread of the loop that calls."""
        thread = threading.get_ident()
        return self.uses.get(thread) or self.uses.setdefault(thread, Use())

    def add_load(self, load: Load, batch: int, slot: int, begin: int, asked: int, waiting: int, given: int) -> None:
        """The source took from `begin` until it was `asked`; a slot was waited for and `given`; now it is full."""
        end = clock()
        load.source += asked - begin
        load.slot += given - waiting
        load.copy += end - given
        self.loaded.append((load.name, batch, slot, begin, asked, waiting, given, end))

    def add_use(self, use: Use, batch: int, slot: int, asked: int) -> None:
        """The loop has a batch, for which it `asked`."""
        given = clock()
        use.batch += given - asked
        use.record = batch, slot, asked, given

    def end_use(self, use: Use, now: int) -> None:
        """The loop asks for the next."""
        if use.record is not None:
            use.compute += now - use.record[3]
            self.used.append((*use.record, now))
            use.record = None

    def seconds(self) -> tuple[float, float, float, float, float]:
        """Loading, copying and waiting for slots of all workers; computing and waiting for batches of all loops."""
        loads = [sum(times) for times in zip((0, 0, 0), *((x.source, x.copy, x.slot) for x in self.loads))]
        uses = [sum(times) for times in zip((0, 0), *((x.compute, x.batch) for x in list(self.uses.values())))]
        source, copy, slot, compute, batch = (nanoseconds / 1e9 for nanoseconds in loads + uses)
        return source, copy, slot, compute, batch

    @property
    def spans(self) -> list[Span]:
        spans = []
        for name, batch, slot, begin, asked, waiting, given, end in list(self.loaded):
            spans += [
                Span("producer" + name, "load", batch, begin, asked),
                Span("producer" + name, "wait for slot", batch, waiting, given),
                Span("copy" + name, "copy", batch, given, end),
                Span(f"slot {slot}", "fill", batch, given, end),
            ]
        # First what is under way: what ends meanwhile is seen twice, and not never.
        under_way = {record for use in list(self.uses.values()) if (record := use.record)}
        used = list(self.used)
        for batch, slot, asked, given, until in used:
            spans += [
                Span("consumer", "wait for batch", batch, asked, given),
                Span("consumer", "compute", batch, given, until),
                Span(f"slot {slot}", "use", batch, given, until),
            ]
        for batch, _, asked, given in under_way.difference(each[:4] for each in used):
            spans.append(Span("consumer", "wait for batch", batch, asked, given))
        return sorted(spans, key=lambda span: span.end)

    def _some(self) -> list[Span]:
        """The spans; a file of none is no use to anybody."""
        spans = self.spans
        if not spans:
            raise InvalidArgumentError(
                "no batch was loaded yet in this pass; iterate first, then write its timeline"
            )
        return spans

    def write(self, path: str | os.PathLike[str]) -> None:
        """Chrome's trace format: open it at ui.perfetto.dev or in chrome://tracing."""
        _check_path(path, "timeline.json")
        spans = self._some()
        start = min(span.begin for span in spans)
        lanes = _lanes(spans)
        events: list[dict[str, Any]] = [
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": lane}}
            for number, lane in enumerate(lanes)
        ]
        events += [
            {"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": number, "args": {"sort_index": number}}
            for number in range(len(lanes))
        ]
        events += [
            {
                "ph": "X",
                "name": f"{span.what} {span.batch}",
                "cat": span.what,
                "pid": 1,
                "tid": lanes.index(span.lane),
                "ts": (span.begin - start) / 1e3,
                "dur": (span.end - span.begin) / 1e3,
                "args": {"batch": span.batch},
            }
            for span in spans
        ]
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"traceEvents": events, "displayTimeUnit": "ms"}, file)

    def plot(self, path: str | os.PathLike[str]) -> None:
        """The last moments as bars, one row for each lane."""
        _check_path(path, "timeline.png")
        spans = self._some()[-400:]
        try:
            from matplotlib.figure import Figure
        except ImportError as missing:
            raise UnavailableError("matplotlib is not installed; run pip install matplotlib") from missing
        start = min(span.begin for span in spans)
        lanes = _lanes(spans)
        figure = Figure(figsize=(10, 1 + 0.5 * len(lanes)), layout="constrained")
        axes = figure.subplots()
        colors = {what: f"C{number}" for number, what in enumerate(sorted({span.what for span in spans}))}
        for what, color in colors.items():
            chosen = [span for span in spans if span.what == what]
            axes.barh(
                [lanes.index(span.lane) for span in chosen],
                [(span.end - span.begin) / 1e6 for span in chosen],
                left=[(span.begin - start) / 1e6 for span in chosen],
                color=color,
                edgecolor="white",
                linewidth=0.5,
                label=what,
            )
        axes.set_yticks(range(len(lanes)), lanes)
        axes.invert_yaxis()
        axes.set_xlabel("milliseconds")
        axes.legend(ncols=len(colors), loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
        figure.savefig(path)


def _check_path(path: Any, example: str) -> None:
    """Refuses what names no file: an int would be one that is open."""
    if not isinstance(path, (str, os.PathLike)):
        raise WrongTypeError(f"path is {path!r}; pass the name of a file, such as {example!r}")


def _lanes(spans: Iterable[Span]) -> list[str]:
    """Producers, copies and the consumer, then the slots."""
    found = {span.lane for span in spans}
    order = ("producer", "copy", "consumer", "slot")
    return sorted(found, key=lambda lane: (order.index(lane.split()[0]), len(lane), lane))
