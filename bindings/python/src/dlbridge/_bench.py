"""`python -m dlbridge bench`: what conversions between NumPy and torch cost on this machine, beside ours."""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import dlbridge

SIZES = (1024, 4096, 16384)
# Long enough for the clock, in nanoseconds.
_LEAST = 200_000

_Call = Callable[[], Any]


class Result(NamedTuple):
    """Medians in microseconds."""

    conversion: str
    dtype: str
    side: int
    today: float
    ours: float
    call: str

    def __str__(self) -> str:
        ratio = f"{self.today / self.ours:8.2f}"
        size = f"{self.side:,}^2"
        times = f"{self.today:>14,.1f}{self.ours:>14,.1f}{ratio}"
        return f"  {self.conversion:<34}{self.dtype:<9}{size:>9}{times}  {self.call}"


def bench(sizes: list[int], rounds: int, plot: str | None) -> None:
    """Prints the table, and draws it where `plot` names a file."""
    import numpy
    import torch

    version = f"dlbridge {dlbridge.__version__} with {dlbridge.get_num_threads()} threads, {dlbridge.simd_level()}"
    print(f"{version}; NumPy {numpy.__version__}, torch {torch.__version__} with {torch.get_num_threads()} threads")
    print(
        "Medians in microseconds, the two timed in turn. The values are random, the same in each row of an array.\n"
    )
    print(f"  {'':<34}{'':<9}{'elements':>9}{'today':>14}{'dlbridge':>14}{'ratio':>8}  call of dlbridge")
    results: list[Result] = []
    fitting = [(side, dtype) for side in sizes for dtype in ("float64", "float32") if _fits(side, dtype)]
    steps = 4 * len(fitting)
    for side, dtype in fitting:
        for name, today, written, ours in _conversions(side, dtype):
            _progress(len(results), steps, f"{name}, {dtype}, {side:,}^2")
            results.append(Result(name, dtype, side, *_medians(today, ours, rounds), written))
            _progress(len(results), steps, "")
            print(results[-1], flush=True)
    print("\nratio: time of today's idiom / time of dlbridge; above 1 dlbridge is faster")
    if plot:
        _draw(results, plot)
        print(f"\n{plot} drawn")


def _conversions(side: int, dtype: str) -> Iterator[tuple[str, _Call, str, _Call]]:
    """What people write, and what they would write with dlbridge; both give the same."""
    import numpy as np
    import torch

    array = np.empty((side, side), dtype)
    array[:] = np.random.default_rng(side).random(side)
    tensor = torch.from_numpy(array)
    narrow = "float32" if dtype == "float64" else "float16"
    target = getattr(torch, narrow)
    rows: list[tuple[str, _Call, str, _Call]] = [
        (
            "torch.from_numpy(a)",
            lambda: torch.from_numpy(array),
            "to_torch(a)",
            lambda: dlbridge.to_torch(array),
        ),
        ("t.numpy()", tensor.numpy, "to_numpy(t)", lambda: dlbridge.to_numpy(tensor)),
        (
            "torch.tensor(a)",
            lambda: torch.tensor(array),
            "to_torch(a, copy=True)",
            lambda: dlbridge.to_torch(array, copy=True),
        ),
        (
            f"torch.from_numpy(a).to({narrow})",
            lambda: torch.from_numpy(array).to(target),
            f'to_torch(a, dtype="{narrow}")',
            lambda: dlbridge.to_torch(array, dtype=narrow),
        ),
    ]
    for name, today, written, ours in rows:
        if not np.array_equal(today(), ours()):
            raise dlbridge.InternalError(f"{name} and dlbridge differ on this machine")
        yield name, today, written, ours


def _medians(today: _Call, ours: _Call, rounds: int) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    counts = [max(1, int(_LEAST / max(1, _once(call, 1) * 1000))) for call in (today, ours)]
    for _ in range(rounds):
        for call, count, seen in zip((today, ours), counts, times):
            seen.append(_once(call, count))
    return statistics.median(times[0]), statistics.median(times[1])


def _once(call: _Call, count: int) -> float:
    """Microseconds of one of `count` calls."""
    start = time.perf_counter_ns()
    for _ in range(count):
        call()
    return (time.perf_counter_ns() - start) / count / 1000


def _fits(side: int, dtype: str) -> bool:
    """Whether there is memory for the array, both copies of it, and the pool; said, where there is not."""
    needed = 4 * side * side * (8 if dtype == "float64" else 4)
    there = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        print(f"  {dtype} {side:,}^2 is left out: it takes {needed >> 20:,} MiB, {there >> 20:,} are free")
    return needed <= there


def _progress(done: int, steps: int, what: str) -> None:
    """A bar on the terminal, where there is one; gone once nothing is under way."""
    if not sys.stderr.isatty():
        return
    bar = "#" * (30 * done // steps)
    line = f"[{bar:<30}] {done}/{steps} {what}" if what else ""
    print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _draw(results: list[Result], path: str) -> None:
    """Time against size, a panel for each dtype: what is shared does not grow."""
    try:
        from matplotlib.figure import Figure
    except ImportError as missing:
        raise dlbridge.UnavailableError("matplotlib is not installed; run pip install matplotlib") from missing
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    dtypes = sorted({result.dtype for result in results})
    for axes, dtype in zip(figure.subplots(1, len(dtypes), sharey=True, squeeze=False)[0], dtypes):
        names = list(dict.fromkeys(result.conversion for result in results if result.dtype == dtype))
        for index, name in enumerate(names):
            found = [result for result in results if (result.conversion, result.dtype) == (name, dtype)]
            sides = [result.side for result in found]
            color = f"C{index}"
            axes.loglog(sides, [result.today for result in found], "o--", color=color, label=name)
            axes.loglog(sides, [result.ours for result in found], "s-", color=color, label="the same by dlbridge")
            axes.set_xticks(sides, [f"{side:,}²" for side in sides])
            axes.minorticks_off()
        axes.set_title(dtype)
        axes.set_xlabel("elements")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    figure.supylabel("microseconds", fontsize=10)
    figure.savefig(path, dpi=120)
