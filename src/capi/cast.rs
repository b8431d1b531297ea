//! `dlb_cast`: elements as another dtype, and what was lost.

use super::memory::check_size;
use super::status::{dlb_status, output, required, status};
use super::tensor::{borrowed, dlb_tensor};
use crate::copy::{self, Casting, LossReport};
use crate::dlpack::DLDataType;
use crate::error::{Cast, Error, Result};
use std::ffi::c_char;

/// NumPy's kinds: bool, unsigned, signed, floating-point, complex, and no way back. Rounds; a value out of range is an error.
pub const DLB_CASTING_SAME_KIND: i32 = 0;
/// Any dtypes; a value that would not be the same is an error. A NaN may become another NaN, and -0 becomes 0 where the
/// target has none.
pub const DLB_CASTING_SAME_VALUE: i32 = 1;
/// Any dtypes and values, with NumPy's results on x86-64. Integers wrap around. Floating-point numbers without an int32
/// become -2^31, which wraps around, on the way to integers of 8 and 16 bits and int32; without an int64, -2^63. To uint32 and
/// uint64 negative ones wrap around, those too large become 0, NaN and those too small for the signed type its smallest
/// value (NumPy's vectors do that with float32 and float64; NaN and -inf of float16 it makes 0 in uint32). Finite numbers
/// out of range become infinite, and NaN in float8_e4m3fn.
pub const DLB_CASTING_UNSAFE: i32 = 2;
/// Any dtypes and values: what is out of range becomes the nearest in range, and NaN becomes the integer 0.
pub const DLB_CASTING_SATURATE: i32 = 3;

/// How `dlb_cast()` casts. Set `struct_size` to `sizeof(dlb_cast_options)` and the rest to zero, or pass NULL.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_cast_options {
    /// `sizeof(dlb_cast_options)`.
    pub struct_size: usize,
    /// One of `DLB_CASTING_*`.
    pub casting: i32,
}

/// What a cast changed; written on `DLB_OK` and with `DLB_ERROR_LOSSY`. Set `struct_size` to `sizeof(dlb_loss_report)`
/// before the call.
///
/// Every changed element is counted once, as the first of these that is true of it: `nan`, `overflow`, `underflow`, `inexact`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_loss_report {
    /// `sizeof(dlb_loss_report)`.
    pub struct_size: usize,
    /// How many elements were cast.
    pub elements: usize,
    /// Rounded, cut off, or without their imaginary part, whatever it was.
    pub inexact: usize,
    /// Beyond the range of the target: infinite, NaN, wrapped around or clamped.
    pub overflow: usize,
    /// Not zero, and zero in a floating-point target.
    pub underflow: usize,
    /// NaN that the target cannot say.
    pub nan: usize,
    /// The largest distance between a value and what became of it, where both are finite.
    pub max_absolute_error: f64,
    /// The largest such distance in units of the value.
    pub max_relative_error: f64,
    /// Where the first changed element is in row-major order; -1 where there is none.
    pub first: i64,
    /// Its value: the real and the imaginary part, rounded to double.
    pub first_value: [f64; 2],
    /// What became of it.
    pub first_result: [f64; 2],
}

/// The casting that a caller wants.
///
/// # Safety
///
/// `options` is NULL or begins with its size.
unsafe fn casting_of(options: *const dlb_cast_options) -> Result<Casting> {
    if options.is_null() {
        return Ok(Casting::default());
    }
    // SAFETY: promised by the caller; the size was checked.
    read_casting(unsafe { &*check_size(options, "dlb_cast_options")? }.casting)
}

/// What a constant stands for.
pub(super) fn read_casting(casting: i32) -> Result<Casting> {
    match casting {
        DLB_CASTING_SAME_KIND => Ok(Casting::SameKind),
        DLB_CASTING_SAME_VALUE => Ok(Casting::SameValue),
        DLB_CASTING_UNSAFE => Ok(Casting::Unsafe),
        DLB_CASTING_SATURATE => Ok(Casting::Saturate),
        other => Err(Error::Cast(Cast::Casting { given: other.to_string() })),
    }
}

