"""What people do today on the way between NumPy and torch, beside the call that dlbridge has for it.

`t01_...`: the row of the tutorials' situations that a test covers.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge
from dlpack_structs import NAMES, NEW_CAPSULE, Producer, Versioned


def test_t01_from_numpy_shares_both_ways() -> None:
    array = np.zeros((2, 3), "float32")
    today, ours = torch.from_numpy(array), dlbridge.to_torch(array)
    assert today.data_ptr() == ours.data_ptr() == array.ctypes.data
    assert today.dtype == ours.dtype == torch.float32
    array[0, 1] = 5
    ours[1, 2] = 7
    expected = [[0, 5, 0], [0, 0, 7]]
    assert array.tolist() == today.tolist() == ours.tolist() == expected


def test_t02_numpy_shares_and_in_place_work_shows() -> None:
    tensor = torch.ones(5)
    today, ours = tensor.numpy(), dlbridge.to_numpy(tensor)
    tensor.add_(1)
    assert today.ctypes.data == ours.ctypes.data == tensor.data_ptr()
    assert today.dtype == ours.dtype == np.float32
    assert today.tolist() == ours.tolist() == [2] * 5
    out = tensor + 1  # not in place: memory of its own
    assert out.tolist() == [3] * 5
    assert ours.tolist() == [2] * 5


def test_t03_a_narrower_dtype_is_asked_for_and_overflow_refused() -> None:
    array = np.array([1.0, 2.0**24 + 1, 0.1])
    today = torch.Tensor(array)  # float32, without a word
    assert today.tolist()[1] == 2**24
    ours, lost = dlbridge.to_torch(array, dtype="float32", report=True)
    assert ours.dtype == today.dtype == torch.float32
    assert torch.equal(ours, today)
    assert ours.data_ptr() != array.ctypes.data
    assert (lost.elements, lost.inexact, lost.first_index, lost.max_absolute_error) == (3, 2, (1,), 1)
    words = r"2 of 3 elements change their values.*at index 1, is 16777217\.0 and became 16777216\.0"
    with pytest.raises(dlbridge.LossyError, match=words):
        dlbridge.to_torch(array, dtype="float32", casting="same_value")
    array[0] = 1e39
    assert torch.Tensor(array)[0] == torch.inf
    with pytest.raises(dlbridge.LossyError, match=r"1 of 3 elements is out of range.*1e39 and became inf"):
        dlbridge.to_torch(array, dtype="float32")
    assert dlbridge.to_torch(array, dtype="float64").data_ptr() == array.ctypes.data


def test_t04_a_copy_is_memory_of_its_own() -> None:
    array = np.random.default_rng(4).standard_normal((512, 640))
    expected = array.tolist()
    today, ours = torch.tensor(array), dlbridge.to_torch(array, copy=True)
    assert ours.dtype == today.dtype == torch.float64
    assert torch.equal(ours, today)
    assert len({ours.data_ptr(), today.data_ptr(), array.ctypes.data}) == 3
    assert ours.is_contiguous()
    ours[0, 0] = 7
    assert array.tolist() == expected


def test_t05_float_loses_accuracy_and_cast_says_how_much() -> None:
    array = np.random.default_rng(5).standard_normal(1000)
    today = torch.from_numpy(array).float()
    ours, lost = dlbridge.cast(array, "float32", report=True)
    assert torch.equal(ours.torch(), today)
    errors = np.abs(today.double().numpy() - array)
    assert lost.inexact == np.count_nonzero(errors) == 1000
    assert lost.max_absolute_error == errors.max()
    assert lost.max_relative_error == (errors / np.abs(array)).max()
    assert str(lost).splitlines()[1] == "changed             1,000 (100.000%)"
    back, nothing = ours.astype("float64", casting="same_value", report=True)  # wider, which loses nothing
    assert nothing.lost == 0
    assert np.array_equal(back.numpy(), today.double().numpy())


def test_t06_independent_memory_is_asked_for() -> None:
    tensor, array = torch.arange(3.0), np.arange(3.0)
    copies: list[tuple[Any, Any]] = [
        (tensor.numpy().copy(), dlbridge.to_numpy(tensor, copy=True)),
        (tensor.clone().numpy(), dlbridge.to_numpy(tensor, copy=True)),
        (torch.from_numpy(array.copy()), dlbridge.to_torch(array, copy=True)),
        (torch.tensor(array), dlbridge.to_torch(array, copy=True)),
    ]
    tensor.zero_()
    array[:] = 0
    for today, ours in copies:
        assert today.dtype == ours.dtype
        assert today.tolist() == ours.tolist() == [0, 1, 2]
        assert not np.shares_memory(np.asarray(today), np.asarray(ours))


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_t07_array_copies_asarray_shares() -> None:
    tensor = torch.arange(3.0)
    ours = dlbridge.from_dlpack(tensor)
    for source in (tensor, ours):
        copied, cast, shared = np.array(source), np.array(source, dtype=np.float64), np.asarray(source)
        assert (copied.dtype, cast.dtype, shared.dtype) == (np.float32, np.float64, np.float32)
        assert shared.ctypes.data == tensor.data_ptr()
        assert tensor.data_ptr() not in (copied.ctypes.data, cast.ctypes.data)
        assert copied.tolist() == cast.tolist() == shared.tolist() == [0, 1, 2]
        assert np.asarray(source, dtype="float64").dtype == np.float64
    assert np.asarray(ours, copy=False).ctypes.data == tensor.data_ptr()
    assert np.array(ours, copy=True).ctypes.data != tensor.data_ptr()
    with pytest.raises(BufferError, match="float32 cannot become float64 without a copy; drop copy=False"):
        np.asarray(ours, dtype="float64", copy=False)


def test_t08_a_round_trip_is_one_buffer() -> None:
    tensor = torch.ones(5, 2)
    today = torch.from_numpy(tensor.numpy())
    ours = dlbridge.to_torch(dlbridge.to_numpy(tensor))
    assert tensor.data_ptr() == today.data_ptr() == ours.data_ptr()
    ours[4, 1] = 3
    assert tensor[4, 1] == 3
    assert ours.shape == today.shape == (5, 2)
    again = dlbridge.to_torch(dlbridge.from_dlpack(dlbridge.to_numpy(dlbridge.from_dlpack(ours))))
    assert again.data_ptr() == tensor.data_ptr()


def on_cuda(shape: tuple[int, ...], strides: tuple[int, ...]) -> tuple[Producer, Any]:
    """A producer of a float32 tensor that claims to be on a CUDA device, and what keeps it alive."""
    counts = ctypes.c_int64 * len(shape)
    held = (counts(*shape), counts(*strides), (ctypes.c_float * 64)())
    managed = Versioned(major=1, minor=3)
    tensor = managed.dl_tensor
    tensor.data, tensor.ndim = ctypes.addressof(held[2]), len(shape)
    tensor.device.device_type, tensor.device.device_id = 2, 1
    tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes = 2, 32, 1
    tensor.shape = ctypes.cast(held[0], ctypes.POINTER(ctypes.c_int64))
    tensor.strides = ctypes.cast(held[1], ctypes.POINTER(ctypes.c_int64))
    return Producer(NEW_CAPSULE(ctypes.addressof(managed), NAMES[0], None)), (held, managed)


def test_t10_device_memory_is_never_fetched_behind_your_back() -> None:
    producer, _alive = on_cuda((2, 3), (3, 1))
    tensor = dlbridge.from_dlpack(producer)
    assert tensor.device == "cuda:1"
    assert tensor[1].data_ptr == tensor.data_ptr + 12
    for call in (dlbridge.to_numpy, np.asarray, lambda x: x.numpy()):
        words = r"the data is on cuda:1 and NumPy reads host memory; call dlbridge\.download\(x\)\.result\(\) first"
        with pytest.raises(dlbridge.UnsupportedError, match=words):
            call(tensor)
    with pytest.raises(dlbridge.UnavailableError, match="cuda:1 cannot be used here"):
        dlbridge.from_dlpack(tensor, device="cpu")
    with pytest.raises(dlbridge.CopyRequiredError, match="copy=False"):
        dlbridge.from_dlpack(tensor, device="cpu", copy=False)


def test_t10_a_copy_of_device_memory_is_not_made_on_the_host() -> None:
    producer, _alive = on_cuda((2, 3), (3, -1))
    with pytest.raises(dlbridge.Error):
        dlbridge.to_torch(dlbridge.from_dlpack(producer), copy=True)


def test_t17_transposed_and_sliced_arrays_are_shared_or_refused() -> None:
    image = np.arange(2 * 4 * 3, dtype="uint8").reshape(2, 4, 3)  # height, width, colours
    for view in (image.transpose(2, 0, 1), image[:, 1:3], image[::2], image.T):
        today, ours = torch.from_numpy(view), dlbridge.to_torch(view)
        assert today.data_ptr() == ours.data_ptr() == view.ctypes.data
        assert [s for s, n in zip(today.stride(), view.shape) if n > 1] == [
            s for s, n in zip(ours.stride(), view.shape) if n > 1
        ]
        assert np.array_equal(ours.numpy(), view)
    chw = torch.arange(24).reshape(2, 3, 4).permute(2, 0, 1)
    assert dlbridge.to_numpy(chw).ctypes.data == chw.numpy().ctypes.data
    flipped = image[:, ::-1]
    with pytest.raises(ValueError, match="negative"):
        torch.from_numpy(flipped)
    with pytest.raises(dlbridge.UnsupportedError, match=r"axis 1 has the negative stride -3"):
        dlbridge.to_torch(flipped)
    assert np.array_equal(dlbridge.to_torch(np.ascontiguousarray(flipped)).numpy(), flipped)


def test_t19_nan_survives_and_masks_do_not_go_unnoticed() -> None:
    array = np.array([1.0, np.nan, -np.inf, -0.0])
    today, ours = torch.from_numpy(array), dlbridge.to_torch(array)
    assert today.isnan().tolist() == ours.isnan().tolist() == [False, True, False, False]
    assert np.array_equal(dlbridge.to_numpy(ours).view("int64"), array.view("int64"))
    masked = np.ma.masked_invalid(array)
    assert torch.from_numpy(masked).isnan().tolist() == [False, True, False, False]  # the mask is gone
    with pytest.raises(dlbridge.UnsupportedError, match=r"masked \(.*2 elements.*\)"):
        dlbridge.to_torch(masked)
    assert dlbridge.to_torch(masked.filled(0)).tolist() == [1, 0, 0, 0]


def test_t20_matplotlib_draws_a_tensor() -> None:
    matplotlib = pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    matplotlib.use("Agg")
    from matplotlib import pyplot

    image = torch.arange(12.0).reshape(3, 4)
    ours = dlbridge.from_dlpack(image)
    figure, axes = pyplot.subplots()
    try:
        drawn, today = axes.imshow(ours).get_array(), axes.imshow(image.numpy()).get_array()
        assert np.array_equal(drawn, today)
        (line,) = axes.plot(ours[0])
        assert line.get_ydata(orig=False).tolist() == [0, 1, 2, 3]
        axes.hist(dlbridge.to_numpy(ours).ravel())
        figure.canvas.draw()
    finally:
        pyplot.close(figure)


def test_t20_pillow_takes_the_numpy_array_and_keeps_it_alive() -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    tensor = dlbridge.from_dlpack(torch.arange(12, dtype=torch.uint8).reshape(3, 4))
    drawn = image.fromarray(tensor.numpy())
    del tensor
    assert drawn.size == (4, 3)
    assert list(drawn.tobytes()) == list(range(12))
    for name in ("__array_interface__", "__array_struct__"):  # NumPy would ask for them before __array__
        assert not hasattr(dlbridge.Tensor, name)


@pytest.mark.filterwarnings("ignore")
def test_t20_pandas_describes_a_tensor() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    tensor = torch.arange(12.0).reshape(4, 3)
    today = pd.DataFrame(tensor.numpy(), columns=list("abc"))
    ours = pd.DataFrame(np.asarray(dlbridge.from_dlpack(tensor)), columns=list("abc"))
    pd.testing.assert_frame_equal(today.describe(), ours.describe())
    assert pd.Series(np.asarray(dlbridge.from_dlpack(tensor)[:, 0])).tolist() == [0, 3, 6, 9]


def test_t20_pandas_takes_a_tensor_as_it_is() -> None:
    pd = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pd.DataFrame(dlbridge.from_dlpack(np.arange(6.0).reshape(2, 3)))
    assert frame.shape == (2, 3)
    assert frame.to_numpy().tolist() == [[0, 1, 2], [3, 4, 5]]


def test_t20_scipy_filters_a_tensor() -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is not installed")
    image = torch.arange(25.0).reshape(5, 5)
    today = ndimage.gaussian_filter(image.numpy(), 1)
    assert np.array_equal(ndimage.gaussian_filter(dlbridge.from_dlpack(image), 1), today)


def test_t15_pictures_become_one_normalised_batch_in_one_pass() -> None:
    rng = np.random.default_rng(15)
    pictures = [rng.integers(0, 256, (32, 24, 3), "uint8") for _ in range(4)]
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    today = torch.stack([torch.from_numpy(p).permute(2, 0, 1).float() / 255 for p in pictures])
    today = (today - torch.from_numpy(mean)[:, None, None]) / torch.from_numpy(std)[:, None, None]
    ours = dlbridge.stack(
        pictures, layout="CHW", dtype="float32", scale=1 / (255 * std), bias=-mean / std, as_="torch"
    )
    assert ours.dtype == today.dtype == torch.float32
    assert ours.shape == today.shape == (4, 3, 32, 24)
    assert ours.is_contiguous()
    assert dlbridge.allclose(
        ours, today, rtol=1e-5, atol=1e-6
    )  # other roundings: one multiplication instead of two divisions
    assert not any(np.shares_memory(ours.numpy(), p) for p in pictures)


def test_t16_a_list_of_arrays_is_stacked() -> None:
    arrays = [np.random.default_rng(16 + i).standard_normal(50).astype("float32") for i in range(30)]
    today = torch.tensor(np.array(arrays))  # torch.tensor(arrays) goes element by element, and warns
    ours = dlbridge.stack(arrays, as_="torch")
    assert ours.dtype == today.dtype
    assert torch.equal(ours, today)
    assert ours.data_ptr() not in [a.ctypes.data for a in arrays]
    mixed = dlbridge.stack([arrays[0], torch.from_numpy(arrays[1]), dlbridge.from_dlpack(arrays[2])], as_="numpy")
    assert np.array_equal(mixed, np.stack(arrays[:3]))


def test_t18_a_conversion_is_verified_in_one_pass() -> None:
    array = np.random.default_rng(18).standard_normal((20, 30))
    tensor = torch.tensor(array)
    assert np.array_equal(array, tensor.numpy())
    assert np.allclose(array, tensor.numpy())
    assert dlbridge.equal(array, tensor, strict=True)
    assert dlbridge.allclose(array, tensor)
    narrow = tensor.float()
    assert not np.array_equal(array, narrow.numpy())
    assert np.allclose(array, narrow.numpy())
    assert not dlbridge.equal(array, narrow)
    assert dlbridge.allclose(array, narrow)
    tensor[3, 4] += 1
    report = dlbridge.equal(array, tensor, strict=True, report=True)
    assert not report
    assert report.differing == 1
    assert report.first == ((3, 4), array[3, 4], tensor[3, 4].item())
    assert str(report).startswith("1 of 600 elements differ, the first at [3, 4]")


def test_t23_a_table_of_conversions_is_printed_and_drawn(tmp_path: Path) -> None:
    picture = tmp_path / "bench.png"
    command = [
        sys.executable,
        "-m",
        "dlbridge",
        "bench",
        "--sizes",
        "8",
        "64",
        "--rounds",
        "1",
        "--plot",
        str(picture),
    ]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    assert printed.stderr == ""  # the bar is for terminals
    rows = [re.split(r"  +", line.strip()) for line in printed.stdout.splitlines() if "^2" in line]
    assert [tuple(row[:3]) for row in rows] == [
        (name, dtype, size)
        for size in ("8^2", "64^2")
        for dtype in ("float64", "float32")
        for name in (
            "torch.from_numpy(a)",
            "t.numpy()",
            "torch.tensor(a)",
            f"torch.from_numpy(a).to({'float32' if dtype == 'float64' else 'float16'})",
        )
    ]
    assert all(float(number.replace(",", "")) > 0 for row in rows for number in row[3:6])
    assert picture.read_bytes().startswith(b"\x89PNG")
