"""The main job on real input: one photograph, one buffer, through Pillow, NumPy, C, PyTorch and back.

Prints a table of the hops and writes the picture before and after side by side. Each hop changes its own part of
the same memory; the address is asserted to be the same all the way.
"""

from __future__ import annotations

import ctypes
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image

import dlbridge

HERE = Path(__file__).parent
PHOTO = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"


class Seen(ctypes.Structure):
    """`invert_seen` in invert.c."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("shape", ctypes.c_int64 * 3),
        ("strides", ctypes.c_int64 * 3),
        ("dtype", ctypes.c_char * 32),
    )


def compile_invert(folder: Path) -> Any:
    """Compiles invert.c against the header and library of the installed package."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "invert.so"
    library = Path(dlbridge.get_library())
    command = [os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O2", "-Wall", "-Wextra", "-Werror"]
    command += [f"-I{dlbridge.get_include()}", "-o", str(target), str(HERE / "invert.c")]
    subprocess.run([*command, f"-L{library.parent}", f"-l:{library.name}"], check=True)
    function = ctypes.CDLL(str(target)).invert_region
    function.argtypes = [ctypes.py_object, *[ctypes.c_int64] * 4, ctypes.POINTER(Seen)]
    return function


def nanoseconds(call: Callable[[], object], repeat: int = 500) -> int:
    """The median time of a call."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter_ns()
        call()
        times.append(time.perf_counter_ns() - start)
    return round(statistics.median(times))


def row(hop: str, address: int, dtype: Any, shape: Any, strides: Any, copied: str, ns: int) -> tuple[str, ...]:
    return hop, hex(address), str(dtype), "x".join(map(str, shape)), str(tuple(strides)), copied, f"{ns:,}"


def print_table(rows: list[tuple[str, ...]]) -> None:
    header = ("hop", "address", "dtype", "shape", "strides (elements)", "copied", "ns")
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    for line in (header, tuple("-" * width for width in widths), *rows):
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(line[:-1], widths))
            + "  "
            + line[-1].rjust(widths[-1])
        )


def main(folder: Path) -> None:
    invert_region = compile_invert(folder)

    def decode() -> np.ndarray[Any, Any]:
        return np.array(Image.open(PHOTO).convert("RGB"))

    # 1. Pillow decodes into memory that NumPy owns: the only time that pixels are moved.
    pixels = decode()
    before = pixels.copy()
    height, width, _ = pixels.shape
    strides = [step // pixels.itemsize for step in pixels.strides]
    ns = nanoseconds(decode, repeat=20)
    address = pixels.ctypes.data
    rows = [row("Pillow -> NumPy", address, pixels.dtype, pixels.shape, strides, "decoded", ns)]

    # 2. C gets the array itself and inverts the upper left quarter in place.
    seen = Seen()

    def call_c(bottom: int, right: int) -> None:
        assert invert_region(pixels, 0, bottom, 0, right, ctypes.byref(seen)) == 0

    ns = nanoseconds(lambda: call_c(0, 0))
    call_c(height // 2, width // 2)
    rows.append(row("NumPy -> C", seen.address, seen.dtype.decode(), seen.shape, seen.strides, "no", ns))

    # 3. torch gets the same buffer and swaps red and blue in the lower right quarter.
    tensor = dlbridge.to_torch(pixels)
    quarter = tensor[height // 2 :, width // 2 :]
    quarter.copy_(quarter.flip(2))
    ns = nanoseconds(lambda: dlbridge.to_torch(pixels))
    rows.append(row("NumPy -> torch", tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), "no", ns))

    # 4. Back to NumPy; the result keeps the memory alive even if everybody else lets go.
    result = dlbridge.to_numpy(tensor)
    ns = nanoseconds(lambda: dlbridge.to_numpy(tensor))
    strides = [step // result.itemsize for step in result.strides]
    rows.append(row("torch -> NumPy", result.ctypes.data, result.dtype, result.shape, strides, "no", ns))

    print_table(rows)
    assert pixels.ctypes.data == seen.address == tensor.data_ptr() == result.ctypes.data, "somebody copied"
    assert np.array_equal(result[: height // 2, : width // 2], 255 - before[: height // 2, : width // 2])
    assert np.array_equal(result[height // 2 :, width // 2 :], before[height // 2 :, width // 2 :, ::-1])
    assert np.array_equal(result[: height // 2, width // 2 :], before[: height // 2, width // 2 :])
    print("\nupper left: inverted by C; lower right: red and blue swapped by torch")
    print(f"one address all the way: {hex(pixels.ctypes.data)}")

    picture = folder / "demo.png"
    Image.fromarray(np.concatenate([before, result], axis=1)).save(picture)
    print(f"before and after: {picture}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "build/demo"))
