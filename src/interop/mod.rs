//! Conversions for Rust users, to and from the tensor types of other crates.

pub mod dlpark;
#[cfg(feature = "ndarray")]
pub mod ndarray;
