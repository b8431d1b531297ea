//! Events of the driver, used again and again.

use super::capture::Relaxed;
use super::context::{Current, Device};
use super::driver::{Handle, call};
use crate::error::{Driver as Failure, Error, Result};
use std::ptr::null_mut;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// No time is taken, and nobody sleeps until the device interrupts: the cheapest to record, to ask and for streams to wait.
const FLAGS: u32 = 2;
/// How long is asked without a pause: a pause is 50 microseconds longer than was asked for, and most copies do not take much
/// longer than this.
const EAGER: Duration = Duration::from_millis(2);
/// More idle events than this are given back to the driver.
const KEPT: usize = 1024;

/// An event that nobody uses.
pub(super) struct Idle(Handle);
// SAFETY: any thread may use an event.
unsafe impl Send for Idle {}

/// An event; it goes back to those of its device.
pub(super) struct Event {
    device: &'static Device,
    handle: Handle,
}

// SAFETY: any thread may use an event, at once with others.
unsafe impl Send for Event {}
// SAFETY: as above.
unsafe impl Sync for Event {}

impl Event {
    /// An event of the device, whose context is current.
    pub fn new(device: &'static Device, current: &Current<'_>) -> Result<Event> {
        let idle = device.events.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut handle = idle.map_or(null_mut(), |idle| idle.0);
        if handle.is_null() {
            let _relaxed = Relaxed::with(device.driver);
            // SAFETY: writes a handle.
            unsafe { call!(current.device.driver, cuEventCreate(&mut handle, FLAGS)) }?;
        }
        Ok(Event { device, handle })
    }

    #[cfg(test)]
    pub fn of_no_driver(device: &'static Device) -> Event {
        Event { device, handle: null_mut() }
    }

    /// It is done once everything queued on the stream so far is.
    ///
    /// # Safety
    ///
    /// The stream is alive, and of the context that is current.
    pub unsafe fn record(&self, stream: Handle, current: &Current<'_>) -> Result<()> {
        // SAFETY: the event is alive, and the stream says the caller.
        unsafe { call!(current.device.driver, cuEventRecord(self.handle, stream)) }
    }

    /// An event can be asked about whatever context is current, if any: other than of what records events or waits for them,
    /// the driver's documentation says of this function that no context can be wrong, and PyTorch asks from any device too.
    pub fn is_done(&self) -> Result<bool> {
        let driver = self.device.driver;
        if !driver.is_ours() {
            return Err(Error::Driver(Failure::BeforeFork { what: "the event" }));
        }
        let _relaxed = Relaxed::with(driver);
        // SAFETY: it is alive, and was not recorded on a stream that was captured.
        driver.check_ready("cuEventQuery", unsafe { (driver.cuEventQuery)(self.handle) })
    }

    /// Waits until it is done. Where the driver fails to say it is asked once more: that is no proof that it is.
    pub fn wait(&self) -> Result<()> {
        let _relaxed = self.device.driver.is_ours().then(|| Relaxed::with(self.device.driver));
        let wait = || {
            let mut answer = Ok(false);
            let mut is_answered = || {
                answer = self.is_done();
                !matches!(answer, Ok(false))
            };
            ask_until(&mut is_answered, None);
            answer.map(drop)
        };
        wait().or_else(|_| wait())
    }

    /// Has a stream wait for it.
    ///
    /// # Safety
    ///
    /// The stream is alive, and of the context that is current.
    pub unsafe fn hold_up(&self, stream: Handle, current: &Current<'_>) -> Result<()> {
        // SAFETY: the event is alive, and the stream says the caller.
        unsafe { call!(current.device.driver, cuStreamWaitEvent(stream, self.handle, 0)) }
    }
}

/// Asks until the answer is yes, or the time is up; the last answer. At first without a pause, then with one that is small
/// beside what it has taken; other threads may have the processor meanwhile.
pub(super) fn ask_until(mut ask: impl FnMut() -> bool, timeout: Option<Duration>) -> bool {
    let start = Instant::now();
    while !ask() {
        let waited = start.elapsed();
        let left = timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(waited));
        if left.is_zero() {
            return false;
        }
        match waited < EAGER {
            true => std::thread::yield_now(),
            false => std::thread::sleep(left.min(waited / 128).min(Duration::from_millis(1))),
        }
    }
    true
}

impl Drop for Event {
    fn drop(&mut self) {
        if !self.device.driver.is_ours() {
            return;
        }
        let mut idle = self.device.events.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT && idle.try_reserve(1).is_ok() {
            return idle.push(Idle(self.handle));
        }
        drop(idle);
        if let Some(current) = self.device.enter_to_free() {
            let _relaxed = Relaxed::with(self.device.driver);
            // SAFETY: nobody has it any more. There is nobody to tell of a failure.
            unsafe { (current.device.driver.cuEventDestroy)(self.handle) };
        }
    }
}
