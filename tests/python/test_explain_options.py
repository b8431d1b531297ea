"""What `explain` says of a call is what the call does: whether it works, and whether it copies."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge

ONES = np.ones((3, 4))


def frozen(array: Any) -> Any:
    array.flags.writeable = False
    return array


PRODUCERS: dict[str, Callable[[], Any]] = {
    "array": lambda: np.ones((3, 4)),
    "float32 array": lambda: np.ones((3, 4), "f4"),
    "read-only array": lambda: frozen(np.ones((3, 4))),
    "reversed array": lambda: np.ones((3, 4))[:, ::-1],
    "reversed read-only array": lambda: frozen(np.ones((3, 4))[::-1]),
    "columns": lambda: np.ones((3, 8))[:, ::2],
    "0-d array": lambda: np.array(1.0),
    "array of bools": lambda: np.ones(3, "?"),
    "complex array": lambda: np.ones(3, "c8"),
    "other byte order": lambda: np.ones(3, ">f8"),
    "field of records": lambda: np.ones(3, [("a", "f8"), ("b", "u1")])["a"],
    "array of objects": lambda: np.array([1.0, 2.0], object),
    "dates": lambda: np.array(["2020-01-01"], "M8[D]"),
    "masked array": lambda: np.ma.masked_equal([1.0, 2.0], 2.0),
    "matrix": lambda: np.ones((2, 2)).view(np.matrix),
    "65 dimensions": lambda: dlbridge.from_dlpack(np.ones([1] * 64))[None],
    "tensor of torch": lambda: torch.ones(3, 4, dtype=torch.float64),
    "transposed tensor of torch": lambda: torch.ones(3, 4).T,
    "tensor with grad": lambda: torch.ones(3, requires_grad=True),
    "conjugated tensor": lambda: torch.ones(3, dtype=torch.complex64).conj(),
    "negated tensor": lambda: torch.ones(3, dtype=torch.complex64).conj().imag,
    "sparse tensor": lambda: torch.eye(3).to_sparse(),
    "bfloat16 tensor": lambda: torch.ones(3, dtype=torch.bfloat16),
    "parameter": lambda: torch.nn.Parameter(torch.ones(3)),
    "Tensor": lambda: dlbridge.from_dlpack(np.ones((3, 4))),
    "reversed Tensor": lambda: dlbridge.from_dlpack(np.ones((3, 4)))[:, ::-1],
    "read-only Tensor": lambda: dlbridge.from_dlpack(frozen(np.ones((3, 4)))),
    "Tensor of float8": lambda: dlbridge.from_dlpack(np.ones(8, "u1")).view("float8_e4m3"),
    "bytes": lambda: bytes([1, 2, 3]),
    "bytearray": lambda: bytearray([1, 2, 3]),
}
COPY = (None, True, False)
DTYPE = (None, "float64", "float32", "int16", "complex64", "bfloat16", "float8_e4m3fn", "float8_e4m3")
CASTING = (None, "same_kind", "same_value", "unsafe")
CALLS: dict[str, dict[str, tuple[Any, ...]]] = {
    "torch": {"copy": COPY, "dtype": DTYPE, "casting": CASTING, "readonly": (None, "error", "copy", "alias")},
    "torch, elsewhere": {"copy": COPY, "dtype": (None, "float32"), "device": ("cpu", (1, 0), "cuda")},
    "numpy": {"copy": COPY, "dtype": DTYPE, "casting": CASTING},
    # No framework, but any module does, and this one shares what it gets.
    "films": {"copy": COPY, "dtype": DTYPE, "casting": CASTING, "device": (None, "cpu", "cuda")},
}
FILMS = types.ModuleType("films")
FILMS.from_dlpack = lambda x: x  # type: ignore[attr-defined]


def address(x: Any) -> int:
    return int(dlbridge.from_dlpack(x).data_ptr)


def outcome(x: Any, framework: Any, options: dict[str, Any]) -> tuple[str, bool]:
    """With which words the call is refused, and whether it copies."""
    try:
        made = dlbridge.to(x, framework, **options)
    except dlbridge.Error as refused:
        return str(refused), False
    if made is x:
        return "", False
    try:
        return "", address(made) != address(x)
    except dlbridge.Error:  # what DLPack cannot describe has been copied, or would be `x`
        return "", True


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("producer", PRODUCERS)
def test_explain_says_what_the_call_does(producer: str, call: str) -> None:
    framework: Any = FILMS if call == "films" else call.partition(",")[0]
    names, x = CALLS[call], PRODUCERS[producer]()
    for values in itertools.product(*names.values()):
        options = {name: value for name, value in zip(names, values) if value is not None}
        told = dlbridge.explain(x, framework, **options)
        refused, copied = outcome(x, framework, options)
        assert told.works == bool(told) == (not refused), (options, told)
        assert told.works or f"{told.reason}; {told.change}" == refused, (options, told)
        assert (told.works and not told.zero_copy) == copied, (options, told)
        assert told.zero_copy or told.change, (options, told)
        assert told.zero_copy or not told.works or told.nbytes > 0, (options, told)


def test_a_cast_that_the_casting_refuses_is_told_with_the_castings_that_do_not() -> None:
    told = dlbridge.explain(ONES, "torch", dtype="int16")
    assert (told.works, told.zero_copy) == (False, False)
    assert 'not cast to int16 with casting="same_kind"' in told.reason
    assert 'pass casting="same_value"' in told.change
    assert (told.nbytes, told.plan) == (0, "")
    assert dlbridge.explain(ONES, "torch", dtype="int16", casting="same_value").works


@pytest.mark.parametrize(
    "options",
    [{"dtype": "int16"}, {"dtype": "float8_e4m3"}, {"dtype": "float32", "copy": False}, {"device": "cuda:9"}],
    ids=str,
)
@pytest.mark.parametrize("x", [ONES, ONES[:, ::-1]], ids=["array", "reversed array"])
def test_what_asks_for_too_much_moves_no_bytes(x: Any, options: dict[str, Any]) -> None:
    told = dlbridge.explain(x, "torch", **options)
    with pytest.raises(dlbridge.Error) as refused:
        dlbridge.to_torch(x, **options)
    assert f"{told.reason}; {told.change}" == str(refused.value)
    assert (told.works, told.zero_copy, told.nbytes, told.plan) == (False, False, 0, "")
    assert str(told).splitlines()[-2] == "bytes to move  0"


def test_what_is_to_change_makes_it_zero_copy_or_there_is_nothing() -> None:
    assert dlbridge.explain(ONES, "torch", copy=True).change == "drop copy=True"
    told = dlbridge.explain(ONES, "torch", copy=True, dtype="float32")
    assert told.change == "drop dtype=, and drop copy=True"
    assert dlbridge.explain(frozen(np.ones(3)), "torch", readonly="copy").change.startswith('pass readonly="alias"')
    told = dlbridge.explain(ONES[:, ::-1], "torch", dtype="float32")
    assert told.works
    assert told.change.startswith("nothing; otherwise it is refused, since axis 1 has the negative stride -1")


def test_a_device_that_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    if dlbridge.cuda_available():
        pytest.skip("there is a CUDA device")
    told = dlbridge.explain(ONES, "torch", device="cuda")
    assert not told.works
    assert "cuda:0" in told.reason
    assert dlbridge.explain(ONES, "torch", device="cpu").zero_copy


@pytest.mark.parametrize(
    ("framework", "options", "words"),
    [
        ("numpy", {"readonly": "copy"}, "readonly= means nothing for numpy; pass copy=, dtype=, casting=$"),
        ("numpy", {"device": "cpu"}, "device= means nothing for numpy"),
        ("jax", {"readonly": "copy"}, "readonly= means nothing for jax; pass copy=, dtype=, casting=, device="),
        ("torch", {"casting": "kind"}, 'casting is "kind"; pass "same_kind"'),
        ("torch", {"readonly": "no"}, 'readonly is "no"; pass "error", "copy" or "alias"'),
        ("torch", {"copy": 1}, "copy is 1; pass True, False or None"),
        ("torch", {"dtype": "float7"}, '"float7" names no dtype'),
        ("torch", {"device": "moon"}, 'device is "moon"'),
    ],
)
def test_an_option_that_means_nothing_is_refused_by_both(framework: str, options: Any, words: str) -> None:
    for call in (dlbridge.explain, dlbridge.to):
        if framework == "jax" and call is dlbridge.to and "jax" not in sys.modules:
            continue  # that it is not installed comes first
        with pytest.raises(dlbridge.InvalidArgumentError, match=words):
            call(ONES, framework, **options)


@pytest.mark.parametrize("name", ["cpu", "cuda:1", torch.device("cpu")])
def test_a_device_in_place_of_a_framework_names_the_call(name: Any) -> None:
    for call in (dlbridge.explain, dlbridge.to):
        with pytest.raises(
            dlbridge.InvalidArgumentError, match=rf"a device; call dlbridge.from_dlpack\(x, device='{name}'\)"
        ):
            call(ONES, name)
    assert dlbridge.from_dlpack(ONES, device="cpu").device == "cpu"


def test_what_jax_casts_is_told() -> None:
    aligned = dlbridge.empty(3, "float64")
    program = (
        "import dlbridge; told = dlbridge.explain(dlbridge.empty(3, 'float64'), 'jax'); print(told.zero_copy, told)"
    )
    said = {}
    for flag in ("0", "1"):
        environment = {**os.environ, "JAX_ENABLE_X64": flag}
        said[flag] = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment
        ).stdout
    assert said["1"].startswith("True")
    assert "jax casts float64 to float32, silently" in said["0"]
    assert 'jax.config.update("jax_enable_x64", True), or pass dtype="float32"' in said["0"]
    assert dlbridge.explain(aligned, "jax", dtype="float32").reason.startswith("float64 becomes float32")


def test_a_read_only_array_reaches_jax_by_a_copy() -> None:
    array = frozen(np.ones(16, "f4"))
    assert dlbridge.explain(array, "jax").change == "pass copy=True"
    told = dlbridge.explain(array, "jax", copy=True)
    assert (told.works, told.zero_copy) == (True, False)


def test_what_is_never_shared_needs_no_change() -> None:
    array = np.ones(3, "f4")
    told = [dlbridge.explain(array, "mlx", **options) for options in ({}, {"copy": True}, {"dtype": "float16"})]
    assert {each.change for each in told} == {"nothing; it shares no memory with others"}
    assert all(each.works and not each.zero_copy for each in told)


def test_explain_counts_as_no_copy_and_no_memory() -> None:
    array = np.ones((600, 500))
    before = dlbridge.memory_stats()
    for options in ({}, {"copy": True}, {"dtype": "float32"}, {"readonly": "copy"}):
        dlbridge.explain(array[::-1], "torch", **options)  # type: ignore[arg-type]
    assert dlbridge.memory_stats() == before
