//! What was copied so far: calls and bytes, by direction.

use crate::dlpack::DLDevice;
use crate::tensor::device;
use std::sync::atomic::{AtomicU64, Ordering};

/// Copies in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many copies were queued.
    pub calls: u64,
    /// How many bytes of elements they move.
    pub bytes: u64,
}

/// The copies of this process since it began, of [`copy_async`](super::copy_async) and all that rests on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Transfers {
    /// Within the host's memory.
    pub h2h: Count,
    /// From the host to a device.
    pub h2d: Count,
    /// From a device to the host.
    pub d2h: Count,
    /// Within a device, or from one to another.
    pub d2d: Count,
}

static CALLS: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];
static BYTES: [AtomicU64; 4] = [const { AtomicU64::new(0) }; 4];

/// What was copied so far. There and back again is one call in each direction.
pub fn transfers() -> Transfers {
    let count = |at: usize| Count {
        calls: CALLS[at].load(Ordering::Relaxed),
        bytes: BYTES[at].load(Ordering::Relaxed),
    };
    Transfers { h2h: count(0), h2d: count(1), d2h: count(2), d2d: count(3) }
}

/// Counts a copy that was queued.
pub(super) fn count(from: DLDevice, to: DLDevice, bytes: usize) {
    let at = usize::from(!device::is_host(from)) * 2 + usize::from(!device::is_host(to));
    CALLS[at].fetch_add(1, Ordering::Relaxed);
    BYTES[at].fetch_add(bytes as u64, Ordering::Relaxed);
}
