"""The examples of extension modules, built as their users would, against the installed Python package."""

from __future__ import annotations

import gc
import importlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import dlbridge

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "examples" / "python_extension"
COMPILED = ROOT / "examples" / "python_cffi_compiled"


def python(*arguments: object, path: str = "") -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The folder that both modules were built into."""
    folder = tmp_path_factory.mktemp("extension")
    pip = ("-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation")
    python(*pip, "--target", folder, EXTENSION)
    python(COMPILED / "build.py", folder)
    return str(folder)


@pytest.fixture
def rows(built: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(built)
    return importlib.import_module("rows")


@pytest.mark.parametrize("example", [EXTENSION, COMPILED])
def test_the_examples_run(example: Path, built: str) -> None:
    assert "refused:" in python(example / "use.py", path=built)


def test_the_extension_works_on_the_library_of_the_package(rows: Any) -> None:
    array = np.array([[1, 3]], "float32")
    centred = rows.centre(array)
    assert array.tolist() == [[-1, 1]]
    assert centred.data_ptr == array.ctypes.data
    maps = Path("/proc/self/maps").read_text().splitlines()
    assert {line.split()[-1] for line in maps if "libdlbridge" in line} == {dlbridge.get_library()}
    del centred
    gc.collect()
    assert (dlbridge.live_tensors(), dlbridge.live_exports()) == (0, 0)


def test_what_it_refuses_leaves_nothing_behind(rows: Any) -> None:
    class Broken:
        def __dlpack__(self, **_: Any) -> Any:
            raise KeyError("no memory of that name")

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    frozen = np.zeros((2, 2), "float32")
    frozen.flags.writeable = False
    with pytest.raises(KeyError, match="no memory of that name"):
        rows.centre(Broken())
    with pytest.raises(RuntimeError, match="read-only"):
        rows.centre(frozen)
    with pytest.raises(RuntimeError, match="float64"):
        rows.centre(np.zeros((2, 2)))
    with pytest.raises(ValueError, match="not 3"):
        rows.centre(np.zeros((1, 2, 2), "float32"))
    gc.collect()
    assert (dlbridge.live_tensors(), dlbridge.live_exports()) == (0, 0)


def test_the_paths_that_builds_ask_for() -> None:
    for what, path in (
        ("include", dlbridge.get_include()),
        ("library", dlbridge.get_library()),
        ("cmake", dlbridge.get_cmake_dir()),
    ):
        assert python("-m", "dlbridge", "path", what) == path + "\n"
        assert path in python("-m", "dlbridge", "info")
    cpp = ("dlbridge.hpp", "dlbridge/span.hpp", "dlbridge/stream.hpp", "dlbridge/torch.hpp")
    headers = ("dlbridge.h", "dlbridge/dlpack_abi.h", *cpp)
    assert all((Path(dlbridge.get_include()) / header).is_file() for header in headers)
