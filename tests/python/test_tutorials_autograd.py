"""What people do today with gradients, traces and transforms of torch, beside the call that dlbridge has for it.

`t21_...`: the row of the tutorials' situations that a test covers.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
import torch

import dlbridge


def train(weights: torch.Tensor) -> torch.optim.Optimizer:
    weights.requires_grad_()
    (weights**2).sum().backward()
    return torch.optim.SGD([weights], lr=0.25)


def test_t21_an_optimizer_step_writes_the_array() -> None:
    arrays = np.array([1.0, 2.0]), np.array([1.0, 2.0])
    today, ours = torch.from_numpy(arrays[0]), dlbridge.to_torch(arrays[1])
    for weights, array in ((today, arrays[0]), (ours, arrays[1])):
        assert weights.is_leaf
        optimizer = train(weights)
        assert weights.grad is not None
        assert weights.grad.tolist() == [2, 4]
        optimizer.step()
        assert array.tolist() == [0.5, 1.0]
        assert weights.data_ptr() == array.ctypes.data
    with pytest.raises(dlbridge.UnsupportedError, match=r"requires grad; call x\.detach\(\)"):
        dlbridge.to_numpy(ours)
    assert dlbridge.to_numpy(ours.detach()).ctypes.data == arrays[1].ctypes.data


@pytest.mark.parametrize("convert", [torch.from_numpy, dlbridge.to_torch])
def test_t21_a_numpy_write_between_forward_and_backward(convert: Any) -> None:
    array = np.array([1.0, 2.0])
    data = convert(array)
    weights = torch.ones(2, dtype=torch.float64, requires_grad=True)
    loss = (weights * data).sum()  # backward needs `data`
    array[:] = 100
    loss.backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [100, 100]  # wrong, and unnoticed: the gradients were [1, 2]

    loss = (weights * data).sum()
    array[:] = 7
    torch.autograd.graph.increment_version(data)  # the cure: autograd is told
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.filterwarnings("ignore")
def test_t22_a_trace_never_keeps_a_constant() -> None:
    tensor = torch.arange(3.0)
    today = torch.jit.trace(lambda t: torch.from_numpy(t.numpy()) * 2, tensor, check_trace=False)
    assert today(tensor + 1).tolist() == [0, 2, 4]  # the values of the example, for ever
    conversions = [
        lambda t: dlbridge.to_torch(dlbridge.to_numpy(t)) * 2,
        lambda t: dlbridge.to_torch(dlbridge.from_dlpack(t)) * 2,
        lambda t: dlbridge.to_torch(np.asarray(dlbridge.from_dlpack(t))) * 2,
    ]
    for conversion in conversions:
        with pytest.raises(
            dlbridge.UnsupportedError, match=r"being traced.*outside the function.*torch\.jit\.trace"
        ):
            torch.jit.trace(conversion, tensor)
    harmless = torch.jit.trace(lambda t: dlbridge.to_torch(t) * 2, tensor)  # a torch tensor passes as it is
    assert harmless(tensor + 1).tolist() == [2, 4, 6]


@pytest.mark.filterwarnings("ignore")
def test_t22_compiled_functions_convert_what_they_are_given() -> None:
    def through_numpy(t: torch.Tensor) -> torch.Tensor:
        return dlbridge.to_torch(dlbridge.to_numpy(t) * 2) + 1

    def through_tensor(t: torch.Tensor) -> torch.Tensor:
        return dlbridge.to_torch(dlbridge.from_dlpack(t)[::2]) + 1

    torch._dynamo.reset()
    for function in (through_numpy, through_tensor):
        compiled = torch.compile(function, backend="eager")
        for start in (0.0, 10.0, 20.0):
            tensor = torch.arange(start, start + 4)
            assert compiled(tensor).tolist() == function(tensor).tolist()
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match=r"dlbridge\.to_numpy"):
        torch.compile(through_numpy, backend="eager", fullgraph=True)(torch.ones(4))
    torch._dynamo.reset()


def test_t22_vmap_and_the_other_transforms_are_refused_with_the_cause() -> None:
    conversions = [lambda t: torch.from_numpy(dlbridge.to_numpy(t)), lambda t: dlbridge.from_dlpack(t).torch()]
    words = r"stands for others inside a transform.*outside the function that torch\.vmap or torch\.func"
    for conversion in conversions:
        with pytest.raises(dlbridge.UnsupportedError, match=words):
            torch.vmap(conversion)(torch.ones(2, 3))
        with pytest.raises(dlbridge.UnsupportedError, match=words):
            torch.func.jvp(conversion, (torch.ones(2),), (torch.ones(2),))
        with pytest.raises(dlbridge.UnsupportedError, match=words):
            torch.func.grad(lambda t, convert=conversion: convert(t).sum())(torch.ones(2))
        with pytest.raises(dlbridge.UnsupportedError, match=words):
            torch.func.functionalize(conversion)(torch.ones(2))
    outside = dlbridge.to_torch(np.ones((2, 3)))
    assert torch.vmap(lambda t: t * 2)(outside).tolist() == [[2] * 3] * 2


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_t22_make_fx_never_keeps_a_constant(mode: Literal["real", "fake", "symbolic"]) -> None:
    from torch.fx.experimental.proxy_tensor import make_fx

    today = make_fx(lambda t: torch.from_dlpack(t.__dlpack__()) + 1)(torch.ones(2))
    assert today(torch.zeros(2)).tolist() == [2, 2]  # the values of the example, for ever
    conversions = [
        lambda t: dlbridge.from_dlpack(t).torch() + 1,
        lambda t: dlbridge.to_torch(dlbridge.to_numpy(t)) + 1,
    ]
    for conversion in conversions:
        words = r"being traced.*make_fx" if mode == "real" else "FakeTensor"
        with pytest.raises(dlbridge.UnsupportedError, match=words):
            make_fx(conversion, tracing_mode=mode)(torch.ones(2))
    harmless = make_fx(lambda t: dlbridge.to_torch(t) * 2, tracing_mode=mode)(torch.ones(2))
    assert harmless(torch.ones(2) * 2).tolist() == [4, 4]


def test_t22_a_mode_that_records_nothing_changes_nothing() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    tensor = torch.ones(2)
    with FlopCounterMode(display=False), torch.device("meta"):
        assert dlbridge.to_numpy(tensor).ctypes.data == tensor.data_ptr()
        assert dlbridge.to_torch(dlbridge.from_dlpack(tensor)).data_ptr() == tensor.data_ptr()
