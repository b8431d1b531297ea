"""`from_dlpack`, `to_numpy`, `to_torch` and `Tensor`: what users see."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import threading
import weakref
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import torch

import dlbridge


def test_tensor_says_what_it_is() -> None:
    array = np.zeros((2, 3, 4), "int16")
    tensor = dlbridge.from_dlpack(array)
    assert (tensor.shape, tensor.strides, tensor.ndim) == ((2, 3, 4), (12, 4, 1), 3)
    assert (tensor.dtype, tensor.device, tensor.size, tensor.nbytes) == ("int16", "cpu", 24, 48)
    assert (tensor.readonly, tensor.contiguous, len(tensor)) == (False, True, 2)
    assert tensor.data_ptr == array.ctypes.data
    assert repr(tensor) == "dlbridge.Tensor(shape=(2, 3, 4), dtype=int16, device=cpu)"
    assert dlbridge.from_dlpack(tensor) is tensor


def test_tensor_cannot_be_made_or_subclassed() -> None:
    with pytest.raises(TypeError, match="from_dlpack"):
        dlbridge.Tensor()
    with pytest.raises(TypeError, match="base type"):
        type("Mine", (dlbridge.Tensor,), {})


INDICES = [
    np.s_[0],
    np.s_[-1],
    np.s_[1:],
    np.s_[::-1],
    np.s_[..., 0],
    np.s_[:, ::2],
    np.s_[None],
    np.s_[0, ..., None],
    np.s_[1, 2, 3],
    np.s_[:, -1:-3:-1, 1:3],
    np.s_[()],
    np.s_[...],
    np.s_[5:],
    np.s_[..., ::-2],
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_indexing_makes_the_views_numpy_makes(index: object) -> None:
    array = np.arange(24.0).reshape(2, 3, 4)
    view = dlbridge.to_numpy(dlbridge.from_dlpack(array)[index])  # type: ignore[index]
    items = index if isinstance(index, tuple) else (index,)
    # With '...' NumPy gives a view even where all axes are indexed, and not a scalar.
    expected = array[items if Ellipsis in items else (*items, ...)]  # type: ignore[index]
    assert np.array_equal(view, expected)
    assert view.shape == expected.shape
    if expected.size:
        assert view.ctypes.data == expected.ctypes.data


@pytest.mark.parametrize("index", [3, -4, (0, 0, 0, 0)], ids=str)
def test_an_index_outside_is_refused(index: object) -> None:
    with pytest.raises(dlbridge.InvalidArgumentError):
        dlbridge.from_dlpack(np.zeros((3, 2, 1)))[index]  # type: ignore[index]


def test_the_owner_lives_as_long_as_anything_made_from_it() -> None:
    array = np.arange(1000.0)
    watch = weakref.ref(array)
    result = dlbridge.to_torch(dlbridge.from_dlpack(array)[10:20])
    del array
    gc.collect()
    assert watch() is not None
    assert result[0] == 10
    del result
    gc.collect()
    assert watch() is None


DTYPES = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
FLOATS = ["float16", "float32", "float64", "complex64", "complex128"]


@pytest.mark.parametrize("dtype", DTYPES + FLOATS)
def test_every_numpy_dtype_goes_there_and_back(dtype: str) -> None:
    array = np.arange(6).astype(dtype).reshape(2, 3)
    as_torch = dlbridge.to_torch(array)
    back = dlbridge.to_numpy(as_torch)
    assert back.dtype == array.dtype
    assert np.array_equal(back, array)
    assert back.ctypes.data == array.ctypes.data


def test_read_only_to_torch_is_the_callers_choice() -> None:
    array = np.arange(3.0)
    array.flags.writeable = False
    with pytest.raises(dlbridge.ReadOnlyError, match="readonly="):
        dlbridge.to_torch(array)
    assert dlbridge.to_torch(array, readonly="alias").data_ptr() == array.ctypes.data
    copied = dlbridge.to_torch(array, readonly="copy")
    assert copied.data_ptr() != array.ctypes.data
    assert copied.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="sometimes"):
        dlbridge.to_torch(array, readonly="sometimes")


def test_negative_strides_to_torch_name_the_axis() -> None:
    with pytest.raises(dlbridge.UnsupportedError, match=r"axis 1 .* -1"):
        dlbridge.to_torch(np.zeros((2, 3))[:, ::-1])
    assert dlbridge.to_torch(np.zeros((2, 3))[:, :1][:, ::-1]).shape == (2, 1)


def test_copy_gives_memory_of_its_own() -> None:
    array = np.arange(3.0)
    tensor = dlbridge.from_dlpack(array)
    for source in (array, tensor):
        assert dlbridge.to_torch(source, copy=True).data_ptr() != array.ctypes.data
        assert dlbridge.to_numpy(source, copy=True).ctypes.data != array.ctypes.data
        assert dlbridge.to_torch(source, copy=False).data_ptr() == array.ctypes.data
        assert dlbridge.from_dlpack(source, copy=True).data_ptr != array.ctypes.data


def test_asarray_shares_and_array_copies() -> None:
    array = np.arange(3.0)
    tensor = dlbridge.from_dlpack(array)
    assert np.asarray(tensor).ctypes.data == array.ctypes.data
    assert np.array(tensor).ctypes.data != array.ctypes.data
    assert np.asarray(tensor, dtype="int32").dtype == "int32"
    assert np.asarray(tensor, copy=False).ctypes.data == array.ctypes.data
    with pytest.raises(BufferError):
        np.asarray(tensor, dtype="int32", copy=False)


def test_other_consumers_share_too() -> None:
    array = np.arange(6.0).reshape(2, 3)
    tensor = dlbridge.from_dlpack(array)
    assert np.from_dlpack(tensor).ctypes.data == array.ctypes.data
    assert torch.from_dlpack(tensor).data_ptr() == array.ctypes.data


def test_a_device_is_confirmed_or_has_to_be_there() -> None:
    array = np.zeros(2)
    assert dlbridge.from_dlpack(array, device="cpu").device == "cpu"
    assert dlbridge.from_dlpack(array, device=(1, 0)).device == "cpu"
    with pytest.raises(dlbridge.UnavailableError, match="cuda:0 cannot be used here"):
        dlbridge.from_dlpack(array, device="cuda:0")


def test_more_than_64_dimensions_stop_before_the_framework() -> None:
    tensor = dlbridge.from_dlpack(np.zeros(3))
    for _ in range(64):
        tensor = tensor[None]
    assert tensor.ndim == 65
    for convert in (dlbridge.to_numpy, dlbridge.to_torch):
        with pytest.raises(dlbridge.UnsupportedError, match="65"):
            convert(tensor)


def test_threads_hand_over_at_once() -> None:
    array = np.arange(1000.0)
    tensor = dlbridge.from_dlpack(array)
    failures = []

    def work() -> None:
        for _ in range(500):
            view = dlbridge.from_dlpack(tensor.__dlpack__(max_version=(1, 3)))[::2]
            if dlbridge.to_numpy(view)[1] != 2:
                failures.append(view)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def run(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True).stdout


def test_importing_loads_neither_numpy_nor_torch() -> None:
    code = "import sys, dlbridge; print(sorted({'numpy', 'torch', 'cffi'} & set(sys.modules)))"
    assert run("-c", code).strip() == "[]"


def test_include_library_and_info() -> None:
    include = Path(dlbridge.get_include())
    for header in (
        "dlbridge.h",
        "dlbridge/dlpack_abi.h",
        "dlbridge.hpp",
        "dlbridge/span.hpp",
        "dlbridge/stream.hpp",
        "dlbridge/torch.hpp",
    ):
        assert (include / header).is_file(), header
    assert Path(dlbridge.get_library()).is_file()
    assert run("-m", "dlbridge", "--version") == f"dlbridge {dlbridge.__version__}\n"
    printed = run("-m", "dlbridge", "info")
    assert dlbridge.__version__ in printed
    assert dlbridge.get_library() in printed
    assert re.search(rf"^numpy +{re.escape(np.__version__)}$", printed, re.MULTILINE)


def test_a_framework_that_is_missing_is_unavailable() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; import dlbridge, array; dlbridge.to_torch(array.array('f', [1]))"
    )
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "UnavailableError: torch is not installed; run pip install torch" in failed.stderr


def test_the_package_and_the_library_have_one_version() -> None:
    assert metadata.version("dlbridge") == dlbridge.__version__
