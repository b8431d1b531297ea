# Builtins have the first words of their docs here, since editors find no others.

from collections.abc import Iterable, Iterator, Sequence
from types import EllipsisType
from typing import Any, Literal, NoReturn, SupportsFloat, SupportsIndex, TypeVar, final, overload

import numpy as np
import torch
from typing_extensions import CapsuleType

from ._compare import Comparison as Comparison, Difference as Difference, Worst as Worst
from ._copy import (
    get_num_threads as get_num_threads,
    set_num_threads as set_num_threads,
    simd_level as simd_level,
)
from ._errors import (
    ClosedError as ClosedError,
    CopyRequiredError as CopyRequiredError,
    DeviceError as DeviceError,
    Error as Error,
    InternalError as InternalError,
    InvalidArgumentError as InvalidArgumentError,
    InvalidTensorError as InvalidTensorError,
    LossyError as LossyError,
    NotAnArrayError as NotAnArrayError,
    OutOfMemoryError as OutOfMemoryError,
    OutOfRangeError as OutOfRangeError,
    ProducerError as ProducerError,
    ReadOnlyError as ReadOnlyError,
    TimedOutError as TimedOutError,
    UnavailableError as UnavailableError,
    UnsupportedError as UnsupportedError,
    WrongTypeError as WrongTypeError,
)
from ._explain import Explanation as Explanation, explain as explain
from ._frameworks import to as to
from ._future import Future as Future
from ._loss import LossReport as LossReport
from ._memory import (
    MemoryStats as MemoryStats,
    memory_limit as memory_limit,
    memory_stats as memory_stats,
    pin as pin,
    trim as trim,
)
from ._staging import Stager as Stager
from ._streams import Event as Event, Stream as Stream, cuda_available as cuda_available, devices as devices
from ._timeline import StagerStats as StagerStats

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

__version__: str

_Casting = Literal["same_kind", "same_value", "unsafe", "saturate"]
_Out = TypeVar("_Out")
_Layout = Literal["CHW", "HWC"] | None
_Numbers = SupportsFloat | Iterable[SupportsFloat] | None
_Order = Literal["C", "F", "A", "K"]
_Index = SupportsIndex | slice | EllipsisType | None

@final
class Tensor:
    """A buffer that somebody owns, described: address, shape, strides, dtype, device."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the dimensions."""
    @property
    def strides(self) -> tuple[int, ...]:
        """The steps along the dimensions, in elements (NumPy counts bytes)."""
    @property
    def ndim(self) -> int:
        """The number of dimensions."""
    @property
    def dtype(self) -> str:
        """The name of the element type, as NumPy and ml_dtypes write it."""
    @property
    def device(self) -> str:
        """Where the memory is: 'cpu', 'cuda:0'."""
    @property
    def data_ptr(self) -> int:
        """The address of the first element; 0 where there is none."""
    @property
    def size(self) -> int:
        """The number of elements."""
    @property
    def nbytes(self) -> int:
        """The bytes the elements fill when packed."""
    @property
    def copied(self) -> bool:
        """Whether the memory is a copy that was made for this tensor, or for the one it is a view of."""
    @property
    def itemsize(self) -> int:
        """The bytes of an element, rounded up: 1 for packed ones of 4 bits."""
    @property
    def readonly(self) -> bool:
        """Whether nobody may write to the memory through this tensor."""
    @property
    def contiguous(self) -> bool:
        """Whether the elements lie packed in row-major (C) order."""
    def __len__(self) -> int: ...
    def __copy__(self) -> Tensor: ...
    def __bool__(self) -> NoReturn: ...
    # Refused: no argument is of the type NoReturn. A result of that type would be no error, and hide those below.
    def __contains__(self, item: NoReturn) -> bool: ...
    def __setitem__(self, index: NoReturn, value: NoReturn) -> None: ...
    def __eq__(self, other: object) -> bool: ...
    def __hash__(self) -> int: ...
    def __iter__(self) -> Iterator[Tensor]: ...
    def __getitem__(self, index: _Index | tuple[_Index, ...]) -> Tensor: ...
    @overload
    def astype(self, dtype: Any, *, casting: _Casting = "same_kind", report: Literal[False] = False) -> Tensor:
        """The elements as another dtype, in a new row-major tensor: dlbridge.cast(self, dtype, ...)."""
    @overload
    def astype(
        self, dtype: Any, *, casting: _Casting = "same_kind", report: Literal[True]
    ) -> tuple[Tensor, LossReport]: ...
    def copy(self, *, order: _Order = "C") -> Tensor:
        """A tensor of its own with the same elements: dlbridge.copy(self)."""
    def view(self, dtype: Any) -> Tensor:
        """The same bytes as another dtype (spelled as for to_numpy)."""
    @overload
    def numpy(
        self,
        *,
        copy: bool | None = None,
        dtype: Any = None,
        casting: _Casting = "same_kind",
        report: Literal[False] = False,
    ) -> np.ndarray[Any, Any]:
        """A `numpy.ndarray` on the same memory: `dlbridge.to_numpy(self)`, with its keywords."""
    @overload
    def numpy(
        self,
        *,
        copy: bool | None = None,
        dtype: Any = None,
        casting: _Casting = "same_kind",
        report: Literal[True],
    ) -> tuple[np.ndarray[Any, Any], LossReport]: ...
    @overload
    def torch(
        self,
        *,
        copy: bool | None = None,
        readonly: Literal["error", "copy", "alias"] = "error",
        dtype: Any = None,
        device: Any = None,
        casting: _Casting = "same_kind",
        report: Literal[False] = False,
    ) -> torch.Tensor:
        """A `torch.Tensor` on the same memory: `dlbridge.to_torch(self)`, with its keywords."""
    @overload
    def torch(
        self,
        *,
        copy: bool | None = None,
        readonly: Literal["error", "copy", "alias"] = "error",
        dtype: Any = None,
        device: Any = None,
        casting: _Casting = "same_kind",
        report: Literal[True],
    ) -> tuple[torch.Tensor, LossReport]: ...
    def tolist(self) -> Any:
        """The elements as nested Python lists, as `numpy()` has them."""
    def item(self) -> Any:
        """The only element as a Python number."""
    def to(self, device: Any) -> Tensor:
        """The tensor on `device`: itself where it is there, else a copy under way."""
    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> CapsuleType: ...

    __dlpack_c_exchange_api__: CapsuleType

