//! The Python type `Tensor`: an object header, our pointer, and room for weak references.

use super::api::{GetSetDef, MemberDef, MethodDef, Object, Slot, Spec, api};
use super::builtin::{Arguments, KEYWORDS, answer};
use super::cast;
use super::copy::{copied_tensor, order_of};
use super::exchange;
use super::export;
use super::gil::Gil;
use super::release::drain;
use super::wanted::needed_dtype;
use crate::copy::Options;
use crate::device::let_go;
use crate::dlpack::DLDevice;
use crate::error::{Error, Refusal, Result};
use crate::guard::guard_silent;
use crate::tensor::{Tensor, device, dtype};
use std::ffi::{CStr, c_int, c_void};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

static TYPE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
/// What `__dlpack_device__` answers for host memory: consumers ask for it at every hand-over.
static CPU_PAIR: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
/// Where our pointer lies in an object: behind the header.
static OFFSET: AtomicUsize = AtomicUsize::new(0);

/// The type, or NULL before [`make_type`].
pub(super) fn tensor_type() -> Object {
    TYPE.load(Ordering::Relaxed)
}

/// Where an object keeps its tensor.
///
/// # Safety
///
/// `object` is an instance of our type.
unsafe fn place(object: Object) -> *mut *mut c_void {
    // SAFETY: the type's basic size has room for a pointer there.
    unsafe { object.cast::<u8>().add(OFFSET.load(Ordering::Relaxed)).cast() }
}

/// Whether somebody has the description of an object's tensor, and may have queued work on it when the object goes.
///
/// # Safety
///
/// As for [`place`].
unsafe fn lent(object: Object) -> *mut bool {
    // SAFETY: as in `place`; behind the tensor and the list of weak references there is room for one more pointer.
    unsafe { place(object).add(2).cast() }
}

/// Notes that somebody gets the description of an object's tensor.
///
/// # Safety
///
/// As for [`place`], and the GIL is held.
pub(super) unsafe fn lend(object: Object) {
    // SAFETY: promised by the caller.
    unsafe { lent(object).write(true) }
}

/// A new object around a tensor.
pub(super) fn wrap(gil: &Gil, tensor: Tensor) -> Result<Object> {
    let python_type = tensor_type();
    if python_type.is_null() {
        return Err(Error::Unavailable {
            what: "the dlbridge package is not imported; import dlbridge first".into(),
        });
    }
    // SAFETY: the GIL is held; the type is ready. New memory is zeroed.
    let object = unsafe { (gil.api.PyType_GenericAlloc)(python_type, 0) };
    if object.is_null() {
        return Err(gil.exception());
    }
    // SAFETY: a new object of our type.
    unsafe { place(object).write(tensor.into_raw()) };
    Ok(object)
}

/// The tensor in an object of ours, borrowed for as long as the object is.
///
/// # Safety
///
/// The GIL is held and `object` is alive for `'a`.
pub(super) unsafe fn tensor_in<'a>(gil: &Gil, object: Object) -> Result<&'a Tensor> {
    // The type cannot be subclassed, so it is ours or it is not.
    if gil.type_of(object) != tensor_type() {
        return Err(Error::Refused(Refusal::NotOurs { type_name: gil.type_name(object) }));
    }
    // SAFETY: an instance of ours.
    unsafe { tensor_of(object) }.ok_or(Error::Refused(Refusal::NoConstructor))
}

/// The tensor in an instance; `None` where Python code has made one around our constructor.
///
/// # Safety
///
/// `object` is an instance of our type, alive for `'a`.
pub(super) unsafe fn tensor_of<'a>(object: Object) -> Option<&'a Tensor> {
    // SAFETY: the type's basic size has room for a pointer there, which is NULL (new memory is zeroed) or a tensor; and
    // an optional `Tensor` is a pointer that may be NULL.
    unsafe { &*place(object).cast::<Option<Tensor>>() }.as_ref()
}

