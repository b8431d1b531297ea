"""One buffer through NumPy, PyTorch, C, C++ and Rust, without a copy.

>>> import dlbridge, numpy as np
>>> a = np.arange(6.0)
>>> t = dlbridge.to_torch(a)              # a torch.Tensor on the memory of `a`
>>> dlbridge.to_numpy(t) is not a         # a new ndarray, on the same memory again
True

Importing this package imports neither NumPy nor torch.
"""

from ._copy import get_num_threads, set_num_threads, simd_level
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
)
from ._explain import Explanation, explain, to
from ._library import get_cmake_dir, get_include, get_library, live_exports, live_tensors, native, version
from ._loss import LossReport
from ._memory import MemoryStats, memory_limit, memory_stats, trim
from ._streams import Event, Stream, cuda_available, devices, upload
from ._tensor import Tensor

cast = native.cast
copy = native.copy
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
    "LossReport",
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
    "__version__",
    "cast",
    "copy",
    "cuda_available",
    "devices",
    "empty",
    "explain",
    "from_dlpack",
    "get_cmake_dir",
    "get_include",
    "get_library",
    "get_num_threads",
    "live_exports",
    "live_tensors",
    "memory_limit",
    "memory_stats",
    "set_num_threads",
    "simd_level",
    "to",
    "to_numpy",
    "to_torch",
    "trim",
    "upload",
]
