"""The `Tensor` type itself: help, pickling, equality, truth, iteration, indices."""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import itertools
import operator
import pickle
import pydoc
import signal
import subprocess
import sys
import unittest.mock
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge


def test_an_assignment_names_the_copy() -> None:
    t = dlbridge.empty((2, 3), "float32")
    with pytest.raises(TypeError, match=r"call dlbridge\.copy\(x, out=t\[1\]\) with"):
        t[1] = np.ones(3, "float32")
    dlbridge.copy(np.ones(3, "float32"), out=t[1])
    assert t[1].tolist() == [1.0] * 3
    with pytest.raises(TypeError, match=r"or write t\.numpy\(\)\[\.\.\.\] = x"):
        t[:, 1] = 0


def test_the_stub_has_the_first_words_of_builtins_for_editors() -> None:
    stub = ast.parse(Path(dlbridge.__file__).with_suffix(".pyi").read_text())
    (tensor,) = [node for node in stub.body if isinstance(node, ast.ClassDef)]
    found: dict[Any, list[str]] = {dlbridge.Tensor: [ast.get_docstring(tensor) or ""]}
    for owner, body in ((dlbridge, stub.body), (dlbridge.Tensor, tensor.body)):
        for node in body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                shown = getattr(owner, node.name)
                if owner is dlbridge.Tensor or inspect.isbuiltin(shown):
                    found.setdefault(shown, []).append(ast.get_docstring(node) or "")
    assert {dlbridge.to_torch, dlbridge.Tensor.numpy, dlbridge.Tensor.shape} <= set(found)
    for shown, (first, *overloads) in found.items():
        assert first, shown
        assert " ".join(shown.__doc__.split()).startswith(first.rstrip("."))
        assert not any(overloads), "editors show that of the first"


def test_what_completion_offers_is_public() -> None:
    offered = {name for name in dir(dlbridge) if not name.startswith("_")}
    assert offered == set(dlbridge.__all__) - {"__version__"}


def test_help_says_what_the_fields_of_reports_are() -> None:
    loss, comparison = (pydoc.plain(pydoc.render_doc(x)) for x in (dlbridge.LossReport, dlbridge.Comparison))
    assert all(f"`{name}`: " in loss for name in dlbridge.LossReport._fields)
    assert "A fraction that is cut off on the way to integers is inexact." in loss
    assert "Pairs of elements that were compared." in comparison


def test_help_names_and_signatures() -> None:
    text = pydoc.render_doc(dlbridge.Tensor)
    for words in ("class Tensor in module dlbridge", "__dlpack__(self, /, *, stream=None", "data_ptr", "shape"):
        assert words in pydoc.plain(text)
    assert (dlbridge.Tensor.__module__, dlbridge.Tensor.__qualname__) == ("dlbridge", "Tensor")
    cast = "dtype=None, casting='same_kind', report=False)"
    for function, signature in (
        (dlbridge.from_dlpack, f"(x, /, *, device=None, copy=None, {cast}"),
        (dlbridge.to_numpy, f"(x, /, *, copy=None, {cast}"),
        (
            dlbridge.to_torch,
            "(x, /, *, copy=None, readonly='error', dtype=None, device=None, casting='same_kind', report=False)",
        ),
        (dlbridge.cast, "(x, /, dtype=None, *, casting='same_kind', out=None, report=False)"),
        (dlbridge.copy, "(x, /, *, out=None, order='C')"),
    ):
        assert str(inspect.signature(function)) == signature
        assert function.__module__ == "dlbridge"
        assert function.__doc__
        assert pickle.loads(pickle.dumps(function)) is function
    assert pickle.loads(pickle.dumps(dlbridge.Tensor)) is dlbridge.Tensor


def test_help_says_what_the_fields_of_a_named_tuple_are() -> None:
    found = [each for each in vars(dlbridge).values() if hasattr(each, "_fields")]
    assert dlbridge.MemoryStats in found
    assert dlbridge.StagerStats in found
    for named in found:
        for field in named._fields:
            words = getattr(named, field).__doc__
            assert f"`{field}`: {words}\n" in named.__doc__, "what IPython shows of the class"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling_is_refused_naming_what_can_be(protocol: int) -> None:
    tensor = dlbridge.from_dlpack(np.arange(3.0))
    for function in (lambda: pickle.dumps(tensor, protocol), lambda: copy.deepcopy(tensor)):
        with pytest.raises(TypeError, match=r"pickle tensor\.numpy\(\), or call tensor\.copy\(\)"):
            function()
    assert pickle.loads(pickle.dumps(tensor.numpy(), protocol)).tolist() == [0, 1, 2]
    assert copy.copy(tensor) is tensor


