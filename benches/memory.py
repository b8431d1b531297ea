"""What memory costs: allocate, touch every byte, free. Ours beside NumPy, torch and malloc, in turn, in one run.

python benches/memory.py [--rounds 31]

Medians in microseconds. "fresh": nothing is cached. "warm": the block before was of the same size; what NumPy,
torch and malloc do then is up to glibc, which keeps freed blocks below a threshold of 128 KiB to 32 MiB and unmaps
the rest. NumPy asks for huge pages from 4 MiB on, as dlbridge does from 2 MiB on.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

import dlbridge

_libc = ctypes.CDLL(None)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = (ctypes.c_size_t,)
_libc.free.argtypes = (ctypes.c_void_p,)
_libc.malloc_trim.argtypes = (ctypes.c_size_t,)
_libc.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)

KIB, MIB = 1 << 10, 1 << 20
SIZES = (100, 64 * KIB, MIB, 2 * MIB, 2100 * KIB, 5 * MIB, 6 * MIB, 24 * MIB, 64 * MIB, 256 * MIB)


def ours(size: int, touch: bool) -> None:
    tensor = dlbridge.empty(size, "uint8")
    if touch:
        _libc.memset(tensor.data_ptr, 1, size)


def numpy(size: int, touch: bool) -> None:
    array = np.empty(size, np.uint8)
    if touch:
        _libc.memset(array.__array_interface__["data"][0], 1, size)


def pytorch(size: int, touch: bool) -> None:
    tensor = torch.empty(size, dtype=torch.uint8)
    if touch:
        _libc.memset(tensor.data_ptr(), 1, size)


def malloc(size: int, touch: bool) -> None:
    block = _libc.malloc(size)
    if touch:
        _libc.memset(block, 1, size)
    _libc.free(block)


PEERS: dict[str, Callable[[int, bool], None]] = {
    "dlbridge": ours,
    "numpy.empty": numpy,
    "torch.empty": pytorch,
    "malloc": malloc,
}


def once(call: Callable[[int, bool], None], size: int, touch: bool, fresh: bool) -> float:
    """Microseconds of one call; of several where one is too short to be measured."""
    calls = 1 if fresh or size * touch > MIB else 200
    if fresh:
        dlbridge.trim()
        _libc.malloc_trim(0)
    start = time.perf_counter_ns()
    for _ in range(calls):
        call(size, touch)
    return (time.perf_counter_ns() - start) / calls / 1000


def row(size: int, touch: bool, fresh: bool, rounds: int) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in PEERS}
    for turn in range(rounds + 1):
        for name, call in PEERS.items():
            if not fresh:
                for _ in range(3):  # what the others left in the processor's caches goes
                    call(size, touch)
            each = once(call, size, touch, fresh)
            if turn:  # the first one warms up
                times[name].append(each)
    return {name: statistics.median(values) for name, values in times.items()}


def text(size: int) -> str:
    if size < KIB:
        return f"{size} B"
    return f"{size / MIB:.4g} MiB" if size >= MIB else f"{size // KIB} KiB"


def table(title: str, touch: bool, fresh: bool, rounds: int) -> None:
    print(f"{title}, microseconds")
    names = list(PEERS)
    print(f"{'size':>10}" + "".join(f"{name:>14}" for name in names) + f"{'best peer / dlbridge':>24}")
    for size in SIZES:
        times = row(size, touch, fresh, rounds)
        ratio = min(times[name] for name in names[1:]) / times[names[0]]
        print(f"{text(size):>10}" + "".join(f"{times[name]:>14.2f}" for name in names) + f"{ratio:>24.2f}")
    print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=31)
    rounds = parser.parse_args().rounds
    dlbridge.memory_limit(1 << 30)
    table("allocate and free, warm", touch=False, fresh=False, rounds=rounds)
    table("allocate, touch and free, fresh", touch=True, fresh=True, rounds=rounds)
    table("allocate, touch and free, warm", touch=True, fresh=False, rounds=rounds)
    print(dlbridge.memory_stats())


if __name__ == "__main__":
    main()
