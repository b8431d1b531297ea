"""stack: many arrays to one batch; pictures cast, turned and normalised on the way"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import dlbridge

from .row import Contestant, Row, cv2, numbers, torch_peers

try:
    from torchvision.transforms.v2 import functional as vision
except ImportError:
    vision = None

Array = np.ndarray[Any, Any]

MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
SCALE, BIAS = 1 / (255 * STD), -MEAN / STD
MISSING = " and ".join(name for name, module in (("OpenCV", cv2), ("torchvision", vision)) if module is None)


def rows(quick: bool) -> Iterator[Row]:
    yield from plain()
    for name, shape in (("224", (224, 224, 3)), ("225 x 227", (225, 227, 3)), ("1080p", (1080, 1920, 3))):
        yield from one_picture(name, numbers(shape, "uint8"))
    yield from batches()


def plain() -> Iterator[Row]:
    for name, count, shape, dtype in (
        ("64 images of 224", 64, (224, 224, 3), "uint8"),
        ("64 images of 225 x 227", 64, (225, 227, 3), "uint8"),
        ("256 vectors of 4096", 256, (4096,), "float32"),
        ("256 vectors of 4099", 256, (4099,), "float32"),
    ):
        arrays = [numbers(shape, dtype, seed) for seed in range(count)]
        out, there = np.empty((count, *shape), dtype), torch.empty(count, *shape, dtype=getattr(torch, dtype))
        tensors = [torch.from_numpy(array) for array in arrays]

        def loop(arrays: list[Array] = arrays, out: Array = out) -> None:
            for index, array in enumerate(arrays):
                out[index] = array

        peers = {
            "np.stack": Contestant(lambda a=arrays, o=out: np.stack(a, out=o)),  # type: ignore[misc]
            "numpy loop": Contestant(loop),
            **torch_peers("torch.stack", lambda t=tensors, o=there: torch.stack(t, out=o)),  # type: ignore[misc]
        }
        ours = Contestant(lambda a=arrays, o=out: dlbridge.stack(a, out=o))  # type: ignore[misc]
        yield Row(f"stack {name}", ours, peers, lambda a=arrays: np.stack(a), 1.1, out.nbytes)  # type: ignore[misc]


def normalised(pictures: list[Array]) -> Array:
    stacked = np.stack(pictures).astype("float32") * SCALE + BIAS
    return np.ascontiguousarray(stacked.transpose(0, 3, 1, 2))


def ours_into(pictures: list[Array], out: Array) -> Contestant:
    call = lambda: dlbridge.stack(pictures, out=out, layout="CHW", scale=SCALE, bias=BIAS)  # noqa: E731
    return Contestant(call)


def idiom(picture: Array) -> torch.Tensor:
    """As tutorials have it: permute, float, divide, normalise."""
    tensor = torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    return (tensor - torch.from_numpy(MEAN)[:, None, None]) / torch.from_numpy(STD)[:, None, None]


def tuned(picture: Array, out: torch.Tensor) -> None:
    """One pass to floats in the right order, then in place."""
    out.copy_(torch.from_numpy(picture).permute(2, 0, 1))
    out.mul_(torch.from_numpy(SCALE)[:, None, None]).add_(torch.from_numpy(BIAS)[:, None, None])


def opencv(picture: Array, planes: list[Array]) -> None:
    """Split, then each plane converted, scaled and shifted in one call."""
    for plane, single, scale, bias in zip(planes, cv2.split(picture), SCALE, BIAS):
        np.copyto(plane, cv2.multiply(single, float(scale), dtype=cv2.CV_32F))
        cv2.add(plane, float(bias), dst=plane)


def torchvision(picture: Array) -> torch.Tensor:
    tensor = vision.to_dtype(torch.from_numpy(picture).permute(2, 0, 1), torch.float32, scale=True)
    return vision.normalize(tensor, MEAN.tolist(), STD.tolist())  # type: ignore[no-any-return]


def one_picture(name: str, picture: Array) -> Iterator[Row]:
    height, width, channels = picture.shape
    out = np.empty((1, channels, height, width), "float32")
    place = torch.empty(channels, height, width)
    best = torch_peers("torch tuned", lambda: tuned(picture, place))
    if cv2 is not None:
        planes = list(np.empty((channels, height, width), "float32"))
        best["cv2 split"] = Contestant(lambda: opencv(picture, planes))
    if vision is not None:
        best |= torch_peers("torchvision", lambda: torchvision(picture))
    usual = torch_peers("usual idiom", lambda: idiom(picture))
    for label, peers, goal in (("tuned", best, 2.5), ("usual", usual, 8)):
        yield Row(
            f"HWC u8 -> CHW f32 normalised {name}, {label}",
            ours_into([picture], out),
            peers,
            lambda: normalised([picture]),
            goal,
            out.nbytes,
            missing=MISSING if label == "tuned" else "",
        )


def batches() -> Iterator[Row]:
    pictures = [numbers((224, 224, 3), "uint8", seed) for seed in range(64)]
    out = np.empty((64, 3, 224, 224), "float32")
    place = torch.empty(64, 3, 224, 224)

    def tuned_batch() -> None:
        for index, picture in enumerate(pictures):
            place[index].copy_(torch.from_numpy(picture).permute(2, 0, 1))
        place.mul_(torch.from_numpy(SCALE)[:, None, None]).add_(torch.from_numpy(BIAS)[:, None, None])

    def each_tuned() -> None:
        for index, picture in enumerate(pictures):
            tuned(picture, place[index])

    best = torch_peers("torch tuned", tuned_batch) | torch_peers("torch each", each_tuned)
    if vision is not None:
        best |= torch_peers("torchvision", lambda: torch.stack([torchvision(picture) for picture in pictures]))
    usual = torch_peers("usual idiom", lambda: torch.stack([idiom(picture) for picture in pictures]))
    for label, peers, goal in (("tuned", best, 2.5), ("usual", usual, 8)):
        yield Row(
            f"64 images stacked, CHW, normalised, {label}",
            ours_into(pictures, out),
            peers,
            lambda: normalised(pictures),
            goal,
            out.nbytes,
            missing=MISSING if label == "tuned" else "",
        )
