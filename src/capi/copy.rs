//! `dlb_copy` and what belongs to it: elements moved from one layout to another, now.

use super::memory::check_size;
use super::status::{dlb_status, output, required, status};
use super::tensor::{borrowed, dlb_tensor};
use crate::copy::{self, Options, Order, Report};
use crate::error::{Error, Refusal, Result};
use std::ffi::{CStr, c_char};

/// Row-major: the last dimension packed.
pub const DLB_ORDER_C: i32 = 0;
/// Column-major: the first dimension packed.
pub const DLB_ORDER_F: i32 = 1;
/// Column-major where the source is, row-major where not.
pub const DLB_ORDER_A: i32 = 2;
/// As near to the source as is possible without gaps.
pub const DLB_ORDER_K: i32 = 3;

/// How `dlb_copy()` copies. Set `struct_size` to `sizeof(dlb_copy_options)` and the rest to zero, or pass NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_copy_options {
    /// `sizeof(dlb_copy_options)`.
    pub struct_size: usize,
    /// Not 0 to put the bytes of every element (of a complex one: of each part) in the other order.
    pub swap_bytes: i32,
    /// Of a new tensor, for `dlb_tensor_copy()`: one of `DLB_ORDER_C`, `_F`, `_A`, `_K`.
    pub order: i32,
}

/// What a copy did, or would do. Set `struct_size` to `sizeof(dlb_copy_report)` before the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_copy_report {
    /// `sizeof(dlb_copy_report)`.
    pub struct_size: usize,
    /// What moves the elements: "contiguous", "transposed", "split channels", "merged channels", "stepped", "repeated",
    /// "reversed", "shuffled", "byte-swapped", "packed bits" or "nothing"; later versions may have more. Static.
    pub kernel: *const c_char,
    /// Bytes that are written to the destination.
    pub bytes: usize,
    /// Bytes of the temporary that source and destination need where they share memory, else 0.
    pub temporary: usize,
    /// How often the elements are moved: 2 through a temporary, 0 where there is nothing to do, else 1.
    pub passes: i32,
    /// How many threads share the work at most.
    pub threads: i32,
}

/// The options of a caller, or the usual ones.
///
/// # Safety
///
/// `options` is NULL or begins with its size.
unsafe fn options_of(options: *const dlb_copy_options) -> Result<(Options, Order)> {
    if options.is_null() {
        return Ok(Default::default());
    }
    // SAFETY: promised by the caller; the size was checked.
    let given = unsafe { &*check_size(options, "dlb_copy_options")? };
    let order = match given.order {
        DLB_ORDER_C => Order::C,
        DLB_ORDER_F => Order::F,
        DLB_ORDER_A => Order::A,
        DLB_ORDER_K => Order::K,
        other => return Err(Error::Refused(Refusal::UnknownOrder { given: other.to_string() })),
    };
    Ok((Options { swap_bytes: given.swap_bytes != 0 }, order))
}

/// Checks a place for a report, before anything moves.
///
/// # Safety
///
/// `report` is NULL or begins with its size.
unsafe fn check_report(report: *const dlb_copy_report) -> Result<()> {
    // SAFETY: promised by the caller.
    if report.is_null() { Ok(()) } else { unsafe { check_size(report, "dlb_copy_report") }.map(drop) }
}

/// Writes a report where there is a place for it; its size stays.
///
/// # Safety
///
/// `report` is NULL or was passed by [`check_report`].
unsafe fn give_report(made: Report, report: *mut dlb_copy_report) {
    // SAFETY: promised by the caller.
    if let Some(report) = unsafe { report.as_mut() } {
        *report = dlb_copy_report {
            struct_size: report.struct_size,
            kernel: made.kernel_c().as_ptr(),
            bytes: made.bytes,
            temporary: made.temporary,
            passes: made.passes as i32,
            threads: made.threads as i32,
        };
    }
}

