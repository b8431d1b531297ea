//! NumPy's dtypes and DLPack's: by type number, by name where the ml_dtypes package made them.

use super::DescrFields;
use crate::dlpack::{DLDataType, DLDataTypeCode};
use crate::error::{Error, Refusal, Result};
use crate::python::api::Object;
use crate::python::gil::{Gil, Owned};
use crate::tensor::dtype;
use std::ffi::c_int;

/// By NumPy's type number: bool, the ten C integers, float to complex long double.
const NUMBERED: [Option<DLDataType>; 17] = {
    const fn of(code: DLDataTypeCode, bits: usize) -> Option<DLDataType> {
        Some(DLDataType { code, bits: bits as u8, lanes: 1 })
    }
    use DLDataTypeCode as Code;
    use std::ffi::{c_long, c_longlong, c_short};
    const SHORT: usize = c_short::BITS as usize;
    const INT: usize = c_int::BITS as usize;
    const LONG: usize = c_long::BITS as usize;
    const LONG_LONG: usize = c_longlong::BITS as usize;
    [
        of(Code::BOOL, 8),
        of(Code::INT, 8),
        of(Code::UINT, 8),
        of(Code::INT, SHORT),
        of(Code::UINT, SHORT),
        of(Code::INT, INT),
        of(Code::UINT, INT),
        of(Code::INT, LONG),
        of(Code::UINT, LONG),
        of(Code::INT, LONG_LONG),
        of(Code::UINT, LONG_LONG),
        of(Code::FLOAT, 32),
        of(Code::FLOAT, 64),
        None, // long double: 80 bits in 16 bytes have no DLPack type
        of(Code::COMPLEX, 64),
        of(Code::COMPLEX, 128),
        None,
    ]
};
/// In the same order: NumPy's letters, and its names after C.
const LETTERS: &str = "?bBhHiIlLqQfdgFDG";
const C_NAMES: [&str; 17] = [
    "bool_",
    "byte",
    "ubyte",
    "short",
    "ushort",
    "intc",
    "uintc",
    "long",
    "ulong",
    "longlong",
    "ulonglong",
    "single",
    "double",
    "longdouble",
    "csingle",
    "cdouble",
    "clongdouble",
];
const HALF: c_int = 23;
const FIRST_USER_TYPE: c_int = 256;

/// The DLPack type of a NumPy dtype.
///
/// # Safety
///
/// The GIL is held and `descr` is a live dtype, with these fields.
pub(super) unsafe fn of_descr(gil: &Gil, descr: Object, fields: &DescrFields) -> Result<DLDataType> {
    // SAFETY: promised by the caller.
    match unsafe { of_descr_in_any_order(gil, descr, fields) }? {
        (dtype, false) => Ok(dtype),
        _ => Err(Error::Refused(Refusal::ByteOrder { dtype: gil.text(descr) })),
    }
}

/// The same of either byte order, and whether it is not this machine's.
///
/// # Safety
///
/// As for [`of_descr`].
pub(super) unsafe fn of_descr_in_any_order(
    gil: &Gil,
    descr: Object,
    fields: &DescrFields,
) -> Result<(DLDataType, bool)> {
    let known = match fields.number {
        HALF => Some(dtype::F16),
        FIRST_USER_TYPE.. if gil.attribute_text(fields.scalar_type, c"__module__") == "ml_dtypes" => {
            dtype::parse(&gil.name(fields.scalar_type)).ok()
        }
        number => NUMBERED.get(number as usize).copied().flatten(),
    };
    let swapped = if cfg!(target_endian = "little") { b'>' } else { b'<' };
    let refusal = match known {
        None => Refusal::NumpyDtype { dtype: gil.text(descr) },
        Some(dtype) if dtype::item_bytes(dtype).is_none() => Refusal::PaddedNumpy { dtype: gil.text(descr) },
        Some(dtype) => return Ok((dtype, fields.byteorder as u8 == swapped)),
    };
    Err(Error::Refused(refusal))
}

/// What NumPy calls otherwise than by its name: by a letter (`d`), by kind and bytes (`f8`), as in C (`double`), or as
/// the size of an address.
pub(in crate::python) fn spelled(text: &str) -> Option<DLDataType> {
    let lettered = || LETTERS.find(text).filter(|_| text.len() == 1);
    let number = C_NAMES.iter().position(|&name| name == text).or_else(lettered);
    if let Some(number) = number {
        return NUMBERED[number];
    }
    match text {
        "e" | "half" => return Some(dtype::F16),
        "complex" => return dtype::parse("complex128").ok(),
        "n" | "p" | "int_" | "intp" => return Some(dtype::I64),
        "N" | "P" | "uint" | "uintp" => return Some(dtype::U64),
        _ => {}
    }
    let (kind, bytes) = text.split_at_checked(1)?;
    let code = match (kind, bytes) {
        ("b", "1") => DLDataTypeCode::BOOL,
        ("i", "1" | "2" | "4" | "8") => DLDataTypeCode::INT,
        ("u", "1" | "2" | "4" | "8") => DLDataTypeCode::UINT,
        ("f", "2" | "4" | "8") => DLDataTypeCode::FLOAT,
        ("c", "8" | "16") => DLDataTypeCode::COMPLEX,
        _ => return None,
    };
    Some(DLDataType { code, bits: 8 * bytes.parse::<u8>().ok()?, lanes: 1 })
}

/// NumPy's type number of a dtype.
pub(super) fn number(wanted: DLDataType) -> Option<c_int> {
    let numbered = NUMBERED.iter().position(|&known| known == Some(wanted)).map(|number| number as c_int);
    numbered.or((wanted == dtype::F16).then_some(HALF))
}

/// A new reference to the dtype that the ml_dtypes package has for this one.
pub(super) fn ml_dtype(gil: &Gil, wanted: DLDataType) -> Result<Object> {
    let name = dtype::Name(wanted).to_string();
    // What ml_dtypes has of less than 8 bits it pads, and DLPack does not; nor has it several lanes.
    let in_ml_dtypes = wanted.lanes == 1 && matches!(wanted.code.0, 4 | 7..=14);
    let without = || {
        Error::Refused(Refusal::NoNumpyDtype {
            dtype: name.clone(),
            bits: dtype::item_bits(wanted),
            in_ml_dtypes,
        })
    };
    if !in_ml_dtypes {
        return Err(without());
    }
    // SAFETY: the GIL is held; new references or NULL come back.
    let module = gil.own(unsafe { (gil.api.PyImport_ImportModule)(c"ml_dtypes".as_ptr()) });
    let found = module.and_then(|module| gil.attribute_named(module.object, &name));
    let Some(scalar) = found else {
        gil.clear();
        return Err(without());
    };
    // SAFETY: as above.
    let numpy = gil.own(unsafe { (gil.api.PyImport_ImportModule)(c"numpy".as_ptr()) });
    let numpy = numpy.ok_or_else(|| gil.exception())?;
    let make = gil.attribute(numpy.object, c"dtype")?;
    let descr = gil.call_with(make.object, scalar.object);
    descr.map(Owned::into_raw).ok_or_else(|| gil.exception())
}
