//! Streams, events, and copies that go on after the call that started them.
//!
//! A [`Stream`] is an ordered queue of work on one device, an [`Event`] a point in it. A tensor knows the copies that
//! are not done with its memory: whoever asks for its elements waits for copies into it, and whoever wants to write them
//! also for copies out of it. So a copy cannot be read too early, and its source not be overwritten too early, unless the
//! memory is reached without a tensor; then the event says when.
//!
//! ```
//! use dlbridge::device::{Stream, copy_async};
//! use dlbridge::{Tensor, dlpack::DLDevice};
//!
//! let source = Tensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
//! let mut turned = Tensor::from_vec(vec![0.0_f32; 6], &[3, 2])?;
//! let stream = Stream::new(DLDevice::CPU)?;
//! // SAFETY: the memory is reached through tensors only.
//! let event = unsafe { copy_async(&source.permute(&[1, 0])?, &turned, &stream) }?;
//! assert_eq!(turned.get_mut::<f32>()?, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]); // waits for the copy
//! assert!(event.done());
//! # Ok::<(), dlbridge::Error>(())
//! ```

mod copy;
mod cpu;
mod cuda;
mod event;
mod lend;
mod memory;
mod nest;
mod order;
mod own;
mod pin;
mod place;
mod signal;
mod stream;
mod thread;
mod transfers;
mod zeros;

#[cfg(test)]
mod tests;

pub use copy::copy_async;
pub use event::Event;
pub(crate) use lend::{Lender, Lent, check_capture, let_go, on_native};
pub use memory::{device_allocator, pinned_allocator};
pub(crate) use own::drives_cuda;
pub use own::own_stream;
pub use pin::{Pin, pin};
pub use place::{allocator, empty, empty_for};
pub use stream::Stream;
pub use transfers::{Count, Transfers, transfers};
pub use zeros::{zeros, zeros_with};

use crate::dlpack::{DLDevice, DLDeviceType};
use crate::error::{Error, Result, Transfer};
use crate::fork::Lock;
use crate::tensor::{Fence, Tensor, device};
use std::ffi::c_void;
use std::sync::Arc;
use std::time::Duration;

/// What a device does for a stream of its own.
trait Queue: Send + Sync {
    /// Refuses work of any kind before it is queued. A driver may be asked, so not with the lock held.
    fn ready(&self) -> Result<()> {
        Ok(())
    }

    /// [`Queue::ready`] for a copy, whose tensors are looked at; whether the source is to be staged. Foreign code may run.
    fn inspect(&self, source: &Tensor, destination: &Tensor) -> Result<bool> {
        let _ = (source, destination);
        Ok(false)
    }

    /// Queues `work` behind everything queued before and behind `after`, which belongs to whatever stream. Nothing is
    /// queued on failure. No driver is called: that is for [`Submitted::carried_out`], when the lock is given back.
    fn submit(&self, lock: &mut Lock, after: Vec<Arc<dyn Fence>>, work: Work) -> Result<Submitted<'_>>;

    /// Waits for what is queued, for at most so long, and reports what failed, once: where it is not done in time, later.
    fn synchronize(&self, timeout: Option<Duration>) -> Result<()>;

    /// The handle that other users of the driver know the stream by.
    fn native(&self) -> Option<*mut c_void> {
        None
    }

    /// Somebody else has the handle from now on.
    fn show(&self) {}
}

/// Work that has its place in the order of things.
struct Submitted<'a> {
    fence: Arc<dyn Fence>,
    /// What mutable access to the source waits for, where that is less than the fence.
    source_read: Option<Arc<dyn Fence>>,
    /// Hands the work to the driver, which the caller is to do without the lock.
    rest: Option<Box<dyn FnOnce() + 'a>>,
}

impl Submitted<'_> {
    /// The event that stands for the work, once the caller has done its part.
    fn carried_out(self) -> Event {
        if let Some(rest) = self.rest {
            rest();
        }
        Event(self.fence)
    }
}

/// What is queued.
enum Work {
    /// Nothing but the waiting.
    Nothing,
    /// Nothing, but a tensor is held until then.
    Keep(Tensor),
    /// Reports what failed before, and forgets it.
    Report,
    /// A copy that was found possible. The tensors are let go when it is done.
    Copy { source: Tensor, destination: Tensor, staged: bool },
    /// Zeros in all bytes of a row-major tensor that nobody else uses yet.
    Zero(Tensor),
    #[cfg(test)]
    Call(Box<dyn FnOnce() -> Result<()> + Send>),
}

/// Whether this is a thread of this library, which waits for nobody who may wait for it.
pub(crate) fn is_stream_thread() -> bool {
    cpu::is_stream_thread()
}

/// The devices that streams can be made on: the CPU, then what the driver of CUDA finds.
pub fn devices() -> Vec<DLDevice> {
    let count = cuda::count().unwrap_or(0);
    std::iter::once(DLDevice::CPU).chain((0..count).map(|id| DLDevice::cuda(id as _))).collect()
}

/// Whether streams can be made on a device; if not, why.
pub fn check_device(device: DLDevice) -> Result<()> {
    let device = device::check(device)?;
    match why_not(device) {
        None => Ok(()),
        Some(why) => {
            let device = device::Name(device).to_string();
            Err(Error::Transfer(Transfer::NoDevice { device, why }))
        }
    }
}

/// What is in the way of using a device.
fn why_not(device: DLDevice) -> Option<String> {
    match device.device_type {
        DLDeviceType::CPU => None,
        DLDeviceType::CUDA => cuda::why_not(device.device_id),
        _ => Some("this version of dlbridge drives no such device".to_owned()),
    }
}

/// Asks the driver whether `data` is memory of `device`, as whoever described it claims. Of the host's memory, and of
/// devices without a driver here, nobody is asked.
///
/// Fails with [`InvalidArgument`](crate::Kind::InvalidArgument) where it is not.
pub fn check_pointer(data: *const c_void, device: DLDevice) -> Result<()> {
    let device = device::check(device)?;
    match device.device_type {
        DLDeviceType::CUDA => cuda::check_pointer(data as usize, device.device_id),
        _ => Ok(()),
    }
}
