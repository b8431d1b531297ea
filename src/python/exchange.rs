//! DLPack's exchange table: consumed where a type offers one, and published on our own `Tensor`.

use super::api::{Object, api};
use super::error::raise;
use super::gil::Gil;
use super::object;
use crate::device::{self, Stream, own_stream};
use crate::dlpack::{
    DLDevice, DLDeviceType, DLManagedTensorVersioned, DLPACK_MAJOR_VERSION, DLPACK_MINOR_VERSION,
    DLPackExchangeAPI, DLPackExchangeAPIHeader, DLPackVersion, DLTensor,
};
use crate::error::{Error, Face, Kind, Result};
use crate::guard::{Foreign, guard};
use crate::tensor::{MAX_NDIM, Tensor};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::{NonNull, null_mut};

pub(super) const CAPSULE_NAME: &CStr = c"dlpack_exchange_api";
pub(super) const ATTRIBUTE: &CStr = c"__dlpack_c_exchange_api__";

/// The table that a type offers, of a major version that we can read.
pub(super) fn table(gil: &Gil, python_type: Object) -> Option<&'static DLPackExchangeAPI> {
    let found = gil.attribute(python_type, ATTRIBUTE).ok().and_then(|capsule| {
        // SAFETY: the GIL is held; a capsule that is valid under this name gives its pointer.
        unsafe {
            let valid = (gil.api.PyCapsule_IsValid)(capsule.object, CAPSULE_NAME.as_ptr()) != 0;
            valid.then(|| (gil.api.PyCapsule_GetPointer)(capsule.object, CAPSULE_NAME.as_ptr()))
        }
    });
    gil.clear();
    let mut header = found?.cast::<DLPackExchangeAPIHeader>();
    // SAFETY: tables are static, and the header is the part that every version keeps.
    while let Some(read) = unsafe { header.as_ref() } {
        if read.version.major == DLPACK_MAJOR_VERSION {
            // SAFETY: this major version, so this layout.
            let table = unsafe { &*header.cast::<DLPackExchangeAPI>() };
            return table.managed_tensor_from_py_object_no_sync.map(|_| table);
        }
        header = read.prev_api;
    }
    None
}

/// Takes a tensor over through a table. Nothing is synchronised, what accesses it comes after the producer's stream.
///
/// # Safety
///
/// The GIL is held; `object` is alive and of the type that offers the table.
pub(super) unsafe fn import(gil: &Gil, table: &DLPackExchangeAPI, object: Object) -> Result<Tensor> {
    let mut managed: *mut DLManagedTensorVersioned = null_mut();
    let status = match table.managed_tensor_from_py_object_no_sync {
        // SAFETY: as promised by the caller; the result is owned by us.
        Some(export) => unsafe { export.call((object, &raw mut managed)) },
        None => -1,
    };
    match NonNull::new(managed) {
        Some(managed) if status == 0 => {
            // SAFETY: the producer gave us a managed tensor to own.
            let tensor = unsafe { Tensor::import_with(managed, super::import::release_versioned) }?;
            come_after(gil, table, &tensor)?;
            Ok(tensor)
        }
        _ => Err(gil.exception()),
    }
}

/// The table of our `Tensor`.
static OURS: Shared = Shared(DLPackExchangeAPI {
    header: DLPackExchangeAPIHeader {
        version: DLPackVersion { major: DLPACK_MAJOR_VERSION, minor: DLPACK_MINOR_VERSION },
        prev_api: null_mut(),
    },
    managed_tensor_allocator: Some(allocate),
    managed_tensor_from_py_object_no_sync: Some(from_object),
    managed_tensor_to_py_object_no_sync: Some(to_object),
    dltensor_from_py_object_no_sync: Some(borrow_object),
    current_work_stream: Some(work_stream),
});

/// Static memory that consumers read for ever.
struct Shared(DLPackExchangeAPI);
// SAFETY: constants only.
unsafe impl Sync for Shared {}

/// A new capsule with our table.
pub(super) fn our_table(gil: &Gil) -> Result<Object> {
    let table = std::ptr::from_ref(&OURS.0).cast_mut().cast::<c_void>();
    // SAFETY: the GIL is held; table and name are static.
    let capsule = unsafe { (gil.api.PyCapsule_New)(table, CAPSULE_NAME.as_ptr(), None) };
    if capsule.is_null() { Err(gil.exception()) } else { Ok(capsule) }
}

/// Runs the body of a table function, with the GIL held by its caller; -1 with an exception set on failure.
fn answer(body: impl FnOnce(&Gil) -> Result<()>) -> c_int {
    let Ok(api) = api() else { return -1 };
    // SAFETY: the table's functions are called with the GIL held, as DLPack asks for.
    let mut gil = unsafe { Gil::held(api) };
    let done = guard(|| body(&gil));
    match gil.settle(done) {
        Ok(()) => 0,
        Err(error) => {
            raise(&gil, &error);
            -1
        }
    }
}

unsafe extern "C" fn from_object(object: *mut c_void, out: *mut *mut DLManagedTensorVersioned) -> c_int {
    answer(|gil| {
        // SAFETY: the caller gives one of our tensors.
        let tensor = unsafe { object::tensor_in(gil, object) }?;
        order(gil, tensor)?;
        // SAFETY: the caller gives a place to write to.
        unsafe { out.write(tensor.clone().into_ordered_export(false, None)?.as_ptr()) };
        Ok(())
    })
}

