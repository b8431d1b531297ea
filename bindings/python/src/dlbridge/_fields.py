"""Named tuples whose fields help() explains."""

from __future__ import annotations

import re
from typing import TypeVar

_Class = TypeVar("_Class")


def explained(tuples: type[_Class]) -> type[_Class]:
    """Has help() say of each field what the docs of the class do, in a line of "`field`: words"."""
    for name, words in re.findall(r"^ *`(\w+)`: (.+)$", tuples.__doc__ or "", re.MULTILINE):
        getattr(tuples, name).__doc__ = words
    return tuples
