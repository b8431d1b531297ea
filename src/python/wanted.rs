//! `dtype=` and `device=`: read in every spelling that Python users write.

use super::api::Object;
use super::builtin::{refused, wrong_type};
use super::gil::Gil;
use super::numpy::{self, Numpy};
use crate::dlpack::{DLDataType, DLDevice, DLDeviceType};
use crate::error::{Error, Refusal, Result};
use crate::tensor::{device, dtype};

/// The dtype to cast an array to; `None` where it has the one that is wanted.
pub(super) fn other_dtype(gil: &Gil, array: Object, wanted: Object) -> Result<Option<DLDataType>> {
    let have = gil.attribute(array, c"dtype")?;
    // The one it has itself, although DLPack may have none like it.
    if have.object == wanted {
        return Ok(None);
    }
    let wanted = read_dtype(gil, wanted)?;
    Ok((read_dtype(gil, have.object).ok() != Some(wanted)).then_some(wanted))
}

/// The dtype that a function was given, and needs.
pub(super) fn needed_dtype(gil: &Gil, function: &str, dtype: Object) -> Result<DLDataType> {
    match dtype.is_null() {
        true => Err(refused(format!("{function}() needs a dtype; call {function}(\"float32\")"))),
        false => read_dtype(gil, dtype),
    }
}

/// A dtype from its name, from NumPy's other spellings of it, or from an object that stands for it: a type of Python's,
/// NumPy's or ml_dtypes', a `numpy.dtype`, a `torch.dtype`.
pub(super) fn read_dtype(gil: &Gil, spelling: Object) -> Result<DLDataType> {
    // NumPy takes microseconds to write the name of a dtype.
    if let Some(dtype) = Numpy::if_imported(gil).and_then(|numpy| numpy.dtype(gil, spelling)) {
        return Ok(dtype);
    }
    if let Some(text) = gil.utf8(spelling) {
        return parse_dtype(&text);
    }
    // Functions have names too: torch.complex, or x.double where x.dtype was meant.
    if !gil.is_type(spelling) {
        let is_dtype = gil.type_name(spelling).to_lowercase().ends_with("dtype");
        return parse_dtype(&gil.text(spelling))
            .map_err(|error| if is_dtype { error } else { wrong_type(error) });
    }
    let name = gil.name(spelling);
    match (gil.attribute_text(spelling, c"__module__").as_str(), name.as_str()) {
        // Python's own types, which NumPy and torch agree on.
        ("builtins", "float") => Ok(dtype::F64),
        ("builtins", "int") => Ok(dtype::I64),
        _ => parse_dtype(&name),
    }
}

fn parse_dtype(text: &str) -> Result<DLDataType> {
    if let Some(name) = text.strip_prefix("torch.") {
        // torch has one lane count, which it sets apart: float4_e2m1fn_x2.
        return dtype::parse(&name.replace("_x", "x"));
    }
    let refuse = |why| Err(Error::Refused(Refusal::UnclearDtype { given: text.to_owned(), why }));
    match text {
        "float" => return refuse("which is float64 in NumPy and float32 in torch; name the one you mean"),
        "int" => return refuse("which is int64 in NumPy and int32 in torch; name the one you mean"),
        "byte" => return refuse("which is int8 in NumPy and uint8 in torch; name the one you mean"),
        _ => {}
    }
    let (native, swapped) = if cfg!(target_endian = "little") { ('<', '>') } else { ('>', '<') };
    let plain = text.strip_prefix(['=', '|', native, swapped]).unwrap_or(text);
    match dtype::parse(text).or_else(|unknown| numpy::spelled(plain).ok_or(unknown)) {
        Ok(dtype) if dtype.bits > 8 && text.starts_with(swapped) => {
            refuse("which is in the other byte order, and DLPack has this machine's only; drop the mark")
        }
        read => read,
    }
}

/// A device from its name, from a `torch.device`, or from DLPack's pair.
pub(super) fn device_of(gil: &Gil, spelling: Object) -> Result<DLDevice> {
    let read = if gil.type_of(spelling) == gil.api.PyTuple_Type {
        let (kind, id) =
            gil.pair(spelling, "device").map_err(|_| wrong_type(unknown_device(gil, spelling)))?;
        let pair = u32::try_from(kind).ok().zip(i32::try_from(id).ok());
        pair.map(|(kind, device_id)| DLDevice { device_type: DLDeviceType(kind), device_id })
    } else {
        device::parse(&gil.utf8(spelling).unwrap_or_else(|| gil.text(spelling))).ok()
    };
    // The host is one device, whatever number a framework gives it.
    read.and_then(|device| device::check(device).ok()).ok_or_else(|| unknown_device(gil, spelling))
}

/// What is said of a device that there is none of.
#[cold]
fn unknown_device(gil: &Gil, spelling: Object) -> Error {
    let type_name = gil.type_name(spelling);
    let text = if type_name == "module" { gil.name(spelling) } else { gil.text(spelling) };
    let means = ["str", "tuple", "module", "device"].contains(&type_name.to_lowercase().as_str());
    let quoted = matches!(type_name.as_str(), "str" | "module" | "device");
    let given = if quoted { format!("{text:?}") } else { text };
    let dtype = read_dtype(gil, spelling);
    gil.clear();
    let unknown = Error::Refused(match dtype {
        Ok(dtype) => Refusal::DtypeForDevice { given, dtype: dtype::Name(dtype).to_string() },
        Err(_) => Refusal::UnknownDevice { given },
    });
    if means { unknown } else { wrong_type(unknown) }
}
