"""dlbridge as a DLPack consumer. Test names carry the numbers of the compatibility list in the README."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import dlbridge
from dlpack_structs import NAMES, NEW_CAPSULE, USED_NAMES, Legacy, Producer, Versioned, name_of

SHAPE = (ctypes.c_int64 * 2)(2, 3)
DATA = (ctypes.c_float * 6)(*range(6))


def fill(managed: Any, native: ctypes.PyDLL) -> None:
    tensor = managed.dl_tensor
    tensor.data = ctypes.addressof(DATA)
    tensor.device.device_type = 1
    tensor.ndim = 2
    tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes = 2, 32, 1
    tensor.shape = ctypes.cast(SHAPE, ctypes.POINTER(ctypes.c_int64))
    managed.deleter = ctypes.cast(native.count_deletion, ctypes.c_void_p).value


def versioned(native: ctypes.PyDLL, **changes: Any) -> tuple[Any, Versioned]:
    """A capsule, and the struct in it, which the caller keeps alive."""
    managed = Versioned(major=1, minor=3)
    fill(managed, native)
    for name, value in changes.items():
        setattr(managed if hasattr(managed, name) else managed.dl_tensor, name, value)
    return NEW_CAPSULE(ctypes.addressof(managed), NAMES[0], None), managed


@pytest.mark.parametrize("name", NAMES)
def test_a33_versioned_and_legacy(native: ctypes.PyDLL, name: bytes) -> None:
    managed: Any = Versioned(major=1, minor=3) if name == NAMES[0] else Legacy()
    fill(managed, native)
    deleted = native.deletions_so_far()
    capsule = NEW_CAPSULE(ctypes.addressof(managed), name, None)
    tensor = dlbridge.from_dlpack(capsule)
    assert name_of(capsule) in USED_NAMES
    assert (tensor.shape, tensor.strides, tensor.dtype) == ((2, 3), (3, 1), "float32")
    assert native.deletions_so_far() == deleted
    del tensor
    assert native.deletions_so_far() == deleted + 1


def test_a34_a_higher_minor_version_and_unknown_flags(native: ctypes.PyDLL) -> None:
    capsule, _managed = versioned(native, minor=77, flags=1 << 40)
    assert dlbridge.from_dlpack(capsule).shape == (2, 3)


def test_a44_producers_that_take_no_keywords() -> None:
    array = np.arange(6.0)
    tensor = dlbridge.from_dlpack(Producer(array.__dlpack__))
    assert tensor.data_ptr == array.ctypes.data


def test_a45_zero_copy_through_every_hop() -> None:
    array = np.zeros((4, 5), "float32")
    tensor = dlbridge.from_dlpack(array)
    as_torch = dlbridge.to_torch(tensor)
    back = dlbridge.to_numpy(as_torch)
    assert array.ctypes.data == tensor.data_ptr == as_torch.data_ptr() == back.ctypes.data
    array[1, 2] = 7
    as_torch[3, 4] = 9
    assert back[1, 2] == 7
    assert as_torch[1, 2] == 7
    assert array[3, 4] == 9


def test_a45_torch_to_numpy_and_back() -> None:
    source = torch.arange(12, dtype=torch.int64).reshape(3, 4).t()
    array = dlbridge.to_numpy(source)
    assert array.ctypes.data == source.data_ptr()
    assert array.shape == (4, 3)
    assert array.strides == (8, 32)
    array[2, 1] = -5
    assert source[2, 1] == -5
    assert dlbridge.to_torch(array).data_ptr() == source.data_ptr()


def test_a37_negative_and_zero_strides_are_kept() -> None:
    array = np.arange(12.0).reshape(3, 4)
    reversed_ = dlbridge.from_dlpack(array[::-1, ::-2])
    assert reversed_.strides == (-4, -2)
    assert np.array_equal(dlbridge.to_numpy(reversed_), array[::-1, ::-2])
    expanded = dlbridge.from_dlpack(torch.arange(3).expand(5, 3))
    assert expanded.strides == (0, 1)


def test_a42_a_read_only_source_stays_so() -> None:
    array = np.arange(3.0)
    array.flags.writeable = False
    tensor = dlbridge.from_dlpack(array)
    assert tensor.readonly
    assert not dlbridge.to_numpy(tensor).flags.writeable


MALFORMED = {
    "r46_major_0": ({"major": 0}, "DLPack 0.3"),
    "r46_major_2": ({"major": 2}, "DLPack 2.3"),
    "r47_ndim_negative": ({"ndim": -1}, "-1"),
    "r47_ndim_above_the_limit": ({"ndim": 129}, "129"),
    "r48_null_shape": ({"shape": None}, "shape is NULL"),
    "r53_null_data": ({"data": None}, "data is NULL"),
    "r52_offset_overflow": ({"byte_offset": 2**64 - 1}, "address space"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_r46_r47_r48_r52_r53_c62_malformed_tensors_are_deleted_once(native: ctypes.PyDLL, case: str) -> None:
    changes, words = MALFORMED[case]
    capsule, _managed = versioned(native, **changes)
    deleted = native.deletions_so_far()
    with pytest.raises(dlbridge.Error, match=words):
        dlbridge.from_dlpack(Producer(capsule))
    assert native.deletions_so_far() == deleted + 1
    # c62: it was renamed before anything could fail, so its destructor would not delete it again.
    assert name_of(capsule) == USED_NAMES[0]


def test_c61_a_used_capsule_is_an_error_and_stays_untouched(native: ctypes.PyDLL) -> None:
    capsule, _managed = versioned(native)
    deleted = native.deletions_so_far()
    tensor = dlbridge.from_dlpack(capsule)
    for producer in (capsule, Producer(capsule)):
        with pytest.raises(dlbridge.InvalidArgumentError, match="consumed already"):
            dlbridge.from_dlpack(producer)
    assert native.deletions_so_far() == deleted
    del tensor
    assert native.deletions_so_far() == deleted + 1


def test_c61_a_wrongly_named_capsule_is_an_error_and_stays_untouched(native: ctypes.PyDLL) -> None:
    for name in (b"dltensor_v2", None):
        managed = Versioned(major=1)
        fill(managed, native)
        deleted = native.deletions_so_far()
        capsule = NEW_CAPSULE(ctypes.addressof(managed), name, None)
        with pytest.raises(dlbridge.InvalidArgumentError, match="named"):
            dlbridge.from_dlpack(capsule)
        assert native.deletions_so_far() == deleted


@pytest.mark.parametrize("thing", [None, 1, "text", [1, 2, 3], {"a": 1}, object(), np.zeros])
def test_an_object_that_is_no_array(thing: Any) -> None:
    with pytest.raises(dlbridge.NotAnArrayError, match="pass an array") as caught:
        dlbridge.from_dlpack(thing)
    assert isinstance(caught.value, TypeError)
    assert type(thing).__name__ in str(caught.value)


def test_a_producer_that_raises_is_named_and_chained() -> None:
    def fail() -> None:
        raise RuntimeError("the camera is off")

    with pytest.raises(dlbridge.ProducerError, match="RuntimeError: the camera is off") as caught:
        dlbridge.from_dlpack(Producer(fail))
    assert isinstance(caught.value.__cause__, RuntimeError)


@pytest.mark.parametrize("words", ["the camera takes no films", "DLPack has no films, keywords or not"])
def test_a_type_error_of_the_producers_own_is_not_tried_away(words: str) -> None:
    calls = 0

    class Camera:
        def __dlpack__(self, **keywords: Any) -> None:
            nonlocal calls
            calls += 1
            raise TypeError(words if keywords else "another error")

    with pytest.raises(dlbridge.ProducerError, match=words) as caught:
        dlbridge.from_dlpack(Camera())
    assert isinstance(caught.value.__cause__, TypeError)
    assert calls == 1


# How CPython, its older C functions, pybind11 and nanobind say that they know no keyword.
NO_KEYWORDS = [
    "__dlpack__() got an unexpected keyword argument 'max_version'",
    "Camera.__dlpack__() takes no keyword arguments",
    "'max_version' is an invalid keyword argument for __dlpack__()",
    "__dlpack__(): incompatible function arguments. The following argument types are supported:",
]


@pytest.mark.parametrize("words", NO_KEYWORDS)
def test_a44_however_a_producer_says_that_it_takes_no_keywords(words: str) -> None:
    class Camera:
        def __dlpack__(self, **keywords: Any) -> Any:
            if keywords:
                raise TypeError(words)
            return np.arange(3.0).__dlpack__()

    assert dlbridge.to_numpy(Camera()).tolist() == [0, 1, 2]


def test_a_keyboard_interrupt_passes_through() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dlbridge.from_dlpack(Producer(interrupt))


def raising(kind: type[BaseException], name: str, base: type = object) -> Any:
    """A class: looking this name up raises, on its instances and on the class itself."""

    def fail(*_: Any) -> None:
        raise kind(name)

    meta = type("Meta", (type(base),), {name: property(fail)})
    return meta("Odd", (base,), {name: property(fail)})


LOOKED_UP = ["__dlpack__", "__array_interface__", "__dlpack_c_exchange_api__", "__module__", "harden_mask"]


@pytest.mark.parametrize("name", LOOKED_UP)
@pytest.mark.parametrize("call", [dlbridge.from_dlpack, dlbridge.to_numpy, dlbridge.to_torch])
def test_no_attribute_swallows_a_keyboard_interrupt(name: str, call: Callable[..., Any]) -> None:
    base = np.ndarray if name == "harden_mask" else object
    odd = raising(KeyboardInterrupt, name, base)
    thing = np.ones(2).view(odd) if base is np.ndarray else odd()
    for _ in range(2):  # what was found out while it was raised is not remembered
        with pytest.raises(KeyboardInterrupt, match=name):
            call(thing)
    with pytest.raises(SystemExit):
        call(raising(SystemExit, "__dlpack__")())
    assert call(np.ones(2)).shape == (2,)


@pytest.mark.parametrize("keyword", ["dtype", "device", "readonly"])
def test_no_argument_swallows_a_keyboard_interrupt(keyword: str) -> None:
    class Odd:
        def __str__(self) -> str:
            raise KeyboardInterrupt

    for source in (np.ones(2), torch.ones(2)):
        with pytest.raises(KeyboardInterrupt):
            dlbridge.to_torch(source, **{keyword: Odd()})  # type: ignore[arg-type]


def test_an_interrupt_while_an_error_is_put_into_words_passes_through() -> None:
    class Odd(RuntimeError):
        def __str__(self) -> str:
            raise KeyboardInterrupt

    def fail() -> None:
        raise Odd

    with pytest.raises(KeyboardInterrupt):
        dlbridge.from_dlpack(Producer(fail))


def test_an_interrupt_while_numpy_is_looked_at_passes_through() -> None:
    code = """
