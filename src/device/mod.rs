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

mod cpu;
mod cuda;
mod memory;
mod pin;
mod transfers;

#[cfg(test)]
mod tests;

pub use memory::{device_allocator, pinned_allocator};
pub use pin::{Pin, pin};
pub use transfers::{Count, Transfers, transfers};

use crate::copy;
use crate::dlpack::{DLDevice, DLDeviceType};
use crate::error::{Error, Result, Transfer};
use crate::fork::Lock;
use crate::tensor::{Access, Fence, Tensor, device};
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What a device does for a stream of its own.
///
/// A device whose streams are foreign handles makes its queue from one (`Stream::from_native`), and gives fences that
/// hold an event of its pool.
trait Queue: Send + Sync {
    /// Queues `work` behind everything queued before and behind `after`, which belongs to whatever stream. Nothing is
    /// queued on failure.
    fn submit(&self, lock: &mut Lock, after: Vec<Arc<dyn Fence>>, work: Work) -> Result<Arc<dyn Fence>>;

    /// Forgets that something failed, so that what is queued next is carried out again.
    fn recover(&self);
}

/// What is queued.
enum Work {
    /// Nothing but the waiting.
    Nothing,
    /// A copy that [`check`] has found possible. The tensors are let go when it is done.
    Copy { source: Tensor, destination: Tensor },
    #[cfg(test)]
    Call(Box<dyn FnOnce() -> Result<()> + Send>),
}

/// Whether this is a stream's own thread.
pub(crate) fn is_stream_thread() -> bool {
    cpu::is_stream_thread()
}

/// The devices that streams can be made on.
pub fn devices() -> Vec<DLDevice> {
    vec![DLDevice::CPU]
}

/// Whether streams can be made on a device; if not, why.
pub fn check_device(device: DLDevice) -> Result<()> {
    let device = device::check(device)?;
    let why = match device.device_type {
        DLDeviceType::CPU => return Ok(()),
        DLDeviceType::CUDA => cuda::why_not(),
        _ => "this version of dlbridge drives no such device".to_owned(),
    };
    let device = device::Name(device).to_string();
    Err(Error::Transfer(Transfer::NoDevice { device, why }))
}

/// Asks the driver whether `data` is memory of `device`, as whoever described it claims. Host memory is not asked about.
pub fn check_pointer(data: *const c_void, device: DLDevice) -> Result<()> {
    let _ = data;
    check_device(device)
}

/// An ordered queue of work on a device. A clone is another handle to the same queue.
///
/// On the CPU it is a thread, started when first needed. Dropping the last handle waits for nothing: what is queued is
/// still carried out, then the thread ends. After something failed, what is queued behind it is not carried out and fails
/// with the same error, until [`Stream::synchronize`] has reported it.
///
/// In a child of `fork()` the streams of the parent are [`Unavailable`](crate::Kind::Unavailable); new ones work.
#[derive(Clone)]
pub struct Stream(Arc<Handle>);

struct Handle {
    device: DLDevice,
    queue: Box<dyn Queue>,
}

impl Stream {
    /// A new stream on a device of [`devices`].
    pub fn new(device: DLDevice) -> Result<Stream> {
        check_device(device)?;
        Ok(Stream(Arc::new(Handle { device: DLDevice::CPU, queue: Box::new(cpu::Threaded::new()) })))
    }

    /// A stream that somebody else made, through its native handle. No device of this version has any.
    ///
    /// # Safety
    ///
    /// `handle` is a stream of that device, and lives as long as the result and its clones.
    pub unsafe fn from_native(device: DLDevice, _handle: *mut c_void) -> Result<Stream> {
        check_device(device)?;
        let device = device::Name(device).to_string();
        Err(Error::Transfer(Transfer::NativeStream { device }))
    }

    /// The device it works on.
    pub fn device(&self) -> DLDevice {
        self.0.device
    }

    /// The native handle, for code that queues work of its own on the stream: a `cudaStream_t`. `None` on the CPU.
    pub fn native(&self) -> Option<*mut c_void> {
        None
    }

    /// An event that is done when everything queued so far is.
    pub fn record(&self) -> Result<Event> {
        self.0.queue.submit(&mut Lock::take(), Vec::new(), Work::Nothing).map(Event)
    }

    /// Has everything queued from now on wait until `event` is done. The caller does not wait.
    pub fn wait_event(&self, event: &Event) -> Result<()> {
        let after = vec![event.0.clone()];
        self.0.queue.submit(&mut Lock::take(), after, Work::Nothing).map(drop)
    }

    /// Waits until everything queued so far is done, and reports what failed since it last did.
    pub fn synchronize(&self) -> Result<()> {
        let done = self.record()?.wait();
        if done.is_err() {
            self.0.queue.recover();
        }
        done
    }

