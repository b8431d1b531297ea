//! `from_dlpack`, `to_numpy`, `to_torch`: the functions that users call.

use super::api::Object;
use super::builtin::{Arguments, unknown_name};
use super::cast::{Request, Target};
use super::clone::torch_copy;
use super::copy::{copied, copied_tensor};
use super::gil::{Gil, Owned};
use super::import::{from_described, tensor_from};
use super::kind::{self, Kind};
use super::numpy::{Numpy, ToCopy};
use super::object;
use super::torch::{Calm, Torch};
use super::transfer::moved;
use super::wanted::{device_of, other_dtype, read_dtype};
use crate::copy::{Options, Order};
use crate::dlpack::{DLDataType, DLDevice, DLPackExchangeAPI};
use crate::error::{Cast, Error, LossReport, Refusal, Result};
use crate::tensor::{Tensor, device, dtype};

pub(super) fn from_dlpack(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let keywords = ["device", "copy", "dtype", "casting", "report"];
    let ([source], [wanted, copy, dtype, casting, report]) =
        arguments.parse(gil, "from_dlpack(x)", keywords)?;
    let request = Request::read(gil, casting, report)?;
    let (kind, wanted, always) = (kind::of(gil, source), device_given(gil, wanted)?, is_true(gil, copy)?);
    let (tensor, report) = match cast_first(gil, &request, Order::C, source, dtype, copy, wanted)? {
        First::Cast(made, report) => (made, report),
        First::Not(read) if always => (copied_to(gil, kind, source, read, wanted)?, None),
        First::Not(read) => {
            let tensor = read_once(gil, source, read)?;
            if matches!(kind, Kind::Tensor) && wanted.is_none_or(|wanted| wanted == tensor.device()) {
                return request.answer(gil, gil.share(source), None);
            }
            (placed(gil, tensor, wanted, copy)?, None)
        }
    };
    let made = gil.own(object::wrap(gil, tensor)?).ok_or_else(|| gil.exception())?;
    request.answer(gil, made, report)
}

/// A tensor of its own with the elements of any producer, on the device that was asked for.
fn copied_to(
    gil: &Gil,
    kind: Kind,
    source: Object,
    read: Option<Tensor>,
    wanted: Option<DLDevice>,
) -> Result<Tensor> {
    // Of an array everything can be copied, also what DLPack cannot describe.
    if matches!(kind, Kind::Numpy(_)) && wanted.is_none_or(|wanted| wanted == DLDevice::CPU) {
        return copied(gil, source, Order::C);
    }
    let tensor = read_once(gil, source, read)?;
    match wanted.filter(|&wanted| !is_reached(tensor.device(), wanted)) {
        Some(wanted) => moved(gil, &tensor, wanted),
        None => copied_tensor(gil, &tensor, Order::C, Options::default()),
    }
}

pub(super) fn to_numpy(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let keywords = ["copy", "dtype", "casting", "report"];
    let ([source], [copy, dtype, casting, report]) = arguments.parse(gil, "to_numpy(x)", keywords)?;
    let (numpy, request) = (Numpy::get(gil)?, Request::read(gil, casting, report)?);
    let always = is_true(gil, copy)?;
    let read = match cast_first(gil, &request, Order::K, source, dtype, copy, None)? {
        First::Cast(made, report) => return request.answer(gil, array_of(gil, numpy, &made)?, report),
        First::Not(read) => read,
    };
    let kind = kind::of(gil, source);
    let array = match kind {
        _ if always => numpy_copy(gil, numpy, kind, source, read)?,
        Kind::Numpy(_) => gil.share(source),
        Kind::Torch(Some(table)) => torch_array(gil, numpy, table, source)?,
        _ => array_of(gil, numpy, &read_once(gil, source, read)?)?,
    };
    request.answer(gil, array, None)
}

/// What came of a `dtype=`.
enum First {
    Cast(Tensor, Option<LossReport>),
    /// Nothing is to be cast; the tensor where it had to be read to know.
    Not(Option<Tensor>),
}

/// The tensor of a source: a capsule gives it once, and a producer is asked once.
fn read_once(gil: &Gil, source: Object, read: Option<Tensor>) -> Result<Tensor> {
    read.map_or_else(|| tensor_from(gil, source), Ok)
}

