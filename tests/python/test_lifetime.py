"""Who lives how long: owners, threads, exceptions, references."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
import time
import traceback
import tracemalloc
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from soak import directions, resident_mb

import dlbridge
from dlpack_structs import Producer, take


def a_few_bytecodes() -> None:
    """Time for pending calls: torch lets go of what it was lent without the GIL."""
    for _ in range(10):
        pass


def watched() -> tuple[np.ndarray[Any, Any], weakref.ref[np.ndarray[Any, Any]]]:
    array = np.arange(1000.0)
    return array, weakref.ref(array)


# --- when owners are let go ---

WAYS: dict[str, Callable[[Any], Any]] = {
    "to_torch": dlbridge.to_torch,
    "from_dlpack": dlbridge.from_dlpack,
    "view": lambda array: dlbridge.from_dlpack(array)[::2][1:],
    "capsule": lambda array: dlbridge.from_dlpack(array).__dlpack__(max_version=(1, 3)),
    "legacy capsule": lambda array: dlbridge.from_dlpack(array).__dlpack__(),
    "to_numpy": lambda array: dlbridge.to_numpy(dlbridge.from_dlpack(array)),
    "np.from_dlpack": lambda array: np.from_dlpack(dlbridge.from_dlpack(array)),
    "torch.from_dlpack": lambda array: torch.from_dlpack(dlbridge.from_dlpack(array)),
    "torch and back": lambda array: dlbridge.to_numpy(dlbridge.to_torch(array)),
    "memoryview": lambda array: dlbridge.from_dlpack(memoryview(array)),
    "view of torch": lambda array: dlbridge.to_torch(array)[10:].reshape(-1, 2),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_owner_goes_promptly_with_the_last_user(name: str) -> None:
    array, watch = watched()
    user = WAYS[name](array)
    del array
    gc.collect()
    assert watch() is not None
    gc.disable()
    try:
        del user
        a_few_bytecodes()
        assert watch() is None
    finally:
        gc.enable()


def test_what_torch_lends_goes_with_the_last_user() -> None:
    tensor = torch.arange(10.0)
    watch = weakref.ref(tensor)
    storage = weakref.ref(tensor.untyped_storage())
    array, ours = dlbridge.to_numpy(tensor), dlbridge.from_dlpack(tensor)
    del tensor, ours
    a_few_bytecodes()
    assert array[3] == 3
    del array
    a_few_bytecodes()
    assert watch() is None
    assert storage() is None


def test_weak_references_to_a_tensor() -> None:
    tensor, called = dlbridge.from_dlpack(np.zeros(3)), []
    watch = weakref.ref(tensor, called.append)
    assert watch() is tensor
    table = weakref.WeakKeyDictionary({tensor: 1})
    del tensor
    assert watch() is None
    assert called == [watch]
    assert not table


class Owner(np.ndarray):
    """An array that can have attributes, so that a cycle can be made through it."""


def test_a_cycle_through_a_tensor_is_not_found_and_clearing_it_helps() -> None:
    """As documented: `Tensor` takes no part in garbage collection."""
    array = np.zeros(3).view(Owner)
    watch = weakref.ref(array)
    array.mine = dlbridge.from_dlpack(array)
    live = dlbridge.live_tensors()
    del array
    gc.collect()
    assert watch() is not None
    assert dlbridge.live_tensors() == live
    del watch().mine
    a_few_bytecodes()
    assert watch() is None


def test_a_cycle_that_only_holds_a_tensor_is_collected() -> None:
    array, watch = watched()
    holder: list[Any] = [dlbridge.from_dlpack(array), dlbridge.to_torch(array)]
    holder.append(holder)
    del array, holder
    gc.collect()
    a_few_bytecodes()
    assert watch() is None


# --- threads ---


def test_deleters_on_plain_threads_give_everything_back(native_path: Any) -> None:
    released = ctypes.CDLL(str(native_path))  # lets go of the GIL, so that the thread's deleter has none
    watches = []
    for make in (lambda array: array, memoryview, torch.from_numpy):
        for _ in range(50):
            array, watch = watched()
            watches.append(watch)
            managed = take(dlbridge.from_dlpack(make(array)).__dlpack__(max_version=(1, 3)))
            del array
            assert released.delete_on_plain_thread(ctypes.c_void_p(ctypes.addressof(managed))) == 0
    a_few_bytecodes()
    assert [watch() for watch in watches if watch() is not None] == []


@pytest.mark.parametrize("name", WAYS)
def test_the_last_user_may_go_in_another_thread(name: str) -> None:
    array, watch = watched()
    box = [WAYS[name](array)]
    del array
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    a_few_bytecodes()
    assert watch() is None


def test_what_a_thread_drops_while_the_main_one_sleeps_goes_with_the_next_call() -> None:
    array, watch = watched()
    box, seen = [dlbridge.to_torch(array)], []
    other = dlbridge.from_dlpack(np.zeros(2))
    del array

    def drop() -> None:
        box.clear()
        dlbridge.from_dlpack(other)  # any call drains, on any thread
        seen.append(watch() is None)

    thread = threading.Thread(target=drop)
    thread.start()
    time.sleep(0.3)  # pending calls run on the main thread, which is away
    thread.join()
    assert seen == [True]


def test_what_waited_is_let_go_of_without_seeing_an_exception_on_its_way() -> None:
    seen = []
    destructor = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: seen.append(sum(range(3))))
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    holder = np.zeros(3).view(type("Holder", (np.ndarray,), {}))
    holder.capsule = new(1, b"any", ctypes.cast(destructor, ctypes.c_void_p))  # type: ignore[attr-defined]
    library, tensor = ctypes.CDLL(dlbridge.get_library()), ctypes.c_void_p()
    assert library.dlb_python_import(ctypes.py_object(holder), ctypes.byref(tensor)) == 0
    del holder
    release = library.dlb_tensor_release  # without the GIL, so the holder waits for the next who has it
    release.argtypes = [ctypes.c_void_p]
    with pytest.raises(ctypes.ArgumentError):
        # In one call: its arguments go, and with them a tensor, while the second release raises.
        deque(map(release, iter([tensor.value, object(), dlbridge.from_dlpack(bytearray(3))])))
    assert seen == [3]


def test_eight_threads_hand_over_in_every_direction() -> None:
    ways, failures = list(directions().values()), []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        start.wait()
        for index in range(4000):
            result = ways[(seed + index) % len(ways)]()
            if tuple(result.shape) != (3, 4):
                failures.append(result)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


# --- exceptions ---


def test_an_exception_of_the_producer_keeps_its_traceback_and_its_cause() -> None:
    def fail_inside() -> None:
        raise LookupError("no frame") from OSError("no camera")

    with pytest.raises(dlbridge.ProducerError, match="the producer raised LookupError: no frame") as caught:
        dlbridge.from_dlpack(Producer(fail_inside))
    raised = caught.value.__cause__
    assert isinstance(raised, LookupError)
    assert isinstance(raised.__cause__, OSError)
    assert [frame.name for frame in traceback.extract_tb(raised.__traceback__)] == ["__dlpack__", "fail_inside"]
    shown = "".join(traceback.format_exception(caught.type, caught.value, caught.tb))
    for words in ("no camera", "fail_inside", "direct cause", "no frame"):
        assert words in shown


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_error_passes_through_unchanged(kind: type[BaseException]) -> None:
    raised = kind("now")

    def interrupt() -> None:
        raise raised

    for call in (dlbridge.from_dlpack, dlbridge.to_numpy, dlbridge.to_torch):
        with pytest.raises(kind) as caught:
            call(Producer(interrupt))
        assert caught.value is raised


def test_our_own_errors_pass_through_a_producer_as_its_cause() -> None:
    def fail() -> None:
        dlbridge.from_dlpack(None)

    with pytest.raises(dlbridge.ProducerError) as caught:
        dlbridge.from_dlpack(Producer(fail))
    assert isinstance(caught.value.__cause__, dlbridge.NotAnArrayError)


def test_an_error_does_not_keep_its_source_alive() -> None:
    array, watch = watched()
    array.flags.writeable = False
    with pytest.raises(dlbridge.ReadOnlyError):
        dlbridge.to_torch(array)
    del array
    assert watch() is None


def test_an_error_inside_an_except_block_has_its_context() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError:
            dlbridge.from_dlpack(None)
    except dlbridge.NotAnArrayError as error:
        assert isinstance(error.__context__, KeyError)  # noqa: PT017


# --- counts ---


ARRAY, THERE = np.arange(3.0), torch.arange(3.0)


def mixed_calls() -> None:
    """Successes and failures of many kinds, with the objects whose counts are watched."""
    tensor = dlbridge.from_dlpack(ARRAY)
    dlbridge.to_torch(ARRAY, copy=None, readonly="error", dtype=np.dtype("float64"), device=None)
    dlbridge.to_numpy(THERE, copy=False, dtype=torch.float32)
    tensor.__dlpack__(stream=None, max_version=(1, 3), dl_device=None, copy=False)
    for call, argument in ((dlbridge.to_torch, None), (dlbridge.from_dlpack, 1), (dlbridge.to_numpy, True)):
        with suppress(dlbridge.NotAnArrayError):
            call(argument)
    with suppress(dlbridge.CopyRequiredError):
        dlbridge.to_numpy(ARRAY, dtype="float32")
    with suppress(TypeError):
        dlbridge.to_torch(ARRAY, wrong=None)
    tensor.readonly, tensor.contiguous, tensor.dtype, tensor.shape  # noqa: B018


def test_reference_counts_do_not_drift() -> None:
    objects = [
        None,
        True,
        False,
        np.dtype("float64"),
        np.ndarray,
        torch.Tensor,
        torch.float32,
        dlbridge.Tensor,
        dlbridge.NotAnArrayError,
        dlbridge.CopyRequiredError,
        TypeError,
        "readonly",
    ]

    def counts() -> list[int]:
        gc.collect()
        return [sys.getrefcount(thing) for thing in objects]

    for _ in range(100):
        mixed_calls()
    before = counts()
    for _ in range(12_500):  # 8 calls each
        mixed_calls()
    drift = {repr(thing): after - was for thing, was, after in zip(objects, before, counts())}
    assert {name: change for name, change in drift.items() if abs(change) > 50} == {}


def test_memory_stays_flat_in_every_direction() -> None:
    for name, hand_over in directions().items():
        for _ in range(2_000):
            hand_over()
        gc.collect()
        before = resident_mb()
        for _ in range(200_000):
            hand_over()
        gc.collect()
        assert resident_mb() - before < 2, name
        tracemalloc.start()
        for _ in range(1_000):
            hand_over()
        held = tracemalloc.get_traced_memory()[0]
        for _ in range(20_000):
            hand_over()
        after = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert after - held < 20_000, name
