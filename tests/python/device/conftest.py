"""A device that was named has to be there: nothing is skipped for want of it. And nothing is left on it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import pytest
from place import DEVICE, IS_CUDA

import dlbridge


@pytest.fixture(scope="session", autouse=True)
def the_device_is_there() -> None:
    assert DEVICE in dlbridge.devices(), f"{DEVICE} is not among {dlbridge.devices()}"


@pytest.fixture
def device() -> str:
    return DEVICE


@pytest.fixture
def driver() -> Any:
    """The CUDA driver itself, as ctypes sees it."""
    if not IS_CUDA:
        pytest.skip("UNAVAILABLE: no CUDA driver is asked for")
    return ctypes.CDLL("libcuda.so.1")


@pytest.fixture
def standin(driver: Any) -> Iterator[Any]:
    """The stand-in for the driver, which counts its calls and is late on request."""
    if not hasattr(driver, "standin_calls"):
        pytest.skip("UNAVAILABLE: a driver that counts its calls, which only the stand-in does")
    driver.standin_calls.restype = driver.standin_violations.restype = ctypes.c_long
    driver.standin_fail.argtypes = (ctypes.c_char_p, ctypes.c_long, ctypes.c_int, ctypes.c_int)
    yield driver
    driver.standin_reset()
    driver.standin_set_delay(200)
    assert driver.standin_violations() == 0