@overload
def cast(
    x: Any, /, dtype: Any, *, casting: _Casting = "same_kind", out: None = None, report: Literal[False] = False
) -> Tensor:
    """The elements of any array as another dtype: a new row-major Tensor, or `out`."""

@overload
def cast(
    x: Any, /, dtype: Any, *, casting: _Casting = "same_kind", out: None = None, report: Literal[True]
) -> tuple[Tensor, LossReport]: ...
@overload
def cast(
    x: Any, /, dtype: Any = None, *, casting: _Casting = "same_kind", out: _Out, report: Literal[False] = False
) -> _Out: ...
@overload
def cast(
    x: Any, /, dtype: Any = None, *, casting: _Casting = "same_kind", out: _Out, report: Literal[True]
) -> tuple[_Out, LossReport]: ...
@overload
def copy(x: Any, /, *, out: None = None, order: _Order = "C") -> Tensor:
    """A Tensor of its own with the elements of `x`, any producer; or `out`."""

@overload
def copy(x: Any, /, *, out: _Out, order: _Order = "C") -> _Out: ...
def empty(
    shape: SupportsIndex | Sequence[SupportsIndex], dtype: Any, *, device: Any = "cpu", pinned: bool = False
) -> Tensor:
    """A row-major Tensor on memory of its own: writable, its values anything."""

def empty_like(x: Any, /, *, dtype: Any = None, device: Any = None, pinned: bool = False) -> Tensor: ...
def zeros(
    shape: SupportsIndex | Sequence[SupportsIndex], dtype: Any, *, device: Any = "cpu", pinned: bool = False
) -> Tensor:
    """empty() with every byte 0."""

def zeros_like(x: Any, /, *, dtype: Any = None, device: Any = None, pinned: bool = False) -> Tensor: ...
@overload
def equal(
    a: Any, b: Any, /, *, equal_nan: bool = False, strict: bool = False, report: Literal[False] = False
) -> bool:
    """Whether two arrays, of any frameworks and dtypes, have one shape and the same values."""

@overload
def equal(
    a: Any, b: Any, /, *, equal_nan: bool = False, strict: bool = False, report: Literal[True]
) -> Comparison: ...
@overload
def allclose(
    a: Any,
    b: Any,
    /,
    *,
    rtol: SupportsFloat = 1e-05,
    atol: SupportsFloat = 1e-08,
    equal_nan: bool = False,
    report: Literal[False] = False,
) -> bool:
    """Whether |a - b| <= atol + rtol * |b| everywhere, for two arrays of any frameworks and dtypes."""

