//! What is known of an address: by ourselves where the driver gave us the memory, and from the driver otherwise.

use super::context::{Current, Device};
use super::given;
use super::memory::PINNED;
use super::pin::{self, Known};
use crate::dlpack::DLDevice;
use crate::error::{Driver as Failure, Error, Result};
use crate::tensor::device;
use std::cell::OnceCell;
use std::ffi::c_int;

const MEMORY_TYPE: c_int = 2;
const ORDINAL: c_int = 9;
const START: c_int = 11;

const HOST: u32 = 1;
const DEVICE: u32 = 2;
/// What the driver answers of memory that it does not know.
const UNKNOWN: i32 = 1;

/// Refuses an address that is not on the device.
pub(in crate::device) fn check_pointer(address: usize, ordinal: i32) -> Result<()> {
    Inquiry::by(Device::get(ordinal)?).check(address, ordinal)
}

/// Questions about addresses. A context is current from the first on that only the driver can answer.
pub(super) struct Inquiry<'a> {
    device: &'a Device,
    current: OnceCell<Current<'a>>,
}

impl<'a> Inquiry<'a> {
    /// The answers do not depend on the device whose context is used.
    pub fn by(device: &'a Device) -> Self {
        Inquiry { device, current: OnceCell::new() }
    }

    /// What the driver says of an address, as a number; `None` where it does not know the memory.
    fn ask<T: Default>(&self, attribute: c_int, address: usize) -> Result<Option<T>> {
        const { assert!(size_of::<T>() == 4 || size_of::<T>() == 8, "attributes are numbers") };
        if self.current.get().is_none() {
            let _ = self.current.set(self.device.enter()?);
        }
        let (driver, mut answer) = (self.device.driver, T::default());
        // SAFETY: writes a number of this size; any address may be asked about.
        let code =
            unsafe { (driver.cuPointerGetAttribute)((&raw mut answer).cast(), attribute, address as u64) };
        if code == UNKNOWN {
            return Ok(None);
        }
        driver.check("cuPointerGetAttribute", code).map(|()| Some(answer))
    }

    /// What kind of memory an address is in; `None` where the driver does not know it.
    fn kind(&self, address: usize) -> Result<Option<u32>> {
        self.ask(MEMORY_TYPE, address)
    }

    /// Refuses an address that is not on the device of this number.
    pub fn check(&self, address: usize, ordinal: i32) -> Result<()> {
        if given::holds((address, address.saturating_add(1)), DLDevice::cuda(ordinal)) {
            return Ok(());
        }
        let name = |ordinal| device::Name(DLDevice::cuda(ordinal)).to_string();
        let found = match self.kind(address)? {
            Some(DEVICE) => match self.ask(ORDINAL, address)?.unwrap_or(-1) {
                on if on == ordinal => return Ok(()),
                on => format!("it is on {}", name(on)),
            },
            Some(HOST) => "it is pinned memory of the host".to_owned(),
            _ => "it knows no such memory".to_owned(),
        };
        Err(Error::Driver(Failure::Elsewhere { address, device: name(ordinal), found }))
    }

    /// Whether the device reads and writes these bytes of the host by itself: we gave them, one pin asked for all of them, or
    /// somebody else has them pinned, or managed, which is that both ends are of one block. Of memory that is `said` to be
    /// pinned as a whole the ends are enough.
    pub fn is_reachable(&self, bytes: (usize, usize), said: bool) -> Result<bool> {
        if given::holds(bytes, PINNED) {
            return Ok(true);
        }
        match pin::known(bytes) {
            Known::Pinned => return Ok(true),
            Known::Beside => return Ok(false),
            Known::Nothing => {}
        }
        let (first, last) = (bytes.0, bytes.1 - 1);
        if self.kind(first)?.is_none() || self.kind(last)?.is_none() {
            return Ok(false);
        }
        let block = |address| self.ask(START, address).ok().flatten().filter(|start: &u64| *start != 0);
        Ok(said || block(first).is_some_and(|start| block(last) == Some(start)))
    }
}
