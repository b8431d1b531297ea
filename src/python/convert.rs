//! `from_dlpack`, `to_numpy`, `to_torch`: the functions that users call.

use super::api::Object;
use super::builtin::Arguments;
use super::cast::Request;
use super::gil::{Gil, Owned};
use super::import::{from_described, tensor_from};
use super::kind::{self, Kind};
use super::numpy::Numpy;
use super::object;
use super::torch::Torch;
use super::wanted::{check_device, other_dtype, read_dtype};
use crate::dlpack::DLPackExchangeAPI;
use crate::error::{Cast, Error, LossReport, Refusal, Result};
use crate::tensor::{Tensor, device, dtype};
use std::ffi::CStr;

pub(super) fn from_dlpack(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([source], [wanted, copy]) = arguments.parse(gil, "from_dlpack", ["device", "copy"])?;
    if is_true(gil, copy)? {
        return Err(Error::Refused(Refusal::NoCopy {
            remedy: "copy before, for example numpy.array(x) or x.clone()",
        }));
    }
    if let Kind::Tensor = kind::of(gil, source)
        && wanted.is_null()
    {
        return Ok(gil.share(source).into_raw());
    }
    let tensor = tensor_from(gil, source)?;
    confirm_device(gil, &tensor, wanted)?;
    object::wrap(gil, tensor)
}

pub(super) fn to_numpy(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let keywords = ["copy", "dtype", "casting", "report"];
    let ([source], [copy, dtype, casting, report]) = arguments.parse(gil, "to_numpy", keywords)?;
    let (numpy, request) = (Numpy::get(gil)?, Request::read(gil, casting, report)?);
    if let Some((made, report)) = cast_first(gil, &request, source, dtype, copy)? {
        return request.answer(gil, array_of(gil, numpy, &made)?, report);
    }
    let array = match kind::of(gil, source) {
        Kind::Numpy(_) => gil.share(source),
        Kind::Torch(Some(table)) => torch_array(gil, numpy, table, source)?,
        _ => array_of(gil, numpy, &tensor_from(gil, source)?)?,
    };
    let array = if is_true(gil, copy)? { called(gil, array.object, c"copy")? } else { array };
    request.answer(gil, array, None)
}

/// The cast that `dtype` asks for, where it is not the dtype of the source.
fn cast_first(
    gil: &Gil,
    request: &Request,
    source: Object,
    wanted: Object,
    copy: Object,
) -> Result<Option<(Tensor, Option<LossReport>)>> {
    let Some(wanted) = gil.given(wanted) else { return Ok(None) };
    let known = matches!(kind::of(gil, source), Kind::Numpy(_) | Kind::Torch(_) | Kind::TorchSubclass);
    if known && other_dtype(gil, source, wanted)?.is_none() {
        return Ok(None);
    }
    let (tensor, dtype) = (tensor_from(gil, source)?, read_dtype(gil, wanted)?);
    if tensor.dtype() == dtype {
        return Ok(None);
    }
    if gil.given(copy).is_some() && !gil.truth(copy)? {
        let [from, to] = [tensor.dtype(), dtype].map(|dtype| dtype::Name(dtype).to_string());
        return Err(Error::Cast(Cast::CopyForbidden { from, to }));
    }
    request.cast(gil, &tensor, dtype, None).map(Some)
}

/// An array on the memory of a torch tensor, whose storage it keeps alive.
fn torch_array<'gil>(
    gil: &'gil Gil,
    numpy: &Numpy,
    table: &DLPackExchangeAPI,
    source: Object,
) -> Result<Owned<'gil>> {
    let torch = Torch::get(gil)?;
    // SAFETY: the GIL is held and `source` is a torch.Tensor.
    let described = unsafe { torch.describe(gil, table, source) }?;
    let view = &described.view;
    // The short way is for what needs neither another check nor Python code: the rest goes through a tensor.
    if device::is_host(view.device) && !view.data.is_null() && view.byte_offset == 0 && numpy.has(view.dtype)
    {
        return numpy.array(gil, view, true, Some(described.storage.object));
    }
    // SAFETY: the GIL is held; no Python code has run since torch described the tensor.
    array_of(gil, numpy, &unsafe { from_described(gil, torch, described, source) }?)
}

/// An array on the memory of a tensor, which it keeps alive.
pub(super) fn array_of<'gil>(gil: &'gil Gil, numpy: &Numpy, tensor: &Tensor) -> Result<Owned<'gil>> {
    if !device::is_host(tensor.device()) {
        return Err(Error::Refused(Refusal::NotHostNumpy {
            device: device::Name(tensor.device()).to_string(),
        }));
    }
    gil.settle_tensor(tensor)?;
    let holder = gil.own(object::wrap(gil, tensor.clone())?).ok_or_else(|| gil.exception())?;
    numpy.array(gil, tensor.view(), !tensor.is_read_only(), Some(holder.object))
}

