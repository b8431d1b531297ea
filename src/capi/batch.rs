//! `dlb_batch_*`: what a consumer gets.

use super::stream::{borrowed_stream, dlb_stream};
use super::tensor::dlb_tensor;
use crate::staging::Batch;
use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};

/// A batch, on the ring's device: a few tensors.
///
/// Opaque. One owner, who ends it with `dlb_batch_release()`; any number of threads may read it meanwhile.
pub struct dlb_batch {
    /// To be seen by this library only: for C the type has no fields.
    batch: Batch,
    names: Vec<CString>,
}

impl dlb_batch {
    pub(super) fn new(batch: Batch) -> Self {
        let names =
            batch.names().iter().map(|name| CString::new(name.as_str()).unwrap_or_default()).collect();
        dlb_batch { batch, names }
    }
}

/// How many tensors the batch has; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_batch_count(batch: *const dlb_batch) -> usize {
    // SAFETY: the caller gives NULL or a live batch.
    unsafe { batch.as_ref() }.map_or(0, |batch| batch.names.len())
}

/// The number of the batch, counted from 0 as slots were acquired; slots that were given up leave gaps. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_batch_number(batch: *const dlb_batch) -> u64 {
    // SAFETY: the caller gives NULL or a live batch.
    unsafe { batch.as_ref() }.map_or(0, |batch| batch.batch.number())
}

/// The name of a tensor, by its position: borrowed from the batch. NULL where there is none, or `batch` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_batch_name(batch: *const dlb_batch, index: usize) -> *const c_char {
    // SAFETY: the caller gives NULL or a live batch.
    let name = unsafe { batch.as_ref() }.and_then(|batch| batch.names.get(index));
    name.map_or(null(), |name| name.as_ptr())
}

/// A tensor of the batch, by its position: borrowed from the batch. NULL where there is none, or `batch` is NULL.
///
/// What is retained, viewed or exported of it keeps the memory of the whole batch, also after `dlb_batch_release()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_batch_tensor(batch: *const dlb_batch, index: usize) -> *mut dlb_tensor {
    // SAFETY: the caller gives NULL or a live batch.
    let tensor = unsafe { batch.as_ref() }.and_then(|batch| batch.batch.tensors().get(index));
    tensor.map_or(null_mut(), |tensor| tensor.as_raw().cast())
}

/// A tensor of the batch, by its name: borrowed from the batch. NULL where there is none, or an argument is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_batch_find(batch: *const dlb_batch, name: *const c_char) -> *mut dlb_tensor {
    // SAFETY: the caller gives NULL or a live batch.
    let Some(names) = unsafe { batch.as_ref() }.map(|batch| &batch.names) else { return null_mut() };
    if name.is_null() {
        return null_mut();
    }
    // SAFETY: not NULL, so a terminated string.
    let name = unsafe { CStr::from_ptr(name) };
    let index = names.iter().position(|own| own.as_c_str() == name);
    // SAFETY: as above.
    index.map_or(null_mut(), |index| unsafe { dlb_batch_tensor(batch, index) })
}

/// Says that the consumer is done with the batch, and that its last use is what is queued on `stream` by now; NULL for
/// the stream of `dlb_staging_next()`, and on the host for none. Consumes `batch`; NULL is a no-op.
///
/// The memory goes back to the ring once no tensor on it is alive, behind what is queued then on that stream.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_batch_release(batch: *mut dlb_batch, stream: *mut dlb_stream) {
    if batch.is_null() {
        return;
    }
    crate::guard::guard_silent(|| {
        // SAFETY: a live batch that the caller gives up, boxed by `dlb_staging_next`.
        let dlb_batch { batch, .. } = *unsafe { Box::from_raw(batch) };
        // SAFETY: the caller gives NULL or a live stream.
        match unsafe { borrowed_stream(stream) } {
            Ok(stream) => batch.release(&stream),
            Err(_) => drop(batch),
        }
    });
}
