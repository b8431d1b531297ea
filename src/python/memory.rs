//! `empty` and `zeros`: tensors on memory of our own.

use super::api::Object;
use super::builtin::{Arguments, parts, refused};
use super::copy::LONG;
use super::gil::Gil;
use super::object;
use super::wanted::{device_of, read_dtype};
use crate::dlpack::{DLDataType, DLDevice};
use crate::error::{Error, Refusal, Result};
use crate::tensor::{MAX_NDIM, Tensor, device, packed_bytes};

/// `empty(shape, dtype, *, device="cpu", pinned=False)`
pub(super) fn empty(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    // A driver may take its time; the host's allocator does not, and is not worth letting go of the GIL.
    make(gil, arguments, "empty(shape, dtype)", crate::device::empty, |_| false)
}

/// `zeros(shape, dtype, *, device="cpu", pinned=False)`
pub(super) fn zeros(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    make(gil, arguments, "zeros(shape, dtype)", crate::device::zeros, |bytes| bytes >= LONG)
}

/// A new tensor; where the bytes of one on the host take long, others may run meanwhile.
fn make(
    gil: &Gil,
    arguments: &Arguments,
    call: &'static str,
    make: fn(&[i64], DLDataType, DLDevice, bool) -> Result<Tensor>,
    takes_long: fn(usize) -> bool,
) -> Result<Object> {
    let ([shape, dtype], [device, pinned]) =
        arguments.parse_by_name(gil, call, ["shape", "dtype"], ["device", "pinned"])?;
    if shape.is_null() || dtype.is_null() {
        let missing = if shape.is_null() { "shape" } else { "dtype" };
        let (name, _) = parts(call);
        return Err(refused(format!("{name}() needs a {missing}; call {name}((480, 640), \"float32\")")));
    }
    let place = match gil.given(device) {
        Some(device) => device_of(gil, device)?,
        None => DLDevice::CPU,
    };
    let pinned = gil.switch(pinned, "pinned")?;
    let dtype = read_dtype(gil, dtype)?;
    let (sizes, ndim) = read_shape(gil, shape)?;
    let shape = &sizes[..ndim];
    let quick = place == DLDevice::CPU && !pinned && !packed_bytes(shape, dtype).is_ok_and(takes_long);
    let make = || make(shape, dtype, place, pinned);
    object::wrap(gil, if quick { make() } else { gil.without(make) }?)
}

/// `_span(tensor)`: the address of the first byte of a tensor in host memory, and how many bytes lie from there to its last
/// one: what is to be pinned.
pub(super) fn span(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([tensor], []) = arguments.parse(gil, "_span", [])?;
    // SAFETY: the GIL is held, and the arguments live for the call.
    let tensor = unsafe { object::tensor_in(gil, tensor) }?;
    if !device::is_host(tensor.device()) {
        return Err(Error::NotHost { device: device::Name(tensor.device()).to_string() });
    }
    if tensor.is_read_only() {
        return Err(Error::ReadOnlyPin);
    }
    let (low, high) = tensor.addresses();
    if low == high {
        return Err(Error::Refused(Refusal::NothingToPin));
    }
    Ok(gil.tuple(&[low as i64, (high - low) as i64]))
}

/// An integer, or a sequence of them; how many there are.
pub(super) fn read_shape(gil: &Gil, shape: Object) -> Result<([i64; MAX_NDIM], usize)> {
    let mut sizes = [0; MAX_NDIM];
    let number = gil.is_subtype(gil.type_of(shape), gil.api.PyLong_Type);
    let quick = number || gil.type_of(shape) == gil.api.PyTuple_Type;
    if !quick && matches!(gil.type_name(shape).as_str(), "set" | "frozenset" | "dict") {
        let words = "which says nothing of an order; pass an integer, or several: (480, 640)";
        return Err(refused(format!("shape is of type {}, {words}", gil.type_name(shape))));
    }
    // SAFETY: the GIL is held; a new reference or NULL comes back.
    let tuple = if number { None } else { gil.own(unsafe { (gil.api.PySequence_Tuple)(shape) }) };
    let Some(tuple) = tuple else {
        // NumPy's integers are no subtype of Python's; what is neither is refused by `index`.
        if !number && !gil.catch(gil.api.PyExc_TypeError) {
            return Err(gil.exception());
        }
        sizes[0] = size(gil, shape)?;
        return Ok((sizes, 1));
    };
    // SAFETY: the GIL is held, and it is a tuple.
    let ndim = unsafe { (gil.api.PyTuple_Size)(tuple.object) } as usize;
    let places = sizes.get_mut(..ndim).ok_or(Error::TooManyAxes { ndim, limit: MAX_NDIM })?;
    for (place, index) in places.iter_mut().zip(0..) {
        // SAFETY: as above; a borrowed reference.
        *place = size(gil, unsafe { (gil.api.PyTuple_GetItem)(tuple.object, index) })?;
    }
    Ok((sizes, ndim))
}

/// One size of a shape.
fn size(gil: &Gil, value: Object) -> Result<i64> {
    gil.index(value).map_err(|error| match error {
        Error::Refused(Refusal::Signature { .. }) => {
            let value = gil.text(value);
            let words = format!(
                "in shape, {value} is no integer that fits 64 bits; pass an integer, or several: (480, 640)"
            );
            Error::Refused(Refusal::Signature { words })
        }
        error => error,
    })
}