/// The cast that `dtype` asks for, where it is not the dtype of the source: in this order, on the device that was asked for.
fn cast_first(
    gil: &Gil,
    request: &Request,
    order: Order,
    source: Object,
    wanted: Object,
    copy: Object,
    place: Option<DLDevice>,
) -> Result<First> {
    let Some(wanted) = gil.given(wanted) else { return Ok(First::Not(None)) };
    let (tensor, dtype) = match wanted_cast(gil, source, wanted)? {
        Wanted::Cast(tensor, dtype) => (tensor, dtype),
        Wanted::Same(read) => return Ok(First::Not(read)),
    };
    if gil.given(copy).is_some() && !gil.truth(copy)? {
        let [from, to] = [tensor.dtype(), dtype].map(|dtype| dtype::Name(dtype).to_string());
        return Err(Error::Cast(Cast::CopyForbidden { from, to }));
    }
    let order = match kind::of(gil, source) {
        Kind::Torch(_) | Kind::TorchSubclass if order == Order::K => Order::Torch,
        _ => order,
    };
    let place = place.unwrap_or(tensor.device());
    if device::is_host(place) {
        let tensor = moved(gil, &tensor, place)?;
        let (made, report) = request.cast(gil, &tensor, dtype, Target::New(order))?;
        return Ok(First::Cast(made, report));
    }
    // One pass, into memory from which the driver uploads without staging it.
    crate::device::check_device(place)?;
    let pinned = gil.without(|| crate::device::empty(tensor.shape(), dtype, DLDevice::CPU, true))?;
    let (made, report) = request.cast(gil, &tensor, dtype, Target::Out(&pinned))?;
    Ok(First::Cast(moved(gil, &made, place)?, report))
}

/// What a `dtype=` means for a source.
pub(super) enum Wanted {
    /// What is to be cast, and to what.
    Cast(Tensor, DLDataType),
    /// The source has the dtype; the tensor where it had to be read to know, since a capsule gives it once.
    Same(Option<Tensor>),
}

pub(super) fn wanted_cast(gil: &Gil, source: Object, wanted: Object) -> Result<Wanted> {
    let known = matches!(kind::of(gil, source), Kind::Numpy(_) | Kind::Torch(_) | Kind::TorchSubclass);
    if known && other_dtype(gil, source, wanted)?.is_none() {
        return Ok(Wanted::Same(None));
    }
    // A capsule is not consumed for a dtype that is none.
    let dtype = read_dtype(gil, wanted)?;
    let tensor = tensor_from(gil, source)?;
    Ok(if tensor.dtype() == dtype { Wanted::Same(Some(tensor)) } else { Wanted::Cast(tensor, dtype) })
}

/// An array of its own.
fn numpy_copy<'gil>(
    gil: &'gil Gil,
    numpy: &Numpy,
    kind: Kind,
    source: Object,
    read: Option<Tensor>,
) -> Result<Owned<'gil>> {
    let Kind::Numpy(_) = kind else {
        let tensor = read_once(gil, source, read)?;
        check_host(&tensor)?;
        return array_of(gil, numpy, &copied_tensor(gil, &tensor, Order::C, Options::default())?);
    };
    // What is an array already stays what it is: a subclass, objects, dates, the other byte order.
    if gil.type_of(source) == numpy.array_type
        // SAFETY: the GIL is held and `source` is an ndarray.
        && let Ok(ToCopy { tensor, swapped: false, of_bytes: None }) = unsafe { numpy.read_for_copy(gil, source) }
    {
        return array_of(gil, numpy, &copied_tensor(gil, &tensor, Order::C, Options::default())?);
    }
    gil.call_method(source, c"copy")
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
    let described = unsafe { torch.describe(gil, table, source, &mut Calm::default()) }?;
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
    check_host(tensor)?;
    gil.settle_tensor(tensor)?;
    let holder = gil.own(object::wrap(gil, tensor.clone())?).ok_or_else(|| gil.exception())?;
    numpy.array(gil, tensor.view(), !tensor.is_read_only(), Some(holder.object))
}

/// Refuses memory that NumPy cannot read.
fn check_host(tensor: &Tensor) -> Result<()> {
    if device::is_host(tensor.device()) {
        return Ok(());
    }
    Err(Error::Refused(Refusal::NotHostNumpy { device: device::Name(tensor.device()).to_string() }))
}

