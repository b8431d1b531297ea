//! Why a tensor is not handed over.

use std::fmt;

/// Why a tensor is not handed over: what is wrong, with the values, then the call that mends it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The tensor is read-only, and torch could write to it.
    ReadOnly,
    /// The other side has no way to say what this tensor is.
    Refused(String),
    /// The words of an exception in libtorch.
    Torch(String),
    /// What dlbridge says of the tensor.
    Dlbridge(dlbridge::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::ReadOnly => f.write_str(
                "the tensor is read-only and torch could write to it; share a copy, or call to_torch_alias() if \
                 nobody will",
            ),
            Error::Refused(words) => f.write_str(words),
            Error::Torch(words) => write!(f, "libtorch: {words}"),
            Error::Dlbridge(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {}

impl From<dlbridge::Error> for Error {
    fn from(error: dlbridge::Error) -> Error {
        Error::Dlbridge(error)
    }
}
