"""What copies cost, beside the best of NumPy, torch (1 and 2 threads), OpenCV and torchvision.

python benches/copies.py [--rounds 15] [--only TEXT] [--quick] [--plot FILE.svg] [--table docs/copies.md]

Medians in microseconds, all contestants in turn in one process. The rows are in `copy_rows/`: a module there has
`rows()`, which gives them one after the other. "memcpy" is the C library's, of the same bytes into memory that is
mapped already: what one thread could do at best without going past the caches. Every result is compared with the
expected one before it is timed.
"""

from __future__ import annotations

import argparse
import importlib
import pkgutil
import re
import statistics
import sys
import time
from importlib import metadata
from pathlib import Path

import copy_rows
from copy_rows.row import Row

import dlbridge

# Long enough for the clock, in nanoseconds.
LEAST = 200_000

# Seconds of sleep before each contestant, as often as it takes: the threads of torch's OpenMP spin for some
# milliseconds after their work (15 where `pause` is slow), and would take a core from whoever comes next.
REST = 0.005

# Nanoseconds of calls that nobody times, since a machine that rested is slow for some milliseconds: the caches have
# to be filled again, and the processors woken.
WARM = 5_000_000

# What the table of a document lies between.
TABLE = re.compile(r"(<!-- make bench-copy -->\n).*?(<!-- end -->)", re.DOTALL)


def once(call: object, count: int) -> float:
    """Microseconds of one of `count` calls."""
    start = time.perf_counter_ns()
    for _ in range(count):
        call()  # type: ignore[operator]
    return (time.perf_counter_ns() - start) / count / 1000


def rest() -> None:
    """Sleeps until no thread of this process works any more."""
    while True:
        before = time.process_time()
        time.sleep(REST)
        if time.process_time() - before < REST / 10:
            return


def measure(row: Row, rounds: int) -> dict[str, float]:
    """The median of each contestant, ours first, memcpy last."""
    contestants = row.contestants()
    each = {}
    for name, contestant in contestants.items():
        contestant.prepare()
        each[name] = max(1, min(once(contestant.call, 1) for _ in range(1 if row.fresh else 3)) * 1000)
    times: dict[str, list[float]] = {name: [] for name in contestants}
    order = list(contestants.items())
    for _ in range(rounds):
        order.reverse()  # memcpy, whose memory is its own, does not always come before the same one
        for name, contestant in order:
            contestant.prepare()
            count = 1
            if not row.fresh:
                rest()
                once(contestant.call, max(1, int(WARM / each[name])))
                count = max(1, int(LEAST / each[name]))
            times[name].append(once(contestant.call, count))
    return {name: statistics.median(values) for name, values in times.items()}


def text(us: float) -> str:
    return f"{us:,.2f}" if us < 100 else f"{us:,.0f}"


class Result:
    """A row that was measured."""

    def __init__(self, row: Row, times: dict[str, float]) -> None:
        self.row = row
        self.ours = times["dlbridge"]
        self.memcpy = times.get("memcpy")
        self.goal = row.goal
        peers = {name: each for name, each in times.items() if name not in ("dlbridge", "memcpy")}
        self.peer = min(peers, key=lambda name: peers[name])
        self.best = peers[self.peer]

    @property
    def ratio(self) -> float:
        return self.best / self.ours

    @property
    def met(self) -> bool:
        return self.goal is None or self.ratio >= self.goal

    def cells(self) -> tuple[str, ...]:
        """Of the document's table."""
        goal = "" if self.goal is None else f"{self.goal:g}, {'met' if self.met else '**not met**'}"
        memcpy = "" if self.memcpy is None else text(self.memcpy)
        return self.row.name, text(self.ours), text(self.best), self.peer, f"{self.ratio:.2f}", goal, memcpy

    def __str__(self) -> str:
        met = "" if self.goal is None else "met" if self.met else "NOT met"
        goal = "" if self.goal is None else f"{self.goal:g}"
        memcpy = "" if self.memcpy is None else text(self.memcpy)
        return (
            f"  {self.row.name:<46}{text(self.ours):>10}{text(self.best):>11}  {self.peer:<18}"
            f"{self.ratio:>6.2f}{goal:>6}  {met:<8}{memcpy:>10}"
        )


