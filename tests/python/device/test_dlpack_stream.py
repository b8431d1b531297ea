"""DLPack's streams, line by line: whoever comes after waits by an event, and nobody on the host.

The consumer here is a program that knows nothing of the library: it copies from the bare address, on a stream,
through the driver. What was not waited for shows as wrong elements, because the stand-in's streams are late; a test
proves that.
"""

from __future__ import annotations

import ctypes
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from place import host, needs_cuda, torch_on_device

import dlbridge

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from dlpack_structs import NAMES, NEW_CAPSULE, DLTensor, Versioned, delete, take, take_legacy

SIZE = 50_021
WAITS = ("cuStreamSynchronize", "cuEventSynchronize")
LEGACY, PER_THREAD = 1, 2
GATE = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def number_of(device: str) -> int:
    return int(device.partition(":")[2] or 0)


class Consumer:
    """A program with a stream of its own."""

    def __init__(self, driver: Any, device: str, handle: int | None = None) -> None:
        self.driver, self.context = driver, ctypes.c_void_p()
        self.stream = dlbridge.Stream(device)  # one that the library has queued nothing on
        self.handle = self.stream.__cuda_stream__()[1] if handle is None else handle
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), number_of(device))
        self.number = number_of(device)

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.driver, name)(*arguments)
        assert status == 0, f"{name} answered {status}"

    @contextmanager
    def current(self) -> Iterator[None]:
        self.call("cuCtxPushCurrent_v2", self.context)
        try:
            yield
        finally:
            self.call("cuCtxPopCurrent_v2", ctypes.byref(ctypes.c_void_p()))

    def queue_read(self, address: int, out: dlbridge.Tensor) -> None:
        """Has the stream read float32 from a device's memory, as it finds them when its turn comes."""
        size, handle = ctypes.c_size_t(4 * out.size), ctypes.c_void_p(self.handle)
        with self.current():
            self.call("cuMemcpyDtoHAsync_v2", ctypes.c_void_p(out.data_ptr), ctypes.c_uint64(address), size, handle)

    @contextmanager
    def held_up(self) -> Iterator[None]:
        """The stream does not go on meanwhile. Whoever waits for it here, by whatever call, is found out."""
        opened, in_time = threading.Event(), list[bool]()
        gate = GATE(lambda _: in_time.append(opened.wait(20)))
        with self.current():
            self.call("cuLaunchHostFunc", ctypes.c_void_p(self.handle), gate, None)
        try:
            yield
        finally:
            opened.set()
            self.finish()
        assert in_time == [True], "the host waited for the stream"

    def finish(self) -> None:
        with self.current():
            self.call("cuStreamSynchronize", ctypes.c_void_p(self.handle))

    def read(self, address: int, count: int = SIZE) -> np.ndarray[Any, Any]:
        out = dlbridge.empty_pinned(count, "float32")
        self.queue_read(address, out)
        self.finish()
        return out.numpy().copy()

    def close(self) -> None:
        self.call("cuDevicePrimaryCtxRelease_v2", self.number)


def upload_of(device: str, stream: Any = None) -> tuple[np.ndarray[Any, Any], Any]:
    """Elements, and a tensor into which they are on their way."""
    array = np.random.default_rng().random(SIZE, np.float32)
    pinned = dlbridge.empty_pinned(SIZE, "float32")
    pinned.numpy()[:] = array
    return array, dlbridge.upload(pinned, device, stream=stream or dlbridge.Stream(device))


def exported(tensor: Any, **keywords: Any) -> Versioned:
    return take(tensor.__dlpack__(max_version=(1, 3), **keywords))


@needs_cuda
@pytest.mark.parametrize("stream", [None, LEGACY, PER_THREAD, "handle"])
def test_p27_the_consumers_stream_waits_and_the_host_does_not(stream: Any, device: str, standin: Any) -> None:
    handle = {None: LEGACY, "handle": None}.get(stream, stream)
    consumer = Consumer(standin, device, handle)
    given = consumer.handle if stream == "handle" else stream
    producer = Consumer(standin, device)
    for _ in range(5):
        with producer.held_up():
            array, tensor = upload_of(device, producer.stream)
            managed = exported(tensor, stream=given)
            # However the host might have waited, it has not: what it would have waited for is still to come.
            assert not producer.stream.record().done()
        assert managed.dl_tensor.data == tensor.data_ptr
        assert (consumer.read(managed.dl_tensor.data) == array).all()
        delete(managed)
    producer.close()
    consumer.close()


