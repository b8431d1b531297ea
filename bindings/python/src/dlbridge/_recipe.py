"""What is done to the arrays of a batch on their way into a slot: stacked, cast, turned, scaled, in one pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ._errors import InvalidArgumentError, WrongTypeError
from ._library import native

_Like = tuple[tuple[int, ...], str]
_LAYOUTS = ("CHW", "HWC")
_CASTINGS = ("same_kind", "same_value", "unsafe", "saturate")


class Recipe:
    """The options of `stack` for every array; or, where one is a dict, for those that it names by their key."""

    def __init__(self, stack: Any, **options: Any) -> None:
        self.stack = stack
        for key, value in _each(stack):
            if not isinstance(value, bool):
                raise WrongTypeError(f"{_place('stack', key)} is {value!r}; pass True or False")
        given = {name: value for name, value in options.items() if value is not None}
        self.options = {name: _checked(name, value) for name, value in given.items()}

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
            rows = tuple(_row(item) for item in array)
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


def _row(item: Any) -> Any:
    """One of a list to stack: an array. Lists of samples are what people have instead."""
    if isinstance(item, (tuple, Mapping)):
        kind = "dicts" if isinstance(item, Mapping) else "tuples"
        lists = "{'image': [images], 'label': [labels]}" if kind == "dicts" else "([images], [labels])"
        raise WrongTypeError(f"a list to stack holds {kind}, not arrays; yield a list for each part: {lists}")
    return native.from_dlpack(item)


def _checked(name: str, option: Any) -> Any:
    """An option that means something, whatever the arrays; numbers that can be read once only are kept."""
    if isinstance(option, dict):
        return {key: value if value is None else _value(name, key, value) for key, value in option.items()}
    return _value(name, None, option)


def _value(name: str, key: Any, value: Any) -> Any:
    place = _place(name, key)
    if name == "dtype":
        try:
            native.empty(0, value)
        except InvalidArgumentError as error:
            raise type(error)(f"{place}: {error}") from None
    elif name in ("scale", "bias"):
        value = _numbers(place, value)
    else:
        known = _CASTINGS if name == "casting" else _LAYOUTS
        if not (isinstance(value, str) and value in known):
            wrong = InvalidArgumentError if isinstance(value, str) else WrongTypeError
            raise wrong(f"{place} is {value!r}; pass one of {', '.join(map(repr, known))}")
    return value


def _numbers(place: str, value: Any) -> Any:
    several = isinstance(value, Iterable) and not isinstance(value, str) and getattr(value, "ndim", 1) > 0
    values = list(value) if several else [value]
    try:
        if any(isinstance(each, str) for each in values):  # of which float() reads some
            raise TypeError
        read = [float(each) for each in values]
    except (TypeError, ValueError, OverflowError):
        raise WrongTypeError(f"{place} is {value!r}; pass a number, or one for each channel") from None
    return read if several else read[0]


def _each(option: Any) -> Iterable[tuple[Any, Any]]:
    return option.items() if isinstance(option, dict) else [(None, option)]


def _place(name: str, key: Any) -> str:
    return name if key is None else f"{name}[{key!r}]"


def _turned(shape: tuple[int, ...], layout: Any) -> tuple[int, ...]:
    """The shape of a picture in a layout; what is no picture is for `stack` to refuse."""
    if layout is not None and len(shape) == 2:
        return (1, *shape) if layout == "CHW" else (*shape, 1)
    if layout is not None and len(shape) == 3:
        return (shape[2], *shape[:2]) if layout == "CHW" else (*shape[1:], shape[0])
    return shape


def _of(option: Any, key: Any) -> Any:
    return option.get(key) if isinstance(option, dict) else option
