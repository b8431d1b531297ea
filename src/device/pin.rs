//! Pinning memory where it is.

use super::cuda;
use crate::error::{Driver, Error, Result};
use std::ffi::c_void;

/// Memory that is page-locked for as long as this lives, so that devices copy from and to it without help of the CPU.
///
/// Whole pages are locked, but only what one pin asked for counts as pinned: what lies beside it on a page is copied as
/// pageable memory is. Pinning what is pinned counts: pages are unlocked with the last pin of them. Dropping it waits for
/// copies that read or write the memory; those that begin meanwhile are staged.
#[derive(Debug)]
pub struct Pin {
    /// From the first byte that was asked for to one past the last.
    asked: (usize, usize),
}

impl Pin {
    /// How many bytes were asked for.
    pub fn bytes(&self) -> usize {
        self.asked.1 - self.asked.0
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        if self.bytes() != 0 {
            cuda::unpin(self.asked);
        }
    }
}

/// Page-locks `bytes` bytes from `data` on, in place.
///
/// Memory that cannot be locked is refused, with what the driver says: read-only or file-backed pages, what somebody else
/// has pinned, and ranges of which a part is pinned. Locking takes time, about as long as touching every page; who pins the
/// same pages meanwhile waits for it, and nobody else does.
///
/// # Safety
///
/// The memory is there, writable, for as long as the result.
pub unsafe fn pin(data: *mut c_void, bytes: usize) -> Result<Pin> {
    if let Some(why) = cuda::why_not(0) {
        return Err(Error::Driver(Driver::NoPin { why }));
    }
    if bytes == 0 {
        return Ok(Pin { asked: (0, 0) });
    }
    if data.is_null() {
        return Err(Error::Null { what: "data" });
    }
    // SAFETY: promised by the caller.
    let asked = unsafe { cuda::pin(data as usize, bytes) }?;
    Ok(Pin { asked })
}
