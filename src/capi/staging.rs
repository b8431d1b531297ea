//! `dlb_staging_*`: several batches in flight between producers and consumers.

use super::batch::dlb_batch;
use super::event::DLB_WAIT_FOREVER;
use super::memory::{UNSET, check_size};
use super::slot::dlb_slot;
use super::status::{dlb_status, output, required, status};
use super::stream::{borrowed_stream, dlb_stream};
use crate::dlpack::{DLDevice, DLTensor};
use crate::error::{Error, Refusal, Result, Staging};
use crate::staging::{Leaf, Options, Order, Ring};
use crate::tensor::device;
use std::ffi::{CStr, c_char};
use std::mem::ManuallyDrop;
use std::time::Duration;

/// Batches come out in the order in which their slots were acquired.
pub const DLB_STAGING_IN_ORDER: i32 = 0;
/// Batches come out as they were submitted.
pub const DLB_STAGING_FIRST_COME: i32 = 1;

/// A ring of slots between producers and consumers, so that loading and computing overlap.
///
/// A producer acquires an empty slot, fills its tensors and submits it; a consumer gets it as a batch. On the CPU the
/// memory that was filled is the batch: nothing is copied. For another device a slot has a pinned buffer and one of the
/// device, and submitting it starts the copy. A batch that is kept is never overwritten: its memory goes back to the ring
/// when the last tensor on it is gone (the batch's own, views, exports), behind what is queued then on the stream that
/// it is used on.
///
/// Opaque. Reference-counted: `dlb_staging_retain()` adds a reference, `dlb_staging_release()` drops one; slots, batches
/// and their tensors hold what they need of it. Any thread may use it. In a child of `fork()` the rings made before it
/// answer `DLB_ERROR_UNAVAILABLE`.
pub struct dlb_staging {
    _opaque: [u8; 0],
}

/// What a ring is like. Set `struct_size` to `sizeof(dlb_staging_options)` and the rest to zero first.
///
/// **The rest being zero is not NULL for all of it: `keep` 0 is none, and NULL is 16.** Consumers that keep tensors of
/// batches then soon meet `DLB_ERROR_OUT_OF_MEMORY`: set `keep` to at least as many as they keep.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_staging_options {
    /// `sizeof(dlb_staging_options)`.
    pub struct_size: usize,
    /// Where the batches are to be; all zero for the host.
    pub device: DLDevice,
    /// How many batches may be on their way, being filled and being used; 0 for 3: one is filled, one on its way to the
    /// device, one used. On the host 2 overlap loading with computing. Each has memory for its tensors, pinned and of the
    /// device where that is not the host.
    pub slots: usize,
    /// How many more there may be memory for while consumers keep batches. **0 is none, not a default:** set 16 for what
    /// NULL instead of the options gives.
    pub keep: usize,
    /// `DLB_STAGING_IN_ORDER` or `DLB_STAGING_FIRST_COME`.
    pub order: i32,
}

/// What a ring has done. Set `struct_size` before the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_staging_totals {
    /// `sizeof(dlb_staging_totals)`.
    pub struct_size: usize,
    /// Batches that were submitted.
    pub submitted: u64,
    /// Batches that were handed out.
    pub handed: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Sets of buffers that were made, each when first needed: at most as many as slots, and more where batches were kept.
    pub sets: u64,
    /// Nanoseconds that threads waited for a slot, summed over them.
    pub slot_wait_ns: u64,
    /// Nanoseconds that threads waited for a batch, summed over them.
    pub batch_wait_ns: u64,
}

/// A ring argument, borrowed for the length of the call.
///
/// # Safety
///
/// `staging` is NULL or a live ring.
unsafe fn borrowed_ring(staging: *const dlb_staging) -> Result<ManuallyDrop<Ring>> {
    let staging = required(staging, "staging")?;
    // SAFETY: not NULL, so a live ring; `ManuallyDrop` leaves the caller's reference alone.
    Ok(ManuallyDrop::new(unsafe { Ring::from_raw(staging.cast_mut().cast()) }))
}

/// What a time limit in C means.
fn limit(timeout_ns: u64) -> Option<Duration> {
    (timeout_ns != DLB_WAIT_FOREVER).then(|| Duration::from_nanos(timeout_ns))
}

