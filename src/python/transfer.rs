//! Copies from device to device, which are asked for: `upload`, `download`, `device=`.

use super::api::Object;
use super::builtin::Arguments;
use super::gil::Gil;
use super::import::tensor_from;
use super::object;
use super::wanted::device_of;
use crate::device::{Event, Stream, copy_async, own_stream};
use crate::dlpack::DLDevice;
use crate::error::Result;
use crate::guard::foreign;
use crate::tensor::{Tensor, device};
use std::ffi::c_void;
use std::mem::ManuallyDrop;

/// `_device(spelling)`: DLPack's device type and id.
pub(super) fn device(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([spelling], []) = arguments.parse(gil, "_device", [])?;
    let device = device_of(gil, spelling)?;
    Ok(gil.tuple(&[device.device_type.0.into(), device.device_id.into()]))
}

/// `_upload(x, device, stream)`: a new tensor on the device into which `x` is copied, on a `dlb_stream *` that is given as
/// an integer, 0 for the library's own.
pub(super) fn upload(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([source, device, stream], []) = arguments.parse(gil, "_upload", [])?;
    let device = device_of(gil, device)?;
    crate::device::check_device(device)?;
    let stream = stream_in(gil, stream)?;
    let source = tensor_from(gil, source)?;
    object::wrap(gil, begin(gil, &source, device, stream.as_deref())?.0)
}

/// `_download(x, stream)`: a new tensor in host memory, and the `dlb_event *`, owned by the caller, that says when it may
/// be looked at.
pub(super) fn download(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([source, stream], []) = arguments.parse(gil, "_download", [])?;
    let stream = stream_in(gil, stream)?;
    let source = tensor_from(gil, source)?;
    let (tensor, event) = begin(gil, &source, DLDevice::CPU, stream.as_deref())?;
    let tensor = gil.own(object::wrap(gil, tensor)?).ok_or_else(|| gil.exception())?;
    let event = event.into_raw();
    // SAFETY: the GIL is held; the format matches the arguments: an object, and an address as an unsigned number.
    let pair = unsafe {
        foreign(|| (gil.api.Py_BuildValue)(c"(OK)".as_ptr(), tensor.object, event as usize as u64))
    };
    if pair.is_null() {
        // SAFETY: nobody got it.
        unsafe { Event::release_raw(event) };
        return Err(gil.exception());
    }
    Ok(pair)
}

/// `_wait(event)`: waits for a `dlb_event *` that is given as an integer, for as long as it takes.
pub(super) fn wait(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([event], []) = arguments.parse(gil, "_wait", [])?;
    // SAFETY: the package passes the handle of an event that it holds meanwhile.
    let event = unsafe { Event::borrow_raw(gil.index(event)? as usize as *const c_void) };
    gil.wait_event(&event)?;
    gil.none()
}

/// `tensor` on another device: itself where it is there; pinned memory as plain memory of the host, which it is; else a
/// copy under way, which whoever reaches its elements waits for.
pub(super) fn moved(gil: &Gil, tensor: &Tensor, wanted: DLDevice) -> Result<Tensor> {
    if tensor.device() == wanted {
        return Ok(tensor.clone());
    }
    if wanted == DLDevice::CPU && device::is_pinned(tensor.device()) {
        return tensor.on_host();
    }
    begin(gil, tensor, wanted, None).map(|(moved, _)| moved)
}

/// A copy under way in new memory of the same device.
pub(super) fn duplicate(gil: &Gil, tensor: &Tensor) -> Result<Tensor> {
    begin(gil, tensor, tensor.device(), None).map(|(copied, _)| copied)
}

/// Begins a copy into memory of its own on a device.
fn begin(gil: &Gil, source: &Tensor, to: DLDevice, stream: Option<&Stream>) -> Result<(Tensor, Event)> {
    // The driver may take its time, for pinning memory and for staging what is not pinned.
    gil.without(|| {
        let own;
        let stream = match stream {
            Some(stream) => stream,
            None => {
                own = own_stream(if device::is_host(to) { driven(source.device()) } else { to })?;
                &own
            }
        };
        let destination = crate::device::empty_for(source, to)?;
        // SAFETY: nobody else has the destination, and Python code was told not to write to the source meanwhile.
        let event = unsafe { copy_async(source, &destination, stream) }?;
        // Pinned or not, it is the host's memory that was asked for, which not every consumer takes under another name.
        Ok((if to == DLDevice::CPU { destination.on_host()? } else { destination }, event))
    })
}

/// The device whose streams reach memory of this one.
fn driven(device: DLDevice) -> DLDevice {
    if device::is_host(device) { DLDevice::CPU } else { device }
}

/// A `dlb_stream *` of the package as an integer; 0 is none.
fn stream_in(gil: &Gil, value: Object) -> Result<Option<ManuallyDrop<Stream>>> {
    let raw = gil.index(value)? as usize as *mut c_void;
    // SAFETY: the package passes the handle of a stream that it holds meanwhile; its reference is left alone.
    Ok((!raw.is_null()).then(|| ManuallyDrop::new(unsafe { Stream::from_raw(raw) })))
}
