"""`explain`: what `to` would do, told beforehand."""

from __future__ import annotations

import math
import os
import sys
from typing import Any, NamedTuple

from ._errors import (
    CopyRequiredError,
    Error,
    InvalidArgumentError,
    NotAnArrayError,
    ReadOnlyError,
    UnavailableError,
    UnsupportedError,
)
from ._fields import explained
from ._frameworks import KNOWN, Framework, consumer, name_of, options_of, to
from ._library import native
from ._streams import check_device

# Remedies that give another view of the same memory.
_FREE = ("detach", "as_subclass", ".view(", ".chunk(")
# What is refused over the array, and not over an argument; where the casting forbids a cast, that is one too.
_REFUSALS = (UnsupportedError, ReadOnlyError, CopyRequiredError, UnavailableError, InvalidArgumentError)

_CUDA = 2
# Memory that the host writes, with no stream: pinned for CUDA, pinned for ROCm, managed.
_OF_THE_HOST = (3, 11, 13)
# The type of capsules; `types.CapsuleType` is of Python 3.13.
_Capsule = type(native.Tensor.__dlpack_c_exchange_api__)


@explained
class Explanation(NamedTuple):
    """What `explain` found; true where the call would succeed. Printed, it is a table.

    `framework`: Its name.
    `zero_copy`: Whether the result would be on the memory of `x`.
    `reason`: Why that is so.
    `nbytes`: How many bytes a copy or a cast would write; 0 where none is needed, or none would help.
    `change`: What makes it work where it does not, and zero-copy where it copies.
    `plan`: How that copy or cast would be made: kernel, passes, threads. Empty where there is none.
    `works`: Whether the call would succeed: where `zero_copy` is false, by a copy.
    """

    framework: str
    zero_copy: bool
    reason: str
    nbytes: int
    change: str
    plan: str = ""
    works: bool = True

    def __bool__(self) -> bool:
        """`works`."""
        return self.works

    def __str__(self) -> str:
        rows = [("to", self.framework), ("works", "yes" if self.works else "no")]
        rows += [("zero-copy", "yes" if self.zero_copy else "no"), ("why", self.reason)]
        if not self.zero_copy:
            rows += [("bytes to move", f"{self.nbytes:,}"), ("change", self.change)]
        if self.plan:
            rows.append(("copy", self.plan))
        return "\n".join(f"{name:<14} {value}" for name, value in rows)


def explain(
    x: Any,
    framework: Framework,
    *,
    copy: bool | None = None,
    dtype: Any = None,
    casting: str | None = None,
    device: Any = None,
    readonly: str | None = None,
) -> Explanation:
    """What `to(x, framework, ...)` with the same options would do: refuse, copy, or share; why, how many bytes, and
    what to change.

    No element is looked at or moved: what needs no copy is handed over and let go again, what does is tried with an
    empty array. So a cast is said to work although a value out of range would be a `LossyError`. What is refused is
    told in the words of the error, with the bytes and the plan of a copy where a copy mends it. Of frameworks
    other than NumPy and torch the layout is looked at, and those that `to` knows by name need not be installed; of
    any other module it says that it does not know. What is of NumPy or torch already comes back as it is, whatever
    it is, unless an option asks for more. A capsule is refused, since it can be taken only once, and so is what is
    no array, and an option that means nothing.

    >>> print(dlbridge.explain(numpy.zeros((2, 3))[:, ::-1], "torch"))
    to             torch
    works          no
    zero-copy      no
    why            axis 1 has the negative stride -1, which torch cannot represent
    bytes to move  48
    change         pass copy=True, or numpy.ascontiguousarray(x)
    copy           reversed, 1 pass, 1 thread
    """
    name = name_of(framework)
    if isinstance(x, _Capsule):
        raise InvalidArgumentError(
            "x is a DLPack capsule, which can be taken only once, so to look at it would be to use it up; "
            "explain the array it came from, or dlbridge.from_dlpack(capsule)"
        )
    options = options_of(framework, copy=copy, dtype=dtype, casting=casting, device=device, readonly=readonly)
    if name not in KNOWN:
        consumer(framework)  # which has a from_dlpack, or is none
    _check_arguments(x, name, options)
    try:
        return _told(x, framework, name, options)
    except NotAnArrayError:
        raise
    except _REFUSALS as refused:
        reason, _, change = str(refused).partition("; ")
        if any(call in change for call in _FREE) or _asks_too_much(x, options):
            return Explanation(name, False, reason, 0, change, works=False)
        return Explanation(name, False, reason, _nbytes(x), change, _plan(x), works=False)


