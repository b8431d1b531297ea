//! Why two tensors are not compared.

use super::{Face, Kind};
use std::fmt;

/// What has no answer, equal or not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are right below")]
pub enum Compare {
    Dtype { dtype: String },
    Shapes { a: Vec<i64>, b: Vec<i64> },
    Tolerance { what: &'static str },
    TooMany { shape: Vec<i64> },
}

impl Compare {
    /// The kind, whose number is the C status code.
    pub const fn kind(&self) -> Kind {
        match self {
            Compare::Dtype { .. } => Kind::Unsupported,
            Compare::Shapes { .. } | Compare::Tolerance { .. } | Compare::TooMany { .. } => {
                Kind::InvalidArgument
            }
        }
    }

    /// The words, in the names of this face.
    pub(super) fn say(&self, face: Face, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Compare::Dtype { dtype } => write!(
                f,
                "elements of {dtype} have no values that are compared here; compare their bytes: view both as uint8 ({})",
                face.pick("dlb_tensor_reinterpret()", "x.view(\"uint8\")", "Tensor::reinterpret()")
            ),
            Compare::Shapes { a, b } => write!(
                f,
                "the shapes {a:?} and {b:?} do not broadcast to one; align them at their last dimension, where each pair must be equal or one of them 1"
            ),
            Compare::Tolerance { what } => write!(f, "{what} is NaN; pass a number, for example 1e-5"),
            Compare::TooMany { shape } => write!(
                f,
                "the two broadcast to shape {shape:?}, which is more than 9223372036854775807 pairs; compare them before they are expanded, or a part of each"
            ),
        }
    }
}
