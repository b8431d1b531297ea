//! Order between streams and tensors, by events: nobody on the host waits.

use super::{Stream, Work};
use crate::error::Result;
use crate::fork::Lock;
use crate::tensor::{Access, Tensor};

impl Stream {
    /// Has everything queued from now on wait until the elements of `tensor` are there. The caller does not wait.
    pub fn wait_tensor(&self, tensor: &Tensor) -> Result<()> {
        if tensor.is_settled() {
            return Ok(());
        }
        let (mut lock, mut after) = (Lock::take(), Vec::new());
        tensor.pending(Access::Read, &mut lock, &mut after)?;
        if after.is_empty() {
            return Ok(());
        }
        self.0.queue.submit(&mut lock, after, Work::Nothing).map(drop)
    }

    /// Has whoever accesses the elements of `tensor` from now on wait until everything queued so far is done: somebody
    /// writes them on this stream. The caller does not wait.
    pub fn writes(&self, tensor: &Tensor) -> Result<()> {
        let (mut lock, mut after) = (Lock::take(), Vec::new());
        tensor.pending(Access::Write, &mut lock, &mut after)?;
        let fence = self.0.queue.submit(&mut lock, after, Work::Nothing)?;
        if !fence.done() {
            tensor.busy_until(fence, Access::Write, &mut lock);
        }
        Ok(())
    }
}
