"""One buffer through NumPy, PyTorch, C, C++ and Rust, without a copy.

>>> import dlbridge, numpy as np
>>> a = np.arange(6.0)
>>> t = dlbridge.to_torch(a)              # a torch.Tensor on the memory of `a`
>>> dlbridge.to_numpy(t) is not a         # a new ndarray, on the same memory again
True

Importing this package imports neither NumPy nor torch.
"""

from ._errors import (
    ClosedError,
    CopyRequiredError,
    DeviceError,
    Error,
    InternalError,
    InvalidArgumentError,
    InvalidTensorError,
    LossyError,
    NotAnArrayError,
    OutOfMemoryError,
    OutOfRangeError,
    ProducerError,
    ReadOnlyError,
    TimedOutError,
    UnavailableError,
    UnsupportedError,
    WrongTypeError,
)
from ._explain import Explanation, explain, to
from ._library import get_cmake_dir, get_include, get_library, live_exports, live_tensors, native, version
from ._memory import MemoryStats, memory_limit, memory_stats, trim
from ._streams import Event, Stream, cuda_available, devices, upload
from ._tensor import Tensor

empty = native.empty
from_dlpack = native.from_dlpack
to_numpy = native.to_numpy
to_torch = native.to_torch

__version__ = version()

__all__ = [
    "ClosedError",
    "CopyRequiredError",
    "DeviceError",
    "Error",
    "Event",
    "Explanation",
    "InternalError",
    "InvalidArgumentError",
    "InvalidTensorError",
    "LossyError",
    "MemoryStats",
    "NotAnArrayError",
    "OutOfMemoryError",
    "OutOfRangeError",
    "ProducerError",
    "ReadOnlyError",
    "Stream",
    "Tensor",
    "TimedOutError",
    "UnavailableError",
    "UnsupportedError",
    "WrongTypeError",
    "__version__",
    "cuda_available",
    "devices",
    "empty",
    "explain",
    "from_dlpack",
    "get_cmake_dir",
    "get_include",
    "get_library",
    "live_exports",
    "live_tensors",
    "memory_limit",
    "memory_stats",
    "to",
    "to_numpy",
    "to_torch",
    "trim",
    "upload",
]
