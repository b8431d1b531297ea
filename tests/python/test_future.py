"""Downloads: a future whose data cannot be had too early, and callbacks that run once."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from test_process import run

import dlbridge

# Takes a while to copy, because every element of it is alone: about a second.
SIDE = 8192


@pytest.fixture(scope="module")
def slow() -> Iterator[np.ndarray[Any, Any]]:
    array = np.zeros((SIDE, SIDE), np.float32)
    array[0, 1] = 7
    dlbridge.set_num_threads(1)  # many would be done too soon
    yield array.T
    dlbridge.set_num_threads(0)


def test_the_result_waits_and_its_limit_is_kept(slow: Any) -> None:
    future = dlbridge.download(slow)
    assert not future.done()
    assert repr(future) == "<dlbridge.Future pending>"
    for ask in (future.result, future.exception):
        with pytest.raises(dlbridge.TimedOutError, match=r"within 0\.01 s"):
            ask(timeout=0.01)
        for at_once in (0, -1):
            with pytest.raises(TimeoutError, match=f"not done, and timeout={at_once} does not wait; pass seconds"):
                ask(at_once)
    result = future.result(timeout=60)
    assert future.done()
    assert repr(future) == "<dlbridge.Future done>"
    assert future.exception() is None
    assert (result.device, result.shape, result.contiguous) == ("cpu", (SIDE, SIDE), True)
    assert result.numpy()[1, 0] == 7
    assert future.result() is result
    assert not np.shares_memory(result.numpy(), slow)


def test_a_copy_that_nobody_waits_for_has_its_tensors_until_it_is_done(slow: Any) -> None:
    before = dlbridge.live_tensors()
    dlbridge.download(slow)
    dlbridge.upload(slow)
    assert dlbridge.live_tensors() > before, "the stream is at it"
    # That it lets go of them then is what every test asks when it is over.


def test_nothing_but_the_result_leads_to_the_data(slow: Any) -> None:
    future = dlbridge.download(slow)
    public = [name for name in dir(future) if not name.startswith("_")]
    assert public == ["add_done_callback", "done", "exception", "result"]
    assert not future.done()
    future.result()


def test_waiting_releases_the_gil(slow: Any) -> None:
    counted = 0
    over = threading.Event()

    def count() -> None:
        nonlocal counted
        while not over.is_set():
            counted += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = counted
    dlbridge.download(slow).result()
    meanwhile = counted - before
    over.set()
    thread.join()
    assert meanwhile > 5


def test_callbacks_run_once_in_order_and_late_ones_at_once(slow: Any) -> None:
    called: list[tuple[str, Any, bool, str]] = []
    over = threading.Event()

    def note(name: str) -> Any:
        return lambda future: called.append((name, future, future.done(), threading.current_thread().name))

    future = dlbridge.download(slow)
    future.add_done_callback(note("first"))
    future.add_done_callback(note("second"))
    future.add_done_callback(lambda _: over.set())
    assert not called
    assert over.wait(60)
    future.add_done_callback(note("late"))
    assert [name for name, *_ in called] == ["first", "second", "late"]
    assert all(given is future and done for _, given, done, _ in called)
    assert [where for *_, where in called] == ["dlbridge callbacks"] * 2 + [threading.current_thread().name]


def test_many_threads_add_callbacks_and_each_is_called_once() -> None:
    for size in (10, 3_000_000):
        future = dlbridge.download(np.ones(size))
        called: list[int] = []

        def add(number: int, future: Any = future, called: list[int] = called) -> None:
            for turn in range(50):
                future.add_done_callback(lambda _, own=100 * number + turn: called.append(own))

        threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        future.result()
        for _ in range(1000):
            if len(called) == 200:
                break
            time.sleep(0.005)
        assert sorted(called) == [100 * number + turn for number in range(4) for turn in range(50)]


def test_what_a_callback_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    future = dlbridge.download(np.ones(3))
    future.result()
    with caplog.at_level(logging.ERROR, "dlbridge"):
        future.add_done_callback(lambda _: 1 / 0)
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()  # the traceback leads to the future
    called: list[Any] = []
    future.add_done_callback(called.append)
    assert called == [future]


def test_the_next_callback_is_called_whatever_one_raises(slow: Any, caplog: pytest.LogCaptureFixture) -> None:
    def leave(_: dlbridge.Future) -> None:
        raise SystemExit

    over = threading.Event()
    future = dlbridge.download(slow)
    future.add_done_callback(leave)
    future.add_done_callback(lambda _: over.set())
    assert over.wait(60)
    assert "SystemExit" in caplog.text
    caplog.clear()
    with pytest.raises(SystemExit):  # on this thread it is for this one
        future.add_done_callback(leave)


def test_callbacks_are_called_whatever_waiting_raises(slow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise dlbridge.DeviceError("the driver failed")

    over = threading.Event()
    future = dlbridge.download(slow)
    monkeypatch.setattr(future, "exception", fail)
    future.add_done_callback(lambda _: over.set())
    assert over.wait(60)
    future.result()


def test_without_a_thread_a_callback_is_not_added(slow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    called: list[str] = []
    over = threading.Event()
    future = dlbridge.download(slow)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError, match="new thread"):
            future.add_done_callback(lambda _: called.append("first"))
    future.add_done_callback(lambda _: (called.append("second"), over.set()))
    assert over.wait(60)
    assert called == ["second"]


def test_a_callback_may_ask_for_the_result(slow: Any) -> None:
    seen: list[float] = []
    over = threading.Event()
    future = dlbridge.download(slow)

    def look(future: dlbridge.Future) -> None:
        seen.append(future.result().numpy()[1, 0])
        over.set()

    future.add_done_callback(look)
    assert over.wait(60)
    assert seen == [7]


def test_asyncio_awaits_it_runs_others_meanwhile_and_may_give_up(slow: Any) -> None:
    async def serve() -> None:
        future = dlbridge.download(slow)
        turns = 0

        async def count() -> None:
            nonlocal turns
            while not future.done():
                turns += 1
                await asyncio.sleep(0.001)

        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(future, 0.01)
        first, second, _ = await asyncio.gather(future, future, count())
        assert first is second is future.result() is await future
        assert turns > 5

    asyncio.run(serve())


def test_a_loop_that_is_closed_before_the_download_is_done_is_left_alone(
    slow: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def give_up() -> dlbridge.Future:
        future = dlbridge.download(slow)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(future, 0.01)
        return future

    over = threading.Event()
    future = asyncio.run(give_up())
    assert not future.done()
    future.add_done_callback(lambda _: over.set())
    assert over.wait(60)
    assert caplog.text == ""


def test_the_source_lives_until_it_is_done_and_no_longer(slow: Any) -> None:
    class Watched(np.ndarray[Any, Any]):
        pass

    gone: list[bool] = []
    stream = dlbridge.Stream()
    dlbridge.download(slow, stream=stream)  # keeps the stream busy
    source = np.ones(1000).view(Watched)
    weakref.finalize(source, gone.append, True)
    future = dlbridge.download(source, stream=stream)
    del source
    assert not gone
    assert future.result().numpy().sum() == 1000
    for _ in range(100):  # the interpreter lets it go at its next occasion
        if gone:
            break
        time.sleep(0.01)
    assert gone


def test_a_future_that_nobody_keeps_goes_on_and_leaks_nothing(slow: Any) -> None:
    with dlbridge.Stream() as stream:
        dlbridge.download(slow, stream=stream)


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match="download"):
        dlbridge.Future()
    with pytest.raises(dlbridge.InvalidArgumentError, match=r"pass a dlbridge\.Stream"):
        dlbridge.download(np.ones(3), stream=7)  # type: ignore[arg-type]
    with pytest.raises(dlbridge.NotAnArrayError):
        dlbridge.download(object())


# A quarter of a gigabyte, one byte at a time: long enough for whatever is to happen meanwhile.
LONG = """
import os, signal, sys, threading
import numpy as np, dlbridge
future = dlbridge.download(np.zeros((2,) * 26, np.uint8).T)
"""


def test_ctrl_c_ends_a_wait_and_the_download_goes_on() -> None:
    code = (
        LONG
        + """
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    future.result()
    print("not interrupted")
except KeyboardInterrupt:
    print("interrupted", future.done())
print(future.result().numpy().sum())
"""
    )
    assert run(code) == (0, "interrupted False\n0\n", "")


def test_a_program_may_end_before_its_callbacks() -> None:
    assert run(LONG + "future.add_done_callback(print)") == (0, "", "")


def test_a_forked_child_is_told() -> None:
    code = (
        LONG
        + """
future.add_done_callback(lambda _: None)
child = os.fork()
if child == 0:
    signal.alarm(60)
    called = []
    future.add_done_callback(called.append)
    if called != [future]:
        os._exit(3)
    try:
        future.result()
        os._exit(1)
    except dlbridge.UnavailableError as error:
        os._exit(0 if future.done() and "copy again" in str(error) else 2)
assert os.waitpid(child, 0)[1] == 0
print(future.result().numpy().sum())
"""
    )
    assert run(code) == (0, "0\n", "")
