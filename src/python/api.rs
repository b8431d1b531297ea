//! CPython's C API, looked up in the running process the first time it is needed, and the GIL.
//!
//! Only functions that treat objects as opaque are used, all of them exported by every CPython from 3.9 on.
#![allow(non_snake_case, reason = "fields are named after the functions they point to")]

use crate::error::{Error, Result};
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A `PyObject *`.
pub(super) type Object = *mut c_void;
pub(super) type Destructor = unsafe extern "C" fn(Object);

macro_rules! functions {
    ($($name:ident: $type:ty,)*) => {
        /// The functions found; each field has the name and the signature of the C function.
        pub(super) struct Api {
            $(pub $name: $type,)*
            /// `Py_IsFinalizing`, public only since 3.13.
            pub is_finalizing: Option<unsafe extern "C" fn() -> c_int>,
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
                })
            }
        }
    };
}

functions! {
    Py_IsInitialized: unsafe extern "C" fn() -> c_int,
    PyGILState_Ensure: unsafe extern "C" fn() -> c_int,
    PyGILState_Release: unsafe extern "C" fn(c_int),
    PyGILState_Check: unsafe extern "C" fn() -> c_int,
    Py_DecRef: unsafe extern "C" fn(Object),
    Py_BuildValue: unsafe extern "C" fn(*const c_char, ...) -> Object,
    PyObject_GetAttrString: unsafe extern "C" fn(Object, *const c_char) -> Object,
    PyObject_Call: unsafe extern "C" fn(Object, Object, Object) -> Object,
    PyObject_Type: unsafe extern "C" fn(Object) -> Object,
    PyObject_Str: unsafe extern "C" fn(Object) -> Object,
    PyUnicode_AsUTF8AndSize: unsafe extern "C" fn(Object, *mut isize) -> *const c_char,
    PyErr_Fetch: unsafe extern "C" fn(*mut Object, *mut Object, *mut Object),
    PyErr_Restore: unsafe extern "C" fn(Object, Object, Object),
    PyErr_NormalizeException: unsafe extern "C" fn(*mut Object, *mut Object, *mut Object),
    PyErr_ExceptionMatches: unsafe extern "C" fn(Object) -> c_int,
    PyErr_Clear: unsafe extern "C" fn(),
    PyCapsule_New: unsafe extern "C" fn(*mut c_void, *const c_char, Option<Destructor>) -> Object,
    PyCapsule_IsValid: unsafe extern "C" fn(Object, *const c_char) -> c_int,
    PyCapsule_GetPointer: unsafe extern "C" fn(Object, *const c_char) -> *mut c_void,
    PyCapsule_GetName: unsafe extern "C" fn(Object) -> *const c_char,
    PyCapsule_SetName: unsafe extern "C" fn(Object, *const c_char) -> c_int,
    // Data, not functions: the address of a `PyObject *`, and of the type object itself.
    PyExc_TypeError: *mut Object,
    PyExc_AttributeError: *mut Object,
    PyCapsule_Type: Object,
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

/// Whether the interpreter is up and running, so that Python code may run on this thread.
///
/// While it shuts down only a thread that holds the GIL already may: asking for it would end or hang the thread.
pub(super) fn is_usable(api: &Api) -> bool {
    // SAFETY: these three may be called at any time, from any thread, with or without the GIL.
    unsafe {
        let finalizing = api.is_finalizing.is_some_and(|is_finalizing| is_finalizing() != 0);
        (api.Py_IsInitialized)() != 0 && (!finalizing || (api.PyGILState_Check)() != 0)
    }
}

/// The GIL, held while this lives.
pub(super) struct Gil {
    pub api: &'static Api,
    state: c_int,
    /// Whether the caller of ours held the GIL already, so that an exception can be left for it to see.
    pub caller_holds: bool,
}

impl Gil {
    pub fn take() -> Result<Gil> {
        let api = api()?;
        if !is_usable(api) {
            let what = "the Python interpreter is not running; call Py_Initialize first, and nothing after Py_Finalize";
            return Err(Error::Unavailable { what: what.into() });
        }
        // SAFETY: the interpreter runs; both calls are allowed from any thread, and `drop` gives the state back.
        unsafe {
            let caller_holds = (api.PyGILState_Check)() != 0;
            Ok(Gil { api, state: (api.PyGILState_Ensure)(), caller_holds })
        }
    }

    /// Adopts a new reference that an API function returned; `None` where it returned NULL with an exception set.
    pub fn own(&self, object: Object) -> Option<Owned<'_>> {
        (!object.is_null()).then_some(Owned { object, gil: self })
    }
}

impl Drop for Gil {
    fn drop(&mut self) {
        // SAFETY: pairs with the call in `take`, on the same thread (a raw pointer inside keeps `Gil` there).
        unsafe { (self.api.PyGILState_Release)(self.state) }
    }
}

/// A counted reference to a Python object, dropped with the GIL held.
pub(super) struct Owned<'gil> {
    pub object: Object,
    gil: &'gil Gil,
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and the borrowed `Gil` is still held.
        unsafe { (self.gil.api.Py_DecRef)(self.object) }
    }
}