pub(super) fn to_torch(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let keywords = ["copy", "readonly", "dtype", "device", "casting", "report"];
    let ([source], [copy, readonly, dtype, wanted, casting, report]) =
        arguments.parse(gil, "to_torch(x)", keywords)?;
    let request = Request::read(gil, casting, report)?;
    let (always, read_only) = (is_true(gil, copy)?, ReadOnly::from(gil, readonly)?);
    let never = !always && gil.given(copy).is_some();
    let torch = Torch::get(gil)?;
    let kind = kind::of(gil, source);
    let is_torch = matches!(kind, Kind::Torch(_) | Kind::TorchSubclass);
    let place = if is_torch && is_there(gil, source, wanted)? { None } else { device_given(gil, wanted)? };
    let read = match cast_first(gil, &request, Order::K, source, dtype, copy, place)? {
        First::Cast(made, report) => {
            return request.answer(gil, make_torch(gil, torch, made, false)?, report);
        }
        First::Not(read) => read,
    };
    if is_torch && place.is_none() {
        let made = if always { torch_copy(gil, torch, source)? } else { gil.share(source) };
        return request.answer(gil, made, None);
    }
    // Of an array everything can be copied, also what DLPack or torch cannot describe. On another device it is a copy anyway.
    let stays = place.is_none_or(|place| place == DLDevice::CPU);
    let done = always && stays && matches!(kind, Kind::Numpy(_));
    let tensor = if done { copied(gil, source, Order::C)? } else { read_once(gil, source, read)? };
    let here = tensor.device();
    let tensor = placed(gil, tensor, place, copy)?;
    let fresh = done || (tensor.device() != here && !device::is_pinned(here));
    let protects = tensor.is_read_only() && read_only == ReadOnly::Copy;
    let copies = !fresh && (always || protects);
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
    if copies && device::is_host(tensor.device()) {
        return new(torch.make(gil, copied_tensor(gil, &tensor, Order::C, Options::default())?)?);
    }
    let made = new(torch.make(gil, tensor)?)?;
    if copies { gil.call_method(made.object, c"clone") } else { Ok(made) }
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
        match gil.utf8(argument).as_deref() {
            Some("error") => Ok(ReadOnly::Error),
            Some("copy") => Ok(ReadOnly::Copy),
            Some("alias") => Ok(ReadOnly::Alias),
            _ => Err(unknown_name(gil, argument, |given| Error::Refused(Refusal::UnknownReadOnly { given }))),
        }
    }
}

/// Whether `copy` was passed and is true.
pub(super) fn is_true(gil: &Gil, copy: Object) -> Result<bool> {
    gil.switch_or_none(copy, "copy")
}

/// The tensor on the device that was asked for: a transfer where it is on another one, unless `copy` is false.
fn placed(gil: &Gil, tensor: Tensor, wanted: Option<DLDevice>, copy: Object) -> Result<Tensor> {
    let (have, wanted) = (tensor.device(), wanted.unwrap_or(tensor.device()));
    if !is_reached(have, wanted) && gil.given(copy).is_some() && !gil.truth(copy)? {
        let device = device::Name(have).to_string();
        return Err(Error::Refused(Refusal::TransferForbidden { device }));
    }
    moved(gil, &tensor, wanted)
}

/// Whether memory of one device is memory of another one too: pinned memory is the host's.
fn is_reached(have: DLDevice, wanted: DLDevice) -> bool {
    have == wanted || (wanted == DLDevice::CPU && device::is_pinned(have))
}

/// Whether a torch tensor is on the device that was asked for. Some of torch's have no name in DLPack.
fn is_there(gil: &Gil, source: Object, wanted: Object) -> Result<bool> {
    let Some(wanted) = gil.given(wanted) else { return Ok(true) };
    let have = gil.attribute_text(source, c"device");
    Ok(have == gil.text(wanted) || device::parse(&have).ok() == Some(device_of(gil, wanted)?))
}

/// A device that was asked for.
fn device_given(gil: &Gil, wanted: Object) -> Result<Option<DLDevice>> {
    gil.given(wanted).map(|wanted| device_of(gil, wanted)).transpose()
}
