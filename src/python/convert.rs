//! `from_dlpack`, `to_numpy`, `to_torch`: the functions that users call.

use super::api::Object;
use super::builtin::Arguments;
use super::gil::{Gil, Owned};
use super::import::{from_described, tensor_from};
use super::kind::{self, Kind};
use super::numpy::Numpy;
use super::object;
use super::torch::Torch;
use super::wanted::{check_device, check_dtype};
use crate::dlpack::DLPackExchangeAPI;
use crate::error::{Error, Refusal, Result};
use crate::tensor::{Tensor, device};
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
    let ([source], [copy, dtype]) = arguments.parse(gil, "to_numpy", ["copy", "dtype"])?;
    let numpy = Numpy::get(gil)?;
    let array = match kind::of(gil, source) {
        Kind::Numpy(_) => gil.share(source),
        Kind::Torch(Some(table)) => torch_array(gil, numpy, table, source)?,
        _ => array_of(gil, numpy, &tensor_from(gil, source)?)?,
    };
    confirm_dtype(gil, array.object, dtype)?;
    if is_true(gil, copy)? { call(gil, array.object, c"copy") } else { Ok(array.into_raw()) }
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
fn array_of<'gil>(gil: &'gil Gil, numpy: &Numpy, tensor: &Tensor) -> Result<Owned<'gil>> {
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
    let keywords = ["copy", "readonly", "dtype", "device"];
    let ([source], [copy, readonly, dtype, wanted]) = arguments.parse(gil, "to_torch", keywords)?;
    let (always, read_only) = (is_true(gil, copy)?, ReadOnly::from(gil, readonly)?);
    let never = !always && gil.given(copy).is_some();
    let torch = Torch::get(gil)?;
    let kind = kind::of(gil, source);
    if let Kind::Torch(_) | Kind::TorchSubclass = kind {
        confirm_dtype(gil, source, dtype)?;
        if let Some(wanted) = gil.given(wanted) {
            check_device(gil, &gil.attribute_text(source, c"device"), wanted)?;
        }
        return if always { call(gil, source, c"clone") } else { Ok(gil.share(source).into_raw()) };
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
    let made = make_torch(gil, torch, tensor, copies)?;
    confirm_dtype(gil, made.object, dtype)?;
    Ok(made.into_raw())
}

/// A torch tensor on the memory of ours, or on a copy of it.
fn make_torch<'gil>(gil: &'gil Gil, torch: &Torch, tensor: Tensor, copies: bool) -> Result<Owned<'gil>> {
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

/// Whether `copy` was passed and is true. What is no bool, Python's or NumPy's, may mean anything.
fn is_true(gil: &Gil, copy: Object) -> Result<bool> {
    let Some(copy) = gil.given(copy) else { return Ok(false) };
    if !matches!(gil.type_name(copy).as_str(), "bool" | "bool_") {
        let words = format!("copy is {:?}; pass True, False or None", gil.text(copy));
        return Err(Error::Refused(Refusal::Signature { words }));
    }
    gil.truth(copy)
}

/// Refuses a device that was asked for and is not the tensor's.
fn confirm_device(gil: &Gil, tensor: &Tensor, wanted: Object) -> Result<()> {
    let Some(wanted) = gil.given(wanted) else { return Ok(()) };
    check_device(gil, &device::Name(tensor.device()).to_string(), wanted)
}

/// Refuses a dtype that was asked for and is not the array's.
fn confirm_dtype(gil: &Gil, array: Object, wanted: Object) -> Result<()> {
    gil.given(wanted).map_or(Ok(()), |wanted| check_dtype(gil, array, wanted))
}

/// `object.method()`.
fn call(gil: &Gil, object: Object, method: &CStr) -> Result<Object> {
    let method = gil.attribute(object, method).map_err(|_| gil.exception())?;
    gil.call(method.object).map(Owned::into_raw).ok_or_else(|| gil.exception())
}
