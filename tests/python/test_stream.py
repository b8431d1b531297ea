"""Streams, events and uploads: what waits, what is refused, and what a fork or an exit leaves of them."""

from __future__ import annotations

import copy
import ctypes
import pickle
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from test_process import run

import dlbridge

# Takes a while to copy, because every element of it is alone: about a second.
SIDE = 8192


@pytest.fixture(scope="module")
def slow() -> np.ndarray[Any, Any]:
    array = np.zeros((SIDE, SIDE), np.float32)
    array[-1, -1] = array[0, 1] = 7
    return array.T


def test_what_has_a_handle_is_neither_copied_nor_pickled() -> None:
    stream = dlbridge.Stream()
    handles = [stream, stream.record(), dlbridge.download(np.ones(3)), dlbridge.Stager([np.ones(3)])]
    for each in (*handles, dlbridge.pin.__new__(dlbridge.pin)):
        for double in (copy.copy, copy.deepcopy, pickle.dumps):
            # Both would have let go of one handle.
            words = rf"^a dlbridge\.{type(each).__name__} belongs to this process, .* neither copied nor pickled; "
            with pytest.raises(dlbridge.WrongTypeError, match=words):
                double(each)


REACHING: dict[str, Callable[[Any], float]] = {
    "numpy()": lambda tensor: tensor.numpy()[-1, -1],
    "to_numpy": lambda tensor: dlbridge.to_numpy(tensor)[-1, -1],
    "torch()": lambda tensor: float(tensor.torch()[-1, -1]),
    "torch.from_dlpack": lambda tensor: float(torch.from_dlpack(tensor)[-1, -1]),
    "numpy.from_dlpack": lambda tensor: np.from_dlpack(tensor)[-1, -1],
    "numpy.asarray": lambda tensor: np.asarray(tensor)[-1, -1],
    "a view": lambda tensor: tensor[-1, -1].numpy()[()],
}


@pytest.mark.parametrize("way", REACHING)
def test_whoever_reaches_the_elements_waits_for_the_copy(way: str, slow: Any) -> None:
    tensor = dlbridge.upload(slow)
    assert (tensor.shape, tensor.dtype, tensor.device) == ((SIDE, SIDE), "float32", "cpu")  # asks and does not wait
    assert REACHING[way](tensor) == 7


def test_the_address_waits_and_the_event_agrees(slow: Any) -> None:
    with dlbridge.Stream() as stream:
        tensor = dlbridge.upload(slow, stream=stream)
        event = stream.record()
        assert not event.done()
        assert "pending" in repr(event)
        with pytest.raises(dlbridge.TimedOutError, match=r"within 0\.01 s"):
            event.wait(0.01)
        assert tensor.data_ptr % 256 == 0
        event.wait(10)
        assert event.done()
        assert "done" in repr(event)
    assert tensor.numpy()[1, 0] == 7


def test_leaving_a_stream_waits(slow: Any) -> None:
    with dlbridge.Stream("cpu") as stream:
        dlbridge.upload(slow, stream=stream)
        event = stream.record()
    assert event.done()


def test_waiting_releases_the_gil(slow: Any) -> None:
    counted = 0
    done = threading.Event()

    def count() -> None:
        nonlocal counted
        while not done.is_set():
            counted += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    tensor = dlbridge.upload(slow)
    before = counted
    address = tensor.data_ptr
    meanwhile = counted - before
    done.set()
    thread.join()
    assert address
    assert meanwhile > 5


def test_any_layout_and_any_producer() -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for view in (array, array.T, array[:, ::-1], array[..., ::2], array[:, :0], array[0, 0, 0]):
        np.testing.assert_array_equal(dlbridge.upload(view).numpy(), view)
    assert dlbridge.upload(torch.arange(3)).torch().tolist() == [0, 1, 2]
    assert dlbridge.upload(b"abc").numpy().tolist() == [97, 98, 99]
    array.flags.writeable = False
    copied = dlbridge.upload(array).numpy()
    assert copied.flags.writeable
    assert not np.shares_memory(copied, array)


