"""The tensors that consumers are given: what a case changes, and the memory that shows what they did to it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

import dlbridge


def aligned(count: int, dtype: str = "float32", offset: int = 0) -> np.ndarray[Any, Any]:
    """1, 2, 3, ... at an address that is a multiple of 64, plus `offset` bytes: some consumers copy what is not."""
    bytes_wanted = count * np.dtype(dtype).itemsize
    raw = np.zeros(bytes_wanted + 128, "uint8")
    start = -raw.ctypes.data % 64 + offset
    memory = raw[start : start + bytes_wanted].view(dtype)
    memory[...] = np.arange(1, count + 1).astype(dtype)
    return memory


class Sample:
    """One tensor, and NumPy's view of the same memory to look at and to write through."""

    def __init__(self, view: np.ndarray[Any, Any], readonly: bool = False, dtype: str | None = None) -> None:
        self.memory = view
        shown = view.view()
        shown.flags.writeable = not readonly
        self.owner = weakref.ref(shown)
        tensor = dlbridge.from_dlpack(shown)
        self.tensor: Any = tensor.view(dtype) if dtype else tensor


def _plain() -> Sample:
    return Sample(aligned(48).reshape(6, 8))


def _offset() -> Sample:
    return Sample(aligned(48, offset=16).reshape(6, 8))


def _read_only() -> Sample:
    return Sample(aligned(48).reshape(6, 8), readonly=True)


def _sliced() -> Sample:
    return Sample(aligned(96).reshape(6, 16)[:, ::2])


def _fortran() -> Sample:
    return Sample(aligned(48).reshape(8, 6).T)


def _reversed() -> Sample:
    return Sample(aligned(48).reshape(6, 8)[::-1])


def _broadcast() -> Sample:
    rows = np.lib.stride_tricks.as_strided(aligned(16), (6, 8), (0, 4), writeable=True)
    return Sample(rows)


def _odd_size_1() -> Sample:
    # The stride of an axis with one element means nothing, and is chosen to trip who trusts it.
    return Sample(np.lib.stride_tricks.as_strided(aligned(48), (6, 1, 8), (32, 4 * 12345, 4), writeable=True))


def _empty() -> Sample:
    return Sample(np.zeros((0, 8), "float32"))


def _scalar() -> Sample:
    return Sample(aligned(16)[:1].reshape(()))


def _bool() -> Sample:
    memory = aligned(48, "bool").reshape(6, 8)
    return Sample(memory)


def _bfloat16() -> Sample:
    # The upper half of float32 2.0, 2.0, ...: 0x4000.
    memory = aligned(48, "uint16")
    memory[...] = 0x4000
    return Sample(memory.reshape(6, 8), dtype="bfloat16")


def _bytes() -> Sample:
    return Sample(aligned(48, "uint8").reshape(6, 8))


# By what stands in the table's head.
CASES: dict[str, Callable[[], Sample]] = {
    "plain": _plain,
    "uint8": _bytes,
    "aligned to 16 only": _offset,
    "read-only": _read_only,
    "every second column": _sliced,
    "transposed": _fortran,
    "negative strides": _reversed,
    "stride 0": _broadcast,
    "size 1, odd stride": _odd_size_1,
    "no elements": _empty,
    "0-d": _scalar,
    "bool": _bool,
    "bfloat16": _bfloat16,
}

# What a consumer is given on the plain tensor.
FORMS: dict[str, Callable[[Any], Any]] = {
    "dlbridge.Tensor": lambda tensor: tensor,
    "to_numpy(Tensor)": dlbridge.to_numpy,
    "to_torch(Tensor)": dlbridge.to_torch,
}
