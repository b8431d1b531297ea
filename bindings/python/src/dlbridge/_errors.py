"""The errors: each derives from `Error` and from the built-in that a caller would catch anyway."""

from __future__ import annotations

from ._loss import LossReport


class Error(Exception):
    """Anything that dlbridge refuses or fails at. The message says what is wrong and which call mends it."""


class InvalidArgumentError(Error, ValueError):
    """An argument is out of range or makes no sense."""


class NotAnArrayError(InvalidArgumentError, TypeError):
    """The object is no DLPack producer."""


class WrongTypeError(InvalidArgumentError, TypeError):
    """An argument is of a type that means nothing here, or a tensor is asked for what it cannot be."""


class OutOfRangeError(InvalidArgumentError, IndexError):
    """An index or an axis is outside."""


class InvalidTensorError(Error, BufferError):
    """The DLPack structure that a producer gave is malformed."""


class UnsupportedError(Error, BufferError):
    """Valid, but not handled."""


class ReadOnlyError(Error, BufferError):
    """The tensor is read-only, and that was to be written or handed to who cannot tell."""


class CopyRequiredError(Error, BufferError):
    """Only a copy could do this, and none was asked for."""


class LossyError(Error, ValueError):
    """A value would change, and that was not allowed. `report` is the `LossReport` of what was refused."""

    report: LossReport | None = None


class OutOfMemoryError(Error, MemoryError):
    """An allocation failed."""


class DeviceError(Error, RuntimeError):
    """A device driver failed."""


class UnavailableError(Error, RuntimeError):
    """No such device, driver, framework or interpreter here."""


class TimedOutError(Error, TimeoutError):
    """The time given ran out."""


class ClosedError(Error, RuntimeError):
    """The other side has shut down."""


class ProducerError(Error, BufferError):
    """The producer raised; its exception is the `__cause__`."""


class InternalError(Error, RuntimeError):
    """A bug in dlbridge."""


# By status code. The three below are raised by name: in C they are invalid arguments like any other.
BY_STATUS: dict[int, type[Error]] = {
    1: InvalidArgumentError,
    2: InvalidTensorError,
    3: UnsupportedError,
    4: ReadOnlyError,
    5: CopyRequiredError,
    6: LossyError,
    7: OutOfMemoryError,
    8: DeviceError,
    9: UnavailableError,
    10: TimedOutError,
    11: ClosedError,
    12: ProducerError,
    13: InternalError,
}

# What the library raises, in the order in which it knows them: by status code, then by name.
BY_NUMBER: tuple[type[Error], ...] = (
    Error,
    *(BY_STATUS[status] for status in sorted(BY_STATUS)),
    NotAnArrayError,
    OutOfRangeError,
    WrongTypeError,
)

for _error in BY_NUMBER:
    _error.__module__ = "dlbridge"  # where users import them from