@needs_cuda
@pytest.mark.parametrize("stream", [None, LEGACY, PER_THREAD, "handle"])
def test_p27_and_with_a_real_driver_the_elements_are_right_too(stream: Any, device: str, driver: Any) -> None:
    consumer = Consumer(driver, device, {None: LEGACY, "handle": None}.get(stream, stream))
    for _ in range(20):
        array, tensor = upload_of(device)
        managed = exported(tensor, stream=consumer.handle if stream == "handle" else stream)
        assert (consumer.read(managed.dl_tensor.data) == array).all()
        delete(managed)
    consumer.close()


@needs_cuda
def test_these_tests_see_what_was_not_waited_for(device: str, standin: Any) -> None:
    consumer = Consumer(standin, device)
    standin.standin_set_delay(2_000)
    early = 0
    for _ in range(40):
        array, tensor = upload_of(device)
        standin.standin_ignore_waits(1)
        managed = exported(tensor, stream=consumer.handle)
        early += not (consumer.read(managed.dl_tensor.data) == array).all()
        standin.standin_ignore_waits(0)
        assert (host(tensor) == array).all()
        delete(managed)
    assert early
    consumer.close()


@needs_cuda
def test_a_stream_of_another_device_is_refused(device: str, standin: Any) -> None:
    number = number_of(device)
    other = dlbridge.Stream(f"cuda:{1 - number}")
    handle = other.__cuda_stream__()[1]
    said = f"stream {handle:#x} is said to be on {device} and the driver says it is on cuda:{1 - number}"
    _, there = upload_of(device)
    with pytest.raises(dlbridge.InvalidArgumentError, match=said):
        there.__dlpack__(stream=handle)
    with pytest.raises(dlbridge.InvalidArgumentError, match=said):
        dlbridge.Stream.from_native(handle, device)
    dlbridge.Stream.from_native(handle, other.device).synchronize(timeout=600)


@needs_cuda
def test_a_stream_that_is_captured_waits_for_nothing(device: str, standin: Any) -> None:
    consumer = Consumer(standin, device)
    stream = dlbridge.Stream(device)
    gate = Consumer(standin, device, stream.__cuda_stream__()[1])
    with gate.held_up():
        _, there = upload_of(device, stream)
        with consumer.current():
            consumer.call("cuStreamBeginCapture_v2", ctypes.c_void_p(consumer.handle), 0)
        with pytest.raises(dlbridge.UnsupportedError, match="captured into a CUDA graph"):
            there.__dlpack__(stream=consumer.handle)
        with pytest.raises(dlbridge.UnsupportedError, match="before the capture begins"):
            consumer.stream.record()
        # Of what is there already the graph may make use.
        delete(exported(dlbridge.empty(3, "float32", device=device), stream=consumer.handle))
        with consumer.current():
            parts = ctypes.c_void_p()
            consumer.call("cuStreamEndCapture", ctypes.c_void_p(consumer.handle), ctypes.byref(parts))
        assert parts.value is None, "something became part of the graph"
    consumer.close()
    gate.close()


@needs_cuda
def test_p26_minus_one_waits_for_nothing(device: str, standin: Any) -> None:
    producer = Consumer(standin, device)
    names = (b"cuStreamWaitEvent", b"cuEventRecord")
    with producer.held_up():
        _, tensor = upload_of(device, producer.stream)
        before = [standin.standin_calls(name) for name in names]
        managed = exported(tensor, stream=-1)
        assert [standin.standin_calls(name) for name in names] == before
        assert not producer.stream.record().done()
    delete(managed)
    producer.close()


@needs_cuda
@pytest.mark.parametrize(
    ("stream", "words"), [(0, "0 is ambiguous; pass 1"), (-2, "no such stream"), (-7, "no such")]
)
def test_p25_stream_zero_and_what_is_no_stream_are_errors(stream: int, words: str, device: str) -> None:
    _, tensor = upload_of(device)
    with pytest.raises(dlbridge.InvalidArgumentError, match=words):
        tensor.__dlpack__(stream=stream)
    with pytest.raises(TypeError, match="integer"):
        tensor.__dlpack__(stream="main")


