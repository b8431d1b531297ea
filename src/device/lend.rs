//! Memory of a device that somebody else works on, who may let go of it before the device is done.

use super::own::known;
use super::{Event, Stream, cuda};
use crate::dlpack::{DLDevice, DLDeviceType, DLManagedTensorVersioned};
use crate::error::{Driver as Failure, Error, Result};
use crate::tensor::{LetGo, Tensor, let_go_by};
use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;

/// Owns memory that is used again and again, and remembers what is under way on it.
pub(crate) trait Lender: Send + Sync {
    /// The memory is not to be used again before `event` is done.
    fn used_until(&self, event: Event);

    /// Whether the memory waits for this stream when the last tensor goes.
    fn is_used_on(&self, stream: usize) -> bool;
}

/// The owner of a tensor whose memory need not be kept for those who have let go of it: its lender is told.
pub(crate) struct Lent(pub Arc<dyn Lender>);

/// From now on it is seen to, for every export of what is on a CUDA device.
pub(super) fn watch() {
    let_go_by(|tensor| let_go(tensor, None));
}

/// Somebody lets go of a tensor, who may have queued work on it: until that is done the memory stays, or its lender does
/// not use it again. It is waited for on the stream that was `named`, on the default stream, which comes after every stream
/// that does not stand apart, and on the library's own, which does and is the one that the exchange table names. Others are
/// their owner's to wait for.
pub(crate) fn let_go(tensor: &Tensor, named: Option<&Stream>) {
    let device = tensor.device();
    if device.device_type != DLDeviceType::CUDA || tensor.size() == 0 {
        return;
    }
    // SAFETY: that one always lives.
    let default = unsafe { Stream::from_native(device, null_mut()) };
    let kept = default.and_then(|default| {
        let streams = [Some(default), known(device), named.cloned()];
        streams.into_iter().flatten().try_for_each(|stream| keep(tensor, stream))
    });
    if kept.is_err() {
        // In a child of a fork the memory is the parent's. Otherwise there is no thread to keep it: better lost than used.
        std::mem::forget(tensor.clone());
    }
}

/// Keeps a tensor until a stream is past what the driver was given so far, or tells its lender.
fn keep(tensor: &Tensor, stream: Stream) -> Result<()> {
    let kept = match tensor.owner::<Lent>() {
        Some(Lent(lender)) => stream.record_now().map(|event| lender.used_until(event)),
        None => stream.out_of_turn()?.keeps(tensor),
    };
    match kept {
        // Nothing can be recorded there now.
        Err(Error::Driver(Failure::Captured { .. })) => cuda::keep_until_idle(tensor, Some(stream)),
        kept => kept,
    }
}

/// What is to be done when a consumer lets go that works on a stream of this handle; `None` where that is what is done for
/// every consumer, as the default stream comes after that one. The stream may be destroyed before. What is not a stream of
/// the device is refused.
///
/// # Safety
///
/// `handle` is a stream.
pub(crate) unsafe fn on_native(device: DLDevice, handle: *mut c_void) -> Result<Option<LetGo>> {
    // SAFETY: promised by the caller, and a stream of the device where that was said.
    let stands_apart = unsafe {
        // What is queued while it is captured becomes part of a graph, whose user keeps what that needs.
        cuda::stands_apart(device.device_id, handle)? && check_capture(device, handle).is_ok()
    };
    if !stands_apart {
        return Ok(None);
    }
    let handle = handle as usize;
    Ok(Some(Box::new(move |tensor| {
        let_go(tensor, None);
        // A lender may wait for that very stream, which its user keeps.
        let waits = tensor.owner::<Lent>().is_some_and(|Lent(lender)| lender.is_used_on(handle));
        if !waits && cuda::keep_until_idle(tensor, None).is_err() {
            std::mem::forget(tensor.clone());
        }
    })))
}

/// Refuses to have a stream wait that is captured into a graph.
///
/// # Safety
///
/// `handle` is a stream of the device.
pub(crate) unsafe fn check_capture(device: DLDevice, handle: *mut c_void) -> Result<()> {
    // SAFETY: promised by the caller.
    unsafe { cuda::check_capture(device.device_id, handle) }
}

impl Stream {
    /// An event that is done when everything that the driver was given so far is: for who lets go, with locks held perhaps
    /// that somebody needs whose turn it is on this stream.
    pub(crate) fn record_now(&self) -> Result<Event> {
        self.out_of_turn()?.record()
    }

    /// The same stream of the driver, with turns of its own.
    fn out_of_turn(&self) -> Result<Stream> {
        match self.queue().native() {
            // That of whichever thread calls, which is not this one perhaps: the default one comes after those of all threads.
            // SAFETY: it always lives.
            Some(native) if native as usize == cuda::PER_THREAD => unsafe {
                Stream::from_native(self.device(), null_mut())
            },
            // SAFETY: it is of that device, and used before `self` goes.
            Some(native) => unsafe { Stream::from_known(self.device(), native) },
            None => Ok(self.clone()),
        }
    }

    /// Exports a tensor for a consumer that works on this stream, until it lets go: what is queued here from now on waits for
    /// the copies into the memory, and the memory is not used again before what was queued here when the deleter is called.
    ///
    /// Until then the export keeps a stream of ours. One of somebody else's that does not wait for the default stream
    /// (`cudaStreamNonBlocking`) has to live as long, and where it is captured into a CUDA graph then, until what the device
    /// was given before the end of the capture has been done for 20 ms: a thread asks whether that is over. Any other may be
    /// destroyed before.
    pub fn export(&self, tensor: &Tensor) -> Result<NonNull<DLManagedTensorVersioned>> {
        self.wait_tensor(tensor)?;
        let let_go: Option<LetGo> = match self.queue().native() {
            // SAFETY: it lives as long as this.
            Some(native) if !unsafe { cuda::stands_apart(self.device().device_id, native) }? => None,
            _ => {
                let named = self.clone();
                Some(Box::new(move |tensor| let_go(tensor, Some(&named))))
            }
        };
        tensor.clone().into_ordered_export(false, let_go)
    }
}
