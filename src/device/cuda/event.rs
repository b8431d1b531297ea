//! Events of the driver, used again and again.

use super::context::{Current, Device};
use super::driver::{Handle, call};
use crate::error::Result;
use std::ptr::null_mut;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

/// Whoever waits long sleeps; no time is taken.
const FLAGS: u32 = 1 | 2;
/// How long who waits asks again and again before it sleeps: a thread that sleeps is woken some 50 microseconds late, and
/// most copies do not take much longer than that.
const EAGER: Duration = Duration::from_micros(200);
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
            // SAFETY: writes a handle.
            unsafe { call!(current.device.driver, cuEventCreate(&mut handle, FLAGS)) }?;
        }
        Ok(Event { device, handle })
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

    pub fn is_done(&self) -> Result<bool> {
        let current = self.device.enter()?;
        let driver = current.device.driver;
        // SAFETY: it is alive.
        driver.check_ready("cuEventQuery", unsafe { (driver.cuEventQuery)(self.handle) })
    }

    pub fn wait(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < EAGER {
            match self.is_done() {
                Ok(true) => return Ok(()),
                Ok(false) => std::thread::yield_now(),
                // Whether it is over is what is asked next, for sure.
                Err(_) => break,
            }
        }
        let current = self.device.enter()?;
        // SAFETY: it is alive.
        unsafe { call!(current.device.driver, cuEventSynchronize(self.handle)) }
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
            // SAFETY: nobody has it any more. There is nobody to tell of a failure.
            unsafe { (current.device.driver.cuEventDestroy)(self.handle) };
        }
    }
}
