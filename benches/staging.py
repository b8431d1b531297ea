"""Staging beside the loops people write today, in turn, in one run. Medians; see `make bench-staging`.

python benches/staging.py [--rounds 5]

    tutorial     a thread that loads, a thread that makes tensors (torch.tensor(batch)), two queues
    DataLoader   pin_memory=True and non_blocking=True, whole batches or items, with 0, 1 and 2 worker processes
    no overlap   the same work in the loop itself

Times are of the steady state: from the second batch that the loop gets to the last.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import multiprocessing
import statistics
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.shared_memory import SharedMemory
from queue import Queue
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset

import dlbridge

KIB, MIB = 1 << 10, 1 << 20
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], "float32"), np.array([0.229, 0.224, 0.225], "float32")
PICTURES = (64, 224, 224, 3)
Array = np.ndarray[Any, Any]
Contestants = dict[str, Callable[[], Iterable[Any]]]


def endless(arrays: list[Array], count: int, load: float = 0.0) -> Iterator[Array]:
    """Batches whose loading takes a while."""
    for number in range(count):
        if load:
            time.sleep(load)
        yield arrays[number % len(arrays)]


# --- the peers ---


def tutorial(source: Iterator[Array], make: Callable[[Array], Any]) -> Iterator[Any]:
    loaded: Queue[Any] = Queue(2)
    made: Queue[Any] = Queue(2)

    def load() -> None:
        for batch in source:
            loaded.put(batch)
        loaded.put(None)

    def transfer() -> None:
        while (batch := loaded.get()) is not None:
            made.put(make(batch))
        made.put(None)

    for run in (load, transfer):
        threading.Thread(target=run, daemon=True).start()
    while (batch := made.get()) is not None:
        yield batch


class Whole(IterableDataset):  # type: ignore[type-arg]
    """Batches; each worker yields its share."""

    def __init__(self, arrays: list[Array], count: int, make: Callable[[Array], Any], load: float = 0.0) -> None:
        self.arrays, self.count, self.make, self.load = arrays, count, make, load

    def __iter__(self) -> Iterator[Any]:
        info = torch.utils.data.get_worker_info()
        workers, first = (info.num_workers, info.id) if info else (1, 0)
        for batch in endless(self.arrays, len(range(first, self.count, workers)), self.load):
            yield self.make(batch)


class Items(Dataset):  # type: ignore[type-arg]
    """Pictures one by one, each made ready as torchvision's transforms do it."""

    def __init__(self, pictures: Array, count: int) -> None:
        self.pictures, self.count = pictures, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        picture = torch.from_numpy(self.pictures[index % len(self.pictures)]).permute(2, 0, 1).contiguous()
        mean, deviation = torch.from_numpy(MEAN).view(3, 1, 1), torch.from_numpy(DEVIATION).view(3, 1, 1)
        return picture.float().div(255).sub_(mean).div_(deviation)


def loader(data: Any, workers: int, batch_size: int | None = None) -> Iterator[Any]:
    for batch in DataLoader(data, batch_size=batch_size, num_workers=workers, pin_memory=True):
        yield batch.to("cpu", non_blocking=True)


def pictures_numpy(batch: Array) -> torch.Tensor:
    """What the tutorials do: NumPy, then torch.tensor."""
    return torch.tensor(((batch.astype("float32") / 255 - MEAN) / DEVIATION).transpose(0, 3, 1, 2))


def pictures_torch(batch: Array) -> torch.Tensor:
    """The same by hand, as well as torch can: multiplied and added in one pass, then one transposition."""
    scale, bias = torch.from_numpy(1 / (255 * DEVIATION)), torch.from_numpy(-MEAN / DEVIATION)
    return torch.addcmul(bias, torch.from_numpy(batch).float(), scale).permute(0, 3, 1, 2).contiguous()


STAGED: dict[str, Any] = {
    "dtype": "float32",
    "layout": "CHW",
    "scale": 1 / (255 * DEVIATION),
    "bias": -MEAN / DEVIATION,
    "as_": "torch",
}


def staged(source: Iterable[Array], **options: Any) -> Iterator[Any]:
    with dlbridge.Stager(source, **options) as stager:
        yield from stager


# --- measuring ---


def each(batches: Iterable[Any], compute: Callable[[], None] | None = None) -> float:
    """Seconds for each batch."""
    start, count = 0.0, -2
    for _ in batches:
        count += 1
        if count == 0:
            start = time.perf_counter()
        if compute is not None:
            compute()
    return (time.perf_counter() - start) / (count + (compute is not None))


def in_turn(contestants: Contestants, rounds: int, compute: Callable[[], None] | None = None) -> dict[str, float]:
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, make in contestants.items():
            times[name].append(each(make(), compute))
    return {name: statistics.median(values) for name, values in times.items()}


def best_of(times: dict[str, float], prefix: str) -> float:
    return min(value for name, value in times.items() if name.startswith(prefix))


