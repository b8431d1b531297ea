//! `dlb_transfer_stats`: what was copied so far.

use super::memory::check_size;
use super::status::{dlb_status, output, status};
use crate::device::{self, Count, Transfers};

/// The copies of this process so far, by direction: how many, and the bytes of the elements they move. Set `struct_size`
/// to `sizeof(dlb_transfer_counts)` before the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_transfer_counts {
    /// `sizeof(dlb_transfer_counts)`.
    pub struct_size: usize,
    /// Copies within the host's memory.
    pub host_to_host: u64,
    /// Their bytes.
    pub host_to_host_bytes: u64,
    /// Copies from the host to a device.
    pub host_to_device: u64,
    /// Their bytes.
    pub host_to_device_bytes: u64,
    /// Copies from a device to the host.
    pub device_to_host: u64,
    /// Their bytes.
    pub device_to_host_bytes: u64,
    /// Copies within a device, or from one to another.
    pub device_to_device: u64,
    /// Their bytes.
    pub device_to_device_bytes: u64,
}

/// What `dlb_copy_async()`, and all that rests on it, was asked to copy so far in this process: counted when it is
/// queued, whether or not it fails later. There and back again is one copy in each direction, however many pieces
/// the driver was given.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `out`, a `struct_size` that is too small). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_transfer_stats(out: *mut dlb_transfer_counts) -> dlb_status {
    status(|| {
        let out = output(out)?;
        // SAFETY: not NULL, so a struct that begins with its size.
        let struct_size = unsafe { (*check_size(out, "dlb_transfer_counts")?).struct_size };
        let Transfers { h2h, h2d, d2h, d2d } = device::transfers();
        let [(host_to_host, host_to_host_bytes), (host_to_device, host_to_device_bytes)] =
            [h2h, h2d].map(parts);
        let [(device_to_host, device_to_host_bytes), (device_to_device, device_to_device_bytes)] =
            [d2h, d2d].map(parts);
        // SAFETY: as large as it says, which is at least this struct; its size stays what it is.
        unsafe {
            out.write(dlb_transfer_counts {
                struct_size,
                host_to_host,
                host_to_host_bytes,
                host_to_device,
                host_to_device_bytes,
                device_to_host,
                device_to_host_bytes,
                device_to_device,
                device_to_device_bytes,
            });
        }
        Ok(())
    })
}

fn parts(Count { calls, bytes }: Count) -> (u64, u64) {
    (calls, bytes)
}
