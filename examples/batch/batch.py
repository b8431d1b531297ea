"""Pictures from files to a batch for a CNN: decoded, then stacked, turned to CHW and normalised in one pass.

python examples/batch/batch.py [FOLDER]

The pictures are made first, in FOLDER, as JPEG files; a folder of your own with pictures of one size does as well.
One of them is broken in between, to show that a bad one is named.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import dlbridge

# What the usual networks were trained on: (x / 255 - mean) / std, as one multiplication and one addition.
MEAN, STD = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
SCALE, BIAS = 1 / (255 * STD), -MEAN / STD


def make_pictures(folder: Path, count: int = 8, side: int = 96) -> None:
    """Stripes of every direction and colour."""
    down, across = np.mgrid[:side, :side] / side
    for index in range(count):
        angle = np.pi * index / count
        wave = np.sin(25 * (np.cos(angle) * across + np.sin(angle) * down))
        colours = np.stack([wave * np.cos(angle), wave * np.sin(angle), across], axis=-1)
        Image.fromarray((127.5 * (colours + 1)).astype("uint8")).save(folder / f"{index:02}.jpg")


def main(folder: Path) -> None:
    if not any(folder.glob("*.jpg")):
        make_pictures(folder)
    names = sorted(folder.glob("*.jpg"))
    pictures = [np.asarray(Image.open(name)) for name in names]

    # One pass over the pixels: no array of floats in between, and the memory comes from a pool.
    batch = dlbridge.stack(pictures, layout="CHW", dtype="float32", scale=SCALE, bias=BIAS, as_="torch")
    print(
        f"{len(pictures)} pictures of {pictures[0].shape} {pictures[0].dtype} -> {tuple(batch.shape)} {batch.dtype}"
    )

    # Is it what the usual way gives? It rounds elsewhere, so: close.
    usual = torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1).float() / 255 for p in pictures])
    usual = (usual - torch.from_numpy(MEAN)[:, None, None]) / torch.from_numpy(STD)[:, None, None]
    report = dlbridge.allclose(batch, usual, atol=1e-6, report=True)
    assert report, report
    assert report.absolute is not None
    print(f"close to the usual way: at most {report.absolute.error:.1e} apart, at {report.absolute.index}")

    # Into memory of yours, which is used again for the next batch.
    out = torch.empty_like(batch)
    dlbridge.stack(pictures, out=out, layout="CHW", scale=SCALE, bias=BIAS)
    assert dlbridge.equal(out, batch, strict=True)

    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 5, stride=4), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.LazyLinear(2)
    )
    with torch.no_grad():
        print(f"a small CNN on the batch: {tuple(network(batch).shape)}")

    # One bad picture is named, and nothing is written.
    pictures[3] = pictures[3][:-1]
    try:
        dlbridge.stack(pictures, out=out, layout="CHW", scale=SCALE, bias=BIAS)
    except ValueError as error:
        print(f"refused: {error} ({names[3].name})")
    assert dlbridge.equal(out, batch)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))
