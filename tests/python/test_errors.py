"""Whatever dlbridge refuses is a `dlbridge.Error`, and the built-in that a caller would catch anyway."""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge

array = np.arange(6.0)
tensor = dlbridge.from_dlpack(array)
wait = dlbridge.Stream().record().wait
future = dlbridge.download(array)

# What is called with an argument of a type that means nothing there, and what it says.
WRONG_TYPES: dict[str, tuple[Callable[[], Any], str]] = {
    "memory_limit(None)": (lambda: dlbridge.memory_limit(None), "cached is None; pass a number of bytes"),
    "trim('x')": (lambda: dlbridge.trim("x"), "keep is 'x'; pass a number of bytes"),
    "trim(1.5)": (lambda: dlbridge.trim(1.5), "keep is 1.5; pass a number of bytes"),
    "wait('x')": (lambda: wait("x"), "timeout is 'x'; pass seconds, or None"),
    "wait(nan)": (lambda: wait(float("nan")), "timeout is nan; pass seconds, or None"),
    "wait(array)": (lambda: wait(np.ones(2)), r"timeout is array\(.*; pass seconds, or None"),
    "wait(Decimal)": (lambda: wait(decimal.Decimal(1)), r"timeout is Decimal\(.*; pass seconds, or None"),
    "wait([])": (lambda: wait([]), r"timeout is \[\]; pass seconds, or None"),
    "empty(None)": (
        lambda: dlbridge.empty(None, "f4"),
        "in shape, None is no integer.*; pass an integer, or several",
    ),
    "empty('ab')": (lambda: dlbridge.empty("ab", "f4"), "in shape, a is no integer.*; pass an integer, or several"),
    "empty({3, 2})": (
        lambda: dlbridge.empty({3, 2}, "f4"),
        "^shape is of type set, which says nothing of an order; pass an integer, or several",
    ),
    "zeros({3: 2})": (lambda: dlbridge.zeros({3: 2}, "f4"), "^shape is of type dict, which says nothing"),
    "empty(device=('cpu', 0))": (
        lambda: dlbridge.empty(2, "f4", device=("cpu", 0)),
        r"^device is \('cpu', 0\), and .*; pass a name such as .*, or DLPack's pair, such as \(1, 0\)$",
    ),
    "upload((2,))": (lambda: dlbridge.upload(array, (2,)), r"^device is \(2,\), and .*; pass a name such as"),
    "empty((2, 1.5))": (lambda: dlbridge.empty((2, 1.5), "f4"), "in shape, 1.5 is no integer"),
    "empty(2**70)": (
        lambda: dlbridge.empty(1 << 70, "f4"),
        "in shape, 1180591620717411303424 is no integer that fits",
    ),
    "empty(foo=)": (lambda: dlbridge.empty(2, "f4", foo=1), "unexpected keyword argument 'foo'"),
    "to_numpy(copy='x')": (lambda: dlbridge.to_numpy(array, copy="x"), 'copy is "x"; pass True, False or None'),
    "to_torch(copy=1)": (lambda: dlbridge.to_torch(array, copy=1), "copy is 1; pass True, False or None"),
    "from_dlpack(copy='')": (lambda: dlbridge.from_dlpack(array, copy=""), 'copy is ""; pass True, False or None'),
    "from_dlpack(report='x')": (
        lambda: dlbridge.from_dlpack(array, report="x"),
        '^report is "x"; pass True or False$',
    ),
    "to_torch(report=1)": (lambda: dlbridge.to_torch(array, report=1), "^report is 1; pass True or False$"),
    "to_numpy(report=[])": (lambda: dlbridge.to_numpy(array, report=[]), r"^report is \[\]; pass True or False$"),
    "t.numpy(report=0)": (lambda: tensor.numpy(report=0), "^report is 0; pass True or False$"),
    "t.astype(report='x')": (
        lambda: tensor.astype("f4", report="x"),
        '^report is "x"; pass True or False$',
    ),
    "cast(report='x')": (
        lambda: dlbridge.cast(array, "f4", report="x"),
        '^report is "x"; pass True or False$',
    ),
    "equal(equal_nan='no')": (
        lambda: dlbridge.equal(array, array, equal_nan="no"),
        '^equal_nan is "no"; pass True or False$',
    ),
    "equal(strict=2)": (lambda: dlbridge.equal(array, array, strict=2), "^strict is 2; pass True or False$"),
    "equal(report='x')": (
        lambda: dlbridge.equal(array, array, report="x"),
        '^report is "x"; pass True or False$',
    ),
    "allclose(equal_nan=1)": (
        lambda: dlbridge.allclose(array, array, equal_nan=1),
        "^equal_nan is 1; pass True or False$",
    ),
    "allclose(report=3)": (
        lambda: dlbridge.allclose(array, array, report=3),
        "^report is 3; pass True or False$",
    ),
    "empty(pinned=3)": (lambda: dlbridge.empty(2, "f4", pinned=3), "^pinned is 3; pass True or False$"),
    "zeros(pinned=0)": (lambda: dlbridge.zeros(2, "f4", pinned=0), "^pinned is 0; pass True or False$"),
    "empty_like(pinned='no')": (
        lambda: dlbridge.empty_like(array, pinned="no"),
        '^pinned is "no"; pass True or False$',
    ),
    "Stager(order=3)": (lambda: dlbridge.Stager([array], order=3), "^order is 3; pass 'kept' or 'first'$"),
    "Stager(layout=3)": (lambda: dlbridge.Stager([array], layout=3), "^layout is 3; pass one of 'CHW', 'HWC'$"),
    "Stager(casting=3)": (
        lambda: dlbridge.Stager([array], casting=3),
        "^casting is 3; pass one of 'same_kind'",
    ),
    "from_dlpack([1])": (lambda: dlbridge.from_dlpack([1]), "list"),
    "t['x']": (lambda: tensor["x"], "^index 'x' is of type str; pass integers, slices"),
    "t[1.5:]": (lambda: tensor[1.5:], "slice.* cannot be used .*; pass integers or None"),
    "len": (lambda: len(tensor[0]), "0-d tensor has no len"),
    "iter": (lambda: iter(tensor[0]), "0-d tensor cannot be iterated"),
    "bool": (lambda: bool(tensor), "neither true nor false"),
    "in": (lambda: 1 in tensor, "x in tensor.numpy"),
    "Tensor()": (lambda: dlbridge.Tensor(), "call dlbridge.from_dlpack"),
    "Event()": (lambda: dlbridge.Event(), "call stream.record"),
    "Future()": (lambda: dlbridge.Future(), r"call dlbridge.download\(x\)"),
    "add_done_callback(3)": (lambda: future.add_done_callback(3), "callback is 3; pass a function"),
    "numpy.asarray(future)": (lambda: np.asarray(future), r"pass future.result\(\)"),
    "from_dlpack(future)": (lambda: dlbridge.from_dlpack(future), r"of type Future, .*; pass x.result\(\)$"),
    "equal(x, future)": (lambda: dlbridge.equal(array, future), r"^b is of type Future, .*; pass b.result\(\)$"),
    "set_num_threads('2')": (lambda: dlbridge.set_num_threads("2"), "count is '2'; pass an int, 1 to 1024, or 0"),
    "set_num_threads(2.0)": (lambda: dlbridge.set_num_threads(2.0), "count is 2.0; pass an int, 1 to 1024, or 0"),
    "trace(3)": (lambda: dlbridge.Stager([array]).trace(3), "path is 3; pass the name of a file"),
    "plot(None)": (lambda: dlbridge.Stager([array]).plot(None), "path is None; pass the name of a file"),
    "stack(3)": (lambda: dlbridge.stack(3), "arrays is 3; pass a sequence of arrays"),
    "stack(None)": (lambda: dlbridge.stack(None), "arrays is None; pass a sequence of arrays"),
    "stack(['x'])": (lambda: dlbridge.stack(["x"]), r"array 0: arrays\[0\] is of type str"),
    "scale='0.1'": (lambda: dlbridge.stack([array], scale="0.1"), 'scale is "0.1", no number .*; pass a number'),
    "bias=['a']": (lambda: dlbridge.stack([array], bias=["a"]), 'bias is "a", no number .*; pass a number'),
    "rtol='x'": (lambda: dlbridge.allclose(array, array, rtol="x"), 'rtol is "x", no number .*; pass a number'),
    "equal(x)": (lambda: dlbridge.equal(array), r"^equal\(\) needs b, by position; call equal\(a, b\)$"),
    "equal()": (lambda: dlbridge.equal(), r"^equal\(\) needs a and b, by position; call equal\(a, b\)$"),
    "equal(x, x, True)": (
        lambda: dlbridge.equal(array, array, True),
        r"^equal\(\) takes a and b by position, and 3 were given; call equal\(a, b\), "
        "and name the rest: equal_nan=, strict=, report=$",
    ),
    "t.copy('F')": (
        lambda: tensor.copy("F"),
        r"^copy\(\) takes nothing by position, and 1 was given; call copy\(\), and name the rest: order=$",
    ),
    "t.view('u1', 'u1')": (
        lambda: tensor.view("u1", "u1"),
        r"^view\(\) takes dtype by position, and 2 were given; call view\(dtype\)$",
    ),
    "view(order=)": (lambda: tensor.view("u1", order=1), r"argument 'order'; call view\(dtype\)$"),
    "cast(x=)": (
        lambda: dlbridge.cast(x=array, dtype="f4"),
        r"argument 'x'; it goes by position: cast\(x, dtype\)$",
    ),
    "empty(2, 'u1', dtype=)": (
        lambda: dlbridge.empty(2, "u1", dtype="u1"),
        r"multiple values for argument 'dtype'; pass it once: empty\(shape, dtype\)$",
    ),
    "readonly=3": (lambda: dlbridge.to_torch(array, readonly=3), '^readonly is 3; pass "error", "copy" or "alias"'),
    "order=3": (lambda: dlbridge.copy(array, order=3), '^order is 3; pass "C"'),
    "t.copy(order=None)": (lambda: tensor.copy(order=None), '^order is None; pass "C"'),
    "casting=3": (lambda: dlbridge.cast(array, "f4", casting=3), '^casting is 3; pass "same_kind"'),
    "layout=3": (lambda: dlbridge.stack([array], layout=3), '^layout 3 is none that is known; pass "CHW"'),
    "as_=[]": (lambda: dlbridge.stack([array], as_=[]), '^as_ is of type list; pass "numpy"'),
    "framework=3": (lambda: dlbridge.to(array, 3), '^framework is 3; pass "numpy"'),
    "dtype=3": (lambda: dlbridge.cast(array, 3), "names no dtype; write it as NumPy does"),
    "dtype=None": (lambda: dlbridge.empty(2, None), "names no dtype; write it as NumPy does"),
    "device=3": (lambda: dlbridge.empty(2, "f4", device=3), '^device is 3, .*; pass a name such as "cpu"'),
    "__dlpack__(copy=)": (lambda: tensor.__dlpack__(copy="no"), '^copy is "no"; pass True, False or None'),
    "__dlpack__(max_version=)": (
        lambda: tensor.__dlpack__(max_version=(1 << 70, 0)),
        r"^max_version is \(1180591620717411303424, 0\); pass a tuple of two integers",
    ),
    "stream=3": (lambda: dlbridge.upload(array, stream=3), "^stream is 3, of type int; pass a dlbridge.Stream"),
    "from_native(torch.cuda.Stream)": (
        lambda: dlbridge.Stream.from_native(torch.cuda.Stream),
        "^stream is <class 'torch.*>, of type type; pass a stream of torch or CuPy",
    ),
    "from_native([])": (
        lambda: dlbridge.Stream.from_native([]),
        r"^stream is \[\], of type list; pass a stream of torch or CuPy",
    ),
    "t == x": (lambda: tensor == array, r"write dlbridge.equal\(a, b\)"),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_an_argument_of_a_wrong_type_is_an_error_of_ours_and_a_type_error(name: str) -> None:
    call, words = WRONG_TYPES[name]
    with pytest.raises(dlbridge.Error, match=words) as caught:
        call()
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, dlbridge.InvalidArgumentError)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: dlbridge.to_torch(array, readonly="no"), 'readonly is "no"; pass'),
        (lambda: dlbridge.copy(array, order="no"), 'order is "no"; pass'),
        (lambda: dlbridge.cast(array, "f4", casting="no"), 'casting is "no"; pass'),
        (lambda: dlbridge.stack([array], layout="no"), 'layout "no" is none'),
        (lambda: dlbridge.cast(array, "no"), '"no" names no dtype'),
        (lambda: dlbridge.cast(array, np.dtype("O")), "names no dtype"),
        (lambda: dlbridge.empty(2, "f4", device="no"), 'device is "no", and'),
        (lambda: dlbridge.to(array, "no,"), "framework is 'no,'; pass"),
    ],
)
def test_a_value_that_means_nothing_is_no_type_error(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(dlbridge.InvalidArgumentError, match=words) as caught:
        call()
    assert not isinstance(caught.value, TypeError)


def test_numbers_of_numpy_and_infinite_patience_are_arguments() -> None:
    assert dlbridge.to_numpy(array, copy=np.True_).ctypes.data != array.ctypes.data
    assert dlbridge.to_numpy(array, copy=np.False_) is array
    assert dlbridge.from_dlpack(array, report=np.False_).shape == (6,)
    assert dlbridge.equal(array, array, report=np.True_).equal
    assert dlbridge.empty(np.int64(3), "f4", pinned=None).shape == (3,)
    dlbridge.trim(np.int64(1 << 62))
    for timeout in (np.float32(1), 1, True, float("inf")):
        wait(timeout)


def test_what_a_sequence_raises_while_it_is_read_is_the_cause() -> None:
    def broken() -> Any:
        yield array
        raise TypeError("'int' object is not iterable")

    with pytest.raises(dlbridge.ProducerError, match="not iterable") as caught:
        dlbridge.stack(broken())
    assert isinstance(caught.value.__cause__, TypeError)


def test_a_future_names_the_way_to_its_array() -> None:
    with pytest.raises(AttributeError, match=r"write future.result\(\).numpy$"):
        future.numpy()
    with pytest.raises(AttributeError, match=r"no attribute 'films'$"):
        future.films  # noqa: B018
    assert not hasattr(future, "__dlpack__")


def test_threads_that_there_are_not() -> None:
    before = dlbridge.get_num_threads()
    for count in (-1, 1025, 5000, 1 << 70):
        with pytest.raises(dlbridge.InvalidArgumentError, match=f"count is {count}; pass 1 to 1024 threads, or 0"):
            dlbridge.set_num_threads(count)
    assert dlbridge.get_num_threads() == before
    dlbridge.set_num_threads(np.int64(2))  # type: ignore[arg-type]
    assert dlbridge.get_num_threads() == 2
    dlbridge.set_num_threads(0)


@pytest.mark.parametrize(
    ("given", "call"),
    [("torch", 'dlbridge.to(x, "torch")'), (np, 'dlbridge.to(x, "numpy")')],
)
def test_a_framework_in_place_of_a_device_names_the_call(given: Any, call: str) -> None:
    with pytest.raises(dlbridge.InvalidArgumentError, match=re.escape(f"which is a framework; call {call}")):
        tensor.to(given)
    eval(call, {"dlbridge": dlbridge, "x": array})


def test_words_of_pools_that_are_not_here() -> None:
    if dlbridge.cuda_available():
        pytest.skip("there is a CUDA device")
    for call in (dlbridge.memory_stats, dlbridge.trim, lambda **place: dlbridge.memory_limit(1 << 20, **place)):
        with pytest.raises(
            dlbridge.UnavailableError, match=r"^there is no pool on cuda:0: .*; leave device= out for"
        ):
            call(device="cuda")
        with pytest.raises(
            dlbridge.UnavailableError, match=r"^there is no pool of pinned memory: .*; leave pinned="
        ):
            call(pinned=True)


def test_words_of_streams_that_are_not_here() -> None:
    if dlbridge.cuda_available():
        pytest.skip("there is a CUDA device")
    for make, call in (
        (lambda: dlbridge.Stream("cuda"), '; pass "cpu"'),
        (lambda: dlbridge.Stream.from_native(0), "make one on the host, with dlbridge.Stream()"),
        (lambda: dlbridge.Stream.from_native(0, "cpu"), "make one with dlbridge.Stream()"),
    ):
        with pytest.raises(dlbridge.Error, match=re.escape(call)):
            make()
    assert dlbridge.Stream("cpu").device == dlbridge.Stream().device == "cpu"


def test_every_error_derives_from_error_and_from_a_builtin() -> None:
    errors = [each for name in dlbridge.__all__ if name.endswith("Error") and (each := getattr(dlbridge, name))]
    assert len(errors) == 17
    for error in errors:
        assert issubclass(error, dlbridge.Error)
        builtins = [base for base in error.__mro__ if base.__module__ == "builtins"]
        assert error is dlbridge.Error or builtins[0] is not Exception, error


@pytest.mark.parametrize("given", [torch.float16, np.float16, np.dtype("float16"), "float16", "f2"])
def test_a_dtype_for_a_device_names_the_cast(given: Any) -> None:
    words = r'^device is .*, which is a dtype; call dlbridge\.cast\(x, "float16"\), or pass dtype="float16"$'
    for call in (tensor.to, lambda device: dlbridge.to_torch(array, device=device)):
        with pytest.raises(dlbridge.InvalidArgumentError, match=words) as caught:
            call(given)
        assert isinstance(caught.value, TypeError) == (not isinstance(given, str))
