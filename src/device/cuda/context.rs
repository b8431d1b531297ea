//! Devices: their primary contexts, which PyTorch and CuPy use too, made current for the length of a call.

use super::capture::Relaxed;
use super::driver::{Driver, Handle, call, find};
use crate::dlpack::DLDevice;
use crate::error::{Driver as Failure, Error, Result, Transfer};
use crate::memory::Allocator;
use crate::tensor::device;
use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

/// More than any machine has; the driver counts far fewer.
const MOST: usize = 64;
const MAX_PITCH: i32 = 11;

/// A device and its primary context, retained as long as the process lives.
pub(super) struct Device {
    pub driver: &'static Driver,
    pub ordinal: i32,
    pub context: Handle,
    /// The longest step between the rows of a copy.
    pub max_pitch: usize,
    /// Events that nobody uses.
    pub events: Mutex<Vec<super::event::Idle>>,
    pub pool: OnceLock<Arc<dyn Allocator>>,
}

// SAFETY: a context may be used by any thread, and the rest is.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

/// Why a device cannot be used.
pub(in crate::device) fn why_not(ordinal: i32) -> Option<String> {
    let driver = match find() {
        Ok(driver) => driver,
        Err(why) => return Some(why),
    };
    let beyond = ordinal >= driver.devices.min(MOST as i32);
    beyond.then(|| match driver.devices {
        1 => "there is one CUDA device, number 0".to_owned(),
        count => format!("there are {count} CUDA devices, numbered from 0"),
    })
}

impl Device {
    /// The device of this number.
    pub fn get(ordinal: i32) -> Result<&'static Device> {
        static DEVICES: [AtomicPtr<Device>; MOST] = [const { AtomicPtr::new(null_mut()) }; MOST];
        if let Some(why) = why_not(ordinal) {
            let device = device::Name(DLDevice::cuda(ordinal)).to_string();
            return Err(Error::Transfer(Transfer::NoDevice { device, why }));
        }
        let place = &DEVICES[ordinal as usize];
        let mut found = place.load(Ordering::Acquire);
        if found.is_null() {
            let new = Box::into_raw(Box::new(Device::open(ordinal)?));
            found = match place.compare_exchange(null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => new,
                Err(first) => {
                    // SAFETY: just made, and nobody has seen it.
                    let new = unsafe { Box::from_raw(new) };
                    // It was retained once more than is kept.
                    let _ = new.release();
                    first
                }
            };
        }
        // SAFETY: made above by some thread, and never freed.
        Ok(unsafe { &*found })
    }

    fn open(ordinal: i32) -> Result<Device> {
        let driver = find().map_err(|what| Error::Unavailable { what })?;
        let (mut number, mut context, mut max_pitch) = (0, null_mut(), 0);
        let _relaxed = Relaxed::with(driver);
        // SAFETY: each writes to one place.
        unsafe {
            call!(driver, cuDeviceGet(&mut number, ordinal))?;
            call!(driver, cuDeviceGetAttribute(&mut max_pitch, MAX_PITCH, number))?;
            call!(driver, cuDevicePrimaryCtxRetain(&mut context, number))?;
        }
        let (events, pool) = (Mutex::default(), OnceLock::new());
        Ok(Device { driver, ordinal, context, max_pitch: max_pitch.max(0) as usize, events, pool })
    }

    fn release(&self) -> Result<()> {
        // SAFETY: retained by `open`. Devices have their ordinals as numbers.
        unsafe { call!(self.driver, cuDevicePrimaryCtxRelease(self.ordinal)) }
    }

    /// Makes the context current on this thread until the result goes; no foreign code runs here until then.
    pub fn enter(&self) -> Result<Current<'_>> {
        if !self.driver.is_ours() {
            return Err(Error::Driver(Failure::BeforeFork { what: "the CUDA object" }));
        }
        let outer = ENTERED.get();
        let is_outermost = !std::ptr::eq(outer, self);
        if is_outermost {
            // SAFETY: a context that stays.
            unsafe { call!(self.driver, cuCtxPushCurrent(self.context)) }?;
            ENTERED.set(self);
        }
        Ok(Current { device: self, outer, is_outermost, stays_on_this_thread: PhantomData })
    }

    /// [`Device::enter`] for giving something back, where there is nobody to tell of a failure: it is tried again. `None` in
    /// a child of a fork, whose parent has what was to be given back.
    pub fn enter_to_free(&self) -> Option<Current<'_>> {
        self.enter().or_else(|_| self.enter()).ok()
    }

    pub fn name(&self) -> String {
        device::Name(self.dlpack()).to_string()
    }

    pub fn dlpack(&self) -> DLDevice {
        DLDevice::cuda(self.ordinal)
    }
}

thread_local! {
    /// The device whose context this thread has made current, or NULL.
    static ENTERED: Cell<*const Device> = const { Cell::new(null()) };
}

/// A context that is current; the one before is again when this goes. Those of one thread go in the reverse of the order in
/// which they were made.
pub(super) struct Current<'a> {
    pub device: &'a Device,
    outer: *const Device,
    /// Whether it was not current before, by our own doing.
    is_outermost: bool,
    stays_on_this_thread: PhantomData<*mut ()>,
}

impl Drop for Current<'_> {
    fn drop(&mut self) {
        if !self.is_outermost {
            return;
        }
        ENTERED.set(self.outer);
        let driver = self.device.driver;
        let mut context = null_mut();
        // SAFETY: pushed by `enter`, on this thread. There is nobody to tell of a failure; a second attempt costs nothing.
        unsafe {
            if (driver.cuCtxPopCurrent)(&mut context) != super::driver::SUCCESS {
                (driver.cuCtxPopCurrent)(&mut context);
            }
        }
    }
}
