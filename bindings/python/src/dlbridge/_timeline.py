"""What a `Stager` did and when: its numbers as a table, its timeline for Perfetto and as a picture."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from ._errors import UnavailableError, WrongTypeError


class StagerStats(NamedTuple):
    """The numbers of a `Stager` so far; all times are seconds. Printed, it is a table."""

    batches: int
    """Batches that the loop got."""
    bytes: int
    """Bytes of their arrays."""
    seconds: float
    """From the start until the loop asked for the last time."""
    source: float
    """What the source took to yield its batches, summed over the workers."""
    copy: float
    """What it took to copy them into slots, summed over the workers."""
    compute: float
    """What the loop took between getting a batch and asking for the next."""
    waited_for_slot: float
    """How long workers waited because the loop was behind."""
    waited_for_batch: float
    """How long the loop waited because the workers were behind."""
    overlap: float
    """The share of loading or computing, whichever is shorter, that was hidden behind the other: 1 is all."""
    batches_per_second: float
    megabytes_per_second: float
    sets: int
    """Sets of buffers that were allocated: as many as slots, and more where batches were kept."""

    def __str__(self) -> str:
        rows = [(name.replace("_", " "), _number(value)) for name, value in self._asdict().items()]
        names, values = (max(len(row[column]) for row in rows) for column in (0, 1))
        return "\n".join(f"{name:<{names}}  {value:>{values}}" for name, value in rows)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}"


class Span(NamedTuple):
    """Something that went on for a while; times in nanoseconds of `time.perf_counter_ns`."""

    lane: str
    what: str
    batch: int
    begin: int
    end: int


class Timeline:
    """Spans, the last of them where there are too many, and their sums. Any thread may add to it."""

    MOST = 100_000

    def __init__(self) -> None:
        # As tuples: they are made for every batch, and read seldom.
        self._spans: deque[tuple[str, str, int, int, int]] = deque(maxlen=self.MOST)

    @property
    def spans(self) -> list[Span]:
        return [Span(*span) for span in list(self._spans)]

    def add(self, lane: str, what: str, batch: int, begin: int, end: int) -> int:
        self._spans.append((lane, what, batch, begin, end))
        return end - begin

    def write(self, path: str | os.PathLike[str]) -> None:
        """Chrome's trace format: open it at ui.perfetto.dev or in chrome://tracing."""
        _check_path(path, "timeline.json")
        spans = self.spans
        start = min((span.begin for span in spans), default=0)
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
        try:
            from matplotlib.figure import Figure
        except ImportError as missing:
            raise UnavailableError("matplotlib is not installed; run pip install matplotlib") from missing
        spans = self.spans[-400:]
        start = min((span.begin for span in spans), default=0)
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
        if spans:
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
