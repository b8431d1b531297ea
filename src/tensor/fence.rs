//! Fences: work on a buffer that goes on after the call that started it.

use crate::dlpack::DLDevice;
use crate::error::{Error, Result};
use std::ffi::c_void;
use std::time::{Duration, Instant};

/// A point that work on a buffer will reach: the end of a copy, of a kernel.
///
/// Whoever runs such work implements it; memory that a fence stands for is not reused before the fence is done. All
/// functions may be called from any thread, any number of times, and never with a lock of this crate held. They must
/// not panic.
pub trait Fence: Send + Sync {
    /// Whether the work is finished, or never will be. Only asks: neither blocks nor runs foreign code. Once true it stays
    /// true.
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

    /// [`Fence::wait`] that gives up where the work itself is not done within `slice`: for who waits for as long as it takes,
    /// and looks for something else now and then. Whether it is done.
    fn wait_slice(&self, slice: Duration) -> bool {
        self.wait_timeout(slice)
    }

    /// Blocks this thread until the work itself is done, though whoever did it may not have let go of the memory yet;
    /// what became of it. It is what other work waits for, so nobody else's code runs here.
    fn wait_for_work(&self) -> Result<()> {
        self.wait();
        self.failure().map_or(Ok(()), Err)
    }

    /// Has a stream of `device`, given by its native handle, wait for the work instead of this thread; what is known by then
    /// to have failed. `None` where that was not possible: [`Fence::wait_for_work`] is.
    ///
    /// # Safety
    ///
    /// The handle is a stream of that device, and alive.
    unsafe fn wait_on_stream(&self, device: DLDevice, native: *mut c_void) -> Option<Result<()>> {
        let _ = (device, native);
        None
    }

    /// What of the work is known by now to have failed, without asking anybody: it may not be done yet.
    fn known_failure(&self) -> Option<Error> {
        if self.done() { self.failure() } else { None }
    }

    /// The queue that the work is in, as a number that no other queue has while this fence is there, and its place in the
    /// queue: when it is done, all work before it there is done and has let go of the memory. `None` where there is no such
    /// order.
    fn place(&self) -> Option<(usize, u64)> {
        None
    }

    /// What went wrong, once the work is done; or why this thread did not wait for it.
    fn failure(&self) -> Option<Error> {
        None
    }
}
