//! What the package's streams need of the library beyond its C functions.

use super::api::Object;
use super::builtin::Arguments;
use super::gil::Gil;
use super::import::tensor_from;
use super::object;
use super::wanted::device_of;
use crate::device::{Stream, copy_async};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use std::mem::ManuallyDrop;

/// `_device(spelling)`: DLPack's device type and id.
pub(super) fn device(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([spelling], []) = arguments.parse(gil, "_device", [])?;
    let device = device_of(gil, spelling)?;
    Ok(gil.tuple(&[device.device_type.0.into(), device.device_id.into()]))
}

/// `_upload(x, stream)`: a new tensor into which `x` is copied on a `dlb_stream *`, given as an integer.
pub(super) fn upload(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([source, stream], []) = arguments.parse(gil, "_upload", [])?;
    let stream = gil.index(stream)?;
    if stream == 0 {
        return Err(Error::Null { what: "stream" });
    }
    // SAFETY: the package passes the handle of a stream that it holds meanwhile.
    let stream = ManuallyDrop::new(unsafe { Stream::from_raw(stream as usize as *mut _) });
    let source = tensor_from(gil, source)?;
    let destination = Tensor::empty(source.shape(), source.dtype())?;
    // SAFETY: nobody else has the destination, and Python code was told not to write to the source meanwhile.
    unsafe { copy_async(&source, &destination, &stream) }?;
    object::wrap(gil, destination)
}
