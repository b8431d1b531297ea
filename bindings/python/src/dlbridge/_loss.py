"""What a cast changed."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._fields import explained


@explained
class LossReport(NamedTuple):
    """What a cast changed. Printed, it is a table.

    Every changed element is counted once, as the first of these that is true of it: `nan`, `overflow`, `underflow`,
    `inexact`. A fraction that is cut off on the way to integers is inexact.

    `elements`: How many elements were cast.
    `inexact`: Rounded, cut off, or without their imaginary part, whatever it was.
    `overflow`: Beyond the range of the target: now infinite, NaN, wrapped around or clamped.
    `underflow`: Not zero, and zero in a floating-point target.
    `nan`: NaN that the target cannot say.
    `max_absolute_error`: The largest distance between a value and what became of it, where both are finite.
    `max_relative_error`: The largest such distance in units of the value.
    `first_index`: Where the first changed element is, in row-major order; None where nothing changed.
    `first_value`: Its value.
    `first_result`: What became of it.
    """

    elements: int
    inexact: int
    overflow: int
    underflow: int
    nan: int
    max_absolute_error: float
    max_relative_error: float
    first_index: tuple[int, ...] | None
    first_value: bool | int | float | complex | None
    first_result: bool | int | float | complex | None

    @property
    def lost(self) -> int:
        """How many elements changed."""
        return self.inexact + self.overflow + self.underflow + self.nan

    def __str__(self) -> str:
        rows = [("elements", f"{self.elements:,}"), ("changed", self._share(self.lost))]
        for name in ("inexact", "overflow", "underflow", "nan"):
            rows.append((f"  {name}", self._share(getattr(self, name))))
        # What became infinite or NaN is at no distance that could be said.
        finite = " (where finite)" if self.overflow + self.nan else ""
        rows.append(("max absolute error", f"{self.max_absolute_error:.6g}{finite}"))
        rows.append(("max relative error", f"{self.max_relative_error:.6g}{finite}"))
        if self.first_index is not None:
            rows.append(("first at", ", ".join(map(str, self.first_index)) or "()"))
            rows.append(("  value", repr(self.first_value)))
            rows.append(("  result", repr(self.first_result)))
        width = max(len(name) for name, _ in rows)
        return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)

    def _share(self, count: int) -> str:
        share = f" ({count / self.elements:.3%})" if count else ""
        return f"{count:,}{share}"


LossReport.__module__ = "dlbridge"  # where users import it from


def read(numbers: tuple[int, ...], text: str) -> LossReport:
    """As the library spells it: five counts and the index; the two errors, the value and the result."""
    elements, inexact, overflow, underflow, nan, *index = numbers
    absolute, relative, *values = text.split(" ")
    first = (tuple(index), *map(_number, values)) if values else (None, None, None)
    return LossReport(elements, inexact, overflow, underflow, nan, float(absolute), float(relative), *first)


def _number(text: str) -> Any:
    """A number as Python writes it."""
    if text in ("True", "False"):
        return text == "True"
    if text.endswith(")"):
        return complex(text)
    return int(text) if text.lstrip("-").isdecimal() else float(text)
