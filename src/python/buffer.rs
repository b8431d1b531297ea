//! Memory that objects without `__dlpack__` show: `__array_interface__`, then the buffer protocol.

use super::api::{Buffer, Object};
use super::gil::Gil;
use super::numpy::Numpy;
use super::release::release_buffer;
use crate::dlpack::{DLDataType, DLDataTypeCode, DLDevice, DLTensor};
use crate::error::{Error, Refusal, Result};
use crate::tensor::{Tensor, dtype};
use dlpark::DlpackFlags;
use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::null_mut;

/// PyBUF_FULL_RO: strided memory with a format, writable or not.
const FULL_RO: c_int = 0x0100 | 0x0010 | 0x0008 | 0x0004;

/// The tensor that such an object shows; `None` where it shows none.
pub(super) fn import(gil: &Gil, object: Object) -> Option<Result<Tensor>> {
    // SAFETY: the GIL is held and `object` is alive.
    if unsafe { (gil.api.PyObject_CheckBuffer)(object) } != 0 {
        // NumPy shows dates as the bytes they are made of.
        if matches!(gil.type_name(object).as_str(), "datetime64" | "timedelta64") {
            return Some(Err(Error::Refused(Refusal::NumpyDtype { dtype: gil.type_name(object) })));
        }
        return Some(from_buffer(gil, object));
    }
    let interface = gil.attribute(object, c"__array_interface__").is_ok();
    gil.clear();
    interface.then(|| from_array_interface(gil, object))
}

/// NumPy knows the interface in all its forms: it makes the array, which shares the memory, and we read that.
fn from_array_interface(gil: &Gil, object: Object) -> Result<Tensor> {
    let numpy = Numpy::get(gil)?;
    // SAFETY: the GIL is held; a new reference or NULL comes back.
    let module = gil.own(unsafe { (gil.api.PyImport_ImportModule)(c"numpy".as_ptr()) });
    let module = module.ok_or_else(|| gil.exception())?;
    let asarray = gil.attribute(module.object, c"asarray").map_err(|_| gil.exception())?;
    let array = gil.call_with(asarray.object, object).ok_or_else(|| gil.exception())?;
    // SAFETY: the GIL is held and asarray gives an ndarray.
    unsafe { numpy.read(gil, array.object) }
}

fn from_buffer(gil: &Gil, object: Object) -> Result<Tensor> {
    let mut buffer = Box::new(MaybeUninit::<Buffer>::uninit());
    // SAFETY: the GIL is held, `object` is alive, and the place is ours and does not move until it is released.
    if unsafe { (gil.api.PyObject_GetBuffer)(object, buffer.as_mut_ptr(), FULL_RO) } != 0 {
        return Err(gil.exception());
    }
    let raw = Box::into_raw(buffer).cast::<Buffer>();
    // SAFETY: filled in just now; the tensor takes it over, with a function that gives it back from any thread.
    let tensor = unsafe { describe(&*raw).and_then(|(view, flags)| view.wrap(flags, raw)) };
    tensor.inspect_err(|_| {
        // SAFETY: nobody took the buffer; the GIL is held.
        unsafe {
            (gil.api.PyBuffer_Release)(raw);
            drop(Box::from_raw(raw));
        }
    })
}

/// A description with strides in elements.
struct View {
    data: *mut c_void,
    dtype: DLDataType,
    shape: Vec<i64>,
    /// `None` for row-major.
    strides: Option<Vec<i64>>,
}

impl View {
    /// # Safety
    ///
    /// `buffer` is a buffer in a box, which the tensor owns on success.
    unsafe fn wrap(&self, flags: DlpackFlags, buffer: *mut Buffer) -> Result<Tensor> {
        let description = DLTensor {
            data: self.data,
            device: DLDevice::CPU,
            ndim: self.shape.len() as i32,
            dtype: self.dtype,
            shape: self.shape.as_ptr().cast_mut(),
            strides: self.strides.as_ref().map_or(null_mut(), |strides| strides.as_ptr().cast_mut()),
            byte_offset: 0,
        };
        // SAFETY: the exporter keeps the memory until the buffer is released, which `release_buffer` does.
        unsafe { Tensor::wrap_foreign(&description, flags, Some(release_buffer), buffer.cast()) }
    }
}

/// # Safety
///
/// `buffer` was filled in by an exporter.
unsafe fn describe(buffer: &Buffer) -> Result<(View, DlpackFlags)> {
    let item = buffer.itemsize;
    // SAFETY: shape and strides, where not NULL, have `ndim` values. Some exporters (ctypes) leave strides out
    // although they were asked for, which means row-major, and simple ones the shape too.
    let list = |values: *const isize| unsafe {
        (!values.is_null()).then(|| std::slice::from_raw_parts(values, buffer.ndim as usize))
    };
    let flat = [if item > 0 { buffer.len / item } else { 0 }];
    let shape = list(buffer.shape).unwrap_or(if buffer.ndim == 0 { &[] } else { &flat });
    // SAFETY: NULL means unsigned bytes; else a terminated string.
    let format = if buffer.format.is_null() { c"B" } else { unsafe { CStr::from_ptr(buffer.format) } };
    let format = format.to_string_lossy();
    let refuse = || Error::Refused(Refusal::BufferFormat { format: format.to_string() });
    let indirect = !buffer.suboffsets.is_null();
    let dtype = format_dtype(&format, buffer.itemsize).filter(|_| !indirect).ok_or_else(refuse)?;
    let strides = list(buffer.strides).unwrap_or(&[]);
    if let Some(axis) = strides.iter().position(|stride| stride % item != 0) {
        let stride = strides[axis] as i64;
        return Err(Error::Refused(Refusal::ByteStride { axis, stride, item: item as usize }));
    }
    let flags = if buffer.readonly != 0 { DlpackFlags::READ_ONLY } else { DlpackFlags::empty() };
    let view = View {
        data: buffer.buf,
        dtype,
        shape: shape.iter().map(|&extent| extent as i64).collect(),
        strides: list(buffer.strides)
            .map(|strides| strides.iter().map(|&stride| (stride / item) as i64).collect()),
    };
    Ok((view, flags))
}

/// The dtype of a struct-module format of one native element.
fn format_dtype(format: &str, itemsize: isize) -> Option<DLDataType> {
    let native = if cfg!(target_endian = "little") { '<' } else { '>' };
    let letters = format.trim_start_matches(['@', '=', native]);
    let code = match letters {
        "?" => DLDataTypeCode::BOOL,
        "b" | "h" | "i" | "l" | "q" | "n" => DLDataTypeCode::INT,
        "c" | "B" | "H" | "I" | "L" | "Q" | "N" => DLDataTypeCode::UINT,
        "e" | "f" | "d" => DLDataTypeCode::FLOAT,
        "Zf" | "Zd" => DLDataTypeCode::COMPLEX,
        _ => return None,
    };
    let dtype = DLDataType { code, bits: u8::try_from(itemsize * 8).ok()?, lanes: 1 };
    dtype::check(dtype).ok().map(|()| dtype)
}
