//! Events: points in a stream.

use crate::error::{Error, Result, Transfer};
use crate::tensor::Fence;
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// A point in a stream. It is done once everything queued before it is; it says then what of that failed, to everybody
/// who waits.
///
/// It is waited for by a thread, which an executor of `async` code has for that: with tokio
/// `spawn_blocking(move || event.wait()).await`. Tensors need no waiting: their elements wait by themselves.
#[derive(Clone)]
pub struct Event(pub(super) Arc<dyn Fence>);

// A panic of whoever has the handle leaves the queue behind it as it was.
impl std::panic::UnwindSafe for Event {}
impl std::panic::RefUnwindSafe for Event {}

impl Event {
    /// Whether it is done, or never will be. Never blocks, and lets go of nothing: what tensors were held for is left to a
    /// thread of the library.
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
        self.outcome(Transfer::not_within(timeout))
    }

    /// [`Event::wait`] that gives up where the work is not done within `slice`; whether it is. Fails where it never will be
    /// for this thread, which would ask again and again.
    pub(crate) fn wait_slice(&self, slice: Duration) -> Result<bool> {
        match self.0.wait_slice(slice) {
            true => self.wait().map(|()| true),
            false => self.0.failure().map_or(Ok(false), Err),
        }
    }

    /// What stands for it where memory is to be given back behind it.
    pub(crate) fn fence(&self) -> Arc<dyn Fence> {
        self.0.clone()
    }

    /// What became of it; `unfinished` where it is not done, unless something else says why.
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

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("done", &self.done()).finish()
    }
}
