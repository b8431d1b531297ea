//! The GIL, and references that are dropped while it is held.

use super::api::{Api, Object, api};
use super::error::Pending;
use super::release::drain;
use crate::error::{Error, Result};
use crate::guard::{Foreign, foreign};
use std::cell::OnceCell;
use std::ffi::{c_int, c_void};

/// Whether this thread holds the GIL of the main interpreter.
///
/// `PyGILState_Check` would say yes on every thread once a sub-interpreter has existed, so the states are compared: up
/// to 3.11 the current one is that of whichever thread holds the GIL.
pub(super) fn holds_gil(api: &Api) -> bool {
    // SAFETY: both may be asked at any time while the interpreter is there, from any thread.
    unsafe {
        let mine = (api.PyGILState_GetThisThreadState)();
        !mine.is_null() && mine == (api.current_state)()
    }
}

/// Whether the interpreter is up and running, so that Python code may run on this thread.
///
/// While it shuts down only a thread that holds the GIL already may: asking for it would end or hang the thread.
pub(super) fn is_usable(api: &Api) -> bool {
    // SAFETY: may be called at any time, from any thread, with or without the GIL.
    let running = unsafe { (api.Py_IsInitialized)() != 0 };
    running && (!is_finalizing(api) || holds_gil(api))
}

/// Whether the interpreter shuts down: from then on one thread has the GIL, and no other gets it.
pub(super) fn is_finalizing(api: &Api) -> bool {
    // SAFETY: may be called at any time, from any thread, with or without the GIL.
    api.is_finalizing.is_some_and(|is_finalizing| unsafe { is_finalizing() } != 0)
}

/// The GIL, held while this lives.
pub(super) struct Gil {
    pub api: &'static Api,
    /// What `PyGILState_Ensure` returned, to give back; nothing where CPython called us with the GIL held.
    state: Option<c_int>,
    /// Whether the caller of ours held the GIL already, so that an exception can be left for it to see.
    pub caller_holds: bool,
    /// An exception that nobody may forget, kept until [`Gil::settle`].
    pub interrupt: OnceCell<Pending>,
}

impl Gil {
    pub fn take() -> Result<Gil> {
        let api = api()?;
        if !is_usable(api) {
            let what = "the Python interpreter is not running; call Py_Initialize first, and nothing after Py_Finalize";
            return Err(Error::Unavailable { what: what.into() });
        }
        let caller_holds = holds_gil(api);
        // SAFETY: the interpreter runs; the call is allowed from any thread, and `drop` gives the state back.
        let state = unsafe { (api.PyGILState_Ensure)() };
        // SAFETY: the GIL is held now.
        unsafe { drain(api) };
        Ok(Gil { api, state: Some(state), caller_holds, interrupt: OnceCell::new() })
    }

    /// For functions that CPython itself calls.
    ///
    /// # Safety
    ///
    /// The calling thread holds the GIL and goes on holding it while the result lives.
    pub unsafe fn held(api: &'static Api) -> Gil {
        Gil { api, state: None, caller_holds: true, interrupt: OnceCell::new() }
    }

    /// `function()`; `None` where it raised, with the exception set.
    pub fn call(&self, function: Object) -> Option<Owned<'_>> {
        // SAFETY: the GIL is held and `function` is alive; a new reference or NULL comes back.
        self.own(unsafe { (self.api.PyObject_CallNoArgs)(function) })
    }

    /// `function(argument)`; `None` where it raised, with the exception set.
    pub fn call_with(&self, function: Object, argument: Object) -> Option<Owned<'_>> {
        // SAFETY: the GIL is held and both are alive; the arguments of the second end with NULL; a new reference or
        // NULL comes back.
        self.own(unsafe {
            match self.api.call_one {
                Some(call_one) => call_one.call((function, argument)),
                None => foreign(|| {
                    let end = std::ptr::null_mut::<c_void>();
                    (self.api.PyObject_CallFunctionObjArgs)(function, argument, end)
                }),
            }
        })
    }

    /// Adds a reference to an object that somebody else owns.
    pub fn share(&self, object: Object) -> Owned<'_> {
        // SAFETY: the GIL is held and `object` is alive.
        unsafe { (self.api.Py_IncRef)(object) };
        Owned { object, gil: self }
    }

    /// Adopts a new reference that an API function returned; `None` where it returned NULL with an exception set.
    pub fn own(&self, object: Object) -> Option<Owned<'_>> {
        (!object.is_null()).then_some(Owned { object, gil: self })
    }
}

impl Drop for Gil {
    fn drop(&mut self) {
        if let Some(state) = self.state {
            // SAFETY: pairs with the call in `take`, on the same thread (raw pointers inside keep `Gil` there).
            unsafe { (self.api.PyGILState_Release)(state) }
        }
    }
}

/// A counted reference to a Python object, dropped with the GIL held.
pub(super) struct Owned<'gil> {
    pub object: Object,
    gil: &'gil Gil,
}

impl Owned<'_> {
    /// The reference, given away.
    pub fn into_raw(self) -> Object {
        std::mem::ManuallyDrop::new(self).object
    }
}

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        // SAFETY: the reference is ours, and the borrowed `Gil` is still held.
        unsafe { (self.gil.api.Py_DecRef)(self.object) }
    }
}
