"""What the tests of `Stager` share."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np


def stager_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("dlbridge stager")]


def reused(count: int, shape: tuple[int, ...] = (16, 32)) -> Iterator[np.ndarray]:
    """A source that yields one array again and again, with other values."""
    array = np.empty(shape, "int32")
    for number in range(count):
        array[...] = number
        yield array
