//! DLPack capsules: made, opened and destroyed by native code only.

use super::api::{Api, Object, api};
use super::gil::Gil;
use crate::error::{Error, Refusal, Result};
use crate::guard::guard_silent;
use crate::tensor::{Tensor, delete_legacy, delete_versioned};
use std::ffi::{CStr, c_void};
use std::ptr::{NonNull, null_mut};

/// The two structs that travel in capsules.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Abi {
    Versioned,
    Legacy,
}

impl Abi {
    /// The name of a capsule whose tensor is there to be taken.
    pub fn name(self) -> &'static CStr {
        match self {
            Abi::Versioned => c"dltensor_versioned",
            Abi::Legacy => c"dltensor",
        }
    }

    /// The name of a capsule whose tensor was taken.
    pub fn used_name(self) -> &'static CStr {
        match self {
            Abi::Versioned => c"used_dltensor_versioned",
            Abi::Legacy => c"used_dltensor",
        }
    }
}

/// A new capsule with an export of the tensor: versioned, or legacy for consumers older than DLPack 1.0. A new
/// reference. Unless it is consumed, it deletes the export when it is destroyed.
pub fn capsule(tensor: &Tensor, legacy: bool) -> Result<NonNull<c_void>> {
    with_gil(&Gil::take()?, tensor, legacy)
}

/// [`capsule`] for who holds the GIL already.
pub(super) fn with_gil(gil: &Gil, tensor: &Tensor, legacy: bool) -> Result<NonNull<c_void>> {
    if legacy && tensor.is_read_only() {
        return Err(Error::Refused(Refusal::ReadOnlyLegacy));
    }
    gil.settle_tensor(tensor)?;
    if legacy {
        wrap(gil, Abi::Legacy, tensor.export_legacy()?.cast())
    } else {
        wrap(gil, Abi::Versioned, tensor.export()?.cast())
    }
}

/// [`with_gil`] of a copy that was made for the consumer, which is told so where the struct can say it.
pub(super) fn of_copy(gil: &Gil, copy: Tensor, legacy: bool) -> Result<NonNull<c_void>> {
    if legacy {
        return with_gil(gil, &copy, true);
    }
    // SAFETY: new memory, which nobody else has.
    wrap(gil, Abi::Versioned, unsafe { copy.into_copied_export() }?.cast())
}

/// A capsule around an export, which is deleted where there can be none.
fn wrap(gil: &Gil, abi: Abi, managed: NonNull<c_void>) -> Result<NonNull<c_void>> {
    // SAFETY: the GIL is held; pointer and name are not NULL, and the name is static.
    let capsule = unsafe { (gil.api.PyCapsule_New)(managed.as_ptr(), abi.name().as_ptr(), Some(destroy)) };
    NonNull::new(capsule).ok_or_else(|| {
        // SAFETY: the export was not handed to anybody. The tensor is borrowed, so no owner's code runs here.
        unsafe { delete(abi, managed.as_ptr()) };
        gil.exception()
    })
}

/// Whether the object is a capsule. The type cannot be subclassed, so its type decides.
pub(super) fn is_capsule(gil: &Gil, object: Object) -> bool {
    gil.type_of(object) == gil.api.PyCapsule_Type
}

/// The managed tensor that is there to be taken from a capsule, which stays as it is.
pub(super) fn open(gil: &Gil, capsule: Object) -> Option<(Abi, NonNull<c_void>)> {
    // SAFETY: the GIL is held.
    unsafe { content(gil.api, capsule) }
}

/// # Safety
///
/// The GIL is held and `capsule` is a live capsule.
unsafe fn content(api: &Api, capsule: Object) -> Option<(Abi, NonNull<c_void>)> {
    [Abi::Versioned, Abi::Legacy].into_iter().find_map(|abi| {
        let name = abi.name().as_ptr();
        // SAFETY: as promised; a capsule that is valid under this name gives its pointer without an exception.
        let pointer = unsafe {
            if (api.PyCapsule_IsValid)(capsule, name) != 0 {
                (api.PyCapsule_GetPointer)(capsule, name)
            } else {
                null_mut()
            }
        };
        Some((abi, NonNull::new(pointer)?))
    })
}

/// The destructor of our capsules: deletes an export that nobody consumed, and leaves a pending exception as it is.
///
/// # Safety
///
/// Called by CPython, with the GIL held, on a capsule made by [`capsule`].
unsafe extern "C" fn destroy(capsule: Object) {
    guard_silent(|| {
        let Ok(api) = api() else { return };
        // SAFETY: CPython calls destructors with the GIL held.
        let Some((abi, managed)) = (unsafe { content(api, capsule) }) else { return };
        let (mut kind, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
        // SAFETY: the GIL is held; nobody consumed the export, so it is deleted here, once. The deleter may end in
        // the producer's Python code, which must not see or replace an exception that is on its way.
        unsafe {
            (api.PyErr_Fetch)(&mut kind, &mut value, &mut traceback);
            delete(abi, managed.as_ptr());
            (api.PyErr_Restore)(kind, value, traceback);
        }
    });
}

/// # Safety
///
/// `managed` is a live export of this ABI, deleted once.
unsafe fn delete(abi: Abi, managed: *mut c_void) {
    // SAFETY: promised by the caller.
    unsafe {
        match abi {
            Abi::Versioned => delete_versioned(managed),
            Abi::Legacy => delete_legacy(managed),
        }
    }
}
