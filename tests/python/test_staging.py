"""`Stager`: batches of any iterable, whole and in order, in their structure; errors, ends and what they leave."""

from __future__ import annotations

import dataclasses
import gc
import json
import multiprocessing
import random
import subprocess
import sys
import threading
import time
import traceback
import weakref
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stagers import reused, stager_threads

import dlbridge

pytestmark = pytest.mark.usefixtures("no_stager_is_left")


def test_a_source_that_reuses_its_array_is_safe() -> None:
    with dlbridge.Stager(reused(200), slots=2) as stager:
        for number, batch in enumerate(stager):
            assert isinstance(batch, dlbridge.Tensor)
            assert (batch.numpy() == number).all()
    assert number == 199
    assert stager.stats.batches == 200
    assert stager.stats.sets <= 4


@dataclasses.dataclass(frozen=True)
class Sample:
    image: Any
    label: Any
    name: str = "x"


Pair = namedtuple("Pair", "left right")


@pytest.mark.parametrize("as_", [None, "numpy", "torch"])
def test_the_structure_comes_back(as_: str | None) -> None:
    def one(number: int) -> dict[str, Any]:
        array = np.full((2, 3), number, "float32")
        return {
            "tuple": (array, torch.full((4,), number)),
            "list": [array.T, 7, None, "text"],
            "named": Pair(array[::-1], number),
            "sample": Sample(array[:, 1:], np.array(number)),
            "readonly": np.frombuffer(bytes([number]), "uint8"),
        }

    kind = {None: dlbridge.Tensor, "numpy": np.ndarray, "torch": torch.Tensor}[as_]
    with dlbridge.Stager([one(0), one(1)], as_=as_) as stager:
        for number, batch in enumerate(stager):
            want = one(number)
            assert type(batch["tuple"]) is tuple
            assert batch["list"][1:] == [7, None, "text"]
            assert type(batch["named"]) is Pair
            assert batch["named"].right == number
            assert type(batch["sample"]) is Sample
            arrays = [*batch["tuple"], batch["list"][0], batch["named"].left]
            arrays += [batch["sample"].image, batch["sample"].label, batch["readonly"]]
            wanted = [*want["tuple"], want["list"][0], want["named"].left]
            wanted += [want["sample"].image, want["sample"].label, want["readonly"]]
            for array, expected in zip(arrays, wanted):
                assert isinstance(array, kind)
                np.testing.assert_array_equal(np.asarray(array), np.asarray(expected))


def test_batches_that_are_kept_are_never_overwritten_and_too_many_are_an_error() -> None:
    kept = []

    def keep(stager: dlbridge.Stager) -> None:
        kept.extend(batch[3:, ::2] for batch in stager)

    with dlbridge.Stager(reused(100), slots=2, keep=5, as_="numpy") as stager:
        with pytest.raises(dlbridge.OutOfMemoryError, match=r"all 7 batches .* \(batches 0, 1, 2, 3, 4, 5, 6\)"):
            keep(stager)
        assert stager.stats.sets == 7
    assert len(kept) == 7
    assert all((array == number).all() for number, array in enumerate(kept))


@pytest.mark.parametrize(
    ("shape", "options", "slots"),
    [((4,), {}, 16), ((8192,), {}, 8), ((1 << 20,), {}, 3), ((4,), {"slots": 2}, 2), ((4,), {"ragged": True}, 3)],
)
def test_slots_where_none_are_asked_for(shape: tuple[int, ...], options: dict[str, Any], slots: int) -> None:
    kept: list[Any] = []
    stager = dlbridge.Stager(reused(100, shape), keep=1, **options)
    with stager, pytest.raises(dlbridge.OutOfMemoryError, match=f"all {slots + 1} batches"):
        kept.extend(stager)
    assert len(kept) == slots + 1
    assert all((batch.numpy() == number).all() for number, batch in enumerate(kept))


def test_after_dropping_some_the_loop_goes_on() -> None:
    with dlbridge.Stager(reused(10), keep=1) as stager:
        kept, seen = [], 0
        while True:
            try:
                kept.append(next(stager))
            except dlbridge.OutOfMemoryError:
                kept.clear()
                continue
            except StopIteration:
                break
            assert (kept[-1].numpy() == seen).all()
            seen += 1
    assert seen == 10


def failing(after: int) -> Iterator[np.ndarray]:
    yield from reused(after)
    raise KeyError("the disk is gone")


def test_what_the_source_raises_reaches_the_loop_with_its_traceback_after_the_batches_before() -> None:
    seen: list[int] = []
    with dlbridge.Stager(failing(5), as_="numpy") as stager:
        with pytest.raises(KeyError, match="the disk is gone") as caught:
            seen.extend(int(batch[0, 0]) for batch in stager)
        assert list(stager) == []
    assert seen == list(range(5))
    assert "failing" in [frame.name for frame in traceback.extract_tb(caught.tb)]


class Evil(BaseException):
    pass


