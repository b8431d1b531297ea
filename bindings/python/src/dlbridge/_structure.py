"""Batches as people write them: an array, or tuples, lists, dicts and dataclasses of them, taken apart and back."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from typing import Any, Callable

# What comes along as it is.
_PLAIN = (str, bytes, int, float, complex, bool, type(None))


class _Leaf:
    """Where an array was taken out."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index = index


_FIRST = _Leaf(0)


def take_apart(
    batch: Any, whole: Callable[[Any], bool], leaves: set[type]
) -> tuple[list[Any], list[str], list[Any], Any]:
    """The arrays of a batch, how each is reached in it, its key in the batch, and the rest, for `put_together`.

    A list is one array where `whole` says so of its key. `leaves` are types known to be arrays; it adds to them."""
    if type(batch) in leaves:
        return [batch], [""], [None], _FIRST
    arrays: list[Any] = []
    paths: list[str] = []
    keys: list[Any] = []

    def walk(x: Any, path: str, top: Any) -> Any:
        if type(x) not in leaves:
            if _is_named(x):
                named = zip(x._fields, x)
                return x._make([walk(y, f"{path}.{name}", top if path else name) for name, y in named])
            if isinstance(x, tuple) or (isinstance(x, list) and not whole(top)):
                items = [walk(y, f"{path}[{index}]", top if path else index) for index, y in enumerate(x)]
                return items if isinstance(x, list) else tuple(items)
            if isinstance(x, _PLAIN):
                return x
            if isinstance(x, Mapping):
                return {key: walk(y, f"{path}[{key!r}]", top if path else key) for key, y in x.items()}
            if dataclasses.is_dataclass(x) and not isinstance(x, type):
                return _changed(x, lambda name, y: walk(y, f"{path}.{name}", top if path else name))
            if not isinstance(x, list):
                leaves.add(type(x))
        arrays.append(x)
        paths.append(path)
        keys.append(top)
        return _Leaf(len(arrays) - 1)

    rest = walk(batch, "", None)
    return arrays, paths, keys, rest


def _is_named(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields")


def put_together(rest: Any, arrays: list[Any]) -> Any:
    """A batch like the one that was taken apart, with other arrays."""
    if isinstance(rest, _Leaf):
        return arrays[rest.index]
    if isinstance(rest, list):
        return [put_together(item, arrays) for item in rest]
    if _is_named(rest):
        return rest._make([put_together(item, arrays) for item in rest])
    if isinstance(rest, tuple):
        return tuple([put_together(item, arrays) for item in rest])
    if isinstance(rest, dict):
        return {key: put_together(value, arrays) for key, value in rest.items()}
    if dataclasses.is_dataclass(rest) and not isinstance(rest, type):
        return _changed(rest, lambda name, value: put_together(value, arrays))
    return rest


def _changed(x: Any, change: Callable[[str, Any], Any]) -> Any:
    """A dataclass with its fields changed; neither its constructor nor its checks are called."""
    made = copy.copy(x)
    for field in dataclasses.fields(x):
        if hasattr(x, field.name):
            object.__setattr__(made, field.name, change(field.name, getattr(x, field.name)))
    return made
