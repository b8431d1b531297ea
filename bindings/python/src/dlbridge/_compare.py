"""What `equal` and `allclose` report."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._fields import explained


@explained
class Difference(NamedTuple):
    """Two elements of one index.

    `index`: Where, in the shape that both broadcast to.
    `a`: The value there in the first array: a bool, int, float or complex.
    `b`: That in the second.
    """

    index: tuple[int, ...]  # type: ignore[assignment]
    a: Any
    b: Any


@explained
class Worst(NamedTuple):
    """The largest error of a kind.

    `error`: |a - b|, or that divided by |b|.
    `index`: Where it is first reached.
    `a`: The value there in the first array.
    `b`: That in the second.
    """

    error: float
    index: tuple[int, ...]  # type: ignore[assignment]
    a: Any
    b: Any


class Comparison:
    """What a comparison with `report=True` found: true where all is equal (or close), and in words when printed."""

    __slots__ = {  # with what help() says of each
        "absolute": "The largest |a - b| of all pairs, where one is above 0. NaN does not take part.",
        "compared": "Pairs of elements that were compared.",
        "differing": "Those that do not count as one.",
        "dtypes": "Both dtypes.",
        "equal": "The answer.",
        "first": "The first of those, in row-major order.",
        "relative": "The largest |a - b| / |b|.",
        "shapes": "Both shapes. Where `equal` finds that they differ, no element is looked at.",
        "words": "All that in a sentence.",
    }

    equal: bool
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    dtypes: tuple[str, str]
    compared: int
    differing: int
    first: Difference | None
    absolute: Worst | None
    relative: Worst | None
    words: str

    def __init__(self, fields: tuple[Any, ...]) -> None:
        (
            self.equal,
            self.shapes,
            self.dtypes,
            self.compared,
            self.differing,
            first,
            absolute,
            relative,
            self.words,
        ) = fields
        self.first = first and Difference(*first)
        self.absolute = absolute and Worst(*absolute)
        self.relative = relative and Worst(*relative)

    def __bool__(self) -> bool:
        return self.equal

    def __str__(self) -> str:
        return self.words

    def __repr__(self) -> str:
        return f"<dlbridge.Comparison: {self.words}>"


for _class in (Difference, Worst, Comparison):
    _class.__module__ = "dlbridge"