@overload
def allclose(
    a: Any,
    b: Any,
    /,
    *,
    rtol: SupportsFloat = 1e-05,
    atol: SupportsFloat = 1e-08,
    equal_nan: bool = False,
    report: Literal[True],
) -> Comparison: ...
def empty_pinned(shape: SupportsIndex | Sequence[SupportsIndex], dtype: Any) -> Tensor: ...
def zeros_pinned(shape: SupportsIndex | Sequence[SupportsIndex], dtype: Any) -> Tensor: ...
def empty_like_pinned(x: Any, /) -> Tensor: ...
@overload
def from_dlpack(
    x: Any,
    /,
    *,
    device: Any = None,
    copy: bool | None = None,
    dtype: Any = None,
    casting: _Casting = "same_kind",
    report: Literal[False] = False,
) -> Tensor:
    """The buffer of any DLPack producer (NumPy, PyTorch, JAX, ...) or DLPack capsule, as a Tensor."""

@overload
def from_dlpack(
    x: Any,
    /,
    *,
    device: Any = None,
    copy: bool | None = None,
    dtype: Any = None,
    casting: _Casting = "same_kind",
    report: Literal[True],
) -> tuple[Tensor, LossReport]: ...
@overload
def to_numpy(
    x: Any,
    /,
    *,
    copy: bool | None = None,
    dtype: Any = None,
    casting: _Casting = "same_kind",
    report: Literal[False] = False,
) -> np.ndarray[Any, Any]:
    """A numpy.ndarray on the buffer of `x`; copy=True gives it memory of its own."""

@overload
def to_numpy(
    x: Any,
    /,
    *,
    copy: bool | None = None,
    dtype: Any = None,
    casting: _Casting = "same_kind",
    report: Literal[True],
) -> tuple[np.ndarray[Any, Any], LossReport]: ...
@overload
def to_torch(
    x: Any,
    /,
    *,
    copy: bool | None = None,
    readonly: Literal["error", "copy", "alias"] = "error",
    dtype: Any = None,
    device: Any = None,
    casting: _Casting = "same_kind",
    report: Literal[False] = False,
) -> torch.Tensor:
    """A torch.Tensor on the buffer of `x`; copy=True gives it memory of its own."""

@overload
def to_torch(
    x: Any,
    /,
    *,
    copy: bool | None = None,
    readonly: Literal["error", "copy", "alias"] = "error",
    dtype: Any = None,
    device: Any = None,
    casting: _Casting = "same_kind",
    report: Literal[True],
) -> tuple[torch.Tensor, LossReport]: ...
@overload
def stack(
    arrays: Iterable[Any],
    /,
    *,
    out: None = None,
    dtype: Any = None,
    casting: _Casting = "same_kind",
    layout: _Layout = None,
    scale: _Numbers = None,
    bias: _Numbers = None,
    as_: None = None,
) -> Tensor:
    """Arrays of one shape, of any mix of frameworks, as one batch with a new first axis."""

@overload
def stack(
    arrays: Iterable[Any],
    /,
    *,
    out: _Out,
    dtype: Any = None,
    casting: _Casting = "same_kind",
    layout: _Layout = None,
    scale: _Numbers = None,
    bias: _Numbers = None,
    as_: None = None,
) -> _Out: ...
@overload
def stack(
    arrays: Iterable[Any],
    /,
    *,
    out: Any = None,
    dtype: Any = None,
    casting: _Casting = "same_kind",
    layout: _Layout = None,
    scale: _Numbers = None,
    bias: _Numbers = None,
    as_: Literal["numpy", "np"],
) -> np.ndarray[Any, Any]: ...
@overload
def stack(
    arrays: Iterable[Any],
    /,
    *,
    out: Any = None,
    dtype: Any = None,
    casting: _Casting = "same_kind",
    layout: _Layout = None,
    scale: _Numbers = None,
    bias: _Numbers = None,
    as_: Literal["torch", "pytorch"],
) -> torch.Tensor: ...
@overload
def stack(
    arrays: Iterable[Any],
    /,
    *,
    out: Any = None,
    dtype: Any = None,
    casting: _Casting = "same_kind",
    layout: _Layout = None,
    scale: _Numbers = None,
    bias: _Numbers = None,
    as_: Any,
) -> Any: ...
def upload(x: Any, /, device: Any = "cpu", *, stream: Stream | None = None) -> Tensor: ...
def download(x: Any, /, *, stream: Stream | None = None) -> Future: ...
def get_cmake_dir() -> str: ...
def get_include() -> str: ...
def get_library() -> str: ...
def live_tensors() -> int: ...
def live_exports() -> int: ...
