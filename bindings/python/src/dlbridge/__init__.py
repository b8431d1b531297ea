"""One buffer through NumPy, PyTorch, C, C++ and Rust, without a copy.

>>> import dlbridge, numpy as np
>>> a = np.arange(6.0)
>>> t = dlbridge.to_torch(a)              # a torch.Tensor on the memory of `a`
>>> dlbridge.to_numpy(t) is not a         # a new ndarray, on the same memory again
True

Importing this package imports neither NumPy nor torch.
"""

from ._compare import Comparison, Difference, Worst
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
    WrongTypeError,
)
from ._explain import Explanation, explain
from ._frameworks import to
from ._future import Future, download
from ._library import (
    get_cmake_dir,
    get_include,
    get_library,
    live_exports,
    live_tensors,
    native as _native,
    version as _version,
)
from ._loss import LossReport
from ._memory import (
    MemoryStats,
    empty_like,
    empty_like_pinned,
    empty_pinned,
    memory_limit,
    memory_stats,
    pin,
    trim,
    zeros_like,
    zeros_pinned,
)
from ._staging import Stager
from ._streams import Event, Stream, cuda_available, devices, upload
from ._tensor import Tensor
from ._timeline import StagerStats

allclose = _native.allclose
cast = _native.cast
copy = _native.copy
empty = _native.empty
equal = _native.equal
from_dlpack = _native.from_dlpack
stack = _native.stack
to_numpy = _native.to_numpy
to_torch = _native.to_torch
zeros = _native.zeros

__version__ = _version()

__all__ = [
    "ClosedError",
    "Comparison",
    "CopyRequiredError",
    "DeviceError",
    "Difference",
    "Error",
    "Event",
    "Explanation",
    "Future",
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
    "Stager",
    "StagerStats",
    "Stream",
    "Tensor",
    "TimedOutError",
    "UnavailableError",
    "UnsupportedError",
    "Worst",
    "WrongTypeError",
    "__version__",
    "allclose",
    "cast",
    "copy",
    "cuda_available",
    "devices",
    "download",
    "empty",
    "empty_like",
    "empty_like_pinned",
    "empty_pinned",
    "equal",
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
    "pin",
    "set_num_threads",
    "simd_level",
    "stack",
    "to",
    "to_numpy",
    "to_torch",
    "trim",
    "upload",
    "zeros",
    "zeros_like",
    "zeros_pinned",
]
