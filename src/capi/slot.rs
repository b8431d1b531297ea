//! `dlb_slot_*`: memory that is a producer's alone until it is submitted.

use super::status::{dlb_status, required, status};
use super::tensor::dlb_tensor;
use crate::staging::Slot;
use std::ptr::null_mut;

/// An empty slot of a ring, to be filled by the thread that has it.
///
/// Opaque. One owner, who ends it with `dlb_slot_submit()` or `dlb_slot_release()`; not thread-safe by itself, but any
/// thread may be the one.
pub struct dlb_slot {
    /// To be seen by this library only: for C the type has no fields.
    pub(super) slot: Slot,
}

/// A tensor of the slot, in host memory, by its position: borrowed, valid until the slot is submitted or released. NULL
/// where there is none, or `slot` is NULL.
///
/// Fill it through `dlb_tensor_mutable_data()`, or with `dlb_copy_async()` and a wait for its event. What was retained or
/// exported of it may live longer, but nobody writes to it any more once the slot is submitted.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_slot_tensor(slot: *const dlb_slot, index: usize) -> *mut dlb_tensor {
    // SAFETY: the caller gives NULL or a live slot.
    let tensor = unsafe { slot.as_ref() }.and_then(|slot| slot.slot.bare(index).ok());
    tensor.map_or(null_mut(), |tensor| tensor.as_raw().cast())
}

/// Copies the elements of `source`, of the same shape and dtype and with any strides, into a tensor of the slot, on this
/// thread.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, no such tensor, another shape or dtype) and `DLB_ERROR_UNSUPPORTED` (memory
/// that the host cannot read, sub-byte elements that are not packed row-major). Nobody writes to `source` meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_slot_fill(
    slot: *mut dlb_slot,
    index: usize,
    source: *const dlb_tensor,
) -> dlb_status {
    status(|| {
        let slot = required(slot, "slot")?.cast_mut();
        required(source, "source")?;
        // SAFETY: a live slot, which its one owner uses, and a live tensor that nobody writes to meanwhile.
        unsafe { (*slot).slot.fill(index, &*super::tensor::borrowed(source)?) }
    })
}

/// The number of the batch that the slot becomes, counted from 0 as slots are acquired; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_slot_number(slot: *const dlb_slot) -> u64 {
    // SAFETY: the caller gives NULL or a live slot.
    unsafe { slot.as_ref() }.map_or(0, |slot| slot.slot.number())
}

/// Gives the batch to the consumers; for another device this queues the copy and returns. Consumes `slot`, also on
/// failure.
///
/// Fails with `DLB_ERROR_CLOSED` (the ring was aborted; the batch is dropped), and with the error of a copy that cannot be
/// queued, which aborts the ring. NULL is `DLB_ERROR_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_slot_submit(slot: *mut dlb_slot) -> dlb_status {
    status(|| {
        let slot = required(slot, "slot")?.cast_mut();
        // SAFETY: a live slot that the caller gives up, boxed by `dlb_staging_acquire`.
        unsafe { Box::from_raw(slot) }.slot.submit_bare()
    })
}

/// Gives the slot back without a batch: consumers do not wait for it. Consumes `slot`; NULL is a no-op.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_slot_release(slot: *mut dlb_slot) {
    if !slot.is_null() {
        // SAFETY: a live slot that the caller gives up, boxed by `dlb_staging_acquire`.
        crate::guard::guard_silent(|| drop(unsafe { Box::from_raw(slot) }));
    }
}
