"""Fixtures: every test must leave as many tensors and exports alive as it found."""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stagers import stager_threads

import dlbridge

ROOT = Path(__file__).resolve().parents[2]
# Who starts the tests in the background may have told them to ignore Ctrl-C, and their children with them.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def nothing_leaks() -> Iterator[None]:
    gc.collect()
    # What torch brings in and pytest remembers is never garbage, and looking through it took most of each test.
    gc.freeze()
    before = dlbridge.live_tensors(), dlbridge.live_exports()
    yield
    gc.collect()
    # A copy under way that nobody waited for has its tensors until the thread of its stream is done with it.
    end = time.monotonic() + 10
    while (dlbridge.live_tensors(), dlbridge.live_exports()) != before and time.monotonic() < end:
        time.sleep(0.001)
    assert (dlbridge.live_tensors(), dlbridge.live_exports()) == before, "tensors or exports leaked"


@pytest.fixture
def no_stager_is_left() -> Iterator[None]:
    yield
    gc.collect()
    assert stager_threads() == []


@pytest.fixture(scope="session")
def native_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    library = tmp_path_factory.mktemp("native") / "native.so"
    source = Path(__file__).with_name("native.c")
    command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-pthread", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([*command, f"-I{ROOT / 'include'}", "-o", library, source], check=True)
    return library


@pytest.fixture(scope="session")
def native(native_path: Path) -> ctypes.PyDLL:
    return ctypes.PyDLL(str(native_path))
