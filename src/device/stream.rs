//! Streams: ordered work on a device.

use super::{Event, Queue, Work, check_device, cpu, cuda};
use crate::dlpack::{DLDevice, DLDeviceType};
use crate::error::{Error, Result, Transfer};
use crate::fork::Lock;
use crate::tensor::device;
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// An ordered queue of work on a device. A clone is another handle to the same queue.
///
/// On the CPU it is a thread, started when first needed; on CUDA a stream of the driver. Dropping the last handle waits
/// for nothing: what is queued is still carried out. After something failed, what is queued behind it is not carried
/// out and fails with the same error, until [`Stream::synchronize`] has reported it, once.
///
/// In a child of `fork()` the streams of the parent are [`Unavailable`](crate::Kind::Unavailable). New ones work on the
/// CPU; CUDA does not survive a fork.
#[derive(Clone)]
pub struct Stream(Arc<Handle>);

// A panic of whoever has the handle leaves the queue as it was.
impl std::panic::UnwindSafe for Stream {}
impl std::panic::RefUnwindSafe for Stream {}

struct Handle {
    device: DLDevice,
    queue: Box<dyn Queue>,
}

impl Stream {
    /// A new stream on a device of [`devices`](super::devices).
    pub fn new(device: DLDevice) -> Result<Stream> {
        Stream::make(device, false)
    }

    /// A stream that many share who know nothing of each other: what fails is told to who waits for it, and what is queued
    /// behind it is carried out all the same.
    pub(super) fn shared(device: DLDevice) -> Result<Stream> {
        Stream::make(device, true)
    }

    fn make(device: DLDevice, carries_on: bool) -> Result<Stream> {
        check_device(device)?;
        let device = device::check(device)?;
        let queue: Box<dyn Queue> = match device.device_type {
            DLDeviceType::CUDA => Box::new(cuda::Queued::new(device.device_id, carries_on)?),
            _ => Box::new(cpu::Threaded::new(carries_on)),
        };
        Ok(Stream(Arc::new(Handle { device, queue })))
    }

    /// A stream that somebody else made, through its native handle: for CUDA a `cudaStream_t` or `CUstream`, 0 and 1 for
    /// the legacy default stream, 2 for that of whichever thread calls. The CPU has none. A stream of another device, or of
    /// another context than the device's primary one, is refused ([`InvalidArgument`](crate::Kind::InvalidArgument)).
    ///
    /// # Safety
    ///
    /// `handle` is a stream, and lives as long as the result and its clones.
    pub unsafe fn from_native(device: DLDevice, handle: *mut c_void) -> Result<Stream> {
        check_device(device).map_err(|error| match error {
            // No other device has a stream like that, either.
            Error::Transfer(Transfer::NoDevice { device, why }) => {
                Error::Transfer(Transfer::NoForeign { device, why })
            }
            error => error,
        })?;
        let device = device::check(device)?;
        if device.device_type != DLDeviceType::CUDA {
            let device = device::Name(device).to_string();
            return Err(Error::Transfer(Transfer::NativeStream { device }));
        }
        // SAFETY: promised by the caller.
        let queue = Box::new(unsafe { cuda::Queued::from_native(device.device_id, handle) }?);
        Ok(Stream(Arc::new(Handle { device, queue })))
    }

    /// [`Stream::from_native`] for a CUDA device, which asks nobody.
    ///
    /// # Safety
    ///
    /// `handle` is a stream of that device, and lives as long as the result and its clones.
    pub(super) unsafe fn from_known(device: DLDevice, handle: *mut c_void) -> Result<Stream> {
        // SAFETY: promised by the caller.
        let queue = Box::new(unsafe { cuda::Queued::from_known(device.device_id, handle) }?);
        Ok(Stream(Arc::new(Handle { device, queue })))
    }

    /// The device it works on.
    pub fn device(&self) -> DLDevice {
        self.0.device
    }

    /// The native handle, for code that queues work of its own on the stream: a `cudaStream_t`. `None` on the CPU.
    ///
    /// While such code has the stream captured into a CUDA graph, what is to be queued here is refused
    /// ([`Unsupported`](crate::Kind::Unsupported)): a graph would be replayed when the tensors are gone.
    pub fn native(&self) -> Option<*mut c_void> {
        self.queue().show();
        self.queue().native()
    }

    /// An event that is done when everything queued so far is.
    pub fn record(&self) -> Result<Event> {
        self.submit(Vec::new())
    }

    /// Has everything queued from now on wait until `event` is done. The caller does not wait, unless this is a stream of
    /// CUDA and the event one of the CPU, which CUDA knows nothing of.
    pub fn wait_event(&self, event: &Event) -> Result<()> {
        self.submit(vec![event.0.clone()]).map(drop)
    }

    /// Waits until everything queued so far is done, and reports what failed since it last did: where several threads
    /// do this at once, to one of them.
    pub fn synchronize(&self) -> Result<()> {
        self.queue().synchronize(None)
    }

    /// [`Stream::synchronize`] for at most `timeout`, then [`Timeout`](crate::Kind::Timeout): nothing is reported then, and
    /// what failed is at a later call.
    pub fn synchronize_timeout(&self, timeout: Duration) -> Result<()> {
        self.queue().synchronize(Some(timeout))
    }

    fn submit(&self, after: Vec<Arc<dyn crate::tensor::Fence>>) -> Result<Event> {
        self.queue().ready()?;
        let submitted = self.queue().submit(&mut Lock::take(), after, Work::Nothing)?;
        Ok(submitted.carried_out())
    }

    pub(super) fn queue(&self) -> &dyn Queue {
        &*self.0.queue
    }

    /// Queues any code, for tests: a kernel that takes its time.
    #[cfg(test)]
    pub(crate) fn call(&self, body: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Event> {
        let work = Work::Call(Box::new(body));
        Ok(self.queue().submit(&mut Lock::take(), Vec::new(), work)?.carried_out())
    }

    /// The handle as a pointer; [`Stream::from_raw`] takes it back.
    pub(crate) fn into_raw(self) -> *mut c_void {
        Arc::into_raw(self.0).cast_mut().cast()
    }

    /// # Safety
    ///
    /// `raw` came from [`Stream::into_raw`], and the handle is taken back once.
    pub(crate) unsafe fn from_raw(raw: *mut c_void) -> Stream {
        // SAFETY: promised by the caller.
        Stream(unsafe { Arc::from_raw(raw.cast::<Handle>()) })
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("device", &format_args!("{}", device::Name(self.device()))).finish()
    }
}