@needs_cuda
def test_p22_the_device_is_that_of_the_capsule(device: str) -> None:
    _, tensor = upload_of(device)
    managed = exported(tensor)
    where = managed.dl_tensor.device
    assert tensor.__dlpack_device__() == (where.device_type, where.device_id) == (2, number_of(device))
    delete(managed)


@needs_cuda
def test_p28_the_host_is_synchronised_and_told_of_the_copy(device: str) -> None:
    array, tensor = upload_of(device)
    before = dlbridge.memory_stats()
    managed = exported(tensor, dl_device=(1, 0))
    assert (managed.dl_tensor.device.device_type, managed.dl_tensor.device.device_id) == (1, 0)
    there = np.ctypeslib.as_array((ctypes.c_float * SIZE).from_address(managed.dl_tensor.data))
    assert (there == array).all(), "it is all there when the call returns"
    assert managed.flags & 2, "IS_COPIED"
    assert dlbridge.memory_stats().downloads - before.downloads == 1
    delete(managed)
    managed = exported(tensor, dl_device=(1, 0), copy=True)
    assert managed.flags & 2
    delete(managed)
    with pytest.raises(BufferError, match="copy=False"):
        tensor.__dlpack__(dl_device=(1, 0), copy=False)
    assert np.from_dlpack(tensor, device="cpu").tolist() == array.tolist()


@needs_cuda
@pytest.mark.parametrize("wanted", [(3, 0), (2, 63), (8, 0), (1, 1)])
def test_p29_an_unsupported_device_is_refused(wanted: tuple[int, int], device: str) -> None:
    _, tensor = upload_of(device)
    with pytest.raises(BufferError):
        tensor.__dlpack__(max_version=(1, 3), dl_device=wanted)


@needs_cuda
def test_p21_pinned_memory_is_exported_as_such_and_as_the_hosts(device: str) -> None:
    pinned = dlbridge.empty_pinned(10, "float32")
    pinned.numpy()[:] = np.arange(10)
    assert pinned.device == "cuda_host"
    assert pinned.__dlpack_device__() == (3, 0)
    for keywords, kind in (
        ({}, 3),
        ({"dl_device": (3, 0)}, 3),
        ({"dl_device": (1, 0)}, 1),
        ({"dl_device": (1, 0), "copy": False}, 1),
    ):
        managed = exported(pinned, **keywords)
        assert (managed.dl_tensor.device.device_type, managed.dl_tensor.device.device_id) == (kind, 0)
        assert managed.dl_tensor.data == pinned.data_ptr
        assert managed.flags == 0
        delete(managed)
    with pytest.raises(dlbridge.Error, match="host memory has no streams"):
        pinned.__dlpack__(stream=1)
    plain = pinned.to("cpu")
    assert (plain.device, plain.data_ptr) == ("cpu", pinned.data_ptr)
    assert np.from_dlpack(pinned).tolist() == list(range(10))


@needs_cuda
def test_p21_torch_takes_pinned_memory_and_sees_that_it_is(device: str) -> None:
    torch = torch_on_device()
    pinned = dlbridge.empty_pinned(10, "float32")
    with pytest.raises(BufferError, match="device_type: 3"):  # what torch's own import knows nothing of
        torch.from_dlpack(pinned)
    for shared in (
        dlbridge.to_torch(pinned),
        torch.from_dlpack(pinned.to("cpu")),
        torch.from_dlpack(pinned.__dlpack__(dl_device=(1, 0))),
        dlbridge.to(pinned, "torch"),
    ):
        assert shared.data_ptr() == pinned.data_ptr
        assert shared.device.type == "cpu"
        assert shared.is_pinned()


# --- as consumer ---


KEPT: list[Any] = []  # structs without a deleter: nobody says when they are not looked at any more


class Foreign:
    """A producer of CUDA memory whose work is late: it has the consumer's stream wait for it, as DLPack asks."""

    def __init__(self, device: str, knows_keywords: bool = True) -> None:
        self.array, self._tensor = upload_of(device)
        self.number, self.knows_keywords = number_of(device), knows_keywords
        self.asked: list[Any] = []
        self.managed = described(self._tensor.shape, 0, self.number)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.number

    def __dlpack__(self, **keywords: Any) -> Any:
        if keywords and not self.knows_keywords:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.asked.append(keywords.get("stream"))
        # Only the wait is taken from our own export: the struct that is handed over knows nothing of the library.
        exports = exported(self._tensor, stream=keywords.get("stream"))
        self.managed.dl_tensor.data = exports.dl_tensor.data
        delete(exports)
        return NEW_CAPSULE(ctypes.addressof(self.managed), NAMES[0], None)


