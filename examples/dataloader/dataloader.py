"""A DataLoader with worker processes feeds a loop through a Stager: each rank of a distributed run reads its share.

The workers decode; a thread of the Stager takes their batches out of the queue, and casts, turns and scales them
into memory that is used again and again, while the loop computes on the batch before. pin_memory=True is not
needed: with device="cuda:0" the slots are pinned.
"""

import torch
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

import dlbridge

RANKS, RANK, BATCH = 2, 0, 16  # of torch.distributed, in a real run


class Pictures(Dataset):  # type: ignore[type-arg]
    """In place of this: read and decode a file."""

    def __len__(self) -> int:
        return 256

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.full((48, 64, 3), index, dtype=torch.uint8), index


def main() -> None:
    pictures = Pictures()
    sampler: DistributedSampler[int] = DistributedSampler(pictures, num_replicas=RANKS, rank=RANK, shuffle=True)
    loader = DataLoader(pictures, BATCH, sampler=sampler, num_workers=2, drop_last=True)
    seen: set[int] = set()
    first = {
        "dtype": {0: "float32"},
        "layout": {0: "CHW"},
        "scale": {0: 1 / 255},
    }  # for the first array of each pair
    stager = dlbridge.Stager(loader, as_="torch", **first)
    for epoch in range(2):
        sampler.set_epoch(epoch)
        for images, labels in stager:  # each `for` iterates the loader anew
            assert images.shape == (BATCH, 3, 48, 64)
            torch.testing.assert_close(images.mean((1, 2, 3)), labels / 255)
            seen.update(labels.tolist())
        print(f"epoch {epoch}: {stager.stats.batches} batches")
    print(f"{len(seen)} of {len(pictures)} pictures seen by rank {RANK}")
    stager.close()


if __name__ == "__main__":
    main()
