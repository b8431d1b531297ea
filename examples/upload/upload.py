"""Batches in NumPy, a device that is a parameter: the next batch is on its way while the present one is computed.

python upload.py [cpu | cuda:0]
"""

import sys

import numpy as np

import dlbridge

device = sys.argv[1] if len(sys.argv) > 1 else ("cuda:0" if dlbridge.cuda_available() else "cpu")
copies = dlbridge.Stream(device)
random = np.random.default_rng(1)
batches = [random.random((64, 3, 32, 32), np.float32) for _ in range(8)]

before = dlbridge.memory_stats()
expected, futures = [], []
coming = dlbridge.upload(batches[0], device, stream=copies)
for batch, following in zip(batches, [*batches[1:], None]):
    present, uploaded = coming, copies.record()
    if following is not None:
        coming = dlbridge.upload(following, device, stream=copies)  # goes on while this batch is worked on
    # Here a model would take present.torch(), whose stream waits for the copy; the host does not.
    futures.append(dlbridge.download(present[:, 0], stream=copies))
    expected.append(batch[:, 0].sum(dtype=np.float64))
    uploaded.wait()  # from here on `batch` may be written again
    batch[:] = 0

for future, wanted in zip(futures, expected):
    assert np.isclose(future.result(timeout=60).numpy().sum(dtype=np.float64), wanted)

after = dlbridge.memory_stats()
moved = after.copies - before.copies if device == "cpu" else after.transfers - before.transfers
assert moved == 2 * len(batches)  # each batch there, and its first channel back
print(f"{len(batches)} batches there and back on {device}: {moved} copies, every sum is right")
