//! `dlb_memory_pin` and `dlb_pin_*`: memory of the program's own, page-locked where it is.

use super::status::{dlb_status, output, required, status};
use crate::device::{self, Pin};
use crate::error::Result;
use std::ffi::c_void;

/// Memory that is page-locked until this is released, so that CUDA devices copy from and to it without help of the CPU.
///
/// Opaque, owned by one holder; any thread may release it.
pub struct dlb_pin {
    /// To be seen by this file only: for C the type has no fields.
    _pin: Pin,
}

/// Page-locks `bytes` bytes from `data` on, in place. Nothing is copied, and nothing about the memory changes but that.
///
/// The memory is the caller's and stays there until the pin is released. Pinning what is pinned counts: the memory
/// is unlocked with the last pin on it. That goes for memory within an earlier pin: memory of which only a part is
/// pinned, or that was pinned otherwise (an allocator of pinned memory, another library), is refused. It costs
/// about as much as writing the memory once, so it pays for buffers that are used again.
///
/// `*out` is owned by the caller: `dlb_pin_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, memory that
/// is pinned otherwise or in part), `DLB_ERROR_OUT_OF_MEMORY` (the driver cannot pin it; the message has how much
/// is pinned, the limit and the reason), `DLB_ERROR_DEVICE` (the driver failed) and `DLB_ERROR_UNAVAILABLE` (no
/// CUDA driver; the message says why). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_memory_pin(
    data: *mut c_void,
    bytes: usize,
    out: *mut *mut dlb_pin,
) -> dlb_status {
    status(|| -> Result<()> {
        required(data, "data")?;
        let out = output(out)?;
        // SAFETY: the caller vouches for the memory, until it releases the pin.
        let pin = unsafe { device::pin(data, bytes) }?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(Box::into_raw(Box::new(dlb_pin { _pin: pin }))) };
        Ok(())
    })
}

/// Releases a pin, once the copies from and to the memory are done: with the last one on it, it may be paged again.
/// NULL is a no-op. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_pin_release(pin: *mut dlb_pin) {
    if !pin.is_null() {
        // SAFETY: not NULL, so what `dlb_memory_pin` gave, and the caller gives it up.
        crate::guard::guard_silent(|| drop(unsafe { Box::from_raw(pin) }));
    }
}
