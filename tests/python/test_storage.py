"""Memory that moves under a hand-over, and owners that are owners of owners."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

import dlbridge

HAND_OVER: list[Callable[[Any], Any]] = [dlbridge.to_numpy, lambda x: dlbridge.from_dlpack(x).numpy()]
SIZE = 300_000  # large enough that freed memory goes back to the system, so that reading it would crash


def swap_data(x: torch.Tensor) -> None:
    x.data = torch.zeros(3)


def swap_storage(x: torch.Tensor) -> None:
    x.set_(torch.zeros(3).untyped_storage(), 0, (3,))


@pytest.mark.parametrize("hand_over", HAND_OVER)
@pytest.mark.parametrize("swap", [swap_data, swap_storage])
def test_the_storage_is_kept_and_not_the_tensor(
    hand_over: Callable[[Any], Any], swap: Callable[[torch.Tensor], None]
) -> None:
    x = torch.full((SIZE,), 7.0)
    array = hand_over(x)
    swap(x)
    assert (array == 7).all()


@pytest.mark.parametrize("hand_over", HAND_OVER)
def test_a_module_may_change_its_dtype_meanwhile(hand_over: Callable[[Any], Any]) -> None:
    layer = torch.nn.Linear(600, 600)
    layer.requires_grad_(False)
    layer.weight.fill_(7)
    array = hand_over(layer.weight)
    layer.half()
    assert (array == 7).all()


@pytest.mark.parametrize("hand_over", HAND_OVER)
def test_a_storage_that_was_emptied_is_refused(hand_over: Callable[[Any], Any]) -> None:
    x = torch.ones(1000)
    x.untyped_storage().resize_(0)
    with pytest.raises(dlbridge.InvalidTensorError, match="NULL"):
        hand_over(x)


@pytest.mark.parametrize("hand_over", HAND_OVER)
@pytest.mark.parametrize(
    ("question", "dtype"), [("is_neg", "complex64"), ("is_conj", "complex64"), ("__get__", "uint8")]
)
def test_a_question_that_changes_the_tensor(hand_over: Callable[[Any], Any], question: str, dtype: str) -> None:
    class Meddle(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(function, "__name__", "") == question:
                args[0].data = torch.full((SIZE,), 5, dtype=getattr(torch, dtype))
            return function(*args, **(kwargs or {}))

    x = torch.ones(SIZE, dtype=getattr(torch, dtype))
    with Meddle():
        array = hand_over(x)
    del x  # the array keeps what it shows
    assert (array == 5).all()


@pytest.mark.parametrize("hand_over", HAND_OVER)
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_memory_that_is_replaced_behind_its_storage_is_refused(
    hand_over: Callable[[Any], Any], dtype: torch.dtype
) -> None:
    class Meddle(TorchFunctionMode):
        """What another thread may do while the Python code of a mode runs."""

        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            answer = function(*args, **(kwargs or {}))
            if function.__name__ == "untyped_storage":
                args[0].data = torch.full((SIZE,), 5, dtype=dtype)
            return answer

    x = torch.ones(SIZE, dtype=dtype)
    words = "given other data meanwhile; make the conversion again"
    with Meddle(), pytest.raises(dlbridge.UnsupportedError, match=words):
        hand_over(x)
    assert (hand_over(x) == 5).all()


def shrunk() -> torch.Tensor:
    x = torch.ones(100_000)
    x.untyped_storage().resize_(4)
    return x


def emptied() -> torch.Tensor:
    x = torch.ones(100)[5:]
    x.untyped_storage().resize_(0)
    return x


def grown_without_memory() -> torch.Tensor:
    x = torch.ones(4)
    x.numpy()  # from then on the memory cannot be resized, but torch has set the new shape before it notices
    with pytest.raises(RuntimeError, match="not resizable"):
        x.resize_(SIZE)
    return x


def one_byte_short() -> torch.Tensor:
    x = torch.ones(6, 4)[1:, ::2]
    x.untyped_storage().resize_(91)  # the last element is the 4 bytes from 88 on
    return x


PAST = [(shrunk, 400_000, 4), (emptied, 400, 0), (grown_without_memory, 4 * SIZE, 16), (one_byte_short, 92, 91)]


@pytest.mark.parametrize("hand_over", HAND_OVER)
@pytest.mark.parametrize(("make", "reach", "nbytes"), PAST)
def test_a_tensor_that_reaches_past_its_storage_is_refused(
    hand_over: Callable[[Any], Any], make: Callable[[], torch.Tensor], reach: int, nbytes: int
) -> None:
    x = make()
    call = f"x.untyped_storage().resize_({reach})"
    words = f"reaches up to byte {reach} of its storage, which has only {nbytes}; call {call} first"
    with pytest.raises(dlbridge.UnsupportedError, match=re.escape(words)):
        hand_over(x)
    if make is not grown_without_memory:
        eval(call)
        assert hand_over(x).shape == x.shape


@pytest.mark.parametrize("follows", [False, True])
@pytest.mark.parametrize(("make", "reach", "nbytes"), PAST[:2] + PAST[3:])
def test_what_reaches_past_its_storage_is_not_copied_by_torch_instead(
    make: Callable[[], torch.Tensor], reach: int, nbytes: int, follows: bool
) -> None:
    x = make().requires_grad_(follows)
    with pytest.raises(dlbridge.UnsupportedError, match=f"up to byte {reach} .* has only {nbytes};"):
        dlbridge.to_torch(x, copy=True)
    x.untyped_storage().resize_(reach)
    assert dlbridge.to_torch(x, copy=True).shape == x.shape


@pytest.mark.parametrize("make", [torch.ones, lambda n: torch.nn.Parameter(torch.ones(n))])
def test_what_was_emptied_is_not_copied_by_torch_instead(make: Callable[[int], torch.Tensor]) -> None:
    x = make(SIZE)
    x.untyped_storage().resize_(0)
    with pytest.raises(dlbridge.InvalidTensorError, match="NULL"):
        dlbridge.to_torch(x, copy=True)


def test_what_has_no_plain_memory_is_cloned_by_torch() -> None:
    complex_ones = torch.ones(3, dtype=torch.complex64)
    bits = torch.ones(3, dtype=torch.uint8).view(torch.bits8)
    sources = [torch._efficientzerotensor(3), torch.ones(3, device="meta"), torch.eye(3).to_sparse(), bits]
    sources += [torch._neg_view(torch.ones(3)), complex_ones.conj(), torch.ones(3, requires_grad=True)]
    for x in sources:
        clone = dlbridge.to_torch(x, copy=True)
        assert (clone.layout, clone.dtype, clone.device) == (x.layout, x.dtype, x.device)
    for x in sources[4:]:
        assert torch.equal(dlbridge.to_torch(x, copy=True), x)
    assert torch.equal(
        torch.vmap(lambda a: dlbridge.to_torch(a, copy=True) * 2)(torch.ones(2, 3)), 2 * torch.ones(2, 3)
    )
    assert torch.equal(
        torch.func.grad(lambda a: dlbridge.to_torch(a, copy=True).sum())(torch.ones(3)), torch.ones(3)
    )
    traced = torch.jit.trace(lambda a: dlbridge.to_torch(a, copy=True) * 2, torch.ones(3))
    assert torch.equal(traced(torch.full((3,), 4.0)), torch.full((3,), 8.0))


WITHOUT_TABLE = """
import torch
del torch.Tensor.__dlpack_c_exchange_api__  # as before torch 2.10
import dlbridge
x = torch.arange(24.0)
assert dlbridge.to_numpy(x[5:])[3] == 8
x.untyped_storage().resize_(4)
for hand_over in dlbridge.to_numpy, dlbridge.from_dlpack:
    try: hand_over(x)
    except dlbridge.UnsupportedError as refused: print(refused)
