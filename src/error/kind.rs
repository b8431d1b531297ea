//! The kinds of error, which are the status codes of the C API.

/// The kinds of error; the number is the C status code. A retired number is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// An argument is NULL, out of range or makes no sense.
    InvalidArgument = 1,
    /// The DLPack structure is malformed.
    InvalidTensor = 2,
    /// Valid, but not handled by this library.
    Unsupported = 3,
    /// Writing was asked for and the tensor is read-only.
    ReadOnly = 4,
    /// Only a copy could do this, and none was allowed.
    CopyRequired = 5,
    /// A value would change, and that was not allowed.
    Lossy = 6,
    /// An allocation failed.
    OutOfMemory = 7,
    /// A device driver failed.
    Device = 8,
    /// No such device, driver or interpreter here.
    Unavailable = 9,
    /// The time given ran out.
    Timeout = 10,
    /// The other side has shut down.
    Closed = 11,
    /// A Python exception was raised.
    Python = 12,
    /// A bug in this library.
    Internal = 13,
}

impl Kind {
    /// Every kind, in the order of the codes.
    pub const ALL: [Kind; 13] = [
        Kind::InvalidArgument,
        Kind::InvalidTensor,
        Kind::Unsupported,
        Kind::ReadOnly,
        Kind::CopyRequired,
        Kind::Lossy,
        Kind::OutOfMemory,
        Kind::Device,
        Kind::Unavailable,
        Kind::Timeout,
        Kind::Closed,
        Kind::Python,
        Kind::Internal,
    ];
}
