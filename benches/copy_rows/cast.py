"""cast: to another dtype, checked and not

"checked" is `casting="same_value"` on values that keep it; its peers cast, cast back and compare, as one has to
without it. Where NumPy has `casting="same_value"` itself, that is a peer too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

import dlbridge

from .row import MIB, Contestant, Row, numbers, torch_peers

Array = np.ndarray[Any, Any]

# What the values are, so that nothing is lost; the goal of the checked cast.
PAIRS = (
    ("float64", "float32", 4),
    ("float32", "float16", 10),
    ("float32", "bfloat16", 8),
    ("float32", "uint8", 4),
    ("int64", "int32", 2.5),
)


def rows(quick: bool) -> Iterator[Row]:
    del quick
    for source, target, goal in PAIRS:
        yield checked(source, target, 16 * MIB, goal)
        yield plain(source, target, "16 Mi", 16 * MIB, 1.1)
        yield plain(source, target, "64 Ki", 64 << 10, 0.9)
    yield checked("float64", "float32", 1_000_003, None)
    yield plain("float32", "bfloat16", "1,000,003", 1_000_003, None)


def values(source: str, count: int) -> Array:
    """Small integers, which every dtype here has."""
    return numbers((count,), "uint8").astype(source)


def pieces(source: str, target: str, count: int) -> tuple[Array, torch.Tensor, Array, torch.Tensor]:
    """What is cast, the same for torch, and memory for both results."""
    array = values(source, count)
    there = torch.zeros(count, dtype=getattr(torch, target))
    return array, torch.from_numpy(array), dlbridge.to_numpy(there, copy=True), there


def plain(source: str, target: str, label: str, count: int, goal: float | None) -> Row:
    array, tensor, ours, there = pieces(source, target, count)
    peers = torch_peers("torch copy_", lambda: there.copy_(tensor))
    if target != "bfloat16":
        out = there.numpy()
        peers["np.copyto"] = Contestant(lambda: np.copyto(out, array, casting="unsafe"))
    return Row(
        f"{source} to {target}, {label}",
        Contestant(lambda: dlbridge.cast(array, target, casting="unsafe", out=ours)),
        peers,
        lambda: dlbridge.to_numpy(tensor.to(there.dtype)),
        goal,
        array.nbytes,
    )


def checked(source: str, target: str, count: int, goal: float | None) -> Row:
    array, tensor, ours, there = pieces(source, target, count)

    def with_torch() -> None:
        there.copy_(tensor)
        assert torch.equal(there.to(tensor.dtype), tensor)

    peers = torch_peers("torch, there and back", with_torch)
    if target != "bfloat16":
        peers["NumPy, there and back"] = Contestant(with_numpy(array, there.numpy()))
        if np.lib.NumpyVersion(np.__version__) >= "2.4.0":
            to = np.dtype(target)
            peers["NumPy's same_value"] = Contestant(lambda: array.astype(to, casting="same_value"))
    return Row(
        f"{source} to {target}, checked, {count:,}",
        Contestant(lambda: dlbridge.cast(array, target, casting="same_value", out=ours)),
        peers,
        lambda: dlbridge.to_numpy(tensor.to(there.dtype)),
        goal,
        array.nbytes,
    )


def with_numpy(array: Array, out: Array) -> Callable[[], None]:
    def call() -> None:
        np.copyto(out, array, casting="unsafe")
        assert np.array_equal(out, array)

    return call
