//! `dlb_device_*`: names of devices.

use super::dtype::write_name;
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
