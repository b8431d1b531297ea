"""Runs cells. Each framework has a process of its own, so that one that aborts costs its cell and not the run.

`python cells.py FRAMEWORK SKIP` runs the cells of one framework, without the first SKIP, and prints each twice: its
number before it begins, its result when it is done.
"""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module, metadata
from typing import Any

import numpy as np
from awkward import AWKWARD
from consumers import CONSUMERS, Consumer
from producers import PRODUCERS, Producer
from samples import CASES, FORMS, Sample

import dlbridge

# What each distribution is imported as.
MODULES = {
    "numpy": "numpy",
    "torch": "torch",
    "jax": "jax",
    "tensorflow-cpu": "tensorflow",
    "pyarrow": "pyarrow",
    "apache-tvm-ffi": "tvm_ffi",
    "paddlepaddle": "paddle",
    "onnxruntime": "onnxruntime",
    "mlx": "mlx.core",
    "cupy-cuda12x": "cupy",
    "pillow": "PIL",
    "matplotlib": "matplotlib",
    "pandas": "pandas",
    "scipy": "scipy",
    "opencv-python-headless": "cv2",
}
# What .venv has.
LIGHT = ["", "numpy", "torch", "pillow", "matplotlib"]

# A table's name, a row, a column.
Key = tuple[str, str, str]


def cells_of(package: str) -> Iterator[tuple[Key, Callable[[], str]]]:
    for producer in PRODUCERS:
        if producer.package == package:
            for column in producer.make:
                yield ("in", producer.name, column), partial(bring_in, producer, column)
    for name, whose, make in AWKWARD:
        if whose == package:
            yield ("awkward", name, "from_dlpack"), partial(bring_in_awkward, make)
    for consumer in CONSUMERS:
        if consumer.package == package:
            for form in FORMS:
                yield ("forms", consumer.name, form), partial(give_out, consumer, "plain", form)
            for case in CASES:
                yield ("out", consumer.name, case), partial(give_out, consumer, case, consumer.given)


# --- the two directions ---


def bring_in(producer: Producer, column: str) -> str:
    try:
        made = producer.make[column]()
    except Exception as error:
        return refused(error, "cannot be made")
    expected = _bits(producer.values(made)).copy()
    try:
        tensor = dlbridge.from_dlpack(made)
    except dlbridge.Error as error:
        return refused(error)
    array = dlbridge.to_numpy(tensor)
    if not np.array_equal(_bits(array), expected):
        return "WRONG VALUES"
    how = _sharing(producer, made, tensor, array)
    expected = _bits(array).copy()
    del made
    _churn()
    return how if np.array_equal(_bits(array), expected) else f"{how}, FREED TOO EARLY"


def _sharing(producer: Producer, made: Any, tensor: Any, array: Any) -> str:
    if not tensor.size:
        return "no memory to share" + (", read-only" if tensor.readonly else "")
    address = producer.address(made)
    same = address == tensor.data_ptr
    if tensor.readonly:
        return "same pointer, read-only" if same else "copied by the producer, read-only"
    array[...] = 0
    seen = not _bits(producer.values(made)).any()
    if address is not None and same != seen:
        return f"UNCLEAR: {same=}, {seen=}"
    if not seen:
        return "copied by the producer"
    return "same pointer, NOT FLAGGED read-only" if producer.immutable else "same pointer"


def bring_in_awkward(make: Callable[[], Any]) -> str:
    made = make()
    try:
        tensor = dlbridge.from_dlpack(made)
    except dlbridge.Error as error:
        return refused(error)
    shape = " x ".join(map(str, tensor.shape))
    return f"{tensor.dtype}, {shape}" + (", read-only" if tensor.readonly else "")


def give_out(consumer: Consumer, case: str, form: str) -> str:
    sample = CASES[case]()
    if consumer.one_row and sample.memory.ndim > 1 and sample.memory.size:
        sample.memory, sample.tensor = sample.memory[0], sample.tensor[0]
    before, readonly = _bits(sample.memory).copy(), sample.tensor.readonly
    try:
        given = FORMS[form](sample.tensor)
        taken = consumer.take(given)
    except Exception as error:
        return refused(error)
    try:
        values = _bits(consumer.values(taken))
    except Exception as error:
        return refused(error, "TAKEN, THEN FAILS")
    if not np.array_equal(_bits(sample.memory), before):
        return "IGNORES READ-ONLY, writes in place" if readonly else "writes in place"
    if values.shape != before.shape:
        return f"WRONG SHAPE {values.shape}"
    if not np.array_equal(values, before):
        return "WRONG VALUES"
    del values
    if consumer.computes:
        return "reads it, result of its own"
    if not before.size:
        return "taken, no memory to share"
    return _taken(consumer, taken, sample, readonly)


