"""Copies and threads: those that share the work, those of a forked child, and the GIL."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import Any

import numpy as np
import torch

import dlbridge


def same(made: Any, expected: Any) -> bool:
    """Whether both have one dtype and the same values."""
    made = np.asarray(made)
    return bool(made.dtype == expected.dtype and np.array_equal(made, expected))


def test_a_forked_worker_copies_with_threads_of_its_own() -> None:
    source = np.arange(2_000_000, dtype="f4").reshape(1000, 2000)
    assert same(dlbridge.copy(source.T), source.T)  # the threads of this process are there now
    child = os.fork()
    if child == 0:
        os._exit(0 if same(dlbridge.copy(source.T), source.T) else 1)
    assert os.waitpid(child, 0)[1] == 0
    loader = torch.utils.data.DataLoader(
        _Turned(source), batch_size=None, num_workers=2, multiprocessing_context="fork"
    )
    assert [int(right) for right in loader] == [1, 1, 1, 1]


def test_a_forked_worker_casts_stacks_and_compares() -> None:
    source = np.arange(2_000_000, dtype="f4").reshape(1000, 2000) % 999

    def works() -> bool:
        narrow = dlbridge.cast(source.T, "float16")
        batch = dlbridge.stack([source, source], as_="numpy")
        return same(narrow, source.T.astype("f2")) and dlbridge.equal(batch[1], source)

    assert works()
    child = os.fork()
    if child == 0:
        os._exit(0 if works() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_short_copies_start_no_threads() -> None:
    code = (
        "import os, numpy as np, dlbridge\n"
        "dlbridge.set_num_threads(4)\n"
        "count = lambda: len(os.listdir('/proc/self/task'))\n"
        "before, a = count(), np.ones((255, 512), 'f4')\n"
        "dlbridge.copy(a.T), dlbridge.cast(a[:160], 'f2')\n"
        "dlbridge.stack([a[:100], a[:100]]), dlbridge.equal(a[:127], a[:127])\n"
        "assert count() == before, 'below 512 KiB'\n"
        "dlbridge.copy(np.ones((2048, 2048), 'f4').T)\n"
        "assert count() > before, 'above it'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_gil_is_kept_during_a_short_copy() -> None:
    """A thread that only waits for the GIL has its turn when somebody lets go of it."""
    source, out = np.ones(64 << 10, "u1"), np.zeros(64 << 10, "u1")
    turns, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            turns[0] += 1
            time.sleep(0)

    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    thread.start()
    try:
        sys.setswitchinterval(1000)
        before = turns[0]
        for _ in range(1000):
            dlbridge.copy(source, out=out)
        seen = turns[0] - before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
    assert seen == 0


class _Turned(torch.utils.data.Dataset[int]):
    """Copies in the worker, and says whether it was right."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> int:
        turned = (self.source + index).T
        return int(same(dlbridge.copy(turned), turned))


def test_other_threads_run_during_a_long_copy() -> None:
    source = np.ones(64 << 20, "u1")
    turns, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            turns[0] += 1
            time.sleep(0)  # lets the others run

    thread = threading.Thread(target=count)
    interval = sys.getswitchinterval()
    thread.start()
    try:
        sys.setswitchinterval(1000)  # nobody gives the GIL away because of the time
        seen = 0
        for _ in range(50):
            before = turns[0]
            dlbridge.copy(source)
            seen += turns[0] != before
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        thread.join()
    assert seen > 0
