//! DLPack capsules: made, opened and destroyed by native code only.

use super::api::{Api, Object, api};
use super::gil::Gil;
use crate::dlpack::{DLManagedTensor, DLManagedTensorVersioned};
use crate::error::{Error, Refusal, Result};
use crate::guard::guard_silent;
use crate::tensor::{LetGo, Tensor, delete_legacy, delete_versioned, tensor_in};
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
/// reference. Unless it is consumed, it deletes the export when it is destroyed. Waits for the copies into the memory.
pub fn capsule(tensor: &Tensor, legacy: bool) -> Result<NonNull<c_void>> {
    let gil = Gil::take()?;
    gil.settle_tensor(tensor)?;
    ordered(&gil, tensor, legacy, false, None)
}

/// [`capsule`] for who has ordered the consumer behind the copies into the memory. `copied` says that the memory was made
/// for this export, `let_go` what is to be done when the consumer lets go.
pub(super) fn ordered(
    gil: &Gil,
    tensor: &Tensor,
    legacy: bool,
    copied: bool,
    let_go: Option<LetGo>,
) -> Result<NonNull<c_void>> {
    if legacy && tensor.is_read_only() {
        return Err(Error::Refused(Refusal::ReadOnlyLegacy));
    }
    let tensor = tensor.clone();
    let (abi, managed) = if legacy {
        (Abi::Legacy, tensor.into_ordered_legacy_export(let_go)?.cast::<c_void>())
    } else {
        (Abi::Versioned, tensor.into_ordered_export(copied, let_go)?.cast::<c_void>())
    };
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
        // SAFETY: promised by the caller.
        Some((abi, unsafe { named(api, capsule, abi.name()) }?))
    })
}

/// What is in a capsule of this name.
///
/// # Safety
///
/// The GIL is held and `capsule` is a live capsule.
unsafe fn named(api: &Api, capsule: Object, name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: as promised; a capsule that is valid under this name gives its pointer without an exception.
    unsafe {
        let valid = (api.PyCapsule_IsValid)(capsule, name.as_ptr()) != 0;
        if valid { NonNull::new((api.PyCapsule_GetPointer)(capsule, name.as_ptr())) } else { None }
    }
}

/// The tensor of ours whose export NumPy keeps in this capsule, which is the base of what `numpy.from_dlpack` made.
///
/// # Safety
///
/// The GIL is held and `capsule` is a capsule that lives for `'a`.
pub(super) unsafe fn kept_by_numpy<'a>(gil: &Gil, capsule: Object) -> Option<&'a Tensor> {
    // SAFETY: promised by the caller; under these names NumPy keeps a managed tensor of this ABI, until the capsule dies.
    unsafe {
        if let Some(managed) = named(gil.api, capsule, c"numpy_dltensor_versioned") {
            return tensor_in(managed.cast::<DLManagedTensorVersioned>());
        }
        tensor_in(named(gil.api, capsule, c"numpy_dltensor")?.cast::<DLManagedTensor>())
    }
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