/// Copies the elements of `source` to where `destination`, of the same shape and dtype, has those of the same indices.
///
/// Strides may be anything: negative, zero (in the source), permuted, with gaps. Both lie in host memory. Where they share
/// memory the elements go through a temporary, unless they are one packed run: the destination is what it would be if they
/// did not. Waits for asynchronous copies into either, and out of the destination. Bytes between elements are left alone.
/// Where sub-byte elements end within a byte, its other bits stay as well: it is read and written back, so that two threads
/// which write slices that share a byte race, whichever bits of it are theirs.
/// From 512 KiB on (1 MiB where both sides are packed) the threads of `dlb_threads_set()` share the work.
///
/// `options` is borrowed and may be NULL; `report` is written on success and may be NULL. Meanwhile nobody else may write
/// the source, nor access the destination. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, other shapes or dtypes, a struct
/// size that is none), `DLB_ERROR_READ_ONLY`, `DLB_ERROR_UNSUPPORTED` (indices of the destination may share an element;
/// sub-byte elements that are not packed row-major; memory that the host cannot reach), `DLB_ERROR_OUT_OF_MEMORY` (for the
/// temporary), and with the error of an earlier copy into either that failed. Nothing is written then. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_copy(
    source: *const dlb_tensor,
    destination: *mut dlb_tensor,
    options: *const dlb_copy_options,
    report: *mut dlb_copy_report,
) -> dlb_status {
    status(|| {
        required(source, "source")?;
        required(destination, "destination")?;
        // SAFETY: the caller gives live tensors that nobody else is at, and NULL or structs that begin with their size.
        unsafe {
            check_report(report)?;
            let (source, destination) = (borrowed(source)?, borrowed(destination)?);
            let made = copy::copy(&source, &destination, options_of(options)?.0)?;
            give_report(made, report);
        }
        Ok(())
    })
}

/// Says in `*report` what `dlb_copy()` with these arguments would do, and moves nothing. Fails as `dlb_copy()` does, but
/// for memory. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_copy_plan(
    source: *const dlb_tensor,
    destination: *const dlb_tensor,
    options: *const dlb_copy_options,
    report: *mut dlb_copy_report,
) -> dlb_status {
    status(|| {
        required(source, "source")?;
        required(destination, "destination")?;
        required(report, "report")?;
        // SAFETY: as above; nothing is moved.
        unsafe {
            check_report(report)?;
            let (source, destination) = (borrowed(source)?, borrowed(destination)?);
            let made = copy::plan(&source, &destination, options_of(options)?.0)?;
            give_report(made, report);
        }
        Ok(())
    })
}

/// Makes a tensor of its own with the elements of `source`: writable host memory as `dlb_tensor_empty()` gives it, from
/// 1 MiB on from the shared pool, without gaps, in the order that `options` says (row-major where it is NULL).
///
/// `*out` is owned by the caller: `dlb_tensor_release()`. `report` may be NULL. Fails as `dlb_copy()` and
/// `dlb_tensor_empty()` do. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_copy(
    source: *const dlb_tensor,
    options: *const dlb_copy_options,
    report: *mut dlb_copy_report,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    status(|| {
        required(source, "source")?;
        let out = output(out)?;
        // SAFETY: as for `dlb_copy`, and `out` is not NULL.
        unsafe {
            check_report(report)?;
            let (options, order) = options_of(options)?;
            let (tensor, made) = copy::new_with(&*borrowed(source)?, order, options)?;
            give_report(made, report);
            out.write(tensor.into_raw().cast());
        }
        Ok(())
    })
}

/// How many threads share the work of one large call, the caller's among them: what `dlb_threads_set()` said, else the
/// environment variable `DLB_NUM_THREADS`, else as many as processors that this process may use. Thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn dlb_threads_get() -> usize {
    copy::num_threads()
}

/// Changes that for the calls from now on, of all threads; at most 1024, 1 for no others, 0 for what the environment or the
/// machine says.
///
/// The threads are started when first needed, sleep between calls, and block the program's signals. A child of `fork()`
/// starts its own. Thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn dlb_threads_set(count: usize) {
    copy::set_num_threads(count);
}

/// The instructions that copies use: "portable", "avx2" or "avx512", the best that the processor has or what the
/// environment variable `DLB_SIMD` asked for. The bits are the same with all. Static, never NULL. Thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn dlb_simd_level() -> *const c_char {
    const NAMES: [&CStr; 3] = [c"portable", c"avx2", c"avx512"];
    let level = copy::simd_level();
    NAMES.iter().find(|name| name.to_bytes() == level.as_bytes()).map_or(c"".as_ptr(), |name| name.as_ptr())
}
