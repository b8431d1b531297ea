"""From any producer to a `Tensor`, and on to NumPy and PyTorch: the same buffer, or an error that says why not."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import _library as library
from ._errors import InvalidArgumentError, NotAnArrayError, ReadOnlyError, UnavailableError, UnsupportedError
from ._tensor import HOST, Tensor

if TYPE_CHECKING:
    import numpy as np
    import torch

_NO_COPY = "copy=True is not handled here; copy before, for example numpy.array(x) or x.clone()"
# What numpy.from_dlpack understands; the rest has no NumPy type of the same name.
_NUMPY_KINDS = ("int", "uint", "float", "complex", "bool")
_MAX_NDIM = 64


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """The buffer of any DLPack producer (NumPy, PyTorch, JAX, ...) or DLPack capsule, as a `Tensor`.

    Never copies; the owner stays alive as long as the tensor or anything made from it. `device` may only name the
    device the data is on already, as a name (`"cpu"`) or a DLPack pair.

    >>> t = dlbridge.from_dlpack(numpy.zeros((480, 640, 3), "uint8"))
    >>> t[..., ::-1].strides
    (1920, 3, -1)
    """
    if copy:
        raise UnsupportedError(_NO_COPY)
    tensor = x if isinstance(x, Tensor) else _import(x)
    if device is not None and device not in (tensor.device, tensor.__dlpack_device__()):
        raise UnsupportedError(
            f"the data is on {tensor.device}, not on {device!r}; move it with the framework it came from"
        )
    return tensor


def _import(x: Any) -> Tensor:
    module = sys.modules.get("torch")
    if module is not None and isinstance(x, module.Tensor) and x.is_neg():
        # torch exports such a tensor with the wrong sign and says nothing.
        raise UnsupportedError("the tensor has its negative bit set; call x.resolve_neg() first")
    try:
        return Tensor._adopt(library.make(library.python_import, x))
    except InvalidArgumentError as refused:
        if hasattr(type(x), "__dlpack__") or type(x).__name__ == "PyCapsule":
            raise
        raise NotAnArrayError(str(refused)) from None


def to_numpy(x: Any, *, copy: bool | None = None) -> np.ndarray[Any, Any]:
    """A `numpy.ndarray` on the buffer of `x`; `copy=True` gives it memory of its own.

    A read-only source gives a read-only array. Refused, with the call that mends it: memory that the host cannot
    read, and dtypes that NumPy has no type for.
    """
    module = _framework("numpy")
    if isinstance(x, module.ndarray):
        return x.copy() if copy else x  # type: ignore[no-any-return]
    tensor = from_dlpack(x)
    if tensor.__dlpack_device__()[0] not in HOST:
        raise UnsupportedError(f"the data is on {tensor.device} and NumPy reads host memory; call x.cpu() first")
    if tensor.dtype.rstrip("0123456789") not in _NUMPY_KINDS:
        width = 8 * tensor.nbytes // tensor.size if tensor.size else 8
        raise UnsupportedError(
            f"NumPy has no {tensor.dtype}; take the bytes with "
            f'dlbridge.to_numpy(dlbridge.from_dlpack(x).view("uint{width}"))'
        )
    _check_ndim(tensor, "NumPy")
    array: np.ndarray[Any, Any] = module.from_dlpack(tensor)
    return array.copy() if copy else array


def to_torch(x: Any, *, copy: bool | None = None, readonly: str = "error") -> torch.Tensor:
    """A `torch.Tensor` on the buffer of `x`; `copy=True` gives it memory of its own.

    torch cannot represent read-only memory: a read-only source is refused (`readonly="error"`), copied (`"copy"`),
    or shared knowingly (`"alias"`: writing to the result is then undefined). torch has no negative strides either.
    """
    if readonly not in ("error", "copy", "alias"):
        raise InvalidArgumentError(f'readonly is {readonly!r}; pass "error", "copy" or "alias"')
    module = _framework("torch")
    if isinstance(x, module.Tensor):
        return x.clone() if copy else x  # type: ignore[no-any-return]
    tensor = from_dlpack(x)
    if tensor.readonly and not copy and readonly == "error":
        raise ReadOnlyError(
            "the source is read-only and torch cannot tell its users; "
            'pass readonly="copy" for memory of its own, or readonly="alias" to share it and never write'
        )
    for axis, stride in enumerate(tensor.strides):
        if stride < 0 and tensor.shape[axis] > 1:
            raise UnsupportedError(
                f"axis {axis} has the negative stride {stride}, which torch cannot represent; "
                "pass numpy.ascontiguousarray(x)"
            )
    _check_ndim(tensor, "torch")
    result: torch.Tensor = module.from_dlpack(tensor)
    return result.clone() if copy or (tensor.readonly and readonly == "copy") else result


def _check_ndim(tensor: Tensor, framework: str) -> None:
    if tensor.ndim > _MAX_NDIM:
        raise UnsupportedError(
            f"the tensor has {tensor.ndim} dimensions and {framework} takes {_MAX_NDIM}; reshape it first"
        )


def _framework(name: str) -> Any:
    if name not in sys.modules:
        try:
            __import__(name)
        except ImportError as missing:
            raise UnavailableError(f"{name} is not installed; run pip install {name}") from missing
    return sys.modules[name]