def described(shape: tuple[int, ...], address: int, number: int) -> Versioned:
    """A struct over the memory of a float32 vector, without a deleter."""
    managed = Versioned(major=1, minor=3)
    KEPT.append(managed)
    managed.held = ((ctypes.c_int64 * 1)(*shape), (ctypes.c_int64 * 1)(1))
    tensor: DLTensor = managed.dl_tensor
    tensor.data, tensor.ndim = address, 1
    tensor.device.device_type, tensor.device.device_id = 2, number
    tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes = 2, 32, 1
    tensor.shape = ctypes.cast(managed.held[0], ctypes.POINTER(ctypes.c_int64))
    tensor.strides = ctypes.cast(managed.held[1], ctypes.POINTER(ctypes.c_int64))
    return managed


@needs_cuda
@pytest.mark.parametrize("knows_keywords", [True, False])
def test_p27_an_import_hands_a_stream_over_and_comes_after_it(
    knows_keywords: bool, device: str, driver: Any
) -> None:
    for _ in range(5):
        producer = Foreign(device, knows_keywords)
        tensor = dlbridge.from_dlpack(producer)
        assert len(producer.asked) == 1
        assert producer.asked[0] is None if not knows_keywords else producer.asked[0] > PER_THREAD
        other = dlbridge.Stream(device)
        assert (dlbridge.download(tensor, stream=other).result(60).numpy() == producer.array).all()
        consumer = Consumer(driver, device)
        managed = exported(dlbridge.from_dlpack(producer), stream=consumer.handle)
        assert (consumer.read(managed.dl_tensor.data) == producer.array).all()
        delete(managed)
        consumer.close()
        del tensor


class Table(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("prev_api", ctypes.c_void_p),
        ("allocator", ctypes.c_void_p),
        ("managed_from_py", ctypes.c_void_p),
        ("managed_to_py", ctypes.c_void_p),
        ("dltensor_from_py", ctypes.c_void_p),
        ("current_work_stream", ctypes.c_void_p),
    )


FROM_OBJECT = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(ctypes.c_void_p))
WORK_STREAM = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.c_int32, ctypes.c_int32, ctypes.POINTER(ctypes.c_void_p))
BORROW = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.POINTER(DLTensor))


def framework_type(work_stream: Callable[[int, int], int]) -> type:
    """A framework with an exchange table, that works on a stream of its own."""

    def from_object(x: Any, out: Any) -> int:
        out[0] = ctypes.addressof(x.managed)
        return 0

    def answer(kind: int, number: int, out: Any) -> int:
        out[0] = work_stream(kind, number)
        return 0

    calls = FROM_OBJECT(from_object), WORK_STREAM(answer)
    addresses = [ctypes.cast(call, ctypes.c_void_p).value for call in calls]
    table = Table(1, 3, None, None, addresses[0], None, None, addresses[1])
    capsule = NEW_CAPSULE(ctypes.addressof(table), b"dlpack_exchange_api", None)
    return type("Framework", (), {"__dlpack_c_exchange_api__": capsule, "kept": (table, calls)})


@needs_cuda
@pytest.mark.parametrize("legacy", [False, True])
def test_the_work_stream_of_a_framework_is_asked_and_waited_for(legacy: bool, device: str, driver: Any) -> None:
    works = Consumer(driver, device)  # the framework's stream
    asked: list[tuple[int, int]] = []

    def work_stream(kind: int, number: int) -> int:
        asked.append((kind, number))
        return 0 if legacy else works.handle

    framework = framework_type(work_stream)
    for _ in range(5):
        array, tensor = upload_of(device)
        waited = exported(tensor, stream=LEGACY if legacy else works.handle)  # its work: to have the elements there
        x: Any = framework()
        x.managed = described((SIZE,), waited.dl_tensor.data, number_of(device))
        imported = dlbridge.from_dlpack(x)
        assert asked[-1] == (2, number_of(device))
        assert (dlbridge.download(imported, stream=dlbridge.Stream(device)).result(60).numpy() == array).all()
        del imported
        delete(waited)
    works.close()