/// Makes a ring. It has no memory yet: slots get it as they are first used, exactly as much as their batches need.
///
/// `options` is borrowed; NULL for the host, 3 slots, 16 batches to keep and their order. `*out` is owned by the caller:
/// `dlb_staging_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `out`, a `struct_size` that is too small, too many
/// slots, an order or a device that does not exist) and `DLB_ERROR_UNAVAILABLE` (no such device here). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_staging_create(
    options: *const dlb_staging_options,
    out: *mut *mut dlb_staging,
) -> dlb_status {
    status(|| {
        let out = output(out)?;
        let mut made = Options::default();
        if !options.is_null() {
            // SAFETY: not NULL, so a struct that begins with its size.
            let given = unsafe { *check_size(options, "dlb_staging_options")? };
            made.device = if given.device == UNSET { DLDevice::CPU } else { given.device };
            device::check(made.device).map_err(|_| {
                Error::Refused(Refusal::UnknownDevice { given: device::Name(made.device).to_string() })
            })?;
            made.slots = if given.slots == 0 { made.slots } else { given.slots };
            made.keep = given.keep;
            made.order = match given.order {
                DLB_STAGING_IN_ORDER => Order::Kept,
                DLB_STAGING_FIRST_COME => Order::FirstCome,
                order => return Err(Error::Staging(Staging::Order { order })),
            };
        }
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(Ring::new(made)?.into_raw().cast()) };
        Ok(())
    })
}

/// Adds a reference and returns `staging`. NULL gives NULL. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_staging_retain(staging: *mut dlb_staging) -> *mut dlb_staging {
    // SAFETY: the caller gives NULL or a live ring.
    if let Ok(ring) = unsafe { borrowed_ring(staging) } {
        let _: ManuallyDrop<Ring> = ring.clone();
    }
    staging
}

/// Drops a reference. With the last one the batches go that nobody asked for, and slots that are out cannot be submitted
/// any more; batches that were handed out stay. NULL is a no-op. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_staging_release(staging: *mut dlb_staging) {
    if !staging.is_null() {
        // SAFETY: not NULL, so a reference that the caller gives back.
        crate::guard::guard_silent(|| drop(unsafe { Ring::from_raw(staging.cast()) }));
    }
}

/// Waits for an empty slot for a batch of `count` tensors, for at most `timeout_ns` nanoseconds: 0 only asks,
/// `DLB_WAIT_FOREVER` has no limit.
///
/// Of `tensors` only shape, ndim and dtype are read; the slot's are row-major. `names` may be NULL, and so may each of
/// them: a tensor without a name is called by its position, `"0"`. Both are borrowed for the call.
///
/// `*out` is owned by the caller, who ends it with `dlb_slot_submit()` or `dlb_slot_release()`. Fails with
/// `DLB_ERROR_TIMEOUT`, `DLB_ERROR_CLOSED` (closed or aborted; then the message has the reason), `DLB_ERROR_OUT_OF_MEMORY`
/// (also where all memory that the ring may have is held by batches that this thread has, or others that wait for the ring,
/// or that were released as such while tensors or exports of them live; the message has their numbers),
/// `DLB_ERROR_INVALID_ARGUMENT` (NULL, no tensors, two of one name, a shape or dtype that cannot be) and
/// `DLB_ERROR_UNAVAILABLE` (made before a fork). Thread-safe.
///
/// A batch that another thread has not released makes this wait. What is kept of a released one does not: up to `keep` of
/// them the ring makes more memory, and then this fails at once, whatever the time limit, since nobody may ever let go of
/// them. Where another thread will, call again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_staging_acquire(
    staging: *mut dlb_staging,
    tensors: *const DLTensor,
    names: *const *const c_char,
    count: i32,
    timeout_ns: u64,
    out: *mut *mut dlb_slot,
) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live ring.
        let (ring, out) = (unsafe { borrowed_ring(staging) }?, output(out)?);
        let what = "count";
        let count = usize::try_from(count).map_err(|_| Error::NegativeCount { what, count })?;
        if count > 0 {
            required(tensors, "tensors")?;
        }
        // SAFETY: the caller gives `count` descriptions, and as many names or NULL.
        let leaves = (0..count).map(|index| unsafe { leaf(&*tensors.add(index), names, index) });
        let leaves = leaves.collect::<Result<Vec<Leaf<'_>>>>()?;
        let slot = ring.acquire(&leaves, limit(timeout_ns))?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(Box::into_raw(Box::new(dlb_slot { slot }))) };
        Ok(())
    })
}

