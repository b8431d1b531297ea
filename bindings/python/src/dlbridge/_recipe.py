"""What is done to the arrays of a batch on their way into a slot: stacked, cast, turned, scaled, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ._errors import InvalidArgumentError
from ._library import native

_Like = tuple[tuple[int, ...], str]


class Recipe:
    """The options of `stack` for every array, or, where an option is a dict, for those that it names by their key."""

    def __init__(self, stack: Any, **options: Any) -> None:
        self.stack, self.options = stack, options

    def stacks(self, key: Any) -> bool:
        """Whether the list of this key is to become one array."""
        return bool(_of(self.stack, key))

    def chosen(self, key: Any) -> dict[str, Any]:
        """What `stack` is told for the array of this key; empty for a plain copy."""
        found = {name: _of(value, key) for name, value in self.options.items()}
        return {name: value for name, value in found.items() if value is not None}

    def prepare(self, array: Any, key: Any) -> tuple[Any, _Like, dict[str, Any] | None]:
        """The tensor, or the tensors to stack; what comes of them; and the options, None for a plain copy."""
        options = self.chosen(key)
        if self.stacks(key):
            rows: Sequence[Any] = tuple(native.from_dlpack(item) for item in array)
            if not rows:
                raise InvalidArgumentError("the list of arrays to stack is empty; leave such batches out")
        else:
            tensor = native.from_dlpack(array)
            if set(options) <= {"casting"}:
                return tensor, (tensor.shape, tensor.dtype), None
            if tensor.ndim == 0 or tensor.shape[0] == 0:
                raise InvalidArgumentError(f"a batch of shape {tensor.shape} has no rows to cast or turn; leave it out")
            rows = tuple(tensor)
        shape = rows[0].shape
        layout = options.get("layout")
        if layout is not None and len(shape) == 3:
            shape = (shape[2], shape[0], shape[1]) if layout == "CHW" else (shape[1], shape[2], shape[0])
        elif layout is not None and len(shape) == 2:
            shape = (1, *shape) if layout == "CHW" else (*shape, 1)
        return rows, ((len(rows), *shape), options.get("dtype") or rows[0].dtype), options


def _of(option: Any, key: Any) -> Any:
    return option.get(key) if isinstance(option, dict) else option
