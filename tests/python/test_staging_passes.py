"""A `Stager`'s passes: what begins one, what ends one, whom its error reaches, and options that make no sense."""

from __future__ import annotations

import dataclasses
import itertools
import sys
import threading
from collections import Counter, OrderedDict, namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from stagers import reused, stager_threads

import dlbridge

Pair = namedtuple("Pair", "left right")


@dataclasses.dataclass
class Both:
    left: Any
    right: Any


pytestmark = pytest.mark.usefixtures("no_stager_is_left")


def ended() -> None:
    """Waits until the threads of the source are gone."""
    for thread in stager_threads():
        thread.join(30)


class Failing:
    """A source that can be iterated again, and fails after so many batches."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.iterated = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        self.iterated += 1
        yield from reused(self.count)
        raise OSError("the disk is gone")


@pytest.mark.parametrize("again", [False, True])
def test_an_error_waits_until_somebody_asks(again: bool) -> None:
    source = Failing(0)
    with dlbridge.Stager(source if again else iter(source)) as stager:
        ended()
        with pytest.raises(OSError, match="the disk is gone"):
            list(stager)
    assert source.iterated == 1
    with dlbridge.Stager(iter([object()])) as stager:
        ended()
        with pytest.raises(dlbridge.NotAnArrayError):
            list(stager)


def test_an_error_reaches_the_second_loop_where_the_first_stopped_before_it() -> None:
    source = Failing(2)
    stager = dlbridge.Stager(source)
    assert len(list(itertools.islice(stager, 2))) == 2
    ended()
    with pytest.raises(OSError, match="the disk is gone"):
        list(stager)
    assert source.iterated == 1
    # The next pass begins after that.
    with pytest.raises(OSError, match="the disk is gone"):
        list(stager)
    assert source.iterated == 2


def test_a_loop_after_break_goes_on_and_after_close_begins_anew() -> None:
    stager = dlbridge.Stager([np.full(2, number) for number in range(6)], as_="numpy")
    assert next(iter(stager))[0] == 0
    assert [int(batch[0]) for batch in stager] == [1, 2, 3, 4, 5]
    assert next(iter(stager))[0] == 0
    stager.close()
    assert stager_threads() == []
    assert [int(batch[0]) for batch in stager] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("again", [False, True])
def test_several_threads_lose_no_batch_at_the_end(again: bool) -> None:
    errors: Counter[str] = Counter()
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for _ in range(300):
            got: list[int] = []

            def loop(stager: dlbridge.Stager, got: list[int] = got) -> None:
                try:
                    got.extend(int(batch.numpy()[0]) for batch in stager)
                except BaseException as error:
                    errors[repr(error)] += 1

            batches = [np.full(4, number) for number in range(8)]
            with dlbridge.Stager(batches if again else iter(batches), slots=4) as stager:
                threads = [threading.Thread(target=loop, args=(stager,)) for _ in range(4)]
                [thread.start() for thread in threads]
                [thread.join() for thread in threads]
            # A thread that comes late may begin another pass, which is whole too.
            passes = len(got) // 8
            assert sorted(got) == sorted([*range(8)] * passes), errors
            assert passes == 1 or again
    finally:
        sys.setswitchinterval(interval)
    assert not errors


@pytest.mark.parametrize("failing", [1, 2])
def test_a_thread_that_cannot_start_is_an_error_and_loses_nothing(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, calls = threading.Thread.start, itertools.count(1)

    def limited(thread: threading.Thread) -> None:
        if thread.name.startswith("dlbridge stager") and next(calls) == failing:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    stager = dlbridge.Stager((np.full(2, number) for number in range(6)), workers=2, timeout=30, as_="numpy")
    with pytest.raises(dlbridge.UnavailableError, match=r"can't start new thread.*fewer workers") as caught:
        iter(stager)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert stager_threads() == []
    assert [int(batch[0]) for batch in stager] == list(range(6))


@pytest.mark.parametrize("order", ["kept", "first"])
def test_in_order_no_batch_comes_after_the_one_that_failed(order: str) -> None:
    def source() -> Iterator[np.ndarray]:
        for number in range(10):
            array = np.full(100_000, float(number))
            if number == 3:
                array[-1] = 1e300  # found late, when the batches behind it are long there
            yield array if number < 4 else array[:1]

    for _ in range(20):
        seen: list[int] = []
        stager = dlbridge.Stager(source(), workers=4, slots=6, dtype="float32", order=order, ragged=True)
        with stager, pytest.raises(dlbridge.LossyError, match="batch 3: "):
            seen.extend(int(batch.numpy()[0]) for batch in stager)
        assert {0, 1, 2} <= set(seen)
        assert 3 not in seen
        assert order == "first" or seen == [0, 1, 2]


def test_of_two_batches_that_fail_in_order_the_first_is_reported() -> None:
    slow, quick = np.zeros(1_000_000), np.full(1, 1e300)
    slow[-1] = 1e300
    for _ in range(10):
        stager = dlbridge.Stager([slow, quick], workers=2, dtype="float32", ragged=True)
        with stager, pytest.raises(dlbridge.LossyError, match="batch 0: "):
            list(stager)


def test_what_would_be_lost_is_reported() -> None:
    source = [np.array([1.5, 2]), np.array([3e39, 1])]
    with dlbridge.Stager(source, dtype="float32") as stager, pytest.raises(dlbridge.LossyError) as caught:
        list(stager)
    assert caught.value.report is not None
    assert caught.value.report.overflow == 1
    assert isinstance(caught.value.__cause__, dlbridge.LossyError)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"casting": "zzz"}, dlbridge.InvalidArgumentError, "casting is 'zzz'; pass one of 'same_kind'"),
        ({"casting": {0: "zzz"}}, dlbridge.InvalidArgumentError, r"casting\[0\] is 'zzz'"),
        ({"casting": 3}, dlbridge.InvalidArgumentError, "casting is 3"),
        ({"timeout": float("inf")}, dlbridge.InvalidArgumentError, "timeout is inf; .*None"),
        ({"timeout": float("nan")}, dlbridge.InvalidArgumentError, "timeout is nan"),
        ({"timeout": 1e300}, dlbridge.InvalidArgumentError, "timeout is 1e\\+300"),
        ({"timeout": "x"}, dlbridge.WrongTypeError, "timeout is 'x'; pass seconds"),
        ({"workers": "2"}, dlbridge.WrongTypeError, "workers is '2'; pass an int"),
        ({"workers": 1.5}, dlbridge.WrongTypeError, "workers is 1.5"),
        ({"slots": 0}, dlbridge.InvalidArgumentError, "slots is 0; pass 1 to 65536$"),
        ({"slots": 2.5}, dlbridge.WrongTypeError, "slots is 2.5; pass an int, 1 to 65536$"),
        ({"keep": -1}, dlbridge.InvalidArgumentError, "keep is -1; pass 0 to 65536$"),
        ({"keep": "x"}, dlbridge.WrongTypeError, "keep is 'x'; pass an int"),
        ({"as_": 3}, dlbridge.InvalidArgumentError, 'as_ is 3; pass "numpy", "torch"'),
        ({"as_": "cpu"}, dlbridge.InvalidArgumentError, "as_ is 'cpu', a device"),
        ({"device": "torch"}, dlbridge.InvalidArgumentError, 'device is "torch", which is a framework'),
        ({"stack": "x"}, dlbridge.WrongTypeError, "stack is 'x'; pass True or False"),
        ({"layout": "NCHW"}, dlbridge.InvalidArgumentError, "layout is 'NCHW'; pass one of 'CHW', 'HWC'"),
        ({"layout": {"a": 3}}, dlbridge.InvalidArgumentError, r"layout\['a'\] is 3; pass one of"),
        ({"dtype": "float7"}, dlbridge.InvalidArgumentError, 'dtype: "float7" names no dtype'),
        ({"dtype": {0: "float"}}, dlbridge.InvalidArgumentError, r"dtype\[0\]: .*float64 in NumPy and float32"),
        ({"scale": "0.1"}, dlbridge.WrongTypeError, "scale is '0.1'; pass a number, or one for each"),
        ({"bias": {"a": [1, None]}}, dlbridge.WrongTypeError, r"bias\['a'\] is \[1, None\]; pass a number"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        dlbridge.Stager([], **options)


def test_next_of_a_new_stager_is_the_first_batch() -> None:
    stager = dlbridge.Stager([np.full(2, number) for number in range(3)], as_="np")
    assert [int(next(stager)[0]) for _ in range(3)] == [0, 1, 2]
    assert next(stager, None) is None
    assert [int(batch[0]) for batch in stager] == [0, 1, 2]
    closed = dlbridge.Stager([np.zeros(2)])
    closed.close()
    assert next(closed, None) is None
    assert len(list(closed)) == 1


@pytest.mark.parametrize("name", ["np", "numpy", np, "pytorch", "torch", torch])
def test_a_framework_has_one_set_of_names(name: Any) -> None:
    array = np.arange(3.0)
    (batch,) = dlbridge.Stager([array], as_=name)
    assert type(batch) is type(dlbridge.to(array, name)) is type(dlbridge.stack([array], as_=name))


def test_numbers_that_can_be_read_once_serve_every_batch() -> None:
    images = [np.ones((2, 3), "f4")] * 3
    with dlbridge.Stager(images, scale=(number for number in (1, 2, 3)), as_="numpy") as stager:
        assert [batch.tolist() for batch in stager] == [[[1, 2, 3]] * 2] * 3


DRIFTS: list[tuple[list[Any], str, dict[str, Any]]] = [
    (
        [{"a": np.ones(2)}, {"a": np.ones(2, "f4")}],
        r"^batch 1, array \['a'\] is float32 and batch 0 was float64; pass dtype={'a': 'float64'} to cast it, or ",
        {"dtype": {"a": "float64"}},
    ),
    (
        [np.ones(2), np.ones(2, "f4")],
        r"^batch 1 is float32 and batch 0 was float64; pass dtype='float64' to cast it, or ragged=True$",
        {"dtype": "float64"},
    ),
    (
        [np.ones(2, "u1"), np.full(2, 0.5)],
        r"^batch 1 is float64 and batch 0 was uint8; pass dtype='float64' to cast it, or ragged=True$",
        {"dtype": "float64"},
    ),
    (
        [(np.ones(2, "i8"), np.ones(2, "u1")), (np.ones(2, "f4"), np.ones(2, "i1"))],
        r"^batch 1, array \[0\] is float32 and batch 0 was int64; pass dtype={0: 'float64'} to cast it, or ",
        {"dtype": {0: "float64", 1: "int16"}},
    ),
    ([np.ones(2), np.ones(1)], r"^batch 1 has shape \(1,\) and batch 0 had \(2,\); pad it, .*", {"ragged": True}),
    (
        [np.ones(2), (np.ones(2), np.ones(2))],
        r"^batch 1 has the arrays \[0\], \[1\] and batch 0 had one array; yield the same arrays each time, or ",
        {"ragged": True},
    ),
]


@pytest.mark.parametrize(("batches", "words", "mended"), DRIFTS)
def test_drift_names_batch_and_array_and_what_mends_it(batches: Any, words: str, mended: dict[str, Any]) -> None:
    with pytest.raises(dlbridge.InvalidArgumentError, match=words):
        list(dlbridge.Stager(batches))
    assert len(list(dlbridge.Stager(batches, **mended))) == 2


CAST = [*"?bBhHiIqQefdFD"]


def test_the_dtype_that_drift_advises_is_numpys_and_is_reached() -> None:
    for one, other in itertools.permutations({np.dtype(code) for code in CAST}, 2):
        batches = [np.ones(2, one), np.ones(2, other)]
        with pytest.raises(dlbridge.InvalidArgumentError) as caught:
            list(dlbridge.Stager(batches))
        want = np.result_type(one, other)
        assert f"pass dtype='{want}' to cast it" in str(caught.value)
        assert [batch.dtype for batch in dlbridge.Stager(batches, dtype=want.name, as_="numpy")] == [want] * 2


def test_the_dtype_that_drift_advises_for_what_numpy_does_not_have() -> None:
    for one, other, want in (
        (torch.bfloat16, torch.float16, "float32"),
        (torch.uint8, torch.bfloat16, "bfloat16"),
        (torch.float8_e4m3fn, torch.float8_e5m2, "float16"),
    ):
        batches = [torch.ones(2, dtype=one), torch.ones(2, dtype=other)]
        with pytest.raises(dlbridge.InvalidArgumentError, match=f"; pass dtype='{want}' to cast it"):
            list(dlbridge.Stager(batches))
        assert [batch.dtype for batch in dlbridge.Stager(batches, dtype=want)] == [want] * 2


def test_what_is_no_array_is_named_as_it_is_reached() -> None:
    with pytest.raises(
        dlbridge.NotAnArrayError,
        match=r"^batch 0, array \['b'\]: .*numpy.asarray\(batch\['b'\]\), or a number or a string that",
    ):
        list(dlbridge.Stager([{"a": np.ones(2), "b": object()}]))
    grad = torch.ones(2, requires_grad=True)
    with pytest.raises(
        dlbridge.UnsupportedError, match=r"^batch 0: .* requires grad; call batch.detach\(\) first$"
    ):
        list(dlbridge.Stager([grad]))


def test_batches_that_are_kept_name_how_many_may_be() -> None:
    batches = [np.ones(2)] * 20
    with pytest.raises(dlbridge.OutOfMemoryError, match=r"a larger keep than 3: at least as many as you keep$"):
        list(dlbridge.Stager(batches, keep=3))
    assert len(list(dlbridge.Stager(batches, keep=20))) == 20


def test_options_for_arrays_that_are_not_there() -> None:
    array = np.zeros((2, 3))
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        ((array, array), {"dtype": {7: "float32"}}, "dtype names 7, and batch 0 has the arrays 0, 1"),
        ({"image": array}, {"scale": {"imgae": 2}}, "scale names 'imgae', and batch 0 has the arrays 'image'"),
        (array, {"bias": {0: 2}}, "bias names 0, and batch 0 has one array and no keys"),
        ({"x": array}, {"stack": {"y": True}}, "stack names 'y'"),
        (
            Pair(array, array),
            {"dtype": {0: "float32"}},
            "dtype names 0, and batch 0 has the arrays 'left', 'right'",
        ),
    ]
    for batch, options, words in wrong:
        with dlbridge.Stager([batch], **options) as stager, pytest.raises(dlbridge.Error, match=words):
            list(stager)
    # Batches that differ may have it later.
    with dlbridge.Stager([{"x": array}], ragged=True, dtype={"y": "float32"}) as stager:
        assert len(list(stager)) == 1


def test_options_for_fields_of_named_tuples_and_dataclasses() -> None:
    def pictures(number: int) -> np.ndarray:
        return np.full((2, 4, 5, 3), number, "uint8")

    options: dict[str, Any] = {
        "stack": {"right": True},
        "dtype": {"left": "float32"},
        "layout": {"left": "CHW"},
        "scale": {"left": 0.5},
    }
    for kind in (Pair, Both):
        batches = [kind(pictures(number), [np.full(3, number)] * 2) for number in (1, 2)]
        with dlbridge.Stager(batches, as_="numpy", **options) as stager:
            for number, batch in enumerate(stager, 1):
                assert type(batch) is kind
                np.testing.assert_array_equal(batch.left, np.full((2, 3, 4, 5), number / 2, "float32"))
                np.testing.assert_array_equal(batch.right, np.full((2, 3), number))
        wrong: list[tuple[Any, str]] = [
            (kind(pictures(1), np.zeros(4)), r"batch 1, array \.right has shape \(4,\) and batch 0 had \(3,\)"),
            (kind(pictures(1), np.zeros(3, "int8")), r"\.right is int8 .* pass dtype=\{'right': 'float64'\}"),
            (kind(pictures(1), object()), r"batch 1, array \.right: .*numpy.asarray\(batch\.right\)"),
        ]
        for second, words in wrong:
            first = kind(pictures(0), np.zeros(3))
            with dlbridge.Stager([first, second]) as stager, pytest.raises(dlbridge.Error, match=words):
                list(stager)


def test_a_named_tuple_that_checks_its_fields_comes_back() -> None:
    class Positive(Pair):
        def __new__(cls, left: Any, right: int) -> Positive:
            assert isinstance(left, np.ndarray)
            return super().__new__(cls, left, right)

    with dlbridge.Stager([Positive(np.ones(2), 3)]) as stager:
        (batch,) = stager
    assert type(batch) is Positive
    assert batch.right == 3


@pytest.mark.parametrize("device", ["cpu", (1, 0), "cpu:0"])
def test_it_says_where_its_batches_go(device: Any) -> None:
    assert repr(dlbridge.Stager([], device=device)) == "<dlbridge.Stager of 3 slots on cpu>"


def test_a_batch_that_contains_itself_is_an_error() -> None:
    batch: list[Any] = []
    batch.append(batch)
    with dlbridge.Stager([batch]) as stager, pytest.raises(dlbridge.InvalidArgumentError, match="contains itself"):
        list(stager)


def test_mappings_become_dicts_and_tuples_plain_ones() -> None:
    class Two(tuple):
        pass

    array = np.zeros(3)
    with dlbridge.Stager([OrderedDict(x=Two((array, 1)))]) as stager:
        (batch,) = stager
    assert type(batch) is dict
    assert type(batch["x"]) is tuple
