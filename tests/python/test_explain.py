"""`explain` and `to`: told beforehand, and by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import dlbridge

REVERSED = np.zeros((2, 3))[:, ::-1]


def read_only() -> np.ndarray[Any, Any]:
    array = np.zeros(4)
    array.flags.writeable = False
    return array


CASES: list[tuple[Any, str, bool, int, str]] = [
    (np.zeros((2, 3)), "torch", True, 0, ""),
    (torch.zeros(2, 3), "numpy", True, 0, ""),
    (REVERSED, "numpy", True, 0, ""),
    (REVERSED, "torch", False, 48, "ascontiguousarray"),
    (read_only(), "torch", False, 32, "readonly="),
    (read_only(), "numpy", True, 0, ""),
    (torch.zeros(2, requires_grad=True), "numpy", False, 0, "detach"),
    (torch.zeros(2, dtype=torch.complex64).conj(), "numpy", False, 16, "resolve_conj"),
    (np.zeros(3, ">i4"), "torch", False, 12, "newbyteorder"),
    (np.zeros(9, "u1")[1:], "jax", False, 8, "allocate"),
]


@pytest.mark.parametrize(("source", "framework", "zero_copy", "nbytes", "change"), CASES)
def test_explain_says_what_would_happen(
    source: Any, framework: str, zero_copy: bool, nbytes: int, change: str
) -> None:
    told = dlbridge.explain(source, framework)
    assert (told.framework, told.zero_copy, told.nbytes) == (framework, zero_copy, nbytes)
    assert change in told.change
    assert told.reason


def test_explain_prints_as_a_table() -> None:
    assert str(dlbridge.explain(REVERSED, torch)).splitlines() == [
        "to             torch",
        "zero-copy      no",
        "why            axis 1 has the negative stride -1, which torch cannot represent",
        "bytes to move  48",
        "change         pass copy=True, or numpy.ascontiguousarray(x)",
        "copy           reversed, 1 pass, 1 thread",
    ]


def test_explain_tells_how_a_copy_would_be_made() -> None:
    assert dlbridge.explain(np.zeros((3, 4)), "torch").plan == ""
    picture = np.zeros((64, 64, 3), "u1")
    picture.flags.writeable = False
    assert dlbridge.explain(picture.transpose(2, 0, 1), "torch").plan == "split channels, 1 pass, 1 thread"


def test_explain_of_what_is_no_array_raises() -> None:
    with pytest.raises(dlbridge.NotAnArrayError):
        dlbridge.explain([1, 2], "torch")


def test_to_takes_names_and_modules() -> None:
    array = np.arange(3.0)
    assert dlbridge.to(array, "torch").data_ptr() == array.ctypes.data
    assert dlbridge.to(dlbridge.from_dlpack(array), np).ctypes.data == array.ctypes.data
    assert dlbridge.to(array, torch).data_ptr() == array.ctypes.data


def test_to_a_framework_that_is_not_there() -> None:
    with pytest.raises(dlbridge.UnavailableError, match="pip install no_such_framework"):
        dlbridge.to(np.zeros(1), "no_such_framework")
    with pytest.raises(dlbridge.UnavailableError, match="from_dlpack"):
        dlbridge.to(np.zeros(1), "json")


def test_negative_strides_are_copied_on_request() -> None:
    made = dlbridge.to_torch(np.arange(6.0).reshape(2, 3)[:, ::-1], copy=True)
    assert made.tolist() == [[2, 1, 0], [5, 4, 3]]
    made[0, 0] = 9


@pytest.mark.parametrize("dtype", ["float8_e4m3", "float8_e3m4", "uint8x2", "float6_e2m3fn", "opaque16"])
def test_dtypes_that_torch_lacks_are_refused_before_torch_leaks_them(dtype: str) -> None:
    tensor = dlbridge.from_dlpack(np.zeros((2, 12), "u1")).view(dtype)
    with pytest.raises(dlbridge.UnsupportedError, match=rf"torch has no {dtype}.*uint8"):
        dlbridge.to_torch(tensor)
