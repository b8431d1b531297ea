"""`to` and `explain`: any framework by name, and whether a hand-over would be zero-copy."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, Union

from ._errors import (
    CopyRequiredError,
    Error,
    InvalidArgumentError,
    ReadOnlyError,
    UnavailableError,
    UnsupportedError,
)
from ._library import native

Framework = Union[str, ModuleType]


class _Known(NamedTuple):
    """What is known of a framework."""

    entry: str
    """The module that has its from_dlpack."""
    package: str
    """What pip calls it."""
    alignment: int = 1
    """Bytes of alignment without which it copies, silently."""
    strides: str = "any"
    """Those it takes: "any", "no negative", "packed" (axes in any order), "row-major", "none" (it copies all)."""
    legacy: bool = False
    """Whether it asks for DLPack's legacy struct, which cannot say "read-only"."""
    host: bool = True
    """Whether it takes memory of the host."""


_KNOWN = {
    "numpy": _Known("numpy", "numpy"),
    "torch": _Known("torch", "torch"),
    "jax": _Known("jax.dlpack", "jax", alignment=64, strides="packed", legacy=True),
    "cupy": _Known("cupy", "cupy", host=False),
    "tensorflow": _Known("tensorflow.experimental.dlpack", "tensorflow", strides="row-major", legacy=True),
    "paddle": _Known("paddle.utils.dlpack", "paddlepaddle", strides="no negative"),
    "mlx": _Known("mlx.core", "mlx", strides="none"),
}
_ALIASES = {"np": "numpy", "pytorch": "torch", "tf": "tensorflow"}
_ACCEPTED = ", ".join(f'"{name}"' for name in _KNOWN) + ", or a module that has from_dlpack"

# Remedies that give another view of the same memory.
_FREE = ("detach", "as_subclass", ".view(", ".chunk(")

# The type of capsules; `types.CapsuleType` is of Python 3.13.
_Capsule = type(native.Tensor.__dlpack_c_exchange_api__)


def to(x: Any, framework: Framework) -> Any:
    """The buffer of `x` as an array of a framework: `"numpy"` (or `"np"`), `"torch"` (`"pytorch"`), `"jax"`,
    `"cupy"`, `"tensorflow"` (`"tf"`), `"paddle"`, `"mlx"`, or any module that has `from_dlpack`, itself or by name.

    NumPy and torch never copy here, and what is theirs already comes back itself. The others take it through their
    own `from_dlpack`, which may; `explain(x, framework)` says so beforehand.
    """
    return _consumer(framework)(x)


class Explanation(NamedTuple):
    """What `explain` found. Prints as a short table."""

    framework: str
    zero_copy: bool
    reason: str
    nbytes: int
    change: str
    plan: str = ""
    """How the copy or cast that is needed would be made: kernel, passes, threads. Empty where none is needed."""

    def __str__(self) -> str:
        rows = [("to", self.framework), ("zero-copy", "yes" if self.zero_copy else "no"), ("why", self.reason)]
        if not self.zero_copy:
            rows += [("bytes to move", f"{self.nbytes:,}"), ("change", self.change)]
        if self.plan:
            rows.append(("copy", self.plan))
        return "\n".join(f"{name:<14} {value}" for name, value in rows)


def explain(x: Any, framework: Framework, *, dtype: Any = None) -> Explanation:
    """Whether `x` would reach a framework without a copy; if not why, how many bytes, and what to change.

    Nothing is moved: for NumPy and torch the hand-over is made and let go again, for others the layout is looked
    at, and those that `to` knows by name need not be installed; of any other module it says that it does not know.
    An array that is of NumPy or torch already is zero-copy, whatever it is: `to(x, framework)` is `x`. A capsule is
    refused, since it can be taken only once.
    `dtype` is that of the conversion: another one than that of `x` is a cast, which is told as well.

    >>> print(dlbridge.explain(numpy.zeros((2, 3))[:, ::-1], "torch"))
    to             torch
    zero-copy      no
    why            axis 1 has the negative stride -1, which torch cannot represent
    bytes to move  48
    change         pass copy=True, or numpy.ascontiguousarray(x)
    copy           reversed, 1 pass, 1 thread
    """
    name = _name(framework)
    if isinstance(x, _Capsule):
        raise InvalidArgumentError(
            "x is a DLPack capsule, which can be taken only once, so to look at it would be to use it up; "
            "explain the array it came from, or dlbridge.from_dlpack(capsule)"
        )
    try:
        if dtype is not None:
            tensor = native.from_dlpack(x)
            if (wanted := native.empty(0, dtype).dtype) != tensor.dtype:
                reason = f"{tensor.dtype} becomes {wanted}, in memory of its own"
                return Explanation(name, False, reason, native._plan(x, dtype)[1], "drop dtype=", _plan(x, dtype))
        if name in ("numpy", "torch"):
            if to(x, name) is x:
                return Explanation(name, True, f"it is of {name} already, and handed back as it is", 0, "")
            tensor = native.from_dlpack(x)
        else:
            if name not in _KNOWN:
                _consumer(framework)
            tensor = native.from_dlpack(x)
            _look(tensor, name)
    except (UnsupportedError, ReadOnlyError, CopyRequiredError) as refused:
        reason, _, change = str(refused).partition("; ")
        free = any(call in change for call in _FREE)
        plan = "" if free else _plan(x)
        return Explanation(name, False, reason, 0 if free else _nbytes(x), change or "convert it first", plan)
    reason = f"the same {tensor.nbytes:,} bytes at {tensor.data_ptr:#x}"
    if name not in _KNOWN:
        reason += f" are handed to {name}, of which dlbridge does not know whether it copies them"
    return Explanation(name, True, reason, 0, "")


