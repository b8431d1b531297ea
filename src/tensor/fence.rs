//! Fences: work on a buffer that goes on after the call that started it.

use crate::error::Error;
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

    /// What went wrong, once the work is done; or why this thread did not wait for it.
    fn failure(&self) -> Option<Error> {
        None
    }
}
