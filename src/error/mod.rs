//! What can go wrong, and the words for it: what is wrong, with the values, then the call that mends it.

mod allocation;
mod argument;
mod compare;
mod driver;
mod kind;
mod loss;
mod refusal;
mod stack;
mod staging;
mod transfer;

pub use allocation::Allocation;
pub use argument::Argument;
pub use compare::Compare;
pub use driver::Driver;
pub use kind::Kind;
pub use loss::{Cast, FirstLoss, LossReport};
pub use refusal::Refusal;
pub use stack::Stack;
pub use staging::Staging;
pub use transfer::Transfer;

use std::borrow::Cow;
use std::fmt;

/// The result of every fallible function of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong. Dtypes and devices come as their names.
///
/// ```
/// use dlbridge::{Kind, Tensor};
///
/// let error = Tensor::from_vec(vec![1.0_f32, 2.0, 3.0], &[2, 2]).unwrap_err();
/// assert_eq!(error.kind(), Kind::InvalidArgument);
/// assert_eq!(error.to_string(), "3 elements were given for a shape of 4; make the two agree");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are its Display, right below")]
pub enum Error {
    // Arguments
    Null { what: &'static str },
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
    Reinterpret { from: String, to: String, why: Cow<'static, str> },
    // The rest
    ReadOnly { action: &'static str, remedy: &'static str },
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
            | Reinterpret { .. } => Kind::Unsupported,
            ReadOnly { .. } => Kind::ReadOnly,
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

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Error::*;
        match self {
            Null { what } => write!(f, "{what} is NULL; pass a valid pointer"),
            AxisOutOfRange { axis, ndim: 0 } => {
                write!(
                    f,
                    "axis {axis} does not exist in a 0-d tensor; unsqueeze it first (dlb_tensor_unsqueeze), which gives it axis 0"
                )
            }
            AxisOutOfRange { axis, ndim } => write!(
                f,
                "axis {axis} does not exist in a tensor of {ndim} dimensions; pass -{ndim} to {}",
                *ndim as i64 - 1
            ),
            IndexOutOfRange { axis, index, extent: 0 } => {
                write!(f, "index {index} is outside axis {axis}, which is empty; slice it instead")
            }
            IndexOutOfRange { axis, index, extent } => {
                write!(
                    f,
                    "index {index} is outside axis {axis} of size {extent}; pass -{extent} to {}",
                    extent - 1
                )
            }
            ZeroStep => write!(f, "the slice step is 0; pass 1 to keep the order, -1 to reverse it"),
            AxisCount { count, ndim } => {
                write!(f, "{count} axes are named for a tensor of {ndim} axes; name each of the {ndim} once")
            }
            NotAPermutation { axes, ndim } => {
                write!(
                    f,
                    "{axes:?} is no permutation of {ndim} axes; name each axis from 0 to {} once",
                    *ndim as i64 - 1
                )
            }
            NotExpandable { shape, target } => write!(
                f,
                "shape {shape:?} does not broadcast to {target:?}; align the shapes at their last dimension and grow only dimensions of size 1"
            ),
            NotSqueezable { axis, extent } => {
                write!(
                    f,
                    "axis {axis} has size {extent} and cannot be squeezed; only size 1 can, select an index instead"
                )
            }
            ReshapeSize { shape, target } => write!(
                f,
                "shape {shape:?} cannot become {target:?}; both must hold the same number of elements, and -1 may stand in for one size"
            ),
            TooManyAxes { ndim, limit } => write!(f, "{ndim} dimensions are asked for; pass at most {limit}"),
            NegativeCount { what, count } => {
                write!(f, "{what} has {count} values; pass a count of 0 or more")
            }
            UnknownFlags { flags } => write!(
                f,
                "flags {flags:#x} are not known; pass 0, DLPACK_FLAG_BITMASK_READ_ONLY or DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED"
            ),
            UnknownDtypeName { name } => {
                write!(
                    f,
                    "{name:?} names no dtype; write it as NumPy does: float32, uint8, bfloat16, float8_e4m3fn"
                )
            }
            DtypeMismatch { have, asked } => {
                write!(
                    f,
                    "the tensor holds {have}, not {asked}; ask for {have}, or reinterpret the bytes (dlb_tensor_reinterpret; Tensor::reinterpret() in Rust)"
                )
            }
            WrongLength { length, size } => {
                write!(f, "{length} elements were given for a shape of {size}; make the two agree")
            }
            WrongNdim { have, asked } => {
                write!(
                    f,
                    "the tensor has {have} dimensions, not {asked}; ask for {have}, or reshape it first"
                )
            }
            Ndim { ndim, limit } => write!(
                f,
                "ndim is {ndim}, not 0 to {limit}; the producer must describe the tensor with fewer dimensions"
            ),
            NullShape { ndim } => {
                write!(f, "shape is NULL although ndim is {ndim}; whoever made the description must set it")
            }
            NegativeDimension { axis, extent } => {
                write!(f, "dimension {axis} is {extent}; the producer must give sizes of 0 or more")
            }
            ViewTooLarge { shape, item_bits } => write!(
                f,
                "a view of shape {shape:?} with {item_bits}-bit elements does not fit 63 bits of bytes; ask for a smaller one"
            ),
            ImpossibleTarget { dtype } => write!(
                f,
                "{dtype} cannot exist; bits and lanes must be above 0 and bits must fit the code (bool 8, float 16/32/64, float4 4)"
            ),
            TooLarge { shape, item_bits } => write!(
                f,
                "shape {shape:?} of {item_bits}-bit elements does not fit 63 bits of bytes; check the shape"
            ),
            StrideOverflow { shape, strides, item_bits } => write!(
                f,
                "strides {strides:?} over shape {shape:?} of {item_bits}-bit elements reach beyond 63 bits of bytes; check the strides, they count elements"
            ),
            AddressOverflow { data, byte_offset, low, high } => write!(
                f,
                "data {data:#x} + byte_offset {byte_offset} with elements from byte {low} to {high} leaves the address space; check byte_offset and strides"
            ),
            NullData { shape } => {
                write!(
                    f,
                    "data is NULL although shape {shape:?} holds elements; whoever made the description must set it"
                )
            }
            ImpossibleDtype { dtype } => write!(
                f,
                "{dtype} cannot exist; bits and lanes must be above 0 and bits must fit the code (bool 8, float 16/32/64, float4 4)"
            ),
            UnknownDevice { device } => {
                write!(
                    f,
                    "{device} is no device of DLPack 1.3; the producer must give a known type and an id of 0 or more"
                )
            }
            Version { major, minor } => write!(
                f,
                "the tensor is of DLPack {major}.{minor} and this library reads 1.x; ask the producer for max_version (1, 3)"
            ),
            PaddedSubByte { dtype } => {
                write!(
                    f,
                    "{dtype} with each element padded to bytes is not handled; export it packed, or as uint8"
                )
            }
            UnknownDtype { dtype } => {
                write!(
                    f,
                    "{dtype} is unknown, so its elements cannot be accessed; reinterpret it first (dlb_tensor_reinterpret; Tensor::reinterpret() in Rust, x.view(dtype) in Python)"
                )
            }
            Misaligned { address, alignment, dtype } => write!(
                f,
                "address {address:#x} is not a multiple of {alignment}, as {dtype} needs; read it as bytes, or copy it to aligned memory"
            ),
            NotHost { device } => {
                write!(f, "the memory is on {device} and the host cannot read it; copy it to the host first")
            }
            SubByteStart { bit, dtype } => write!(
                f,
                "the view would start at bit {bit} of a byte, which DLPack cannot express for {dtype}; start at a multiple of 8 bits"
            ),
            Overlapping { shape, strides } => write!(
                f,
                "several indices of shape {shape:?} with strides {strides:?} may share one element, so it cannot be written; write to the tensor before it was expanded, or to a copy"
            ),
            NotContiguous { shape, strides } => write!(
                f,
                "shape {shape:?} with strides {strides:?} is not row-major contiguous; walk it by its strides, or copy it"
            ),
            Reinterpret { from, to, why } => write!(f, "{from} cannot be reinterpreted as {to}: {why}"),
            ReadOnly { action, remedy } => {
                write!(f, "the tensor is read-only, so {action} is refused; {remedy}")
            }
            ReshapeCopies { shape, strides, target } => write!(
                f,
                "shape {shape:?} with strides {strides:?} cannot be viewed as {target:?}; copy the elements to row-major order first, and reshape that"
            ),
            NotExclusive { action, why, remedy } => write!(f, "{why}, so {action} is refused; {remedy}"),
            OutOfMemory { bytes } => {
                write!(f, "{bytes} bytes could not be allocated; release tensors that are no longer used")
            }
            Allocation(allocation) => allocation.fmt(f),
            Unavailable { what } => f.write_str(what),
            Capsule { words } => f.write_str(words),
            NotAnArray { type_name } if type_name == "Future" => {
                f.write_str("x is of type Future, which has an array once it is done; pass x.result()")
            }
            NotAnArray { type_name } => write!(
                f,
                "x is of type {type_name}, which is no DLPack producer: it has neither __dlpack__ nor a buffer and is no DLPack capsule; pass an array, for example numpy.asarray(x)"
            ),
            Refused(refusal) => refusal.fmt(f),
            Transfer(transfer) => transfer.fmt(f),
            Driver(driver) => driver.fmt(f),
            Staging(staging) => staging.fmt(f),
            Compare(compare) => compare.fmt(f),
            Stack(stack) => stack.fmt(f),
            Cast(cast) => cast.fmt(f),
            Argument(argument) => argument.fmt(f),
            Python { who, words } => write!(f, "{who} raised {words}"),
            Panic { words } => write!(f, "a bug in dlbridge: {words}; please report it"),
        }
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