unsafe extern "C" fn dealloc(object: Object) {
    guard_silent(|| {
        let Ok(api) = api() else { return };
        // SAFETY: CPython destroys an instance of ours, with the GIL held; it is not reachable any more.
        unsafe {
            let gil = Gil::held(api);
            // First: whatever is let go of here runs code that must not see an exception which is on its way.
            let pending = gil.set_aside();
            drain(api);
            (api.PyObject_ClearWeakRefs)(object);
            let (raw, lent) = (*place(object), *lent(object));
            let python_type = (api.PyObject_Type)(object);
            (api.PyObject_Free)(object);
            // One reference for the instance that is gone, one for the question.
            (api.Py_DecRef)(python_type);
            (api.Py_DecRef)(python_type);
            if !raw.is_null() {
                let tensor = Tensor::from_raw(raw);
                if lent {
                    let_go(&tensor, None);
                }
            }
            gil.put_back(pending);
        }
    });
}

unsafe extern "C" fn refuse_new(_: Object, _: Object, _: Object) -> Object {
    answer(|_| Err(Error::Refused(Refusal::NoConstructor)))
}

macro_rules! getters {
    ($($name:literal, $doc:literal => |$gil:ident, $tensor:ident| $body:expr;)*) => {
        &[$(GetSetDef {
            name: { const NAME: &CStr = $name; NAME.as_ptr() },
            get: Some({
                unsafe extern "C" fn get(object: Object, _: *mut c_void) -> Object {
                    answer(|$gil| {
                        // SAFETY: CPython calls getters on instances, with the GIL held.
                        let $tensor = unsafe { tensor_of(object) }.ok_or(Error::Refused(Refusal::NoConstructor))?;
                        Ok($body)
                    })
                }
                get
            }),
            set: null(),
            doc: { const DOC: &CStr = $doc; DOC.as_ptr() },
            closure: null_mut(),
        },)* GetSetDef { name: null(), get: None, set: null(), doc: null(), closure: null_mut() }]
    };
}

/// A Python bool.
fn boolean(gil: &Gil, value: bool) -> Object {
    // SAFETY: the GIL is held.
    unsafe { (gil.api.PyBool_FromLong)(value.into()) }
}

/// A Python int.
fn integer(gil: &Gil, value: usize) -> Object {
    // SAFETY: the GIL is held.
    unsafe { (gil.api.PyLong_FromLongLong)(value as i64) }
}

/// An address as a Python int.
fn address(gil: &Gil, address: *mut c_void) -> Object {
    // SAFETY: the GIL is held.
    unsafe { (gil.api.PyLong_FromVoidPtr)(address) }
}

/// Where the elements are, once they are there.
fn settled_address(gil: &Gil, tensor: &Tensor) -> Result<Object> {
    gil.settle_tensor(tensor)?;
    Ok(address(gil, tensor.data()))
}

static GETTERS: &[GetSetDef] = getters! {
    c"shape", c"The sizes of the dimensions." => |gil, tensor| gil.tuple(tensor.shape());
    c"strides", c"The steps along the dimensions, in elements (NumPy counts bytes)." => |gil, tensor| gil.tuple(tensor.strides());
    c"ndim", c"The number of dimensions." => |gil, tensor| integer(gil, tensor.ndim());
    c"dtype", c"The name of the element type, as NumPy and ml_dtypes write it." =>
        |gil, tensor| gil.string(&dtype::Name(tensor.dtype()).to_string());
    c"device", c"Where the memory is: 'cpu', 'cuda:0'." => |gil, tensor| gil.string(&device::Name(tensor.device()).to_string());
    c"data_ptr", c"The address of the first element; 0 where there is none." => |gil, tensor| settled_address(gil, tensor)?;
    c"size", c"The number of elements." => |gil, tensor| integer(gil, tensor.size());
    c"itemsize", c"The bytes of an element, rounded up: 1 for packed ones of 4 bits." =>
        |gil, tensor| integer(gil, dtype::item_bits(tensor.dtype()).div_ceil(8) as usize);
    c"nbytes", c"The bytes the elements fill when packed." => |gil, tensor| integer(gil, tensor.nbytes());
    c"copied", c"Whether the memory is a copy that was made for this tensor, or for the one it is a view of." => |gil, tensor| boolean(gil, tensor.is_copied());
    c"readonly", c"Whether nobody may write to the memory through this tensor." => |gil, tensor| boolean(gil, tensor.is_read_only());
    c"contiguous", c"Whether the elements lie packed in row-major (C) order." => |gil, tensor| boolean(gil, tensor.is_row_major());
};

