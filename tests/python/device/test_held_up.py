"""While a stream is held up by work of somebody else, that takes as long as the test wants: what is under way is
not done, is not to be reached, and keeps what it needs; and whoever is to wait does."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from place import host, needs_cuda

import dlbridge

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from dlpack_structs import DLDevice, take

HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

Hold = Callable[[dlbridge.Stream], threading.Event]


@pytest.fixture
def hold(driver: Any, device: str) -> Iterator[Hold]:
    """Holds a stream up from there on, until the event that comes back is set."""
    held: list[tuple[dlbridge.Stream, threading.Event, Any]] = []
    number, context = int(device.partition(":")[2] or 0), ctypes.c_void_p()
    assert driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), number) == 0

    def hold_up(stream: dlbridge.Stream) -> threading.Event:
        gate = threading.Event()
        call = HOST_FUNCTION(lambda _: gate.wait(60) and None)
        held.append((stream, gate, call))
        assert driver.cuCtxPushCurrent_v2(context) == 0
        assert driver.cuLaunchHostFunc(ctypes.c_void_p(stream.__cuda_stream__()[1]), call, None) == 0
        assert driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p())) == 0
        return gate

    yield hold_up
    for stream, gate, _ in held:
        gate.set()
        stream.synchronize()
    assert driver.cuDevicePrimaryCtxRelease_v2(number) == 0


def set_soon(gate: threading.Event) -> None:
    threading.Timer(0.05, gate.set).start()


@needs_cuda
def test_a_download_is_a_future_whose_data_is_not_there_before_it_is_done(device: str, hold: Hold) -> None:
    stream, array = dlbridge.Stream(device), np.arange(50_000.0)
    there = dlbridge.upload(array, device, stream=stream)
    gate = hold(stream)
    future = dlbridge.download(there, stream=stream)
    called: list[dlbridge.Future] = []
    over = threading.Event()
    future.add_done_callback(called.append)
    future.add_done_callback(lambda _: over.set())
    assert not future.done()
    for ask in (future.result, future.exception):
        with pytest.raises(dlbridge.TimedOutError, match=r"within 0\.01 s"):
            ask(timeout=0.01)
    assert not called
    set_soon(gate)
    assert (future.result(60).numpy() == array).all()
    assert future.done()
    assert over.wait(60)
    assert called == [future]


@needs_cuda
def test_an_event_and_a_block_of_a_stream_wait(device: str, hold: Hold) -> None:
    with dlbridge.Stream(device) as stream:
        gate = hold(stream)
        dlbridge.upload(np.ones(1000), device, stream=stream)
        event = stream.record()
        assert not event.done()
        with pytest.raises(dlbridge.TimedOutError):
            event.wait(0.01)
        set_soon(gate)
    assert event.done()


@needs_cuda
def test_a_stream_waits_for_another_one_and_the_host_for_neither(device: str, hold: Hold) -> None:
    one, other, array = dlbridge.Stream(device), dlbridge.Stream(device), np.arange(50_000.0)
    gate = hold(one)
    there = dlbridge.upload(array, device, stream=one)
    future = dlbridge.download(there, stream=other)  # knows by the tensor what it comes after
    other.wait_event(one.record())
    behind = other.record()
    assert not future.done()
    assert not behind.done()
    set_soon(gate)
    assert (future.result(60).numpy() == array).all()
    behind.wait(60)


@needs_cuda
def test_a_pin_ends_when_the_copies_do(device: str, hold: Hold) -> None:
    stream, array = dlbridge.Stream(device), np.arange(50_000.0)
    gate = hold(stream)
    with dlbridge.pin(array):
        there = dlbridge.upload(array, device, stream=stream)
        event = stream.record()
        assert not event.done()
        set_soon(gate)
    array[:] = 0  # the block has waited, for the copy at least
    assert (host(there) == np.arange(50_000.0)).all()


@needs_cuda
def test_what_a_copy_reads_lives_until_it_has(device: str, hold: Hold) -> None:
    stream, array = dlbridge.Stream(device), np.arange(50_000.0)
    gone = weakref.ref(array)
    with dlbridge.pin(array):
        gate = hold(stream)
        there = dlbridge.upload(array, device, stream=stream)
        gate.set()
    gate = hold(stream)
    pinned = dlbridge.empty_like_pinned(array)
    pinned.numpy()[:] = array
    del array
    gc.collect()
    end = time.monotonic() + 10
    while gone() is not None and time.monotonic() < end:
        time.sleep(0.001)
    assert gone() is None, "what was done with is let go of"
    second = dlbridge.upload(pinned, device, stream=stream)
    live = dlbridge.live_tensors()
    del pinned
    gc.collect()
    assert dlbridge.live_tensors() == live, "the copy has it"
    gate.set()
    assert (host(second) == host(there)).all()


@needs_cuda
def test_a_wait_without_a_limit_lets_go_by_itself(device: str) -> None:
    """The library's thread, which lets go of what nobody waits for, is held up by somebody's deleter meanwhile."""
    gate, entered = threading.Event(), threading.Event()
    own = dlbridge.zeros(1000, "float32", pinned=True)
    managed = take(own.__dlpack__(max_version=(1, 3)))
    deleter = managed.deleter

    @DELETER
    def hold_up(address: int) -> None:
        entered.set()
        gate.wait(60)
        DELETER(deleter)(address)

    managed.deleter = ctypes.cast(hold_up, ctypes.c_void_p).value
    c, other = ctypes.CDLL(dlbridge.get_library()), dlbridge.Stream(device)
    source, target, event = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
    where = DLDevice(2, int(device.partition(":")[2] or 0))
    assert c.dlb_tensor_import(ctypes.byref(managed), ctypes.byref(source)) == 0
    assert c.dlb_tensor_empty_for(source, where, ctypes.byref(target)) == 0
    assert c.dlb_copy_async(source, target, ctypes.c_void_p(other._handle), ctypes.byref(event)) == 0
    c.dlb_tensor_release(source)
    assert entered.wait(60)
    stream = dlbridge.Stream(device)
    for wait in (
        lambda there: stream.record().wait(),
        lambda there: stream.synchronize(),
        lambda there: there.to("cpu").numpy(),
        lambda there: dlbridge.download(there, stream=stream).result(),
    ):
        there = dlbridge.upload(own, device, stream=stream)
        waits = threading.Thread(target=wait, args=(there,), daemon=True)
        waits.start()
        waits.join(20)
        assert not waits.is_alive()
    gate.set()
    c.dlb_tensor_release(target)
    c.dlb_event_release(event)