def test_the_source_is_kept_and_let_go_on_the_streams_thread(slow: Any) -> None:
    class Watched(np.ndarray[Any, Any]):
        pass

    gone: list[bool] = []
    source = np.ones((512, 512)).view(Watched)
    source_view = dlbridge.from_dlpack(source)
    weakref.finalize(source, gone.append, True)
    stream = dlbridge.Stream()
    dlbridge.upload(slow, stream=stream)  # keeps the stream busy
    tensor = dlbridge.upload(source_view, stream=stream)
    del source, source_view
    assert not gone
    assert tensor.numpy().sum() == 512 * 512
    for _ in range(100):  # the interpreter lets it go at its next occasion
        if gone:
            break
        time.sleep(0.01)
    assert gone


def test_a_deleter_that_wants_the_gil_does_not_hold_up_who_waits_with_it(slow: Any) -> None:
    array = np.ones(1000)

    class Producer:
        def __dlpack__(self, **keywords: Any) -> Any:
            return array.__dlpack__(**keywords)  # NumPy's deleter asks for the GIL

    library = ctypes.PyDLL(dlbridge.get_library())  # does not release it
    references = sys.getrefcount(array)
    stream = dlbridge.Stream()
    dlbridge.upload(slow, stream=stream)  # so that the stream is the last to have the source
    tensor = dlbridge.upload(Producer(), stream=stream)
    event = stream.record()
    assert library.dlb_event_wait(ctypes.c_void_p(event._handle), ctypes.c_uint64(20 * 10**9)) == 0
    assert tensor.numpy().sum() == 1000
    for _ in range(100):
        if sys.getrefcount(array) == references:
            break
        time.sleep(0.01)
    assert sys.getrefcount(array) == references


def test_streams_wait_for_each_others_events(slow: Any) -> None:
    one, other = dlbridge.Stream(), dlbridge.Stream()
    dlbridge.upload(slow, stream=one)
    event = one.record()
    other.wait_event(event)
    last = other.record()
    assert not last.done()
    last.wait()
    event.wait(10)  # the copy is done by now, and perhaps just letting go of its source
    other.synchronize()


def test_synchronising_has_a_time_limit(slow: Any) -> None:
    stream = dlbridge.Stream()
    tensor = dlbridge.upload(slow, stream=stream)
    for timeout in (0, 0.001):
        said = rf"not done within {timeout} s; wait again" if timeout else "timeout=0 does not wait"
        with pytest.raises(dlbridge.TimedOutError, match=said):
            stream.synchronize(timeout)
    stream.synchronize(timeout=600)
    stream.synchronize(0)
    np.testing.assert_array_equal(tensor.numpy(), slow)
    for timeout in ("1", float("nan")):
        with pytest.raises(TypeError, match="pass seconds, or None"):
            stream.synchronize(timeout)  # type: ignore[arg-type]


def test_what_is_refused() -> None:
    array = np.zeros(3)
    assert dlbridge.devices() == ["cpu"]
    assert dlbridge.cuda_available() is False
    for device in ("cuda", "cuda:1", torch.device("cuda"), (2, 0)):
        with pytest.raises(dlbridge.UnavailableError, match=r"cuda:[01] cannot be used here: "):
            dlbridge.upload(array, device)
        with pytest.raises(dlbridge.UnavailableError, match=r"cuda:[01] cannot be used here: "):
            dlbridge.Stream(device)
    with pytest.raises(dlbridge.WrongTypeError, match=r"^stream is 1, of type int; pass a dlbridge\.Stream"):
        dlbridge.upload(array, stream=1)  # type: ignore[arg-type]
    with pytest.raises(dlbridge.WrongTypeError, match=r"stream\.record"):
        dlbridge.Stream().wait_event(3)  # type: ignore[arg-type]
    with pytest.raises(dlbridge.NotAnArrayError):
        dlbridge.upload(object())
    with pytest.raises(TypeError, match="record"):
        dlbridge.Event()


