//! `dlb_tensor_*`: making, sharing, asking and handing out.

use super::status::{DLB_OK, dlb_status, output, required, status};
use crate::dlpack::{DLDataType, DLManagedTensor, DLManagedTensorVersioned, DLTensor};
use crate::error::{Error, Result};
use crate::tensor::{self, Access, Tensor};
use dlpark::DlpackFlags;
use std::ffi::{c_char, c_void};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

/// The largest `ndim` that is accepted: a producer's tensor with more is `DLB_ERROR_INVALID_TENSOR`, a view with more
/// `DLB_ERROR_INVALID_ARGUMENT`.
pub const DLB_MAX_NDIM: i32 = 128;

const _: () = assert!(DLB_MAX_NDIM as usize == tensor::MAX_NDIM);

/// A shared description of a buffer: address, shape, strides, dtype, device, and who owns the memory.
///
/// Opaque. Reference-counted: `dlb_tensor_retain()` adds a reference, `dlb_tensor_release()` drops one, and with the
/// last the owner is let go. The description never changes, so any thread may use a tensor while it holds a
/// reference; the elements are plain shared memory and need whatever synchronisation the program gives them.
pub struct dlb_tensor {
    _opaque: [u8; 0],
}

/// Lets go of a buffer: called exactly once, when its last user is gone, from whichever thread that is and with no
/// lock held. It must not throw. It may call dlbridge.
///
/// That thread may be a stream's, which does nothing else meanwhile. There it must not wait for another stream whose release
/// functions wait for this one, in `dlb_event_wait()` or through memory that a copy is under way to: both would wait for ever.
pub type dlb_release_fn = Option<unsafe extern "C" fn(context: *mut c_void)>;

/// A tensor argument, borrowed for the length of the call.
///
/// # Safety
///
/// `tensor` is NULL or a live tensor.
pub(super) unsafe fn borrowed(tensor: *const dlb_tensor) -> Result<ManuallyDrop<Tensor>> {
    let tensor = required(tensor, "tensor")?;
    // SAFETY: not NULL, so a live tensor; `ManuallyDrop` leaves the caller's reference alone.
    Ok(ManuallyDrop::new(unsafe { Tensor::from_raw(tensor.cast_mut().cast()) }))
}

/// What an infallible question answers: about a live tensor, or `default` for NULL.
///
/// # Safety
///
/// `tensor` is NULL or a live tensor.
unsafe fn ask<T>(tensor: *const dlb_tensor, default: T, question: impl FnOnce(&Tensor) -> T) -> T {
    // SAFETY: promised by the caller.
    unsafe { borrowed(tensor) }.map_or(default, |tensor| question(&tensor))
}

/// Makes a tensor with `make` and gives its reference to the caller.
///
/// # Safety
///
/// `out` is NULL or a place to write to.
pub(super) unsafe fn create(out: *mut *mut dlb_tensor, make: impl FnOnce() -> Result<Tensor>) -> dlb_status {
    status(|| {
        let out = output(out)?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(make()?.into_raw().cast()) };
        Ok(())
    })
}

/// Wraps memory that somebody else owns. No copy is made.
///
/// `description` is borrowed for the call; shape and strides are copied. Strides count elements, NULL strides mean
/// row-major; `byte_offset` is added to `data`. `flags` is 0 or `DLPACK_FLAG_BITMASK_READ_ONLY`
/// (`DLPACK_FLAG_BITMASK_IS_SUBBYTE_TYPE_PADDED` is known too: it means nothing for elements of whole bytes and is
/// refused for smaller ones). `release` is called with `context` when the last tensor and the last export on the
/// memory are gone; it may be NULL for memory that outlives them all. `*out` is owned by the caller:
/// `dlb_tensor_release()`.
///
/// On failure nothing is taken and `release` is not called: `DLB_ERROR_INVALID_ARGUMENT` (NULL `description` or
/// `out`, unknown `flags`), `DLB_ERROR_INVALID_TENSOR` (a malformed description), `DLB_ERROR_UNSUPPORTED` (padded
/// sub-byte elements), `DLB_ERROR_OUT_OF_MEMORY`. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_wrap(
    description: *const DLTensor,
    flags: u64,
    release: dlb_release_fn,
    context: *mut c_void,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    let make = || {
        let known = DlpackFlags::READ_ONLY | DlpackFlags::IS_SUBBYTE_TYPE_PADDED;
        let asked = DlpackFlags::from_bits_retain(flags);
        if !known.contains(asked) {
            return Err(Error::UnknownFlags { flags });
        }
        let description = required(description, "description")?;
        // SAFETY: not NULL; the caller vouches for the description, the memory and the release function.
        unsafe { Tensor::wrap_foreign(&*description, asked, release, context) }
    };
    // SAFETY: the caller gives NULL or a place to write to.
    unsafe { create(out, make) }
}

