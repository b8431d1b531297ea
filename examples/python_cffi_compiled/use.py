"""After `python build.py .`: the compiled function, on the memory of a NumPy array and of a torch tensor."""

from typing import Any

import numpy as np
import torch
from _invert import ffi, lib


def invert(image: Any) -> None:
    out = ffi.new("dlb_tensor **")
    status = lib.dlb_python_import(ffi.cast("void *", id(image)), out)
    if status == 0:
        tensor = ffi.gc(out[0], lib.dlb_tensor_release)
        status = lib.invert(tensor)
    if status != 0:
        raise ValueError(ffi.string(lib.dlb_error_message()).decode())


image = np.zeros((480, 640, 3), "uint8")
invert(image)
assert (image == 255).all()

tensor = torch.from_numpy(image)
invert(tensor)
assert not image.any()

try:
    invert(image[:, ::2])
except ValueError as refused:
    print("refused:", refused)