def test_info_says_why_there_is_no_cuda() -> None:
    command = [sys.executable, "-m", "dlbridge", "info"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "devices" in said
    assert "cuda:0 cannot be used here: " in said


# Every axis the wrong way round, so that no two bytes are together: about a second, for what happens meanwhile.
LONG = """
import os, signal, sys, threading, time
import numpy as np, dlbridge
def begin(stream=None):
    return dlbridge.upload(np.zeros((2,) * 26, np.uint8).T, stream=stream)
"""


def test_a_finaliser_may_wait_while_the_interpreter_shuts_down() -> None:
    code = (
        LONG
        + """
class Late:
    def __del__(self, begin=begin, is_finalizing=sys.is_finalizing, write=os.write):
        assert is_finalizing()
        begin().data_ptr
        write(1, b"looked")
late = Late()
"""
    )
    # The function's names outlive the module's, which are emptied.
    code = code.replace("def begin(stream=None):", "def begin(stream=None, np=np, dlbridge=dlbridge):")
    assert run(code) == (0, "looked", "")


def test_a_stream_that_outlives_the_names_of_its_module_goes_silently() -> None:
    code = "import sys, dlbridge._streams as streams; sys.kept = streams; streams.kept = streams.Stream()"
    assert run(code) == (0, "", "")


def test_ctrl_c_ends_a_wait() -> None:
    code = (
        LONG
        + """
tensor = begin()
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    tensor.data_ptr
    print("not interrupted")
except KeyboardInterrupt:
    print("interrupted")
"""
    )
    assert run(code) == (0, "interrupted\n", "")


def test_what_a_signal_handler_raises_ends_a_wait_as_it_is() -> None:
    code = (
        LONG
        + """
def late(*_):
    raise ValueError("too late")
signal.signal(signal.SIGUSR1, late)
tensor = begin()
threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
try:
    tensor.data_ptr
except Exception as error:
    print(type(error).__name__, error)
"""
    )
    assert run(code) == (0, "ValueError too late\n", "")


@pytest.mark.parametrize(
    "end", ["", "sys.exit()", "del tensor", "threading.Thread(target=lambda: tensor.data_ptr, daemon=True).start()"]
)
def test_a_program_may_end_while_copies_go_on(end: str) -> None:
    status, said, words = run(LONG + "tensor = begin()\n" + end)
    assert (status, said, words) == (0, "", "")


def test_a_child_of_a_fork_makes_its_own_streams() -> None:
    code = (
        LONG
        + """
stream = dlbridge.Stream()
tensor, event = begin(stream), stream.record()
dlbridge.upload(np.ones(3)).numpy()
child = os.fork()
if child == 0:
    signal.alarm(60)
    for refused in (lambda: tensor.data_ptr, tensor.numpy, event.wait, stream.synchronize, lambda: begin(stream)):
        try:
            refused()
            os._exit(1)
        except dlbridge.UnavailableError as error:
            assert "create a new stream in the child" in str(error), error
    assert event.done()
    assert dlbridge.upload(np.ones(3)).numpy().sum() == 3
    with dlbridge.Stream() as own:
        assert dlbridge.upload(np.ones(4), stream=own).numpy().sum() == 4
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
assert tensor.numpy().sum() == 0
"""
    )
    assert run(code) == (0, "", "")


@pytest.mark.parametrize("device", ["cpu", "cpu:7", (1, 7)])
def test_the_host_is_one_device_whatever_its_number(device: Any) -> None:
    assert repr(dlbridge.Stream(device)) == "<dlbridge.Stream on cpu>"
    assert dlbridge.empty(3, "uint8", device=device).device == "cpu"
    assert dlbridge.upload(np.zeros(3), device).device == "cpu"
