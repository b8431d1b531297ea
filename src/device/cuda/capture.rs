//! CUDA graphs that somebody captures meanwhile: what the library asks the driver for does not spoil them, and work of its own
//! never becomes part of one.
//!
//! A graph is replayed without us, when tensors and events that its work needs may be gone: so what was to be queued on a
//! stream that is captured is refused. What is done elsewhere is no part of the graph, but the driver takes much of it for a
//! mistake, and spoils the capture, unless the thread says that it knows. Waiting for a whole device spoils it in any case.

use super::context::Device;
use super::driver::{CAPTURE_IMPLICIT, Driver, Handle, SUCCESS, find};
use crate::error::{Driver as Failure, Error, Result};
use std::cell::Cell;
use std::ffi::{c_int, c_uint};
use std::marker::PhantomData;

const RELAXED: c_uint = 2;
/// What a stream answers that is not captured.
const NONE: c_int = 0;

thread_local! {
    /// Whether this thread has said it.
    static SAID: Cell<bool> = const { Cell::new(false) };
}

/// While this lives, what this thread asks the driver for spoils no capture. What it allocates, frees or asks about is not to
/// be part of a graph.
#[must_use]
pub(super) struct Relaxed {
    /// `None` where it was said before.
    driver: Option<&'static Driver>,
    before: c_uint,
    stays_on_this_thread: PhantomData<*mut ()>,
}

impl Relaxed {
    pub fn with(driver: &'static Driver) -> Self {
        let mut relaxed = Relaxed { driver: None, before: RELAXED, stays_on_this_thread: PhantomData };
        if !SAID.get() && relaxed.exchange(driver) {
            SAID.set(true);
            relaxed.driver = Some(driver);
        }
        relaxed
    }

    /// For threads of the library, which capture nothing.
    pub fn for_good() {
        if let Ok(driver) = find() {
            std::mem::forget(Relaxed::with(driver));
        }
    }

    /// Gives the thread the mode that this has, and this that of the thread. A driver that refuses is asked again; there is
    /// nobody to tell, and where nothing is captured it makes no difference.
    fn exchange(&mut self, driver: &Driver) -> bool {
        // SAFETY: reads a mode, and writes the one before; no context is needed.
        let mut exchange =
            || unsafe { (driver.cuThreadExchangeStreamCaptureMode)(&mut self.before) } == SUCCESS;
        exchange() || exchange()
    }
}

impl Drop for Relaxed {
    fn drop(&mut self) {
        if let Some(driver) = self.driver.filter(|driver| driver.is_ours()) {
            SAID.set(false);
            self.exchange(driver);
        }
    }
}

/// Refuses work on a stream that is captured, and on a default one that would come after such a stream. This may be asked at
/// any time. A driver that does not say is asked once more; then the work itself is to find out what is the matter.
///
/// # Safety
///
/// The handle is a stream of the device, and alive.
pub(super) unsafe fn check(device: &Device, handle: Handle) -> Result<()> {
    let mut status = NONE;
    let mut ask = || {
        // SAFETY: promised by the caller; writes a number.
        unsafe { (device.driver.cuStreamIsCapturing)(handle, &mut status) }
    };
    // What a default stream is depends on the context. A stream of its own has one, and no other need be current, by what the
    // documentation lists of errors.
    let _current = if handle as usize <= super::PER_THREAD { device.enter_to_free() } else { None };
    let mut code = ask();
    if code != SUCCESS && code != CAPTURE_IMPLICIT {
        let _current = device.enter_to_free();
        code = ask();
    }
    match code == CAPTURE_IMPLICIT || (code == SUCCESS && status != NONE) {
        true => Err(Error::Driver(Failure::Captured { stream: handle as usize, device: device.name() })),
        false => Ok(()),
    }
}