macro_rules! methods {
    ($($name:literal, $doc:literal => |$gil:ident, $tensor:ident, $arguments:ident| $body:expr;)*) => {
        &[$(MethodDef {
            name: { const NAME: &CStr = $name; NAME.as_ptr() },
            function: {
                unsafe extern "C" fn call(object: Object, args: *const Object, count: isize, names: Object) -> Object {
                    answer(|$gil| {
                        // SAFETY: CPython calls methods on instances, with the GIL held.
                        let $tensor = unsafe { tensor_of(object) }.ok_or(Error::Refused(Refusal::NoConstructor))?;
                        let $arguments = Arguments { values: args, count, names };
                        $body
                    })
                }
                call as *const c_void
            },
            flags: KEYWORDS,
            doc: { const DOC: &CStr = $doc; DOC.as_ptr() },
        },)* MethodDef { name: null(), function: null(), flags: 0, doc: null() }]
    };
}

static METHODS: &[MethodDef] = methods! {
    c"__dlpack__", c"__dlpack__($self, /, *, stream=None, max_version=None, dl_device=None, copy=None)\n--\n\n\
A capsule with an export of this tensor, for any DLPack consumer.\n\n\
Versioned (DLPack 1.3) where max_version is (1, 0) or more, legacy where it is None or less: that one cannot say\n\
'read-only', so a read-only tensor raises ReadOnlyError, a BufferError. About 50 ns.\n\n\
Of a CUDA tensor, `stream` is the consumer's: it waits for the copies into the memory, by an event, and this call does\n\
not. None and 1 are the legacy default stream, 2 the per-thread one, a larger number a handle, -1 waits for nothing.\n\
When the consumer lets go, the memory is not used again before what it has queued there; the stream may be destroyed first.\n\
Nothing is copied, unless copy=True asks for it, or dl_device=(1, 0) for a CUDA tensor on the host: then it is there when\n\
this returns.\n\
Pinned memory is exported as such, (3, 0), and with dl_device=(1, 0) as the plain host memory that it is too." =>
        |gil, tensor, arguments| export::dlpack(gil, tensor, &arguments);
    c"__dlpack_device__", c"__dlpack_device__($self, /)\n--\n\nDLPack's device type and id." =>
        |gil, tensor, arguments| {
            let ([], []) = arguments.parse(gil, "__dlpack_device__()", [])?;
            if tensor.device() == DLDevice::CPU {
                return Ok(gil.share(CPU_PAIR.load(Ordering::Relaxed)).into_raw());
            }
            Ok(device_pair(gil, tensor.device()))
        };
    c"copy", c"copy($self, /, *, order='C')\n--\n\nA tensor of its own with the same elements: dlbridge.copy(self)." =>
        |gil, tensor, arguments| {
            let ([], [order]) = arguments.parse(gil, "copy()", ["order"])?;
            wrap(gil, copied_tensor(gil, tensor, order_of(gil, order)?, Options::default())?)
        };
    c"_slice", c"_slice($self, axis, start, stop, step, /)\n--\n\nOne axis sliced; None for an open end." =>
        |gil, tensor, arguments| {
            let ([axis, start, stop, step], []) = arguments.parse(gil, "_slice", [])?;
            let bound = |value: Object| if value == gil.api._Py_NoneStruct { Ok(None) } else { gil.index(value).map(Some) };
            wrap(gil, tensor.slice(gil.index(axis)?, bound(start)?, bound(stop)?, gil.index(step)?)?)
        };
    c"_select", c"_select($self, axis, index, /)\n--\n\nOne position of an axis." =>
        |gil, tensor, arguments| {
            let ([axis, index], []) = arguments.parse(gil, "_select", [])?;
            wrap(gil, tensor.select(gil.index(axis)?, gil.index(index)?)?)
        };
    c"_unsqueeze", c"_unsqueeze($self, axis, /)\n--\n\nA new axis of size 1." =>
        |gil, tensor, arguments| {
            let ([axis], []) = arguments.parse(gil, "_unsqueeze", [])?;
            wrap(gil, tensor.unsqueeze(gil.index(axis)?)?)
        };
    c"astype", c"astype($self, /, dtype, *, casting='same_kind', report=False)\n--\n\n\
The elements as another dtype, in a new row-major tensor: dlbridge.cast(self, dtype, ...)." =>
        |gil, tensor, arguments| cast::astype(gil, tensor, &arguments);
    c"view", c"view($self, /, dtype)\n--\n\nThe same bytes as another dtype (spelled as for to_numpy): t.view('uint16') shows bfloat16 to who does not know it. No copy." =>
        |gil, tensor, arguments| {
            let ([dtype], []) = arguments.parse_by_name(gil, "view(dtype)", ["dtype"], [])?;
            wrap(gil, tensor.reinterpret(needed_dtype(gil, "view", dtype)?)?)
        };
};