def _asks_too_much(x: Any, options: dict[str, Any]) -> bool:
    """Whether what is refused is the cast or the transfer that the options ask for, which no copy mends."""
    try:
        native.from_dlpack(x)
    except Error:
        return False
    try:
        _cast(x, options)
        return _moves(x, options)
    except Error:
        return True


def _check_arguments(x: Any, name: str, options: dict[str, Any]) -> None:
    """Refuses options that mean nothing for any array."""
    plain = {option: value for option, value in options.items() if option not in ("dtype", "device")}
    call = native.to_torch if "readonly" in plain else native.from_dlpack
    call(native.empty(0, "uint8"), **plain)
    if "dtype" in options:
        native.empty(0, options["dtype"])
    if "device" in options and not (name == _family(x) == "torch" and str(x.device) == str(options["device"])):
        native._device(options["device"])


def _told(x: Any, framework: Framework, name: str, options: dict[str, Any]) -> Explanation:
    """What comes of it; raises what the call would raise over `x`."""
    if name in ("numpy", "torch"):
        stays = name == _family(x) and not options.get("copy") and not _moves(x, options)
        if stays and _cast(x, options) is None and to(x, framework, **options) is x:
            return Explanation(name, True, f"it is of {name} already, and handed back as it is", 0, "")
    made = _made(x, framework, name, options)
    if made is not None:
        return made
    tensor = native.from_dlpack(x)
    if name in ("numpy", "torch"):
        to(x, framework, **options)
        found = None
    else:
        found = _look(tensor, name)
    if found is not None:
        return Explanation(name, False, found[0], tensor.nbytes, found[1], "")
    reason = f"the same {tensor.nbytes:,} bytes at {tensor.data_ptr:#x}"
    if name not in KNOWN:
        reason += f" are handed to {name}, of which dlbridge does not know whether it copies them"
    return Explanation(name, True, reason, 0, "")


def _made(x: Any, framework: Framework, name: str, options: dict[str, Any]) -> Explanation | None:
    """What the options have dlbridge make: a cast, a copy, a transfer; None where they ask for none."""
    copy = options.get("copy")
    cast = _cast(x, options)
    read_only = options.get("readonly") == "copy" and copy is None and native.from_dlpack(x).readonly
    if cast is not None:
        have, wanted = native.from_dlpack(x).dtype, native.empty(0, options["dtype"]).dtype
        reason, drop = f"{have} becomes {wanted}, in memory of its own", "dtype"
    elif copy:
        reason, drop = "copy=True asks for memory of its own", "copy"
    elif _moves(x, options):
        reason, drop = f"the data is on {_device_of(x)}, and goes to {options['device']}", "device"
    elif read_only:
        reason, drop = 'the source is read-only, and readonly="copy" asks for memory of its own', "readonly"
    else:
        return None
    _try(x, framework, name, options)
    plan = _plan(x, options.get("dtype"), options.get("casting")) if cast is not None else _plan(x)
    nbytes = cast[1] if cast is not None else _nbytes(x)
    return Explanation(name, False, reason, nbytes, _instead(x, framework, options, drop), plan)