/// Takes over a DLPack managed tensor (the struct of DLPack 1.0 and later). No copy is made.
///
/// `managed` is consumed, on success and on failure, even where `out` is NULL: its deleter is called exactly once,
/// when the last tensor and the last export on the memory are gone, or before this returns an error. Nothing the
/// producer says is trusted. Accepted: every 1.x version, NULL strides as row-major (whatever the minor version),
/// negative and zero strides, any stride on dimensions of size 0 and 1, a NULL deleter, flags that are not known
/// (dropped), dtype codes that are not known (they can be handed on but not accessed). An export of this library that
/// comes back as it went out gives the tensor that was exported. `*out` is owned by the caller:
/// `dlb_tensor_release()`.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `managed` or `out`), `DLB_ERROR_INVALID_TENSOR` (malformed),
/// `DLB_ERROR_UNSUPPORTED` (a major version other than 1, of which only the deleter is touched; padded sub-byte
/// elements), `DLB_ERROR_OUT_OF_MEMORY`. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_import(
    managed: *mut DLManagedTensorVersioned,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: the caller gives the struct away; `import` consumes it whatever happens, and a tensor that cannot be
    // delivered for want of `out` is dropped again.
    let tensor = NonNull::new(managed)
        .ok_or(Error::Null { what: "managed" })
        .and_then(|managed| crate::guard::guard(|| unsafe { Tensor::import(managed) }));
    // SAFETY: the caller gives NULL or a place to write to.
    unsafe { create(out, || tensor) }
}

/// Takes over a managed tensor in the struct from before DLPack 1.0. As `dlb_tensor_import()`; such a tensor cannot
/// say that it is read-only and counts as writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_import_legacy(
    managed: *mut DLManagedTensor,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: as in `dlb_tensor_import`.
    let tensor = NonNull::new(managed)
        .ok_or(Error::Null { what: "managed" })
        .and_then(|managed| crate::guard::guard(|| unsafe { Tensor::import_legacy(managed) }));
    // SAFETY: the caller gives NULL or a place to write to.
    unsafe { create(out, || tensor) }
}

/// Hands the tensor out as a DLPack 1.3 managed tensor. No copy is made, so `IS_COPIED` is not set. While a copy into
/// the memory goes on (`dlb_copy_async()`), this waits for it.
///
/// `tensor` is borrowed; the export keeps the memory alive by itself. `*out` is owned by the caller, who calls its
/// deleter (`(*out)->deleter(*out)`) once, from any thread, or gives it to a consumer who will. Each export has a
/// header of its own: strides are never NULL for `ndim > 0` and canonical on dimensions of size 0 and 1, `data` is
/// NULL where the tensor is empty, `byte_offset` is 0 (except where `data` is a handle: OpenCL, Vulkan, Metal,
/// WebGPU), and `READ_ONLY` is set where the tensor is read-only.
///
/// On a CUDA device the consumer may let go while the device is at work: the memory is not used again before what was queued
/// on the legacy default stream, and on the library's own stream, when the deleter is called. For work on another stream
/// there is `dlb_tensor_export_on()`.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL) and `DLB_ERROR_OUT_OF_MEMORY`, and with the error of an asynchronous
/// copy into the memory that failed. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_export(
    tensor: *const dlb_tensor,
    out: *mut *mut DLManagedTensorVersioned,
) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live tensor.
        let (tensor, out) = (unsafe { borrowed(tensor) }?, output(out)?);
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(tensor.export()?.as_ptr()) };
        Ok(())
    })
}

/// Hands the tensor out in the struct from before DLPack 1.0. As `dlb_tensor_export()`; besides, a read-only tensor
/// is refused with `DLB_ERROR_READ_ONLY`, because that struct cannot say so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_export_legacy(
    tensor: *const dlb_tensor,
    out: *mut *mut DLManagedTensor,
) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live tensor.
        let (tensor, out) = (unsafe { borrowed(tensor) }?, output(out)?);
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(tensor.export_legacy()?.as_ptr()) };
        Ok(())
    })
}

/// Adds a reference and returns `tensor`, so that `mine = dlb_tensor_retain(theirs)` reads well. NULL gives NULL.
/// Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_retain(tensor: *mut dlb_tensor) -> *mut dlb_tensor {
    // SAFETY: the caller gives NULL or a live tensor.
    if let Ok(tensor) = unsafe { borrowed(tensor) } {
        let _: ManuallyDrop<Tensor> = tensor.clone();
    }
    tensor
}

/// Drops a reference. With the last one the tensor is gone; with the last tensor and export on a buffer its owner is
/// let go, on this thread. NULL is a no-op. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_release(tensor: *mut dlb_tensor) {
    if !tensor.is_null() {
        // SAFETY: not NULL, so a reference that the caller gives back.
        crate::guard::guard_silent(|| drop(unsafe { Tensor::from_raw(tensor.cast()) }));
    }
}

