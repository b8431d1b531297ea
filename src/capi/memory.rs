//! `dlb_tensor_empty` and `dlb_allocator_*`: memory of our own, or of an allocator that the program brings.

use super::status::{dlb_status, output, required, status};
use super::tensor::{create, dlb_release_fn, dlb_tensor};
use crate::device;
use crate::dlpack::{DLDataType, DLDevice, DLDeviceType};
use crate::error::{Allocation, Error, Refusal, Result};
use crate::guard::Foreign as _;
use crate::memory::{Allocator, Host, Options, Piece};
use crate::tensor::{self, Tensor};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

/// Who gives memory and takes it back: the host's allocator, a pool, or functions of the program.
///
/// Opaque. Reference-counted: `dlb_allocator_retain()` adds a reference, `dlb_allocator_release()` drops one; every
/// tensor on its memory holds one too. Any thread may use it.
pub struct dlb_allocator {
    /// To be seen by this file only: for C the type has no fields.
    allocator: Arc<dyn Allocator>,
}

/// What `dlb_tensor_empty()` is to make. Set `struct_size` to `sizeof(dlb_tensor_options)` and the rest to zero; then
/// shape, ndim and dtype.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_tensor_options {
    /// `sizeof(dlb_tensor_options)`.
    pub struct_size: usize,
    /// `ndim` sizes in elements, borrowed for the call; may be NULL if `ndim` is 0.
    pub shape: *const i64,
    /// The number of dimensions.
    pub ndim: i32,
    /// The element type.
    pub dtype: DLDataType,
    /// Where; all zero for wherever the allocator's memory is, which by default is the host.
    pub device: DLDevice,
    /// Not 0 for page-locked memory of the host, which CUDA devices copy from and to without help of the CPU; `device` is
    /// then left zero, and the tensor's is kDLCUDAHost.
    pub pinned: i32,
    /// The address is a multiple of this power of two, up to 1 GiB; 0 for 256.
    pub alignment: usize,
    /// Who gives the memory, borrowed; NULL for the shared allocator.
    pub allocator: *const dlb_allocator,
}

/// An allocator in C. Set `struct_size` to `sizeof(dlb_allocator_functions)` and the rest to zero first.
///
/// The functions are called from any thread, also several at a time, with no lock held. They must not throw.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_allocator_functions {
    /// `sizeof(dlb_allocator_functions)`.
    pub struct_size: usize,
    /// Given to each function.
    pub context: *mut c_void,
    /// `bytes` bytes (never 0) at a multiple of `alignment` (a power of two), or NULL.
    pub allocate:
        Option<unsafe extern "C" fn(context: *mut c_void, bytes: usize, alignment: usize) -> *mut c_void>,
    /// Takes memory back, with the numbers it was allocated with.
    pub deallocate:
        Option<unsafe extern "C" fn(context: *mut c_void, data: *mut c_void, bytes: usize, alignment: usize)>,
    /// Called once, when the last reference to the allocator and the last memory from it are gone; may be NULL.
    pub release: dlb_release_fn,
    /// Where the memory is; all zero for the host.
    pub device: DLDevice,
}

/// Refuses a struct of the caller whose size is none that a version had; a later version's may be larger.
///
/// # Safety
///
/// `given` begins with its size.
pub(super) unsafe fn check_size<T>(given: *const T, what: &'static str) -> Result<*const T> {
    // SAFETY: promised by the caller.
    unsafe { size_from(given.cast(), what, size_of::<T>()) }.map(|_| given)
}

/// How large a struct is that begins with its own size; refused where that is less than the first version's.
///
/// # Safety
///
/// `given` is a struct that begins with its size.
pub(super) unsafe fn size_from(given: *const usize, what: &'static str, least: usize) -> Result<usize> {
    // SAFETY: promised by the caller.
    let size = unsafe { given.read() };
    match size < least {
        true => Err(Error::Allocation(Allocation::StructSize { what, size, least })),
        false => Ok(size),
    }
}

/// An allocator argument; `None` where it is NULL.
///
/// # Safety
///
/// `allocator` is NULL or alive for `'a`.
pub(super) unsafe fn borrowed<'a>(allocator: *const dlb_allocator) -> Option<&'a Arc<dyn Allocator>> {
    // SAFETY: promised by the caller.
    unsafe { allocator.as_ref() }.map(|handle| &handle.allocator)
}

/// Gives a new allocator to the caller.
///
/// # Safety
///
/// `out` is NULL or a place to write to.
pub(super) unsafe fn give(
    out: *mut *mut dlb_allocator,
    make: impl FnOnce() -> Result<Arc<dyn Allocator>>,
) -> dlb_status {
    status(|| {
        let out = output(out)?;
        let handle = Arc::new(dlb_allocator { allocator: make()? });
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(Arc::into_raw(handle).cast_mut()) };
        Ok(())
    })
}

