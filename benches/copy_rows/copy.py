"""copy: any layout to any other of the same dtype"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import dlbridge

from .row import MIB, Contestant, Row, cv2, into, numbers, ours_into, torch_peers, trim

Array = np.ndarray[Any, Any]


def rows(quick: bool) -> Iterator[Row]:
    yield from fresh(quick)
    yield from contiguous()
    yield from transposes()
    yield from pictures()
    yield from steps()
    yield from small()


def shapes(quick: bool) -> Iterator[tuple[str, tuple[int, ...], str]]:
    yield "float32 64 MiB", (16 * MIB,), "float32"
    yield "float64 1024^2", (1024, 1024), "float64"
    yield "float64 4096^2", (4096, 4096), "float64"
    if not quick:
        yield "float32 1 GiB", (256 * MIB,), "float32"
        yield "float64 16384^2", (16384, 16384), "float64"


def fresh(quick: bool) -> Iterator[Row]:
    """A new array: of memory that nobody had, and of what the pool keeps."""
    for label, shape, dtype in shapes(quick):
        source = numbers(shape, dtype)
        for state, prepare, goals in (("fresh", trim, (4, 1.5)), ("warm", lambda: None, (8, 2.5))):
            tensor = {"torch.tensor(a)": Contestant(lambda a=source: torch.tensor(a), prepare)}  # type: ignore[misc]
            array = {"a.copy()": Contestant(lambda a=source: a.copy(), prepare)}  # type: ignore[misc]
            ours = Contestant(lambda a=source: dlbridge.copy(a), prepare)  # type: ignore[misc]
            if state == "warm":
                dlbridge.copy(source)
            pooled = source.nbytes >= 64 * MIB or state == "fresh"
            for peers, goal in ((tensor, goals[0]), (array, goals[1])):
                yield Row(
                    f"new {label}, {state}, beside {next(iter(peers))}",
                    ours,
                    peers,
                    lambda a=source: a,  # type: ignore[misc]
                    goal if pooled else None,
                    source.nbytes,
                    state == "fresh",
                )


def moved(name: str, source: Array, goal: float | None, more: dict[str, Contestant] | None = None) -> Row:
    """A copy into an array that is there."""
    out = np.empty(source.shape, source.dtype)
    out.fill(0)
    peers = into(out, source) | (more or {})
    return Row(name, ours_into(out, source), peers, lambda: source, goal, source.nbytes)


def contiguous() -> Iterator[Row]:
    for label, count in (
        ("1 MiB", MIB),
        ("4 MiB", 4 * MIB),
        ("16 MiB", 16 * MIB),
        ("64 MiB", 64 * MIB),
        ("61 MB", 61_000_007),
    ):
        goal = 1.15 if label == "64 MiB" else None
        yield moved(f"into out, uint8 {label}", numbers((count,), "uint8"), goal)


def transposes() -> Iterator[Row]:
    for dtype, goal in (("float32", 2.5), ("float64", 2), ("uint8", 6), ("uint16", None)):
        for side in (4096, 4016, 4001, 1024):
            wanted = None if side == 4001 else goal
            source = numbers((side, side), dtype).T
            more = {}
            if cv2 is not None:
                there = np.zeros((side, side), dtype)
                more["cv2.transpose"] = Contestant(lambda s=source.T, d=there: cv2.transpose(s, d))  # type: ignore[misc]
            yield moved(f"transpose {dtype} {side}^2", source, wanted, more)
    batch = numbers((64, 56, 56, 64), "float32").transpose(0, 3, 1, 2)
    yield moved("NHWC to NCHW float32 64x56x56x64", batch, None)


def pictures() -> Iterator[Row]:
    missing = "" if cv2 is not None else "OpenCV (pip install opencv-python-headless)"
    for label, height, width in (("224", 224, 224), ("1080p", 1080, 1920), ("1079x1917", 1079, 1917)):
        picture = numbers((height, width, 3), "uint8")
        planes = np.zeros((3, height, width), np.uint8)
        source, torch_goal, cv2_goal = picture.transpose(2, 0, 1), 6.0, 1.0
        ours = Contestant(lambda s=source, o=planes: dlbridge.copy(s, out=o))  # type: ignore[misc]
        peers = into(np.zeros_like(planes), source)
        yield Row(
            f"HWC to CHW uint8 {label}, beside NumPy, torch",
            ours,
            peers,
            lambda s=source: s,
            torch_goal,
            picture.nbytes,
        )  # type: ignore[misc]
        if cv2 is not None:
            out = list(np.zeros_like(planes))
            split = {"cv2.split": Contestant(lambda p=picture, o=out: cv2.split(p, o))}  # type: ignore[misc]
            yield Row(
                f"HWC to CHW uint8 {label}, beside OpenCV",
                ours,
                split,
                lambda s=source: s,
                cv2_goal,
                picture.nbytes,
            )  # type: ignore[misc]
        else:
            print(f"  HWC to CHW uint8 {label}: UNAVAILABLE: {missing}")
        merged = {}
        if cv2 is not None:
            there = np.zeros_like(picture)
            merged["cv2.merge"] = Contestant(lambda p=list(planes), o=there: cv2.merge(p, o))  # type: ignore[misc]
        yield moved(
            f"CHW to HWC uint8 {label}", numbers((3, height, width), "uint8").transpose(1, 2, 0), None, merged
        )
        flips = {}
        if cv2 is not None:
            flipped = np.zeros_like(picture)
            flips["cv2.flip"] = Contestant(lambda p=picture, o=flipped: cv2.flip(p, 1, o))  # type: ignore[misc]
        goal = 1.5 if label != "1079x1917" else None
        yield moved(f"flip HWC uint8 {label}", picture[:, ::-1], goal, flips)
        yield from channels(label, picture, numbers((height, width, 4), "uint8"))


def channels(label: str, bgr: np.ndarray, rgba: np.ndarray) -> Iterator[Row]:
    turned, cut = {}, {}
    if cv2 is not None:
        there = np.zeros_like(bgr)
        turned["cv2.cvtColor"] = Contestant(lambda: cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB, there))
        cut["cv2.cvtColor"] = Contestant(lambda: cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB, there))
    yield moved(f"BGR to RGB uint8 {label}", bgr[..., ::-1], None, turned)
    yield moved(f"RGBA to RGB uint8 {label}", rgba[..., :3], None, cut)


def steps() -> Iterator[Row]:
    for dtype in ("float32", "uint8"):
        square = numbers((4096, 4096), dtype)
        tensor = torch.from_numpy(square)
        flips = torch_peers("torch.flip", lambda t=tensor: t.flip(1))  # type: ignore[misc]
        yield moved(f"[:, ::-1] {dtype} 4096^2", square[:, ::-1], 1.5, flips)
        yield moved(f"[::2, ::2] {dtype} 4096^2", square[::2, ::2], 1.5)
        yield moved(f"[:, :4000] {dtype} 4096^2", square[:, :4000], None)
    swapped = numbers((16 * MIB,), "int32")
    out = np.zeros_like(swapped)
    yield Row(
        "byte order int32 64 MiB",
        Contestant(lambda: dlbridge.copy(swapped.view(">i4"), out=out)),
        {
            "np.copyto": Contestant(lambda: np.copyto(out, swapped.view(">i4"))),
            "a.byteswap()": Contestant(lambda: swapped.byteswap()),
        },
        lambda: swapped.view(">i4").astype("<i4"),
        None,
        swapped.nbytes,
    )


def small() -> Iterator[Row]:
    for label, count in (("64 B", 16), ("1 KiB", 256), ("64 KiB", 16384)):
        source = numbers((count,), "float32")
        goal = 1.0 if label == "1 KiB" else None
        out = np.zeros_like(source)
        copyto = {"np.copyto": Contestant(lambda s=source, o=out: np.copyto(o, s))}  # type: ignore[misc]
        yield Row(
            f"into out, float32 {label}, beside np.copyto", ours_into(out, source), copyto, lambda s=source: s, goal
        )  # type: ignore[misc]
        tensor = torch.from_numpy(source)
        peers = torch_peers("t.clone()", lambda t=tensor: t.clone())  # type: ignore[misc]
        peers["a.copy()"] = Contestant(lambda s=source: s.copy())  # type: ignore[misc]
        ours = Contestant(lambda s=source: dlbridge.copy(s))  # type: ignore[misc]
        yield Row(f"new float32 {label}", ours, peers, lambda s=source: s)  # type: ignore[misc]
