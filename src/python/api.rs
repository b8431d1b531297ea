//! CPython's C API, looked up in the running process the first time it is needed.
//!
//! Only functions that treat objects as opaque are used, all of them exported by every CPython from 3.9 on.
#![allow(non_snake_case, reason = "fields are named after the functions they point to")]

use crate::error::{Error, Result};
use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A `PyObject *`.
pub(super) type Object = *mut c_void;
pub(super) type Destructor = unsafe extern "C" fn(Object);

/// `PyMethodDef`.
#[repr(C)]
pub(super) struct MethodDef {
    pub name: *const c_char,
    pub function: *const c_void,
    pub flags: c_int,
    pub doc: *const c_char,
}

// SAFETY: only static tables of constants, read by CPython.
unsafe impl Sync for MethodDef {}

/// `PyGetSetDef`.
#[repr(C)]
pub(super) struct GetSetDef {
    pub name: *const c_char,
    pub get: Option<unsafe extern "C" fn(Object, *mut c_void) -> Object>,
    pub set: *const c_void,
    pub doc: *const c_char,
    pub closure: *mut c_void,
}

// SAFETY: only static tables of constants, read by CPython.
unsafe impl Sync for GetSetDef {}

/// `PyMemberDef`.
#[repr(C)]
pub(super) struct MemberDef {
    pub name: *const c_char,
    pub kind: c_int,
    pub offset: isize,
    pub flags: c_int,
    pub doc: *const c_char,
}

/// `PyType_Slot`.
#[repr(C)]
pub(super) struct Slot {
    pub slot: c_int,
    pub value: *mut c_void,
}

/// `PyType_Spec`.
#[repr(C)]
pub(super) struct Spec {
    pub name: *const c_char,
    pub basicsize: c_int,
    pub itemsize: c_int,
    pub flags: c_uint,
    pub slots: *mut Slot,
}

/// `Py_buffer`, whose layout is part of the stable ABI.
#[repr(C)]
pub(super) struct Buffer {
    pub buf: *mut c_void,
    pub object: Object,
    pub len: isize,
    pub itemsize: isize,
    pub readonly: c_int,
    pub ndim: c_int,
    pub format: *const c_char,
    pub shape: *const isize,
    pub strides: *const isize,
    pub suboffsets: *const isize,
    pub internal: *mut c_void,
}

macro_rules! symbols {
    ($($name:ident: $type:ty,)*) => {
        /// The functions found; each field has the name and the signature of the C function.
        pub(super) struct Api {
            $(pub $name: $type,)*
            /// `Py_IsFinalizing`, public only since 3.13.
            pub is_finalizing: Option<unsafe extern "C" fn() -> c_int>,
            /// `PyThreadState_GetUnchecked`, public only since 3.13: the thread state that holds the GIL, or NULL.
            pub current_state: unsafe extern "C" fn() -> *mut c_void,
            /// `PyObject_CallOneArg`, which is faster than what takes any number of arguments. Since 3.11.
            pub call_one: Option<unsafe extern "C" fn(Object, Object) -> Object>,
        }

        impl Api {
            /// Looks every function up; the name of the first one missing otherwise.
            #[allow(clippy::useless_transmute, clippy::crosspointer_transmute, reason = "some symbols are data")]
            fn find() -> std::result::Result<Api, &'static CStr> {
                Ok(Api {
                    $($name: {
                        const NAME: &CStr = {
                            match CStr::from_bytes_with_nul(concat!(stringify!($name), "\0").as_bytes()) {
                                Ok(name) => name,
                                Err(_) => panic!("a C name has no NUL inside"),
                            }
                        };
                        let address = symbol(NAME).ok_or(NAME)?;
                        // SAFETY: CPython exports this name with the C signature written below, and a function
                        // pointer has the size of an address.
                        unsafe { std::mem::transmute::<*mut c_void, $type>(address) }
                    },)*
                    is_finalizing: symbol(c"Py_IsFinalizing").or_else(|| symbol(c"_Py_IsFinalizing")).map(|address| {
                        // SAFETY: both names are `int (*)(void)`.
                        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(address) }
                    }),
                    current_state: {
                        const OLDER: &CStr = c"_PyThreadState_UncheckedGet";
                        let address = symbol(c"PyThreadState_GetUnchecked").or_else(|| symbol(OLDER)).ok_or(OLDER)?;
                        // SAFETY: both names are `PyThreadState *(*)(void)`.
                        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> *mut c_void>(address) }
                    },
                    call_one: symbol(c"PyObject_CallOneArg").map(|address| {
                        // SAFETY: the function of this name takes a callable and an argument.
                        unsafe { std::mem::transmute::<*mut c_void, unsafe extern "C" fn(Object, Object) -> Object>(address) }
                    }),
                })
            }
        }
    };
}

