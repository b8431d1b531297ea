//! CUDA: not driven by this version, and why.

use std::ffi::CStr;

/// Why there is no CUDA device to make streams on.
pub(super) fn why_not() -> String {
    // SAFETY: the name is terminated. Loading the driver starts nothing, and it stays loaded, as its users want it.
    let driver = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_LAZY | libc::RTLD_LOCAL) };
    if !driver.is_null() {
        return "this version of dlbridge drives no CUDA device".to_owned();
    }
    // SAFETY: after a failure `dlerror` gives this thread's words, or NULL.
    let words = unsafe { libc::dlerror().as_ref() }.map(|words| {
        // SAFETY: a terminated string, valid until this thread's next call of that kind.
        unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
    });
    format!("libcuda.so.1 cannot be loaded ({})", words.unwrap_or_default())
}
