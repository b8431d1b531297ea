"""Who takes tensors: how each is called, where it says its memory is, and how it is read and written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Consumer:
    name: str
    """The call, as a user writes it."""
    package: str
    """The distribution that must be installed."""
    take: Callable[[Any], Any]
    values: Callable[[Any], Any]
    """What it holds, as an ndarray, by its own means."""
    address: Callable[[Any], int | None] = lambda taken: None
    """Where it says that its first element is; None if it does not say."""
    write: Callable[[Any], object] | None = None
    """Sets every element to 1; None if it has no way to write."""
    computes: bool = False
    """It returns a result, not the tensor in another form."""
    given: str = "dlbridge.Tensor"
    """What it is given in the odd cases: those that take arrays of NumPy only are given one on the same memory."""
    one_row: bool = False
    """It takes one dimension only, so it is given the first row."""


def _fill(array: Any) -> None:
    array[...] = 1


def _address(array: Any) -> int:
    return int(array.ctypes.data)


def _numpy(name: str, take: Callable[[Any], Any]) -> Consumer:
    return Consumer(name, "numpy", take, lambda array: array, _address, _fill)


def _torch_values(tensor: Any) -> Any:
    import torch

    return (tensor.view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _torch(name: str) -> Consumer:
    def take(x: Any) -> Any:
        return getattr(import_module("torch"), name)(x)

    return Consumer(f"torch.{name}", "torch", take, _torch_values, _data_ptr, lambda t: t.fill_(1))


def _jax(x: Any) -> Any:
    import jax

    return jax.dlpack.from_dlpack(x)


def _tensorflow(x: Any) -> Any:
    import tensorflow as tf

    return tf.experimental.dlpack.from_dlpack(x.__dlpack__())


def _tensorflow_address(tensor: Any) -> int | None:
    # A buffer has no letter for bfloat16.
    return None if tensor.dtype.name == "bfloat16" else _address(np.asarray(memoryview(tensor)))


def _arrow(x: Any) -> Any:
    import pyarrow

    return pyarrow.Tensor.from_dlpack(x)


def _arrow_1d(x: Any) -> Any:
    import pyarrow

    return pyarrow.Array.from_dlpack(x)


def _tvm(x: Any) -> Any:
    import tvm_ffi

    return tvm_ffi.from_dlpack(x)


def _paddle(x: Any) -> Any:
    import paddle

    return paddle.from_dlpack(x)


def _ort(x: Any) -> Any:
    from onnxruntime import OrtValue

    return OrtValue.ortvalue_from_numpy(x)


def _ort_dlpack(x: Any) -> Any:
    from onnxruntime.capi.onnxruntime_pybind11_state import OrtValue

    return OrtValue.from_dlpack(x.__dlpack__(), False)


def _mlx(x: Any) -> Any:
    import mlx.core

    return mlx.core.from_dlpack(x)


def _mlx_values(x: Any) -> Any:
    import mlx.core

    return np.array(x.view(mlx.core.uint16) if x.dtype == mlx.core.bfloat16 else x, copy=False)


def _cupy(x: Any) -> Any:
    import cupy

    cupy.cuda.runtime.getDeviceCount()
    return cupy.from_dlpack(x)


def _imshow(x: Any) -> Any:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    return Figure().subplots().imshow(x)


def _frame(x: Any) -> Any:
    import pandas

    return pandas.DataFrame(x)


def _ndimage(x: Any) -> Any:
    from scipy import ndimage

    return ndimage.uniform_filter(x, size=1)


def _blur(x: Any) -> Any:
    import cv2

    return cv2.blur(x, (1, 1))


def _rectangle(x: Any) -> Any:
    import cv2

    return cv2.rectangle(x, (0, 0), (0, 0), 0, -1)


def _fromarray(x: Any) -> Any:
    from PIL import Image

    return Image.fromarray(x)


def _data_ptr(value: Any) -> int:
    return int(value.data_ptr())


def _same(taken: Any) -> Any:
    return taken


def _assign(frame: Any) -> None:
    frame.iloc[:, :] = 1


def _update(value: Any) -> None:
    value.update_inplace(np.ones(value.shape(), value.numpy().dtype))


CV2 = "opencv-python-headless"
PYARROW = "pyarrow"
ARRAY = "to_numpy(Tensor)"

CONSUMERS = [
    _numpy("numpy.from_dlpack", np.from_dlpack),
    _numpy("numpy.asarray", np.asarray),
    _torch("from_dlpack"),
    _torch("as_tensor"),
    Consumer(
        "jax.dlpack.from_dlpack",
        "jax",
        _jax,
        lambda x: np.asarray(x.copy()),
        lambda x: int(x.unsafe_buffer_pointer()),
    ),
    Consumer(
        "tf.experimental.dlpack.from_dlpack",
        "tensorflow-cpu",
        _tensorflow,
        lambda x: x.numpy(),
        _tensorflow_address,
    ),
    Consumer(
        "pyarrow.Tensor.from_dlpack",
        PYARROW,
        _arrow,
        lambda x: x.to_numpy(),
        lambda x: _address(x.to_numpy()),
        lambda x: _fill(x.to_numpy()),
    ),
    Consumer(
        "pyarrow.Array.from_dlpack (one row)",
        PYARROW,
        _arrow_1d,
        lambda x: x.to_numpy(zero_copy_only=False),
        lambda x: x.buffers()[1].address,
        one_row=True,
    ),
    Consumer(
        "tvm_ffi.from_dlpack",
        "apache-tvm-ffi",
        _tvm,
        np.from_dlpack,
        lambda x: _address(np.from_dlpack(x)),
        lambda x: _fill(np.from_dlpack(x)),
    ),
    Consumer(
        "paddle.from_dlpack",
        "paddlepaddle",
        _paddle,
        lambda x: x.numpy(),
        _data_ptr,
        lambda x: x.fill_(1),
    ),
    Consumer(
        "onnxruntime.OrtValue.ortvalue_from_numpy",
        "onnxruntime",
        _ort,
        lambda x: x.numpy(),
        _data_ptr,
        _update,
        given=ARRAY,
    ),
    Consumer(
        "onnxruntime C OrtValue.from_dlpack", "onnxruntime", _ort_dlpack, lambda x: x.numpy(), _data_ptr, _update
    ),
    Consumer("mlx.core.from_dlpack", "mlx", _mlx, _mlx_values, lambda x: _address(_mlx_values(x))),
    Consumer("cupy.from_dlpack", "cupy-cuda12x", _cupy, lambda x: x.get()),
    Consumer(
        "Matplotlib Axes.imshow",
        "matplotlib",
        _imshow,
        lambda x: x.get_array().data,
        lambda x: _address(x.get_array()),
    ),
    Consumer(
        "pandas.DataFrame", "pandas", _frame, lambda x: x.to_numpy(), lambda x: _address(x.to_numpy()), _assign
    ),
    Consumer("scipy.ndimage.uniform_filter", "scipy", _ndimage, _same, computes=True),
    Consumer("cv2.blur", CV2, _blur, _same, computes=True, given=ARRAY),
    Consumer("cv2.rectangle (in place)", CV2, _rectangle, _same, computes=True, given=ARRAY),
    Consumer(
        "PIL.Image.fromarray",
        "pillow",
        _fromarray,
        np.asarray,
        write=lambda x: x.paste(1, (0, 0, *x.size)),
        given=ARRAY,
    ),
]
