//! Moving elements on the host: what two layouts have in common, and the kernels that follow from it.
//!
//! [`plan`] is pure, [`threads`] shares the work out, [`level`] picks the instruction set, [`movement`] the kernel; a
//! kernel has one file.

mod bits;
mod cast;
mod compare;
mod contiguous;
#[cfg(test)]
pub(crate) mod guarded;
mod interleaved;
mod item;
pub(crate) mod level;
mod movement;
pub(crate) mod plan;
mod reversed;
mod stack;
mod stepped;
mod stream;
pub(crate) mod threads;
mod transposed;

pub use compare::{CompareOptions, Comparison, Difference, Rule, Tolerance, Value, Worst};

pub use crate::error::{FirstLoss, LossReport};
pub use cast::{Casting, cast, cast_into};
pub use stack::{Layout, StackOptions, stack, stack_into};
