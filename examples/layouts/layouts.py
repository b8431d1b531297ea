"""Pictures of a camera or a decoder into one batch for a network: turned to planes, some flipped, in place."""

import numpy as np
import torch

import dlbridge

pictures = np.random.default_rng(0).integers(0, 256, (8, 224, 224, 3), np.uint8)

batch = dlbridge.empty((8, 3, 224, 224), "uint8")  # from the pool: the next one has no page faults
for index, picture in enumerate(pictures):
    if index % 2:
        picture = picture[:, ::-1]  # a view; torch could not even look at it
    dlbridge.copy(picture.transpose(2, 0, 1), out=batch[index])

tensor = dlbridge.to_torch(batch)  # the same memory
assert torch.equal(tensor[0], torch.from_numpy(pictures[0]).permute(2, 0, 1))
assert torch.equal(tensor[1], torch.from_numpy(pictures[1]).flip(1).permute(2, 0, 1))

print(dlbridge.explain(pictures[1][:, ::-1], "torch"))  # why not without a copy, and how it would be made

mine = dlbridge.to_torch(pictures[0], copy=True)  # memory of its own, whatever becomes of `pictures`
pictures[0] = 0
assert mine.any()
print(f"{batch.nbytes:,} bytes in one batch, {dlbridge.get_num_threads()} threads, {dlbridge.simd_level()}")
