//! Moving elements on the host: what two layouts have in common, and the kernels that follow from it.
//!
//! [`copy`] and [`new`] are what is called; a planner makes one loop nest of both layouts and names the kernel, which
//! [`plan`] tells beforehand. The kernels use the best instructions that the machine has: `DLB_SIMD=portable` (or `avx2`)
//! asks for fewer, and [`simd_level`] says which are used. All give the same bits.
// Nests are pure, threads share the work out, a level is an instruction set; a kernel has one file.

mod bits;
mod cast;
mod compare;
mod contiguous;
#[cfg(test)]
pub(crate) mod guarded;
mod hypot;
mod interleaved;
mod item;
pub(crate) mod level;
mod movement;
pub(crate) mod plan;
mod rows;
mod shuffled;
mod stack;
mod stepped;
mod stream;
mod tensors;
#[cfg(all(test, target_arch = "x86_64"))]
mod tests;
pub(crate) mod threads;
mod transposed;

pub use crate::error::{FirstLoss, LossReport};
pub(crate) use cast::cast_in;
pub use cast::{Casting, cast, cast_into, plan_cast};
pub use compare::{CompareOptions, Comparison, Difference, Rule, Tolerance, Value, Worst};
pub use level::{complaint as simd_complaint, simd_level};
pub(crate) use movement::carry_out_bytes;
pub(crate) use stack::batch_shape;
pub use stack::{Layout, StackOptions, stack, stack_into};
pub use tensors::{Options, Order, Report, copy, new, new_with, plan, plan_new};
pub(crate) use tensors::{carry_out, check_match};
pub use threads::{num_threads, set_num_threads};
