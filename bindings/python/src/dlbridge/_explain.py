"""`to` and `explain`: any framework by name, and whether a hand-over would be zero-copy."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any, NamedTuple, Union

from ._errors import CopyRequiredError, Error, ReadOnlyError, UnavailableError, UnsupportedError
from ._library import native

# Where the framework's from_dlpack is, if not at the top of its module.
_ENTRY = {"jax": "jax.dlpack", "tensorflow": "tensorflow.experimental.dlpack", "paddle": "paddle.utils.dlpack"}
# Bytes of alignment without which a framework copies, silently.
_ALIGNMENT = {"jax": 64}

Framework = Union[str, ModuleType]

# Remedies that give another view of the same memory.
_FREE = ("detach", "as_subclass", ".view(", ".chunk(")


def to(x: Any, framework: Framework) -> Any:
    """The buffer of `x` as an array of a framework: `"numpy"`, `"torch"`, `"jax"`, `"cupy"`, ... or a module.

    NumPy and torch never copy here. The others take it through their own `from_dlpack`, which may; `explain(x,
    framework)` says so beforehand.
    """
    name = _name(framework)
    if name == "numpy":
        return native.to_numpy(x)
    if name == "torch":
        return native.to_torch(x)
    entry = _ENTRY.get(name)
    module = importlib.import_module(entry) if entry and _is_there(name) else _module(framework)
    if not hasattr(module, "from_dlpack"):
        raise UnavailableError(f"{name} has no from_dlpack; call dlbridge.to_numpy(x) and convert that")
    return module.from_dlpack(native.from_dlpack(x))


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
    at. `dtype` is that of the conversion: another one than that of `x` is a cast, which is told as well.

    >>> print(dlbridge.explain(numpy.zeros((2, 3))[:, ::-1], "torch"))
    to             torch
    zero-copy      no
    why            axis 1 has the negative stride -1, which torch cannot represent
    bytes to move  48
    change         pass copy=True, or numpy.ascontiguousarray(x)
    copy           reversed, 1 pass, 1 thread
    """
    name = _name(framework)
    try:
        tensor = native.from_dlpack(x)
        if dtype is not None and (wanted := native.empty(0, dtype).dtype) != tensor.dtype:
            reason = f"{tensor.dtype} becomes {wanted}, in memory of its own"
            return Explanation(name, False, reason, native._plan(x, dtype)[1], "drop dtype=", _plan(x, dtype))
        if name in ("numpy", "torch"):
            to(x, name)
        else:
            _look(tensor, name)
    except (UnsupportedError, ReadOnlyError, CopyRequiredError) as refused:
        reason, _, change = str(refused).partition("; ")
        free = any(call in change for call in _FREE)
        plan = "" if free else _plan(x)
        return Explanation(name, False, reason, 0 if free else _nbytes(x), change or "convert it first", plan)
    return Explanation(name, True, f"the same {tensor.nbytes:,} bytes at {tensor.data_ptr:#x}", 0, "")


def _look(tensor: Any, name: str) -> None:
    """Refuses what a framework is known to copy."""
    alignment = _ALIGNMENT.get(name, 1)
    if tensor.data_ptr % alignment:
        raise CopyRequiredError(
            f"the address {tensor.data_ptr:#x} is no multiple of {alignment}, so {name} copies; "
            "allocate it with dlbridge.empty, which aligns to 256"
        )
    if name in _ALIGNMENT and not tensor.contiguous:
        raise CopyRequiredError(f"{name} takes contiguous arrays only; pass numpy.ascontiguousarray(x)")


def _plan(x: Any, dtype: Any = None) -> str:
    """What dlbridge.copy(x), or dlbridge.cast(x, dtype), would do, where it could."""
    try:
        kernel, _, passes, threads, _ = native._plan(x, dtype)
    except Error:
        return ""
    return f"{kernel}, {passes} pass{'es' * (passes != 1)}, {threads} thread{'s' * (threads != 1)}"


def _nbytes(x: Any) -> int:
    """The bytes of an array that may have been refused: every framework calls them so."""
    try:
        return int(x.nbytes)
    except (AttributeError, TypeError):
        return len(memoryview(x).cast("B")) if isinstance(x, (bytes, bytearray, memoryview)) else 0


def _name(framework: Framework) -> str:
    return framework if isinstance(framework, str) else framework.__name__.partition(".")[0]


def _is_there(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ImportError as missing:
        raise UnavailableError(f"{name} is not installed; run pip install {name}") from missing
    return True


def _module(framework: Framework) -> ModuleType:
    if isinstance(framework, ModuleType):
        return framework
    _is_there(framework)
    return importlib.import_module(framework)
