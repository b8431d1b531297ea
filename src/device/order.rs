//! Order between streams and tensors, by events: nobody on the host waits.

use super::{Event, Stream, Work};
use crate::error::Result;
use crate::fork::Lock;
use crate::tensor::{Access, Tensor};

impl Stream {
    /// Has everything queued from now on wait until the elements of `tensor` are there. The caller does not wait, but as
    /// in [`Stream::wait_event`].
    pub fn wait_tensor(&self, tensor: &Tensor) -> Result<()> {
        tensor.look_back()?;
        let pending = |lock: &mut Lock| {
            let mut after = Vec::new();
            tensor.pending(Access::Read, lock, &mut after);
            after
        };
        if pending(&mut Lock::take()).is_empty() {
            return Ok(());
        }
        self.queue().ready()?;
        let submitted = {
            let mut lock = Lock::take();
            let after = pending(&mut lock);
            self.queue().submit(&mut lock, after, Work::Nothing)?
        };
        submitted.carried_out();
        Ok(())
    }

    /// Has whoever accesses the elements of `tensor` from now on wait until everything queued so far is done: somebody
    /// has written them on this stream. The caller does not wait.
    pub fn writes(&self, tensor: &Tensor) -> Result<()> {
        self.reads_and_writes(&[], std::slice::from_ref(tensor)).map(drop)
    }

    /// The same for several tensors, and for some that are read there, whose next writer waits; the event that all wait for.
    pub(crate) fn reads_and_writes(&self, read: &[Tensor], written: &[Tensor]) -> Result<Event> {
        read.iter().chain(written).try_for_each(Tensor::look_back)?;
        self.queue().ready()?;
        let submitted = {
            let (mut lock, mut after) = (Lock::take(), Vec::new());
            read.iter().for_each(|tensor| tensor.pending(Access::Read, &mut lock, &mut after));
            written.iter().for_each(|tensor| tensor.pending(Access::Write, &mut lock, &mut after));
            let submitted = self.queue().submit(&mut lock, after, Work::Nothing)?;
            for (tensors, access) in [(read, Access::Read), (written, Access::Write)] {
                for tensor in tensors {
                    tensor.busy_until(submitted.fence.clone(), access, &mut lock);
                }
            }
            submitted
        };
        Ok(submitted.carried_out())
    }

    /// Keeps a tensor until everything queued so far is done: it is read there by somebody who has let go of it.
    pub(super) fn keeps(&self, tensor: &Tensor) -> Result<()> {
        self.queue().ready()?;
        let work = Work::Keep(tensor.clone());
        let submitted = self.queue().submit(&mut Lock::take(), Vec::new(), work)?;
        submitted.carried_out();
        Ok(())
    }
}
