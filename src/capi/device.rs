//! `dlb_device_*`: names of devices, and which of them work.

use super::dtype::write_name;
use super::status::{dlb_status, status};
use crate::device as driven;
use crate::dlpack::DLDevice;
use crate::tensor::device;
use std::ffi::c_char;

/// Writes the name of a device into `buffer`, as snprintf would: `cpu`, `cuda:1`, `rocm:0`, `cuda_host`. At most
/// `capacity` bytes with the terminating NUL (32 are always enough for a device that DLPack defines). Returns the
/// length the whole name has without the NUL. `buffer` may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_device_name(device: DLDevice, buffer: *mut c_char, capacity: usize) -> usize {
    // SAFETY: the caller gives room for `capacity` bytes.
    unsafe { write_name(device::Name(device), buffer, capacity) }
}

/// Writes the devices that streams can be made on, at most `capacity` of them, and returns how many there are. `devices`
/// may be NULL if `capacity` is 0. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_device_list(devices: *mut DLDevice, capacity: usize) -> usize {
    let found = driven::devices();
    if !devices.is_null() {
        let fits = found.len().min(capacity);
        // SAFETY: the caller gives room for `capacity` devices.
        unsafe { devices.copy_from_nonoverlapping(found.as_ptr(), fits) };
    }
    found.len()
}

/// Whether streams can be made on a device: `DLB_OK`, or `DLB_ERROR_UNAVAILABLE` and the message says why not.
/// `DLB_ERROR_INVALID_TENSOR` if DLPack knows no such device. Thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn dlb_device_check(device: DLDevice) -> dlb_status {
    status(|| driven::check_device(device))
}
