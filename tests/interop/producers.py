"""Whose arrays come in: how each makes them, where it says the memory is, and how it reads it."""

from __future__ import annotations

import array
import ctypes
import mmap
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Producer:
    name: str
    package: str
    """The distribution that must be installed; empty for Python's own."""
    make: dict[str, Callable[[], Any]]
    """By what stands in the table's head."""
    values: Callable[[Any], Any]
    """What it holds, as an ndarray, by its own means."""
    address: Callable[[Any], int | None] = lambda made: None
    immutable: bool = False
    """The framework promises its users that values never change."""


HEAD = ["plain", "read-only", "every second column", "negative strides", "no elements", "0-d", "bfloat16"]


def _ramp(dtype: str = "float32") -> np.ndarray[Any, Any]:
    return np.arange(48).astype(dtype).reshape(6, 8)


def _read_only(made: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    made.flags.writeable = False
    return made


def _bfloat16() -> Any:
    return _ramp().astype(import_module("ml_dtypes").bfloat16)


def _address(made: Any) -> int:
    return int(np.asarray(made).ctypes.data)


def _data_ptr(made: Any) -> int:
    return int(made.data_ptr())


NUMPY: dict[str, Callable[[], Any]] = {
    "plain": _ramp,
    "read-only": lambda: _read_only(_ramp()),
    "every second column": lambda: _ramp()[:, ::2],
    "negative strides": lambda: _ramp()[::-1],
    "no elements": lambda: _ramp()[:0],
    "0-d": lambda: np.array(7.0),
    "bfloat16": _bfloat16,
}


def _frameworks(module: str, convert: str, bfloat16: Callable[[Any], Any]) -> dict[str, Callable[[], Any]]:
    """The same arrays through `module.convert(ndarray)`, sliced as Python slices."""

    def make(values: Any) -> Any:
        made: Any = import_module(module)
        for name in convert.split("."):
            made = getattr(made, name)
        return made(values)

    return {
        "plain": lambda: make(_ramp()),
        "every second column": lambda: make(_ramp())[:, ::2],
        "no elements": lambda: make(_ramp())[:0],
        "0-d": lambda: make(np.float32(7.0)),
        "bfloat16": lambda: bfloat16(make(_ramp())),
    }


def _torch_values(made: Any) -> Any:
    torch = import_module("torch")
    return (made.view(torch.uint16) if made.dtype == torch.bfloat16 else made).numpy()


def _tvm(key: str) -> Callable[[], Any]:
    return lambda: import_module("tvm_ffi").from_dlpack(NUMPY[key]())


def _arrow(values: Any) -> Any:
    return import_module("pyarrow").array(values)


def _arrow_tensor(key: str) -> Callable[[], Any]:
    return lambda: import_module("pyarrow").Tensor.from_numpy(NUMPY[key]())


def _ort(key: str) -> Callable[[], Any]:
    return lambda: import_module("onnxruntime").OrtValue.ortvalue_from_numpy(NUMPY[key]())


def _image(mode: str) -> Callable[[], Any]:
    return lambda: import_module("PIL.Image").new(mode, (8, 6), 3)


def _series(key: str) -> Callable[[], Any]:
    return lambda: import_module("pandas").Series(NUMPY[key]()[0], copy=False).to_numpy()


def _blurred() -> Any:
    return import_module("cv2").blur(_ramp(), (3, 3))


def _mapping(writable: bool) -> Any:
    made = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0))
    if writable:
        made[:8] = b"mappings"
    return made


def _cupy(values: Any) -> Any:
    return import_module("cupy").asarray(values)


def _address_of_bytes(made: Any) -> int:
    return _address(_bytes_values(made))


def _mlx_values(made: Any) -> Any:
    mlx = import_module("mlx.core")
    return np.array(made.view(mlx.uint16) if made.dtype == mlx.bfloat16 else made, copy=False)


def _bytes_values(made: Any) -> Any:
    return np.frombuffer(made, "uint8")


