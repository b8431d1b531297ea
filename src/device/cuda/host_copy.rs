//! Copies that a stream has the host make, and that are over before what they touch is given back.

use super::copy::Target;
use super::driver::call;
use crate::device::nest::Nest;
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

struct Job {
    nest: Nest,
    state: AtomicU8,
}

impl HostCopy {
    /// Has the stream make the copy. Where the driver never comes to it, the few bytes it was given stay set aside.
    ///
    /// # Safety
    ///
    /// The memory is there, and nobody else's business, until the result is dropped.
    pub unsafe fn queue(nest: Nest, target: &Target<'_>) -> Result<HostCopy> {
        let job = Arc::new(Job { nest, state: AtomicU8::new(WAITING) });
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
        // SAFETY: the memory is there until whoever keeps it has seen that this is over. The kernels do not fail, and there
        // is nobody to tell of a bug in them.
        let _ = guard(|| unsafe { job.nest.carry_out() });
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
