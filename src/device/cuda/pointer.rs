//! What the driver knows of an address.

use super::context::{Current, Device};
use super::pin::{self, Known};
use crate::dlpack::DLDevice;
use crate::error::{Driver as Failure, Error, Result};
use crate::tensor::device;
use std::ffi::c_int;

const MEMORY_TYPE: c_int = 2;
const ORDINAL: c_int = 9;
const START: c_int = 11;

const HOST: u32 = 1;
const DEVICE: u32 = 2;
/// What the driver answers of memory that it does not know.
const UNKNOWN: i32 = 1;

/// What kind of memory an address is in; `None` where the driver does not know it.
fn kind(address: usize, current: &Current<'_>) -> Result<Option<u32>> {
    let driver = current.device.driver;
    let mut kind = 0_u32;
    // SAFETY: writes a number of this size; any address may be asked about.
    let code = unsafe { (driver.cuPointerGetAttribute)((&raw mut kind).cast(), MEMORY_TYPE, address as u64) };
    if code == UNKNOWN { Ok(None) } else { driver.check("cuPointerGetAttribute", code).map(|()| Some(kind)) }
}

/// Refuses an address that is not on the device.
pub(in crate::device) fn check_pointer(address: usize, ordinal: i32) -> Result<()> {
    check(address, ordinal, &Device::get(ordinal)?.enter()?)
}

/// [`check_pointer`] with a context current, of whatever device.
pub(super) fn check(address: usize, ordinal: i32, current: &Current<'_>) -> Result<()> {
    let driver = current.device.driver;
    let name = |ordinal| device::Name(DLDevice::cuda(ordinal)).to_string();
    let found = match kind(address, current)? {
        Some(DEVICE) => {
            let mut on = -1;
            // SAFETY: writes an int.
            let code =
                unsafe { (driver.cuPointerGetAttribute)((&raw mut on).cast(), ORDINAL, address as u64) };
            driver.check("cuPointerGetAttribute", code)?;
            if on == ordinal {
                return Ok(());
            }
            format!("it is on {}", name(on))
        }
        Some(HOST) => "it is pinned memory of the host".to_owned(),
        _ => "it knows no such memory".to_owned(),
    };
    Err(Error::Driver(Failure::Elsewhere { address, device: name(ordinal), found }))
}

/// Whether the device reads and writes these bytes of the host by itself: one pin asked for all of them, or somebody else
/// has them pinned, or managed, which is that both ends are of one block. Of memory that is `said` to be pinned as a whole
/// the ends are enough.
pub(super) fn is_reachable(bytes: (usize, usize), said: bool, current: &Current<'_>) -> Result<bool> {
    let (first, last) = (bytes.0, bytes.1 - 1);
    match pin::known(bytes) {
        Known::Pinned => return Ok(true),
        Known::Beside => return Ok(false),
        Known::Nothing => {}
    }
    if kind(first, current)?.is_none() || kind(last, current)?.is_none() {
        return Ok(false);
    }
    let block = |address| start_of_block(address, current).ok().filter(|start| *start != 0);
    Ok(said || block(first).is_some_and(|start| block(last) == Some(start)))
}

/// Where the block begins that an address is in.
fn start_of_block(address: usize, current: &Current<'_>) -> Result<usize> {
    let driver = current.device.driver;
    let mut start = 0_u64;
    // SAFETY: writes an address.
    let code = unsafe { (driver.cuPointerGetAttribute)((&raw mut start).cast(), START, address as u64) };
    driver.check("cuPointerGetAttribute", code).map(|()| start as usize)
}