PRODUCERS = [
    Producer("numpy.ndarray", "numpy", NUMPY, np.asarray, _address),
    Producer(
        "torch.Tensor",
        "torch",
        _frameworks("torch", "tensor", lambda made: made.bfloat16()),
        _torch_values,
        _data_ptr,
    ),
    Producer(
        "jax.Array",
        "jax",
        _frameworks("jax.numpy", "asarray", lambda made: made.astype("bfloat16")),
        np.asarray,
        lambda made: int(made.unsafe_buffer_pointer()),
        immutable=True,
    ),
    Producer(
        "tf.Tensor",
        "tensorflow-cpu",
        _frameworks("tensorflow", "constant", lambda made: import_module("tensorflow").cast(made, "bfloat16")),
        lambda made: made.numpy(),
        lambda made: None if made.dtype.name == "bfloat16" else _address(memoryview(made)),
        immutable=True,
    ),
    Producer(
        "pyarrow.Array",
        "pyarrow",
        {"plain": lambda: _arrow(_ramp()[0]), "no elements": lambda: _arrow(_ramp()[0])[:0]},
        lambda made: made.to_numpy(),
        lambda made: made.buffers()[1].address,
        immutable=True,
    ),
    Producer(
        "pyarrow.Tensor",
        "pyarrow",
        {key: _arrow_tensor(key) for key in HEAD if key != "bfloat16"},
        lambda made: made.to_numpy(),
        lambda made: _address(made.to_numpy()),
    ),
    Producer(
        "pyarrow.Buffer",
        "pyarrow",
        {
            "plain": lambda: import_module("pyarrow").py_buffer(bytearray(b"buffer")),
            "read-only": lambda: import_module("pyarrow").py_buffer(b"buffer"),
        },
        lambda made: np.frombuffer(made, "int8"),
        lambda made: made.address,
    ),
    Producer(
        "tvm_ffi.Tensor",
        "apache-tvm-ffi",
        {key: _tvm(key) for key in HEAD if key != "bfloat16"},
        np.from_dlpack,
        lambda made: _address(np.from_dlpack(made)),
    ),
    Producer(
        "paddle.Tensor",
        "paddlepaddle",
        _frameworks("paddle", "to_tensor", lambda made: made.astype("bfloat16")),
        lambda made: made.numpy(),
        _data_ptr,
    ),
    Producer(
        "onnxruntime.OrtValue",
        "onnxruntime",
        {key: _ort(key) for key in ("plain", "no elements", "0-d")},
        lambda made: made.numpy(),
        _data_ptr,
    ),
    Producer(
        "mlx.core.array",
        "mlx",
        _frameworks("mlx.core", "array", lambda made: made.astype(import_module("mlx.core").bfloat16)),
        _mlx_values,
        lambda made: _address(_mlx_values(made)),
    ),
    Producer("cupy.ndarray", "cupy-cuda12x", {"plain": lambda: _cupy(_ramp())}, lambda made: made.get()),
    Producer(
        "PIL.Image",
        "pillow",
        {"plain": _image("L"), "no elements": lambda: _image("L")().crop((0, 0, 0, 0))},
        np.asarray,
    ),
    Producer("cv2 result", "opencv-python-headless", {"plain": _blurred}, np.asarray, _address),
    Producer(
        "pandas.Series.to_numpy()",
        "pandas",
        {key: _series(key) for key in ("plain", "read-only", "negative strides")},
        np.asarray,
        _address,
        immutable=True,
    ),
    Producer(
        "memoryview",
        "",
        {
            "plain": lambda: memoryview(bytearray(48)).cast("f", (3, 4)),
            "read-only": lambda: memoryview(bytes(48)).cast("f", (3, 4)),
            "every second column": lambda: memoryview(array.array("f", range(12)))[::2],
            "negative strides": lambda: memoryview(array.array("f", range(12)))[::-1],
            "no elements": lambda: memoryview(b""),
            "0-d": lambda: memoryview(bytearray(4)).cast("f", ()),
        },
        np.asarray,
        _address,
    ),
    Producer(
        "bytes",
        "",
        {"plain": lambda: b"some bytes", "no elements": bytes},
        _bytes_values,
        _address_of_bytes,
        immutable=True,
    ),
    Producer(
        "bytearray",
        "",
        {"plain": lambda: bytearray(b"some"), "no elements": bytearray},
        _bytes_values,
        _address_of_bytes,
    ),
    Producer(
        "array.array",
        "",
        {"plain": lambda: array.array("d", range(9)), "no elements": lambda: array.array("d")},
        np.asarray,
        lambda made: made.buffer_info()[0],
    ),
    Producer(
        "mmap.mmap",
        "",
        {"plain": lambda: _mapping(True), "read-only": lambda: _mapping(False)},
        _bytes_values,
        _address_of_bytes,
    ),
    Producer(
        "ctypes array",
        "",
        {
            "plain": lambda: ((ctypes.c_float * 8) * 6)(),
            "no elements": lambda: (ctypes.c_float * 0)(),
            "0-d": lambda: ctypes.c_float(7),
        },
        np.asarray,
        ctypes.addressof,
    ),
]
