"""Measurements in float64 to the dtype of a network: what is lost is counted, what must not be is an error."""

import numpy as np
import torch

import dlbridge

rng = np.random.default_rng(0)
measured = rng.lognormal(6, 2, (64, 4096))  # float64, from fractions to millions

# What everybody does loses digits without a word: torch.from_numpy(measured).float(). Asked for, it is told.
tensor, lost = dlbridge.to_torch(measured, dtype="float32", report=True)
assert torch.equal(tensor, torch.from_numpy(measured).float())
print(lost)

# float16 ends at 65504: nothing becomes infinite behind your back.
try:
    dlbridge.to_torch(measured, dtype="float16")
except dlbridge.LossyError as error:
    print(error)
    print(f"{error.report.overflow:,} of {error.report.elements:,} do not fit")
half = dlbridge.to_torch(measured, dtype="float16", casting="saturate")  # clamped, because that was asked for
assert half.isfinite().all()
brain = dlbridge.to_torch(measured, dtype="bfloat16")  # has the range of float32
assert brain.isfinite().all()

# Numbers that only look like integers: "same_value" takes them, unless one is none.
counts = np.array([3.0, 250.0, 17.0])
assert dlbridge.cast(counts, "uint8", casting="same_value").numpy().tolist() == [3, 250, 17]
counts[1] = 250.5
try:
    dlbridge.cast(counts, "uint8", casting="same_value")
except dlbridge.LossyError as error:
    print(error)

# One buffer for all batches: cast into it, no memory is made.
batch = torch.empty(64, 4096, dtype=torch.bfloat16)
dlbridge.cast(measured, "bfloat16", out=batch)
assert torch.equal(batch, brain)
print(dlbridge.explain(measured, "torch", dtype="bfloat16"))
