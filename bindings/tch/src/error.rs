//! Why a tensor is not handed over.

use std::fmt;

/// Why a tensor is not handed over: what is wrong, with the values, then the call that mends it. `Debug` has the words, too,
/// for it is what `unwrap` prints, and `main` where it returns the error.
#[derive(Clone, PartialEq, Eq)]
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

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::ReadOnly => write!(f, "ReadOnly: {self}"),
            Error::Refused(words) => write!(f, "Refused: {words}"),
            Error::Torch(words) => write!(f, "Torch: {words}"),
            Error::Dlbridge(error) => fmt::Debug::fmt(error, f),
        }
    }
}

impl std::error::Error for Error {}

impl From<dlbridge::Error> for Error {
    fn from(error: dlbridge::Error) -> Error {
        Error::Dlbridge(error)
    }
}