print(dlbridge.live_tensors())
"""


def test_a_torch_without_an_exchange_table_is_not_trusted_either() -> None:
    done = run("-c", WITHOUT_TABLE)
    assert done.stderr == ""
    assert re.fullmatch(r"(.*up to byte 96 .* has only 4;.*\n){2}0\n", done.stdout)


@pytest.mark.parametrize("hand_over", HAND_OVER)
def test_a_tensor_that_ends_with_its_storage_is_shared(hand_over: Callable[[Any], Any]) -> None:
    x = torch.arange(24.0).reshape(6, 4)[1:, 1::2]
    x.untyped_storage().resize_(6 * 16)
    assert hand_over(x)[4, 1] == 23
    assert hand_over(x[6:]).size == 0
    assert hand_over(torch.as_strided(x, (1, 2), (1000, 2), 21))[0, 1] == 23  # a stride that is never stepped
    assert hand_over(torch._lazy_clone(x))[4, 1] == 23  # copied when the memory is asked for


class Instead(TorchFunctionMode):
    """Answers the question for the storage with something else."""

    def __init__(self, storage: Callable[[], Any]) -> None:
        super().__init__()
        self.storage = storage

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.storage() if function is torch.Tensor.untyped_storage else function(*args, **(kwargs or {}))


@pytest.mark.parametrize("hand_over", HAND_OVER)
@pytest.mark.parametrize(
    ("storage", "words"),
    [
        (object, "a storage that is none of torch's own; make the conversion outside the torch function mode"),
        (lambda: torch.ones(SIZE), "none of torch's own"),
        (
            lambda: torch.ones(3).untyped_storage(),
            r"of its storage, which has only 12|does not lie in the storage it has",
        ),
    ],
)
def test_a_mode_that_makes_a_storage_up_is_refused(
    hand_over: Callable[[Any], Any], storage: Callable[[], Any], words: str
) -> None:
    x = torch.ones(SIZE)
    with Instead(storage), pytest.raises(dlbridge.UnsupportedError, match=words):
        hand_over(x)


@pytest.mark.parametrize("hand_over", HAND_OVER)
def test_a_class_that_only_calls_itself_parameter_is_a_subclass(hand_over: Callable[[Any], Any]) -> None:
    named = type("Parameter", (torch.Tensor,), {"__module__": "torch.nn.parameter"})
    with pytest.raises(dlbridge.UnsupportedError, match=r"Parameter, a subclass of torch\.Tensor"):
        hand_over(torch.ones(3).as_subclass(named))
    assert hand_over(torch.nn.Parameter(torch.ones(3), requires_grad=False)).sum() == 3


TYPE_GONE = """
import gc, numpy as np, dlbridge
kept = {}
class Collects:
    def __del__(self): gc.collect()
