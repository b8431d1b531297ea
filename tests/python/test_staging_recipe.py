"""`Stager` with stack, dtype, casting, layout, scale and bias: into the slot in one pass."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import dlbridge

pytestmark = pytest.mark.usefixtures("no_stager_is_left")


def pictures(count: int, seed: int = 0) -> list[np.ndarray]:
    return [*np.random.default_rng(seed).integers(0, 256, (count, 6, 8, 3), "uint8")]


@pytest.mark.parametrize("stacked", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_pictures_are_stacked_cast_turned_and_scaled_on_the_way(stacked: bool, workers: int) -> None:
    made = [pictures(5, seed) for seed in range(20)]
    source = ((images if stacked else np.stack(images), np.arange(5)) for images in made)
    options = {"dtype": {0: "float32"}, "layout": {0: "CHW"}, "scale": {0: 1 / 255}, "bias": {0: -0.5}}
    with dlbridge.Stager(source, stack={0: stacked}, workers=workers, as_="numpy", **options) as stager:
        for images, (got, labels) in zip(made, stager):
            want = np.stack(images).transpose(0, 3, 1, 2) * np.float32(1 / 255) + np.float32(-0.5)
            np.testing.assert_array_equal(got, want)
            assert got.dtype == "float32"
            assert labels.dtype == "int64"


def test_a_cast_that_fails_names_the_batch_and_leaves_nothing_behind() -> None:
    refused: list[tuple[Any, dict[str, Any], str]] = [
        ([np.array([1.0, 2.0]), np.array([1.0, 1e300])], {"dtype": "float32"}, "batch 1: .*overflow|batch 1"),
        ([[np.zeros(2), np.zeros(3)]], {"stack": True}, r"batch 0: array 1: its shape is \[3\]"),
        ([[]], {"stack": True}, "batch 0: .* is empty"),
        ([{"x": np.zeros(3)}], {"layout": {"x": "CHW"}}, r"batch 0, array \['x'\]: .*picture"),
        ([np.zeros((0, 3, 3))], {"layout": "CHW"}, "batch 0: .* has no pictures"),
        ([np.zeros((1, 2, 2), "uint8")], {"layout": "CHW", "scale": 2.0}, "batch 0: scale and bias"),
        ([[np.zeros(2), "x"]], {"stack": True}, "batch 0: "),
        (
            [[(np.zeros(2), 1), (np.zeros(2), 0)]],
            {"stack": True},
            r"^batch 0: a list to stack holds tuples, not arrays; .*: \(\[images\], \[labels\]\)$",
        ),
        (
            [{"x": [{"image": 1}]}],
            {"stack": True},
            r"^batch 0, array \['x'\]: a list to stack holds dicts, .*'label'",
        ),
    ]
    for batches, options, words in refused:
        live = dlbridge.live_tensors()
        with dlbridge.Stager(batches, **options) as stager:
            with pytest.raises(dlbridge.Error, match=words):
                list(stager)
            with pytest.raises(StopIteration):
                next(stager)
        del stager
        gc.collect()
        assert dlbridge.live_tensors() == live, words


@pytest.mark.parametrize("shape", [(), (7,), (0,), (5, 3), (2, 3, 4), (1, 1, 4, 5, 6)])
def test_casts_of_any_shape_without_a_layout(shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(1).normal(size=shape)
    with dlbridge.Stager(
        [values.T, values], dtype="float32", scale=2.0, bias=1.0, ragged=True, as_="numpy"
    ) as stager:
        for got, array in zip(stager, (values.T, values)):
            np.testing.assert_array_equal(got, array.astype("float32") * np.float32(2) + np.float32(1))
            assert got.dtype == "float32"
            assert got.shape == array.shape


def test_stacked_lists_of_scalars_of_a_dict() -> None:
    batches = [{"x": [np.full((2, 2), n, "int16")] * 3, "y": [np.array(n)] * 3} for n in range(4)]
    with dlbridge.Stager(batches, stack=True, as_="torch") as stager:
        for number, batch in enumerate(stager):
            assert batch["x"].shape == (3, 2, 2)
            assert batch["y"].tolist() == [number] * 3
