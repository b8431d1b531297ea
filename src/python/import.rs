//! Taking arrays over from Python: any object with `__dlpack__`, or a capsule.

use super::api::{Object, api};
use super::buffer;
use super::capsule::{self, Abi};
use super::exchange;
use super::gil::{Gil, Owned, is_usable};
use super::kind::{self, Kind};
use super::missing;
use super::object;
use super::release::{delete_later, release_object};
use super::torch::{Calm, Described, Torch};
use crate::device::{Stream, drives_cuda, is_stream_thread, own_stream};
use crate::dlpack::{DLDevice, DLDeviceType, DLPackExchangeAPI};
use crate::error::{Error, Refusal, Result};
use crate::guard::foreign;
use crate::tensor::{ReleaseFn, Tensor, delete_legacy, delete_versioned};
use dlpark::DlpackFlags;
use std::ffi::{CStr, c_void};
use std::ptr::{NonNull, null_mut};

/// The tensor that a Python object shows, whatever kind of array it is; a DLPack capsule is consumed.
///
/// # Safety
///
/// `object` is a live Python object.
pub unsafe fn import(object: NonNull<c_void>) -> Result<Tensor> {
    let mut gil = Gil::take()?;
    let tensor = tensor_from(&gil, object.as_ptr());
    gil.settle(tensor)
}

/// [`import`] for who holds the GIL already.
pub(super) fn tensor_from(gil: &Gil, object: Object) -> Result<Tensor> {
    tensor_among(gil, object, &mut Calm::default())
}

/// [`tensor_from`] for one of many.
pub(super) fn tensor_among(gil: &Gil, object: Object, calm: &mut Calm) -> Result<Tensor> {
    let kind = kind::of(gil, object);
    if !matches!(kind, Kind::Torch(_)) {
        *calm = Calm::default(); // its type, or it, may run Python code
    }
    match kind {
        // SAFETY: the GIL is held, and `object` is alive for this call.
        Kind::Tensor => unsafe { object::tensor_in(gil, object) }.cloned(),
        // SAFETY: the GIL is held and `object` is an ndarray.
        Kind::Numpy(numpy) => unsafe { numpy.read(gil, object) },
        Kind::Torch(table) => from_torch(gil, table, object, calm),
        // SAFETY: the GIL is held, and the type of `object` offers this table.
        Kind::Exchange(table) => unsafe { exchange::import(gil, table, object) },
        Kind::Capsule => consume(gil, object),
        Kind::Masked => Err(Error::Refused(Refusal::Masked { count: gil.masked_count(object) })),
        Kind::TorchSubclass => Err(Error::Refused(if gil.flag(object, c"is_nested", false) {
            Refusal::Torch { what: "is nested", call: "x.to_padded_tensor(0)" }
        } else {
            Torch::get(gil)?.subclass(gil, object)
        })),
        Kind::Other => from_other(gil, object),
    }
}

fn from_torch(
    gil: &Gil,
    table: Option<&DLPackExchangeAPI>,
    object: Object,
    calm: &mut Calm,
) -> Result<Tensor> {
    let torch = Torch::get(gil)?;
    let Some(table) = table else {
        // A torch older than 2.10: its own `__dlpack__` makes the checks, but for the negative bit.
        torch.check(gil, object)?;
        let tensor = from_produced(gil, object, &produce(gil, object)?)?;
        let storage = torch.storages.of(gil, object).ok_or_else(|| gil.exception())?;
        return torch.storages.check(gil, storage.object, tensor.view()).map(|()| tensor);
    };
    // SAFETY: the GIL is held and `object` is a torch.Tensor.
    let described = unsafe { torch.describe(gil, table, object, calm) }?;
    // SAFETY: as above; no Python code has run since.
    let tensor = unsafe { from_described(gil, torch, described, object) }?;
    exchange::come_after(gil, table, &tensor)?;
    Ok(tensor)
}

/// The tensor that torch described.
///
/// # Safety
///
/// The GIL is held, and no Python code has run since torch described `object`.
pub(super) unsafe fn from_described(
    gil: &Gil,
    torch: &Torch,
    Described { view, storage }: Described,
    object: Object,
) -> Result<Tensor> {
    let flags = DlpackFlags::empty();
    // SAFETY: the description is still good, as promised; the storage keeps the memory alive, and `release_object` gives
    // our reference to it back from any thread.
    let tensor = unsafe { Tensor::wrap_foreign(&view, flags, Some(release_object), storage.object) };
    let tensor = tensor.map_err(|error| match error {
        // A stand-in without memory, which torch describes all the same.
        Error::NullData { .. } => torch.known_cause(gil, object).unwrap_or(error),
        _ => error,
    })?;
    storage.into_raw();
    Ok(tensor)
}