/// DLPack's device type and id: a new tuple.
fn device_pair(gil: &Gil, device: DLDevice) -> Object {
    gil.tuple(&[device.device_type.0.into(), device.device_id.into()])
}

// Slot numbers and flags of the stable ABI.
const TP_DEALLOC: c_int = 52;
const TP_DOC: c_int = 56;
const TP_METHODS: c_int = 64;
const TP_MEMBERS: c_int = 72;
const TP_GETSET: c_int = 73;
const TP_NEW: c_int = 65;
const TPFLAGS_DEFAULT: u32 = 1 << 18;
const MEMBER_SSIZE: c_int = 19;
const MEMBER_READ_ONLY: c_int = 1;

const DOC: &CStr = c"A buffer that somebody owns, described: address, shape, strides, dtype, device.\n\n\
Made by dlbridge.from_dlpack and dlbridge.empty; every DLPack framework takes it through __dlpack__. It holds a\n\
reference to the owner, copies nothing, and its description never changes, so threads may share it.\n\n\
Strides may be negative. torch has none such: torch.from_dlpack(t) aborts the process, as it does for a NumPy array, and\n\
so do torch.tensor(t), torch.as_tensor(t) and torch.asarray(t). Call t.torch(), which refuses, or dlbridge.to_torch(t, copy=True).\n\n\
There is no ==, which NumPy and torch give for each element: dlbridge.equal(a, b) compares, `is` asks for the same object,\n\
and a tensor hashes by identity.\n\n\
The garbage collector does not look into a tensor: a cycle through the owner of its memory, say an object that keeps a\n\
tensor on its own buffer, is never collected.";

/// Makes the type, once per process. A new reference.
pub(super) fn make_type(gil: &Gil) -> Result<Object> {
    let header = gil.header_size()?;
    OFFSET.store(header, Ordering::Relaxed);
    let weak_references = MemberDef {
        name: c"__weaklistoffset__".as_ptr(),
        kind: MEMBER_SSIZE,
        offset: (header + size_of::<*mut c_void>()) as isize,
        flags: MEMBER_READ_ONLY,
        doc: null(),
    };
    let end = MemberDef { name: null(), kind: 0, offset: 0, flags: 0, doc: null() };
    let mut members = [weak_references, end];
    let slot = |slot, value: *const c_void| Slot { slot, value: value.cast_mut() };
    let mut slots = [
        slot(TP_DEALLOC, dealloc as *const c_void),
        slot(TP_NEW, refuse_new as *const c_void),
        slot(TP_DOC, DOC.as_ptr().cast()),
        slot(TP_METHODS, METHODS.as_ptr().cast()),
        slot(TP_GETSET, GETTERS.as_ptr().cast()),
        slot(TP_MEMBERS, members.as_mut_ptr().cast()),
        slot(0, null()),
    ];
    let mut spec = Spec {
        name: c"dlbridge.Tensor".as_ptr(),
        basicsize: (header + 3 * size_of::<*mut c_void>()) as c_int,
        itemsize: 0,
        flags: TPFLAGS_DEFAULT,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the GIL is held; CPython copies what is not static (the spec, the slots, the members).
    let python_type = unsafe { (gil.api.PyType_FromSpec)(&mut spec) };
    if python_type.is_null() {
        return Err(gil.exception());
    }
    let table = gil.own(exchange::our_table(gil)?).ok_or_else(|| gil.exception())?;
    // SAFETY: the GIL is held.
    if unsafe { (gil.api.PyObject_SetAttrString)(python_type, exchange::ATTRIBUTE.as_ptr(), table.object) }
        != 0
    {
        return Err(gil.exception());
    }
    let cpu = gil.own(device_pair(gil, DLDevice::CPU)).ok_or_else(|| gil.exception())?;
    CPU_PAIR.store(cpu.into_raw(), Ordering::Relaxed);
    TYPE.store(python_type, Ordering::Release);
    Ok(python_type)
}
