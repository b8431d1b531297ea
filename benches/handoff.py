"""What a hand-off costs in Python: ours beside the peer's, in turn, in one run. Medians, nanoseconds per call.

python benches/handoff.py [--rounds 31] [--calls 2000] [--plot handoff.png]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

import dlbridge

try:
    import tvm_ffi
except ImportError:
    tvm_ffi = None

Call = Callable[[Any], object]


class Row(NamedTuple):
    """Two calls on the same kind of thing, and the share of the peer's time that ours may take."""

    name: str
    ours: Call
    our_input: str
    peer_name: str
    peer: Call
    peer_input: str
    goal: float


def rows() -> list[Row]:
    by_numpy, by_torch = np.from_dlpack, torch.from_dlpack
    table = [
        Row("to_torch(numpy)", dlbridge.to_torch, "numpy", "torch.from_numpy", torch.from_numpy, "numpy", 0.80),
        Row("to_numpy(torch)", dlbridge.to_numpy, "torch", "t.numpy()", torch.Tensor.numpy, "torch", 0.33),
        Row("np.from_dlpack(Tensor)", by_numpy, "tensor", "of a torch tensor", by_numpy, "torch", 0.2),
        Row("torch.from_dlpack(Tensor)", by_torch, "tensor", "of an array", by_torch, "numpy", 0.95),
        Row("torch.from_dlpack(Tensor)", by_torch, "tensor", "of a torch tensor", by_torch, "torch", 0.3),
    ]  # fmt: skip
    if tvm_ffi is None:
        print("tvm_ffi: UNAVAILABLE; pip install apache-tvm-ffi to see its two rows\n")
        return table
    peer = tvm_ffi.from_dlpack
    return [
        *table[:2],
        Row("from_dlpack(numpy)", dlbridge.from_dlpack, "numpy", "tvm_ffi.from_dlpack", peer, "numpy", 1.0),
        Row("from_dlpack(torch)", dlbridge.from_dlpack, "torch", "tvm_ffi.from_dlpack", peer, "torch", 1.8),
        *table[2:],
    ]


def inputs(shape: tuple[int, ...], dtype: str) -> dict[str, Any]:
    """The same values as an array, a torch tensor and one of ours."""
    array = np.resize(np.arange(1009, dtype=dtype), shape)
    return {"numpy": array, "torch": torch.from_numpy(array), "tensor": dlbridge.from_dlpack(array)}


def once(call: Call, argument: Any, calls: int) -> float:
    """Nanoseconds per call, the loop's own share included."""
    turns = range(calls)
    start = time.perf_counter_ns()
    for _ in turns:
        call(argument)
    return (time.perf_counter_ns() - start) / calls


def loop_cost(rounds: int, calls: int) -> float:
    """What the loop and a call of a builtin that does nothing cost, to be subtracted."""
    return statistics.median(once(id, None, calls) for _ in range(rounds))


def measure(table: list[Row], given: dict[str, Any], rounds: int, calls: int) -> list[tuple[float, float]]:
    """Medians of ours and the peer's, row by row; within a round all contestants take turns."""
    times: list[tuple[list[float], list[float]]] = [([], []) for _ in table]
    for _ in range(rounds):
        for row, (ours, peers) in zip(table, times):
            ours.append(once(row.ours, given[row.our_input], calls))
            peers.append(once(row.peer, given[row.peer_input], calls))
    empty = loop_cost(rounds, calls)
    return [(statistics.median(ours) - empty, statistics.median(peers) - empty) for ours, peers in times]


def shares(given: dict[str, Any], rounds: int, calls: int) -> None:
    """What the checks cost that others leave out: each torch question on its own."""
    tensor = given["torch"]
    questions: list[tuple[str, Call]] = [
        ("requires_grad", torch.Tensor.requires_grad.__get__),
        ("is_neg()", torch.Tensor.is_neg),
        ("being traced?", lambda _, ask=torch._C._is_tracing: ask()),
        ("by make_fx?", lambda _, ask=torch._C._len_torch_dispatch_stack: ask()),
    ]
    empty = loop_cost(rounds, calls)
    print("of from_dlpack(torch) and to_numpy(torch), asked from Python (from C each costs a little less):")
    for name, question in questions:
        spent = statistics.median(once(question, tensor, calls) for _ in range(rounds)) - empty
        print(f"  {name:<14} {spent:6.0f} ns")


SHAPES: list[tuple[str, tuple[int, ...], str]] = [
    ("1-d, 7", (7,), "float32"),
    ("4-d, 3x5x7x11", (3, 5, 7, 11), "float32"),
    ("1024 squared, 8 MiB", (1024, 1024), "float64"),
    ("4096 squared, 128 MiB", (4096, 4096), "float64"),
    ("16384 squared, 2 GiB", (16384, 16384), "float64"),
]


def memory_available() -> int:
    """Bytes of memory that can be had, as Linux tells."""
    with open("/proc/meminfo") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=31)
    options.add_argument("--calls", type=int, default=2000)
    options.add_argument("--plot", help="write the ratios as a picture, too")
    chosen = options.parse_args()
    table = rows()
    results: dict[str, list[tuple[float, float]]] = {}
    for label, shape, dtype in SHAPES:
        needed = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if needed * 3 // 2 > memory_available():
            print(f"{label}: skipped, {needed >> 20} MiB do not fit in memory here")
            continue
        print(f"{label} {dtype}", file=sys.stderr)
        given = inputs(shape, dtype)
        results[label] = measure(table, given, chosen.rounds, chosen.calls)
        show(label, table, results[label])
    shares(inputs((7,), "float32"), chosen.rounds, chosen.calls)
    if chosen.plot:
        plot(chosen.plot, table, results)


def show(label: str, table: list[Row], measured: list[tuple[float, float]]) -> None:
    print(f"{label:<28}{'ns':>6}   {'beside':<22}{'ns':>6}{'ratio':>8}{'goal':>7}")
    for row, (ours, peer) in zip(table, measured):
        ratio = ours / peer
        met = "met" if ratio <= row.goal else "NOT met"
        print(f"  {row.name:<26}{ours:6.0f}   {row.peer_name:<22}{peer:6.0f}{ratio:8.2f}{row.goal:7.2f}  {met}")
    print()


def plot(path: str, table: list[Row], results: dict[str, list[tuple[float, float]]]) -> None:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 4.5), layout="constrained")
    height = 0.8 / len(results)
    for index, (label, measured) in enumerate(results.items()):
        places = [place + index * height for place in range(len(table))]
        axes.barh(places, [ours / peer for ours, peer in measured], height, label=label)
    for place, row in enumerate(table):
        axes.plot([row.goal] * 2, [place - 0.1, place + 0.9], color="black", lw=1.5)
    axes.set_yticks([place + 0.35 for place in range(len(table))])
    axes.set_yticklabels([f"{row.name}\nbeside {row.peer_name}" for row in table], fontsize=8)
    axes.invert_yaxis()
    axes.axvline(1, color="grey", ls=":")
    axes.set_xlabel("time, as a share of the peer's (black: goal; shorter is faster)")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
