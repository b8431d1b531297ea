"""Millions of hand-offs in every direction: memory must not grow, and nothing may stay alive.

    python tests/python/soak.py [--count 10000000]

Exits with 1 if resident memory grew by more than a few MB, or a tensor or an export is left over.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import dlbridge

LIMIT_MB = 4.0


def resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def live() -> tuple[int, int]:
    gc.collect()  # and the bytecodes after it, in which pending releases run
    return dlbridge.live_tensors(), dlbridge.live_exports()


def directions() -> dict[str, Callable[[], Any]]:
    array, there = np.arange(12.0).reshape(3, 4), torch.arange(12.0).reshape(3, 4)
    tensor = dlbridge.from_dlpack(array)
    return {
        "numpy -> torch": lambda: dlbridge.to_torch(array),
        "torch -> numpy": lambda: dlbridge.to_numpy(there),
        "numpy -> Tensor": lambda: dlbridge.from_dlpack(array),
        "torch -> Tensor": lambda: dlbridge.from_dlpack(there),
        "Tensor -> numpy": lambda: np.from_dlpack(tensor),
        "Tensor -> torch": lambda: dlbridge.to_torch(tensor),
    }


def soak(name: str, hand_over: Callable[[], Any], count: int) -> float:
    """Runs one direction; megabytes that it left behind."""
    for _ in range(100_000):  # until allocators and caches have what they want
        hand_over()
    gc.collect()
    before, began = resident_mb(), time.perf_counter()
    step = max(count // 10, 1)
    for done in range(0, count, step):
        for _ in range(min(step, count - done)):
            hand_over()
        line = f"{name:<16} {done / count:5.0%}  {resident_mb():8.1f} MB"
        if sys.stdout.isatty():
            print(f"\r{line}", end="", flush=True)
    seconds = time.perf_counter() - began
    gc.collect()
    after = resident_mb()
    per_call = seconds / count * 1e9
    end = "\r" if sys.stdout.isatty() else ""
    print(f"{end}{name:<16} {count:>11,}  {per_call:6.0f} ns  {before:8.1f} -> {after:8.1f} MB", flush=True)
    return after - before


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=10_000_000, help="hand-offs in each direction")
    count = parser.parse_args().count
    at_first = live()
    ways = directions()
    with_them = live()
    grown = {name: soak(name, hand_over, count) for name, hand_over in ways.items()}
    faults = [f"{name}: {more:+.1f} MB" for name, more in grown.items() if more > LIMIT_MB]
    if (now := live()) != with_them:
        faults.append(f"tensors and exports alive: {with_them} before, {now} after")
    ways.clear()
    if (now := live()) != at_first:
        faults.append(f"tensors and exports alive at the end: {now}, at first {at_first}")
    print(f"alive at the end: {now[0]} tensors, {now[1]} exports; memory {sum(grown.values()):+.1f} MB in all")
    for fault in faults:
        print("FAULT", fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