/// One tensor of a batch as C describes it.
///
/// # Safety
///
/// The description and its name are readable for `'a`.
unsafe fn leaf<'a>(tensor: &'a DLTensor, names: *const *const c_char, index: usize) -> Result<Leaf<'a>> {
    // SAFETY: promised by the caller.
    let shape = unsafe { super::view::list(tensor.shape, tensor.ndim, "shape") }?;
    let mut name = "";
    if !names.is_null() {
        // SAFETY: there is a name for each tensor.
        let given = unsafe { names.add(index).read() };
        if !given.is_null() {
            // SAFETY: a terminated string.
            let text = unsafe { CStr::from_ptr(given) };
            name = text.to_str().map_err(|_| Error::Staging(Staging::NotUtf8 { index }))?;
        }
    }
    Ok(Leaf { name, shape, dtype: tensor.dtype })
}

/// Waits for the next batch, for at most `timeout_ns` nanoseconds: 0 only asks, `DLB_WAIT_FOREVER` has no limit.
///
/// What is queued on `stream` after this finds the batch complete; only the device waits. On the host `stream` may be
/// NULL. `*out` is owned by the caller: `dlb_batch_release()`. Fails with `DLB_ERROR_TIMEOUT`, `DLB_ERROR_CLOSED` (closed and
/// nothing left, or aborted; then the message has the reason), `DLB_ERROR_OUT_OF_MEMORY` (consumers that wait here hold
/// all batches that the ring may have memory for; the message has their numbers, and nothing is lost),
/// `DLB_ERROR_INVALID_ARGUMENT` (NULL, a stream of another device, or none where one is needed) and
/// `DLB_ERROR_UNAVAILABLE` (made before a fork). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_staging_next(
    staging: *mut dlb_staging,
    stream: *mut dlb_stream,
    timeout_ns: u64,
    out: *mut *mut dlb_batch,
) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live ring.
        let (ring, out) = (unsafe { borrowed_ring(staging) }?, output(out)?);
        // SAFETY: the caller gives NULL or a live stream.
        let stream = unsafe { borrowed_stream(stream) }.ok();
        let batch = ring.next(stream.as_deref(), limit(timeout_ns))?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(Box::into_raw(Box::new(dlb_batch::new(batch)))) };
        Ok(())
    })
}

/// Lets consumers have what is submitted and being filled, and nothing after it: then both sides get `DLB_ERROR_CLOSED`.
/// NULL is a no-op. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_staging_close(staging: *mut dlb_staging) {
    // SAFETY: the caller gives NULL or a live ring.
    crate::guard::guard_silent(|| _ = unsafe { borrowed_ring(staging) }.map(|ring| ring.close()));
}

/// Ends it for both sides: whoever waits or asks gets `DLB_ERROR_CLOSED`, with `reason` in the message. What nobody has
/// asked for is dropped; batches that were handed out stay what they are. Of several reasons the first counts. NULL for
/// `staging` is a no-op, for `reason` no reason. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_staging_abort(staging: *mut dlb_staging, reason: *const c_char) {
    crate::guard::guard_silent(|| {
        // SAFETY: not NULL, so a terminated string.
        let reason = (!reason.is_null()).then(|| unsafe { CStr::from_ptr(reason) }.to_string_lossy());
        // SAFETY: the caller gives NULL or a live ring.
        if let Ok(ring) = unsafe { borrowed_ring(staging) } {
            ring.abort(reason.as_deref().unwrap_or("no reason was given"));
        }
    });
}

/// Whether the ring was aborted, rather than closed; false for NULL. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_staging_aborted(staging: *const dlb_staging) -> bool {
    // SAFETY: the caller gives NULL or a live ring.
    unsafe { borrowed_ring(staging) }.is_ok_and(|ring| ring.is_aborted())
}

/// What the ring has done so far.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, a `struct_size` that is too small). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_staging_stats(
    staging: *const dlb_staging,
    out: *mut dlb_staging_totals,
) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live ring.
        let (ring, out) = (unsafe { borrowed_ring(staging) }?, output(out)?);
        // SAFETY: not NULL, so a struct that begins with its size.
        let struct_size = unsafe { (*check_size(out, "dlb_staging_totals")?).struct_size };
        let totals = ring.totals();
        let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (slot_wait_ns, batch_wait_ns) = (nanoseconds(totals.slot_wait), nanoseconds(totals.batch_wait));
        let crate::staging::Totals { submitted, handed, bytes, sets, .. } = totals;
        // SAFETY: as large as it says, which is at least this struct; its size stays what it is.
        unsafe {
            out.write(dlb_staging_totals {
                struct_size,
                submitted,
                handed,
                bytes,
                sets,
                slot_wait_ns,
                batch_wait_ns,
            });
        }
        Ok(())
    })
}