/// Runs a cast that fills in a report where there is a place for it, and gives that to the caller: also where the report
/// is why the cast failed.
///
/// # Safety
///
/// `report` is NULL or begins with its size.
unsafe fn reported<T>(
    report: *mut dlb_loss_report,
    cast: impl FnOnce(Option<&mut LossReport>) -> Result<T>,
) -> Result<T> {
    if report.is_null() {
        return cast(None);
    }
    // SAFETY: promised by the caller.
    let struct_size = unsafe { (*check_size(report, "dlb_loss_report")?).struct_size };
    let mut made = LossReport::default();
    let result = cast(Some(&mut made));
    if matches!(result, Ok(_) | Err(Error::Cast(Cast::Lossy { .. }))) {
        let numbers = made.first.as_ref().map_or([[0.0; 2]; 2], |first| first.numbers);
        let written = dlb_loss_report {
            struct_size,
            elements: made.elements,
            inexact: made.inexact,
            overflow: made.overflow,
            underflow: made.underflow,
            nan: made.nan,
            max_absolute_error: made.max_absolute_error,
            max_relative_error: made.max_relative_error,
            first: made.first.as_ref().map_or(-1, |first| first.flat as i64),
            first_value: numbers[0],
            first_result: numbers[1],
        };
        // SAFETY: as large as it says, which is at least this struct.
        unsafe { report.write(written) };
    }
    result
}

/// Casts the elements of `source` into `destination`, of the same shape and in any layout, as its dtype: bool, int8 to int64,
/// uint8 to uint64, float16 to float64, bfloat16, float8_e4m3fn, float8_e5m2, complex64 and complex128, each to each.
///
/// Rounds to the nearest, ties to even, and cuts off the fraction on the way to an integer. Anything but 0, NaN included, is
/// true. A real type drops the imaginary part. NaNs keep their sign and as much of their payload as there is room for.
/// Threads help from 512 KiB on (`dlb_threads_set()`); results and reports do not depend on how many, nor on the
/// instructions used. Waits for asynchronous copies into either, and out of the destination.
///
/// `options` is borrowed and may be NULL: `DLB_CASTING_SAME_KIND`. `report` may be NULL, which is faster where much is
/// rounded; it is written on success and with `DLB_ERROR_LOSSY`. Meanwhile nobody else may write the source, nor access the
/// destination.
///
/// Fails with `DLB_ERROR_LOSSY` where values do not allow this casting: then every element of `destination` is NaN, the
/// smallest of the signed integers, the largest of the unsigned ones, or true. All other errors leave it as it is:
/// `DLB_ERROR_INVALID_ARGUMENT` (NULL, other shapes, dtypes that this casting does not allow, no casting, a struct size that
/// is none), `DLB_ERROR_READ_ONLY`, `DLB_ERROR_UNSUPPORTED` (other dtypes; indices of the destination may share an
/// element; both share memory; memory that the host cannot reach), and the error of an earlier copy into either that
/// failed. Only after `DLB_ERROR_INTERNAL`, a bug of this library's, it may be half written. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_cast(
    source: *const dlb_tensor,
    destination: *mut dlb_tensor,
    options: *const dlb_cast_options,
    report: *mut dlb_loss_report,
) -> dlb_status {
    status(|| {
        required(source, "source")?;
        required(destination, "destination")?;
        // SAFETY: the caller gives live tensors that nobody else is at, and NULL or structs that begin with their size.
        unsafe {
            let (source, destination, casting) =
                (borrowed(source)?, borrowed(destination)?, casting_of(options)?);
            reported(report, |report| copy::cast_into(&source, &destination, casting, report))
        }
    })
}

/// Makes a row-major tensor of its own with the elements of `source` as another dtype, as `dlb_cast()` does it: writable host
/// memory as `dlb_tensor_empty()` gives it.
///
/// `*out` is owned by the caller: `dlb_tensor_release()`. Fails as `dlb_cast()` and `dlb_tensor_empty()` do; then there is no
/// tensor. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_cast(
    source: *const dlb_tensor,
    dtype: DLDataType,
    options: *const dlb_cast_options,
    report: *mut dlb_loss_report,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    status(|| {
        required(source, "source")?;
        let out = output(out)?;
        // SAFETY: as for `dlb_cast`, and `out` is not NULL.
        unsafe {
            let (source, casting) = (borrowed(source)?, casting_of(options)?);
            let made = reported(report, |report| copy::cast(&source, dtype, casting, report))?;
            out.write(made.into_raw().cast());
        }
        Ok(())
    })
}

/// The name of a casting, as Python takes it: "same_kind", "same_value", "unsafe", "saturate"; "unknown" for any other number.
/// Static, never NULL. Thread-safe.
#[unsafe(no_mangle)]
pub extern "C" fn dlb_casting_name(casting: i32) -> *const c_char {
    match casting {
        DLB_CASTING_SAME_KIND => c"same_kind".as_ptr(),
        DLB_CASTING_SAME_VALUE => c"same_value".as_ptr(),
        DLB_CASTING_UNSAFE => c"unsafe".as_ptr(),
        DLB_CASTING_SATURATE => c"saturate".as_ptr(),
        _ => c"unknown".as_ptr(),
    }
}