def test_even_what_is_no_exception_reaches_the_loop() -> None:
    def source() -> Iterator[np.ndarray]:
        yield np.zeros(3)
        raise Evil

    with pytest.raises(Evil):
        list(dlbridge.Stager(source(), as_="numpy"))


def test_leaving_the_loop_ends_the_source() -> None:
    ended = threading.Event()

    def source() -> Iterator[np.ndarray]:
        try:
            yield from reused(1_000_000)
        finally:
            ended.set()

    with dlbridge.Stager(source()) as stager:
        for number, _ in enumerate(stager):
            if number == 3:
                break
    assert stager_threads() == []
    gc.collect()
    assert ended.wait(5)

    def fail(stager: dlbridge.Stager) -> None:
        with stager:
            for batch in stager:
                assert batch.shape == ()

    with pytest.raises(AssertionError):
        fail(dlbridge.Stager(reused(1_000_000)))
    assert stager_threads() == []


def test_a_stager_that_is_dropped_ends_its_threads() -> None:
    stager = dlbridge.Stager(reused(1_000_000))
    next(iter(stager))
    gone = weakref.ref(stager)
    del stager
    gc.collect()
    assert gone() is None
    assert stager_threads() == []
    for _ in dlbridge.Stager(reused(1_000_000)):
        break
    gc.collect()
    assert stager_threads() == []


