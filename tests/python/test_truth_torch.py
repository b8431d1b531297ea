"""torch tensors whose memory does not show what they mean are refused in words that work; other odd ones pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge

IN = {
    "from_dlpack": dlbridge.from_dlpack,
    "to_numpy": dlbridge.to_numpy,
    "asarray": lambda x: np.asarray(dlbridge.from_dlpack(x)),
}


class Labelled(torch.Tensor):
    """A subclass that means nothing else than its memory; dlbridge cannot know."""


def quantized(dtype: torch.dtype = torch.quint8) -> torch.Tensor:
    return torch.quantize_per_tensor(torch.tensor([1.0, 2.0]), 0.5, 0, dtype)


def nested() -> torch.Tensor:
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])


Case = tuple[Callable[[], torch.Tensor], str, Callable[[torch.Tensor], torch.Tensor], Any]
# What it is; the words; the call that they name; and what is then in the array.
REFUSED: dict[str, Case] = {
    "requires_grad": (
        lambda: torch.ones(2, requires_grad=True),
        r"requires grad; call x\.detach\(\)",
        lambda x: x.detach(),
        [1, 1],
    ),
    "parameter": (
        lambda: torch.nn.Parameter(torch.ones(2)),
        r"requires grad; call x\.detach\(\)",
        lambda x: x.detach(),
        [1, 1],
    ),
    "result_of_autograd": (
        lambda: torch.ones(2, requires_grad=True) * 2,
        r"requires grad; call x\.detach\(\)",
        lambda x: x.detach(),
        [2, 2],
    ),
    "conj": (
        lambda: torch.tensor([1 + 2j]).conj(),
        r"conjugate bit set; call x\.resolve_conj\(\)",
        lambda x: x.resolve_conj(),
        [1 - 2j],
    ),
    "neg": (
        lambda: torch.tensor([1 + 2j]).conj().imag,
        r"negative bit set; call x\.resolve_neg\(\)",
        lambda x: x.resolve_neg(),
        [-2],
    ),
    "sparse_coo": (
        lambda: torch.eye(2).to_sparse(),
        r"is sparse; call x\.to_dense\(\)",
        lambda x: x.to_dense(),
        [[1, 0], [0, 1]],
    ),
    "sparse_csr": (
        lambda: torch.eye(2).to_sparse_csr(),
        r"is sparse; call x\.to_dense\(\)",
        lambda x: x.to_dense(),
        [[1, 0], [0, 1]],
    ),
    "mkldnn": (
        lambda: torch.ones(2).to_mkldnn(),
        r"in oneDNN's own layout \(mkldnn\); call x\.to_dense\(\)",
        lambda x: x.to_dense(),
        [1, 1],
    ),
    "zero_tensor": (
        lambda: torch._efficientzerotensor(2),
        r"stands for zeros and has no memory; call x\.clone\(\)",
        lambda x: x.clone(),
        [0, 0],
    ),
    "quint8": (quantized, r"is quantized; call x\.dequantize\(\)", lambda x: x.dequantize(), [1, 2]),
    "qint32": (
        lambda: quantized(torch.qint32),
        r"is quantized; call x\.dequantize\(\)",
        lambda x: x.dequantize(),
        [1, 2],
    ),
    "meta": (
        lambda: torch.ones(2, device="meta"),
        r'meta device and has no data; call torch\.empty_like\(x, device="cpu"\)',
        lambda x: torch.empty_like(x, device="cpu").fill_(7),
        [7, 7],
    ),
    "nested": (
        nested,
        r"is nested; call x\.to_padded_tensor\(0\)",
        lambda x: x.to_padded_tensor(0),
        [[1, 1, 0], [1, 1, 1]],
    ),
    "jagged": (
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
        r"is nested; call x\.to_padded_tensor\(0\)",
        lambda x: x.to_padded_tensor(0),
        [[1, 1, 0], [1, 1, 1]],
    ),
    "subclass": (
        lambda: torch.ones(2).as_subclass(Labelled),
        r"Labelled, a subclass of torch\.Tensor, .* call x\.as_subclass\(torch\.Tensor\)",
        lambda x: x.as_subclass(torch.Tensor),
        [1, 1],
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("way", IN)
@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_call_that_works(name: str, way: str) -> None:
    make, words, mend, values = REFUSED[name]
    tensor = make()
    with pytest.raises(dlbridge.UnsupportedError, match=words) as caught:
        IN[way](tensor)
    assert isinstance(caught.value, BufferError)
    mended = IN[way](mend(tensor))
    assert np.array_equal(np.asarray(mended), np.array(values))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*REFUSED, "parameter_without_grad"])
def test_to_torch_hands_any_torch_tensor_back_as_it_is(name: str) -> None:
    if name == "nested":
        pytest.skip("torch itself cannot print or measure a strided nested tensor's shape")
    tensor = torch.nn.Parameter(torch.ones(2), False) if name not in REFUSED else REFUSED[name][0]()
    assert dlbridge.to_torch(tensor) is tensor
    assert dlbridge.to_torch(tensor, copy=False, readonly="copy") is tensor


@pytest.mark.parametrize("layout", ["sparse_csc", "sparse_bsr", "sparse_bsc"])
@pytest.mark.filterwarnings("ignore")
def test_the_other_sparse_layouts_name_to_dense(layout: str) -> None:
    block = ((2, 2),) if "bs" in layout else ()
    tensor = getattr(torch.eye(4), f"to_{layout}")(*block)
    with pytest.raises(dlbridge.UnsupportedError, match=r"is sparse; call x\.to_dense\(\)"):
        dlbridge.from_dlpack(tensor)


@pytest.mark.parametrize("dtype", ["uint1", "uint4", "uint7", "int1", "int4", "int7"])
def test_torch_integers_below_8_bits_are_refused(dtype: str) -> None:
    tensor = torch.zeros(3, dtype=getattr(torch, dtype))
    with pytest.raises(dlbridge.UnsupportedError, match=r"less than 8 bits.*view\(torch.uint8\)"):
        dlbridge.from_dlpack(tensor)


def test_torch_integers_below_8_bits_can_be_viewed_as_bytes() -> None:
    tensor = torch.tensor([1, 2, 15], dtype=torch.uint8).view(torch.uint4)
    assert dlbridge.to_numpy(tensor.view(torch.uint8)).tolist() == [1, 2, 15]


def test_packed_float4_reaches_numpy_as_bytes_and_no_package_would_help() -> None:
    tensor = torch.full((4,), 0x21, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)
    words = r"^NumPy has no float4_e2m1fnx2; take the bytes with dlbridge\.to_numpy\(dlbridge\.from_dlpack\(x\)\."
    with pytest.raises(dlbridge.UnsupportedError, match=words):
        dlbridge.to_numpy(tensor)
    assert dlbridge.to_numpy(dlbridge.from_dlpack(tensor).view("uint8")).tolist() == [0x21] * 4


@pytest.mark.parametrize("dtype", ["float32x2", "uint8x3", "opaque16", "int128"])
def test_what_ml_dtypes_lacks_does_not_ask_for_it(dtype: str) -> None:
    tensor = dlbridge.from_dlpack(np.zeros((2, 48), "u1")).view(dtype)
    with pytest.raises(dlbridge.UnsupportedError, match=rf"^NumPy has no {dtype}; take the bytes") as caught:
        dlbridge.to_numpy(tensor)
    view = str(caught.value).partition("view(")[2].strip('")')
    assert dlbridge.to_numpy(tensor.view(view)).nbytes == 96


def test_bits_types_have_no_dlpack_type_and_torch_says_so() -> None:
    tensor = torch.zeros(2, dtype=torch.uint8).view(torch.bits8)
    with pytest.raises(dlbridge.ProducerError, match="Bit types are not supported by dlpack") as caught:
        dlbridge.from_dlpack(tensor)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert dlbridge.to_numpy(tensor.view(torch.uint8)).tolist() == [0, 0]


def strided() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0).reshape(2, 3, 4)
    return {
        "zero_dim": torch.tensor(3.5),
        "zero_dim_view": base[1, 2, 3],
        "empty": torch.empty(0, 3),
        "empty_middle": torch.empty(2, 0, 3),
        "expanded": torch.arange(3.0).expand(4, 3),
        "transposed": base.transpose(0, 2),
        "sliced": base[:, ::2, 1:3],
        "channels_last": torch.ones(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "size_1_axes": base[:1, None, :1],
        "parameter_without_grad": torch.nn.Parameter(torch.ones(2), requires_grad=False),
        "buffer": torch.nn.Buffer(torch.ones(2)),
        "no_grad_leaf": torch.ones(3).requires_grad_(False),
        "detached": torch.ones(2, requires_grad=True).detach(),
        "complex": torch.tensor([1 + 2j]),
        "resolved": torch.tensor([1 + 2j]).conj().resolve_conj(),
        "real_view_of_conj": torch.tensor([1 + 2j]).conj().real,
    }


@pytest.mark.parametrize("way", IN)
@pytest.mark.parametrize("name", strided())
def test_what_shows_its_memory_is_shared(name: str, way: str) -> None:
    tensor = strided()[name]
    result = IN[way](tensor)
    array = np.asarray(result)
    assert array.shape == tuple(tensor.shape)
    assert np.array_equal(array, tensor.detach().resolve_conj().numpy())
    assert array.flags.writeable
    if array.size:
        assert array.ctypes.data == tensor.data_ptr()
        item = array.itemsize
        assert [s for s, n in zip(array.strides, array.shape) if n > 1] == [
            s * item for s, n in zip(tensor.stride(), tensor.shape) if n > 1
        ]


def test_a_tensor_made_in_inference_mode_is_memory_like_any_other() -> None:
    with torch.inference_mode():
        tensor = torch.ones(2)
        assert dlbridge.to_numpy(tensor).ctypes.data == tensor.data_ptr()
        assert dlbridge.to_torch(np.ones(2)).tolist() == [1, 1]
    assert dlbridge.to_numpy(tensor).tolist() == [1, 1]


def test_the_default_device_and_dtype_of_torch_do_not_matter() -> None:
    array = np.arange(3, dtype="float32")
    with torch.device("meta"):
        assert dlbridge.to_torch(array).device.type == "cpu"
    torch.set_default_dtype(torch.float64)
    try:
        assert dlbridge.to_torch(array).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("name", ["from_dlpack", "to_numpy"])
def test_a_fake_tensor_is_refused_before_its_memory_is_read(name: str) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        fake = torch.ones(2)
    words = r"FakeTensor, a subclass of torch\.Tensor that stands for .*; make the conversion outside the function"
    with pytest.raises(dlbridge.UnsupportedError, match=words) as caught:
        IN[name](fake)
    assert "as_subclass" not in str(caught.value)  # it would go on standing for others


@pytest.mark.skipif(not torch.distributed.is_available(), reason="a torch without torch.distributed")
def test_a_tensor_of_several_processes_names_its_part_here() -> None:
    from torch.distributed.tensor import Shard, distribute_tensor, init_device_mesh

    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        tensor = distribute_tensor(torch.ones(2, 3), init_device_mesh("cpu", (1,)), [Shard(0)])
        words = r"^x is of type DTensor, .*; call x\.to_local\(\) for the part that is here, or x\.full_tensor\(\)$"
        with pytest.raises(dlbridge.UnsupportedError, match=words):
            dlbridge.from_dlpack(tensor)
        for part in (tensor.to_local(), tensor.full_tensor()):
            assert dlbridge.equal(part, np.ones((2, 3)))
        del tensor, part
    finally:
        torch.distributed.destroy_process_group()