    /// Queues any code, for tests: a kernel that takes its time.
    #[cfg(test)]
    pub(crate) fn call(&self, body: impl FnOnce() -> Result<()> + Send + 'static) -> Result<Event> {
        self.0.queue.submit(&mut Lock::take(), Vec::new(), Work::Call(Box::new(body))).map(Event)
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

/// A point in a stream. It is done once everything queued before it is; it says then what of that failed, to everybody
/// who waits.
#[derive(Clone)]
pub struct Event(Arc<dyn Fence>);

impl Event {
    /// Whether it is done, or never will be. Never blocks.
    pub fn done(&self) -> bool {
        self.0.done()
    }

    /// Waits until it is done; the error is that of the work before it.
    pub fn wait(&self) -> Result<()> {
        self.0.wait();
        self.outcome(Transfer::OwnThread)
    }

    /// [`Event::wait`] for at most `timeout`, then [`Timeout`](crate::Kind::Timeout).
    pub fn wait_timeout(&self, timeout: Duration) -> Result<()> {
        self.0.wait_timeout(timeout);
        let nanoseconds = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
        self.outcome(Transfer::Timeout { nanoseconds })
    }

    /// What stands for it where memory is to be given back behind it.
    pub(crate) fn fence(&self) -> Arc<dyn Fence> {
        self.0.clone()
    }

    /// What became of it; `unfinished` where it is not done and nothing failed.
    fn outcome(&self, unfinished: Transfer) -> Result<()> {
        let done = self.0.done();
        match self.0.failure() {
            Some(error) => Err(error),
            None if done => Ok(()),
            None => Err(Error::Transfer(unfinished)),
        }
    }

    /// The handle as a pointer; [`Event::from_raw`] takes it back.
    pub(crate) fn into_raw(self) -> *mut c_void {
        // A trait object takes two words, a pointer in C is one.
        Arc::into_raw(Arc::new(self.0)).cast_mut().cast()
    }

    /// # Safety
    ///
    /// `raw` came from [`Event::into_raw`] and is alive.
    pub(crate) unsafe fn borrow_raw(raw: *const c_void) -> Event {
        // SAFETY: promised by the caller.
        Event(unsafe { &*raw.cast::<Arc<dyn Fence>>() }.clone())
    }

    /// Counts another reference to what [`Event::into_raw`] gave.
    ///
    /// # Safety
    ///
    /// As for [`Event::borrow_raw`].
    pub(crate) unsafe fn retain_raw(raw: *const c_void) {
        // SAFETY: promised by the caller.
        unsafe { Arc::increment_strong_count(raw.cast::<Arc<dyn Fence>>()) }
    }

    /// Drops a reference to what [`Event::into_raw`] gave.
    ///
    /// # Safety
    ///
    /// As for [`Event::borrow_raw`]; the reference is given up.
    pub(crate) unsafe fn release_raw(raw: *const c_void) {
        // SAFETY: promised by the caller.
        unsafe { Arc::decrement_strong_count(raw.cast::<Arc<dyn Fence>>()) }
    }
}

/// Queues a copy of the elements of `source` to `destination`, of the same shape and dtype, and returns at once.
///
/// Strides may be anything; those of the destination must not let indices share an element. Everything is checked before
/// anything is queued: what fails here has done nothing. Both tensors are held until the copy is done. Until then,
/// access to the destination waits, and so does mutable access to the source; other copies, on any stream, are ordered
/// behind this one where they touch the same buffer.
///
/// # Safety
///
/// Until the copy is done, nobody writes the memory of `source` and nobody reads or writes that of `destination`, but
/// through tensors that share it: not through another description of it, a slice, or an export from before. An export of
/// `source` from meanwhile does not wait either, and is only read until then.
pub unsafe fn copy_async(source: &Tensor, destination: &Tensor, stream: &Stream) -> Result<Event> {
    check(source, destination, stream)?;
    // Queueing and noting it on both tensors is one step: otherwise two threads could make two copies wait for each
    // other.
    let mut lock = Lock::take();
    let mut after = Vec::new();
    source.pending(Access::Read, &mut lock, &mut after)?;
    destination.pending(Access::Write, &mut lock, &mut after)?;
    let work = Work::Copy { source: source.clone(), destination: destination.clone() };
    let fence = stream.0.queue.submit(&mut lock, after, work)?;
    transfers::count(source.device(), destination.device(), source.nbytes());
    source.busy_until(fence.clone(), Access::Read, &mut lock);
    destination.busy_until(fence.clone(), Access::Write, &mut lock);
    Ok(Event(fence))
}

/// Refuses what cannot be copied.
fn check(source: &Tensor, destination: &Tensor, stream: &Stream) -> Result<()> {
    let refuse = |transfer| Err(Error::Transfer(transfer));
    for (what, tensor) in [("source", source), ("destination", destination)] {
        if !device::is_host(tensor.device()) {
            let [device, stream] =
                [tensor.device(), stream.device()].map(|each| device::Name(each).to_string());
            return refuse(Transfer::Device { what, device, stream });
        }
    }
    copy::check(source, destination)?;
    let (from, to) = (source.addresses(), destination.addresses());
    if from.0 < to.1 && to.0 < from.1 {
        return refuse(Transfer::Overlap { source: from, destination: to });
    }
    Ok(())
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("device", &format_args!("{}", device::Name(self.device()))).finish()
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("done", &self.done()).finish()
    }
}