pub(super) fn to_torch(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let keywords = ["copy", "readonly", "dtype", "device", "casting", "report"];
    let ([source], [copy, readonly, dtype, wanted, casting, report]) =
        arguments.parse(gil, "to_torch", keywords)?;
    let request = Request::read(gil, casting, report)?;
    let (always, read_only) = (is_true(gil, copy)?, ReadOnly::from(gil, readonly)?);
    let never = !always && gil.given(copy).is_some();
    let torch = Torch::get(gil)?;
    let kind = kind::of(gil, source);
    let is_torch = matches!(kind, Kind::Torch(_) | Kind::TorchSubclass);
    if let Some(wanted) = gil.given(wanted).filter(|_| is_torch) {
        check_device(gil, &gil.attribute_text(source, c"device"), wanted)?;
    }
    if let Some((made, report)) = cast_first(gil, &request, source, dtype, copy)? {
        confirm_device(gil, &made, wanted)?;
        return request.answer(gil, make_torch(gil, torch, made, false)?, report);
    }
    if is_torch {
        let made = if always { called(gil, source, c"clone")? } else { gil.share(source) };
        return request.answer(gil, made, None);
    }
    // NumPy copies whatever it has, strides that DLPack or torch cannot say included.
    let numpy_copy =
        if always && matches!(kind, Kind::Numpy(_)) { Some(call(gil, source, c"copy")?) } else { None };
    let numpy_copy = numpy_copy.and_then(|copied| gil.own(copied));
    let tensor = tensor_from(gil, numpy_copy.as_ref().map_or(source, |copied| copied.object))?;
    confirm_device(gil, &tensor, wanted)?;
    let protects = tensor.is_read_only() && read_only == ReadOnly::Copy;
    let copies = numpy_copy.is_none() && (always || protects);
    if tensor.is_read_only() && !always && read_only == ReadOnly::Error {
        return Err(Error::Refused(Refusal::ReadOnlyTorch));
    }
    if copies && never {
        return Err(Error::Refused(Refusal::CopyForbidden));
    }
    request.answer(gil, make_torch(gil, torch, tensor, copies)?, None)
}

/// A torch tensor on the memory of ours, or on a copy of it.
pub(super) fn make_torch<'gil>(
    gil: &'gil Gil,
    torch: &Torch,
    tensor: Tensor,
    copies: bool,
) -> Result<Owned<'gil>> {
    let new = |object| gil.own(object).ok_or_else(|| gil.exception());
    let reversed = tensor.strides().iter().any(|&stride| stride < 0);
    if copies && reversed && device::is_host(tensor.device()) {
        // torch cannot even copy from negative strides, so NumPy does; what it makes is ours to share.
        return new(torch.make(gil, packed(gil, &tensor)?)?);
    }
    let made = new(torch.make(gil, tensor)?)?;
    if copies { new(call(gil, made.object, c"clone")?) } else { Ok(made) }
}

/// A copy in row-major order, in memory that NumPy owns.
fn packed(gil: &Gil, tensor: &Tensor) -> Result<Tensor> {
    let numpy = Numpy::get(gil)?;
    let array = array_of(gil, numpy, tensor)?;
    let copied = gil.own(call(gil, array.object, c"copy")?).ok_or_else(|| gil.exception())?;
    // SAFETY: the GIL is held, and the copy of an ndarray is one.
    unsafe { numpy.read(gil, copied.object) }
}

/// What a read-only source becomes in torch, which cannot represent it.
#[derive(PartialEq, Eq)]
enum ReadOnly {
    Error,
    Copy,
    Alias,
}

impl ReadOnly {
    fn from(gil: &Gil, argument: Object) -> Result<Self> {
        if argument.is_null() {
            return Ok(ReadOnly::Error);
        }
        match gil.text(argument).as_str() {
            "error" => Ok(ReadOnly::Error),
            "copy" => Ok(ReadOnly::Copy),
            "alias" => Ok(ReadOnly::Alias),
            other => Err(Error::Refused(Refusal::UnknownReadOnly { given: other.to_owned() })),
        }
    }
}

/// An argument that was passed and is true.
fn is_true(gil: &Gil, argument: Object) -> Result<bool> {
    if argument.is_null() { Ok(false) } else { gil.truth(argument) }
}

/// Refuses a device that was asked for and is not the tensor's.
fn confirm_device(gil: &Gil, tensor: &Tensor, wanted: Object) -> Result<()> {
    let Some(wanted) = gil.given(wanted) else { return Ok(()) };
    check_device(gil, &device::Name(tensor.device()).to_string(), wanted)
}

/// `object.method()`.
fn call(gil: &Gil, object: Object, method: &CStr) -> Result<Object> {
    let method = gil.attribute(object, method).map_err(|_| gil.exception())?;
    gil.call(method.object).map(Owned::into_raw).ok_or_else(|| gil.exception())
}

/// [`call`], for what is passed on.
fn called<'gil>(gil: &'gil Gil, object: Object, method: &CStr) -> Result<Owned<'gil>> {
    gil.own(call(gil, object, method)?).ok_or_else(|| gil.exception())
}
