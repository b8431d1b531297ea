//! Pinning memory where it is.

use super::cuda;
use crate::error::{Driver, Error, Result};
use std::ffi::c_void;

/// Memory that is page-locked for as long as this lives, so that devices copy from and to it without help of the CPU.
///
/// Pinning what is pinned counts: the memory is unlocked with the last of them.
#[derive(Debug)]
pub struct Pin {
    bytes: usize,
}

impl Pin {
    /// How many bytes were asked for.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

/// Page-locks `bytes` bytes from `data` on, in place.
///
/// # Safety
///
/// The memory is there for as long as the result.
pub unsafe fn pin(data: *mut c_void, bytes: usize) -> Result<Pin> {
    let _ = (data, bytes);
    Err(Error::Driver(Driver::NoPin { why: cuda::why_not() }))
}
