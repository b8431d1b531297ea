"""Staging onto a GPU beside the loops people write today, in turn, in one run. Medians of the time per batch.

python benches/staging_device.py [--device cuda:0] [--rounds 5] [--out FOLDER]

    by hand      two pinned buffers, two on the device, a copy stream and events; a thread fills the pinned ones
    DataLoader   pin_memory=True and non_blocking=True, with 0, 1 and 2 worker processes
    tutorial     a thread that loads, a thread that makes tensors (torch.tensor(batch).to(device)), two queues

The parts are measured alone in the same round: `link`, the upload of one batch from pinned memory; `load`, the copy
of one array into pinned memory; `compute`, a kernel that keeps the GPU busy for so long. Without a GPU it says
UNAVAILABLE.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

import dlbridge
from device import Driver, report
from dlbridge._streams import cuda_problem
from staging import MIB, PICTURES, STAGED, Array, Contestants, Whole, endless, pictures_torch, staged, tutorial

Make = Callable[[Array], Any]


def batches_of(size: int) -> int:
    """How many make one measurement."""
    return max(8, min(40, 512 * MIB // size))


class Bench:
    def __init__(self, device: str, rounds: int) -> None:
        self.device, self.rounds = device, rounds
        self.total = torch.zeros((), dtype=torch.float64, device=device)
        self.cycles = self.cycles_per_second()

    def cycles_per_second(self) -> float:
        times = []
        for _ in range(5):
            torch.cuda.synchronize()
            start = time.perf_counter()
            torch.cuda._sleep(20_000_000)
            torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
        return 20_000_000 / statistics.median(times)

    def busy(self, seconds: float) -> None:
        if seconds:
            torch.cuda._sleep(int(seconds * self.cycles))

    # --- the peers ---

    def by_hand(self, source: Iterable[Array], make: Make | None = None, slots: int = 2) -> Iterator[Any]:
        """What an expert writes: each buffer is used again only when the event of its last use has fired."""
        filled: Queue[Any] = Queue()
        free: Queue[Any] = Queue()
        stream = torch.cuda.Stream(self.device)

        def fill() -> None:
            for batch in source:
                ready = torch.from_numpy(batch) if make is None else make(batch)
                slot = free.get()
                if slot is None:
                    slot = {
                        "host": torch.empty(ready.shape, dtype=ready.dtype, pin_memory=True),
                        "there": torch.empty(ready.shape, dtype=ready.dtype, device=self.device),
                        "up": torch.cuda.Event(),
                        "used": torch.cuda.Event(),
                    }
                slot["up"].synchronize()
                slot["host"].copy_(ready)
                with torch.cuda.stream(stream):
                    stream.wait_event(slot["used"])
                    slot["there"].copy_(slot["host"], non_blocking=True)
                    slot["up"].record(stream)
                filled.put(slot)
            filled.put(None)

        for _ in range(slots):
            free.put(None)
        threading.Thread(target=fill, daemon=True).start()
        while (slot := filled.get()) is not None:
            torch.cuda.current_stream().wait_event(slot["up"])
            yield slot["there"]
            slot["used"].record()
            free.put(slot)

    def loader(self, data: Any, workers: int) -> Iterator[Any]:
        for batch in DataLoader(data, batch_size=None, num_workers=workers, pin_memory=True):
            yield batch.to(self.device, non_blocking=True)

    # --- measuring ---

    def each(self, batches: Iterable[Any], compute: float) -> float:
        """Seconds for each batch, from the second one to when the GPU is done with the last."""
        count, start = -2, 0.0
        for batch in batches:
            count += 1
            if count == 0:
                torch.cuda.synchronize()
                start = time.perf_counter()
            self.total += batch.view(-1)[::4097].sum()
            self.busy(compute)
        torch.cuda.synchronize()
        return (time.perf_counter() - start) / (count + 1)

    def alone(self, array: Array, batch: torch.Tensor) -> dict[str, float]:
        """The parts, each by itself: the link, and the loading as both sides do it."""
        pinned, there = batch.pin_memory(), batch.to(self.device)
        slot = dlbridge.empty_like_pinned(array)

        def link() -> None:
            for _ in range(10):
                there.copy_(pinned, non_blocking=True)
            torch.cuda.synchronize()

        parts = {"link": (link, 10), "load": (lambda: dlbridge.copy(array, out=slot), 1)}
        return {name: self.median(call) / count for name, (call, count) in parts.items()}

    @staticmethod
    def median(call: Callable[[], Any], rounds: int = 15) -> float:
        times = []
        for _ in range(rounds):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def contestants(self, arrays: list[Array], make: Make | None, count: int) -> Contestants:
        options = dict(STAGED) if make else {"as_": "torch"}
        ready = make or torch.tensor

        def source() -> Iterator[Array]:
            return endless(arrays, count)

        made: Contestants = {
            "Stager": lambda: staged(source(), device=self.device, **options),
            "Stager, 4 workers": lambda: staged(source(), device=self.device, workers=4, slots=4, **options),
            "by hand": lambda: self.by_hand(source(), make),
            "by hand, 4 slots": lambda: self.by_hand(source(), make, 4),
            "tutorial": lambda: tutorial(source(), lambda batch: ready(batch).to(self.device)),
            "no overlap": lambda: (ready(batch).to(self.device) for batch in source()),
        }
        for workers in (0, 1, 2):
            made[f"DataLoader, {workers} workers"] = lambda workers=workers: self.loader(
                Whole(arrays, count, ready), workers
            )
        return made

    def row(self, name: str, arrays: list[Array], make: Make | None = None) -> dict[str, Any]:
        batch = make(arrays[0]) if make else torch.from_numpy(arrays[0])
        count = batches_of(batch.nbytes)
        made = self.contestants(arrays, make, count)
        link = self.alone(arrays[0], batch)["link"]
        result: dict[str, Any] = {}
        for compute in (0.0, link, max(5e-3, 4 * link)):
            medians = self.in_turn(arrays[0], batch, made, count, compute)
            title = f"compute {compute * 1e3:.2f} ms"
            self.show(f"{name}, {title}", medians)
            result[title] = {who: round(took * 1e3, 4) for who, took in medians.items()}
        return result

    def in_turn(
        self, array: Array, batch: torch.Tensor, made: Contestants, count: int, compute: float
    ) -> dict[str, float]:
        """Median seconds of the parts and of everybody."""
        times: dict[str, list[float]] = {}
        there = batch.to(self.device)
        for _ in range(self.rounds):
            for part, took in self.alone(array, batch).items():
                times.setdefault(part, []).append(took)
            times.setdefault("compute", []).append(self.each([there] * count, compute))
            for who, start in made.items():
                times.setdefault(who, []).append(self.each(start(), compute))
        return {who: statistics.median(took) for who, took in times.items()}

    @staticmethod
    def show(title: str, medians: dict[str, float]) -> None:
        bound = max(medians["link"], medians["compute"])
        print(f"\n{title}: ms a batch, and max(link, compute) over it")
        for name, took in medians.items():
            part = name in ("link", "load", "compute")
            print(f"  {name:<24}{took * 1e3:>9.3f}" + ("   alone" if part else f"{bound / took:>8.2f}"), flush=True)

    def rows(self) -> dict[str, Any]:
        random = np.random.default_rng(0)
        result = {}
        for size in (MIB, 16 * MIB + 4, 64 * MIB):
            arrays = [random.random(size // 4, "float32") for _ in range(3)]
            result[f"float32, {size / MIB:.4g} MiB"] = self.row(f"float32, {size / MIB:.4g} MiB", arrays)
        pictures = [random.integers(0, 256, PICTURES, "uint8") for _ in range(3)]
        name = "pictures, 64 x 224 x 224 x 3 uint8 to CHW float32"
        result[name] = self.row(name, pictures, pictures_torch)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    problem = cuda_problem()
    if problem or not torch.cuda.is_available():
        print(f"UNAVAILABLE: {problem or 'torch has no CUDA device here'}")
        return
    warnings.filterwarnings("ignore", ".*not writable.*")
    multiprocessing.set_start_method("fork")
    warnings.filterwarnings("ignore", ".*fork.*")
    threads = torch.get_num_threads(), dlbridge.get_num_threads()
    print(f"torch {torch.__version__}; torch has {threads[0]} threads and dlbridge {threads[1]}")
    torch.cuda.set_device(arguments.device)
    results = Bench(arguments.device, arguments.rounds).rows()
    if arguments.out:
        path = report(arguments.device, Driver(arguments.device), results, arguments.out, "gpu-staging")
        print(f"written: {path}")


if __name__ == "__main__":
    main()
