//! The words of an error, in the names of those who made the call.

use super::{Error, Face};
use std::ffi::CString;
use std::fmt;

/// What [`Error::words`] gives.
struct Words<'a>(&'a Error, Face);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.say(self.1, f)
    }
}

/// The words for callers of the crate.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.say(Face::Rust, f)
    }
}

impl Error {
    /// What is wrong, and what to call instead, in the names of this face. [`Display`](fmt::Display) has the crate's own.
    pub fn words(&self, face: Face) -> impl fmt::Display + '_ {
        Words(self, face)
    }

    /// [`Error::words`] as a string of C, which ends with a NUL and has no other.
    pub(crate) fn c_words(&self, face: Face) -> CString {
        let mut words = self.words(face).to_string().into_bytes();
        words.retain(|&byte| byte != 0);
        CString::new(words).unwrap_or_default()
    }

    fn say(&self, face: Face, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Error::*;
        match self {
            Null { what } => {
                write!(f, "{what} is NULL; pass a valid pointer, in C++ a handle that is not empty")
            }
            NullList { what, count } => {
                write!(
                    f,
                    "{what} is NULL although its count is {count}; pass {count} values, or a count of 0"
                )
            }
            AxisOutOfRange { axis, ndim: 0 } => {
                write!(
                    f,
                    "axis {axis} does not exist in a 0-d tensor; unsqueeze it first ({}), which gives it axis 0",
                    face.unsqueeze()
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
            ReshapeSize { shape, target } => reshape_size(f, shape, target),
            TooManyAxes { ndim, limit } => write!(f, "{ndim} dimensions are asked for; pass at most {limit}"),
            NegativeCount { what, count } => {
                write!(f, "{what} has {count} values; pass a count of 0 or more")
            }
            UnknownFlags { flags } => write!(
                f,
                "flags {flags:#x} are not known; pass 0, or DLPACK_FLAG_BITMASK_READ_ONLY where nobody may write"
            ),
            UnknownDtypeName { name } => match dtype_meant(name) {
                Some(meant) => write!(f, "{name:?} names no dtype; write {meant}"),
                None => write!(
                    f,
                    "{name:?} names no dtype; write it as NumPy does: float32, uint8, bfloat16, float8_e4m3fn"
                ),
            },
            UnknownDeviceName { name } => write!(
                f,
                "{name:?} names no device; write its type, and its number where there are several: cpu, cuda:1"
            ),
            DtypeMismatch { have, asked } => {
                write!(
                    f,
                    "the tensor holds {have}, not {asked}; ask for {have}, convert it ({}), or reinterpret the bytes ({})",
                    face.cast(),
                    face.reinterpret()
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
            Ndim { ndim: ndim @ ..0, limit } => {
                write!(f, "ndim is {ndim}; whoever made the description must set it, to 0 to {limit}")
            }
            Ndim { ndim, limit } => {
                write!(f, "ndim is {ndim}, more than {limit}; describe the tensor with fewer dimensions")
            }
            NullShape { ndim } => {
                write!(f, "shape is NULL although ndim is {ndim}; whoever made the description must set it")
            }
            NegativeDimension { axis, extent } => {
                write!(
                    f,
                    "dimension {axis} is {extent}; whoever made the description must give sizes of 0 or more"
                )
            }
            ViewTooLarge { shape, item_bits } => write!(
                f,
                "a view of shape {shape:?} with {item_bits}-bit elements does not fit 63 bits of bytes; ask for a smaller one"
            ),
            ImpossibleDtype { dtype } | ImpossibleTarget { dtype } => write!(
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
            UnknownDevice { device } => {
                write!(
                    f,
                    "{device} is no device of DLPack 1.3; whoever made the description must give a known type and an id of 0 or more"
                )
            }
            Version { major, minor } => write!(
                f,
                "the tensor is of DLPack {major}.{minor} and this library reads 1.x; ask the producer for {}",
                face.pick("version 1.3", "max_version (1, 3)", "version 1.3")
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
                    "{dtype} is unknown, so its elements cannot be accessed; reinterpret it first ({})",
                    face.reinterpret()
                )
            }
            Misaligned { address, alignment, dtype } => write!(
                f,
                "address {address:#x} is not a multiple of {alignment}, as {dtype} needs; read it as bytes, or copy it to aligned memory ({})",
                face.copy()
            ),
            NotHost { device } => {
                write!(
                    f,
                    "the memory is on {device} and the host cannot read it; copy it to the host first ({})",
                    face.pick("dlb_copy_async()", "dlbridge.download(x).result()", "device::copy_async()")
                )
            }
            SubByteStart { bit, dtype } => write!(
                f,
                "the view would start at bit {bit} of a byte, which DLPack cannot express for {dtype}; start at a multiple of 8 bits"
            ),
            Overlapping { shape, strides } => write!(
                f,
                "several indices of shape {shape:?} with strides {strides:?} may share one element, so it cannot be written; write to the tensor before it was expanded, or to a copy ({})",
                face.copy()
            ),
            NotContiguous { shape, strides } => write!(
                f,
                "shape {shape:?} with strides {strides:?} is not row-major contiguous; walk it by its strides, or copy it ({})",
                face.copy()
            ),
            ReinterpretScalar { from, to } => write!(
                f,
                "{from} cannot be reinterpreted as {to}: a 0-d tensor cannot change its element size; unsqueeze it first ({})",
                face.unsqueeze()
            ),
            ReinterpretPart { from, to, extent, multiple } => write!(
                f,
                "{from} cannot be reinterpreted as {to}: the last dimension has {extent} elements, which are no whole number of new ones; slice it to a multiple of {multiple}, or make it one where it is made"
            ),
            ReinterpretCopies { from, to, why } => {
                write!(f, "{from} cannot be reinterpreted as {to}: {why}; copy it first ({})", face.copy())
            }
            ReadOnly { what } => {
                write!(
                    f,
                    "the {what} is read-only, so nothing is written to it; write to a copy ({})",
                    face.copy()
                )
            }
            ReadOnlyPin => write!(
                f,
                "the tensor is read-only, and the driver pins writable memory only; pin a copy ({})",
                // Bytes have no copy().
                face.pick("dlb_tensor_copy()", "dlbridge.copy(x)", "copy::new()")
            ),
            ReadOnlyLegacy => write!(
                f,
                "the tensor is read-only, so a legacy export is refused; make a versioned export, which can say read-only ({}), or export a copy ({})",
                face.pick("dlb_tensor_export()", "x.__dlpack__(max_version=(1, 3))", "Tensor::export()"),
                face.copy()
            ),
            ReshapeCopies { shape, strides, target } => write!(
                f,
                "shape {shape:?} with strides {strides:?} cannot be viewed as {target:?}; copy the elements to row-major order first ({}), and reshape that",
                face.copy()
            ),
            NotExclusive { action, why, remedy } => write!(f, "{why}, so {action} is refused; {remedy}"),
            OutOfMemory { bytes } if *bytes >> 47 != 0 => {
                write!(
                    f,
                    "{bytes} bytes could not be allocated: no process can have so many; check the shape"
                )
            }
            OutOfMemory { bytes } => {
                write!(
                    f,
                    "{bytes} bytes could not be allocated; release tensors that are no longer used, or ask for less"
                )
            }
            Allocation(allocation) => fmt::Display::fmt(allocation, f),
            Unavailable { what } => f.write_str(what),
            Capsule { words } => f.write_str(words),
            NotAnArray { type_name } if type_name == "Future" => {
                f.write_str("x is of type Future, which has an array once it is done; pass x.result()")
            }
            NotAnArray { type_name } if type_name == "type" => {
                f.write_str("x is a class and no array; pass an instance")
            }
            NotAnArray { type_name } => {
                let example = match type_name.as_str() {
                    // What NumPy makes no numbers of.
                    "NoneType" | "str" | "dict" | "set" | "function" | "method" | "module" => "",
                    "generator" => ", for example dlbridge.stack(x) where it yields arrays",
                    "list" | "tuple" => {
                        ", for example numpy.asarray(x), or dlbridge.stack(x) where it holds arrays"
                    }
                    _ => ", for example numpy.asarray(x)",
                };
                write!(
                    f,
                    "x is of type {type_name}, which is no DLPack producer: it has neither __dlpack__ nor a buffer and is no DLPack capsule; pass an array{example}"
                )
            }
            Refused(refusal) => refusal.say(face, f),
            Transfer(transfer) => transfer.say(face, f),
            Driver(driver) => driver.say(face, f),
            Staging(staging) => staging.say(face, f),
            Compare(compare) => compare.say(face, f),
            Stack(stack) => stack.say(face, f),
            Cast(cast) => cast.say(face, f),
            Argument(argument) => argument.say(face, f),
            Python { who, words } => write!(f, "{who} raised {words}"),
            Panic { words } => write!(f, "a bug in dlbridge: {words}; please report it"),
        }
    }
}

/// Why elements do not fill another shape.
fn reshape_size(f: &mut fmt::Formatter<'_>, shape: &[i64], target: &[i64]) -> fmt::Result {
    let size = shape.iter().fold(1_i64, |product, &extent| product.saturating_mul(extent));
    write!(f, "shape {shape:?} cannot become {target:?}: ")?;
    let open = target.iter().filter(|&&extent| extent == -1).count();
    let sizes = || target.iter().filter(|&&extent| extent != -1);
    let known = sizes().try_fold(1_i64, |product, &extent| product.checked_mul(extent));
    match known {
        _ if sizes().any(|&extent| extent < 0) => {
            f.write_str("there are negative sizes; pass sizes of 0 or more, and -1 for one")
        }
        _ if open > 1 => write!(f, "{open} sizes are left open; pass -1 for one of them"),
        Some(0) if open == 1 && size == 0 => f.write_str("beside a 0 any size would do; pass all sizes"),
        Some(known) if open == 1 => {
            write!(f, "{size} elements are no multiple of {known}; pass other sizes beside -1")
        }
        Some(known) => write!(
            f,
            "it has {size} elements, not {known}; pass sizes whose product is {size}, or -1 for one"
        ),
        None => write!(f, "it has {size} elements; pass sizes whose product is that, or -1 for one"),
    }
}

/// The dtype of a name that others have for it, where all mean the same: not `f16` or `i8`, which count bytes in NumPy and
/// bits in Rust.
fn dtype_meant(name: &str) -> Option<&'static str> {
    const OTHERS: [(&str, &str); 13] = [
        ("bool", "? b1 boolean"),
        ("int8", "i1"),
        ("int16", "i2 i16"),
        ("int32", "i4 i32"),
        ("int64", "i64"),
        ("uint8", "u1"),
        ("uint16", "u2 u16"),
        ("uint32", "u4 u32"),
        ("uint64", "u64"),
        ("float16", "f2 fp16 half"),
        ("float32", "f4 f32 fp32 single"),
        ("float64", "f8 f64 fp64 double"),
        ("bfloat16", "bf16"),
    ];
    let known = |(_, others): &&(&str, &str)| others.split(' ').any(|other| other == name);
    OTHERS.iter().find(known).map(|(dtype, _)| *dtype)
}

#[cfg(test)]
mod tests;
