//! `dlb_tensor_slice` and its kin: views that share the buffer and its owner.

use super::status::{dlb_status, listed};
use super::tensor::{borrowed, create, dlb_tensor};
use crate::dlpack::DLDataType;
use crate::error::{Error, Result};

/// As `start` or `stop` of `dlb_tensor_slice()`: from, or to, the very end, as an omitted bound in Python.
pub const DLB_SLICE_END: i64 = i64::MIN;

/// The `count` values at `values`, borrowed for the call.
///
/// # Safety
///
/// `values` is readable for `count` values, or NULL.
pub(super) unsafe fn list<'a>(values: *const i64, count: i32, what: &'static str) -> Result<&'a [i64]> {
    let count = usize::try_from(count).map_err(|_| Error::NegativeCount { what, count })?;
    // SAFETY: promised by the caller.
    unsafe { listed(values, count, what) }
}

/// `tensor[..., start:stop:step, ...]` along `axis`, with Python's rules: negative positions count from the end,
/// positions outside are clamped, `DLB_SLICE_END` stands for an omitted bound, `step` may be negative but not 0. A
/// negative `axis` counts from the last.
///
/// Like every view: `tensor` is borrowed, nothing is copied, `*out` shares the buffer, keeps its owner alive, inherits
/// read-only, and is owned by the caller: `dlb_tensor_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, an
/// axis that is not there, step 0, a result that does not fit 63 bits of bytes), `DLB_ERROR_UNSUPPORTED` (packed
/// sub-byte elements, and the view would not start on a byte), `DLB_ERROR_OUT_OF_MEMORY`. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_slice(
    tensor: *const dlb_tensor,
    axis: i32,
    start: i64,
    stop: i64,
    step: i64,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    let bound = |position: i64| Some(position).filter(|&position| position != DLB_SLICE_END);
    // SAFETY: the caller gives NULL or a live tensor, and NULL or a place to write to.
    unsafe { create(out, || borrowed(tensor)?.slice(axis.into(), bound(start), bound(stop), step)) }
}

/// `tensor[..., index, ...]` along `axis`, which disappears. A negative `index` counts from the end. A view, as
/// `dlb_tensor_slice()` says; an index outside is `DLB_ERROR_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_select(
    tensor: *const dlb_tensor,
    axis: i32,
    index: i64,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: as in `dlb_tensor_slice`.
    unsafe { create(out, || borrowed(tensor)?.select(axis.into(), index)) }
}

/// The axes in another order: axis `i` of the result is axis `axes[i]` of `tensor`; `{0, 3, 1, 2}` makes NCHW of NHWC.
/// `axes` holds `ndim` values, borrowed, each axis once; negative ones count from the last. A view, as
/// `dlb_tensor_slice()` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_permute(
    tensor: *const dlb_tensor,
    axes: *const i64,
    ndim: i32,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: as in `dlb_tensor_slice`; `axes` is readable for `ndim` values.
    unsafe { create(out, || borrowed(tensor)?.permute(list(axes, ndim, "axes")?)) }
}

/// Broadcasts to `shape` (`ndim` values, borrowed): dimensions of size 1 grow with stride 0, missing ones appear in
/// front. A view, as `dlb_tensor_slice()` says; where a dimension grows, indices share elements, so the result is
/// read-only. A shape that does not broadcast is `DLB_ERROR_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_expand(
    tensor: *const dlb_tensor,
    shape: *const i64,
    ndim: i32,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: as in `dlb_tensor_slice`; `shape` is readable for `ndim` values.
    unsafe { create(out, || borrowed(tensor)?.expand(list(shape, ndim, "shape")?)) }
}

/// Removes `axis`, which must have size 1 (else `DLB_ERROR_INVALID_ARGUMENT`). A view, as `dlb_tensor_slice()` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_squeeze(
    tensor: *const dlb_tensor,
    axis: i32,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: as in `dlb_tensor_slice`.
    unsafe { create(out, || borrowed(tensor)?.squeeze(axis.into())) }
}

/// Inserts an axis of size 1 at position `axis` of the result; -1 puts it last. A view, as `dlb_tensor_slice()` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_unsqueeze(
    tensor: *const dlb_tensor,
    axis: i32,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: as in `dlb_tensor_slice`.
    unsafe { create(out, || borrowed(tensor)?.unsqueeze(axis.into())) }
}

/// The same elements in the same row-major order under another `shape` (`ndim` values, borrowed; one of them may be
/// -1, to be worked out). A view, as `dlb_tensor_slice()` says: where the strides allow none it fails with
/// `DLB_ERROR_COPY_REQUIRED` rather than copy. Another number of elements is `DLB_ERROR_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_reshape(
    tensor: *const dlb_tensor,
    shape: *const i64,
    ndim: i32,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: as in `dlb_tensor_slice`; `shape` is readable for `ndim` values.
    unsafe { create(out, || borrowed(tensor)?.reshape(list(shape, ndim, "shape")?)) }
}

/// The same bytes as another dtype. Where the element sizes differ, the last dimension shrinks or grows to fit and
/// must lie packed (stride 1). A view, as `dlb_tensor_slice()` says; where the sizes do not fit (for a 0-d tensor they
/// never do) it fails with `DLB_ERROR_UNSUPPORTED`, for a dtype that cannot exist with `DLB_ERROR_INVALID_ARGUMENT`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_reinterpret(
    tensor: *const dlb_tensor,
    dtype: DLDataType,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: as in `dlb_tensor_slice`.
    unsafe { create(out, || borrowed(tensor)?.reinterpret(dtype)) }
}

/// The same memory, marked read-only: mutable access and legacy exports are refused, and consumers are told. A view,
/// as `dlb_tensor_slice()` says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_read_only(
    tensor: *const dlb_tensor,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: as in `dlb_tensor_slice`.
    unsafe { create(out, || borrowed(tensor)?.read_only()) }
}
