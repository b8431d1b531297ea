"""One function of C++ works on the arrays of NumPy and of torch.

After `pip install --no-build-isolation .` in this folder, in an environment with dlbridge, pybind11 and
scikit-build-core: without that option pip would look for dlbridge in its index.
"""

import numpy as np
import rows
import torch

array = np.array([[1, 2, 3], [10, 20, 60]], "float32")
centred = rows.centre(array)
assert array.tolist() == [[-1, 0, 1], [-20, -10, 30]]
assert centred.data_ptr == array.ctypes.data

tensor = torch.ones(2, 8)[:, ::2]
assert rows.centre(tensor).torch().data_ptr() == tensor.data_ptr()
assert not tensor.any()

try:
    rows.centre(np.ones((2, 3)))
except RuntimeError as refused:
    print("refused:", refused)
