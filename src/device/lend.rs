//! Memory of a device that somebody else works on, who may let go of it before the device is done.

use super::{Stream, drives_cuda};
use crate::dlpack::{DLDeviceType, DLTensor};
use crate::error::Result;
use crate::fork::Lock;
use crate::tensor::{Access, Reach, Tensor};
use std::ptr::null_mut;

/// A tensor that a consumer on a device has. When it lets go, work that it has queued may still read the memory.
struct Lent(Tensor);

impl Drop for Lent {
    fn drop(&mut self) {
        // The default stream comes after every stream that does not refuse to; those are their owner's to wait for.
        // SAFETY: that one always lives.
        let stream = unsafe { Stream::from_native(self.0.device(), null_mut()) };
        let kept = stream.and_then(|stream| stream.keeps(&self.0));
        // Without a driver any more nothing goes on.
        drop(kept);
    }
}

/// The tensor for a consumer that works on it on a CUDA device: the memory is not used again before what was queued on the
/// default stream, when the consumer lets go, is done. Others come back as they are.
pub(crate) fn lent(tensor: &Tensor) -> Result<Tensor> {
    if tensor.device().device_type != DLDeviceType::CUDA || tensor.size() == 0 || !drives_cuda() {
        return Ok(tensor.clone());
    }
    let describe = |owner: std::ptr::NonNull<Lent>| -> Result<DLTensor> {
        // SAFETY: the box is alive, and shared.
        Ok(*unsafe { owner.as_ref() }.0.view())
    };
    // SAFETY: the description is that of the tensor in it, which keeps the memory.
    let lent = unsafe { Tensor::keep(Lent(tensor.clone()), Reach::Unknown, tensor.flags(), describe) };
    let lent = lent.map_err(|(error, _)| error)?;
    let (mut lock, mut after) = (Lock::take(), Vec::new());
    tensor.pending(Access::Read, &mut lock, &mut after);
    // Should it come back, it waits for what the tensor does.
    after.into_iter().for_each(|fence| lent.busy_until(fence, Access::Write, &mut lock));
    drop(lock);
    Ok(lent)
}
