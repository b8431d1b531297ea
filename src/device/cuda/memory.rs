//! Memory of a device, and page-locked memory of the host: allocators under a pool each.

use super::capture::Relaxed;
use super::context::Device;
use super::driver::call;
use super::given;
use crate::dlpack::{DLDevice, DLDeviceType};
use crate::error::{Driver as Failure, Error, Result};
use crate::memory::{ALIGNMENT, Allocator, Limits, Piece, Pool, cache_share};
use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::sync::{Arc, OnceLock};

/// All contexts may use it.
const PORTABLE: u32 = 1;

/// The pool of a device, which all share.
pub(in crate::device) fn device_pool(ordinal: i32) -> Result<Arc<dyn Allocator>> {
    let device = Device::get(ordinal)?;
    let make =
        || -> Arc<dyn Allocator> { Arc::new(Pool::new(Arc::new(DeviceMemory(device)), Limits::default())) };
    Ok(device.pool.get_or_init(make).clone())
}

/// The pool of pinned memory, which all share; it keeps as much cached as that of ordinary memory.
pub(in crate::device) fn pinned_pool() -> &'static Arc<dyn Allocator> {
    static POOL: OnceLock<Arc<dyn Allocator>> = OnceLock::new();
    POOL.get_or_init(|| {
        let limits = Limits { cached: cache_share(), ..Limits::default() };
        Arc::new(Pool::new(Arc::new(PinnedMemory), limits))
    })
}

/// What the driver gives on a device.
struct DeviceMemory(&'static Device);

// SAFETY: the driver's memory is whoever's it was given to.
unsafe impl Allocator for DeviceMemory {
    fn device(&self) -> DLDevice {
        self.0.dlpack()
    }

    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        let current = self.0.enter()?;
        let driver = current.device.driver;
        // The driver honours 256, and is asked for more where that is not enough.
        let room = if alignment > ALIGNMENT { bytes.saturating_add(alignment) } else { bytes.max(1) };
        let mut address = 0;
        let _relaxed = Relaxed::with(driver);
        // SAFETY: writes an address.
        let code = unsafe { (driver.cuMemAlloc)(&mut address, room) };
        driver.check_memory("cuMemAlloc", code, bytes, self.0.name())?;
        let start = address as usize;
        let data = start.next_multiple_of(alignment);
        let address = NonNull::new(data as *mut c_void).ok_or(Error::OutOfMemory { bytes })?;
        given::note(start, room, self.device());
        let mut piece = Piece::new(address, bytes, alignment);
        piece.skipped = data - start;
        Ok(piece)
    }

    unsafe fn deallocate(&self, piece: Piece) {
        // In a child of a fork it is the parent's. There is nobody to tell of a failure.
        let Some(current) = self.0.enter_to_free() else { return };
        let address = piece.data.addr().get() - piece.skipped;
        given::forget(address);
        let _relaxed = Relaxed::with(current.device.driver);
        // SAFETY: allocated above, and nobody uses it, says the caller.
        let _ = unsafe { call!(current.device.driver, cuMemFree(address as u64)) };
    }
}

/// What the driver gives on the host, page-locked.
struct PinnedMemory;

/// Where it is.
pub(super) const PINNED: DLDevice = DLDevice { device_type: DLDeviceType::CUDAHOST, device_id: 0 };

// SAFETY: as above.
unsafe impl Allocator for PinnedMemory {
    fn device(&self) -> DLDevice {
        PINNED
    }

    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        let current = Device::get(0)?.enter()?;
        let driver = current.device.driver;
        let mut data = null_mut();
        let _relaxed = Relaxed::with(driver);
        // SAFETY: writes an address.
        let code = unsafe { (driver.cuMemHostAlloc)(&mut data, bytes.max(1), PORTABLE) };
        driver.check_memory("cuMemHostAlloc", code, bytes, "cuda_host".to_owned())?;
        let data = NonNull::new(data).ok_or(Error::OutOfMemory { bytes })?;
        given::note(data.addr().get(), bytes, self.device());
        // It begins with a page; whoever asks for more than that is told.
        Ok(Piece::new(data, bytes, alignment))
    }

    unsafe fn deallocate(&self, piece: Piece) {
        let Some(current) = Device::get(0).ok().and_then(Device::enter_to_free) else { return };
        given::forget(piece.data.addr().get());
        let _relaxed = Relaxed::with(current.device.driver);
        // SAFETY: allocated above, and nobody uses it, says the caller.
        let _ = unsafe { call!(current.device.driver, cuMemFreeHost(piece.data.as_ptr())) };
    }
}

/// How much pinned memory the pool has.
pub(super) fn pinned_by_the_pool() -> usize {
    pinned_pool().pool().map_or(0, |pool| {
        let stats = pool.stats();
        stats.held + stats.cached
    })
}

/// Why there is no memory of a kind, as an error.
pub(in crate::device) fn unavailable(device: Option<DLDevice>, why: String) -> Error {
    Error::Driver(match device {
        None => Failure::NoPinned { why },
        Some(device) => Failure::NoMemory { device: crate::tensor::device::Name(device).to_string(), why },
    })
}