def test_a_tensor_has_no_equality_beside_arrays_and_names_equal() -> None:
    array = np.zeros(3)
    one, two = dlbridge.from_dlpack(array), dlbridge.from_dlpack(array)
    others: list[Any] = [two, torch.zeros(3), 0, 0.0, np.float32(0), [0.0, 0.0, 0.0], (0, 0, 0)]
    for other in others:
        for compare in (operator.eq, operator.ne):
            with pytest.raises(dlbridge.WrongTypeError, match=r"write dlbridge\.equal\(a, b\)"):
                compare(one, other)
    with pytest.raises(TypeError, match="has no == beside"):
        assert one == array
    assert (array == one).all()  # NumPy asks for the array, and compares
    assert dlbridge.equal(one, two)
    for nothing in (None, "cpu", object(), {}):
        assert one != nothing
        assert not one == nothing  # noqa: SIM201
    assert one == unittest.mock.ANY


def test_tensors_are_keys_and_found_by_identity() -> None:
    array = np.zeros(3)
    one, two = dlbridge.from_dlpack(array), dlbridge.from_dlpack(array)
    assert hash(one) == object.__hash__(one)
    assert {one: 1, two: 2}[two] == 2
    assert {one, two, one} == {two, one}
    assert one in {one}
    assert two not in {one}
    assert one in [one, two]
    assert [one, two] == [one, two]
    assert (one, 1) == (one, 1)
    assert one == one
    assert not one != one  # noqa: SIM202
    with pytest.raises(dlbridge.WrongTypeError, match="or `is` for the same object"):
        assert two in [one]
    held = weakref.WeakKeyDictionary({one: "one"})
    assert held[one] == "one"
    assert functools.lru_cache(lambda tensor: tensor.shape)(one) == (3,)
    with pytest.raises(TypeError, match="not supported between"):
        one < two  # noqa: B015


def test_a_tensor_is_neither_true_nor_false_nor_searched() -> None:
    for shape in ((), (0,), (1,), (2, 3)):
        tensor = dlbridge.from_dlpack(np.zeros(shape))
        with pytest.raises(TypeError, match=r"neither true nor false.*tensor\.numpy\(\)\.any\(\)"):
            bool(tensor)
        with pytest.raises(TypeError, match=r"x in tensor\.numpy\(\)"):
            assert 0.0 in tensor
    with pytest.raises(TypeError, match=r"a 0-d tensor has no len\(\); its only element is tensor\.item\(\)$"):
        len(dlbridge.from_dlpack(np.array(1.0)))


def test_attributes_cannot_be_set() -> None:
    tensor = dlbridge.from_dlpack(np.zeros(3))
    for name in ("shape", "data_ptr", "colour"):
        with pytest.raises(AttributeError, match=name):
            setattr(tensor, name, 1)


def test_an_iteration_gives_the_rows() -> None:
    rows = iter(dlbridge.from_dlpack(np.arange(6.0).reshape(2, 3)))
    assert [next(rows).numpy().tolist() for _ in range(2)] == [[0, 1, 2], [3, 4, 5]]
    tensor = dlbridge.from_dlpack(np.arange(3.0))
    assert [tensor[index].numpy()[()] for index in range(len(tensor))] == [0, 1, 2]
    assert [item.numpy()[()] for item in reversed(tensor)] == [2, 1, 0]


def test_an_iteration_ends() -> None:
    tensor = dlbridge.from_dlpack(np.arange(6.0).reshape(2, 3))
    assert [row.numpy().tolist() for row in tensor] == [[0, 1, 2], [3, 4, 5]]
    assert [row.shape for row in dlbridge.from_dlpack(np.zeros((0, 3)))] == []
    with pytest.raises(TypeError, match=r"0-d .*; its only element is tensor\.item\(\)$"):
        iter(dlbridge.from_dlpack(np.array(1.0)))
    with pytest.raises(IndexError, match=r"index 2 is outside axis 0 of size 2; pass -2 to 1$"):
        tensor[2]
    with pytest.raises(IndexError, match=r"index 0 is outside axis 0 of size 0; slice it instead$"):
        dlbridge.empty(0, "u1")[0]


