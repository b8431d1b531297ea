//! What can go wrong, and the words for it: what is wrong, with the values, then the call that mends it.

mod allocation;
mod argument;
mod compare;
mod driver;
mod face;
mod kind;
pub(crate) mod last;
mod loss;
mod refusal;
mod stack;
mod staging;
mod transfer;
mod words;

pub use allocation::Allocation;
pub use argument::Argument;
pub use compare::Compare;
pub use driver::Driver;
pub use face::Face;
pub use kind::Kind;
pub use loss::{Cast, FirstLoss, LossReport};
pub use refusal::Refusal;
pub use stack::Stack;
pub use staging::{Reason, Staging};
pub use transfer::Transfer;

use std::borrow::Cow;
use std::fmt;

/// The result of every fallible function of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong. Dtypes and devices come as their names.
///
/// A program decides by [`Error::kind`], of which there are few. The variants say in their names what is wrong and carry
/// the values that the words are made of, for who reports them in words of their own; there may be more of them in a later
/// version. `Display` has the words, which end with the call that mends it: that of the crate. A program that hands errors
/// on to callers of the C API or of the Python package gets the words in their names from [`Error::words`]. `Debug` has the
/// kind before the words, for it is what `unwrap` prints, and `main` where it returns the error.
///
/// ```
/// use dlbridge::{Kind, Tensor};
///
/// let error = Tensor::from_vec(vec![1.0_f32, 2.0, 3.0], &[2, 2]).unwrap_err();
/// assert_eq!(error.kind(), Kind::InvalidArgument);
/// assert_eq!(error.to_string(), "3 elements were given for a shape of 4; make the two agree");
/// assert_eq!(format!("{error:?}"), format!("InvalidArgument: {error}"));
/// assert!(matches!(error, dlbridge::Error::WrongLength { length: 3, size: 4 }));
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are in words.rs")]
pub enum Error {
    // Arguments
    Null { what: &'static str },
    NullList { what: &'static str, count: usize },
    AxisOutOfRange { axis: i64, ndim: usize },
    IndexOutOfRange { axis: usize, index: i64, extent: i64 },
    ZeroStep,
    AxisCount { count: usize, ndim: usize },
    NotAPermutation { axes: Vec<i64>, ndim: usize },
    NotExpandable { shape: Vec<i64>, target: Vec<i64> },
    NotSqueezable { axis: usize, extent: i64 },
    ReshapeSize { shape: Vec<i64>, target: Vec<i64> },
    TooManyAxes { ndim: usize, limit: usize },
    ViewTooLarge { shape: Vec<i64>, item_bits: u32 },
    ImpossibleTarget { dtype: String },
    NegativeCount { what: &'static str, count: i32 },
    UnknownFlags { flags: u64 },
    UnknownDtypeName { name: String },
    UnknownDeviceName { name: String },
    DtypeMismatch { have: String, asked: String },
    WrongLength { length: usize, size: i64 },
    WrongNdim { have: usize, asked: usize },
    // Malformed DLPack
    Ndim { ndim: i64, limit: usize },
    NullShape { ndim: i32 },
    NegativeDimension { axis: usize, extent: i64 },
    TooLarge { shape: Vec<i64>, item_bits: u32 },
    StrideOverflow { shape: Vec<i64>, strides: Vec<i64>, item_bits: u32 },
    AddressOverflow { data: usize, byte_offset: u64, low: i64, high: i64 },
    NullData { shape: Vec<i64> },
    ImpossibleDtype { dtype: String },
    UnknownDevice { device: String },
    // Valid, not handled
    Version { major: u32, minor: u32 },
    PaddedSubByte { dtype: String },
    UnknownDtype { dtype: String },
    Misaligned { address: usize, alignment: usize, dtype: String },
    NotHost { device: String },
    SubByteStart { bit: u8, dtype: String },
    Overlapping { shape: Vec<i64>, strides: Vec<i64> },
    NotContiguous { shape: Vec<i64>, strides: Vec<i64> },
    ReinterpretScalar { from: String, to: String },
    ReinterpretPart { from: String, to: String, extent: i64, multiple: i64 },
    ReinterpretCopies { from: String, to: String, why: &'static str },
    // The rest
    ReadOnly { what: &'static str },
    ReadOnlyPin,
    ReadOnlyLegacy,
    ReshapeCopies { shape: Vec<i64>, strides: Vec<i64>, target: Vec<i64> },
    NotExclusive { action: &'static str, why: Cow<'static, str>, remedy: &'static str },
    OutOfMemory { bytes: usize },
    // Requests for memory
    Allocation(Allocation),
    Unavailable { what: String },
    Capsule { words: String },
    NotAnArray { type_name: String },
    // What a Python object cannot be handed over for
    Refused(Refusal),
    // What a stream, an event or an asynchronous copy cannot do
    Transfer(Transfer),
    // What a driver cannot do, or could not
    Driver(Driver),
    // What a ring of staging slots cannot do
    Staging(Staging),
    // What has no answer, equal or not
    Compare(Compare),
    Stack(Stack),
    Cast(Cast),
    // What is wrong with an argument of a Python call that is not `x`
    Argument(Argument),
    Python { who: &'static str, words: String },
    Panic { words: String },
}

impl Error {
    /// The kind, whose number is the C status code.
    pub const fn kind(&self) -> Kind {
        use Error::*;
        match self {
            Null { .. }
            | NullList { .. }
            | AxisOutOfRange { .. }
            | IndexOutOfRange { .. }
            | ZeroStep
            | AxisCount { .. }
            | NotAPermutation { .. }
            | NotExpandable { .. }
            | TooManyAxes { .. }
            | ViewTooLarge { .. }
            | ImpossibleTarget { .. }
            | NegativeCount { .. }
            | NotSqueezable { .. }
            | ReshapeSize { .. }
            | UnknownFlags { .. }
            | UnknownDtypeName { .. }
            | UnknownDeviceName { .. }
            | DtypeMismatch { .. }
            | WrongLength { .. }
            | WrongNdim { .. }
            | Capsule { .. }
            | NotAnArray { .. } => Kind::InvalidArgument,
            Ndim { .. }
            | NullShape { .. }
            | NegativeDimension { .. }
            | TooLarge { .. }
            | StrideOverflow { .. }
            | AddressOverflow { .. }
            | NullData { .. }
            | ImpossibleDtype { .. }
            | UnknownDevice { .. } => Kind::InvalidTensor,
            Version { .. }
            | PaddedSubByte { .. }
            | UnknownDtype { .. }
            | Misaligned { .. }
            | NotHost { .. }
            | SubByteStart { .. }
            | Overlapping { .. }
            | NotContiguous { .. }
            | ReinterpretScalar { .. }
            | ReinterpretPart { .. }
            | ReinterpretCopies { .. } => Kind::Unsupported,
            ReadOnly { .. } | ReadOnlyPin | ReadOnlyLegacy => Kind::ReadOnly,
            ReshapeCopies { .. } | NotExclusive { .. } => Kind::CopyRequired,
            OutOfMemory { .. } => Kind::OutOfMemory,
            Allocation(allocation) => allocation.kind(),
            Unavailable { .. } => Kind::Unavailable,
            Refused(refusal) => refusal.kind(),
            Transfer(transfer) => transfer.kind(),
            Driver(driver) => driver.kind(),
            Staging(staging) => staging.kind(),
            Compare(compare) => compare.kind(),
            Stack(stack) => stack.kind(),
            Cast(cast) => cast.kind(),
            Argument(argument) => argument.kind(),
            Python { .. } => Kind::Python,
            Panic { .. } => Kind::Internal,
        }
    }
}

impl std::error::Error for Error {}

/// Where nobody handles an error this is all that a person sees of it, so it has what mends it.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_numbered_from_one_without_gaps() {
        for (kind, code) in Kind::ALL.into_iter().zip(1..) {
            assert_eq!(kind as i32, code);
        }
    }
}
