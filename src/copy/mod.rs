//! Moving elements on the host: what two layouts have in common, and the kernels that follow from it.
//!
//! [`plan`] is pure, [`threads`] shares the work out, [`level`] picks the instruction set; a kernel has one file.

mod compare;
pub(crate) mod level;
pub(crate) mod plan;
pub(crate) mod threads;

pub use compare::{CompareOptions, Comparison, Difference, Rule, Tolerance, Value, Worst};
