"""Frameworks by name, and `to`: any of them, through what it has itself."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple, Union

from ._errors import InvalidArgumentError, UnavailableError, WrongTypeError
from ._library import native

Framework = Union[str, ModuleType]


class Known(NamedTuple):
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


KNOWN = {
    "numpy": Known("numpy", "numpy"),
    "torch": Known("torch", "torch"),
    "jax": Known("jax.dlpack", "jax", alignment=64, strides="packed", legacy=True),
    "cupy": Known("cupy", "cupy", host=False),
    "tensorflow": Known("tensorflow.experimental.dlpack", "tensorflow", strides="row-major", legacy=True),
    "paddle": Known("paddle.utils.dlpack", "paddlepaddle", strides="no negative"),
    "mlx": Known("mlx.core", "mlx", strides="none"),
}
_DEVICES = ("cpu", "cuda", "rocm")
_ALIASES = {"np": "numpy", "pytorch": "torch", "tf": "tensorflow"}
_ACCEPTED = ", ".join(f'"{name}"' for name in KNOWN) + ", or a module that has from_dlpack"


# What the calls that `to` makes know besides `dtype`, `casting` and `copy`.
_MORE = {"numpy": (), "torch": ("device", "readonly")}


def to(
    x: Any,
    framework: Framework,
    *,
    copy: bool | None = None,
    dtype: Any = None,
    casting: str | None = None,
    device: Any = None,
    readonly: str | None = None,
) -> Any:
    """The buffer of `x` as an array of a framework: `"numpy"` (or `"np"`), `"torch"` (`"pytorch"`), `"jax"`,
    `"cupy"`, `"tensorflow"` (`"tf"`), `"paddle"`, `"mlx"`, or any module that has `from_dlpack`, itself or by name.

    The options are those of `to_numpy`, of `to_torch` (`device` and `readonly` with them), and for the others of
    `from_dlpack` (`device`). NumPy and torch never copy where none of them asks for it, and what is theirs already
    comes back itself. The others take a `Tensor` through their own `from_dlpack`, which may copy, or cast;
    `explain` with the same arguments says so beforehand.

    >>> dlbridge.to(numpy.ones(3), "torch", dtype="float32")
    tensor([1., 1., 1.])
    """
    consume = consumer(framework)
    return consume(
        x, **options_of(framework, copy=copy, dtype=dtype, casting=casting, device=device, readonly=readonly)
    )


def options_of(framework: Framework, **options: Any) -> dict[str, Any]:
    """The options that are given; refuses what the call for this framework does not have."""
    name = name_of(framework)
    have = ("copy", "dtype", "casting", *_MORE.get(name, ("device",)))
    given = {option: value for option, value in options.items() if value is not None}
    for option in given:
        if option not in have:
            raise WrongTypeError(
                f"{option}= means nothing for {name}; pass {', '.join(f'{each}=' for each in have)}"
            )
    return given


def name_of(framework: Framework, argument: str = "framework") -> str:
    """The framework's name; refuses what cannot be one."""
    if isinstance(framework, ModuleType):
        return framework.__name__.partition(".")[0]
    device = str(framework)
    if device.partition(":")[0] in _DEVICES:
        call = f"call dlbridge.from_dlpack(x, device={device!r}) for a Tensor there"
        raise InvalidArgumentError(f"{argument} is {device!r}, a device; {call}, or pass {_ACCEPTED}")
    if isinstance(framework, str) and all(part.isidentifier() for part in framework.split(".")):
        return _ALIASES.get(framework, framework)
    given = repr(framework) if isinstance(framework, (str, int)) else f"of type {type(framework).__name__}"
    wrong = InvalidArgumentError if isinstance(framework, str) else WrongTypeError
    raise wrong(f"{argument} is {given}; pass {_ACCEPTED}")


def consumer(framework: Framework, argument: str = "framework") -> Callable[..., Any]:
    """What makes an array of this framework, of anything, with the options of `to`."""
    name = name_of(framework, argument)
    if name == "numpy":
        return native.to_numpy  # type: ignore[no-any-return]
    if name == "torch":
        return native.to_torch  # type: ignore[no-any-return]
    module = framework if isinstance(framework, ModuleType) and name not in KNOWN else _imported(name)
    from_dlpack = getattr(module, "from_dlpack", None)
    if from_dlpack is None:
        raise UnavailableError(
            f"{name} has no from_dlpack; pass {_ACCEPTED}, or call dlbridge.to_numpy(x) and convert that"
        )
    return lambda x, **options: from_dlpack(native.from_dlpack(x, **options))


def as_consumer(as_: Any) -> Callable[..., Any]:
    """`consumer` of an `as_=`."""
    return consumer(as_, "as_")


def _imported(name: str) -> ModuleType:
    """The module that has a framework's from_dlpack."""
    known = KNOWN.get(name)
    try:
        return importlib.import_module(known.entry if known else name)
    except ImportError as missing:
        absent = missing.name == name.partition(".")[0]
        if absent and not known:
            raise UnavailableError(f"{name!r} is no framework dlbridge knows; pass {_ACCEPTED}") from missing
        why = "is not installed" if absent else f"cannot be imported ({missing})"
        remedy = f"run pip install {known.package}" if known else f"pass {_ACCEPTED}"
        raise UnavailableError(f"{name} {why}; {remedy}") from missing