/// Makes a row-major tensor on memory of its own: writable, its values anything, sub-byte elements packed.
///
/// Host memory by default, at a multiple of 256 bytes: from 1 MiB on from a pool that all share, below from the C
/// library's allocator. From 2 MiB on it lies on huge pages as far as it fills them. Memory of a device and pinned memory
/// come from pools that all share (`dlb_allocator_device()`, `dlb_allocator_pinned()`). It goes back to its allocator when
/// the last tensor and the last export on it are gone. A tensor without elements has no memory: its `data` is NULL.
///
/// `options` is borrowed. `*out` is owned by the caller: `dlb_tensor_release()`. Fails with
/// `DLB_ERROR_INVALID_ARGUMENT` (NULL, a negative size, a shape that does not fit 63 bits of bytes, a dtype that cannot
/// exist, an alignment that is no power of two, a device that is not the allocator's, an allocator that ignores the
/// alignment, pinned memory of a device), `DLB_ERROR_OUT_OF_MEMORY`, `DLB_ERROR_UNAVAILABLE` (a device that is not here,
/// pinned memory without a CUDA driver; the message says why) and `DLB_ERROR_DEVICE` (the driver failed). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_empty(
    options: *const dlb_tensor_options,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: the caller gives NULL or options, with what they lead to, and NULL or a place to write to.
    unsafe { create(out, || make(options, Tensor::empty_with)) }
}

/// As `dlb_tensor_empty()`, with every byte 0. Fresh pages of the system (2 MiB and more that the pool has no block for) are
/// that already and are not touched; all other memory is written once.
///
/// Memory of a CUDA device is written there, and this waits for that: whatever reaches it afterwards, on any stream, finds
/// zeros. Memory that an allocator of yours gives on a device of another kind is `DLB_ERROR_UNAVAILABLE`. `*out` is owned by
/// the caller: `dlb_tensor_release()`. Fails besides as `dlb_tensor_empty()` does. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_zeros(
    options: *const dlb_tensor_options,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: as in `dlb_tensor_empty`.
    unsafe { create(out, || make(options, device::zeros_with)) }
}

/// What makes a tensor on memory of its own.
type Make = fn(&[i64], DLDataType, Options<'_>) -> Result<Tensor>;

/// Reads options and has a tensor made of them.
///
/// # Safety
///
/// `options` is NULL or begins with its size, has `ndim` sizes, and an allocator that is NULL or alive.
unsafe fn make(options: *const dlb_tensor_options, make: Make) -> Result<Tensor> {
    // SAFETY: not NULL, so a struct that begins with its size.
    let options = unsafe { *check_size(required(options, "options")?, "dlb_tensor_options")? };
    // SAFETY: the caller gives `ndim` sizes.
    let shape = unsafe { super::view::list(options.shape, options.ndim, "shape") }?;
    // SAFETY: the caller gives NULL or a live allocator.
    let allocator = unsafe { borrowed(options.allocator) };
    let (asked, pinned) = (options.device, options.pinned != 0);
    let own;
    let allocator = match allocator {
        None => {
            own = device::allocator(if asked == UNSET { DLDevice::CPU } else { asked }, pinned)?;
            own.as_ref()
        }
        Some(allocator) => {
            check_place(allocator.device(), asked, pinned)?;
            Some(allocator)
        }
    };
    make(shape, options.dtype, Options { alignment: options.alignment, allocator })
}

/// Refuses an allocator whose memory is not where it is asked for.
fn check_place(device: DLDevice, asked: DLDevice, pinned: bool) -> Result<()> {
    const PINNED: DLDevice = DLDevice { device_type: DLDeviceType::CUDAHOST, device_id: 0 };
    let wanted = match (pinned, asked) {
        (true, UNSET | DLDevice::CPU) => PINNED,
        (false, UNSET) => return Ok(()),
        _ => asked,
    };
    if tensor::device::check(wanted).ok() == Some(device) {
        return Ok(());
    }
    let [device, asked] = [device, wanted].map(|each| tensor::device::Name(each).to_string());
    Err(Error::Allocation(Allocation::OtherDevice { device, asked }))
}

/// A device that is left out.
pub(super) const UNSET: DLDevice = DLDevice { device_type: DLDeviceType(0), device_id: 0 };

/// The host's allocator, which caches nothing: the C library's below 2 MiB, from there on mappings with huge pages.
///
/// `*out` is owned by the caller: `dlb_allocator_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allocator_host(out: *mut *mut dlb_allocator) -> dlb_status {
    // SAFETY: the caller gives NULL or a place to write to.
    unsafe { give(out, || Ok(Arc::new(Host))) }
}

