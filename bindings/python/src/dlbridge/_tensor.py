"""What `Tensor` can do beyond the native type: indexing, printing, NumPy's protocol."""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Iterator
from typing import Any

from ._errors import InvalidArgumentError, OutOfRangeError, UnsupportedError, WrongTypeError
from ._library import native

Tensor = native.Tensor


def _len(self: Any) -> int:
    """The size of the first dimension."""
    if self.ndim == 0:
        raise WrongTypeError("a 0-d tensor has no len(); its only element is tensor.item()")
    return int(self.shape[0])


def _bool(self: Any) -> bool:
    """Refused: neither "is there a tensor" nor "is an element true" goes without saying."""
    raise WrongTypeError("a tensor is neither true nor false; write `x is not None`, or tensor.numpy().any()")


def _iter(self: Any) -> Iterator[Any]:
    """The views along the first dimension."""
    if self.ndim == 0:
        raise WrongTypeError("a 0-d tensor cannot be iterated; its only element is tensor.item()")
    return (self._select(0, index) for index in range(self.shape[0]))


def _getitem(self: Any, index: Any) -> Any:
    """A view, as NumPy's basic indexing makes it: never a copy, never a scalar.

    An integer, negative ones from the end, takes its axis away; `t[0, 0]` of two axes is a 0-d tensor, whose
    element is `.item()`. What has `__index__` is one: NumPy's integers, 0-d arrays. A slice keeps its axis: bounds
    outside are clamped, the step is any but 0. `...` stands for as many `:` as are left, once; `None`
    (`numpy.newaxis`) puts an axis of size 1 there; axes that are not named stay whole.

    A negative step makes a negative stride: such a view reaches torch through `dlbridge.to_torch(view, copy=True)`;
    `torch.from_dlpack(view)` aborts the process, whoever made it.

    Refused: lists, arrays, masks and bools, whose results would be copies (`WrongTypeError`; `t.numpy()[...]`
    makes them), integers outside and more of them than axes (`OutOfRangeError`, an `IndexError`), a step of 0 and a
    second `...` (`InvalidArgumentError`, a `ValueError`).

    >>> t = dlbridge.from_dlpack(numpy.zeros((480, 640, 3), 'uint8'))
    >>> t[0].shape, t[-1, 2:5].shape, t[..., ::-1].strides, t[None, 1:3].shape
    ((640, 3), (3, 3), (1920, 3, -1), (1, 2, 640, 3))
    """
    items = index if isinstance(index, tuple) else (index,)
    kinds = [_kind(item) for item in items]
    named = kinds.count("integer") + kinds.count("slice")
    if named > self.ndim:
        raise OutOfRangeError(f"{named} indices for a tensor of {self.ndim} dimensions; pass at most {self.ndim}")
    if kinds.count("...") > 1:
        raise InvalidArgumentError("an index can hold only one '...'; write ':' for single axes")
    result, axis = self, 0
    for item, kind in zip(items, kinds):
        if kind == "...":
            axis += self.ndim - named
        elif kind == "new axis":
            result, axis = result._unsqueeze(axis), axis + 1
        elif kind == "slice":
            result, axis = _sliced(result, axis, item), axis + 1
        else:
            position, extent = item.__index__(), result.shape[axis]
            if not -extent <= position < extent:
                which = f"pass {-extent} to {extent - 1}" if extent else "slice it instead"
                raise OutOfRangeError(f"index {position} is outside axis {axis} of size {extent}; {which}")
            result = result._select(axis, position)
    return result


def _setitem(self: Any, index: Any, value: Any) -> None:
    """Refused: elements are written by `dlbridge.copy`, or through an array on the same memory."""
    place = index if isinstance(index, int) else "..."
    raise WrongTypeError(
        f"a tensor takes no assignment; call dlbridge.copy(x, out=t[{place}]) with an array like that, "
        f"or write t.numpy()[{place}] = x"
    )


