//! `dlb_python_*`: the door to the Python interpreter of this process.

use super::status::{dlb_status, output, required, status};
use super::tensor::{borrowed, dlb_tensor};
use crate::error::Error;
use crate::python;
use std::ffi::{c_int, c_void};
use std::ptr::NonNull;

/// Takes a tensor over from a Python object: anything with `__dlpack__` (NumPy, PyTorch, JAX, ...), or a DLPack
/// capsule, which is consumed. No copy is made.
///
/// `object` is a `PyObject *`, borrowed; the tensor keeps what it needs of it alive. The function takes the GIL
/// itself, so it may be called with or without it, from any thread, also through ctypes.CDLL and cffi. The
/// interpreter's functions are looked up in the running process: a program without Python may link this library. It
/// serves the main interpreter only, and must not be called from a sub-interpreter.
/// `*out` is owned by the caller: `dlb_tensor_release()`, which may be called without the GIL.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL; no producer; a capsule that is used, or no DLPack capsule: it is
/// left untouched), `DLB_ERROR_UNAVAILABLE` (no interpreter in this process, or it is shutting down),
/// `DLB_ERROR_PYTHON` (the producer raised: where the caller held the GIL the exception stays set, otherwise it is
/// cleared; the message has its words either way), and as `dlb_tensor_import()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_python_import(object: *mut c_void, out: *mut *mut dlb_tensor) -> dlb_status {
    status(|| {
        let out = output(out)?;
        let object = NonNull::new(object).ok_or(Error::Null { what: "object" })?;
        // SAFETY: not NULL, so a live Python object.
        let tensor = unsafe { python::import(object) }?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(tensor.into_raw().cast()) };
        Ok(())
    })
}

/// Exports a tensor in a Python capsule: `dltensor_versioned`, or `dltensor` where `legacy` is not 0.
///
/// `tensor` is borrowed. `*out_capsule` is a new reference to a `PyObject *`, owned by the caller. A capsule that is
/// not consumed deletes its export when it is destroyed, in native code, leaving a pending exception alone. The
/// function takes the GIL itself, as `dlb_python_import()` does.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL), `DLB_ERROR_READ_ONLY` (legacy, and the tensor is read-only),
/// `DLB_ERROR_UNAVAILABLE` (no interpreter), `DLB_ERROR_OUT_OF_MEMORY`, `DLB_ERROR_PYTHON`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_python_capsule(
    tensor: *const dlb_tensor,
    legacy: c_int,
    out_capsule: *mut *mut c_void,
) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live tensor.
        let tensor = unsafe { borrowed(tensor) }?;
        let out = required(out_capsule, "out_capsule")?.cast_mut();
        let capsule = python::capsule(&tensor, legacy != 0)?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(capsule.as_ptr()) };
        Ok(())
    })
}

/// Not for applications: makes the module of builtins that the Python package is built on. Others have
/// `dlb_python_import()`.
///
/// `exceptions` is a borrowed tuple of 17 exception classes: by status code, then those for objects that are no arrays,
/// for indices outside and for arguments of a wrong type; behind them the function that makes a `LossReport`.
/// `*out_module` is a new reference, owned by the caller. Takes the GIL itself. Fails with
/// `DLB_ERROR_INVALID_ARGUMENT` (NULL), `DLB_ERROR_UNAVAILABLE` (no interpreter, or a sub-interpreter),
/// `DLB_ERROR_PYTHON`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_python_module(
    exceptions: *mut c_void,
    out_module: *mut *mut c_void,
) -> dlb_status {
    status(|| {
        let exceptions = NonNull::new(exceptions).ok_or(Error::Null { what: "exceptions" })?;
        let out = required(out_module, "out_module")?.cast_mut();
        // SAFETY: not NULL, so a live tuple of classes, as the caller promises.
        let module = unsafe { python::module(exceptions) }?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(module.as_ptr()) };
        Ok(())
    })
}
