"""`out=`: what is wrong with it is said of it, with a call that works; torch notices what is written to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge

X = np.arange(6.0).reshape(2, 3)


def frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array


# Each `out` that is refused for two rows of three float64, and what is said of it.
REFUSED: dict[str, tuple[Callable[[], Any], type[dlbridge.Error], str]] = {
    "read-only": (lambda: frozen(np.zeros((2, 3))), dlbridge.ReadOnlyError, "out is read-only"),
    "read-only Tensor": (
        lambda: dlbridge.from_dlpack(frozen(np.zeros((2, 3)))),
        dlbridge.ReadOnlyError,
        "out is read-only",
    ),
    "another shape": (lambda: np.zeros((3, 2)), dlbridge.InvalidArgumentError, r"out has shape \[3, 2\] and"),
    "overlapping indices": (
        lambda: np.lib.stride_tricks.as_strided(np.zeros(8), (2, 3), (8, 8)),
        dlbridge.UnsupportedError,
        r"several indices of out, of shape \[2, 3\] and strides \[1, 1\], may share one element",
    ),
    "a list": (lambda: [[0.0] * 3] * 2, dlbridge.NotAnArrayError, "out is of type list, which is no array"),
    "other byte order": (lambda: np.zeros((2, 3), ">f8"), dlbridge.UnsupportedError, "out cannot be written to: "),
    "records": (
        lambda: np.zeros((2, 3), [("a", "f8"), ("b", "u1")])["a"],
        dlbridge.UnsupportedError,
        "out cannot be written to: axis 0 steps 27 bytes",
    ),
    "grad": (
        lambda: torch.zeros(2, 3, dtype=torch.float64, requires_grad=True),
        dlbridge.UnsupportedError,
        "out cannot be written to: the torch tensor requires grad",
    ),
    "masked": (
        lambda: np.ma.zeros((2, 3)),
        dlbridge.UnsupportedError,
        "out cannot be written to: the array is masked",
    ),
    "Future": (lambda: dlbridge.download(X), dlbridge.NotAnArrayError, "out is of type Future"),
}
CALLS: dict[str, Callable[[Any], Any]] = {
    "copy": lambda out: dlbridge.copy(X, out=out),
    "cast": lambda out: dlbridge.cast(X.astype("f4"), "float64", out=out),
    "stack": lambda out: dlbridge.stack(list(X), out=out),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_out_is_said_of_it_and_the_call_that_is_named_works(name: str, call: str) -> None:
    make, error, words = REFUSED[name]
    out = make()
    with pytest.raises(error, match=f"^{words}") as caught:
        CALLS[call](out)
    text = str(caught.value)
    assert not re.search(r"\bx\.|numpy\.ascontiguousarray|write to a copy", text)
    named = re.search(r"; pass out=(dlbridge\.empty\(.*?\)|out\.detach\(\)|out\.data)", text)
    assert named, text
    better = eval(named.group(1), {"dlbridge": dlbridge, "out": out})
    assert CALLS[call](better) is better
    assert np.array_equal(dlbridge.to_numpy(better), X)


def test_an_out_of_another_dtype_names_the_cast() -> None:
    out = np.zeros((2, 3), "f4")
    with pytest.raises(
        dlbridge.InvalidArgumentError, match=r"^x holds float64 and out float32, .*; call "
    ) as caught:
        dlbridge.copy(X, out=out)
    names = {"dlbridge": dlbridge, "x": X, "out": out}
    eval(str(caught.value).partition("; call ")[2], names)
    assert np.array_equal(out, X)
    whole = names["out"] = np.zeros((2, 3), "i4")
    with pytest.raises(dlbridge.InvalidArgumentError, match=r'casting="same_value"') as caught:
        dlbridge.copy(X, out=whole)
    eval(str(caught.value).partition("; call ")[2], names)
    assert np.array_equal(whole, X)


def test_the_dtype_of_a_cast_is_that_of_out_where_none_is_given() -> None:
    out = np.zeros((2, 3), "f4")
    assert dlbridge.cast(X, out=out) is out
    assert np.array_equal(out, X)
    with pytest.raises(dlbridge.InvalidArgumentError, match=r'not cast to int16 with casting="same_kind"'):
        dlbridge.cast(X, out=np.zeros((2, 3), "i2"))
    with pytest.raises(
        dlbridge.InvalidArgumentError,
        match=r'^dtype is int32 and out holds float32; pass dtype="float32", or out=dlbridge.empty\(\[2, 3\], ',
    ):
        dlbridge.cast(X, "int32", out=out)
    for wrong in (np.zeros((3, 2), "f4"), frozen(np.zeros((2, 3), "f4"))):  # the call that mends it keeps the dtype
        with pytest.raises(dlbridge.Error, match=r'; pass out=dlbridge.empty\(\[2, 3\], "float32"\), or'):
            dlbridge.cast(X, out=wrong)
        with pytest.raises(dlbridge.Error, match=r'; pass out=dlbridge.empty\(\[2, 3\], "float32"\), or'):
            dlbridge.stack(list(X), out=wrong, scale=2.0)
    with pytest.raises(dlbridge.Error, match=r'; pass out=dlbridge.empty\(\[2, 3\], "float64"\), or'):
        dlbridge.stack(list(X), out=np.zeros((3, 2)))
    with pytest.raises(dlbridge.WrongTypeError, match=r'needs an array and a dtype; call cast\(x, "float32"\)'):
        dlbridge.cast(X)  # type: ignore[call-overload]


def test_a_stack_casts_only_where_a_dtype_is_given() -> None:
    out = np.zeros((2, 3), "f4")
    with pytest.raises(
        dlbridge.InvalidArgumentError,
        match=r'^the arrays hold float64 and out holds float32; pass dtype="float32" to',
    ):
        dlbridge.stack(list(X), out=out)
    with pytest.raises(dlbridge.InvalidArgumentError, match="array 0 holds float64, array 1 holds float32 and out"):
        dlbridge.stack([X[0], X[1].astype("f4")], out=out)
    with pytest.raises(dlbridge.InvalidArgumentError, match='pass dtype="int16", casting="same_value" to cast'):
        dlbridge.stack(list(X), out=np.zeros((2, 3), "i2"))
    assert not out.any()
    assert dlbridge.stack(list(X), out=out, dtype="float32") is out
    assert np.array_equal(out, X)


def test_an_out_on_the_memory_of_the_source() -> None:
    array = X.copy()
    with pytest.raises(dlbridge.UnsupportedError, match=r"^out shares memory with x; pass out=dlbridge.empty"):
        dlbridge.cast(array, "float64", out=array)
    with pytest.raises(
        dlbridge.UnsupportedError, match=r"^out shares memory with array 1; pass out=dlbridge.empty"
    ):
        dlbridge.stack([X[0], array[1]], out=array)
    assert dlbridge.copy(array, out=array) is array  # as if they did not


def test_what_code_of_the_caller_raises_is_the_cause() -> None:
    class Out:
        def __dlpack__(self, **_: Any) -> Any:
            raise KeyError("mine")

        def __dlpack_device__(self) -> tuple[int, int]:
            return (1, 0)

    for call in CALLS.values():
        with pytest.raises(dlbridge.ProducerError, match="mine") as caught:
            call(Out())
        assert isinstance(caught.value.__cause__, KeyError)


WRITERS: list[Callable[[torch.Tensor], Any]] = [
    lambda x: dlbridge.copy(np.full(3, 100, "f4"), out=x),
    lambda x: dlbridge.cast(np.full(3, 100.0), "float32", out=x),
    lambda x: dlbridge.stack([np.float32(100)] * 3, out=x),
    lambda x: dlbridge.copy(np.full(3, 100, "f4"), out=x.detach()),
]


@pytest.mark.parametrize("write", WRITERS)
def test_autograd_notices_what_is_written_to_a_torch_tensor(write: Callable[[torch.Tensor], Any]) -> None:
    weights, x = torch.ones(3, requires_grad=True), torch.tensor([1.0, 2.0, 3.0])
    product = weights * x
    write(x)
    assert x.tolist() == [100.0] * 3
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.sum().backward()


def test_autograd_notices_what_a_refused_cast_spoils_and_nothing_else() -> None:
    x = torch.tensor([1.0, 2.0, 3.0])
    with pytest.raises(dlbridge.Error, match="shape"):
        dlbridge.copy(np.zeros(4, "f4"), out=x)
    assert x._version == 0
    with pytest.raises(dlbridge.LossyError):
        dlbridge.cast(np.full(3, 1e300), "float32", out=x)
    assert (x._version, x.isnan().all()) == (1, True)
    with torch.inference_mode():
        uncounted = torch.zeros(3)
    assert dlbridge.copy(np.ones(3, "f4"), out=uncounted).tolist() == [1.0] * 3