class Meta(type):
    def __getattribute__(cls, name):
        if name == "harden_mask" and kept:
            kept.popitem()[1].__class__ = Other  # the last reference to the class that is being asked, but for ours
            return Collects()
        return super().__getattribute__(name)
class Other(np.ndarray, metaclass=Meta): pass
for _ in range(50):
    array = np.zeros(3).view(Meta("Gone", (np.ndarray,), {}))
    kept["array"] = array
    try: dlbridge.from_dlpack(array)
    except dlbridge.UnsupportedError: pass
# These may lie where a class was that is gone.
for python_type in [type("New", (np.ndarray,), {}) for _ in range(2000)]:
    dlbridge.from_dlpack(np.zeros(3).view(python_type))
"""


def test_a_class_that_goes_while_it_is_asked_what_it_is() -> None:
    done = run("-X", "faulthandler", "-c", TYPE_GONE)
    assert (done.returncode, done.stderr) == (0, "")


WAYS = {
    "to_numpy": lambda array: dlbridge.to_numpy(dlbridge.from_dlpack(array[:])),
    "numpy.from_dlpack": lambda array: np.from_dlpack(dlbridge.from_dlpack(array[:])),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_hundred_thousand_hand_overs_build_no_chain(way: str) -> None:
    array = np.arange(5.0)
    address = array.ctypes.data
    for _ in range(100_000):
        array = WAYS[way](array)
        if dlbridge.live_tensors() > 10:  # never let it grow: deleting it would overflow the stack
            break
    assert array.ctypes.data == address
    assert dlbridge.live_tensors() < 10
    array.flags.writeable = False
    assert dlbridge.from_dlpack(array).readonly


def test_a_torch_tensor_stays_where_it_was_asked_for() -> None:
    x = torch.ones(2)
    assert dlbridge.to_torch(x, device="cpu") is x
    with pytest.raises(dlbridge.UnavailableError, match="cuda:7"):
        dlbridge.to_torch(x, device="cuda:7")
    with pytest.raises(dlbridge.CopyRequiredError, match="copy=False"):
        dlbridge.to_torch(x, device="cuda:7", copy=False)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parent
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=120, cwd=here, check=False
    )


SUB_INTERPRETER = """
import dlbridge
import _xxsubinterpreters as interpreters
inside = interpreters.create()
try:
    interpreters.run_string(inside, "import dlbridge")