/// Memory of a device: a pool of that device, which all share. For the CPU it is the allocator that `dlb_tensor_empty()`
/// uses where none is named, so a program that takes its device as a parameter runs everywhere.
///
/// `*out` is owned by the caller: `dlb_allocator_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL),
/// `DLB_ERROR_INVALID_TENSOR` (no device of DLPack's) and `DLB_ERROR_UNAVAILABLE` (no such device here; the message says
/// why). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allocator_device(device: DLDevice, out: *mut *mut dlb_allocator) -> dlb_status {
    // SAFETY: the caller gives NULL or a place to write to.
    unsafe { give(out, || device::device_allocator(device)) }
}

/// Page-locked memory of the host, which `for_device`, a CUDA device, copies from and to without help of the CPU: a pool
/// that all share. Its tensors are on kDLCUDAHost.
///
/// Page-locked memory is scarce and costly to get, so blocks stay in the pool: `dlb_allocator_trim()` gives them back.
/// `*out` is owned by the caller: `dlb_allocator_release()`. Fails as `dlb_allocator_device()` does, for the CPU too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allocator_pinned(
    for_device: DLDevice,
    out: *mut *mut dlb_allocator,
) -> dlb_status {
    // SAFETY: the caller gives NULL or a place to write to.
    unsafe { give(out, || device::pinned_allocator(for_device)) }
}

/// An allocator of the program's own: `functions` is copied.
///
/// `*out` is owned by the caller: `dlb_allocator_release()`. If this fails nothing is taken, and `release` is not
/// called: `DLB_ERROR_INVALID_ARGUMENT` (NULL `functions`, `allocate`, `deallocate` or `out`; a `struct_size` that is
/// too small; a device that does not exist).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allocator_create(
    functions: *const dlb_allocator_functions,
    out: *mut *mut dlb_allocator,
) -> dlb_status {
    let make = || -> Result<Arc<dyn Allocator>> {
        // SAFETY: not NULL, so a struct that begins with its size.
        let functions = unsafe { *check_size(required(functions, "functions")?, "dlb_allocator_functions")? };
        let (Some(allocate), Some(deallocate)) = (functions.allocate, functions.deallocate) else {
            let what = if functions.allocate.is_none() { "allocate" } else { "deallocate" };
            return Err(Error::Null { what });
        };
        let device = if functions.device == UNSET { DLDevice::CPU } else { functions.device };
        let device = tensor::device::check(device).map_err(|_| {
            Error::Refused(Refusal::UnknownDevice { given: tensor::device::Name(device).to_string() })
        })?;
        let dlb_allocator_functions { context, release, .. } = functions;
        Ok(Arc::new(Foreign { context, allocate, deallocate, release, device }))
    };
    // SAFETY: the caller gives NULL or a place to write to.
    unsafe { give(out, make) }
}

/// A table of C functions as an allocator.
struct Foreign {
    context: *mut c_void,
    allocate: unsafe extern "C" fn(*mut c_void, usize, usize) -> *mut c_void,
    deallocate: unsafe extern "C" fn(*mut c_void, *mut c_void, usize, usize),
    release: dlb_release_fn,
    device: DLDevice,
}

// SAFETY: whoever made the table promised that its functions may be called from any thread.
unsafe impl Send for Foreign {}
// SAFETY: as above, several at a time.
unsafe impl Sync for Foreign {}

// SAFETY: the program's functions give memory and take it back, as `dlb_allocator_functions` asks for.
unsafe impl Allocator for Foreign {
    fn device(&self) -> DLDevice {
        self.device
    }

    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        // SAFETY: as the table's maker promised.
        let data = unsafe { self.allocate.call((self.context, bytes, alignment)) };
        let data = NonNull::new(data).ok_or(Error::Allocation(Allocation::Refused { bytes }))?;
        Ok(Piece::new(data, bytes, alignment))
    }

    unsafe fn deallocate(&self, piece: Piece) {
        // SAFETY: as above; the caller gives back what `allocate` gave.
        unsafe { self.deallocate.call((self.context, piece.data.as_ptr(), piece.bytes, piece.alignment)) }
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: the last user is gone; called once.
            unsafe { release.call((self.context,)) }
        }
    }
}

/// Adds a reference and returns `allocator`. NULL gives NULL. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allocator_retain(allocator: *mut dlb_allocator) -> *mut dlb_allocator {
    if !allocator.is_null() {
        // SAFETY: alive, and made by `give`.
        unsafe { Arc::increment_strong_count(allocator) }
    }
    allocator
}

/// Drops a reference. With the last one, and the last tensor on its memory, the allocator is gone. NULL is a no-op.
/// Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allocator_release(allocator: *mut dlb_allocator) {
    if !allocator.is_null() {
        // SAFETY: alive, made by `give`, and the caller's reference ends here.
        crate::guard::guard_silent(|| unsafe { Arc::decrement_strong_count(allocator) });
    }
}