/// A producer with `__dlpack__`; else memory that `__array_interface__` or the buffer protocol shows.
fn from_other(gil: &Gil, object: Object) -> Result<Tensor> {
    if gil.is_type(object) {
        // It has the methods of its instances, which want one.
        return Err(Error::NotAnArray { type_name: "type".into() });
    }
    let module = gil.attribute_text(gil.type_of(object), c"__module__");
    if module.starts_with("tensorflow") && gil.attribute_text(object, c"dtype").contains("string") {
        // TensorFlow's own __dlpack__ ends the process on these.
        let call = "pass numpy.asarray(x) converted to numbers";
        return Err(Error::Refused(Refusal::Missing {
            what: "a tf.Tensor of strings has no DLPack type".into(),
            call,
        }));
    }
    match produce(gil, object) {
        Ok(produced) => {
            let tensor = from_produced(gil, object, &produced)?;
            if is_immutable(&module) { tensor.read_only() } else { Ok(tensor) }
        }
        Err(Error::NotAnArray { type_name }) => {
            let known = || missing::explain(gil, object).or_else(|| missing::on_device(gil, object));
            let otherwise = || Err(known().unwrap_or(Error::NotAnArray { type_name }));
            buffer::import(gil, object).unwrap_or_else(otherwise)
        }
        Err(Error::Python { who, words }) => match missing::explain(gil, object) {
            Some(error) => {
                gil.clear();
                Err(error)
            }
            None => Err(Error::Python { who, words }),
        },
        Err(error) => Err(error),
    }
}

/// Whether the framework of this module promises that an array never changes, although its capsules do not say so: JAX and
/// TensorFlow compute on under that promise.
fn is_immutable(module: &str) -> bool {
    ["jaxlib", "jax", "tensorflow"].contains(&module.split('.').next().unwrap_or_default())
}

fn from_produced(gil: &Gil, object: Object, produced: &Produced) -> Result<Tensor> {
    if capsule::is_capsule(gil, produced.capsule.object) {
        let tensor = consume(gil, produced.capsule.object)?;
        if let Some(stream) = &produced.stream {
            // Another thread may have its turn on that stream, and want the GIL before it is over.
            gil.without(|| stream.writes(&tensor))?;
        }
        return Ok(tensor);
    }
    Err(Error::Capsule {
        words: format!(
            "{}.__dlpack__() returned a {} instead of a DLPack capsule; that is a bug of the producer",
            gil.type_name(object),
            gil.type_name(produced.capsule.object)
        ),
    })
}

/// What `__dlpack__` returned, and the stream of ours that the producer has made wait for its work, if it was given one.
struct Produced<'gil> {
    capsule: Owned<'gil>,
    stream: Option<Stream>,
}

/// How a function says that it does not know a keyword: CPython's, Cython's and Clinic's words, then pybind11's and
/// nanobind's. Any other `TypeError` is the producer's own, which nobody may lose.
const UNKNOWN_KEYWORD: [&str; 2] = ["keyword argument", "incompatible function arguments"];

/// Calls `__dlpack__`, asking for the versioned struct; a producer that knows no keywords is asked again without.
fn produce<'gil>(gil: &'gil Gil, object: Object) -> Result<Produced<'gil>> {
    let api = gil.api;
    // SAFETY: the GIL is held and `object` is alive; a new reference or NULL comes back.
    let method = gil.own(unsafe { (api.PyObject_GetAttrString)(object, c"__dlpack__".as_ptr()) });
    let Some(method) = method else {
        return Err(if gil.catch(api.PyExc_AttributeError) {
            Error::NotAnArray { type_name: gil.type_name(object) }
        } else {
            gil.exception()
        });
    };
    let mut stream = consumer_stream(gil, object)?;
    let native = stream.as_ref().and_then(Stream::native);
    // SAFETY: the GIL is held; the formats match the arguments, of which the shorter one leaves some out; new references
    // or NULL come back.
    let (nothing, keywords) = unsafe {
        let format = if native.is_some() { c"{s:(ii),s:K}" } else { c"{s:(ii)}" };
        let handle = native.map_or(0, |native| native as usize as u64);
        let (version, name) = (c"max_version".as_ptr(), c"stream".as_ptr());
        let keywords = foreign(|| (api.Py_BuildValue)(format.as_ptr(), version, 1, 3, name, handle));
        (gil.own((api.PyTuple_New)(0)), gil.own(keywords))
    };
    let (Some(nothing), Some(keywords)) = (nothing, keywords) else {
        return Err(gil.exception());
    };
    // SAFETY: the GIL is held; `PyObject_Call` borrows its arguments and takes NULL for "no keywords".
    let call = |keywords| gil.own(unsafe { (api.PyObject_Call)(method.object, nothing.object, keywords) });
    let mut capsule = call(keywords.object);
    if capsule.is_none() && gil.catch_saying(api.PyExc_TypeError, &UNKNOWN_KEYWORD) {
        // Without a stream it is ready for the default one.
        // SAFETY: that one always lives.
        stream =
            stream.map(|stream| unsafe { Stream::from_native(stream.device(), null_mut()) }).transpose()?;
        capsule = call(null_mut());
    }
    Ok(Produced { capsule: capsule.ok_or_else(|| gil.exception())?, stream })
}