def our_table() -> Table:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return Table.from_address(pointer(dlbridge.Tensor.__dlpack_c_exchange_api__, b"dlpack_exchange_api"))


@needs_cuda
def test_our_work_stream_is_answered_and_comes_after_the_copies(device: str, driver: Any) -> None:
    table, out = our_table(), ctypes.c_void_p()
    ask = WORK_STREAM(table.current_work_stream)
    assert ask(1, 0, ctypes.byref(out)) == 0
    assert out.value is None, "the host has no streams"
    assert ask(2, number_of(device), ctypes.byref(out)) == 0
    assert out.value
    consumer = Consumer(driver, device, out.value)
    for _ in range(5):
        array, tensor = upload_of(device)
        view = DLTensor()
        assert BORROW(table.dltensor_from_py)(tensor, ctypes.byref(view)) == 0
        assert (consumer.read(view.data) == array).all()
        array, tensor = upload_of(device)
        managed = ctypes.c_void_p()
        assert FROM_OBJECT(table.managed_from_py)(tensor, ctypes.byref(managed)) == 0
        struct = Versioned.from_address(managed.value or 0)
        assert (consumer.read(struct.dl_tensor.data) == array).all()
        delete(struct)
    consumer.close()


class Fleeting(Consumer):
    """A program with a stream that may go before what was taken for it. Where it is blocking it waits for the
    default stream, and that for it, as most do that say nothing else.
    """

    def __init__(self, driver: Any, device: str, blocking: bool) -> None:
        super().__init__(driver, device)
        made = ctypes.c_void_p()
        with self.current():
            self.call("cuStreamCreate", ctypes.byref(made), 0 if blocking else 1)
        self.handle = made.value or 0

    def destroy(self) -> None:
        with self.current():
            self.call("cuStreamDestroy_v2", ctypes.c_void_p(self.handle))
        self.handle = 0

    def finish(self) -> None:
        with self.current():
            if self.handle:
                self.call("cuStreamSynchronize", ctypes.c_void_p(self.handle))
            else:
                self.call("cuCtxSynchronize")


def consumer_on(stream: str, driver: Any, device: str) -> Consumer:
    if stream in ("blocking", "fleeting"):
        return Fleeting(driver, device, stream == "blocking")
    return Consumer(driver, device, {"legacy": LEGACY, "per thread": PER_THREAD}.get(stream))


@needs_cuda
@pytest.mark.parametrize("legacy", [False, True], ids=["versioned", "legacy struct"])
@pytest.mark.parametrize("copy", [None, True])
@pytest.mark.parametrize(
    "stream", ["legacy", "per thread", "apart", "blocking", "blocking and gone", "fleeting and gone"]
)
def test_what_a_consumer_lets_go_of_waits_for_its_stream(
    stream: str, copy: bool | None, legacy: bool, device: str, standin: Any
) -> None:
    consumer = consumer_on(stream.removesuffix(" and gone"), standin, device)
    uses = standin.standin_live(b"uses of streams that are gone")
    array, tensor = upload_of(device)
    keywords: dict[str, Any] = {"stream": consumer.handle, "copy": copy}
    managed = take_legacy(tensor.__dlpack__(**keywords)) if legacy else exported(tensor, **keywords)
    out = dlbridge.empty_pinned(SIZE, "float32")
    host(tensor)
    dlbridge.trim()
    with consumer.held_up():
        consumer.queue_read(managed.dl_tensor.data, out)
        if isinstance(consumer, Fleeting) and stream.endswith(" and gone"):
            consumer.destroy()
        before = [standin.standin_calls(name.encode()) for name in WAITS]
        del tensor
        delete(managed)  # as torch lets go of a tensor whose kernels are still queued
        assert [standin.standin_calls(name.encode()) for name in WAITS] == before, "the host does not wait"
        time.sleep(0.03)  # in which the library's thread lets go of what is not in use
        _, other = upload_of(device)  # would get the same memory
        host(other)
    assert (out.numpy() == array).all()
    assert standin.standin_live(b"uses of streams that are gone") == uses
    if stream == "blocking":
        consumer.destroy()
    consumer.close()


@needs_cuda
def test_what_is_no_stream_is_refused(device: str, standin: Any) -> None:
    _, tensor = upload_of(device)
    host(tensor)
    with pytest.raises(dlbridge.Error, match="CUDA_ERROR_INVALID_HANDLE"):
        tensor.__dlpack__(stream=12345)
