"""Casts as they are called: reports, the words of errors, `out`, and `dtype=` of the conversions.

What they give for every value is in test_cast_values.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import dlbridge
from cast_values import DTYPES, NAMES, RNG, cast, kept, same

pytestmark = pytest.mark.filterwarnings("ignore")


def test_zero_strides_and_scalars() -> None:
    array = np.broadcast_to(np.float64(2.5), (3, 4))
    assert np.array_equal(cast(array, "float32", "same_value"), np.full((3, 4), 2.5, "float32"))
    scalar = cast(np.array(3.7), "int32", "unsafe")
    assert (scalar.shape, int(scalar)) == ((), 3)
    with pytest.raises(
        dlbridge.LossyError, match=r"1 of 1 elements changes its value.*at \(\), is 3\.7 and became 3"
    ):
        cast(np.array(3.7), "int32", "same_value")
    empty, report = cast(np.empty((0, 3)), "int8", "same_value", report=True)
    assert (empty.shape, report.lost) == ((0, 3), 0)


def test_a_report_counts_in_any_layout() -> None:
    array = RNG.standard_normal((1000, 999)) * 1e5
    array[700, 3] = 1e39
    array[200, 900] = np.nan
    reports = []
    for view in (array, array.T, array[::-1]):
        ours, report = cast(view, "float32", "unsafe", report=True)
        assert same(ours, view.astype("float32")).all()
        changed = ~kept(view.reshape(-1), ours.reshape(-1))
        assert (report.inexact, report.overflow) == (changed.sum() - 1, 1)
        assert report.first_index == np.unravel_index(np.flatnonzero(changed)[0], view.shape)
        difference = np.abs(ours.astype("float64") - view)[np.isfinite(ours)]
        assert report.max_absolute_error == difference.max()
        relative = (difference / np.abs(view[np.isfinite(ours)])).max()
        assert report.max_relative_error == pytest.approx(relative)
        reports.append(report)
        with pytest.raises(dlbridge.LossyError) as error:
            cast(view, "float32", "same_kind")
        refused = error.value.report
        assert refused is not None
        assert refused.overflow == 1
        assert refused.first_index == np.unravel_index(np.argmax(view == 1e39), view.shape)
    assert reports[0][:7] == reports[1][:7] == reports[2][:7]
    without = array[:, 4::2]  # column 3, which has the number out of range, is not in it
    assert same(cast(without, "float32", "same_kind"), without.astype("float32")).all()


def test_what_a_report_shows_differs() -> None:
    _, report = dlbridge.cast(np.array([1.0, 0.1]), "float32", report=True)
    assert (report.first_value, report.first_result) == (0.1, float(np.float32(0.1)))
    _, report = dlbridge.cast(np.array([2**63 - 1]), "complex64", report=True)
    assert (report.first_value, report.first_result) == (2**63 - 1, complex(2**63))


def test_the_words_of_an_error() -> None:
    array = np.array([[1.0, 16777217.0], [0.1, 2.0]])
    with pytest.raises(dlbridge.LossyError) as error:
        dlbridge.cast(array, "float32", casting="same_value")
    words = str(error.value)
    assert words == (
        "2 of 4 elements change their values on the way from float64 to float32; the first, at (0, 1), is "
        "16777217.0 and became 16777216.0; the largest absolute error is 1, the largest relative error 5.96046e-8; "
        'casting="same_value" does not allow that, pass casting="same_kind" to round them'
    )
    assert isinstance(error.value, ValueError)
    with pytest.raises(
        dlbridge.LossyError,
        match=r'1 of 2 elements is out of range.*is 70000\.0 and became inf.*"saturate" to clamp',
    ):
        dlbridge.cast(np.array([70000.0, 1]), "float16")
    with pytest.raises(dlbridge.LossyError, match=r'is NaN on.*is nan and became 0;.*"saturate", which'):
        dlbridge.cast(np.array([np.nan, 1]), "uint8", casting="same_value")
    with pytest.raises(
        dlbridge.InvalidArgumentError,
        match=r'not cast to int32.*from bool to unsigned .*never back; pass casting="same_value"',
    ):
        dlbridge.cast(array, "int32")
    with pytest.raises(dlbridge.LossyError, match=r"became inf; no error is finite; casting"):
        dlbridge.cast(np.array([1e300]), "float32")
    with pytest.raises(dlbridge.LossyError, match=r"the largest finite absolute error is 1\.49012e-9, "):
        dlbridge.cast(np.array([1e300, 0.1]), "float32", casting="same_value")
    with pytest.raises(dlbridge.LossyError, match=r"is 0\.1 and became 0\.10000000149011612;"):
        dlbridge.cast(np.array([0.1]), "float32", casting="same_value")
    words = r'is neither 0 nor 1.*"unsafe", which makes everything but 0 true'
    with pytest.raises(dlbridge.LossyError, match=words):
        dlbridge.cast(np.array([0, 5]), "bool", casting="same_value")
    with pytest.raises(dlbridge.LossyError, match=r"became -2147483648; casting"):
        dlbridge.cast(np.array([np.nan]), "int32", casting="same_value")
    with pytest.raises(dlbridge.InvalidArgumentError, match='casting is "no"; pass "same_kind"'):
        dlbridge.cast(array, "int32", casting="no")
    with pytest.raises(dlbridge.InvalidArgumentError, match="casting is 3; pass"):
        dlbridge.cast(array, "int32", casting=3)  # type: ignore[arg-type]
    with pytest.raises(dlbridge.UnsupportedError, match="float4_e2m1fn is not cast"):
        dlbridge.cast(array, "float4_e2m1fn")


def test_a_report_prints_as_a_table() -> None:
    _, report = dlbridge.cast(
        np.array([1.5, 16777217.0, 1e39, 1e-60, np.nan]), "float32", casting="unsafe", report=True
    )
    assert str(report).splitlines() == [
        "elements            5",
        "changed             3 (60.000%)",
        "  inexact           1 (20.000%)",
        "  overflow          1 (20.000%)",
        "  underflow         1 (20.000%)",
        "  nan               0",
        "max absolute error  1 (where finite)",
        "max relative error  1 (where finite)",
        "first at            1",
        "  value             16777217.0",
        "  result            16777216.0",
    ]
    assert report.lost == 3
    _, report = dlbridge.cast(np.array([1.5, 16777217.0]), "float32", report=True)
    assert "max absolute error  1\n" in str(report)


@pytest.mark.parametrize("target", NAMES)
def test_nothing_in_out_looks_like_a_result_after_a_refusal(target: str) -> None:
    if target == "complex128":
        pytest.skip("every value but those of int64 and uint64 is one of complex128")
    array = np.array([[1.0, 0.0], [0.1, 1e300]])
    memory = np.zeros((2, 5), DTYPES[target])
    out = memory[:, 1:4:2]
    source = array if target != "float64" else np.array([[2**53 + 1, 0], [1, 2]])
    with pytest.raises(dlbridge.LossyError):
        dlbridge.cast(source, target, casting="same_value", out=out)
    if DTYPES[target].kind in "bu":
        assert (out == np.array(-1).astype(target)).all()
    elif DTYPES[target].kind == "i":
        assert (out == np.iinfo(target).min).all()
    else:
        assert np.isnan(out).all()
    assert (memory[:, ::2] == 0).all()


def test_out_is_checked_before_anything_is_written() -> None:
    array = np.arange(6.0).reshape(2, 3)
    out = np.zeros((2, 3), "float32")
    for call, error, words in [
        (
            lambda: dlbridge.cast(array, "float16", out=out),
            dlbridge.InvalidArgumentError,
            "dtype is float16 and out holds float32",
        ),
        (
            lambda: dlbridge.cast(array[:1], "float32", out=out),
            dlbridge.InvalidArgumentError,
            r"shape \[2, 3\] and x has \[1, 3\]",
        ),
        (
            lambda: dlbridge.cast(array, "float32", out=np.broadcast_to(out[:1], (2, 3))),
            dlbridge.ReadOnlyError,
            "read-only",
        ),
        (
            lambda: dlbridge.cast(out.view("int32"), "float32", out=out),
            dlbridge.UnsupportedError,
            "out shares memory",
        ),
    ]:
        with pytest.raises(error, match=words):
            call()
    assert (out == 0).all()
    tensor = torch.zeros(2, 3)
    assert dlbridge.cast(array, torch.float32, out=tensor) is tensor
    assert tensor.tolist() == array.tolist()
    same_out, report = dlbridge.cast(array, "f4", out=out, report=True)
    assert same_out is out
    assert report.lost == 0


def test_astype_and_dtype_of_the_conversions() -> None:
    array = np.array([1.5, 2.5, 1e39])
    tensor = dlbridge.from_dlpack(array)
    assert tensor.astype("float64").data_ptr != tensor.data_ptr
    assert tensor[:2].astype("float32").numpy().tolist() == [1.5, 2.5]
    with pytest.raises(dlbridge.LossyError):
        tensor.astype("float32")
    made, report = tensor.astype("float16", casting="saturate", report=True)
    assert made.numpy().tolist() == [1.5, 2.5, 65504]
    assert report.overflow == 1
    assert dlbridge.to_torch(array[:2], dtype="float32").tolist() == [1.5, 2.5]
    assert dlbridge.to_torch(array[:2], dtype=torch.float64).data_ptr() == array.ctypes.data
    assert dlbridge.to_numpy(torch.ones(2), dtype="int16", casting="same_value").dtype == np.int16
    for call in (dlbridge.to_numpy, dlbridge.to_torch):
        with pytest.raises(dlbridge.CopyRequiredError, match="float64 becomes float32 in memory of its own only"):
            call(array, dtype="float32", copy=False)
        _shared, report = call(array, report=True)
        assert (report.elements, report.lost) == (3, 0)
    frozen = array[:2].copy()
    frozen.flags.writeable = False
    assert dlbridge.to_torch(frozen, dtype="float32").tolist() == [1.5, 2.5]
    assert dlbridge.to_torch(array[1::-1], dtype="bfloat16").tolist() == [2.5, 1.5]
    brain = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    assert dlbridge.to_numpy(brain, dtype="float32").tolist() == [1.5, -2.0]


def in_elements(array: Any) -> tuple[int, ...]:
    return tuple(stride // array.itemsize for stride in array.strides)


def test_a_cast_keeps_the_order_of_the_dimensions_as_those_of_numpy_and_torch_do() -> None:
    pictures = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    turned = np.random.default_rng(3).random((4, 5, 3)).transpose(2, 0, 1)
    columns = np.asfortranarray(turned)
    ones = [pictures[:1], pictures[:, :, :1].clone(), torch.rand(2, 3, 4, 1).to(memory_format=torch.channels_last)]
    for source in (pictures, *ones, pictures.permute(3, 0, 2, 1), pictures[:, :, ::2], pictures[:, 1]):
        made = dlbridge.to_torch(source, dtype="float16")
        assert torch.equal(made, source.to(torch.float16))
        assert made.stride() == source.to(torch.float16).stride()
        assert dlbridge.to_torch(source, dtype="float16", copy=True).stride() == made.stride()
        assert dlbridge.to_torch(source, copy=True).stride() == source.clone().stride()
        assert in_elements(dlbridge.to_numpy(source, dtype="float16")) == made.stride()
    for array in (turned, columns, turned[:, ::-1], columns[::2], np.broadcast_to(columns, (2, 3, 4, 5))):
        made_array = dlbridge.to_numpy(array, dtype="float16", casting="unsafe")
        assert np.array_equal(made_array, array.astype("float16"))
        assert made_array.strides == array.astype("float16").strides
        made = dlbridge.from_dlpack(array).torch(dtype="float16", casting="unsafe")
        assert made.stride() == in_elements(made_array)
    assert dlbridge.to_torch(pictures, dtype="float16").is_contiguous(memory_format=torch.channels_last)
    # A Tensor of dlbridge's own is row-major, whatever it is made of.
    assert dlbridge.cast(pictures, "float16").contiguous
    assert dlbridge.from_dlpack(pictures, dtype="float16").astype("float32").contiguous


def steps_of(strides: tuple[int, ...], x: torch.Tensor) -> list[int]:
    """Those that are stepped: the stride of a single element may be anything."""
    return [stride for stride, extent in zip(strides, x.shape, strict=True) if extent > 1]


def test_what_repeats_elements_keeps_the_order_that_torch_gives_it() -> None:
    assert dlbridge.to_torch(torch.rand(4).expand(3, 4), copy=True).stride() == (4, 1)
    assert dlbridge.to_torch(torch.rand(4).expand(3, 4), dtype="float16").stride() == (4, 1)
    random = np.random.default_rng(11)
    for _ in range(2000):
        ndim = random.integers(1, 6)
        shape = random.integers(1, 5, ndim)
        steps = [slice(None, None, int(step)) for step in random.integers(1, 3, ndim)]
        x = torch.rand(*(2 * shape).tolist())[tuple(steps)].permute(*random.permutation(ndim).tolist())
        repeats = random.random(ndim) < 0.4
        x = x[tuple(slice(0, 1) if each else slice(None) for each in repeats)]
        wide = [int(random.integers(2, 5)) if each else -1 for each in repeats]
        x = x.expand(int(random.integers(2, 4)), *wide) if random.random() < 0.3 else x.expand(*wide)
        x = x.permute(*random.permutation(x.ndim).tolist())
        for made, expected in (
            (dlbridge.to_torch(x, copy=True), x.clone()),
            (dlbridge.to_torch(x, dtype="float16"), x.to(torch.float16)),
        ):
            assert torch.equal(made, expected)
            assert steps_of(made.stride(), x) == steps_of(expected.stride(), x), (x.shape, x.stride())
        array = dlbridge.to_numpy(x, dtype="float16")
        assert steps_of(in_elements(array), x) == steps_of(expected.stride(), x)


def test_a_cast_in_another_order_counts_what_it_lost_where_it_was() -> None:
    pictures = torch.zeros(2, 3, 4, 5).to(memory_format=torch.channels_last)
    pictures[1, 2, 0, 4] = 0.1
    pictures[1, 1, 3, 0] = 1e-9
    report = dlbridge.to_torch(pictures, dtype="float16", report=True)[1]
    assert (report.first_index, report.inexact, report.underflow) == ((1, 1, 3, 0), 1, 1)


def test_a_copy_of_what_requires_grad_is_torchs_clone_and_a_cast_is_refused() -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    clone = dlbridge.to_torch(parameter, copy=True)
    assert type(clone) is torch.Tensor
    assert type(clone.grad_fn) is type(parameter.clone().grad_fn)
    clone.sum().backward()
    assert parameter.grad is not None
    assert torch.equal(parameter.grad, torch.ones(2, 3))
    with pytest.raises(dlbridge.UnsupportedError, match=r"requires grad; call x\.detach\(\) first"):
        dlbridge.to_torch(parameter, dtype="float16", copy=True)
    assert not dlbridge.to_torch(parameter.detach(), copy=True).requires_grad


def test_from_dlpack_with_another_dtype() -> None:
    array = np.array([1.5, 2.5, 0.1])
    tensor, report = dlbridge.from_dlpack(array, dtype="float32", report=True)
    assert (tensor.dtype, tensor.copied, report.inexact) == ("float32", True, 1)
    assert dlbridge.from_dlpack(array, dtype=float).data_ptr == array.ctypes.data
    same_tensor, report = dlbridge.from_dlpack(tensor, dtype="float32", report=True)
    assert same_tensor is tensor
    assert (report.elements, report.lost) == (3, 0)
    copied = dlbridge.from_dlpack(tensor, dtype="float32", copy=True)
    assert copied.data_ptr != tensor.data_ptr
    with pytest.raises(dlbridge.CopyRequiredError, match="float64 becomes float16"):
        dlbridge.from_dlpack(array, dtype="float16", copy=False)
    with pytest.raises(dlbridge.LossyError, match=r"1 of 3 elements changes.*0\.1"):
        dlbridge.from_dlpack(array, dtype="float32", casting="same_value")
    with pytest.raises(dlbridge.Error, match="cuda"):
        dlbridge.from_dlpack(array, dtype="float32", device="cuda:0")
    assert dlbridge.live_tensors() >= 2


class Producer:
    def __init__(self, array: Any) -> None:
        self.array, self.calls = array, 0

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()  # type: ignore[no-any-return]

    def __dlpack__(self, **keywords: Any) -> Any:
        self.calls += 1
        return self.array.__dlpack__(**keywords)


CONVERSIONS = [dlbridge.from_dlpack, dlbridge.to_numpy, dlbridge.to_torch]


@pytest.mark.parametrize("convert", CONVERSIONS)
@pytest.mark.parametrize("copy", [None, False, True])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_source_is_read_once_whatever_its_dtype(convert: Any, copy: bool | None, dtype: str) -> None:
    if copy is False and dtype == "float32":
        return
    array = np.arange(6.0)
    casts = {"dtype": dtype, "copy": copy}
    for source in (array.__dlpack__(max_version=(1, 0)), Producer(array)):
        made = dlbridge.to_numpy(convert(source, **casts))
        assert np.array_equal(made, array)
        assert made.dtype == dtype
        assert np.shares_memory(made, array) == (dtype == "float64" and not copy)
    assert isinstance(source, Producer)
    assert source.calls == 1
    made, report = convert(array.__dlpack__(max_version=(1, 0)), report=True, **casts)
    assert (report.elements, report.lost, made.shape) == (6, 0, (6,))


@pytest.mark.parametrize("convert", CONVERSIONS)
@pytest.mark.parametrize("wrong", [{"dtype": "float7"}, {"dtype": "float64", "copy": "yes"}])
def test_a_capsule_is_not_lost_to_a_wrong_argument(convert: Any, wrong: dict[str, str]) -> None:
    capsule = np.arange(6.0).__dlpack__(max_version=(1, 0))
    with pytest.raises(dlbridge.InvalidArgumentError):
        convert(capsule, **wrong)
    assert dlbridge.to_numpy(convert(capsule))[5] == 5


def test_a_report_asks_no_more_of_a_result_than_the_call_without_it() -> None:
    parameter = torch.nn.Parameter(torch.ones(2, 3))
    dates = np.array(["2020-01-01", "2020-01-02"], "datetime64[D]")
    calls: list[tuple[Any, Any, int]] = [
        (dlbridge.to_torch, parameter, 6),
        (dlbridge.to_torch, torch.eye(3).to_sparse(), 9),
        (dlbridge.to_torch, torch.ones(3, dtype=torch.complex64).conj(), 3),
        (dlbridge.to_numpy, np.array([None]), 1),
        (dlbridge.to_numpy, dates, 2),
        (dlbridge.to_numpy, np.zeros((0, 3), ">f4"), 0),
        (dlbridge.from_dlpack, np.zeros((2, 2)), 4),
    ]
    for convert, source, elements in calls:
        made, report = convert(source, copy=True, report=True)
        assert type(made) is type(convert(source, copy=True))
        assert (report.elements, report.lost) == (elements, 0)
    made, report = dlbridge.to_torch(parameter, report=True)
    assert made is parameter
    assert report.elements == 6


def test_explain_tells_of_a_cast() -> None:
    told = dlbridge.explain(np.zeros((3, 4)), "torch", dtype="float32")
    assert str(told).splitlines() == [
        "to             torch",
        "works          yes",
        "zero-copy      no",
        "why            float64 becomes float32, in memory of its own",
        "bytes to move  48",
        "change         drop dtype=",
        "copy           cast, 1 pass, 1 thread",
    ]
    assert dlbridge.explain(np.zeros((3, 4)), "torch", dtype=torch.float64).zero_copy
    dlbridge.set_num_threads(2)
    try:
        assert dlbridge.explain(np.zeros((2048, 512)), "numpy", dtype="f4").plan == "cast, 1 pass, 2 threads"
    finally:
        dlbridge.set_num_threads(0)
    with pytest.raises(dlbridge.Error, match="float7"):
        dlbridge.explain(np.zeros(3), "torch", dtype="float7")


@pytest.mark.parametrize("imaginary", [1.0, 1e-50, 1e30, float("inf"), float("nan")])
@pytest.mark.parametrize("target", ["float16", "float32", "int32", "bool"])
def test_a_dropped_imaginary_part_is_inexact_whatever_it_was(imaginary: float, target: str) -> None:
    _, report = dlbridge.cast(np.array([complex(1, imaginary)]), target, casting="unsafe", report=True)
    assert (report.inexact, report.lost) == (1, 1)
    _, report = dlbridge.cast(np.array([complex(1e39, imaginary)]), "float32", casting="unsafe", report=True)
    assert (report.overflow, report.lost) == (1, 1)