/// The DLPack description: where the elements are and how they are laid out.
///
/// Borrowed, read only, valid while the caller holds a reference. Shape and strides are not NULL for `ndim > 0`,
/// strides are as the producer gave them, `data` is NULL where there is no element, `byte_offset` is 0 except where
/// `data` is a handle. While a copy into the memory goes on (`dlb_copy_async()`), this waits for it. NULL gives NULL, and
/// so does a tensor whose elements are not there because such a copy failed: `dlb_error_message()` then says why.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_view(tensor: *const dlb_tensor) -> *const DLTensor {
    let look = |tensor: &Tensor| match tensor.is_settled() || settled(tensor) {
        true => tensor.view() as *const DLTensor,
        false => std::ptr::null(),
    };
    // SAFETY: the caller gives NULL or a live tensor; the view lies in its block, not in the temporary.
    unsafe { ask(tensor, std::ptr::null(), look) }
}

/// Waits for the copies into the memory; false, with a message, where one failed.
#[cold]
#[inline(never)]
fn settled(tensor: &Tensor) -> bool {
    status(|| tensor.settle(Access::Read)) == DLB_OK
}

/// `DLPACK_FLAG_BITMASK_READ_ONLY` or 0. NULL gives 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_flags(tensor: *const dlb_tensor) -> u64 {
    // SAFETY: the caller gives NULL or a live tensor.
    unsafe { ask(tensor, 0, |tensor| tensor.flags().bits()) }
}

/// The number of elements: the product of the shape, 1 for a 0-d tensor. NULL gives 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_size(tensor: *const dlb_tensor) -> usize {
    // SAFETY: the caller gives NULL or a live tensor.
    unsafe { ask(tensor, 0, Tensor::size) }
}

/// The bytes that the elements fill when packed, rounded up for sub-byte dtypes: what a copy would need, not the span
/// that the strides reach. NULL gives 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_nbytes(tensor: *const dlb_tensor) -> usize {
    // SAFETY: the caller gives NULL or a live tensor.
    unsafe { ask(tensor, 0, Tensor::nbytes) }
}

/// Whether the elements lie packed in row-major (`order` is `'C'`) or column-major (`'F'`) order. Both hold for a
/// tensor that is empty, 0-d or 1-d with stride 1. Any other `order` and NULL give false.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_is_contiguous(tensor: *const dlb_tensor, order: c_char) -> bool {
    let question = |tensor: &Tensor| match order as u8 {
        b'C' => tensor.is_row_major(),
        b'F' => tensor.is_column_major(),
        _ => false,
    };
    // SAFETY: the caller gives NULL or a live tensor.
    unsafe { ask(tensor, false, question) }
}

/// The largest power of two, in bytes, that divides the address of the first element. 0 where there is no address: an
/// empty tensor, a handle, NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_alignment(tensor: *const dlb_tensor) -> usize {
    // SAFETY: the caller gives NULL or a live tensor.
    unsafe { ask(tensor, 0, Tensor::alignment) }
}

/// The address of the first element, checked for reading elements of `dtype` on the host.
///
/// `*out` is borrowed and valid while the caller holds a reference; NULL where the tensor is empty. The elements lie
/// where shape and strides say. While a copy into the memory goes on (`dlb_copy_async()`), this waits for it. `dtype`
/// must be the tensor's own: to read bool as uint8, say, reinterpret it first (`dlb_tensor_reinterpret()`). Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, or the tensor holds another dtype) and
/// `DLB_ERROR_UNSUPPORTED` (the host cannot read the memory, the address is not aligned for the dtype, the dtype code
/// is not known), and with the error of an asynchronous copy into the memory that failed. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_data(
    tensor: *const dlb_tensor,
    dtype: DLDataType,
    out: *mut *const c_void,
) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live tensor.
        let (tensor, out) = (unsafe { borrowed(tensor) }?, output(out)?);
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(tensor.data_as(dtype)?) };
        Ok(())
    })
}

/// The address of the first element, checked for writing elements of `dtype` on the host.
///
/// As `dlb_tensor_data()`; besides, it waits for copies out of the memory too, and fails with `DLB_ERROR_READ_ONLY` for
/// a read-only tensor and with `DLB_ERROR_UNSUPPORTED` where strides may let several indices share one element. Slices,
/// permutations and reshapes of memory without such strides never do; interleavings that no order of the dimensions nests
/// are refused although some share nothing. Wherever a function writes to a tensor this is what it asks.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_mutable_data(
    tensor: *const dlb_tensor,
    dtype: DLDataType,
    out: *mut *mut c_void,
) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live tensor.
        let (tensor, out) = (unsafe { borrowed(tensor) }?, output(out)?);
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(tensor.data_mut_as(dtype)?) };
        Ok(())
    })
}

/// How many tensors are alive in this process, views included: for leak tests. Thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn dlb_live_tensors() -> usize {
    tensor::live_tensors()
}

/// How many exports are alive in this process: handed out, their deleter not called yet. For leak tests. Thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn dlb_live_exports() -> usize {
    tensor::live_exports()
}
