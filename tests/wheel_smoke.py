"""What must work wherever the wheel does: NumPy alone, no compiler, any CPython from 3.9 on."""

from __future__ import annotations

import array
import gc
import platform
import sys
import threading
import weakref

import dlbridge

assert "numpy" not in sys.modules
import numpy as np  # noqa: E402


def main() -> None:
    source = np.arange(12.0).reshape(3, 4)
    tensor = dlbridge.from_dlpack(source)
    assert (tensor.shape, tensor.strides, tensor.dtype) == ((3, 4), (4, 1), "float64")
    view = dlbridge.to_numpy(tensor[::-1, 1:])
    assert view.ctypes.data == source[::-1, 1:].ctypes.data
    assert (view == source[::-1, 1:]).all()
    view[0, 0] = -1
    assert source[2, 1] == -1

    source.flags.writeable = False
    assert not dlbridge.to_numpy(dlbridge.from_dlpack(source)).flags.writeable
    assert dlbridge.to_numpy(array.array("f", [1, 2, 3])).tolist() == [1, 2, 3]
    assert np.from_dlpack(tensor).ctypes.data == source.ctypes.data

    for bad, kind in (([1, 2], TypeError), (np.zeros(1, ">i4"), BufferError), (np.ma.array([1]), BufferError)):
        words = ""
        try:
            dlbridge.from_dlpack(bad)
        except kind as refused:
            words = str(refused) if isinstance(refused, dlbridge.Error) else ""
        assert words, f"{bad!r} was not refused in words"

    gone = weakref.ref(source)
    held = [dlbridge.from_dlpack(source).__dlpack__(max_version=(1, 3)) for _ in range(10)]
    del source, tensor, view
    threads = [threading.Thread(target=held.pop) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert gone() is None
    assert (dlbridge.live_tensors(), dlbridge.live_exports()) == (0, 0)
    print(f"CPython {platform.python_version():<8} NumPy {np.__version__:<8} ok")


main()
