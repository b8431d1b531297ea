"""Where a `Stager` fails or is left: one clear error, nobody hangs, nothing is left behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, Callable

import numpy as np
import pytest
from stagers import reused, stager_threads

import dlbridge
from dlbridge import _work

pytestmark = pytest.mark.usefixtures("no_stager_is_left")


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("order", ["kept", "first"])
def test_of_several_workers_one_error_reaches_the_loop(workers: int, order: str) -> None:
    def source() -> Iterator[np.ndarray]:
        for number in range(20):
            yield np.full(4, number)
        raise OSError("the disk is gone")

    seen: list[int] = []
    with dlbridge.Stager(source(), workers=workers, order=order, as_="numpy") as stager:
        with pytest.raises(OSError, match="the disk is gone"):
            seen.extend(int(batch[0]) for batch in stager)
        assert list(stager) == []
    assert sorted(seen) == list(range(20))
    assert order == "first" or seen == sorted(seen)


@pytest.mark.parametrize(
    ("framework", "words"),
    [("nonsense", "^'nonsense' is no framework dlbridge knows; "), ("cupy", "^cupy is not installed; ")],
)
def test_a_framework_that_is_not_there(framework: str, words: str) -> None:
    with pytest.raises(dlbridge.UnavailableError, match=words):
        dlbridge.Stager(reused(5), as_=framework)


def test_a_batch_larger_than_all_memory_is_an_error() -> None:
    huge = np.broadcast_to(np.zeros(1), (1 << 45,))
    with dlbridge.Stager([np.zeros(1), huge], ragged=True, as_="numpy") as stager:
        assert len(next(stager)) == 1
        with pytest.raises(dlbridge.OutOfMemoryError):
            next(stager)


def leave(stager: dlbridge.Stager) -> None:
    with stager:
        pass


@pytest.mark.parametrize("end", [dlbridge.Stager.close, leave])
def test_a_source_that_does_not_return_is_warned_of_and_does_not_hang(
    monkeypatch: pytest.MonkeyPatch, end: Callable[[dlbridge.Stager], None]
) -> None:
    monkeypatch.setattr(_work, "_PATIENCE", 0.1)
    entered, release = threading.Event(), threading.Event()

    def source() -> Iterator[np.ndarray]:
        yield np.zeros(2)
        entered.set()
        release.wait(30)

    stager = dlbridge.Stager(source())
    next(iter(stager))
    assert entered.wait(30)
    with pytest.warns(RuntimeWarning, match="does not return") as caught:
        end(stager)
    assert [warning.filename for warning in caught] == [__file__]
    release.set()
    for thread in stager_threads():
        thread.join(5)


def test_threads_that_wait_in_the_loop_go_on_when_it_is_closed() -> None:
    release = threading.Event()

    def source() -> Iterator[np.ndarray]:
        yield np.zeros(2)
        release.wait(30)

    ends: list[str] = []
    stager = dlbridge.Stager(source())
    next(iter(stager))

    def wait() -> None:
        try:
            next(stager)
        except StopIteration:
            ends.append("stopped")
        except dlbridge.ClosedError:
            ends.append("closed")

    threads = [threading.Thread(target=wait) for _ in range(3)]
    [thread.start() for thread in threads]
    time.sleep(0.1)
    threading.Timer(0.1, release.set).start()
    stager.close()
    [thread.join(10) for thread in threads]
    assert len(ends) == 3


def whole(stager: dlbridge.Stager) -> None:
    for _ in stager:
        pass


def left(stager: dlbridge.Stager) -> None:
    for number, _ in enumerate(stager):
        if number == 2:
            return


def kept(stager: dlbridge.Stager) -> None:
    arrays = [next(stager) for _ in range(3)]
    stager.close()
    assert [int(array[0, 0]) for array in arrays] == [0, 1, 2]


def raised(stager: dlbridge.Stager) -> None:
    with pytest.raises(ZeroDivisionError):
        sum(1 // int(batch[0, 0]) for batch in stager)


def never(stager: dlbridge.Stager) -> None:
    pass


@pytest.mark.parametrize("end", [whole, left, kept, raised, never])
@pytest.mark.parametrize("options", [{}, {"workers": 3}, {"dtype": "float64", "casting": "unsafe"}])
def test_however_it_ends_no_byte_is_left(end: Callable[[Any], None], options: dict[str, Any]) -> None:
    gc.collect()
    before = dlbridge.memory_stats().asked, dlbridge.live_tensors(), dlbridge.live_exports()
    for _ in range(3):
        source = (array.copy() for array in reused(20, (512, 1024)))  # several workers copy at once
        with dlbridge.Stager(source, as_="numpy", **options) as stager:
            end(stager)
        del source
        gc.collect()
        assert stager_threads() == []
        # Though the Stager is still there, for its numbers.
        assert dlbridge.memory_stats().asked == before[0]
    assert (dlbridge.live_tensors(), dlbridge.live_exports()) == before[1:]


HEAD = """
import dlbridge, numpy, itertools, os, signal, sys, threading, time
def batches():
    for number in itertools.count():
        yield numpy.full((256, 256), number)