def modules() -> list[str]:
    return [name for _, name, _ in pkgutil.iter_modules(copy_rows.__path__) if name != "row"]


def run(rounds: int, only: str, quick: bool) -> list[Result]:
    results = []
    for name in modules():
        module = importlib.import_module(f"copy_rows.{name}")
        print(f"\n{module.__doc__.splitlines()[0]}  (goal: best peer / dlbridge, at least)")
        print(
            f"  {'':<46}{'dlbridge':>10}{'best peer':>11}  {'':<18}{'ratio':>6}{'goal':>6}  {'':<8}{'memcpy':>10}"
        )
        for row in module.rows(quick):
            if only not in f"{name} {row.name}":
                continue
            if row.missing:
                print(f"  {row.name:<46}UNAVAILABLE: {row.missing}")
            row.check()
            results.append(Result(row, measure(row, rounds)))
            print(results[-1], flush=True)
    return results


def plot(path: str, results: list[Result]) -> None:
    """Bars of the ratios, with a mark where the goal is."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.24 * len(results) + 1), layout="constrained")
    for place, result in enumerate(results):
        goal = result.goal
        axes.barh(place, result.ratio, color="#2f6f9f" if result.met else "#c98a5a", height=0.7)
        if goal is not None:
            axes.plot([goal, goal], [place - 0.4, place + 0.4], color="black", linewidth=1.5)
        axes.text(result.ratio * 1.03, place, f"{result.ratio:.1f}", va="center", fontsize=7)
    axes.axvline(1, color="gray", linewidth=0.8)
    axes.set_yticks(
        range(len(results)), [f"{result.row.name}  (best: {result.peer})" for result in results], fontsize=7
    )
    axes.invert_yaxis()
    axes.set_xscale("log")
    ticks = [0.5, 1, 2, 4, 8, 16, 32]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("times as fast as the best peer; the black marks are the goals")
    figure.savefig(path)
    print(f"\n{path} drawn")


def write_table(path: Path, results: list[Result], summary: str) -> None:
    """Puts the table where the file has its marks."""
    lines = [
        "| microseconds | dlbridge | best peer | which | ratio | goal | memcpy |",
        "|---|--:|--:|---|--:|---|--:|",
    ]
    lines += [f"| {' | '.join(result.cells())} |" for result in results]
    table = "\n".join([*lines, "", summary, ""])
    before = path.read_text()
    assert TABLE.search(before), f"{path} has no {TABLE.pattern}"
    path.write_text(TABLE.sub(lambda marks: f"{marks[1]}{table}{marks[2]}", before))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="", help="rows whose name has this text")
    parser.add_argument("--quick", action="store_true", help="no arrays of 1 GiB and more")
    parser.add_argument("--plot", help="write the ratios as a picture, too")
    parser.add_argument("--table", type=Path, help="put the table there, between its marks")
    chosen = parser.parse_args()
    dlbridge.memory_limit(6 << 30)
    libraries = ", ".join(
        f"{name} {version(name)}" for name in ("numpy", "torch", "torchvision", "opencv-python-headless")
    )
    machine = f"{dlbridge.get_num_threads()} threads, {dlbridge.simd_level()}"
    print(f"dlbridge: {machine}; {libraries}")
    results = run(chosen.rounds, chosen.only, chosen.quick)
    goals = [result for result in results if result.goal is not None]
    summary = f"{sum(result.met for result in goals)} of {len(goals)} goals met."
    print(f"\n{summary}")
    if chosen.plot:
        plot(chosen.plot, results)
    if chosen.table:
        write_table(chosen.table, results, f"{summary} dlbridge: {machine}. Beside {libraries}.")


def version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "UNAVAILABLE"


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
