//! NumPy arrays, read and made through NumPy's own C API: a table in a capsule, found at run time.

mod copy;
mod dtype;

pub(super) use copy::ToCopy;
pub(super) use dtype::spelled;

use super::api::Object;
use super::capsule;
use super::gil::{Gil, Owned};
use super::object;
use super::release::release_object;
use crate::dlpack::{DLDataType, DLDevice, DLTensor};
use crate::error::{Error, Refusal, Result};
use crate::guard::Foreign;
use crate::tensor::Tensor;
use crate::tensor::dtype::{I16, item_bytes};
use dlpark::DlpackFlags;
use std::ffi::{c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

type DescrFromType = unsafe extern "C" fn(c_int) -> Object;
type NewFromDescr = unsafe extern "C" fn(
    Object,
    Object,
    c_int,
    *const isize,
    *const isize,
    *mut c_void,
    c_int,
    Object,
) -> Object;
type SetBase = unsafe extern "C" fn(Object, Object) -> c_int;

/// What is used of the table. The slots have kept their numbers since NumPy 1.7.
pub(super) struct Numpy {
    /// `numpy.ndarray`.
    pub array_type: Object,
    /// `numpy.dtype`.
    descr_type: Object,
    descr_from_type: DescrFromType,
    new_from_descr: NewFromDescr,
    set_base: SetBase,
    /// Bytes of a `PyObject` header, behind which the fields of an array and of a dtype begin.
    header: usize,
}

const ARRAY_TYPE: usize = 2;
const DESCR_TYPE: usize = 3;
const DESCR_FROM_TYPE: usize = 45;
const NEW_FROM_DESCR: usize = 94;
const SET_BASE_OBJECT: usize = 282;
const WRITEABLE: c_int = 0x400;
const MAX_NDIM: usize = 64;

/// The fields of an array behind its header: public, and compiled into every extension that uses NumPy, so they have
/// not moved since 1.7. [`Numpy::load`] proves it on an array of its own before anything is read from another.
#[repr(C)]
struct ArrayFields {
    data: *mut c_void,
    ndim: c_int,
    shape: *const isize,
    strides: *const isize,
    base: Object,
    descr: Object,
    flags: c_int,
}

/// The first fields of a dtype behind its header; as above.
#[repr(C)]
struct DescrFields {
    scalar_type: Object,
    kind: c_char,
    letter: c_char,
    byteorder: c_char,
    flags: c_char,
    number: c_int,
}

static LOADED: AtomicPtr<Numpy> = AtomicPtr::new(null_mut());

impl Numpy {
    /// NumPy's functions, if NumPy has been imported by anybody; it is not imported for this.
    pub fn if_imported(gil: &Gil) -> Option<&'static Numpy> {
        // SAFETY: NULL or a leaked box.
        if let Some(numpy) = unsafe { LOADED.load(Ordering::Acquire).as_ref() } {
            return Some(numpy);
        }
        // SAFETY: the GIL is held; both references are borrowed.
        let imported = unsafe {
            let modules = (gil.api.PyImport_GetModuleDict)();
            !(gil.api.PyDict_GetItemString)(modules, c"numpy".as_ptr()).is_null()
        };
        // One that is broken, or only half imported, is no concern of an object that need not be NumPy's.
        if imported { Self::get(gil).inspect_err(|_| gil.clear()).ok() } else { None }
    }

    /// NumPy's functions; imports it if nobody has.
    pub fn get(gil: &Gil) -> Result<&'static Numpy> {
        // SAFETY: NULL or a leaked box.
        if let Some(numpy) = unsafe { LOADED.load(Ordering::Acquire).as_ref() } {
            return Ok(numpy);
        }
        let numpy = Box::leak(Box::new(Self::load(gil)?));
        LOADED.store(numpy, Ordering::Release);
        Ok(numpy)
    }

    fn load(gil: &Gil) -> Result<Numpy> {
        // SAFETY: the GIL is held; new references or NULL come back.
        let package = gil.own(unsafe { (gil.api.PyImport_ImportModule)(c"numpy".as_ptr()) });
        drop(package.ok_or_else(|| gil.import_error("numpy"))?);
        // NumPy 2 first, then NumPy 1.
        let module =
            [c"numpy._core._multiarray_umath", c"numpy.core._multiarray_umath"].iter().find_map(|name| {
                gil.clear();
                // SAFETY: as above.
                gil.own(unsafe { (gil.api.PyImport_ImportModule)(name.as_ptr()) })
            });
        let module = module.ok_or_else(|| gil.exception())?;
        let capsule = gil.attribute(module.object, c"_ARRAY_API")?;
        // SAFETY: the GIL is held; NumPy's capsule has no name, and its table is static.
        let table = unsafe { (gil.api.PyCapsule_GetPointer)(capsule.object, null()) }.cast::<*mut c_void>();
        if table.is_null() {
            return Err(gil.exception());
        }
        // SAFETY: these slots hold these functions in every NumPy since 1.7.
        let numpy = unsafe {
            Numpy {
                array_type: *table.add(ARRAY_TYPE),
                descr_type: *table.add(DESCR_TYPE),
                descr_from_type: std::mem::transmute::<*mut c_void, DescrFromType>(
                    *table.add(DESCR_FROM_TYPE),
                ),
                new_from_descr: std::mem::transmute::<*mut c_void, NewFromDescr>(*table.add(NEW_FROM_DESCR)),
                set_base: std::mem::transmute::<*mut c_void, SetBase>(*table.add(SET_BASE_OBJECT)),
                header: gil.header_size()?,
            }
        };
        numpy.prove(gil)?;
        Ok(numpy)
    }

    /// Makes an array of known fields and reads them back: an ABI that moved is noticed here, and not later.
    fn prove(&self, gil: &Gil) -> Result<()> {
        let mut data = [0_i16; 12];
        let (shape, strides) = ([2_i64, 3], [6_i64, 2]);
        let description = DLTensor {
            data: data.as_mut_ptr().cast(),
            device: DLDevice::CPU,
            ndim: 2,
            dtype: I16,
            shape: shape.as_ptr().cast_mut(),
            strides: strides.as_ptr().cast_mut(),
            byte_offset: 0,
        };
        let array = self.array(gil, &description, false, None)?;
        // SAFETY: this array is alive, and larger than its fields whatever their order.
        let fields = unsafe { self.fields(array.object) };
        let same = fields.data == description.data
            && fields.ndim == 2
            && fields.flags & WRITEABLE == 0
            // SAFETY: checked just before: `ndim` is where it is expected, and so shape and strides are.
            && unsafe { *fields.shape == 2 && *fields.shape.add(1) == 3 && *fields.strides == 12 && *fields.strides.add(1) == 4 }
            // SAFETY: as above.
            && unsafe { self.descr(fields.descr).number } == 3;
        if same {
            return Ok(());
        }
        Err(Error::Unavailable {
            what: "this NumPy keeps its arrays in an order dlbridge does not know; upgrade dlbridge".into(),
        })
    }

    /// # Safety
    ///
    /// `array` is a live ndarray.
    unsafe fn fields(&self, array: Object) -> &ArrayFields {
        // SAFETY: the fields follow the header of an ndarray.
        unsafe { &*array.cast::<u8>().add(self.header).cast::<ArrayFields>() }
    }

    /// # Safety
    ///
    /// `descr` is a live dtype.
    unsafe fn descr(&self, descr: Object) -> &DescrFields {
        // SAFETY: the fields follow the header of a dtype.
        unsafe { &*descr.cast::<u8>().add(self.header).cast::<DescrFields>() }
    }

    /// The DLPack type of a `numpy.dtype`; `None` for another object, and for a dtype that DLPack has none like.
    pub fn dtype(&self, gil: &Gil, descr: Object) -> Option<DLDataType> {
        if !gil.is_subtype(gil.type_of(descr), self.descr_type) {
            return None;
        }
        // SAFETY: the GIL is held, and it is a live dtype.
        unsafe { dtype::of_descr(gil, descr, self.descr(descr)) }.ok()
    }

    /// The tensor that an array shows; it holds a reference to the array.
    ///
    /// # Safety
    ///
    /// The GIL is held and `array` is a live ndarray, or of a subclass.
    pub unsafe fn read(&self, gil: &Gil, array: Object) -> Result<Tensor> {
        // SAFETY: promised by the caller; an array has a dtype.
        unsafe {
            let fields = self.fields(array);
            let dtype = dtype::of_descr(gil, fields.descr, self.descr(fields.descr))?;
            self.read_as(gil, array, dtype)
        }
    }

    /// The tensor that an array shows if its elements are of this dtype.
    ///
    /// # Safety
    ///
    /// As for [`Numpy::read`]; elements of the dtype are as long as the array's.
    unsafe fn read_as(&self, gil: &Gil, array: Object, dtype: DLDataType) -> Result<Tensor> {
        // SAFETY: promised by the caller.
        let fields = unsafe { self.fields(array) };
        let item = item_bytes(dtype).unwrap_or(1) as isize;
        let ndim = fields.ndim as usize;
        if ndim > MAX_NDIM {
            return Err(Error::Ndim { ndim: ndim as i64, limit: MAX_NDIM });
        }
        // The first `ndim` are read; to write them all costs as much as all the rest here.
        let mut strides = [MaybeUninit::<i64>::uninit(); MAX_NDIM];
        for (axis, slot) in strides.iter_mut().enumerate().take(ndim) {
            // SAFETY: an array has `ndim` sizes and strides.
            let (stride, extent) = unsafe { (*fields.strides.add(axis), *fields.shape.add(axis)) };
            let elements =
                if item & (item - 1) == 0 { stride >> item.trailing_zeros() } else { stride / item };
            slot.write(elements as i64);
            if elements * item != stride && extent > 1 {
                return Err(Error::Refused(Refusal::ByteStride {
                    axis,
                    stride: stride as i64,
                    item: item as usize,
                }));
            }
        }
        let description = DLTensor {
            data: fields.data,
            device: DLDevice::CPU,
            ndim: fields.ndim,
            dtype,
            shape: fields.shape.cast::<i64>().cast_mut(),
            strides: strides.as_mut_ptr().cast(),
            byte_offset: 0,
        };
        let flags = if fields.flags & WRITEABLE == 0 { DlpackFlags::READ_ONLY } else { DlpackFlags::empty() };
        // SAFETY: `array` is alive, and with it what it is based on.
        if let Some(of) = unsafe { self.origin(gil, array) } {
            // SAFETY: the array shows memory of this tensor, which NumPy got from us.
            return unsafe { Tensor::wrap_shared(&description, flags, of) };
        }
        let owner = gil.share(array);
        // SAFETY: NumPy keeps the memory for as long as the array, to which the tensor gets a reference of its own;
        // `release_object` gives that back from any thread. isize and i64 are the same on the 64-bit systems served.
        let tensor =
            unsafe { Tensor::wrap_foreign(&description, flags, Some(release_object), owner.object) }?;
        owner.into_raw();
        Ok(tensor)
    }

    /// The tensor of ours on whose memory an array lies: thousands of hand-overs back and forth must not build a chain
    /// that is undone in a recursion as deep.
    ///
    /// # Safety
    ///
    /// The GIL is held and `array` is a live ndarray, for `'a`.
    unsafe fn origin<'a>(&self, gil: &Gil, array: Object) -> Option<&'a Tensor> {
        // SAFETY: promised by the caller.
        let mut base = unsafe { self.fields(array) }.base;
        while !base.is_null() {
            let python_type = gil.type_of(base);
            if python_type == gil.api.PyCapsule_Type {
                // SAFETY: `base` is a capsule, kept by the array.
                return unsafe { capsule::kept_by_numpy(gil, base) };
            }
            if python_type != self.array_type {
                // SAFETY: `base` is kept by the array, and of this type only if it is ours.
                return (python_type == object::tensor_type())
                    .then(|| unsafe { object::tensor_of(base) })
                    .flatten();
            }
            // SAFETY: an ndarray, kept by the array.
            base = unsafe { self.fields(base) }.base;
        }
        None
    }

    /// Whether NumPy itself has this dtype.
    pub fn has(&self, dtype: DLDataType) -> bool {
        dtype::number(dtype).is_some()
    }

    /// An array on the memory that `view` describes, keeping `base` alive.
    pub fn array<'gil>(
        &self,
        gil: &'gil Gil,
        view: &DLTensor,
        writeable: bool,
        base: Option<Object>,
    ) -> Result<Owned<'gil>> {
        let ndim = view.ndim as usize;
        if ndim > MAX_NDIM {
            return Err(Error::Refused(Refusal::TooManyAxes { ndim, framework: "NumPy" }));
        }
        let item = item_bytes(view.dtype).unwrap_or(0) as isize;
        let mut strides = [0_isize; MAX_NDIM];
        for (axis, slot) in strides.iter_mut().enumerate().take(ndim) {
            // SAFETY: strides of a tensor are never NULL for `ndim` > 0 and hold `ndim` values.
            *slot = (unsafe { *view.strides.add(axis) } as isize).wrapping_mul(item);
        }
        let descr = self.new_descr(gil, view.dtype)?;
        let data = if view.data.is_null() { std::ptr::dangling_mut::<u128>().cast() } else { view.data };
        let flags = if writeable { WRITEABLE } else { 0 };
        // SAFETY: the GIL is held; shape and strides have `ndim` values; the dtype's reference is given away; the
        // memory lives as long as `base`, which the array is given next.
        let array = gil.own(unsafe {
            self.new_from_descr.call((
                self.array_type,
                descr,
                view.ndim,
                view.shape.cast::<isize>(),
                strides.as_ptr(),
                data,
                flags,
                null_mut(),
            ))
        });
        let array = array.ok_or_else(|| gil.exception())?;
        if let Some(base) = base {
            // SAFETY: the GIL is held; the reference to `base` is given away, also on failure.
            if unsafe { self.set_base.call((array.object, gil.share(base).into_raw())) } != 0 {
                return Err(gil.exception());
            }
        }
        Ok(array)
    }

    /// A new reference to the NumPy dtype of this name; ml_dtypes has those that NumPy lacks.
    fn new_descr(&self, gil: &Gil, wanted: DLDataType) -> Result<Object> {
        if let Some(number) = dtype::number(wanted) {
            // SAFETY: the GIL is held; a new reference comes back.
            return Ok(unsafe { self.descr_from_type.call((number,)) });
        }
        dtype::ml_dtype(gil, wanted)
    }
}
