"""The device that these tests run on: the CPU, or what DLBRIDGE_DEVICE names, of a driver or of its stand-in."""

from __future__ import annotations

import ctypes
import os
from typing import Any

import numpy as np
import pytest

import dlbridge

DEVICE = os.environ.get("DLBRIDGE_DEVICE", "cpu")
IS_CUDA = DEVICE.startswith("cuda")
IS_STANDIN = IS_CUDA and hasattr(ctypes.CDLL("libcuda.so.1"), "standin_calls")
needs_cuda = pytest.mark.skipif(not IS_CUDA, reason="UNAVAILABLE: these run on a CUDA device, and this is the CPU")


def torch_on_device() -> Any:
    """torch, where it can use the device too: the stand-in's it cannot."""
    if IS_STANDIN:  # torch would call what it does not have
        pytest.skip("UNAVAILABLE: a driver that torch can use, which the stand-in is not")
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("UNAVAILABLE: torch has no CUDA device here")
    torch.cuda.init()  # before which `is_pinned()` is False
    return torch


def host(x: Any) -> np.ndarray[Any, Any]:
    """The elements, from wherever they are."""
    array: np.ndarray[Any, Any] = dlbridge.download(x).result(60).numpy()
    return array


def counted(before: dlbridge.MemoryStats) -> dict[str, int]:
    """What was copied since, by name; what was not is left out."""
    now = dlbridge.memory_stats()
    names = [name for name in now._fields if "cop" in name or "load" in name]
    return {
        name: getattr(now, name) - getattr(before, name)
        for name in names
        if getattr(now, name) != getattr(before, name)
    }
