"""Another process fills shared memory, a Stager takes batches from it: no pickle, no socket, one copy.

The other process writes into one of four places; two semaphores say which are full and which are free. A place is
free again when the generator goes on, for then the Stager has copied the batch into a slot.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np

import dlbridge

PLACES, BATCHES, SHAPE = 4, 40, (16, 120, 160, 3)
SIZE = int(np.prod(SHAPE))


def places(memory: SharedMemory) -> np.ndarray[Any, Any]:
    return np.ndarray((PLACES, *SHAPE), "uint8", memory.buf)


def camera(name: str, full: Any, free: Any) -> None:
    """The other process."""
    memory = SharedMemory(name)
    frames = places(memory)
    for number in range(BATCHES):
        free.acquire()
        frames[number % PLACES] = number  # in place of this: a frame grabber, a simulation
        full.release()
    del frames
    memory.close()


def batches(memory: SharedMemory, full: Any, free: Any) -> Iterator[np.ndarray[Any, Any]]:
    frames = places(memory)
    for number in range(BATCHES):
        if not full.acquire(timeout=30):
            raise TimeoutError("the camera has stopped")
        yield frames[number % PLACES]
        free.release()


def main() -> None:
    context = multiprocessing.get_context("spawn")
    full, free = context.Semaphore(0), context.Semaphore(PLACES)
    memory = SharedMemory(create=True, size=PLACES * SIZE)
    process = context.Process(target=camera, args=(memory.name, full, free))
    process.start()
    try:
        source = batches(memory, full, free)
        with dlbridge.Stager(source, dtype="float32", layout="CHW", scale=1 / 255, as_="numpy") as stager:
            for number, images in enumerate(stager):
                assert images.shape == (16, 3, 120, 160)
                assert abs(float(images[-1, -1, -1, -1]) - number / 255) < 1e-6
        del source  # its view of the memory, which could not be closed before
        print(f"{stager.stats.batches} batches from process {process.pid}")
        print(stager.stats)
    finally:
        process.join()
        memory.close()
        memory.unlink()


if __name__ == "__main__":
    main()