def _try(x: Any, framework: Framework, name: str, options: dict[str, Any]) -> None:
    """Makes the call with an array like `x` that has no elements; raises what it raises."""
    if _moves(x, options):
        if options.get("copy") is False:
            to(x, "torch", copy=False, device=options["device"])  # which refuses
        _check_moved(x, options["device"])
    if _family(x) == name == "torch" and _cast(x, options) is None and not _moves(x, options):
        return  # torch clones it, whatever it is
    if _family(x) == "torch":
        native.from_dlpack(x)  # since an empty part of what it refuses may be taken, or not be had
    stays = {option: value for option, value in options.items() if option != "device"}
    sample = _emptied(x)
    if name in ("numpy", "torch"):
        to(sample, framework, **stays)
        if name == "torch" and _moves(x, options):
            _check_torch_has(options["device"])
        return
    made = native.from_dlpack(sample, **stays)
    # Memory of dlbridge's own lies as all of them like it.
    _look(native.empty([1] * made.ndim, made.dtype), name)


def _check_torch_has(device: Any) -> None:
    """Refuses a device that this torch was built without."""
    if native._device(device)[0] == _CUDA and not sys.modules["torch"].cuda.is_available():
        raise UnavailableError(
            "this torch has no CUDA here, although dlbridge has; install a torch that is built for it"
        )


def _emptied(x: Any) -> Any:
    """An array like `x` without its elements; of what has no slices, a `Tensor` that shows it. Refuses a masked one
    while the mask is whole."""
    if _family(x) == "" or getattr(x, "is_sparse", False) or hasattr(x, "harden_mask"):
        x = native.from_dlpack(x)
    return x[:0] if x.ndim else x[None][:0]


def _instead(x: Any, framework: Framework, options: dict[str, Any], drop: str) -> str:
    """What to change in a call that copies, so that it does not."""
    others = {option: value for option, value in options.items() if option != drop}
    if drop == "readonly":
        others[drop] = "alias"
    advice = {
        "copy": "drop copy=True",
        "dtype": "drop dtype=",
        "device": "drop device=",
        "readonly": 'pass readonly="alias" to share it, and never write',
    }[drop]
    without = explain(x, framework, **others)
    if without.zero_copy:
        return advice
    if without.change.startswith("nothing"):
        return without.change
    if without.works:
        return f"{advice}, and {without.change}"
    return f"nothing; otherwise it is refused, since {without.reason}"


def _cast(x: Any, options: dict[str, Any]) -> tuple[Any, ...] | None:
    """The plan of the cast that the options ask for; None where the dtype is that already."""
    if "dtype" not in options:
        return None
    try:
        plan: tuple[Any, ...] | None = native._plan(x, options["dtype"], options.get("casting"))
    except Error:
        _check_before_cast(x, options)
        raise
    if plan is not None:
        _check_before_cast(x, options)
    return plan


def _check_before_cast(x: Any, options: dict[str, Any]) -> None:
    """Raises what the call refuses before it looks at the two dtypes."""
    if options.get("copy") is False:
        native.from_dlpack(x, copy=False, dtype=options["dtype"])  # which refuses
    if _moves(x, options):
        _check_moved(x, options["device"])


def _check_moved(x: Any, device: Any) -> None:
    """Raises what a transfer refuses: it reads the array first."""
    native.from_dlpack(x)
    if native._device(device)[0] in _OF_THE_HOST:
        native.empty(0, "uint8", device=device)
    else:
        check_device(device)


def _moves(x: Any, options: dict[str, Any]) -> bool:
    """Whether the options ask for a transfer."""
    if "device" not in options:
        return False
    have, wanted = _device_of(x), options["device"]
    if have == str(wanted):  # some of torch's have no name in DLPack
        return False
    place = native._device(wanted)
    try:
        there = native._device(have)
    except InvalidArgumentError:
        native.from_dlpack(x)  # which has the words for what is on no device of DLPack's
        raise
    return bool(there != place and not (have == "cuda_host" and place == (1, 0)))


def _device_of(x: Any) -> str:
    """The device of an array, also of one that DLPack cannot describe."""
    family = _family(x)
    return "cpu" if family == "numpy" else str(x.device if family == "torch" else native.from_dlpack(x).device)


def _family(x: Any) -> str:
    """Of which of the two the array is."""
    for name, type_name in (("numpy", "ndarray"), ("torch", "Tensor")):
        module = sys.modules.get(name)
        if module is not None and isinstance(x, getattr(module, type_name)):
            return name
    return ""


