"""What a row is, and the contestants that many rows share."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch

import dlbridge

try:
    import cv2
except ImportError:
    cv2 = None

MIB = 1 << 20

_libc = ctypes.CDLL(None)
_libc.memcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_libc.memcpy.restype = ctypes.c_void_p
_libc.malloc_trim.argtypes = (ctypes.c_size_t,)


def _nothing() -> None:
    pass


class Contestant(NamedTuple):
    """What is timed, and what is done before, which is not."""

    call: Callable[[], Any]
    prepare: Callable[[], Any] = _nothing


class Row(NamedTuple):
    """One line of the table."""

    name: str
    ours: Contestant
    peers: dict[str, Contestant]
    """By name; at least one."""
    expected: Callable[[], Any]
    """What ours must equal: an array of any framework."""
    goal: float | None = None
    """The least ratio of the best peer's time to ours."""
    nbytes: int = 0
    """Bytes that memcpy copies for the last column; 0 for none."""
    fresh: bool = False
    """Whether each call is timed by itself, after `prepare`."""
    missing: str = ""
    """Which peer that belongs here is not installed."""

    def contestants(self) -> dict[str, Contestant]:
        found = {"dlbridge": self.ours, **self.peers}
        if self.nbytes:
            found["memcpy"] = memcpy(self.nbytes)
        return found

    def check(self) -> None:
        self.ours.prepare()
        made, expected = np.asarray(self.ours.call()), np.asarray(self.expected())
        assert (made.dtype, made.shape) == (expected.dtype, expected.shape), self.name
        assert np.array_equal(made, expected), self.name


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray[Any, Any]:
    """Random values, small enough for every dtype, in memory that is mapped."""
    random = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        return random.random(shape, np.float32).astype(dtype)
    return random.integers(0, 100, shape, dtype)


def memcpy(nbytes: int) -> Contestant:
    source, destination = np.ones(nbytes, np.uint8), np.ones(nbytes, np.uint8)
    addresses = destination.ctypes.data, source.ctypes.data
    kept = (source, destination)
    return Contestant(lambda: _libc.memcpy(*addresses, nbytes) and kept)


def trim() -> None:
    """Gives the system what was freed, by us and by the C library, which keeps blocks of up to 32 MiB: memory that
    comes after that is fresh for everybody."""
    dlbridge.trim()
    _libc.malloc_trim(0)


def torch_peers(name: str, call: Callable[[], Any]) -> dict[str, Contestant]:
    """A torch call with one thread and with two."""
    return {
        f"{name} {threads}T": Contestant(call, lambda threads=threads: torch.set_num_threads(threads))  # type: ignore[misc]
        for threads in (1, 2)
    }


def into(out: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> dict[str, Contestant]:
    """The peers of a copy into `out`: NumPy, and torch where it can see the source."""
    peers = {"np.copyto": Contestant(lambda: np.copyto(out, source))}
    if min(source.strides, default=0) >= 0:
        there, here = torch.from_numpy(out), torch.from_numpy(source)
        peers |= torch_peers("torch copy_", lambda: there.copy_(here))
    return peers


def ours_into(out: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> Contestant:
    return Contestant(lambda: dlbridge.copy(source, out=out))
