//! Waiting for copies that are not done, without the GIL.

use super::gil::{Gil, is_finalizing, is_usable};
use crate::device::Event;
use crate::error::Result;
use crate::tensor::{Access, Tensor};
use std::time::Duration;

/// How long a wait lasts before Python may handle its signals: Ctrl-C is not to feel slow.
const SLICE: Duration = Duration::from_millis(20);

impl Gil {
    /// Waits for the copies into a tensor's memory, so that what comes next does not wait with the GIL held. One load
    /// where there are none.
    #[inline]
    pub(super) fn settle_tensor(&self, tensor: &Tensor) -> Result<()> {
        // A tensor that nothing is copied into is done within any time.
        if tensor.settle_slice(Access::Read, Duration::ZERO)? { Ok(()) } else { self.wait_for(tensor) }
    }

    #[cold]
    fn wait_for(&self, tensor: &Tensor) -> Result<()> {
        // It is not for the garbage collector or another thread to drop what is waited for.
        let tensor = tensor.clone();
        self.in_slices(|slice| tensor.settle_slice(Access::Read, slice))
    }

    /// Waits for an event for as long as it takes.
    pub(super) fn wait_event(&self, event: &Event) -> Result<()> {
        self.in_slices(|slice| event.wait_slice(slice))
    }

    /// Calls `wait` without the GIL until it says that it is done.
    fn in_slices(&self, wait: impl Fn(Duration) -> Result<bool>) -> Result<()> {
        while !self.without(|| wait(SLICE))? {
            self.check_signals()?;
        }
        Ok(())
    }

    /// Runs `body` with the GIL released; held on the thread that shuts the interpreter down, where nobody wants it.
    pub(super) fn without<T>(&self, body: impl FnOnce() -> T) -> T {
        if is_finalizing(self.api) {
            return body();
        }
        // SAFETY: the GIL is held, and taken back below.
        let state = unsafe { (self.api.PyEval_SaveThread)() };
        let result = body();
        if !is_usable(self.api) {
            // The interpreter shuts down, and asking for the GIL would end this thread in the middle of Rust code. The
            // process is at its end: so is this thread.
            loop {
                std::thread::park();
            }
        }
        // SAFETY: the state that was given above, on the same thread.
        unsafe { (self.api.PyEval_RestoreThread)(state) };
        result
    }
}