unsafe extern "C" fn to_object(managed: *mut DLManagedTensorVersioned, out: *mut *mut c_void) -> c_int {
    answer(|gil| {
        let managed = NonNull::new(managed).ok_or(Error::Null { what: "managed" })?;
        // SAFETY: the caller gives the tensor away, and a place to write to.
        unsafe {
            out.write(object::wrap(gil, Tensor::import_with(managed, super::import::release_versioned)?)?)
        };
        Ok(())
    })
}

unsafe extern "C" fn borrow_object(object: *mut c_void, out: *mut DLTensor) -> c_int {
    answer(|gil| {
        // SAFETY: the caller gives one of our tensors.
        let tensor = unsafe { object::tensor_in(gil, object) }?;
        order(gil, tensor)?;
        // SAFETY: one of our tensors; the caller gives a place to write to.
        unsafe {
            object::lend(object);
            out.write(*tensor.view());
        }
        Ok(())
    })
}

/// What comes after our work stream, as consumers of the table do, comes after the copies into the memory. On the host
/// this call waits for them.
fn order(gil: &Gil, tensor: &Tensor) -> Result<()> {
    if tensor.is_settled() {
        return Ok(());
    }
    match own_stream(tensor.device()) {
        Ok(stream) if stream.native().is_some() => {
            // It is not for another thread to drop it meanwhile; one whose turn it is on the stream may want the GIL.
            let tensor = tensor.clone();
            gil.without(|| stream.wait_tensor(&tensor))
        }
        _ => gil.settle_tensor(tensor),
    }
}

/// The library's own stream of the device; NULL where there is none, as on the host.
unsafe extern "C" fn work_stream(device_type: DLDeviceType, device_id: i32, out: *mut *mut c_void) -> c_int {
    answer(|_| {
        let device = DLDevice { device_type, device_id };
        // What nobody here drives has no stream of ours to come after.
        let stream = own_stream(device).ok().filter(|_| device_type == DLDeviceType::CUDA);
        let native = stream.and_then(|stream| stream.native()).unwrap_or(null_mut());
        // SAFETY: the caller gives a place to write to.
        unsafe { out.write(native) };
        Ok(())
    })
}

/// The stream on which the framework behind a table works on a device, as a handle of the driver's; NULL is the default one.
pub(super) fn stream_of(
    gil: &Gil,
    table: &DLPackExchangeAPI,
    device: DLDevice,
) -> Result<Option<*mut c_void>> {
    let Some(ask) = table.current_work_stream else { return Ok(None) };
    let mut stream = null_mut();
    // SAFETY: the GIL is held, and the place is ours.
    if unsafe { ask(device.device_type, device.device_id, &mut stream) } != 0 {
        return Err(gil.exception());
    }
    Ok(Some(stream))
}

/// Has whoever accesses a tensor from a framework wait for what that has queued so far, by an event. Only where there is a
/// driver.
pub(super) fn come_after(gil: &Gil, table: &DLPackExchangeAPI, tensor: &Tensor) -> Result<()> {
    let device = tensor.device();
    if device.device_type != DLDeviceType::CUDA || device::check_device(device).is_err() {
        return Ok(());
    }
    let Some(handle) = stream_of(gil, table, device)? else { return Ok(()) };
    // SAFETY: the framework's stream lives during this call; nothing is kept of it.
    let stream = unsafe { Stream::from_native(device, handle) }?;
    gil.without(|| stream.writes(tensor))
}

/// Allocates a tensor like a prototype, on its device. Needs no GIL.
unsafe extern "C" fn allocate(
    prototype: *mut DLTensor,
    out: *mut *mut DLManagedTensorVersioned,
    context: *mut c_void,
    set_error: Option<unsafe extern "C" fn(*mut c_void, *const c_char, *const c_char)>,
) -> c_int {
    let made = guard(|| {
        if out.is_null() {
            return Err(Error::Null { what: "out" });
        }
        // SAFETY: the caller gives NULL or a description with `ndim` sizes.
        let prototype = unsafe { prototype.as_ref() }.ok_or(Error::Null { what: "prototype" })?;
        let ndim = usize::try_from(prototype.ndim).ok().filter(|&ndim| ndim <= MAX_NDIM);
        let ndim = ndim.ok_or(Error::Ndim { ndim: prototype.ndim.into(), limit: MAX_NDIM })?;
        let shape = match ndim {
            0 => &[],
            _ if prototype.shape.is_null() => return Err(Error::NullShape { ndim: prototype.ndim }),
            // SAFETY: as above.
            _ => unsafe { std::slice::from_raw_parts(prototype.shape, ndim) },
        };
        let export = device::empty(shape, prototype.dtype, prototype.device, false)?.into_export()?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(export.as_ptr()) };
        Ok(())
    });
    let Err(error) = made else { return 0 };
    if let Some(set_error) = set_error {
        let kind = match error.kind() {
            Kind::OutOfMemory => c"MemoryError",
            Kind::Unavailable | Kind::Internal => c"RuntimeError",
            _ => c"ValueError",
        };
        let words = error.c_words(Face::Python);
        // SAFETY: the caller's function with the caller's context; it copies what it keeps.
        unsafe { set_error.call((context, kind.as_ptr(), words.as_ptr())) };
    }
    -1
}
