"""One buffer, seen by NumPy, PyTorch and dlbridge: who writes where, and who is told."""

import numpy as np

import dlbridge

frame = np.zeros((480, 640, 3), dtype="uint8")

tensor = dlbridge.to_torch(frame)  # no copy: torch looks at the memory of `frame`
tensor[:, 320:] = 255
assert frame[0, 639, 0] == 255
assert tensor.data_ptr() == frame.ctypes.data

left = dlbridge.from_dlpack(tensor)[:, :320]  # a view, keeps the frame alive by itself
assert dlbridge.to_numpy(left).base is not None
print(left)

frame.flags.writeable = False  # torch cannot represent this, so it has to be said what is meant
try:
    dlbridge.to_torch(frame)
except dlbridge.ReadOnlyError as refused:
    print("refused:", refused)