def table(title: str, times: dict[str, float], unit: float, name: str) -> None:
    print(f"\n{title}")
    width = max(map(len, times))
    for contestant, seconds in times.items():
        print(f"  {contestant:<{width}}  {seconds * unit:>10,.2f} {name}  {seconds / times['Stager']:>6.2f} x")


def pictures(rounds: int) -> None:
    chance, count = np.random.default_rng(0), 12
    arrays = [chance.integers(0, 256, PICTURES, "uint8") for _ in range(3)]
    torch.testing.assert_close(
        next(iter(staged(arrays, **STAGED))), pictures_numpy(arrays[0]), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(pictures_torch(arrays[0]), pictures_numpy(arrays[0]), rtol=1e-4, atol=1e-5)
    contestants: Contestants = {
        "Stager": lambda: staged(endless(arrays, count), **STAGED),
        "Stager, 2 workers": lambda: staged(endless(arrays, count), workers=2, **STAGED),
        "tutorial": lambda: tutorial(endless(arrays, count), pictures_numpy),
        "no overlap": lambda: map(pictures_numpy, endless(arrays, count)),
        "no overlap, torch by hand": lambda: map(pictures_torch, endless(arrays, count)),
    }
    for workers in (0, 1, 2):
        contestants[f"DataLoader of items, {workers} workers"] = lambda workers=workers: loader(
            Items(arrays[0], 64 * count), workers, 64
        )
        contestants[f"DataLoader of batches, torch by hand, {workers} workers"] = lambda workers=workers: loader(
            Whole(arrays, count, pictures_torch), workers
        )
    times = in_turn(contestants, rounds)
    table("pictures, 64 x 224 x 224 x 3 uint8 to CHW float32, normalised", times, 1e3, "ms a batch")
    for name in ("tutorial", "DataLoader of items", "DataLoader of batches"):
        print(f"  throughput beside the best {name}: {best_of(times, name) / times['Stager']:.1f} x")


def floats(arrays: list[Array], count: int) -> Contestants:
    contestants: Contestants = {
        "Stager": lambda: staged(endless(arrays, count), as_="torch"),
        "tutorial": lambda: tutorial(endless(arrays, count), torch.tensor),
        "no overlap": lambda: map(torch.tensor, endless(arrays, count)),
    }
    for workers in (0, 1, 2):
        contestants[f"DataLoader, {workers} workers"] = lambda workers=workers: loader(
            Whole(arrays, count, torch.tensor), workers
        )
    return contestants


def plain(rounds: int) -> None:
    for size in (256 * KIB, MIB, 4 * MIB + 4, 16 * MIB, 64 * MIB):
        arrays = [np.random.default_rng(0).random(size // 4, "float32") for _ in range(3)]
        count = max(8, min(200, 256 * MIB // size))
        table(f"float32, {size / MIB:.2f} MiB", in_turn(floats(arrays, count), rounds), 1e6, "us a batch")


def overlap(rounds: int) -> None:
    """Loading that sleeps and computing of several lengths, beside the longer of the two."""
    count, load = 40, 5e-3
    arrays = [np.random.default_rng(0).random(MIB // 4, "float32") for _ in range(3)]
    contestants: Contestants = {
        "Stager": lambda: staged(endless(arrays, count, load), as_="torch"),
        "tutorial": lambda: tutorial(endless(arrays, count, load), torch.tensor),
        "DataLoader": lambda: loader(Whole(arrays, count, torch.tensor, load), 1),
        "no overlap": lambda: map(torch.tensor, endless(arrays, count, load)),
    }
    print(f"\noverlap: batches of 1 MiB that take {load * 1e3:.0f} ms to load; time per batch over max(load,")
    print("compute), each measured alone in the same round")
    print(f"  {'compute':<18}{'alone, ms':>10}" + "".join(f"{name:>12}" for name in contestants))
    for kind, step in (("sleep", time.sleep), ("spin", spinner())):
        for compute in (0.5e-3, 2e-3, 5e-3, 10e-3):
            part = functools.partial(step, compute)
            alone, ratios = [], []
            for _ in range(rounds):
                alone.append(each(range(count), part))
                longer = max(alone[-1], each(endless(arrays, count, load)))
                ratios.append([each(make(), part) / longer for make in contestants.values()])
            middle = "".join(f"{statistics.median(column):>12.3f}" for column in zip(*ratios))
            print(f"  {f'{kind}, {compute * 1e3:.1f} ms':<18}{statistics.median(alone) * 1e3:>10.2f}{middle}")


def spinner() -> Callable[[float], object]:
    """What computes for so many seconds without the GIL."""
    noise = bytes(8 * MIB)
    times = []
    for _ in range(9):
        begin = time.perf_counter()
        hashlib.sha256(noise)
        times.append(time.perf_counter() - begin)
    rate = len(noise) / statistics.median(times)
    long = memoryview(noise * 8)
    return lambda seconds: hashlib.sha256(long[: int(rate * seconds)])


def fixed(rounds: int) -> None:
    arrays, count = [np.random.default_rng(0).random(16, "float32") for _ in range(3)], 3000
    contestants: Contestants = {
        "Stager": lambda: staged(endless(arrays, count)),
        'Stager, as_="torch"': lambda: staged(endless(arrays, count), as_="torch"),
        "tutorial": lambda: tutorial(endless(arrays, count), torch.tensor),
        "DataLoader, 0 workers": lambda: loader(Whole(arrays, count, torch.tensor), 0),
        "no overlap": lambda: map(torch.tensor, endless(arrays, count)),
    }
    table("fixed cost: batches of 64 bytes", in_turn(contestants, rounds), 1e6, "us a batch")


# --- between processes ---


def write_shared(name: str, count: int, full: Any, free: Any, array: Array) -> None:
    memory = SharedMemory(name)
    places = np.ndarray((4, *array.shape), array.dtype, memory.buf)
    for number in range(count):
        free.acquire()
        places[number % 4] = array
        full.release()
    del places
    memory.close()


def write_pickled(queue: Any, count: int, array: Array) -> None:
    for _ in range(count):
        queue.put(array.copy())


def from_shared(array: Array, count: int) -> Iterator[Any]:
    full, free = multiprocessing.Semaphore(0), multiprocessing.Semaphore(4)
    memory = SharedMemory(create=True, size=4 * array.nbytes)

    def source() -> Iterator[Array]:
        places = np.ndarray((4, *array.shape), array.dtype, memory.buf)
        for number in range(count):
            full.acquire()
            yield places[number % 4]
            free.release()

    process = multiprocessing.Process(target=write_shared, args=(memory.name, count, full, free, array))
    process.start()
    yield from staged(source(), as_="torch")
    process.join()
    memory.unlink()


def from_pickle(array: Array, count: int) -> Iterator[Any]:
    queue: Any = multiprocessing.Queue(4)
    process = multiprocessing.Process(target=write_pickled, args=(queue, count, array))
    process.start()
    yield from staged((queue.get() for _ in range(count)), as_="torch")
    process.join()


def processes(array: Array, count: int) -> Contestants:
    return {
        "Stager": lambda: from_shared(array, count),
        "Stager, from a queue that pickles": lambda: from_pickle(array, count),
        "DataLoader, 1 worker": lambda: loader(Whole([array], count, torch.tensor), 1),
    }


def between_processes(rounds: int) -> None:
    for size, name in ((4 * MIB, "4 MiB"), (int(np.prod(PICTURES)), "64 x 224 x 224 x 3 uint8")):
        array = np.random.default_rng(0).integers(0, 256, size, "uint8")
        times = in_turn(processes(array, 40), rounds)
        table(f"from another process, {name}; Stager: from shared memory", times, 1e3, "ms a batch")


def copies() -> None:
    """Counts the memory that batches were ever in: where it is the slots alone, each byte was copied once."""
    print("\ncopies on the host between source and slot")
    chance, count = np.random.default_rng(0), 50
    cases: list[tuple[str, list[Array], dict[str, Any]]] = [
        ("float32", [chance.random(4 * MIB, "float32") for _ in range(3)], {"as_": "torch"}),
        ("pictures", [chance.integers(0, 256, (16, 224, 224, 3), "uint8") for _ in range(3)], STAGED),
    ]
    for name, arrays, options in cases:
        allocated = dlbridge.memory_stats().allocations
        tracemalloc.start()
        stager = dlbridge.Stager(endless(arrays, count), **options)
        places = {batch.data_ptr() for batch in stager}
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        buffers = dlbridge.memory_stats().allocations - allocated
        size = stager.stats.bytes / count
        print(f"  {name}: {count} batches of {size / MIB:.1f} MiB lay in {len(places)} places; allocated were")
        print(f"    {buffers} buffers, and {peak / size:.2f} of a batch by Python and NumPy")
        if buffers == len(places) == stager.stats.sets and peak < size / 4:
            print("    nothing but the slots: each byte was copied exactly once")
        else:
            raise SystemExit("there was a temporary copy")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--torch-threads", type=int, default=torch.get_num_threads())
    parsed = parser.parse_args()
    rounds = parsed.rounds
    torch.set_num_threads(parsed.torch_threads)
    warnings.filterwarnings("ignore", ".*pin_memory.*no accelerator")
    multiprocessing.set_start_method("fork")
    warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, NumPy {np.__version__}")
    if not torch.cuda.is_available():
        print('UNAVAILABLE: no GPU: device="cpu" everywhere; pin_memory and non_blocking do nothing here')
    fixed(rounds)
    pictures(rounds)
    plain(rounds)
    overlap(rounds)
    between_processes(rounds)
    copies()


if __name__ == "__main__":
    main()
