import numpy as np

import dlbridge

samples = np.zeros((2, 3), "float32")
mine = dlbridge.from_dlpack(samples)
theirs = dlbridge.to_numpy(mine)
assert theirs.ctypes.data == mine.data_ptr == samples.ctypes.data
theirs[1, 2] = 7
assert samples[1, 2] == 7
