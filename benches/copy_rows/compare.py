"""equal and allclose: two arrays of 64 MiB each"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import dlbridge

from .row import MIB, Contestant, Row, numbers, torch_peers

Array = np.ndarray[Any, Any]


def rows(quick: bool) -> Iterator[Row]:
    yield from equals()
    yield from mismatches()
    yield from close()
    yield from small()


def row(
    name: str, pair: tuple[Array, Array], calls: tuple[Callable[..., Any], ...], answer: bool, goal: float | None
) -> Row:
    """Ours, NumPy's and torch's call on the same two arrays."""
    ours, of_numpy, of_torch = calls
    a, b = pair
    tensors = torch.from_numpy(a), torch.from_numpy(b)
    peers = {f"np.{of_numpy.__name__}": Contestant(lambda: of_numpy(a, b))}
    peers |= torch_peers(f"torch.{of_torch.__name__}", lambda: of_torch(*tensors))
    return Row(name, Contestant(lambda: ours(a, b)), peers, lambda: np.asarray(answer), goal)


EQUAL = (dlbridge.equal, np.array_equal, torch.equal)
CLOSE = (dlbridge.allclose, np.allclose, torch.allclose)


def equals() -> Iterator[Row]:
    for dtype, size in (
        ("float32", 16 * MIB),
        ("float32", 16 * MIB - 37),
        ("float64", 8 * MIB),
        ("uint8", 64 * MIB),
    ):
        a = numbers((size,), dtype)
        yield row(f"equal {dtype} {size:,}", (a, a.copy()), EQUAL, True, 1.3)


def mismatches() -> Iterator[Row]:
    for dtype, size in (("float32", 16 * MIB), ("float32", 16 * MIB - 37)):
        a = numbers((size,), dtype)
        for where, place in (("1/16", size // 16), ("1/1000", size // 1000), ("7", 7)):
            b = a.copy()
            b[place] += 1
            yield row(f"equal {dtype} {size:,}, mismatch at {where}", (a, b), EQUAL, False, 5)


def close() -> Iterator[Row]:
    for dtype, size in (("float32", 16 * MIB), ("float32", 16 * MIB - 37), ("float64", 8 * MIB)):
        a = numbers((size,), dtype)
        yield row(f"allclose {dtype} {size:,}", (a, (a * (1 + 1e-7)).astype(dtype)), CLOSE, True, 10)


def small() -> Iterator[Row]:
    a = numbers((256,), "float32")
    yield row("equal of 1 KiB", (a, a.copy()), EQUAL, True, None)
    yield row("allclose of 1 KiB", (a, a.copy()), CLOSE, True, None)
