//! `dlb_dtype_*`: names of element types.

use super::status::{dlb_status, output, required, status};
use crate::dlpack::DLDataType;
use crate::error::{Error, Result};
use crate::tensor::dtype;
use std::ffi::{CStr, c_char};
use std::fmt::Display;

/// Writes the name of a dtype into `buffer`, as snprintf would: at most `capacity` bytes with the terminating NUL
/// (32 are always enough for a dtype that DLPack defines). Returns the length the whole name has without the NUL.
///
/// Names follow NumPy and ml_dtypes: `float32`, `uint8`, `bfloat16`, `float8_e4m3fn`, with lanes `float32x4`. What
/// has no name comes out as `dtype(code=42, bits=8, lanes=1)`. `buffer` may be NULL if `capacity` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_dtype_name(dtype: DLDataType, buffer: *mut c_char, capacity: usize) -> usize {
    // SAFETY: the caller gives room for `capacity` bytes.
    unsafe { write_name(dtype::Name(dtype), buffer, capacity) }
}

/// Reads a dtype from its name, as `dlb_dtype_name()` writes it. `name` is a NUL-terminated string, borrowed.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` where `name` or `out` is NULL or the name is not known.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_dtype_parse(name: *const c_char, out: *mut DLDataType) -> dlb_status {
    status(|| {
        let (name, out) = (required(name, "name")?, output(out)?);
        // SAFETY: not NULL, and the caller gives a terminated string.
        let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
        // SAFETY: not NULL, and the caller gives a place to write to.
        unsafe { out.write(dtype::parse(&name)?) };
        Ok(())
    })
}

/// snprintf for anything that displays.
///
/// # Safety
///
/// `buffer` has room for `capacity` bytes, or is NULL.
pub(super) unsafe fn write_name(name: impl Display, buffer: *mut c_char, capacity: usize) -> usize {
    let mut length = 0;
    let written: Result<()> = crate::guard::guard(|| {
        let name = name.to_string();
        length = name.len();
        if buffer.is_null() || capacity == 0 {
            return Err(Error::Null { what: "buffer" });
        }
        let fits = length.min(capacity - 1);
        // SAFETY: `fits` + 1 is at most `capacity`, for which the caller gives room.
        unsafe {
            buffer.copy_from_nonoverlapping(name.as_ptr().cast(), fits);
            buffer.add(fits).write(0);
        }
        Ok(())
    });
    // Without a buffer there is only the length to tell.
    drop(written);
    length
}
