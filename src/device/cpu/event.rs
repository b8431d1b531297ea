//! When a job is done, and what became of it.

use crate::device::signal::Signal;
use crate::error::{Error, Result, Transfer};
use crate::fork::{self, Lock};
use crate::tensor::Fence;
use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

const QUEUED: u8 = 0;
/// The elements are where they belong, and the references to the tensors are being dropped, which may run foreign code
/// on the stream's thread. Other streams go on from here: that code may wait for them. Everybody else goes on waiting:
/// afterwards they find that the tensors are not in use any more.
const MOVED: u8 = 1;
const DONE: u8 = 2;

thread_local! {
    /// The stream that this thread works for; 0 for all other threads.
    pub(super) static SERVES: Cell<usize> = const { Cell::new(0) };
}

/// Makes this a thread that works for streams, but for none of this device.
pub(in crate::device) fn serve_others() {
    SERVES.with(|serves| serves.set(1));
}

/// Whether this thread works for a stream: it waits for nobody who may wait for it.
pub(in crate::device) fn is_stream_thread() -> bool {
    SERVES.with(Cell::get) != 0
}

pub(super) struct Completion {
    state: AtomicU8,
    failure: OnceLock<Error>,
    changed: Signal,
    generation: u64,
    /// What `SERVES` is on the thread that does the job.
    stream: usize,
}

impl Completion {
    pub fn queued(stream: usize) -> Self {
        Completion {
            state: AtomicU8::new(QUEUED),
            failure: OnceLock::new(),
            changed: Signal::new(),
            generation: fork::generation(),
            stream,
        }
    }

    /// For a stream that has nothing to do.
    pub fn finished(stream: usize) -> Self {
        Completion { state: AtomicU8::new(DONE), ..Self::queued(stream) }
    }

    /// Whoever waits looks with the lock held, so nobody misses this.
    pub fn moved(&self, failure: Option<Error>, _: &mut Lock) {
        if let Some(failure) = failure {
            let _ = self.failure.set(failure);
        }
        self.state.store(MOVED, Ordering::Release);
        self.changed.notify_all();
    }

    /// As for [`Completion::moved`].
    pub fn finish(&self, _: &mut Lock) {
        self.state.store(DONE, Ordering::Release);
        self.changed.notify_all();
    }

    fn is_own_thread(&self) -> bool {
        SERVES.with(Cell::get) == self.stream
    }

    /// Whether the thread that would do the job is in the process this one was forked from.
    fn is_lost(&self) -> bool {
        self.generation != fork::generation() && self.state.load(Ordering::Acquire) != DONE
    }

    fn wait_until(&self, deadline: Option<Instant>) {
        if self.done() || self.is_own_thread() {
            return;
        }
        let mut lock = Lock::take();
        while !self.done() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return;
            }
            lock = self.changed.wait(lock, left);
        }
    }
}

impl Fence for Completion {
    fn done(&self) -> bool {
        match self.state.load(Ordering::Acquire) {
            DONE => true,
            MOVED if self.is_own_thread() => true,
            _ => self.is_lost(),
        }
    }

    /// Returns at once on the thread that does the job, which would wait for itself.
    fn wait(&self) {
        self.wait_until(None);
    }

    fn wait_timeout(&self, timeout: Duration) -> bool {
        // A deadline that the clock has no number for is never reached.
        self.wait_until(Instant::now().checked_add(timeout));
        self.done()
    }

    fn wait_for_work(&self) -> Result<()> {
        let moved = || self.state.load(Ordering::Acquire) >= MOVED || self.is_lost();
        if !moved() && self.is_own_thread() {
            return Err(Error::Transfer(Transfer::OwnThread));
        }
        if !moved() {
            let mut lock = Lock::take();
            while !moved() {
                lock = self.changed.wait(lock, None);
            }
        }
        match self.is_lost() {
            true => Err(Error::Transfer(Transfer::EventBeforeFork)),
            false => self.failure.get().cloned().map_or(Ok(()), Err),
        }
    }

    fn failure(&self) -> Option<Error> {
        if self.is_lost() {
            return Some(Error::Transfer(Transfer::EventBeforeFork));
        }
        if self.done() {
            return self.failure.get().cloned();
        }
        self.is_own_thread().then_some(Error::Transfer(Transfer::OwnThread))
    }
}