def _look(tensor: Any, name: str) -> None:
    """Refuses what a framework is known to copy."""
    known = _KNOWN.get(name)
    if known is None:
        return
    if known.strides == "none":
        raise CopyRequiredError(
            f"{name} copies whatever it takes; it shares nothing, so there is nothing to change"
        )
    if not known.host and tensor.device.startswith("cpu"):
        raise CopyRequiredError(
            f"the data is on cpu, and {name} takes memory of its devices only; "
            f"call {name}.asarray(dlbridge.to_numpy(x))"
        )
    if known.legacy:
        tensor.__dlpack__()  # as it will ask: a read-only tensor says no
    if tensor.data_ptr % known.alignment:
        raise CopyRequiredError(
            f"the address {tensor.data_ptr:#x} is no multiple of {known.alignment}, so {name} copies; "
            "allocate it with dlbridge.empty, which aligns to 256"
        )
    if not _strides_are(known.strides, tensor):
        kind = {"no negative": "arrays without negative strides", "packed": "packed arrays"}
        words = kind.get(known.strides, "row-major arrays")
        raise CopyRequiredError(f"{name} takes {words} only; pass numpy.ascontiguousarray(x)")


def _strides_are(kind: str, tensor: Any) -> bool:
    """Whether the strides are of a kind that `_Known` names."""
    if kind == "any" or tensor.contiguous:
        return True
    steps = sorted((stride, size) for stride, size in zip(tensor.strides, tensor.shape) if size > 1)
    if kind == "no negative":
        return all(stride >= 0 for stride, _ in steps)
    packed = [math.prod(size for _, size in steps[:axis]) for axis in range(len(steps))]
    return kind == "packed" and packed == [stride for stride, _ in steps]


def _plan(x: Any, dtype: Any = None) -> str:
    """What dlbridge.copy(x), or dlbridge.cast(x, dtype), would do, where it could."""
    try:
        kernel, _, passes, threads, _ = native._plan(x, dtype)
    except Error:
        return ""
    return f"{kernel}, {passes} pass{'es' * (passes != 1)}, {threads} thread{'s' * (threads != 1)}"


def _nbytes(x: Any) -> int:
    """The bytes of an array that may have been refused: every framework calls them so, but torch where sparse."""
    if isinstance(x, (bytes, bytearray, memoryview)):
        return len(memoryview(x).cast("B"))
    try:
        return int(x.nbytes)
    except (AttributeError, TypeError, RuntimeError):
        shape, dtype = getattr(x, "shape", ()), getattr(x, "dtype", None)
        return math.prod(shape) * int(getattr(dtype, "itemsize", 0))


def _name(framework: Framework) -> str:
    """The framework's name; refuses what cannot be one."""
    if isinstance(framework, ModuleType):
        return framework.__name__.partition(".")[0]
    if isinstance(framework, str) and all(part.isidentifier() for part in framework.split(".")):
        return _ALIASES.get(framework, framework)
    given = repr(framework) if isinstance(framework, str) else f"a {type(framework).__name__}"
    raise InvalidArgumentError(f"framework is {given}; pass {_ACCEPTED}")


def _consumer(framework: Framework) -> Callable[[Any], Any]:
    """What makes an array of this framework."""
    name = _name(framework)
    if name == "numpy":
        return native.to_numpy  # type: ignore[no-any-return]
    if name == "torch":
        return native.to_torch  # type: ignore[no-any-return]
    module = framework if isinstance(framework, ModuleType) and name not in _KNOWN else _imported(name)
    from_dlpack = getattr(module, "from_dlpack", None)
    if from_dlpack is None:
        raise UnavailableError(
            f"{name} has no from_dlpack; pass {_ACCEPTED}, or call dlbridge.to_numpy(x) and convert that"
        )
    return lambda x: from_dlpack(native.from_dlpack(x))


def _imported(name: str) -> ModuleType:
    """The module that has a framework's from_dlpack."""
    known = _KNOWN.get(name)
    try:
        return importlib.import_module(known.entry if known else name)
    except ImportError as missing:
        absent = missing.name == name.partition(".")[0]
        why = "is not installed" if absent else f"cannot be imported ({missing})"
        remedy = f"run pip install {known.package}" if known else f"pass {_ACCEPTED}"
        raise UnavailableError(f"{name} {why}; {remedy}") from missing
