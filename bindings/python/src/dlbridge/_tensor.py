"""What `Tensor` can do beyond the native type: indexing, printing, NumPy's protocol."""

from __future__ import annotations

from typing import Any

from ._errors import InvalidArgumentError, UnsupportedError
from ._library import native

Tensor = native.Tensor


def _len(self: Any) -> int:
    if self.ndim == 0:
        raise TypeError("a 0-d tensor has no len(); its only element is tensor.numpy()[()]")
    return int(self.shape[0])


def _getitem(self: Any, index: Any) -> Any:
    """A view: integers, slices with any step, `...` and `None`, as in NumPy's basic indexing."""
    items = index if isinstance(index, tuple) else (index,)
    named = sum(item is not None and item is not Ellipsis for item in items)
    if items.count(Ellipsis) > 1:
        raise InvalidArgumentError("an index can hold only one '...'; write ':' for single axes")
    result, axis = self, 0
    for item in items:
        if item is Ellipsis:
            axis += self.ndim - named
        elif item is None:
            result, axis = result._unsqueeze(axis), axis + 1
        elif isinstance(item, slice):
            step = 1 if item.step is None else item.step
            result, axis = result._slice(axis, item.start, item.stop, step), axis + 1
        else:
            result = result._select(axis, item.__index__())
    return result


def _numpy(self: Any) -> Any:
    """A `numpy.ndarray` on the same memory: `dlbridge.to_numpy(self)`."""
    return native.to_numpy(self)


def _torch(self: Any) -> Any:
    """A `torch.Tensor` on the same memory: `dlbridge.to_torch(self)`."""
    return native.to_torch(self)


def _array(self: Any, dtype: Any = None, copy: bool | None = None) -> Any:
    """For `numpy.asarray(tensor)` (shares) and `numpy.array(tensor)` (copies)."""
    array = native.to_numpy(self)
    if dtype is not None and array.dtype != dtype:
        if copy is False:
            raise UnsupportedError(
                f"{array.dtype} cannot become {dtype} without a copy; drop copy=False, or drop dtype"
            )
        return array.astype(dtype)
    return array.copy() if copy else array


def _repr(self: Any) -> str:
    readonly = ", read-only" if self.readonly else ""
    return f"dlbridge.Tensor(shape={self.shape}, dtype={self.dtype}, device={self.device}{readonly})"


for _name, _method in {
    "__len__": _len,
    "__getitem__": _getitem,
    "__array__": _array,
    "__repr__": _repr,
    "numpy": _numpy,
    "torch": _torch,
}.items():
    _method.__name__, _method.__qualname__ = _name, f"Tensor.{_name}"
    setattr(Tensor, _name, _method)
