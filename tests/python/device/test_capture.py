"""A CUDA graph that torch captures while copies of ours are under way, which threads of the library ask about."""

from __future__ import annotations

import time

import numpy as np
from place import host, needs_cuda, torch_on_device

import dlbridge


@needs_cuda
def test_a_graph_is_captured_while_copies_are_under_way(device: str) -> None:
    torch = torch_on_device()
    x = torch.zeros(1000, device=device)
    pinned = dlbridge.zeros_pinned(1000, "float32")
    stream, capturing = dlbridge.Stream(device), torch.cuda.Stream(device)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.ExternalStream(stream.__cuda_stream__()[1], device=device)):
        torch.cuda._sleep(400_000_000)  # clock cycles: some 0.2 s
    there = dlbridge.upload(pinned, device, stream=stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(capturing):
        graph.capture_begin(capture_error_mode="global")  # no thread may ask for events unless it says so
        time.sleep(0.02)
        x += 1
        graph.capture_end()
    event = stream.record()
    assert not event.done(), "the copy was under way all the time"
    graph.replay()
    torch.cuda.synchronize()
    assert x.tolist() == [1] * 1000
    np.testing.assert_array_equal(host(there), np.zeros(1000, "float32"))