def _taken(consumer: Consumer, taken: Any, sample: Sample, readonly: bool) -> str:
    address = consumer.address(taken)
    same = None if address is None else address == sample.tensor.data_ptr
    sample.memory[...] = 0
    seen = not _bits(consumer.values(taken)).any()
    if same is not None and same != seen:
        return f"UNCLEAR: {same=}, {seen=}"
    if not seen:
        return "copies"
    sample.tensor = None
    _churn()
    if sample.owner() is None:
        return "same pointer, OWNER FREED"
    return "same pointer" + _written(consumer, taken, sample, readonly)


def _written(consumer: Consumer, taken: Any, sample: Sample, readonly: bool) -> str:
    """What comes of writing through the consumer."""
    if consumer.write is None:
        return ", cannot write" if readonly else ""
    try:
        consumer.write(taken)
    except Exception:
        return ", refuses to write" if readonly else ", REFUSES TO WRITE"
    arrived = _bits(sample.memory).all()
    if readonly:
        return ", IGNORES READ-ONLY" if arrived else ", copies to write"
    return "" if arrived else ", copies to write"


# --- small things ---


def _bits(values: Any) -> Any:
    """An array, with bfloat16 as what it is made of: NumPy compares it with nothing else."""
    array = np.asarray(values)
    return array.view("uint16") if array.dtype.name == "bfloat16" else array


def _churn() -> None:
    """Collects, then fills what has been freed."""
    gc.collect()
    junk = [np.full(count, 0xAB, "uint8") for count in (4, 8, 48, 192, 384, 4096) for _ in range(50)]
    del junk


def refused(error: BaseException, what: str = "refused") -> str:
    """Why, in a line that is the same on every machine."""
    words = " ".join(str(error).split())
    words = re.sub(r"0x[0-9a-f]+", "0x...", re.sub(r"/\S*/", "", words))
    words = words.split(" [Hint")[0].replace("|", "/").replace("`", "'")
    if len(words) > 250:
        words = words[:250].rsplit(" ", 1)[0] + " ..."
    return f"{what}: {type(error).__name__}: {words}".rstrip(": ")


def _alive() -> tuple[int, int]:
    gc.collect()
    return dlbridge.live_tensors(), dlbridge.live_exports()


def without_leak(cell: Callable[[], str]) -> str:
    before = _alive()
    result = cell()
    patience = time.monotonic() + 3  # some frameworks let go on a thread of their own
    while _alive() != before and time.monotonic() < patience:
        time.sleep(0.01)
    tensors, exports = (now - then for now, then in zip(_alive(), before))
    return result if not tensors and not exports else f"{result}, LEAKS {tensors} tensors, {exports} exports"


# --- processes ---


def _work(package: str, skip: int) -> None:
    why = unavailable(package)
    if why:
        print(json.dumps([-1, why]))
        return
    for number, (_, cell) in enumerate(cells_of(package)):
        if number >= skip:
            print(json.dumps([number, None]), flush=True)
            print(json.dumps([number, without_leak(cell)]), flush=True)


def unavailable(package: str) -> str | None:
    """Why a framework is not there; None if it is."""
    if not package:
        return None
    try:
        metadata.version(package)
        import_module(MODULES[package])
        if package.startswith("cupy"):
            import_module("cupy").cuda.runtime.getDeviceCount()
    except metadata.PackageNotFoundError:
        return "UNAVAILABLE: not installed"
    except Exception as error:
        return f"UNAVAILABLE: {refused(error).removeprefix('refused: ')}"
    return None


def _start(arguments: list[str]) -> tuple[list[list[Any]], int]:
    quiet = {"JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3", "GLOG_minloglevel": "3", "MPLBACKEND": "Agg"}
    command = [sys.executable, "-W", "ignore", __file__, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | quiet, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("[")]
    if done.returncode > 0:
        raise RuntimeError(f"{arguments}: {done.stderr}")
    return [json.loads(line) for line in lines], done.returncode


def run_package(package: str) -> dict[Key, str]:
    keys = [key for key, _ in cells_of(package)]
    results: dict[int, str] = {}
    while len(results) < len(keys):
        lines, code = _start([package, str(len(results))])
        if lines and lines[0][0] == -1:
            return dict.fromkeys(keys, lines[0][1])
        results |= {number: result for number, result in lines if result is not None}
        if code < 0:  # it died in the cell that it had begun, or on its way out
            begun = lines[-1][0]
            results.setdefault(begun, f"ABORTS with {signal.Signals(-code).name}")
    return {key: results[number] for number, key in enumerate(keys)}


def run(packages: list[str]) -> dict[Key, str]:
    with ThreadPoolExecutor(2) as pool:
        return {key: result for part in pool.map(run_package, packages) for key, result in part.items()}


if __name__ == "__main__":
    _work(sys.argv[1], int(sys.argv[2]))
