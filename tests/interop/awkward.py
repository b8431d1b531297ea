"""Things that hold numbers and are no plain memory: what `dlbridge.from_dlpack` says to each."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np


def _torch(make: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: make(import_module("torch"))


def _pandas(make: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: make(import_module("pandas"))


def _arrow(make: Callable[[Any], Any]) -> Callable[[], Any]:
    return lambda: make(import_module("pyarrow"))


def _image(mode: str) -> Callable[[], Any]:
    return lambda: import_module("PIL.Image").new(mode, (8, 6))


# What it is, whose, and how it is made.
AWKWARD: list[tuple[str, str, Callable[[], Any]]] = [
    ("NumPy: masked array", "numpy", lambda: np.ma.masked_array([1.0, 2.0], [False, True])),
    ("NumPy: big-endian", "numpy", lambda: np.zeros(3, ">f4")),
    ("NumPy: datetime64", "numpy", lambda: np.zeros(3, "M8[s]")),
    ("NumPy: objects", "numpy", lambda: np.array([None])),
    ("NumPy: a field of a packed record", "numpy", lambda: np.zeros(3, "i1, f4")["f1"]),
    ("PyTorch: requires grad", "torch", _torch(lambda torch: torch.zeros(3, requires_grad=True))),
    ("PyTorch: negative bit", "torch", _torch(lambda torch: torch.zeros(3, dtype=torch.complex64).conj().imag)),
    ("PyTorch: conjugate bit", "torch", _torch(lambda torch: torch.zeros(3, dtype=torch.complex64).conj())),
    ("PyTorch: sparse", "torch", _torch(lambda torch: torch.eye(3).to_sparse())),
    ("PyTorch: meta device", "torch", _torch(lambda torch: torch.empty(3, device="meta"))),
    ("Pillow: mode RGB", "pillow", _image("RGB")),
    ("Pillow: mode 1", "pillow", _image("1")),
    ("Pillow: mode P", "pillow", _image("P")),
    ("Pillow: mode I;16", "pillow", _image("I;16")),
    ("str", "", lambda: "text"),
    ("list", "", lambda: [1.0, 2.0]),
    ("JAX: key array", "jax", lambda: import_module("jax").random.key(0)),
    ("TensorFlow: Variable", "tensorflow-cpu", lambda: import_module("tensorflow").Variable([1.0, 2.0])),
    ("TensorFlow: strings", "tensorflow-cpu", lambda: import_module("tensorflow").constant(["text"])),
    ("Arrow: array with nulls", "pyarrow", _arrow(lambda pyarrow: pyarrow.array([1.0, None]))),
    ("Arrow: chunked array", "pyarrow", _arrow(lambda pyarrow: pyarrow.chunked_array([[1.0], [2.0]]))),
    ("Arrow: bool array", "pyarrow", _arrow(lambda pyarrow: pyarrow.array([True, False]))),
    ("Arrow: strings", "pyarrow", _arrow(lambda pyarrow: pyarrow.array(["text"]))),
    ("pandas: Series", "pandas", _pandas(lambda pandas: pandas.Series([1.0, 2.0]))),
    ("pandas: DataFrame", "pandas", _pandas(lambda pandas: pandas.DataFrame({"x": [1.0]}))),
    ("pandas: Int64 with NA", "pandas", _pandas(lambda pandas: pandas.Series([1, None], dtype="Int64"))),
    ("pandas: strings", "pandas", _pandas(lambda pandas: pandas.Series(["text"]))),
    ("OpenCV: UMat", "opencv-python-headless", lambda: import_module("cv2").UMat(np.zeros((2, 2), "uint8"))),
    ("SciPy: sparse matrix", "scipy", lambda: import_module("scipy.sparse").csr_matrix(np.eye(3))),
]