/// The stream that a producer of CUDA memory is to make wait for its work: the library's own one of that device. `None`
/// where there is no driver, or the producer does not say where its memory is.
fn consumer_stream(gil: &Gil, object: Object) -> Result<Option<Stream>> {
    if !drives_cuda() {
        return Ok(None);
    }
    let Ok(ask) = gil.attribute(object, c"__dlpack_device__") else {
        gil.clear();
        return Ok(None);
    };
    let Some(pair) = gil.call(ask.object) else {
        gil.clear();
        return Ok(None);
    };
    // Its type may be an enumeration of the producer's.
    // SAFETY: the GIL is held; a new reference or NULL comes back.
    let Some(pair) = gil.own(unsafe { (gil.api.PySequence_Tuple)(pair.object) }) else {
        gil.clear();
        return Ok(None);
    };
    let (kind, device_id) = gil.pair(pair.object, "__dlpack_device__()")?;
    let device = DLDevice { device_type: DLDeviceType::CUDA, device_id: device_id as i32 };
    if kind != i64::from(DLDeviceType::CUDA.0) { Ok(None) } else { own_stream(device).map(Some) }
}

/// Takes over what is in a capsule. A capsule that holds no DLPack tensor, or no longer, is left untouched.
fn consume(gil: &Gil, capsule: Object) -> Result<Tensor> {
    let Some((abi, managed)) = capsule::open(gil, capsule) else {
        return Err(refusal(gil, capsule));
    };
    // From here on the tensor is ours: the capsule will not delete it any more, whatever goes wrong.
    // SAFETY: the GIL is held and `capsule` is one; the name is static.
    if unsafe { (gil.api.PyCapsule_SetName)(capsule, abi.used_name().as_ptr()) } != 0 {
        return Err(gil.exception());
    }
    // SAFETY: the capsule held a live managed tensor of this ABI, whose ownership the new name passes to us. The
    // release functions end in its deleter, but for an interpreter that is gone.
    unsafe {
        match abi {
            Abi::Versioned => Tensor::import_with(managed.cast(), release_versioned),
            Abi::Legacy => Tensor::import_legacy_with(managed.cast(), release_legacy),
        }
    }
}

/// Why a capsule cannot be consumed, from its name.
fn refusal(gil: &Gil, capsule: Object) -> Error {
    // SAFETY: the GIL is held and `capsule` is one; its name is NULL or lives as long as the capsule.
    let name = unsafe { (gil.api.PyCapsule_GetName)(capsule).as_ref() }.map(|name| {
        // SAFETY: capsule names are terminated strings.
        unsafe { CStr::from_ptr(name) }
    });
    let used = [Abi::Versioned, Abi::Legacy].iter().any(|abi| name == Some(abi.used_name()));
    let words = if used {
        "the DLPack capsule was consumed already; call __dlpack__() again for a new one".to_owned()
    } else {
        let name = name.map_or("NULL".into(), |name| format!("{name:?}"));
        format!(
            "the capsule is named {name}, not \"dltensor_versioned\" or \"dltensor\"; pass the result of __dlpack__()"
        )
    };
    Error::Capsule { words }
}

/// Whether a producer that lives in Python may still be told to let go. Once the interpreter is gone, or is going
/// and this thread is not part of it, its memory is leaked instead: the producer's deleter would ask for the GIL,
/// which then ends or hangs the thread.
fn may_delete() -> bool {
    api().is_ok_and(is_usable)
}

/// # Safety
///
/// `managed` is a versioned managed tensor whose deleter was not called yet.
pub(super) unsafe extern "C" fn release_versioned(managed: *mut c_void) {
    // SAFETY: promised by the caller.
    unsafe { release_with(managed, delete_versioned) }
}

unsafe extern "C" fn release_legacy(managed: *mut c_void) {
    // SAFETY: called once with the managed tensor that `consume` took over.
    unsafe { release_with(managed, delete_legacy) }
}

/// A stream's thread leaves it to the interpreter: the deleter may ask for the GIL, and whoever has it may be waiting for
/// this stream.
///
/// # Safety
///
/// `managed` is what `delete` takes, and its deleter was not called yet.
unsafe fn release_with(managed: *mut c_void, delete: ReleaseFn) {
    // SAFETY: promised by the caller.
    unsafe {
        match is_stream_thread() {
            true => delete_later(managed, delete),
            false if may_delete() => delete(managed),
            false => {}
        }
    }
}
