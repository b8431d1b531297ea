"""What is done to the arrays of a batch on their way into a slot: stacked, cast, turned, scaled, in one pass."""

from __future__ import annotations

from typing import Any

from ._errors import InvalidArgumentError
from ._library import native

_Like = tuple[tuple[int, ...], str]
_CASTINGS = ("same_kind", "same_value", "unsafe", "saturate")


class Recipe:
    """The options of `stack` for every array; or, where one is a dict, for those that it names by their key."""

    def __init__(self, stack: Any, **options: Any) -> None:
        self.stack = stack
        self.options = {name: value for name, value in options.items() if value is not None}
        casting = self.options.get("casting")
        for given in casting.values() if isinstance(casting, dict) else [casting]:
            if given is not None and given not in _CASTINGS:
                raise InvalidArgumentError(f"casting is {given!r}; pass one of {', '.join(map(repr, _CASTINGS))}")

    def check(self, keys: list[Any]) -> None:
        """Refuses options for arrays that the batch, whose arrays have these keys, does not have."""
        for name, option in {"stack": self.stack, **self.options}.items():
            unknown = [key for key in option if key not in keys] if isinstance(option, dict) else []
            if unknown:
                have = ", ".join(repr(key) for key in dict.fromkeys(keys))
                has = f"the arrays {have}" if keys != [None] else "one array and no keys"
                raise InvalidArgumentError(f"{name} names {unknown[0]!r}, and batch 0 has {has}; pass those alone")

    def stacks(self, key: Any) -> bool:
        """Whether the list of this key is to become one array."""
        return bool(_of(self.stack, key))

    def chosen(self, key: Any) -> dict[str, Any]:
        """What `stack` is told for the array of this key; empty for a plain copy."""
        if not self.options:
            return {}
        found = {name: _of(value, key) for name, value in self.options.items()}
        return {name: value for name, value in found.items() if value is not None}

    def prepare(self, array: Any, key: Any) -> tuple[Any, _Like, dict[str, Any] | None]:
        """The tensor, or the tensors to stack; what comes of them; and the options, None for a plain copy."""
        options = self.chosen(key)
        rows: tuple[Any, ...]
        if self.stacks(key):
            rows = tuple(native.from_dlpack(item) for item in array)
            if not rows:
                raise InvalidArgumentError("the list of arrays to stack is empty; leave such batches out")
        else:
            tensor = native.from_dlpack(array)
            if not options or set(options) == {"casting"}:
                return tensor, (tensor.shape, tensor.dtype), None
            if options.get("layout") is None:
                # In one piece, as the one array of a stack.
                return (tensor,), (tensor.shape, options.get("dtype") or tensor.dtype), options
            if tensor.ndim == 0 or tensor.shape[0] == 0:
                raise InvalidArgumentError(f"a batch of shape {tensor.shape} has no pictures to turn; leave it out")
            rows = tuple(tensor)
        shape = (len(rows), *_turned(rows[0].shape, options.get("layout")))
        return rows, (shape, options.get("dtype") or rows[0].dtype), options

    def write(self, rows: tuple[Any, ...], options: dict[str, Any], place: Any) -> None:
        """Does it: into the tensor of a slot."""
        native.stack(rows, out=place._unsqueeze(0) if place.ndim == rows[0].ndim else place, **options)


def _turned(shape: tuple[int, ...], layout: Any) -> tuple[int, ...]:
    """The shape of a picture in a layout; what is no picture is for `stack` to refuse."""
    if layout is not None and len(shape) == 2:
        return (1, *shape) if layout == "CHW" else (*shape, 1)
    if layout is not None and len(shape) == 3:
        return (shape[2], *shape[:2]) if layout == "CHW" else (*shape[1:], shape[0])
    return shape


def _of(option: Any, key: Any) -> Any:
    return option.get(key) if isinstance(option, dict) else option