symbols! {
    // The interpreter and the GIL
    Py_IsInitialized: unsafe extern "C" fn() -> c_int,
    Py_AddPendingCall: unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void) -> c_int, *mut c_void) -> c_int,
    PyGILState_Ensure: unsafe extern "C" fn() -> c_int,
    PyGILState_Release: unsafe extern "C" fn(c_int),
    PyGILState_GetThisThreadState: unsafe extern "C" fn() -> *mut c_void,
    PyEval_SaveThread: unsafe extern "C" fn() -> *mut c_void,
    PyEval_RestoreThread: unsafe extern "C" fn(*mut c_void),
    PyInterpreterState_Get: unsafe extern "C" fn() -> *mut c_void,
    PyInterpreterState_Main: unsafe extern "C" fn() -> *mut c_void,
    // Objects
    Py_IncRef: unsafe extern "C" fn(Object),
    Py_DecRef: unsafe extern "C" fn(Object),
    Py_BuildValue: unsafe extern "C" fn(*const c_char, ...) -> Object,
    PyObject_Type: unsafe extern "C" fn(Object) -> Object,
    PyObject_Str: unsafe extern "C" fn(Object) -> Object,
    PyObject_IsTrue: unsafe extern "C" fn(Object) -> c_int,
    PyObject_GetAttr: unsafe extern "C" fn(Object, Object) -> Object,
    PyObject_GetAttrString: unsafe extern "C" fn(Object, *const c_char) -> Object,
    PyObject_SetAttrString: unsafe extern "C" fn(Object, *const c_char, Object) -> c_int,
    PyObject_Call: unsafe extern "C" fn(Object, Object, Object) -> Object,
    PyObject_CallNoArgs: unsafe extern "C" fn(Object) -> Object,
    PyObject_CallFunctionObjArgs: unsafe extern "C" fn(Object, ...) -> Object,
    PyObject_ClearWeakRefs: unsafe extern "C" fn(Object),
    PyObject_Free: unsafe extern "C" fn(*mut c_void),
    PyType_GenericAlloc: unsafe extern "C" fn(Object, isize) -> Object,
    PyType_FromSpec: unsafe extern "C" fn(*mut Spec) -> Object,
    PyType_IsSubtype: unsafe extern "C" fn(Object, Object) -> c_int,
    PyCMethod_New: unsafe extern "C" fn(*const MethodDef, Object, Object, Object) -> Object,
    PyModule_New: unsafe extern "C" fn(*const c_char) -> Object,
    PyImport_ImportModule: unsafe extern "C" fn(*const c_char) -> Object,
    PyImport_GetModuleDict: unsafe extern "C" fn() -> Object,
    PyDict_GetItemString: unsafe extern "C" fn(Object, *const c_char) -> Object,
    // Values
    PyUnicode_AsUTF8AndSize: unsafe extern "C" fn(Object, *mut isize) -> *const c_char,
    PyUnicode_FromStringAndSize: unsafe extern "C" fn(*const c_char, isize) -> Object,
    PyUnicode_InternFromString: unsafe extern "C" fn(*const c_char) -> Object,
    PyLong_AsLongLong: unsafe extern "C" fn(Object) -> i64,
    PyLong_FromLongLong: unsafe extern "C" fn(i64) -> Object,
    PyLong_FromVoidPtr: unsafe extern "C" fn(*mut c_void) -> Object,
    PyBool_FromLong: unsafe extern "C" fn(c_long) -> Object,
    PySequence_Tuple: unsafe extern "C" fn(Object) -> Object,
    PyFloat_AsDouble: unsafe extern "C" fn(Object) -> f64,
    PyTuple_New: unsafe extern "C" fn(isize) -> Object,
    PyTuple_Size: unsafe extern "C" fn(Object) -> isize,
    PyTuple_GetItem: unsafe extern "C" fn(Object, isize) -> Object,
    PyTuple_SetItem: unsafe extern "C" fn(Object, isize, Object) -> c_int,
    // Exceptions
    PyErr_Occurred: unsafe extern "C" fn() -> Object,
    PyErr_Fetch: unsafe extern "C" fn(*mut Object, *mut Object, *mut Object),
    PyErr_Restore: unsafe extern "C" fn(Object, Object, Object),
    PyErr_NormalizeException: unsafe extern "C" fn(*mut Object, *mut Object, *mut Object),
    PyErr_ExceptionMatches: unsafe extern "C" fn(Object) -> c_int,
    PyErr_GivenExceptionMatches: unsafe extern "C" fn(Object, Object) -> c_int,
    PyErr_Clear: unsafe extern "C" fn(),
    PyErr_CheckSignals: unsafe extern "C" fn() -> c_int,
    PyErr_SetString: unsafe extern "C" fn(Object, *const c_char),
    PyException_SetCause: unsafe extern "C" fn(Object, Object),
    PyException_SetTraceback: unsafe extern "C" fn(Object, Object) -> c_int,
    // Capsules and buffers
    PyCapsule_New: unsafe extern "C" fn(*mut c_void, *const c_char, Option<Destructor>) -> Object,
    PyCapsule_IsValid: unsafe extern "C" fn(Object, *const c_char) -> c_int,
    PyCapsule_GetPointer: unsafe extern "C" fn(Object, *const c_char) -> *mut c_void,
    PyCapsule_GetName: unsafe extern "C" fn(Object) -> *const c_char,
    PyCapsule_SetName: unsafe extern "C" fn(Object, *const c_char) -> c_int,
    PyObject_CheckBuffer: unsafe extern "C" fn(Object) -> c_int,
    PyObject_GetBuffer: unsafe extern "C" fn(Object, *mut Buffer, c_int) -> c_int,
    PyBuffer_Release: unsafe extern "C" fn(*mut Buffer),
    // Data, not functions: the address of a `PyObject *`, and of the object itself.
    PyExc_TypeError: *mut Object,
    PyExc_OverflowError: *mut Object,
    PyExc_ModuleNotFoundError: *mut Object,
    PyExc_AttributeError: *mut Object,
    PyExc_Exception: *mut Object,
    PyCapsule_Type: Object,
    PyBaseObject_Type: Object,
    PyLong_Type: Object,
    PyTuple_Type: Object,
    _Py_NoneStruct: Object,
    _Py_TrueStruct: Object,
}

/// The address of an exported name of this process, wherever it was loaded from.
fn symbol(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: the name is terminated; RTLD_DEFAULT is always valid.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!address.is_null()).then_some(address)
}

/// The API once found. Never freed: capsule destructors may need it until the process ends.
static FOUND: AtomicPtr<Api> = AtomicPtr::new(null_mut());

/// The C API of the interpreter in this process. A failure is not remembered: a program may embed Python later.
pub(super) fn api() -> Result<&'static Api> {
    // SAFETY: either NULL or a leaked box, which lives for ever.
    if let Some(api) = unsafe { FOUND.load(Ordering::Acquire).as_ref() } {
        return Ok(api);
    }
    let api = Api::find().map_err(|missing| Error::Unavailable {
        what: format!(
            "no Python interpreter in this process ({} is not exported); call this from Python, or embed a CPython whose symbols are global",
            missing.to_string_lossy()
        ),
    })?;
    let api: &'static Api = Box::leak(Box::new(api));
    // Threads that race here leak one small table each, once per process.
    FOUND.store(std::ptr::from_ref(api).cast_mut(), Ordering::Release);
    Ok(api)
}