def run(program: str, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "dev", "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **kwargs)


SOURCE = "import dlbridge, numpy, time, itertools\nbatches = (numpy.full(9, n) for n in itertools.count())\n"


@pytest.mark.parametrize(
    "end",
    [
        "next(iter(stager))",
        "with stager: next(stager)",
        "loop = iter(stager); kept = [next(loop) for _ in range(5)]",
        "iter(stager); import sys; sys.exit(0)",
        "keep = stager.__enter__(); keep.me = keep",
    ],
)
def test_the_interpreter_ends_with_a_stager_at_work(end: str) -> None:
    done = run(SOURCE + "stager = dlbridge.Stager(batches)\n" + end)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_ctrl_c_ends_a_loop_that_waits() -> None:
    program = """
import dlbridge, numpy, os, signal, threading, time
def slow():
    yield numpy.zeros(3)
    time.sleep(1.5)
    yield numpy.zeros(3)
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
begin = time.monotonic()
try:
    with dlbridge.Stager(slow()) as stager:
        for batch in stager: pass
except KeyboardInterrupt:
    print("interrupted", [t.name for t in threading.enumerate() if "stager" in t.name])
"""
    done = run(program)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted []\n", "")


def test_a_time_limit() -> None:
    release = threading.Event()

    def source() -> Iterator[np.ndarray]:
        release.wait()
        yield np.zeros(3)

    with dlbridge.Stager(source(), timeout=0.05) as stager:
        with pytest.raises(dlbridge.TimedOutError, match="within 50 ms"):
            next(stager)
        release.set()
        time.sleep(0.2)
        assert next(stager).shape == (3,)


@pytest.mark.parametrize(
    ("second", "words"),
    [
        (
            {"x": np.zeros((4, 3)), "y": np.zeros(2)},
            r"batch 1, array \['x'\] has shape \(4, 3\) and batch 0 had \(2, 3\)",
        ),
        (
            {"x": np.zeros((2, 3)), "y": np.zeros(2, "f4")},
            r"batch 1, array \['y'\] is float32 and batch 0 was float64",
        ),
        ({"x": np.zeros((2, 3))}, r"batch 1 has the arrays \['x'\] and batch 0 had the arrays \['x'\], \['y'\]"),
        ({"x": np.zeros((2, 3)), "y": np.array(["text"])}, r"batch 1, array \['y'\]: .*"),
    ],
)
def test_drift_is_an_error_that_names_batch_and_array(second: Any, words: str) -> None:
    first = {"x": np.zeros((2, 3)), "y": np.zeros(2)}
    with dlbridge.Stager([first, second]) as stager:
        next(stager)
        with pytest.raises(dlbridge.Error, match=words):
            next(stager)


def test_ragged_batches_grow_the_slots() -> None:
    sizes = [3, 100, 7, 100_000, 1, 0, 5]
    with dlbridge.Stager((np.arange(size) for size in sizes), ragged=True, as_="numpy") as stager:
        assert [len(batch) for batch in stager] == sizes


def test_a_source_is_iterated_anew_in_each_loop_if_it_can_be() -> None:
    stager = dlbridge.Stager([np.full(2, number) for number in range(3)], as_="numpy")
    for _ in range(3):
        assert [int(batch[0]) for batch in stager] == [0, 1, 2]
    once = dlbridge.Stager(reused(3))
    assert len(list(once)) == 3
    assert list(once) == []


def test_what_is_not_accepted() -> None:
    refuse = pytest.raises(dlbridge.InvalidArgumentError)
    for arguments in ({"slots": 0}, {"workers": 0}, {"timeout": -1}, {"order": "any"}):
        with refuse:
            dlbridge.Stager([], **arguments)  # type: ignore[arg-type]
    with refuse:
        dlbridge.Stager(7)  # type: ignore[arg-type]
    with pytest.raises(dlbridge.UnavailableError):
        dlbridge.Stager([], device="cuda:0")
    with pytest.raises(dlbridge.InvalidArgumentError, match="batch 0 holds no array"):
        list(dlbridge.Stager([()]))
    assert list(dlbridge.Stager([])) == []


def checksummed(count: int, seed: int) -> Iterator[tuple[np.ndarray, int]]:
    chance = random.Random(seed)
    for _ in range(count):
        values = np.frombuffer(chance.randbytes(8 * chance.randrange(1, 64)), "uint64")
        if chance.random() < 0.01:
            time.sleep(chance.random() * 1e-3)
        yield values, int(np.bitwise_xor.reduce(values))


@pytest.mark.parametrize("seed", range(4))
def test_batches_are_whole_through_workers_threads_and_delays(seed: int) -> None:
    chance = random.Random(seed)
    count, wrong, seen = 1500, [], []
    stager = dlbridge.Stager(
        checksummed(count, seed),
        slots=chance.randrange(1, 5),
        workers=chance.randrange(1, 4),
        order=chance.choice(["kept", "first"]),
        ragged=True,
        as_=chance.choice([None, "numpy", "torch"]),
        keep=32,
    )

    def consume() -> None:
        for values, expected in stager:
            array = np.asarray(values)
            if chance.random() < 0.01:
                time.sleep(chance.random() * 1e-3)
            seen.append(1)
            if int(np.bitwise_xor.reduce(array)) != expected:
                wrong.append(expected)

    with stager:
        threads = [threading.Thread(target=consume) for _ in range(chance.randrange(1, 4))]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    assert len(seen) == count
    assert not wrong


def test_stats_trace_and_plot(tmp_path: Path) -> None:
    with dlbridge.Stager(reused(20)) as stager:
        for _ in stager:
            time.sleep(0.001)
    stats = stager.stats
    assert (stats.batches, stats.bytes) == (20, 20 * 16 * 32 * 4)
    assert stats.compute >= 0.02
    assert 0 <= stats.overlap <= 1
    assert "megabytes per second" in str(stats)
    stager.trace(tmp_path / "trace.json")
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    lanes = {event["args"]["name"] for event in events if event["ph"] == "M" and event["name"] == "thread_name"}
    assert {"producer", "copy", "consumer", "slot 0"} <= {lane.strip() for lane in lanes}
    assert all(event["dur"] >= 0 for event in events if event["ph"] == "X")
    stager.plot(tmp_path / "trace.png")
    assert (tmp_path / "trace.png").read_bytes().startswith(b"\x89PNG")


def test_a_timeline_of_nothing_is_refused_and_no_file_is_made(tmp_path: Path) -> None:
    for stager in (dlbridge.Stager([np.zeros(2)]), dlbridge.Stager([])):
        for write in (stager.trace, stager.plot):
            with pytest.raises(
                dlbridge.InvalidArgumentError, match=r"^no batch was loaded yet in this pass; iterate"
            ):
                write(tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


def test_short_times_have_digits() -> None:
    stats = dlbridge.StagerStats(2000, 8_000_000, 12.5, 0.25, 0.00042, 0.0000315, 0.0, 3e-8, 0.5, 160.0, 0.64, 3)
    values = [line.split("  ")[-1].split() for line in str(stats).splitlines()]
    assert [len(line) for line in str(stats).splitlines()] == [len(str(stats).splitlines()[0])] * len(stats)
    assert values == [
        ["2,000"],
        ["8,000,000"],
        ["12.500", "s"],
        ["250.000", "ms"],
        ["420.000", "us"],
        ["31.500", "us"],
        ["0.000", "us"],
        ["0.030", "us"],
        ["0.500"],
        ["160.000"],
        ["0.640"],
        ["3"],
    ]


def test_what_threads_did_is_counted_once_and_takes_no_room_when_they_are_gone() -> None:
    stager = dlbridge.Stager(reused(40))
    for _ in range(40):
        thread = threading.Thread(target=next, args=(stager,))
        thread.start()
        thread.join()
    timeline = stager._work.timeline
    assert len(timeline.uses) < 40
    waits = [span.batch for span in timeline.spans if span.what == "wait for batch"]
    assert sorted(waits) == list(range(40))
    assert stager.stats.batches == 40
    stager.close()


def test_a_forked_child_is_told_to_make_its_own() -> None:
    with dlbridge.Stager(reused(1_000_000)) as stager:
        next(stager)
        reader, writer = multiprocessing.Pipe()

        def child() -> None:
            try:
                next(stager)
            except dlbridge.UnavailableError as error:
                writer.send(str(error))

        process = multiprocessing.get_context("fork").Process(target=child)
        process.start()
        assert reader.poll(30)
        assert "make a new one in the child" in reader.recv()
        process.join(30)
        assert process.exitcode == 0


def test_each_pass_shows_its_progress(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    stager = dlbridge.Stager([np.zeros(1)] * 3, progress=True)
    for _ in range(2):
        assert len(list(stager)) == 3
        assert "3/3" in capsys.readouterr().err