import sys, types, dlbridge

class Core:
    @property
    def _ARRAY_API(self):
        raise KeyboardInterrupt

for name in ("numpy", "numpy._core"):
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = []
sys.modules["numpy._core._multiarray_umath"] = Core()
try:
    dlbridge.from_dlpack(bytearray(3))
except KeyboardInterrupt:
    print("interrupted")
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "interrupted\n"


@pytest.mark.parametrize("nonsense", [None, 42, "capsule", (1, 2)])
def test_a_producer_that_returns_nonsense(nonsense: Any) -> None:
    with pytest.raises(dlbridge.Error, match="instead of a DLPack capsule"):
        dlbridge.from_dlpack(Producer(lambda: nonsense))


def test_a_dlpack_attribute_that_is_not_callable() -> None:
    class Odd:
        __dlpack__ = 3

    with pytest.raises(dlbridge.ProducerError, match="not callable"):
        dlbridge.from_dlpack(Odd())


def test_the_negative_bit_of_torch_is_refused() -> None:
    source = torch.tensor([1 + 2j]).conj().imag
    assert source.is_neg()
    with pytest.raises(dlbridge.UnsupportedError, match="resolve_neg"):
        dlbridge.from_dlpack(source)
    assert dlbridge.to_numpy(source.resolve_neg())[0] == -2
