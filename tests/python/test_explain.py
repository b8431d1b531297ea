"""`explain` and `to`: told beforehand, and by name."""

from __future__ import annotations

import sys
import types
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
    (np.zeros(3, ">i4"), "torch", False, 12, "pass dlbridge.copy(x), or x.astype"),
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
        "works          no",
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


def test_explain_leaves_a_capsule_alone() -> None:
    array = np.arange(3.0)
    capsule = array.__dlpack__(max_version=(1, 0))
    with pytest.raises(dlbridge.InvalidArgumentError, match=r"a DLPack capsule, which can be taken only once"):
        dlbridge.explain(capsule, "torch")
    assert dlbridge.to_torch(capsule).data_ptr() == array.ctypes.data


TORCHS_OWN: dict[str, Any] = {
    "grad": torch.zeros(2, requires_grad=True),
    "conj": torch.zeros(2, dtype=torch.complex64).conj(),
    "neg": torch.zeros(2, dtype=torch.complex64).conj().imag,
    "sparse": torch.eye(3).to_sparse(),
    "mkldnn": torch.ones(3).to_mkldnn(),
    "meta": torch.ones(3, device="meta"),
    "zeros": torch._efficientzerotensor(3),
}


@pytest.mark.parametrize("name", TORCHS_OWN)
def test_what_is_of_the_framework_already_is_handed_back(name: str) -> None:
    tensor = TORCHS_OWN[name]
    assert dlbridge.to(tensor, "torch") is tensor
    told = dlbridge.explain(tensor, "torch")
    assert (told.zero_copy, told.nbytes, told.change) == (True, 0, "")
    assert "handed back" in told.reason


@pytest.mark.parametrize("array", [np.zeros(3, ">i4"), np.array([None]), np.array(["text"]), np.zeros(2)])
def test_an_array_of_numpys_is_handed_back(array: Any) -> None:
    assert dlbridge.to(array, "numpy") is array
    assert dlbridge.explain(array, np).zero_copy


@pytest.mark.parametrize(
    ("name", "nbytes", "change"),
    [("sparse", 36, "to_dense"), ("mkldnn", 12, "to_dense"), ("zeros", 12, "clone"), ("grad", 0, "detach")],
)
def test_explain_answers_for_torch_tensors_without_plain_memory(name: str, nbytes: int, change: str) -> None:
    told = dlbridge.explain(TORCHS_OWN[name], "numpy")
    assert (told.zero_copy, told.nbytes) == (False, nbytes)
    assert change in told.change


UNKNOWN: list[Any] = [
    "Torch",
    "os",
    "json",
    "",
    "torch.nn",
    "numpy; import os",
    ".numpy",
    "numpy..core",
    None,
    3,
    ["torch"],
]


@pytest.mark.parametrize("framework", UNKNOWN)
def test_explain_and_to_refuse_what_is_no_framework_in_the_same_words(framework: Any) -> None:
    words = []
    for call in (dlbridge.explain, dlbridge.to):
        with pytest.raises(
            dlbridge.Error, match=r'pass "numpy", "torch", "jax", .* or a module that has from_dlpack'
        ) as caught:
            call(np.zeros(1), framework)
        assert "pip install" not in str(caught.value)
        words.append(str(caught.value))
    assert words[0] == words[1]


@pytest.mark.parametrize(("alias", "name"), [("np", "numpy"), ("pytorch", "torch"), ("tf", "tensorflow")])
def test_aliases(alias: str, name: str) -> None:
    array = np.arange(3.0)
    assert dlbridge.explain(array, alias).framework == name
    if name != "tensorflow":
        made = dlbridge.to(array, alias)
        assert type(made).__module__.startswith(name)
        assert np.asarray(made).ctypes.data == array.ctypes.data


def test_a_framework_that_is_known_and_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paddle", None)
    with pytest.raises(dlbridge.UnavailableError, match=r"^paddle .*run pip install paddlepaddle$"):
        dlbridge.to(np.zeros(1), "paddle")


def made(name: str) -> Any:
    frame = dlbridge.empty((6, 8), "float32")
    return {
        "plain": frame,
        "read-only": dlbridge.from_dlpack(np.broadcast_to(np.float32(1), ())),
        "transposed": dlbridge.from_dlpack(frame.numpy().T),
        "columns": frame[:, ::2],
        "reversed": frame[:, ::-1],
    }[name]


# As docs/interop.md has it, from a run of each; a refusal counts as a copy that must be made.
SHARED = {
    "jax": ["plain", "transposed"],
    "tensorflow": ["plain"],
    "paddle": ["plain", "read-only", "transposed", "columns"],
    "mlx": [],
    "cupy": [],
}


@pytest.mark.parametrize("case", ["plain", "read-only", "transposed", "columns", "reversed"])
@pytest.mark.parametrize("framework", SHARED)
def test_explain_knows_what_frameworks_take_that_are_not_installed(framework: str, case: str) -> None:
    told = dlbridge.explain(made(case), framework)
    assert told.zero_copy == (case in SHARED[framework]), told
    assert told.zero_copy or told.change


def test_explain_says_when_it_does_not_know() -> None:
    module = types.ModuleType("films.reel")
    with pytest.raises(dlbridge.UnavailableError, match=r"films has no from_dlpack; pass"):
        dlbridge.explain(np.zeros(3), module)
    module.from_dlpack = lambda x: ("film", x.data_ptr)  # type: ignore[attr-defined]
    array = np.zeros(3)
    assert "does not know whether it copies" in dlbridge.explain(array, module).reason
    assert dlbridge.to(array, module) == ("film", array.ctypes.data)


def test_to_takes_names_and_modules() -> None:
    array = np.arange(3.0)
    assert dlbridge.to(array, "torch").data_ptr() == array.ctypes.data
    assert dlbridge.to(dlbridge.from_dlpack(array), np).ctypes.data == array.ctypes.data
    assert dlbridge.to(array, torch).data_ptr() == array.ctypes.data


def test_to_a_framework_that_is_not_there() -> None:
    with pytest.raises(
        dlbridge.UnavailableError, match=r"^'no_such_framework' is no framework dlbridge knows; pass "
    ):
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
