//! Why arrays are not stacked into one batch.

use super::argument::of_argument;
use super::{Error, Face, Kind};
use std::fmt;

/// What is wrong with the arrays, or with what is to become of them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are right below")]
pub enum Stack {
    Empty,
    Array { index: usize, cause: Box<Error> },
    Shape { have: Vec<i64>, first: Vec<i64> },
    Dtypes { index: usize, dtype: String, first: String },
    Destination { have: Vec<i64>, need: Vec<i64>, layout: Option<&'static str> },
    NoPicture { shape: Vec<i64> },
    UnknownLayout { given: String },
    NoFloat { dtype: String },
    Channels { what: &'static str, given: usize, channels: usize },
    Beyond { what: &'static str, value: String },
    Values { from: String, to: String, casting: &'static str },
}

impl Stack {
    /// The kind, whose number is the C status code.
    pub const fn kind(&self) -> Kind {
        match self {
            Stack::Array { cause, .. } => cause.kind(),
            Stack::Values { .. } => Kind::Lossy,
            _ => Kind::InvalidArgument,
        }
    }
}

impl Error {
    /// What is wrong with an array of a batch, or with an argument; of any other error itself.
    pub(crate) fn of_one_array(&self) -> &Error {
        match self {
            Error::Stack(Stack::Array { cause, .. }) => cause.of_one_array(),
            Error::Argument(argument) => argument.cause().map_or(self, Error::of_one_array),
            _ => self,
        }
    }
}

impl Stack {
    /// The words, in the names of this face.
    pub(super) fn say(&self, face: Face, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Stack::*;
        match self {
            Empty => f.write_str("there are no arrays to stack; pass at least one"),
            Array { index, cause } => {
                let words = cause.words(face).to_string();
                write!(f, "array {index}: {}", of_argument(&words, &format!("arrays[{index}]")))
            }
            Shape { have, first } => write!(
                f,
                "its shape is {have:?} and that of array 0 is {first:?}; make all of one shape, or leave it out"
            ),
            Dtypes { index, dtype, first } => write!(
                f,
                "array 0 holds {first} and array {index} holds {dtype}; pass {} to say what the batch is to hold",
                face.pick("a destination", "dtype=", "a dtype")
            ),
            Destination { have, need, layout } => {
                write!(
                    f,
                    "the batch has shape {need:?} and the destination {have:?}; make the destination {need:?}"
                )?;
                // That of which the batch would have the shape of the destination.
                match layout {
                    Some(layout) => write!(f, ", or pass {}", face.layout(layout)),
                    None => Ok(()),
                }
            }
            NoPicture { shape } => write!(
                f,
                "shape {shape:?} is no picture of height, width and channels; leave the layout out, or pass arrays of 3 axes, or of 2 for one channel"
            ),
            UnknownLayout { given } => write!(
                f,
                "layout {given} is none that is known; pass {} for pictures that come as height, width, channels, {} for the reverse, or leave it out",
                face.layout("CHW"),
                face.layout("HWC")
            ),
            NoFloat { dtype } => write!(
                f,
                "scale and bias make floating-point numbers of real ones, and {dtype} is not that; pass {}, or leave both out",
                face.pick("a destination of float32", "dtype=\"float32\"", "dtype::F32")
            ),
            Channels { what, given, channels } => write!(
                f,
                "{what} has {given} values for {channels} channels; pass one, or one for each channel"
            ),
            Beyond { what, value } => write!(
                f,
                "{what} has {value}, which is infinite in float32, where the batch is reckoned; pass {}",
                face.pick("a destination of float64", "dtype=\"float64\"", "dtype::F64")
            ),
            Values { from, to, casting } => write!(
                f,
                "values of {from} do not fit what they become on the way to {to}, which {} refuses; pass {} to clamp them, or {} for what NumPy makes of them",
                face.casting(casting),
                face.casting("saturate"),
                face.casting("unsafe")
            ),
        }
    }
}
