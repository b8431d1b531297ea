//! `dlb_status`: how every function reports, and this thread's last error in words.

use crate::error::{Error, Face, Kind, Result, last};
use crate::guard::guard;
use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

/// What a fallible function returns: `DLB_OK` or one of the errors below. Outputs are written only on `DLB_OK`, a
/// `dlb_loss_report` also with `DLB_ERROR_LOSSY`.
pub type dlb_status = i32;

/// Success.
pub const DLB_OK: dlb_status = 0;
/// An argument is NULL, out of range or makes no sense.
pub const DLB_ERROR_INVALID_ARGUMENT: dlb_status = 1;
/// The DLPack structure is malformed.
pub const DLB_ERROR_INVALID_TENSOR: dlb_status = 2;
/// Valid, but not handled by this library.
pub const DLB_ERROR_UNSUPPORTED: dlb_status = 3;
/// The tensor is read-only and writing was asked for, or a struct that cannot say "read-only".
pub const DLB_ERROR_READ_ONLY: dlb_status = 4;
/// Only a copy could do this, and none was asked for.
pub const DLB_ERROR_COPY_REQUIRED: dlb_status = 5;
/// A value would change, and that was not allowed.
pub const DLB_ERROR_LOSSY: dlb_status = 6;
/// An allocation failed.
pub const DLB_ERROR_OUT_OF_MEMORY: dlb_status = 7;
/// A device driver failed; the message has the driver's name for it.
pub const DLB_ERROR_DEVICE: dlb_status = 8;
/// There is no such device, driver or interpreter here.
pub const DLB_ERROR_UNAVAILABLE: dlb_status = 9;
/// The time given ran out.
pub const DLB_ERROR_TIMEOUT: dlb_status = 10;
/// The other side has shut down: a ring was closed or aborted.
pub const DLB_ERROR_CLOSED: dlb_status = 11;
/// A Python exception was raised; see `dlb_python_import()` for where it is then.
pub const DLB_ERROR_PYTHON: dlb_status = 12;
/// A bug in this library. Nothing was harmed; please report the message.
pub const DLB_ERROR_INTERNAL: dlb_status = 13;

const NAMES: [&CStr; 14] = [
    c"DLB_OK",
    c"DLB_ERROR_INVALID_ARGUMENT",
    c"DLB_ERROR_INVALID_TENSOR",
    c"DLB_ERROR_UNSUPPORTED",
    c"DLB_ERROR_READ_ONLY",
    c"DLB_ERROR_COPY_REQUIRED",
    c"DLB_ERROR_LOSSY",
    c"DLB_ERROR_OUT_OF_MEMORY",
    c"DLB_ERROR_DEVICE",
    c"DLB_ERROR_UNAVAILABLE",
    c"DLB_ERROR_TIMEOUT",
    c"DLB_ERROR_CLOSED",
    c"DLB_ERROR_PYTHON",
    c"DLB_ERROR_INTERNAL",
];

// The codes above are spelled out because the header is generated from them; they are those of `Kind`.
const _: () = {
    let mut index = 0;
    while index < Kind::ALL.len() {
        assert!(Kind::ALL[index] as i32 == index as i32 + 1);
        index += 1;
    }
    assert!(NAMES.len() == Kind::ALL.len() + 1 && DLB_ERROR_INTERNAL == Kind::Internal as i32);
};

thread_local! {
    static MESSAGE: RefCell<CString> = RefCell::default();
}

/// Runs the body of a C function: errors and panics become a status, and their words this thread's message.
pub(super) fn status(body: impl FnOnce() -> Result<()>) -> dlb_status {
    match guard(body) {
        Ok(()) => DLB_OK,
        Err(error) => fail(error),
    }
}

#[cold]
fn fail(error: Error) -> dlb_status {
    // A thread that is being torn down has no message any more; the status still says what went wrong.
    let _ = MESSAGE.try_with(|message| message.replace(error.c_words(Face::C)));
    let status = error.kind() as dlb_status;
    last::keep(error);
    status
}

/// A pointer argument that must not be NULL.
pub(super) fn required<T>(pointer: *const T, what: &'static str) -> Result<*const T> {
    if pointer.is_null() { Err(Error::Null { what }) } else { Ok(pointer) }
}

/// The `count` values at `values`, borrowed; nobody looks at the pointer where there are none.
///
/// # Safety
///
/// `values` is NULL or readable for `count` values, for `'a`.
pub(super) unsafe fn listed<'a, T>(values: *const T, count: usize, what: &'static str) -> Result<&'a [T]> {
    match count {
        0 => Ok(&[]),
        _ if values.is_null() => Err(Error::NullList { what, count }),
        // SAFETY: not NULL, and promised by the caller.
        _ => Ok(unsafe { std::slice::from_raw_parts(values, count) }),
    }
}

/// An output argument that must not be NULL.
pub(super) fn output<T>(pointer: *mut T) -> Result<*mut T> {
    if pointer.is_null() { Err(Error::Null { what: "out" }) } else { Ok(pointer) }
}

/// The version of the library that is loaded, such as `"0.1.0"`; `DLB_VERSION` is that of the header. Static, never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dlb_version() -> *const c_char {
    const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");
    VERSION.as_ptr().cast()
}

/// Why this thread's last failing call failed: what is wrong, with the values, and what to do about it. UTF-8.
///
/// Never NULL; empty if nothing failed yet. A call that succeeds leaves it alone. Borrowed: valid until this thread
/// calls dlbridge again.
#[unsafe(no_mangle)]
pub extern "C" fn dlb_error_message() -> *const c_char {
    MESSAGE.try_with(|message| message.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// The name of a status code, such as `"DLB_ERROR_READ_ONLY"`; `"DLB_ERROR_UNKNOWN"` for any other number. Static,
/// never NULL.
#[unsafe(no_mangle)]
pub extern "C" fn dlb_status_name(status: dlb_status) -> *const c_char {
    let name = usize::try_from(status).ok().and_then(|index| NAMES.get(index));
    name.unwrap_or(&c"DLB_ERROR_UNKNOWN").as_ptr()
}
