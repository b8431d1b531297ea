"""What feeds a `Stager`: DataLoaders with processes, shared memory of other processes."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import multiprocessing.shared_memory
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge

pytestmark = pytest.mark.usefixtures("no_stager_is_left")


class Numbers(torch.utils.data.Dataset):  # type: ignore[type-arg]
    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((3, 5), index), index


@pytest.mark.parametrize("workers", [0, 2])
def test_a_dataloader_with_a_distributed_sampler_feeds_it(workers: int) -> None:
    sampler = torch.utils.data.distributed.DistributedSampler(Numbers(), num_replicas=2, rank=1, shuffle=False)
    loader = torch.utils.data.DataLoader(Numbers(), batch_size=4, num_workers=workers, sampler=sampler)
    seen = []
    with dlbridge.Stager(loader, as_="torch") as stager:
        for images, labels in stager:
            assert (images == labels[:, None, None]).all()
            seen += labels.tolist()
    assert seen == list(range(1, 64, 2))


def test_a_dataset_ends_where_its_length_says() -> None:
    with dlbridge.Stager(Numbers(), as_="torch") as stager:
        assert [label for _, label in itertools.islice(stager, 70)] == list(range(64)), "it takes any index"


def write(name: str, ready: Any, free: Any) -> None:
    memory = multiprocessing.shared_memory.SharedMemory(name=name)
    array = np.ndarray((4, 100), "int64", memory.buf)
    for number in range(20):
        free.acquire()
        array[number % 4] = number
        ready.release()
    del array
    memory.close()


def test_shared_memory_of_another_process_feeds_it() -> None:
    context = multiprocessing.get_context("spawn")
    memory = multiprocessing.shared_memory.SharedMemory(create=True, size=4 * 100 * 8)
    ready, free = context.Semaphore(0), context.Semaphore(4)
    process = context.Process(target=write, args=(memory.name, ready, free))

    def batches() -> Iterator[np.ndarray]:
        array = np.ndarray((4, 100), "int64", memory.buf)
        for number in range(20):
            ready.acquire()
            yield array[number % 4]
            free.release()  # asked for the next: this one has been copied

    process.start()
    try:
        with dlbridge.Stager(batches(), as_="numpy") as stager:
            assert [int(batch[99]) for batch in stager] == list(range(20))
    finally:
        process.join(30)
        gc.collect()
        memory.close()
        memory.unlink()
    assert process.exitcode == 0


def test_leaving_the_loop_ends_the_processes_of_a_dataloader() -> None:
    loader = torch.utils.data.DataLoader(Numbers(), batch_size=2, num_workers=2)
    with dlbridge.Stager(loader, as_="torch") as stager:
        for _ in stager:
            break
    gc.collect()
    assert multiprocessing.active_children() == []


class Broken(Numbers):
    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index == 20:
            raise KeyError("picture 20 is broken")
        return super().__getitem__(index)


def test_a_worker_that_fails_is_an_error_of_the_loop() -> None:
    loader = torch.utils.data.DataLoader(Broken(), batch_size=4, num_workers=1)
    with dlbridge.Stager(loader, as_="torch") as stager, pytest.raises(KeyError, match="picture 20 is broken"):
        list(stager)
    gc.collect()
    assert multiprocessing.active_children() == []


def test_a_worker_that_dies_is_an_error_of_the_loop() -> None:
    # torch tells it by a signal handler, at any time, and by a broken connection: in a process of its own.
    code = """
import os, torch, dlbridge
class Deadly(torch.utils.data.Dataset):
    def __len__(self):
        return 40
    def __getitem__(self, index):
        if index == 20:
            os._exit(1)
        return torch.full((8,), index)
try:
    with dlbridge.Stager(torch.utils.data.DataLoader(Deadly(), batch_size=4, num_workers=1), as_="torch") as stager:
        list(stager)
    os._exit(1)
except (RuntimeError, OSError, EOFError):
    os._exit(0)
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=120, check=False).returncode == 0


def test_workers_cast_what_a_dataloader_gives_straight_into_the_slot() -> None:
    loader = torch.utils.data.DataLoader(Numbers(), batch_size=5)  # the last batch is short
    options: dict[str, Any] = {"dtype": {0: "float16"}, "scale": {0: 0.5}, "ragged": True}
    with dlbridge.Stager(loader, as_="torch", workers=2, **options) as stager:
        for images, labels in stager:
            assert images.dtype == torch.float16
            assert (images == labels[:, None, None] * 0.5).all()


def test_a_source_that_cannot_tell_its_length_shows_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")

    class Stream(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
        def __iter__(self) -> Iterator[torch.Tensor]:
            return iter([torch.zeros(2)] * 3)

    # It has __len__, which raises.
    loader = torch.utils.data.DataLoader(Stream(), batch_size=None)
    assert len(list(dlbridge.Stager(loader, progress=True))) == 3
    assert "3it" in capsys.readouterr().err
