"""`Stager` onto a device: batches are complete for the stream that uses them, and kept ones are not overwritten."""

from __future__ import annotations

import faulthandler
import random
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from place import host, needs_cuda, torch_on_device

import dlbridge

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from test_dlpack_stream import Consumer

from dlpack_structs import delete, take


def reused(count: int, size: int = 5000) -> Iterator[np.ndarray]:
    array = np.empty(size, "int32")
    for number in range(count):
        array[...] = np.arange(size) * (number + 1)
        yield array


def test_batches_arrive_whole_and_in_order(device: str) -> None:
    with dlbridge.Stager(reused(100), device=device, slots=2) as stager:
        for number, batch in enumerate(stager):
            assert batch.device == device
            np.testing.assert_array_equal(host(batch), np.arange(5000) * (number + 1))
    assert number == 99
    assert stager.stats.sets <= 4


def test_batches_that_are_kept_are_not_overwritten(device: str) -> None:
    kept = []
    with dlbridge.Stager(reused(12), device=device, keep=16) as stager:
        kept = [batch[::2] for batch in stager]
    for number, batch in enumerate(kept):
        np.testing.assert_array_equal(host(batch), np.arange(0, 5000, 2) * (number + 1))


def test_pictures_are_cast_into_pinned_slots(device: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 4, 8, 9, 3), "uint8")
    options: dict[str, Any] = {"dtype": "float32", "layout": "CHW", "scale": 2.0, "workers": 2}
    with dlbridge.Stager(images, device=device, **options) as stager:
        for batch, image in zip(stager, images):
            np.testing.assert_array_equal(host(batch), image.transpose(0, 3, 1, 2) * np.float32(2))


def test_random_delays_on_all_sides(device: str) -> None:
    chance = random.Random(3)

    def source() -> Iterator[tuple[np.ndarray, int]]:
        for _ in range(500):
            values = np.frombuffer(chance.randbytes(8 * chance.randrange(1, 2000)), "uint64")
            if chance.random() < 0.05:
                time.sleep(chance.random() * 1e-3)
            yield values, int(np.bitwise_xor.reduce(values))

    count = 0
    with dlbridge.Stager(source(), device=device, ragged=True, workers=2, slots=3) as stager:
        for values, checksum in stager:
            assert int(np.bitwise_xor.reduce(host(values))) == checksum
            count += 1
    assert count == 500


@needs_cuda
def test_late_streams_and_a_failing_copy(standin: Any, device: str) -> None:
    standin.standin_set_delay(2000)
    with dlbridge.Stager(reused(30), device=device) as stager:
        for number, batch in enumerate(stager):
            np.testing.assert_array_equal(host(batch), np.arange(5000) * (number + 1))
    assert number == 29


@needs_cuda
def test_torch_uses_batches_on_its_current_stream(device: str) -> None:
    torch = torch_on_device()
    with torch.cuda.stream(torch.cuda.Stream()), dlbridge.Stager(reused(50), device=device, as_="torch") as stager:
        sums = [batch.sum() for batch in stager]
    assert [int(each) for each in sums] == [sum(range(5000)) * (number + 1) for number in range(50)]


@needs_cuda
def test_who_runs_ahead_of_the_device_keeps_no_batches(standin: Any, device: str) -> None:
    standin.standin_set_delay(20_000)
    with dlbridge.Stager(reused(40), device=device, slots=2, keep=0) as stager:
        for batch in stager:
            delete(take(batch.__dlpack__(max_version=(1, 3))))
    assert stager.stats.sets <= 3


@needs_cuda
def test_a_stream_that_was_named_for_a_batch_is_waited_for(standin: Any, device: str) -> None:
    consumer = Consumer(standin, device)  # neither the stream of the loop nor one that waits for the default one
    out = dlbridge.empty_pinned(5000, "int32")
    with dlbridge.Stager(reused(12), device=device) as stager:
        first = next(stager)
        managed = take(first.__dlpack__(max_version=(1, 3), stream=consumer.handle))
        with consumer.held_up():
            consumer.queue_read(managed.dl_tensor.data, out)
            del first
            delete(managed)
            for batch in stager:
                host(batch)  # what is uploaded meanwhile goes elsewhere
            del batch
    assert out.numpy().tolist() == list(range(5000))
    consumer.close()


@needs_cuda
def test_the_next_two_uploads_are_queued_while_the_device_is_at_work_on_a_batch(standin: Any, device: str) -> None:
    consumer = Consumer(standin, device)
    size = 1 << 17  # 512 KiB, and no small batch
    out = dlbridge.zeros_pinned(size, "int32")
    before = standin.standin_calls(b"cuMemcpyHtoDAsync")
    with dlbridge.Stager(reused(9, size), device=device, keep=0) as stager:
        with consumer.held_up():
            first = next(stager)
            managed = take(first.__dlpack__(max_version=(1, 3), stream=consumer.handle))
            consumer.queue_read(managed.dl_tensor.data, out)
            end = time.monotonic() + 60
            while standin.standin_calls(b"cuMemcpyHtoDAsync") < before + 3 and time.monotonic() < end:
                time.sleep(0.001)
            assert standin.standin_calls(b"cuMemcpyHtoDAsync") == before + 3
            assert (out.numpy() == 0).all()  # the stream has not come to the first
        delete(managed)
        del first
        assert sum(1 for _ in stager) == 8
    np.testing.assert_array_equal(out.numpy(), np.arange(size))
    consumer.close()


@needs_cuda
def test_a_loop_that_the_driver_makes_wait_leaves_the_gil_to_others(
    standin: Any, device: str, capfd: pytest.CaptureFixture[str]
) -> None:
    standin.standin_set_delay(100_000)
    uploads, waits = (standin.standin_calls(name) for name in (b"cuMemcpyHtoDAsync", b"cuStreamWaitEvent"))
    with dlbridge.Stager(reused(8), device=device, slots=8) as stager:  # no slot twice: only the loop queues waits
        while standin.standin_calls(b"cuMemcpyHtoDAsync") < uploads + 8:
            time.sleep(
                0.001
            )  # they are on their way before the loop asks, which then need not wait for them itself
        standin.standin_hold(b"cuStreamWaitEvent", 1)
        with capfd.disabled():
            faulthandler.dump_traceback_later(60, exit=True)  # who hangs with the GIL cannot be told
            threading.Timer(0.1, standin.standin_hold, (b"cuStreamWaitEvent", 0)).start()
            batches = list(stager)
            faulthandler.cancel_dump_traceback_later()
    assert standin.standin_calls(b"cuStreamWaitEvent") > waits
    for number, batch in enumerate(batches):
        np.testing.assert_array_equal(host(batch), np.arange(5000) * (number + 1))


@needs_cuda
def test_torch_runs_ahead_of_the_device_and_keeps_no_batches(device: str) -> None:
    torch = torch_on_device()
    sums = []
    with dlbridge.Stager(reused(40), device=device, slots=2, as_="torch", keep=0) as stager:
        for batch in stager:
            torch.cuda._sleep(5_000_000)  # clock cycles: some milliseconds
            sums.append(batch.sum())
    assert [int(each) for each in sums] == [sum(range(5000)) * (number + 1) for number in range(40)]
    assert stager.stats.sets <= 3


def test_leaving_early_leaves_nothing(device: str) -> None:
    with dlbridge.Stager(reused(1_000_000), device=device) as stager:
        for batch in stager:
            assert batch.shape == (5000,)
            break
    with dlbridge.Stager(reused(1_000_000), device=device) as stager, pytest.raises(ZeroDivisionError):
        sum(len(batch) // 0 for batch in stager)
