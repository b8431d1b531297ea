"""What the driver fails at, on request of the stand-in: told to whoever waits, and nothing is left behind."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from place import host, needs_cuda

import dlbridge

LAUNCH_FAILED = 719


@needs_cuda
def test_a_download_that_fails_says_so_to_everybody_and_each_time(device: str, standin: Any) -> None:
    stream = dlbridge.Stream(device)
    there = dlbridge.upload(np.ones(1000), device, stream=stream)
    stream.synchronize()
    standin.standin_fail(b"cuMemcpyDtoHAsync", 1, LAUNCH_FAILED, 0)
    called: list[Any] = []
    over = threading.Event()
    future = dlbridge.download(there, stream=stream)
    future.add_done_callback(lambda future: (called.append(future.exception()), over.set()))
    for _ in range(3):
        with pytest.raises(dlbridge.DeviceError, match="cuMemcpyDtoHAsync failed with"):
            future.result(60)
    assert isinstance(future.exception(), dlbridge.DeviceError)
    assert future.done()
    assert over.wait(60)
    assert isinstance(called[0], dlbridge.DeviceError)
    with pytest.raises(dlbridge.DeviceError):
        stream.synchronize()  # reports it, once
    stream.synchronize()
    assert host(there).sum() == 1000


@needs_cuda
def test_an_upload_that_fails_is_told_to_who_reaches_the_elements(device: str, standin: Any) -> None:
    stream = dlbridge.Stream(device)
    standin.standin_fail(b"cuMemcpyHtoDAsync", 1, LAUNCH_FAILED, 0)
    there = dlbridge.upload(np.ones(1000), device, stream=stream)
    consumer = dlbridge.Stream(device)
    reaching: list[Any] = [
        lambda: there.data_ptr,
        lambda: there.__dlpack__(stream=consumer.__cuda_stream__()[1]),
        lambda: there.__dlpack__(dl_device=(1, 0)),
        lambda: dlbridge.download(there, stream=consumer).result(60),
        lambda: there.to("cpu"),
    ]
    for reach in reaching:
        with pytest.raises(dlbridge.DeviceError, match="cuMemcpyHtoDAsync failed with"):
            reach()


@needs_cuda
@pytest.mark.parametrize(
    "function",
    ["cuMemAlloc", "cuMemHostAlloc", "cuStreamCreate", "cuEventCreate", "cuEventRecord", "cuMemHostRegister"],
)
def test_each_call_that_fails_is_an_error_and_the_next_works(function: str, device: str, standin: Any) -> None:
    dlbridge.trim()
    array = np.ones(700_001)

    def round_trip() -> float:
        pinned, stream = dlbridge.empty_like_pinned(array), dlbridge.Stream(device)
        with dlbridge.pin(array):
            pinned.numpy()[:] = array
            there = dlbridge.upload(pinned, device, stream=stream)
            return float(dlbridge.download(there, stream=stream).result(60).numpy().sum())

    failures = 0
    for nth in (1, 2, 3):
        standin.standin_fail(function.encode(), nth, LAUNCH_FAILED, 0)
        try:
            assert round_trip() == array.sum()
        except dlbridge.Error as error:
            assert function in str(error)  # noqa: PT017
            failures += 1
        standin.standin_reset()
    assert failures or function in ("cuMemAlloc", "cuMemHostAlloc", "cuEventCreate"), (
        "what is cached is not asked for"
    )
    assert round_trip() == array.sum()
