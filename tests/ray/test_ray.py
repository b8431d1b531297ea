"""Ray feeds a `Stager`: batches of Ray Data, objects of its store, errors of its tasks; on a local cluster."""

from __future__ import annotations

import gc
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import ray
import torch

import dlbridge

ROWS, BATCH = 512, 32


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", object_store_memory=256 << 20)
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import this file
    yield
    ray.shutdown()


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    live = dlbridge.live_tensors()
    yield
    gc.collect()
    assert [each.name for each in threading.enumerate() if each.name.startswith("dlbridge stager")] == []
    assert dlbridge.live_tensors() == live


def pictures(batch: dict[str, Any]) -> dict[str, Any]:
    """Made by Ray's worker processes: each picture is full of its number, channel by channel one more."""
    number = batch["id"].astype("uint8")
    image = number[:, None, None, None] + np.arange(3, dtype="uint8")
    return {"id": batch["id"], "image": np.ascontiguousarray(np.broadcast_to(image, (len(number), 8, 10, 3)))}


def test_ray_data_is_staged_cast_and_turned_in_order() -> None:
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    data = ray.data.range(ROWS, override_num_blocks=4).map_batches(pictures, batch_size=BATCH)
    source = data.iter_batches(batch_size=BATCH, batch_format="numpy")
    options: dict[str, Any] = {"dtype": {"image": "float32"}, "layout": {"image": "CHW"}, "scale": {"image": 0.5}}
    seen: list[int] = []
    with dlbridge.Stager(source, as_="torch", **options) as stager:
        for batch in stager:
            image, ids = batch["image"], batch["id"]
            assert image.shape == (BATCH, 3, 8, 10)
            want = (ids[:, None] + torch.arange(3)) % 256 * 0.5
            assert (image == want[:, :, None, None]).all()
            seen += ids.tolist()
    assert seen == list(range(ROWS))
    assert stager.stats.bytes == ROWS * (3 * 8 * 10 * 4 + 8)


def test_read_only_arrays_of_the_object_store_are_copied_once_and_let_go() -> None:
    @ray.remote
    def make(number: int) -> np.ndarray[Any, Any]:
        return np.full(300_000, number, "float64")

    addresses: list[int] = []

    def source() -> Iterator[np.ndarray[Any, Any]]:
        for number in range(12):
            array = ray.get(make.remote(number))  # lies in the store, which other processes share
            assert not array.flags.writeable
            addresses.append(array.ctypes.data)
            yield array

    kept = []
    with dlbridge.Stager(source(), as_="numpy") as stager:
        for number, array in enumerate(stager):
            assert array.ctypes.data not in addresses
            assert array.flags.writeable
            if number % 4 == 0:
                kept.append(array)
    assert [float(array.mean()) for array in kept] == [0, 4, 8]


def test_an_error_of_a_ray_task_reaches_the_loop() -> None:
    def fails(batch: dict[str, Any]) -> dict[str, Any]:
        if 200 in batch["id"]:
            raise ValueError("the picture 200 is broken")
        return batch

    data = ray.data.range(ROWS, override_num_blocks=4).map_batches(fails, batch_size=BATCH)
    with dlbridge.Stager(data.iter_batches(batch_size=BATCH), as_="numpy") as stager:
        with pytest.raises(ray.exceptions.RayTaskError) as caught:
            list(stager)
        assert "the picture 200 is broken" in "".join(traceback.format_exception(caught.value))


def test_leaving_the_loop_early_leaves_no_thread() -> None:
    data = ray.data.range(ROWS, override_num_blocks=8)
    with dlbridge.Stager(data.iter_batches(batch_size=BATCH), as_="numpy") as stager:
        for batch in stager:
            assert len(batch["id"]) == BATCH
            break


def test_an_actor_that_dies_is_an_error_and_nobody_hangs() -> None:
    @ray.remote(max_restarts=0)
    class Camera:
        def frame(self, number: int) -> np.ndarray[Any, Any]:
            if number == 3:
                import os

                os._exit(1)
            return np.full(1000, number)

    camera = Camera.remote()
    source = (ray.get(camera.frame.remote(number)) for number in range(10))
    seen: list[int] = []
    with dlbridge.Stager(source, as_="numpy") as stager, pytest.raises(ray.exceptions.RayActorError):
        seen.extend(int(frame[-1]) for frame in stager)
    assert seen == [0, 1, 2]