def threads():
    return [thread.name for thread in threading.enumerate() if "stager" in thread.name]
"""


@pytest.mark.parametrize(
    ("program", "wanted"),
    [
        (
            # Ctrl-C while the loop computes.
            """
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    with dlbridge.Stager(batches(), workers=2) as stager:
        for batch in stager: time.sleep(0.001)
except KeyboardInterrupt:
    print("interrupted", threads())
""",
            "interrupted []",
        ),
        (
            # Ctrl-C where nobody closes anything.
            """
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
stager = dlbridge.Stager(batches(), as_="numpy")
try:
    for batch in stager: pass
except KeyboardInterrupt:
    print("interrupted")
""",
            "interrupted",
        ),
        (
            # An exception that nobody catches, with batches kept.
            """
sys.excepthook = lambda *error: print(error[0].__name__)
kept = []
for batch in dlbridge.Stager(batches(), as_="numpy"):
    kept.append(batch)
    if len(kept) == 5: raise ValueError
""",
            "ValueError",
        ),
        (
            # The loop runs in a thread that the interpreter does not wait for.
            """
def loop():
    for batch in dlbridge.Stager(batches()): pass
threading.Thread(target=loop, daemon=True).start()
time.sleep(0.2)
print("end")
""",
            "end",
        ),
    ],
)
def test_a_process_ends_clean(program: str, wanted: str) -> None:
    command = [sys.executable, "-X", "dev", "-c", HEAD + program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == (wanted, "")
    assert done.returncode in (0, 1)


@pytest.mark.parametrize("option", ["ragged", "progress"])
def test_what_is_no_yes_or_no_is_refused(option: str) -> None:
    with pytest.raises(dlbridge.WrongTypeError, match=f"{option} is 'no'; pass True or False"):
        dlbridge.Stager([], **{option: "no"})  # type: ignore[arg-type]


@pytest.mark.parametrize("option", ["ragged", "progress", "order", "workers", "slots", "keep", "timeout"])
def test_an_array_is_no_option(option: str) -> None:
    with pytest.raises(dlbridge.WrongTypeError, match=rf"{option} is .*; pass "):
        dlbridge.Stager([], **{option: np.ones(2)})  # type: ignore[arg-type]


def test_a_ring_that_was_aborted_below_is_no_quiet_end() -> None:
    going_on = threading.Event()

    def source() -> Iterator[np.ndarray]:
        yield np.zeros(3)
        going_on.wait(20)
        yield np.ones(3)

    with dlbridge.Stager(source()) as stager:
        next(stager)
        # As a copy to the device does that fails, before its worker has told the error.
        _work.native._staging_end(stager._ring.handle, "the device is gone")
        threading.Timer(0.2, going_on.set).start()
        with pytest.raises(dlbridge.ClosedError, match="the ring was aborted: the device is gone"):
            next(stager)
        assert list(stager) == []


def test_a_loop_that_keeps_its_batches_and_ran_out_of_time_loses_no_batch() -> None:
    going_on, asked = threading.Event(), threading.Event()

    def source() -> Iterator[np.ndarray]:
        yield np.zeros(3)
        going_on.wait(20)
        yield np.ones(3)
        asked.set()

    with dlbridge.Stager(source(), slots=1, keep=0, timeout=0.05, as_="numpy") as stager:
        kept: Any = next(stager)
        with pytest.raises(dlbridge.TimedOutError):
            next(stager)
        going_on.set()  # and nobody waits for the batch that there is no memory for
        assert not asked.wait(0.2)
        with pytest.raises(dlbridge.OutOfMemoryError, match=r"batches 0\)"):
            next(stager)
        assert not kept.any()
        del kept
        assert next(stager).all()
        assert list(stager) == []
