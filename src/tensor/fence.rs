//! Fences: work on a buffer that goes on after the call that started it.

use crate::error::Error;
use std::ffi::c_void;
use std::time::{Duration, Instant};

/// A point that work on a buffer will reach: the end of a copy, of a kernel.
///
/// Whoever runs such work implements it; memory that a fence stands for is not reused before the fence is done. All
/// functions may be called from any thread, any number of times, and never with a lock of this crate held. They must
/// not panic.
pub trait Fence: Send + Sync {
    /// Whether the work is finished, or never will be. Once true it stays true.
    fn done(&self) -> bool;

    /// Blocks this thread until the work is done.
    fn wait(&self);

    /// Blocks this thread for at most `timeout`; whether the work is done.
    fn wait_timeout(&self, timeout: Duration) -> bool {
        let start = Instant::now();
        while !self.done() {
            let Some(left) = timeout.checked_sub(start.elapsed()) else { return false };
            std::thread::sleep(left.min(Duration::from_millis(1)));
        }
        true
    }

    /// Has a foreign stream of the same kind of device, given by its native handle, wait for the work instead of this
    /// thread; whether that was possible. Where it was not, [`Fence::wait`] is.
    ///
    /// # Safety
    ///
    /// The handle is a stream that is alive.
    unsafe fn wait_on_stream(&self, native: *mut c_void) -> bool {
        let _ = native;
        false
    }

    /// What went wrong, once the work is done; or why this thread did not wait for it.
    fn failure(&self) -> Option<Error> {
        None
    }
}
