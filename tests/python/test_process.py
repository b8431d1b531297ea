"""What happens around the interpreter: fork, exit with everything still alive, sub-interpreters."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Since Python 3.12 a fork warns of threads; those of the library are ready for it.
FORKS = "ignore:This process:DeprecationWarning"


def run(code: str, *arguments: str) -> tuple[int, str, str]:
    """A program's exit status and everything it said."""
    ran = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", FORKS, "-c", code, *arguments],
        cwd=HERE,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return ran.returncode, ran.stdout, ran.stderr


# The parent imports once and forks; every child ends as a program does, through Py_Finalize.
MANY_ENDS = """
import os, sys
import numpy as np, dlbridge
for turn in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        break
    status = os.waitpid(child, 0)[1]
    if status:
        print("turn", turn, "ended with status", status)
if child:
    sys.exit()
array = np.arange(1000.0)

def work(call):
    import threading, time
    def repeat():
        while True: call()
    sys.setswitchinterval(1e-5)
    for _ in range(4): threading.Thread(target=repeat, daemon=True).start()
    time.sleep(0.02)
"""

ENDS = {
    "everything alive in module globals": """
tensors = [dlbridge.to_torch(array), dlbridge.from_dlpack(there), dlbridge.to_torch(bytearray(100))]
capsules = [dlbridge.from_dlpack(array).__dlpack__(max_version=(1, 3)), dlbridge.from_dlpack(there).__dlpack__()]
arrays = [dlbridge.to_numpy(there), np.from_dlpack(tensors[1]), dlbridge.to_numpy(memoryview(array))]
""",
    "alive in cycles": """
class Holder: pass
holder = Holder()
holder.own, holder.all = holder, [dlbridge.to_torch(array), dlbridge.from_dlpack(there).__dlpack__()]
array.flags.writeable = False
holder.more = dlbridge.to_numpy(dlbridge.from_dlpack(array))
del holder
""",
    "kept by sys and builtins": """
import builtins
builtins.kept_torch = dlbridge.to_torch(array)
sys.kept = [dlbridge.from_dlpack(there), dlbridge.to_numpy(there)]
""",
    "used while modules are torn down": """
class AtTheEnd:
    def __init__(self): self.call, self.what = dlbridge.to_torch, dlbridge.from_dlpack(array)
    def __del__(self): assert self.call(self.what)[3] == 3
last = AtTheEnd()
sys.last = AtTheEnd()
""",
    "used at exit": """
import atexit
atexit.register(lambda: dlbridge.to_numpy(dlbridge.to_torch(array)))
kept = dlbridge.to_torch(array)
""",
    "daemon threads that drop tensors": """
import threading
own, started = dlbridge.from_dlpack(there), threading.Barrier(5)
def drop():
    started.wait()
    while True:
        # No torch tensor dies here: torch itself aborts the process if one does during finalisation.
        keep = [dlbridge.from_dlpack(memoryview(array)), dlbridge.to_numpy(own), own[::2].__dlpack__()]
        del keep
for _ in range(4):
    threading.Thread(target=drop, daemon=True).start()
started.wait()
""",
    # CPython up to 3.13 ends a thread that asks for the GIL meanwhile, wherever it is: these are inside dlbridge.
    "daemon threads in a producer's Python code": """
import time
class Producer:
    def __dlpack__(self, **keywords):
        time.sleep(0.0001)  # anything that lets the GIL go: a lock, a queue, a file
        return array.__dlpack__(**keywords)
work(lambda: dlbridge.from_dlpack(Producer()))
""",
    "daemon threads in an attribute": """
class Interface:
    @property
    def __array_interface__(self):
        for _ in range(200): pass
        return array.__array_interface__
work(lambda: dlbridge.from_dlpack(Interface()))
""",
    "daemon threads in a finaliser": """
class Finalised(np.ndarray):
    def __del__(self):
        for _ in range(200): pass
work(lambda: dlbridge.from_dlpack(np.zeros(3).view(Finalised)))
""",
    "daemon threads that take the GIL in a C function": """
import ctypes
library, tensor = ctypes.CDLL(dlbridge.get_library()), ctypes.c_void_p
def call():
    made = tensor()
    library.dlb_python_import(ctypes.py_object(array), ctypes.byref(made))
    library.dlb_tensor_release(made)
work(call)
""",
    "daemon threads in a release function": """
import ctypes
library = ctypes.CDLL(dlbridge.get_library())
class Prototype(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("device", ctypes.c_int32 * 2), ("ndim", ctypes.c_int32),
                ("dtype", ctypes.c_uint8 * 4), ("shape", ctypes.c_void_p), ("strides", ctypes.c_void_p),
                ("offset", ctypes.c_uint64)]
floats = Prototype(array.ctypes.data, (1, 0), 0, (2, 64, 1, 0))
release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda _: None)
library.dlb_tensor_wrap.argtypes = [ctypes.c_void_p, ctypes.c_uint64, *[ctypes.c_void_p] * 3]
def call():
    made = ctypes.c_void_p()
    library.dlb_tensor_wrap(ctypes.addressof(floats), 0, release, None, ctypes.addressof(made))
    library.dlb_tensor_release(made)
call()
work(call)
""",
    "dropped by a thread just before the end": """
import threading
box = [dlbridge.to_torch(array)]
del array
thread = threading.Thread(target=box.clear)
thread.start()
thread.join()
""",
}


