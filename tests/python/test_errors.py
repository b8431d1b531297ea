"""Whatever dlbridge refuses is a `dlbridge.Error`, and the built-in that a caller would catch anyway."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import dlbridge

array = np.arange(6.0)
tensor = dlbridge.from_dlpack(array)
wait = dlbridge.Stream().record().wait

# What is called with an argument of a type that means nothing there, and what it says.
WRONG_TYPES: dict[str, tuple[Callable[[], Any], str]] = {
    "memory_limit(None)": (lambda: dlbridge.memory_limit(None), "cached is None; pass a number of bytes"),
    "trim('x')": (lambda: dlbridge.trim("x"), "keep is 'x'; pass a number of bytes"),
    "trim(1.5)": (lambda: dlbridge.trim(1.5), "keep is 1.5; pass a number of bytes"),
    "wait('x')": (lambda: wait("x"), "timeout is 'x'; pass seconds, or None"),
    "wait(nan)": (lambda: wait(float("nan")), "timeout is nan; pass seconds, or None"),
    "wait([])": (lambda: wait([]), r"timeout is \[\]; pass seconds, or None"),
    "empty(None)": (
        lambda: dlbridge.empty(None, "f4"),
        "in shape, None is no integer.*; pass an integer, or several",
    ),
    "empty('ab')": (lambda: dlbridge.empty("ab", "f4"), "in shape, a is no integer.*; pass an integer, or several"),
    "empty((2, 1.5))": (lambda: dlbridge.empty((2, 1.5), "f4"), "in shape, 1.5 is no integer"),
    "empty(2**70)": (
        lambda: dlbridge.empty(1 << 70, "f4"),
        "in shape, 1180591620717411303424 is no integer that fits",
    ),
    "empty(foo=)": (lambda: dlbridge.empty(2, "f4", foo=1), "unexpected keyword argument 'foo'"),
    "to_numpy(copy='x')": (lambda: dlbridge.to_numpy(array, copy="x"), 'copy is "x"; pass True, False or None'),
    "to_torch(copy=1)": (lambda: dlbridge.to_torch(array, copy=1), 'copy is "1"; pass True, False or None'),
    "from_dlpack(copy='')": (lambda: dlbridge.from_dlpack(array, copy=""), 'copy is ""; pass True, False or None'),
    "from_dlpack([1])": (lambda: dlbridge.from_dlpack([1]), "list"),
    "t['x']": (lambda: tensor["x"], "an index is a str; pass integers, slices"),
    "t[1.5:]": (lambda: tensor[1.5:], "slice.* cannot be used .*; pass integers or None"),
    "t[::0]": (lambda: tensor[::0], "slice.* cannot be used .*; pass integers or None, and a step other than 0"),
    "len": (lambda: len(tensor[0]), "0-d tensor has no len"),
    "iter": (lambda: iter(tensor[0]), "0-d tensor cannot be iterated"),
    "bool": (lambda: bool(tensor), "neither true nor false"),
    "in": (lambda: 1 in tensor, "x in tensor.numpy"),
    "Tensor()": (lambda: dlbridge.Tensor(), "call dlbridge.from_dlpack"),
    "Event()": (lambda: dlbridge.Event(), "call stream.record"),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_an_argument_of_a_wrong_type_is_an_error_of_ours_and_a_type_error(name: str) -> None:
    call, words = WRONG_TYPES[name]
    with pytest.raises(dlbridge.Error, match=words) as caught:
        call()
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, dlbridge.InvalidArgumentError)


def test_numbers_of_numpy_and_infinite_patience_are_arguments() -> None:
    assert dlbridge.to_numpy(array, copy=np.True_).ctypes.data != array.ctypes.data
    assert dlbridge.to_numpy(array, copy=np.False_) is array
    assert dlbridge.empty(np.int64(3), "f4").shape == (3,)
    dlbridge.trim(np.int64(1 << 62))
    for timeout in (np.float32(1), 1, True, float("inf")):
        wait(timeout)


def test_every_error_derives_from_error_and_from_a_builtin() -> None:
    errors = [each for name in dlbridge.__all__ if name.endswith("Error") and (each := getattr(dlbridge, name))]
    assert len(errors) == 17
    for error in errors:
        assert issubclass(error, dlbridge.Error)
        builtins = [base for base in error.__mro__ if base.__module__ == "builtins"]
        assert error is dlbridge.Error or builtins[0] is not Exception, error