def _look(tensor: Any, name: str) -> tuple[str, str] | None:
    """Why a framework copies a tensor, and what to change, as far as that is known; None where it shares it. Raises
    where it refuses it."""
    known = KNOWN.get(name)
    if known is None:
        return None
    if not known.host and tensor.device.startswith("cpu"):
        raise UnsupportedError(
            f"the data is on cpu, and {name} takes memory of its devices only; "
            f"call {name}.asarray(dlbridge.to_numpy(x))"
        )
    if known.legacy and tensor.readonly:
        raise ReadOnlyError(
            f"the source is read-only, and {name} asks for DLPack's legacy struct, which cannot say so; "
            "pass copy=True"
        )
    negative = known.strides == "none" and not _strides_are("no negative", tensor)
    if negative or not (known.strides == "none" or _strides_are(known.strides, tensor)):
        kind = {"packed": "packed arrays", "row-major": "row-major arrays"}
        words = kind.get(known.strides, "arrays without negative strides")
        raise UnsupportedError(f"{name} takes {words} only; pass copy=True, or numpy.ascontiguousarray(x)")
    if known.strides == "none":
        return f"{name} copies whatever it takes", "nothing; it shares no memory with others"
    if name == "jax" and (narrow := _narrowed(tensor.dtype)):
        return (
            f"jax casts {tensor.dtype} to {narrow}, silently, while jax_enable_x64 is off",
            f'call jax.config.update("jax_enable_x64", True), or pass dtype="{narrow}" to have the values checked',
        )
    if tensor.data_ptr % known.alignment:
        return (
            f"the address {tensor.data_ptr:#x} is no multiple of {known.alignment}, so {name} copies",
            "allocate it with dlbridge.empty, which aligns to 256",
        )
    return None


def _narrowed(dtype: str) -> str:
    """What JAX makes of a dtype of 64 bits, where it is not told to keep them."""
    jax = sys.modules.get("jax")
    keeps = os.environ.get("JAX_ENABLE_X64", "").lower() in ("1", "t", "true", "y", "yes", "on")
    if bool(jax.config.jax_enable_x64) if jax is not None else keeps:
        return ""
    return {"float64": "float32", "int64": "int32", "uint64": "uint32", "complex128": "complex64"}.get(dtype, "")


def _strides_are(kind: str, tensor: Any) -> bool:
    """Whether the strides are of a kind that `Known` names."""
    if kind == "any" or tensor.contiguous:
        return True
    steps = sorted((stride, size) for stride, size in zip(tensor.strides, tensor.shape) if size > 1)
    if kind == "no negative":
        return all(stride >= 0 for stride, _ in steps)
    packed = [math.prod(size for _, size in steps[:axis]) for axis in range(len(steps))]
    return kind == "packed" and packed == [stride for stride, _ in steps]


def _plan(x: Any, dtype: Any = None, casting: Any = None) -> str:
    """What dlbridge.copy(x), or dlbridge.cast(x, dtype), would do, where it could."""
    try:
        plan = native._plan(x, dtype, casting)
    except Error:
        return ""
    if plan is None:
        return ""
    kernel, _, passes, threads, _ = plan
    return f"{kernel}, {passes} pass{'es' * (passes != 1)}, {threads} thread{'s' * (threads != 1)}"


def _nbytes(x: Any) -> int:
    """The bytes of an array that may have been refused, then as it says itself; torch does not where sparse."""
    if _family(x) == "torch" and x.is_meta:
        return 0
    for array in (memoryview, native.from_dlpack):
        try:
            return int(array(x).nbytes)
        except (TypeError, ValueError, BufferError, Error):
            continue
    try:
        return int(x.nbytes)
    except (AttributeError, TypeError, RuntimeError):
        shape, dtype = getattr(x, "shape", ()), getattr(x, "dtype", None)
        return math.prod(shape) * int(getattr(dtype, "itemsize", 0))
