//! What a stream and its marks share: the order in which work goes to the driver, and what failed.

use super::PER_THREAD;
use super::driver::Handle;
use crate::device::signal::Signal;
use crate::error::Error;
use crate::fork::{Guarded, Lock};
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// What a stream and its marks share.
pub(super) struct Lane {
    handle: usize,
    /// Whether the stream is ours and there: a handle is used again once its stream was destroyed.
    ours: AtomicBool,
    /// Whether others have the handle, who may have it captured.
    shown: AtomicBool,
    /// Whether what is queued behind a failure is carried out all the same.
    carries_on: bool,
    state: Guarded<State>,
    turn: Mutex<u64>,
    next: Signal,
}

#[derive(Default)]
struct State {
    /// The number of the next place.
    places: u64,
    /// What failed first since the stream was last synchronised.
    failure: Option<Error>,
}

impl Lane {
    pub fn new(handle: usize, ours: bool, carries_on: bool) -> Lane {
        let (state, turn, next) = (Guarded::default(), Mutex::new(0), Signal::new());
        let (ours, shown) = (AtomicBool::new(ours), AtomicBool::new(!ours));
        Lane { handle, ours, shown, carries_on, state, turn, next }
    }

    /// Notes what failed, for what is queued behind it.
    pub fn failed(&self, error: Error, lock: &mut Lock) {
        self.state.get(lock).failure.get_or_insert(error);
    }

    /// What failed since this was asked last.
    pub fn take_failure(&self, lock: &mut Lock) -> Option<Error> {
        self.state.get(lock).failure.take()
    }

    /// Whether a native handle is this stream, so that what is on it is in order anyway. Of a stream of somebody else's we
    /// do not know whether it is the one that had this handle before.
    pub fn is_own(&self, native: *mut c_void) -> bool {
        self.handle == native as usize && self.ours.load(Ordering::Acquire)
    }

    /// Whether what is queued here is one order.
    pub fn is_one_stream(&self) -> bool {
        self.handle != PER_THREAD
    }

    /// Whether what is queued behind a failure here fails with it.
    pub fn fails_as_one(&self) -> bool {
        self.is_one_stream() && !self.carries_on
    }

    /// What failed before and was not reported yet, where that holds up what is behind it.
    pub fn holds_up(&self) -> Option<Error> {
        let mut lock = Lock::take();
        self.state.get(&mut lock).failure.clone().filter(|_| !self.carries_on)
    }

    pub fn handle(&self) -> Handle {
        self.handle as Handle
    }

    /// Reserves the next place.
    pub fn reserve(&self, lock: &mut Lock) -> u64 {
        let state = self.state.get(lock);
        state.places += 1;
        state.places - 1
    }

    /// Others get the handle.
    pub fn show(&self) {
        self.shown.store(true, Ordering::Relaxed);
    }

    /// Whether somebody else may have it captured.
    pub fn is_shown(&self) -> bool {
        self.shown.load(Ordering::Relaxed)
    }

    /// The stream is going to be destroyed; whether it is ours, so that it has to be.
    pub fn end(&self) -> bool {
        self.ours.swap(false, Ordering::AcqRel)
    }

    /// Waits for the turn of a place; it is over when the result goes. The default streams of threads are many behind one
    /// handle, so nobody waits for another thread there.
    pub fn turn(&self, place: u64) -> Turn<'_> {
        if self.is_one_stream() {
            let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
            drop(self.next.wait_while(turn, |turn| *turn != place));
        }
        Turn(self)
    }
}

/// A turn that has come.
pub(super) struct Turn<'a>(&'a Lane);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.turn.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.next.notify_all();
    }
}