@pytest.mark.parametrize("name", ENDS)
def test_exits_with_exports_alive_are_clean_and_silent(name: str) -> None:
    turns = 20 if "daemon" in name else 2  # what does not depend on timing ends the same way every time
    code = MANY_ENDS + ENDS[name]
    if "torch" in ENDS[name] or "there" in ENDS[name]:
        code = "import torch\nthere = torch.arange(10.0)\n" + code
    elif turns > 5:
        turns = 100  # without torch the end takes a hundredth of the time
    assert run(code, str(turns)) == (0, "", "")


def test_a_whole_program_that_ends_with_exports_alive() -> None:
    code = "import numpy as np, torch, dlbridge\narray, there = np.arange(9.0), torch.arange(9.0)\n"
    assert run(code + ENDS["everything alive in module globals"]) == (0, "", "")


FORK = """
import gc, os, sys, threading
import numpy as np, torch, dlbridge
array = np.arange(1000.0)
tensor, there = dlbridge.from_dlpack(array), dlbridge.to_torch(array)
capsule = tensor.__dlpack__(max_version=(1, 3))
child = os.fork()
if child == 0:
    assert dlbridge.to_numpy(tensor)[5] == 5 and there[5] == 5
    array[5] = 99  # the child's own pages
    assert dlbridge.from_dlpack(capsule)[5].numpy() == 99
    box = [dlbridge.to_torch(array)]
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join()
    del tensor, there, capsule, array
    gc.collect()
    assert (dlbridge.live_tensors(), dlbridge.live_exports()) == (0, 0)
    sys.exit(7)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
assert array[5] == 5 and there[5] == 5 and dlbridge.from_dlpack(capsule)[5].numpy() == 5
del tensor, there, capsule
gc.collect()
print(dlbridge.live_tensors(), dlbridge.live_exports())
"""


def test_a_forked_child_uses_and_drops_and_the_parent_does_not_notice() -> None:
    assert run(FORK) == (0, "0 0\n", "")


WORKERS = """
import numpy as np, torch, dlbridge
class Data(torch.utils.data.Dataset):
    array = np.arange(64.0).reshape(16, 4)
    tensor = dlbridge.from_dlpack(array)
    def __len__(self): return 16
    def __getitem__(self, index): return dlbridge.to_torch(self.tensor[index])
if __name__ == "__main__":
    loader = torch.utils.data.DataLoader(Data(), batch_size=4, num_workers=2, multiprocessing_context="fork")
    print(sum(float(batch.sum()) for batch in loader))
"""


def test_workers_of_a_data_loader_hand_over_after_the_fork() -> None:
    status, out, _ = run(WORKERS)
    assert (status, out) == (0, "2016.0\n")


SUB = """
import importlib
interpreters = importlib.import_module(sys_name)
inside = '''
try: import dlbridge
except Exception as error: print(type(error).__name__, error)
else: print("imported")
'''
new = interpreters.create()
interpreters.run_string(new, inside)
interpreters.destroy(new)
import dlbridge
print(dlbridge.from_dlpack(bytearray(3)).shape)
"""


@pytest.mark.parametrize("first", ["", "import dlbridge\n"])
def test_a_sub_interpreter_gets_a_clear_answer_and_the_main_one_goes_on(first: str) -> None:
    names = ("_xxsubinterpreters", "_interpreters")
    name = next((name for name in names if importlib.util.find_spec(name)), None)
    if name is None:
        pytest.skip("this Python has no module of sub-interpreters")
    status, out, err = run(f"{first}sys_name = {name!r}\n{SUB}")
    answer, *rest = out.splitlines()
    assert (status, rest, err) == (0, ["(3,)"], "")
    assert answer.startswith(("UnavailableError dlbridge serves the main interpreter only", "ImportError"))