except Exception as refused:
    print(refused)
interpreters.destroy(inside)
"""


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="ctypes itself refuses to load there")
def test_a_sub_interpreter_is_told() -> None:
    run = subprocess.run(
        [sys.executable, "-c", SUB_INTERPRETER], capture_output=True, text=True, timeout=60, check=True
    )
    assert "main interpreter only" in run.stdout


AFTER_A_SUB_INTERPRETER = """
import ctypes, sys, threading
import numpy as np
import _xxsubinterpreters as interpreters
import dlbridge
from dlpack_structs import take
interpreters.destroy(interpreters.create())
library = ctypes.CDLL(sys.argv[1])
array = np.arange(3.0)
before = sys.getrefcount(array)
def drop(count):
    for _ in range(count):
        managed = take(dlbridge.from_dlpack(array).__dlpack__(max_version=(1, 3)))
        library.delete_on_plain_thread(ctypes.c_void_p(ctypes.addressof(managed)))
threads = [threading.Thread(target=drop, args=(2000,)) for _ in range(2)]
[thread.start() for thread in threads]
for _ in range(300000):
    other = array
[thread.join() for thread in threads]
dlbridge.from_dlpack(np.zeros(1))
del other
print(sys.getrefcount(array) - before, dlbridge.live_exports())
"""


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="sub-interpreters are made in another way there")
def test_references_are_dropped_with_the_gil_even_after_a_sub_interpreter(native_path: Any) -> None:
    done = run("-c", AFTER_A_SUB_INTERPRETER, str(native_path))
    assert (done.returncode, done.stdout.strip()) == (0, "0 0"), done.stderr


IMPORTED_FROM_C = """
import ctypes, threading
import numpy as np
import dlbridge
library = ctypes.CDLL(dlbridge.get_library())
library.dlb_python_import.argtypes = [ctypes.py_object, ctypes.POINTER(ctypes.c_void_p)]
library.dlb_tensor_release.argtypes = [ctypes.c_void_p]
peak = 0
class Counted(np.ndarray):
    alive = 0
    def __del__(self):
        Counted.alive -= 1
def work():
    global peak
    for _ in range(1000):
        array, tensor = np.zeros(4).view(Counted), ctypes.c_void_p()
        Counted.alive += 1
        assert library.dlb_python_import(array, ctypes.byref(tensor)) == 0
        del array
        library.dlb_tensor_release(tensor)  # without the GIL, so the array waits
        peak = max(peak, Counted.alive)
thread = threading.Thread(target=work)
thread.start()
thread.join()  # the main thread, which alone makes pending calls, is blocked meanwhile
print(peak)
"""


def test_what_waits_is_let_go_by_the_next_call_from_c() -> None:
    done = run("-c", IMPORTED_FROM_C)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 10


BROKEN_IMPORT = """
import sys, pathlib, tempfile
folder = pathlib.Path(tempfile.mkdtemp())
(folder / "torch.py").write_text({code!r})
sys.path.insert(0, str(folder))
import dlbridge
dlbridge.to_torch(bytearray(4))
"""


@pytest.mark.parametrize("raised", ["KeyboardInterrupt()", "OSError('libcudart is missing')"])
def test_an_import_that_raises_says_what_it_raised(raised: str) -> None:
    done = run("-c", BROKEN_IMPORT.format(code=f"raise {raised}"))
    assert raised.partition("(")[0] in done.stderr
    assert "not installed" not in done.stderr
