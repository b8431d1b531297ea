//! Copies that a stream has the host make, and that are over before what they touch is given back.

use super::copy::Target;
use super::driver::call;
use super::lane::Lane;
use super::under_way;
use crate::error::Result;
use crate::guard::guard;
use std::ffi::c_void;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

const WAITING: u8 = 0;
const RUNNING: u8 = 1;
const OVER: u8 = 2;

/// Kept with the memory that the copy touches. Dropping it calls the copy off, or waits for it where it is under way: a
/// driver that has lost its device says so while the host still copies.
pub(super) struct HostCopy(Arc<Job>);

/// What makes the copy.
pub(super) type Make = Box<dyn Fn() -> Result<()> + Send + Sync>;

struct Job {
    make: Make,
    /// The copy's place, for whoever waits there.
    lane: Arc<Lane>,
    place: u64,
    state: AtomicU8,
}

impl HostCopy {
    /// Has the stream make the copy. Where the driver never comes to it, the few bytes it was given stay set aside.
    ///
    /// # Safety
    ///
    /// The stream is alive, and what `make` needs is there until the result is dropped.
    pub unsafe fn queue(make: Make, target: &Target<'_>) -> Result<HostCopy> {
        let (lane, place) = (target.lane.clone(), target.place);
        let job = Arc::new(Job { make, lane, place, state: AtomicU8::new(WAITING) });
        let given = Arc::into_raw(job.clone());
        // SAFETY: `run` gets the reference that was made for it.
        let launched = unsafe {
            call!(target.device.driver, cuLaunchHostFunc(target.stream, run, given.cast_mut().cast()))
        };
        if launched.is_err() {
            // SAFETY: a function that was not taken is not called.
            drop(unsafe { Arc::from_raw(given) });
        }
        launched.map(|()| HostCopy(job))
    }
}

/// Keeps what the driver may still come to, or never: it has the address.
fn call_off(job: Arc<Job>) {
    static CALLED_OFF: Mutex<Vec<Arc<Job>>> = Mutex::new(Vec::new());
    // A child of `fork()` may find it locked for ever.
    match CALLED_OFF.try_lock() {
        Ok(mut jobs) => {
            jobs.retain(|job| Arc::strong_count(job) > 1);
            jobs.push(job);
        }
        Err(_) => std::mem::forget(job),
    }
}

unsafe extern "C" fn run(job: *mut c_void) {
    // SAFETY: the reference that `queue` made; the driver calls this once.
    let job = unsafe { Arc::from_raw(job.cast::<Job>()) };
    if job.state.compare_exchange(WAITING, RUNNING, Ordering::Acquire, Ordering::Relaxed).is_ok() {
        // The kernels do not fail: this would be a bug in one.
        if let Err(failure) = guard(&job.make) {
            under_way::failed(&job.lane, job.place, &failure);
        }
        job.state.store(OVER, Ordering::Release);
    }
}

impl Drop for HostCopy {
    fn drop(&mut self) {
        let state = &self.0.state;
        if state.compare_exchange(WAITING, OVER, Ordering::Acquire, Ordering::Relaxed).is_ok() {
            return call_off(self.0.clone());
        }
        // One piece of a few MiB at most.
        while state.load(Ordering::Acquire) == RUNNING {
            std::thread::yield_now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::mark::{Kept, Mark};
    use super::*;
    use crate::error::Error;
    use crate::fork::Lock;
    use crate::tensor::Fence;

    /// Work at the next place of a stream, which waits for this.
    fn work(lane: &Arc<Lane>, place: u64, after: &[&Arc<Mark>]) -> Arc<Mark> {
        let after: Vec<Arc<dyn Fence>> = after.iter().map(|&mark| mark.clone() as _).collect();
        let mark = Arc::new(Mark::reserved(lane.clone(), place, None, &after));
        under_way::add(mark.clone(), &mut Lock::take());
        mark
    }

    /// Has the host make this copy at a place of a stream.
    fn make(make: Make, lane: &Arc<Lane>, place: u64) {
        let job = Arc::new(Job { make, lane: lane.clone(), place, state: AtomicU8::new(WAITING) });
        // SAFETY: as the driver calls it, with a reference of its own.
        unsafe { run(Arc::into_raw(job.clone()).cast_mut().cast()) };
        assert_eq!(job.state.load(Ordering::Acquire), OVER);
    }

    /// What is told to whoever waits.
    fn outcome(mark: Arc<Mark>) -> Result<()> {
        mark.bind(None, Kept::default(), None);
        mark.settle();
        mark.wait_for_work()
    }

    /// What became of the work at three places of a stream, where the host makes this copy for the middle one.
    fn outcomes(copy: Make, carries_on: bool) -> [Result<()>; 3] {
        let lane = Arc::new(Lane::new(64, false, carries_on));
        let marks = [0, 1, 2].map(|place| work(&lane, place, &[]));
        make(copy, &lane, 1);
        marks.map(outcome)
    }

    #[test]
    fn what_became_of_it_is_told_to_who_waits() {
        let panicked = Err(Error::Panic { words: "a bug".to_owned() });
        let bug = || -> Make { Box::new(|| panic!("a bug")) };
        assert_eq!(outcomes(bug(), false), [Ok(()), panicked.clone(), panicked.clone()]);
        assert_eq!(outcomes(bug(), true), [Ok(()), panicked, Ok(())]);
        let refused = Error::OutOfMemory { bytes: 1 };
        let failing = refused.clone();
        let outcome = outcomes(Box::new(move || Err(failing.clone())), false);
        assert_eq!(outcome, [Ok(()), Err(refused.clone()), Err(refused)]);
        assert_eq!(outcomes(Box::new(|| Ok(())), false), [Ok(()), Ok(()), Ok(())]);
    }

    /// One stream fails when others have been told to wait for it, and others still for those.
    #[test]
    fn what_fails_late_is_told_on_streams_that_wait_already() {
        let streams = [(64, false), (65, false), (66, true)]
            .map(|(handle, carries_on)| Arc::new(Lane::new(handle, false, carries_on)));
        let [one, other, shared] = &streams;
        let fails = work(one, 0, &[]);
        let before = work(other, 0, &[]);
        let waits = work(other, 1, &[&before, &fails]);
        let behind = work(other, 2, &[]);
        let waits_for_that = work(shared, 0, &[&behind]);
        let beside = work(shared, 1, &[]);
        make(Box::new(|| Err(Error::OutOfMemory { bytes: 1 })), one, 0);
        let fine = [before, beside].map(outcome);
        assert_eq!(fine, [Ok(()), Ok(())]);
        let told = [fails, waits, behind, waits_for_that].map(outcome);
        assert_eq!(told, [const { Err(Error::OutOfMemory { bytes: 1 }) }; 4]);
        // And when the streams are synchronised.
        let reported = streams.map(|lane| lane.take_failure(&mut Lock::take()));
        assert_eq!(reported, [const { Some(Error::OutOfMemory { bytes: 1 }) }; 3]);
    }
}