@pytest.mark.parametrize("index", [[0, 1], 1.5, "a", True, np.array([0, 1]), np.array([True, False])], ids=str)
def test_an_index_that_makes_no_view_is_a_type_error(index: Any) -> None:
    tensor = dlbridge.from_dlpack(np.zeros((2, 3)))
    for wrong in (index, (0, index)):
        with pytest.raises(TypeError, match=rf"^index .* is of type {type(index).__name__}; pass integers, slices"):
            tensor[wrong]


def test_slices_are_numpys() -> None:
    bounds = [None, *range(-7, 8)]
    for size in range(5):
        array = np.arange(size)
        tensor = dlbridge.from_dlpack(array)
        for start, stop, step in itertools.product(bounds, bounds, [None, 1, 2, 3, -1, -2, -3]):
            index = slice(start, stop, step)
            assert tensor[index].numpy().tolist() == array[index].tolist(), (size, index)


NAMED = [0, -1, 1, np.int8(1), np.array(-2), slice(1, 3), slice(None, None, -1), slice(-2, None, 2), slice(3, 1)]


@pytest.mark.parametrize("count", range(5))
def test_indices_are_those_of_numpys_basic_indexing(count: int) -> None:
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)[:, ::-1]
    tensor = dlbridge.from_dlpack(array)
    for index in itertools.product([*NAMED, ..., None], repeat=count):
        try:
            expected = array[index]
        except IndexError:
            with pytest.raises(
                (IndexError, ValueError), match=r"indices for a tensor of 3|only one '...'|outside axis"
            ):
                tensor[index]
            continue
        view = tensor[index]
        assert (view.shape, view.numpy().tolist()) == (expected.shape, expected.tolist()), index
        if expected.size:
            assert np.shares_memory(view.numpy(), array)


def test_a_step_of_0_is_a_value_error_as_in_numpy() -> None:
    tensor = dlbridge.from_dlpack(np.arange(3))
    with pytest.raises(ValueError, match="a step other than 0"):
        tensor[::0]
    with pytest.raises(TypeError, match="pass integers or None"):
        tensor["a":]  # type: ignore[misc]


def test_elements_as_python_has_them() -> None:
    tensor = dlbridge.from_dlpack(np.arange(6, dtype="int16").reshape(2, 3))
    assert tensor[:, ::-1].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert (tensor[1, 2].tolist(), tensor[1:, 2:].item()) == (5, 5)
    assert type(tensor[1, 2].item()) is int
    with pytest.raises(dlbridge.InvalidArgumentError, match=r"6 elements .*; select one, or call tolist\(\)"):
        tensor.item()


def test_the_size_of_an_element() -> None:
    tensor = dlbridge.from_dlpack(np.zeros((3, 5), "complex64")[:, ::2])
    assert (tensor.itemsize, tensor.nbytes) == (8, 8 * 9)
    assert dlbridge.empty(4, "float4_e2m1fn").itemsize == 1


def test_the_methods_take_the_keywords_of_the_functions() -> None:
    array = np.arange(3.0)
    tensor = dlbridge.from_dlpack(array)[::-1]
    assert tensor.torch(copy=True).tolist() == [2, 1, 0]
    assert not np.shares_memory(tensor.numpy(copy=True), array)
    assert tensor.numpy(dtype="float32", casting="same_value").dtype == np.float32
    assert tensor[:1].torch(dtype="float64", device="cpu").data_ptr() == array.ctypes.data + 16
    with pytest.raises(TypeError, match="unexpected keyword argument 'order'"):
        tensor.numpy(order="C")


@pytest.mark.skipif(not torch.__version__.startswith(("2.12.", "2.13.")), reason="README names these versions")
@pytest.mark.parametrize("call", ["from_dlpack", "tensor", "as_tensor", "asarray"])
def test_torch_itself_aborts_on_negative_strides_as_the_readme_says(call: str) -> None:
    code = f"import torch, numpy, dlbridge; torch.{call}(dlbridge.from_dlpack(numpy.arange(3.0))[::-1])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGABRT
