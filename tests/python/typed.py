"""A program as users type it: mypy accepts it, and finds what each ignore names (`make lint-python`)."""

from __future__ import annotations

import numpy as np
import torch

import dlbridge


def accepted(array: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> torch.Tensor:
    tensor: dlbridge.Tensor = dlbridge.from_dlpack(array)[0, ..., ::-1]
    half, lost = dlbridge.cast(tensor, "float16", report=True)
    print(lost.inexact, half.dtype)
    batch: torch.Tensor = dlbridge.stack([tensor, tensor], as_="torch")
    found = dlbridge.allclose(batch, array, report=True)
    if not found and found.first is not None:
        print(found.first.index)
    with dlbridge.Stager([batch], order="first", dtype={0: "float32"}) as stager:
        for each in stager:
            print(each.shape, stager.stats.batches)
    return dlbridge.copy(array, out=batch)


async def served(tensor: dlbridge.Tensor) -> list[float]:
    result: dlbridge.Tensor = await dlbridge.download(tensor)
    return [float(row.item()) for row in result]


def refused(tensor: dlbridge.Tensor) -> None:
    tensor[0] = 1  # type: ignore[index, assignment]
    print(1 in tensor)  # type: ignore[operator]
    print(tensor + 1)  # type: ignore[operator]
    print(tensor[[0, 1]])  # type: ignore[index]
    tensor.shape = (3,)  # type: ignore[misc]
    dlbridge.cast(tensor, "float16", casting="no")  # type: ignore[call-overload]
    dlbridge.Stager([tensor], order="last")  # type: ignore[arg-type]
