"""A whole pipeline on a CPU: pictures decoded and resized by Pillow, staged, a small CNN, metrics, a plot.

    python examples/classifier/classifier.py FOLDER      # pictures, model and plot go there

Four kinds of pictures are drawn and saved as JPEG first; in place of them, list files of your own. A source yields
lists of decoded pictures (HWC, uint8); the Stager makes each list one batch (CHW, float32, normalised) in one pass
over the pixels, in a thread, while torch trains on the batch before. Pillow decodes and the Stager stacks without
the GIL.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

import dlbridge

KINDS = ("disc", "square", "cross", "stripes")
SIDE, BATCH, EPOCHS = 32, 32, 5
MEAN, DEVIATION = np.array([0.5, 0.5, 0.5]), np.array([0.25, 0.25, 0.25])


def draw(kind: int, chance: random.Random) -> Image.Image:
    """A bright shape somewhere on dark noise, of any size."""
    width, height = chance.randrange(60, 120), chance.randrange(60, 120)
    noise = np.random.default_rng(chance.randrange(1 << 30)).integers(0, 90, (height, width, 3), "uint8")
    picture = Image.fromarray(noise)
    pen = ImageDraw.Draw(picture)
    color = tuple(chance.randrange(140, 256) for _ in range(3))
    radius = chance.randrange(14, 25)
    x, y = chance.randrange(radius, width - radius), chance.randrange(radius, height - radius)
    box = (x - radius, y - radius, x + radius, y + radius)
    if kind == 0:
        pen.ellipse(box, fill=color)
    elif kind == 1:
        pen.rectangle(box, fill=color)
    elif kind == 2:
        pen.line((x - radius, y, x + radius, y), fill=color, width=8)
        pen.line((x, y - radius, x, y + radius), fill=color, width=8)
    else:
        for offset in range(-radius, radius, 10):
            pen.rectangle((x - radius, y + offset, x + radius, y + offset + 4), fill=color)
    return picture


def make_files(folder: Path, count: int) -> list[tuple[Path, int]]:
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(7)
    files = []
    for number in range(count):
        kind = number % len(KINDS)
        path = folder / f"{number:04}-{KINDS[kind]}.jpg"
        draw(kind, chance).save(path, quality=90)
        files.append((path, kind))
    return files


def decode(path: Path) -> np.ndarray[Any, Any]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR))


class Batches:
    """Lists of pictures with their labels. It can be iterated again, so it serves every epoch."""

    def __init__(self, files: list[tuple[Path, int]], shuffle: bool) -> None:
        self.files, self.shuffle = files, shuffle

    def __iter__(self) -> Iterator[tuple[list[np.ndarray[Any, Any]], np.ndarray[Any, Any]]]:
        files = random.sample(self.files, len(self.files)) if self.shuffle else self.files
        for start in range(0, len(files), BATCH):
            chosen = files[start : start + BATCH]
            yield [decode(path) for path, _ in chosen], np.array([kind for _, kind in chosen])


def staged(files: list[tuple[Path, int]], shuffle: bool) -> dlbridge.Stager:
    first: dict[str, Any] = {
        "stack": {0: True},
        "dtype": {0: "float32"},
        "layout": {0: "CHW"},
        "scale": {0: 1 / (255 * DEVIATION)},
        "bias": {0: -MEAN / DEVIATION},
    }
    return dlbridge.Stager(
        Batches(files, shuffle), as_="torch", ragged=True, **first
    )  # ragged: the last one is short


def network() -> torch.nn.Sequential:
    def block(inputs: int, outputs: int) -> list[torch.nn.Module]:
        return [torch.nn.Conv2d(inputs, outputs, 3, padding=1), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]

    layers = [*block(3, 8), *block(8, 16), *block(16, 32), torch.nn.Flatten(), torch.nn.Linear(512, len(KINDS))]
    return torch.nn.Sequential(*layers)


def train(model: torch.nn.Module, files: list[tuple[Path, int]]) -> tuple[list[float], dlbridge.Stager]:
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    stager = staged(files, shuffle=True)
    for epoch in range(EPOCHS):
        for images, labels in stager:
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())
        print(f"epoch {epoch}: loss {losses[-1]:.3f}")
    return losses, stager


@torch.inference_mode()
def confusion(model: torch.nn.Module, files: list[tuple[Path, int]]) -> np.ndarray[Any, Any]:
    """How many pictures of each kind (rows) were taken for which (columns)."""
    table = np.zeros((len(KINDS), len(KINDS)), int)
    with staged(files, shuffle=False) as stager:
        for images, labels in stager:
            guesses = dlbridge.to_numpy(model(images).argmax(1))
            np.add.at(table, (dlbridge.to_numpy(labels), guesses), 1)
    return table


def plot(losses: list[float], table: np.ndarray[Any, Any], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(losses)
    left.set(xlabel="batch", ylabel="loss", ylim=(0, None))
    right.imshow(table, cmap="Blues")
    right.set(xlabel="taken for", ylabel="is", xticks=range(len(KINDS)), yticks=range(len(KINDS)))
    right.set_xticklabels(KINDS)
    right.set_yticklabels(KINDS)
    for row, column in np.ndindex(*table.shape):
        right.text(column, row, table[row, column], ha="center", va="center")
    figure.savefig(path)


def main(folder: Path) -> None:
    random.seed(1)
    torch.manual_seed(1)
    torch.set_num_threads(1)  # for two cores: one computes, one decodes
    files = make_files(folder / "pictures", 960)
    model = network()
    losses, stager = train(model, files[:768])
    table = confusion(model, files[768:])
    precision, recall = table.diagonal() / table.sum(0).clip(1), table.diagonal() / table.sum(1)
    for name, p, r in zip(KINDS, precision, recall):
        print(f"{name:<8} precision {p:.2f}  recall {r:.2f}")
    accuracy = table.trace() / table.sum()
    print(f"accuracy {accuracy:.3f} on {table.sum()} pictures that it has not seen")
    print(f"\nthe last epoch:\n{stager.stats}")
    plot(losses, table, folder / "classifier.png")
    stager.trace(folder / "trace.json")
    stager.plot(folder / "trace.png")
    print(f"\n{folder / 'classifier.png'}, {folder / 'trace.png'}; {folder / 'trace.json'} for ui.perfetto.dev")
    assert accuracy > 0.8, "a network that learns is better than that"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/classifier"))