def _sliced(tensor: Any, axis: int, item: slice) -> Any:
    """One axis sliced. Bounds come from `slice.indices`, where -1 is no longer the last element."""
    size = tensor.shape[axis]
    try:
        start, stop, step = item.indices(size)
    except (TypeError, ValueError) as error:
        words = f"{item} cannot be used ({error}); pass integers or None, and a step other than 0"
        raise (WrongTypeError if isinstance(error, TypeError) else InvalidArgumentError)(words) from None
    step = max(-size - 1, min(step, size + 1))  # a longer one does the same, and need not fit 64 bits
    if not range(start, stop, step):
        start = stop = 0
    # Beyond the first element, going backwards, there is only None to say so.
    return tensor._slice(axis, start, None if stop < 0 else stop, step)


def _kind(item: Any) -> str:
    """What an item of an index asks for."""
    if item is None:
        return "new axis"
    if item is Ellipsis:
        return "..."
    if isinstance(item, slice):
        return "slice"
    if hasattr(type(item), "__index__") and not isinstance(item, bool) and getattr(item, "ndim", 0) == 0:
        return "integer"
    raise WrongTypeError(
        f"index {reprlib.repr(item)} is of type {type(item).__name__}; pass integers, slices, '...' or None "
        "(lists, masks and arrays of indices make copies: use tensor.numpy()[...])"
    )


def _eq(self: Any, other: Any) -> Any:
    """Refused beside other arrays, numbers and sequences: NumPy and torch compare elements, and this library has no
    elementwise operations. A tensor is equal to itself, by which it also hashes, and to nothing else: so sets, the
    keys of dicts, weak ones too, and `in` where it is found itself work.
    """
    if self is other:
        return True
    array = any(hasattr(type(other), name) for name in ("__dlpack__", "__array__", "__array_interface__"))
    if array or isinstance(other, (numbers.Number, list, tuple)):
        raise WrongTypeError(
            "a Tensor has no == beside arrays; write dlbridge.equal(a, b) for one answer, "
            "tensor.numpy() == other for one of each element, or `is` for the same object"
        )
    return NotImplemented


def _contains(self: Any, item: Any) -> bool:
    """Refused: it would compare elements, which this library does not do."""
    raise WrongTypeError("a tensor is not searched for elements; write `x in tensor.numpy()`")


def _copy(self: Any) -> Any:
    """The tensor itself: the description never changes, and `copy.copy` shares what it refers to."""
    return self


def _reduce(self: Any) -> Any:
    raise WrongTypeError(
        "a tensor shares memory and can be neither pickled nor deep-copied; "
        "pickle tensor.numpy(), or call tensor.copy()"
    )


def _numpy(self: Any, **keywords: Any) -> Any:
    """A `numpy.ndarray` on the same memory: `dlbridge.to_numpy(self)`, with its keywords."""
    return native.to_numpy(self, **keywords)


def _torch(self: Any, **keywords: Any) -> Any:
    """A `torch.Tensor` on the same memory: `dlbridge.to_torch(self)`, with its keywords."""
    return native.to_torch(self, **keywords)


def _tolist(self: Any) -> Any:
    """The elements as nested Python lists, as `numpy()` has them."""
    return native.to_numpy(self).tolist()


def _item(self: Any) -> Any:
    """The only element as a Python number."""
    if self.size != 1:
        raise InvalidArgumentError(
            f"a tensor of {self.size} elements has no only one; select one, or call tolist()"
        )
    return native.to_numpy(self).item()


def _to(self: Any, device: Any) -> Any:
    """The tensor on `device`: itself where it is there, else a copy under way, which whoever reaches its elements
    waits for.

    `t.to("cpu")` of pinned memory is the same memory, as plain memory of the host. A copy counts as one transfer
    in `memory_stats`. For an array of a framework see `dlbridge.to`.
    """
    return native.from_dlpack(self, device=device)


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
    "__bool__": _bool,
    "__iter__": _iter,
    "__contains__": _contains,
    "__eq__": _eq,
    "__copy__": _copy,
    "__reduce__": _reduce,
    "__getitem__": _getitem,
    "__setitem__": _setitem,
    "__array__": _array,
    "__repr__": _repr,
    "numpy": _numpy,
    "to": _to,
    "torch": _torch,
    "tolist": _tolist,
    "item": _item,
}.items():
    _method.__name__, _method.__qualname__ = _name, f"Tensor.{_name}"
    setattr(Tensor, _name, _method)
