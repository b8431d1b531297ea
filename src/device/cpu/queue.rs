//! The queue of a stream, and its thread.

use super::event::{Completion, SERVES};
use crate::copy;
use crate::device::signal::Signal;
use crate::device::{Queue, Submitted, Work, thread};
use crate::error::{Error, Result, Transfer};
use crate::fork::{self, Guarded, Lock};
use crate::guard::{guard, guard_silent};
use crate::tensor::Fence;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// A stream of the CPU. Dropping it lets the thread end after what is queued.
pub(in crate::device) struct Threaded(Arc<Shared>);

/// What the handles and the thread share.
struct Shared {
    generation: u64,
    /// Whether what is queued behind a failure is carried out all the same.
    carries_on: bool,
    state: Guarded<State>,
    changed: Signal,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    /// Whether the thread was started; it then runs until the stream is closed.
    started: bool,
    /// Whether the thread is at a job that is no longer in the queue.
    working: bool,
    closed: bool,
    /// What failed first since the stream was last synchronised.
    failure: Option<Error>,
}

impl State {
    fn is_idle(&self) -> bool {
        self.jobs.is_empty() && !self.working
    }
}

struct Job {
    after: Vec<Arc<dyn Fence>>,
    work: Work,
    event: Arc<Completion>,
}

impl Threaded {
    pub fn new(carries_on: bool) -> Self {
        // From here on forks are counted.
        drop(Lock::take());
        let generation = fork::generation();
        Threaded(Arc::new(Shared {
            generation,
            carries_on,
            state: Guarded::new(State::default()),
            changed: Signal::new(),
        }))
    }

    /// Takes a job out of the queue again; false where the thread is at it, or through.
    fn takes_back(&self, event: &Arc<dyn Fence>) -> bool {
        let mut lock = Lock::take();
        let jobs = &mut self.0.state.get(&mut lock).jobs;
        let place =
            jobs.iter().position(|job| std::ptr::addr_eq(Arc::as_ptr(&job.event), Arc::as_ptr(event)));
        let job = place.and_then(|place| jobs.remove(place));
        drop(lock);
        job.is_some()
    }

    /// Whether the thread of this stream would be in this process.
    fn is_ours(&self) -> bool {
        self.0.generation == fork::generation()
    }
}

impl Queue for Threaded {
    fn submit(&self, lock: &mut Lock, after: Vec<Arc<dyn Fence>>, work: Work) -> Result<Submitted<'_>> {
        if !self.is_ours() {
            return Err(Error::Transfer(Transfer::StreamBeforeFork));
        }
        let submitted = |fence| Ok(Submitted { fence, source_read: None, rest: None });
        let (stream, state) = (self.0.id(), self.0.state.get(lock));
        if state.is_idle() && state.failure.is_none() && after.is_empty() && matches!(work, Work::Nothing) {
            return submitted(Arc::new(Completion::finished(stream)));
        }
        if !state.started {
            let shared = self.0.clone();
            thread::start("dlbridge stream", move || shared.serve())?;
            state.started = true;
        }
        let event = Arc::new(Completion::queued(stream));
        state.jobs.push_back(Job { after, work, event: event.clone() });
        self.0.changed.notify_one();
        submitted(event)
    }

    fn synchronize(&self, timeout: Option<Duration>) -> Result<()> {
        // A report that nobody can wait for would be lost.
        if SERVES.with(Cell::get) == self.0.id() {
            return Err(Error::Transfer(Transfer::OwnThread));
        }
        let report = {
            let mut lock = Lock::take();
            // Whoever has no time at all is told as well.
            if self.is_ours() && self.0.state.get(&mut lock).is_idle() {
                return self.0.state.get(&mut lock).failure.take().map_or(Ok(()), Err);
            }
            self.submit(&mut lock, Vec::new(), Work::Report)?.fence
        };
        if let Some(timeout) = timeout
            && !report.wait_timeout(timeout)
            && self.takes_back(&report)
        {
            return Err(Error::Transfer(Transfer::not_within(timeout)));
        }
        report.wait();
        report.failure().map_or(Ok(()), Err)
    }
}

impl Drop for Threaded {
    fn drop(&mut self) {
        // In a child of a fork there is no thread to tell, and what it would have done is left alone.
        if self.is_ours() {
            self.0.state.get(&mut Lock::take()).closed = true;
            self.0.changed.notify_one();
        }
    }
}

impl Shared {
    /// Stands for the stream on its own thread; never 0.
    fn id(&self) -> usize {
        std::ptr::from_ref(self) as usize
    }

    fn serve(&self) {
        SERVES.with(|serves| serves.set(self.id()));
        let mut lock = Lock::take();
        loop {
            let state = self.state.get(&mut lock);
            if let Some(job) = state.jobs.pop_front() {
                state.working = true;
                let failed = match job.work {
                    Work::Report => state.failure.take(),
                    _ => state.failure.clone().filter(|_| !self.carries_on),
                };
                drop(lock);
                lock = self.perform(job, failed);
            } else if state.closed {
                return;
            } else {
                lock = self.changed.wait(lock, None);
            }
        }
    }

    /// Does one job, and comes back with the lock held again.
    fn perform(&self, Job { after, mut work, event }: Job, failed: Option<Error>) -> Lock {
        let waited = wait_for(&after);
        let ready = failed.map_or(waited, Err);
        let failure = ready.and_then(|()| guard(|| work.carry_out())).err();
        event.moved(failure.clone(), &mut Lock::take());
        let reported = matches!(work, Work::Report);
        guard_silent(|| drop((after, work)));
        let mut lock = Lock::take();
        let state = self.state.get(&mut lock);
        state.failure = state.failure.take().or(failure.filter(|_| !reported));
        state.working = false;
        event.finish(&mut lock);
        lock
    }
}

impl Work {
    fn carry_out(&mut self) -> Result<()> {
        match self {
            Work::Nothing | Work::Keep(_) | Work::Report => {}
            // SAFETY: they were checked, and everything before this that touches the memory is done.
            Work::Copy { source, destination, .. } => unsafe { copy::carry_out(source, destination)? },
            // SAFETY: memory of the tensor's, of which nobody else knows yet.
            Work::Zero(tensor) => unsafe { tensor.data().cast::<u8>().write_bytes(0, tensor.nbytes()) },
            #[cfg(test)]
            Work::Call(call) => return std::mem::replace(call, Box::new(|| Ok(())))(),
        }
        Ok(())
    }
}

/// Waits for all of them, also after one failed: who waits for this job relies on it, and not on those before.
///
/// Only for the work itself: what is let go after it may be waiting for this job.
fn wait_for(fences: &[Arc<dyn Fence>]) -> Result<()> {
    fences.iter().map(|fence| fence.wait_for_work()).fold(Ok(()), Result::and)
}
