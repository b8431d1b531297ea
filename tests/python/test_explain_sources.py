"""`explain` beside the call, over sources that few have: the words, whether it works, and the bytes."""

from __future__ import annotations

import array
import ctypes
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge


class Interface:
    """A producer that has an `__array_interface__`, and no `nbytes`."""

    def __init__(self, shown: Any) -> None:
        self.__array_interface__ = shown.__array_interface__
        self._shown = shown


class Producer:
    """A producer that has what DLPack asks for, and no more."""

    def __init__(self, shown: Any) -> None:
        self._shown = shown

    def __dlpack__(self, **options: Any) -> Any:
        return self._shown.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._shown.__dlpack_device__()


def shrunk() -> torch.Tensor:
    tensor = torch.ones(2, 3)
    tensor.untyped_storage().resize_(0)
    return tensor


SOURCES: dict[str, Any] = {
    "plain": np.ones((2, 3)),
    "reversed view": memoryview(bytearray(b"abcd"))[::-1],
    "array": array.array("d", [1, 2, 3]),
    "ctypes": (ctypes.c_double * 3)(),
    "interface": Interface(np.ones(3)),
    "producer": Producer(np.ones(3)),
    "swapped": np.ones(3, ">f8"),
    "zeros": torch._efficientzerotensor((2, 3)),
    "shrunk": shrunk(),
    "sparse": torch.eye(3).to_sparse(),
    "csr": torch.eye(3).to_sparse_csr(),
    "mkldnn": torch.ones(2, 3).to_mkldnn(),
    "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    "meta": torch.ones(2, 3, device="meta"),
}
OPTIONS: list[dict[str, Any]] = [{}, {"copy": True}, {"copy": False}, {"dtype": "float32"}, {"dtype": "int8"}]
DEVICES: list[Any] = ["cpu", "meta", "nowhere", "cuda:0", (3, 0), (13, 0)]


def attempt(call: Any, *arguments: Any, **options: Any) -> tuple[Any, str]:
    """What a call makes, or the words in which it refuses."""
    try:
        return call(*arguments, **options), ""
    except dlbridge.Error as refused:
        return None, str(refused)


def written(made: Any) -> int:
    """The bytes of what was made."""
    if getattr(made, "is_meta", False):
        return 0
    if getattr(made, "layout", torch.strided) != torch.strided:
        return int(made.numel() * made.element_size())
    return int(made.nbytes)


def agree(source: Any, framework: str, options: dict[str, Any]) -> None:
    """Asserts that both say the same."""
    made, words = attempt(dlbridge.to, source, framework, **options)
    told, refused = attempt(dlbridge.explain, source, framework, **options)
    if told is None:  # an option means nothing, for any array
        assert refused == words
        return
    assert told.works == (made is not None)
    if not told.works:
        assert f"{told.reason}; {told.change}" == words
    elif not told.zero_copy:
        assert told.nbytes == written(made)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("framework", ["numpy", "torch"])
@pytest.mark.parametrize("name", SOURCES)
def test_explain_says_what_the_call_does(name: str, framework: str, options: dict[str, Any]) -> None:
    if (name, framework) in (("shrunk", "torch"), ("nested", "torch"), ("zeros", "torch")) and "copy" in options:
        pytest.skip("torch clones what is its own, and its clone may have no memory to compare")
    agree(SOURCES[name], framework, options)


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("options", [{}, {"copy": True}, {"dtype": "float32"}, {"dtype": "float64"}], ids=str)
@pytest.mark.parametrize("name", ["plain", "meta"])
def test_explain_says_of_a_device_what_the_call_does(name: str, options: dict[str, Any], device: Any) -> None:
    agree(SOURCES[name], "torch", {**options, "device": device})


@pytest.mark.parametrize("name", ["array", "ctypes", "interface", "producer"])
def test_the_bytes_of_a_source_that_does_not_say_them(name: str) -> None:
    told = dlbridge.explain(SOURCES[name], "numpy", copy=True)
    assert (told.nbytes, told.plan) == (24, "contiguous, 1 pass, 1 thread")


def test_the_bytes_of_a_reversed_view() -> None:
    told = dlbridge.explain(SOURCES["reversed view"], "torch")
    assert (told.works, told.nbytes) == (False, 4)


def test_a_name_that_is_no_framework() -> None:
    words = []
    for call in (dlbridge.explain, dlbridge.to):
        with pytest.raises(
            dlbridge.UnavailableError, match=r"'pandaz' is no framework dlbridge knows; pass "
        ) as caught:
            call(np.zeros(1), "pandaz")
        words.append(str(caught.value))
    assert words[0] == words[1]
