//! CPython's C API, looked up in the running process the first time it is needed.
//!
//! Only functions that treat objects as opaque are used, all of them exported by every CPython from 3.9 on.
#![allow(non_snake_case, reason = "fields are named after the functions they point to")]

use crate::error::{Error, Result};
use crate::guard::Foreign;
use std::ffi::{CStr, c_char, c_int, c_long, c_uint, c_void};
use std::ops::Deref;
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
    (
        functions { $($function:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?;)* }
        others { $($other:ident: $kind:ty,)* }
    ) => {
        /// Each function of CPython's as a type of its own, of size 0, which is called like a pointer to it. Most of them may
        /// let go of an object, so run Python code, so have to wait for the GIL: all are called as [`Foreign`].
        mod function {
            #![allow(non_camel_case_types, reason = "types are named after the functions they call")]
            use super::*;

            $(pub(in crate::python) struct $function;

            impl $function {
                /// Where it was found; NULL before.
                pub fn place() -> &'static AtomicPtr<c_void> {
                    static PLACE: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
                    &PLACE
                }
            }

            impl Deref for $function {
                type Target = unsafe fn($($type),*) $(-> $result)?;

                #[inline(always)]
                fn deref(&self) -> &Self::Target {
                    #[inline(always)]
                    unsafe fn call($($argument: $type),*) $(-> $result)? {
                        type Function = unsafe extern "C" fn($($type),*) $(-> $result)?;
                        // SAFETY: only `Api::find` makes the table, once it has found every function: CPython exports
                        // this name with the C signature written below, and a function pointer has the size of an
                        // address. What it is called with, the caller vouches for.
                        unsafe {
                            let address = $function::place().load(Ordering::Relaxed);
                            std::mem::transmute::<*mut c_void, Function>(address).call(($($argument,)*))
                        }
                    }
                    &const { call as unsafe fn($($type),*) $(-> $result)? }
                }
            })*
        }

        /// What was found; each field has the name and the signature of the C function.
        pub(super) struct Api {
            $(pub $function: function::$function,)*
            $(pub $other: $kind,)*
            /// `Py_IsFinalizing`, public only since 3.13.
            pub is_finalizing: Option<unsafe extern "C" fn() -> c_int>,
            /// `PyThreadState_GetUnchecked`, public only since 3.13: the thread state that holds the GIL, or NULL.
            pub current_state: unsafe extern "C" fn() -> *mut c_void,
            /// `PyObject_CallOneArg`, which is faster than what takes any number of arguments. Since 3.11.
            pub call_one: Option<unsafe extern "C" fn(Object, Object) -> Object>,
        }

        impl Api {
            /// Looks every name up; the first one missing otherwise.
            #[allow(clippy::useless_transmute, clippy::crosspointer_transmute, reason = "some symbols are data")]
            fn find() -> std::result::Result<Api, &'static CStr> {
                Ok(Api {
                    $($function: {
                        const NAME: &CStr = c_name(concat!(stringify!($function), "\0"));
                        function::$function::place().store(symbol(NAME).ok_or(NAME)?, Ordering::Relaxed);
                        function::$function
                    },)*
                    $($other: {
                        const NAME: &CStr = c_name(concat!(stringify!($other), "\0"));
                        let address = symbol(NAME).ok_or(NAME)?;
                        // SAFETY: CPython exports this name as what is written below, and a function pointer has the
                        // size of an address.
                        unsafe { std::mem::transmute::<*mut c_void, $kind>(address) }
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
    functions {
        // The interpreter and the GIL
        Py_IsInitialized() -> c_int;
        Py_AddPendingCall(function: unsafe extern "C" fn(*mut c_void) -> c_int, argument: *mut c_void) -> c_int;
        PyGILState_Ensure() -> c_int;
        PyGILState_Release(state: c_int);
        PyGILState_GetThisThreadState() -> *mut c_void;
        PyEval_SaveThread() -> *mut c_void;
        PyEval_RestoreThread(state: *mut c_void);
        PyInterpreterState_Get() -> *mut c_void;
        PyInterpreterState_Main() -> *mut c_void;
        // Objects
        Py_IncRef(object: Object);
        Py_DecRef(object: Object);
        PyObject_Type(object: Object) -> Object;
        PyObject_Str(object: Object) -> Object;
        PyObject_IsTrue(object: Object) -> c_int;
        PyObject_GetAttr(object: Object, name: Object) -> Object;
        PyObject_GetAttrString(object: Object, name: *const c_char) -> Object;
        PyObject_SetAttrString(object: Object, name: *const c_char, value: Object) -> c_int;
        PyObject_Call(function: Object, arguments: Object, keywords: Object) -> Object;
        PyObject_CallNoArgs(function: Object) -> Object;
        PyObject_ClearWeakRefs(object: Object);
        PyObject_Free(memory: *mut c_void);
        PyType_GenericAlloc(python_type: Object, items: isize) -> Object;
        PyType_FromSpec(spec: *mut Spec) -> Object;
        PyType_IsSubtype(python_type: Object, parent: Object) -> c_int;
        PyCMethod_New(definition: *const MethodDef, object: Object, module: Object, class: Object) -> Object;
        PyModule_New(name: *const c_char) -> Object;
        PyImport_ImportModule(name: *const c_char) -> Object;
        PyImport_GetModuleDict() -> Object;
        PyDict_GetItemString(dictionary: Object, key: *const c_char) -> Object;
        // Values
        PyUnicode_AsUTF8AndSize(string: Object, length: *mut isize) -> *const c_char;
        PyUnicode_FromStringAndSize(text: *const c_char, length: isize) -> Object;
        PyUnicode_InternFromString(text: *const c_char) -> Object;
        PyLong_AsLongLong(object: Object) -> i64;
        PyLong_FromLongLong(value: i64) -> Object;
        PyLong_FromVoidPtr(value: *mut c_void) -> Object;
        PyBool_FromLong(value: c_long) -> Object;
        PySequence_Tuple(object: Object) -> Object;
        PyFloat_AsDouble(object: Object) -> f64;
        PyTuple_New(length: isize) -> Object;
        PyObject_Size(object: Object) -> isize;
        PyTuple_Size(tuple: Object) -> isize;
        PyTuple_GetItem(tuple: Object, index: isize) -> Object;
        PyTuple_SetItem(tuple: Object, index: isize, value: Object) -> c_int;
        // Exceptions
        PyErr_Occurred() -> Object;
        PyErr_Fetch(kind: *mut Object, value: *mut Object, traceback: *mut Object);
        PyErr_Restore(kind: Object, value: Object, traceback: Object);
        PyErr_NormalizeException(kind: *mut Object, value: *mut Object, traceback: *mut Object);
        PyErr_ExceptionMatches(kind: Object) -> c_int;
        PyErr_GivenExceptionMatches(error: Object, kind: Object) -> c_int;
        PyErr_Clear();
        PyErr_CheckSignals() -> c_int;
        PyErr_SetString(kind: Object, text: *const c_char);
        PyException_SetCause(error: Object, cause: Object);
        PyException_SetTraceback(error: Object, traceback: Object) -> c_int;
        // Capsules and buffers
        PyCapsule_New(pointer: *mut c_void, name: *const c_char, destructor: Option<Destructor>) -> Object;
        PyCapsule_IsValid(capsule: Object, name: *const c_char) -> c_int;
        PyCapsule_GetPointer(capsule: Object, name: *const c_char) -> *mut c_void;
        PyCapsule_GetName(capsule: Object) -> *const c_char;
        PyCapsule_SetName(capsule: Object, name: *const c_char) -> c_int;
        PyObject_CheckBuffer(object: Object) -> c_int;
        PyObject_GetBuffer(object: Object, buffer: *mut Buffer, flags: c_int) -> c_int;
        PyBuffer_Release(buffer: *mut Buffer);
    }
    others {
        // Functions that take any number of arguments: to be called inside `foreign`.
        Py_BuildValue: unsafe extern "C-unwind" fn(*const c_char, ...) -> Object,
        PyObject_CallFunctionObjArgs: unsafe extern "C-unwind" fn(Object, ...) -> Object,
        // Data: the address of a `PyObject *`, and of the object itself.
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
}

/// A name with its NUL as C has it.
const fn c_name(name: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(name.as_bytes()) {
        Ok(name) => name,
        Err(_) => panic!("a C name has no NUL inside"),
    }
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
