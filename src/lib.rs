//! dlbridge is the C library around DLPack: it hands the *same buffer* between NumPy, PyTorch, C, C++, Rust and
//! every other framework that speaks DLPack, and keeps its owner alive while anybody uses it.
//!
//! This is the Rust door. A [`Tensor`] is a shared, reference-counted description of a buffer somebody owns:
//!
//! ```
//! use dlbridge::{Tensor, dlpack::DLDevice, tensor::dtype};
//!
//! let pixels = vec![0_u8; 480 * 640 * 3];
//! let frame = Tensor::from_vec(pixels, &[480, 640, 3])?;
//! let left = frame.slice(1, None, Some(320), 1)?; // shares the buffer and keeps it alive
//! assert_eq!(left.shape(), [480, 320, 3]);
//! assert_eq!(left.dtype(), dtype::U8);
//! assert_eq!(left.device(), DLDevice::CPU);
//!
//! let out: dlpark::versioned::Dlpack = (&left).try_into()?; // owns an export; `into_raw` hands it to C
//! let back = Tensor::try_from(out)?;
//! assert_eq!(back.data(), frame.data());
//! # Ok::<(), dlbridge::Error>(())
//! ```
//!
//! The layers, lowest first: [`Error`] and the panic guard, [`tensor`], [`memory`], [`mod@copy`], [`device`],
//! [`staging`], then [`interop`], [`python`] and [`capi`]. A layer uses only the ones below it. A program in Rust needs
//! neither of the last two: they are what Python and C call.
//!
//! # Features
//!
//! None is on by default.
//!
//! | feature | what it adds |
//! |---|---|
//! | `ndarray` | [`interop::ndarray`](interop): arrays of ndarray 0.17 in and out, and borrowed as views |
//! | `half` | [`tensor::Element`] for `half::f16` and `half::bf16`, of half 2 |
//! | `capi` | nothing, the C functions are always there: `cargo-c` asks for it |
//! | `header` | generates `dlbridge.h` while building, for the crate's own tests |
//!
//! Rust 1.89 or later.

pub mod capi;

pub mod copy;
pub mod device;
mod error;
mod float;
mod fork;
mod guard;
pub mod interop;
pub mod memory;
pub mod python;
pub mod staging;
pub mod tensor;

pub use copy::copy;
pub use dlpark::DlpackFlags;
pub use dlpark::ffi as dlpack;
pub use error::{
    Allocation, Argument, Cast, Compare, Driver, Error, Face, Kind, Reason, Refusal, Result, Stack, Staging,
    Transfer,
};
pub use tensor::Tensor;

/// The README's Rust is compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
