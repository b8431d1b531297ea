"""What moving between the host and a GPU costs: ours beside torch and beside a bare loop over the driver, in turn,
in one run.

python benches/device.py [--device cuda:0] [--rounds 31] [--out FOLDER]

Medians. Each call is timed until its elements are there, unless the row says "to return". Where there is no GPU it
says UNAVAILABLE and why, and ends well. With --out it writes gpu-MODEL-DATE.json, with the versions of all that
took part.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import importlib.metadata
import json
import platform
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import dlbridge
from dlbridge._streams import cuda_problem

MIB = 1 << 20
Row = dict[str, Callable[[], object]]


class Driver:
    """The driver itself, with a stream, for the loop that does nothing else."""

    def __init__(self, device: str) -> None:
        self.library = ctypes.CDLL("libcuda.so.1")
        self.is_standin = hasattr(self.library, "standin_calls")
        self.number = int(device.partition(":")[2] or 0)
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), self.number)
        self.call("cuCtxPushCurrent_v2", context)
        self.stream = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(self.stream), 1)

    def call(self, name: str, *arguments: Any) -> None:
        status = getattr(self.library, name)(*arguments)
        if status:
            raise RuntimeError(f"{name} answered {status}")

    def up(self, to: int, source: int, size: int) -> None:
        to_, from_ = ctypes.c_uint64(to), ctypes.c_void_p(source)
        self.call("cuMemcpyHtoDAsync_v2", to_, from_, ctypes.c_size_t(size), self.stream)

    def down(self, to: int, source: int, size: int) -> None:
        to_, from_ = ctypes.c_void_p(to), ctypes.c_uint64(source)
        self.call("cuMemcpyDtoHAsync_v2", to_, from_, ctypes.c_size_t(size), self.stream)

    def wait(self) -> None:
        self.call("cuStreamSynchronize", self.stream)

    def model(self) -> str:
        if self.is_standin:
            return "stand-in"
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, len(name), self.number)
        return name.value.decode()

    def versions(self) -> dict[str, str]:
        cuda = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(cuda))
        said = Path("/proc/driver/nvidia/version")
        module = re.search(r"\b\d+\.\d+(\.\d+)?\b", said.read_text()) if said.exists() else None
        names = ("dlbridge", "torch", "cupy-cuda12x", "cupy-cuda13x", "cupy", "jax", "numpy")
        found = {name: version_of(name) for name in names}
        return {
            "driver": module.group() if module else "unknown",
            "driver CUDA": f"{cuda.value // 1000}.{cuda.value % 1000 // 10}",
            "Python": platform.python_version(),
            **{name: version for name, version in found.items() if version},
        }


def version_of(name: str) -> str | None:
    if name == "dlbridge":
        return dlbridge.__version__
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


class Bench:
    """The rows, by name. Each has our call first, `dlbridge`, and what its goal is."""

    def __init__(self, device: str, torch: Any, driver: Driver) -> None:
        self.device, self.torch, self.driver = device, torch, driver
        self.stream = dlbridge.Stream(device)

    def arrived(self, x: Any) -> Any:
        """Ours, until the elements are there."""
        there = dlbridge.upload(x, self.device, stream=self.stream)
        self.stream.record().wait()
        return there

    def synced(self, x: Any) -> Any:
        """torch's, likewise."""
        self.torch.cuda.current_stream().synchronize()
        return x

    def pinned(self, size: int, times: int, goal: str) -> dict[str, tuple[Row, int, str]]:
        """Both ways from pinned memory, whose own it is: so many transfers, then one wait."""
        driver, torch, stream = self.driver, self.torch, self.stream
        own = dlbridge.empty_pinned(size, "uint8")
        own.numpy()[:] = np.random.default_rng(size).integers(0, 255, size, np.uint8)
        there = self.arrived(own)

        def ours(transfer: Callable[..., Any], x: Any) -> Any:
            made = [transfer(x) for _ in range(times)]
            stream.record().wait()
            return made

        def bare(transfer: Callable[..., None], to: int, source: int) -> None:
            for _ in range(times):
                transfer(to, source, size)
            driver.wait()

        def torchs(to: Any, source: Any) -> None:
            for _ in range(times):
                to.copy_(source, non_blocking=True)
            torch.cuda.current_stream().synchronize()

        up: Row = {"dlbridge": lambda: ours(lambda x: dlbridge.upload(x, self.device, stream=stream), own)}
        down: Row = {"dlbridge": lambda: ours(lambda x: dlbridge.download(x, stream=stream), there)}
        up["bare driver"] = lambda: bare(driver.up, there.data_ptr, own.data_ptr)
        down["bare driver"] = lambda: bare(driver.down, own.data_ptr, there.data_ptr)
        if torch:
            theirs = torch.empty(size, dtype=torch.uint8, pin_memory=True).random_()
            on_device = theirs.to(self.device)
            up["torch copy_(non_blocking)"] = lambda: torchs(on_device, theirs)
            down["torch copy_(non_blocking)"] = lambda: torchs(theirs, on_device)
        name = text(size) if times == 1 else f"{times} of {text(size)}"
        return {f"pinned H2D, {name}": (up, times * size, goal), f"pinned D2H, {name}": (down, times * size, goal)}

    def pageable(self, array: Any, name: str, goal: str) -> dict[str, tuple[Row, int, str]]:
        """From an array as it is; torch as people write it, and with the copy it makes first spelled out."""
        row: Row = {"dlbridge": lambda: self.arrived(array)}
        if self.torch:
            row["torch .to(device)"] = lambda: self.synced(self.torch.from_numpy(array).to(self.device))
            if not array.flags.c_contiguous:
                row["torch .contiguous().to(device)"] = lambda: self.synced(
                    self.torch.from_numpy(array).contiguous().to(self.device)
                )
        return {name: (row, array.nbytes, goal)}

    def tutorial(self, array: Any) -> dict[str, tuple[Row, int, str]]:
        """The tutorials' idioms: an array, as a torch tensor on the device."""
        torch, row = self.torch, Row()
        if not torch:
            row["dlbridge"] = lambda: self.arrived(array)
        else:
            row["dlbridge"] = lambda: self.synced(dlbridge.to_torch(array, device=self.device))
            pinned = torch.tensor(array).pin_memory()
            own = dlbridge.empty_like_pinned(array)
            own.numpy()[:] = array
            row["torch.tensor(a).cuda()"] = lambda: self.synced(torch.tensor(array).cuda())
            row["with pin_memory()"] = lambda: self.synced(torch.tensor(array).pin_memory().cuda(non_blocking=True))
            row["pinned before"] = lambda: self.synced(pinned.cuda(non_blocking=True))
            row["dlbridge, pinned before"] = lambda: self.synced(dlbridge.to_torch(own, device=self.device))
        return {f"{array.shape} {array.dtype}": (row, array.nbytes, "2x torch.tensor(a).cuda()")}

    def small(self) -> dict[str, tuple[Row, int, str]]:
        """Calls that are all overhead, to return."""
        torch, own = self.torch, dlbridge.empty_pinned(1024, "float32")
        upload: Row = {"dlbridge": lambda: dlbridge.upload(own, self.device, stream=self.stream)}
        warm: Row = {"dlbridge": lambda: dlbridge.empty(4 * MIB, "uint8", device=self.device)}
        if torch:
            theirs = torch.empty(1024, pin_memory=True)
            upload["torch .to(non_blocking)"] = lambda: theirs.to(self.device, non_blocking=True)
            warm["torch.empty"] = lambda: torch.empty(4 * MIB, dtype=torch.uint8, device=self.device)
        return {
            "upload of 4 KiB, to return": (upload, 4096, "0.7 of torch's time"),
            "allocation from a warm pool": (warm, 0, "under 1 us"),
        }

    def rows(self) -> dict[str, tuple[Row, int, str]]:
        random = np.random.default_rng(7)
        sizes = (1, 3, 64, 256) if not self.driver.is_standin else (1, 3)
        side = 4096 if not self.driver.is_standin else 512
        rows: dict[str, tuple[Row, int, str]] = {}
        for size in sizes:
            bytes_ = size * MIB + (12_345 if size == 3 else 0)
            rows |= self.pinned(bytes_, 1, "none: one transfer, until it is seen to be there")
            rows |= self.pinned(bytes_, 4, "0.98 of the bare loop's bandwidth")
        wide = random.random((side, side), np.float32)
        rows |= self.pageable(wide, f"pageable upload, {text(wide.nbytes)}", "1.5x torch's .to")
        odd = random.random((side // 2 + 11, 1003), np.float32)
        rows |= self.pageable(odd, f"pageable upload, {text(odd.nbytes)}", "1.5x torch's .to")
        rows |= self.pageable(
            wide[:, : side // 2], f"upload of half of each row, {text(wide.nbytes // 2)}", "2x torch's idiom"
        )
        rows |= self.pageable(wide.T, f"upload of a transpose, {text(wide.nbytes)}", "2x torch's idiom")
        rows |= self.tutorial(random.random((5000, 512)))
        rows |= self.tutorial(random.random((3, 28, 28)))
        return rows | self.small()


def text(size: int) -> str:
    return f"{size / MIB:.4g} MiB"


def measure(row: Row, rounds: int) -> dict[str, float]:
    """Median microseconds of each call, taken in turn."""
    times: dict[str, list[float]] = {name: [] for name in row}
    for turn in range(rounds + 3):
        for name, call in row.items():
            start = time.perf_counter_ns()
            made = call()
            took = time.perf_counter_ns() - start
            del made
            if turn >= 3:  # the first ones fill the pools
                times[name].append(took / 1000)
    return {name: statistics.median(values) for name, values in times.items()}


def show(name: str, times: dict[str, float], size: int, goal: str) -> None:
    print(f"{name}  (goal: {goal})")
    for who, took in times.items():
        speed = f"{size / took / 1000:8.2f} GB/s" if size > 100_000 else " " * 13
        ratio = f"{took / times['dlbridge']:6.2f}x our time" if who != "dlbridge" else ""
        print(f"    {who:<32}{took:>12.1f} us {speed} {ratio}")


def report(device: str, driver: Driver, results: dict[str, Any], folder: Path, kind: str = "gpu") -> Path:
    model, now = driver.model(), datetime.datetime.now(datetime.timezone.utc)
    path = folder / f"{kind}-{re.sub(r'[^A-Za-z0-9]+', '-', model).strip('-')}-{now:%Y-%m-%d}.json"
    folder.mkdir(parents=True, exist_ok=True)
    said = {
        "model": model,
        "device": device,
        "date": f"{now:%Y-%m-%d}",
        "versions": driver.versions(),
        "rows": results,
    }
    path.write_text(json.dumps(said, indent=1) + "\n")
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    problem = cuda_problem()
    if problem:
        print(f"UNAVAILABLE: {problem}")
        return
    driver = Driver(arguments.device)
    torch: Any = None
    if driver.is_standin:
        print("UNAVAILABLE: a GPU; this is the stand-in for its driver, so what follows are no measurements")
    else:
        import torch
    results: dict[str, Any] = {}
    for name, (row, size, goal) in Bench(arguments.device, torch, driver).rows().items():
        times = measure(row, arguments.rounds)
        show(name, times, size, goal)
        results[name] = {"bytes": size, "goal": goal, "microseconds": times}
    print(dlbridge.memory_stats())
    if arguments.out and not driver.is_standin:
        print(f"written: {report(arguments.device, driver, results, arguments.out)}")


if __name__ == "__main__":
    main()
