"""A device that was named has to be there: nothing is skipped for want of it."""

from __future__ import annotations

import pytest
from place import DEVICE

import dlbridge


@pytest.fixture(scope="session", autouse=True)
def the_device_is_there() -> None:
    assert DEVICE in dlbridge.devices(), f"{DEVICE} is not among {dlbridge.devices()}"


@pytest.fixture
def device() -> str:
    return DEVICE
