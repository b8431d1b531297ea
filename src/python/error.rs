//! Between Python exceptions and errors, both ways.

use super::api::Object;
use super::builtin::Arguments;
use super::gil::Gil;
use super::module;
use crate::error::{Error, Face, Kind, Result, last};
use std::ptr::null_mut;

/// An exception that was set, to be put back or dropped: type, value, traceback.
pub(super) struct Pending([Object; 3]);

/// `_words()`: those of the last failing call through the C API on this thread, which parts of the package make by ctypes.
pub(super) fn words(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([], []) = arguments.parse(gil, "_words", [])?;
    Ok(gil.string(&last::words(Face::Python)))
}

/// Who raised what a signal's handler raised.
const HANDLER: &str = "a signal's handler";
/// Who raised what code of the package's own in Python raised, or what it called.
const PACKAGE: &str = "the package";

impl Gil {
    /// Takes the exception away that is set, if one is.
    pub(super) fn set_aside(&self) -> Pending {
        let (mut kind, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
        // SAFETY: the GIL is held; the places are ours, and what is put there is ours to give back or drop.
        unsafe { (self.api.PyErr_Fetch)(&mut kind, &mut value, &mut traceback) };
        Pending([kind, value, traceback])
    }

    /// Sets it again.
    pub(super) fn put_back(&self, Pending([kind, value, traceback]): Pending) {
        // SAFETY: the GIL is held; the references are given away. NULLs clear.
        unsafe { (self.api.PyErr_Restore)(kind, value, traceback) }
    }

    /// Forgets the exception that is set, if one is. What is no `Exception` (a keyboard interrupt) nobody may forget: it
    /// is kept until [`Gil::settle`] raises it.
    pub(super) fn clear(&self) {
        // SAFETY: the GIL is held, and the second question is asked only where an exception is set.
        let foreign = unsafe {
            !(self.api.PyErr_Occurred)().is_null()
                && (self.api.PyErr_ExceptionMatches)(*self.api.PyExc_Exception) == 0
        };
        if foreign && self.interrupt.get().is_none() {
            let _ = self.interrupt.set(self.set_aside());
        }
        // SAFETY: the GIL is held.
        unsafe { (self.api.PyErr_Clear)() }
    }

    /// Whether an exception is kept that nobody may forget: what was found out since may be wrong.
    #[inline]
    pub(super) fn is_interrupted(&self) -> bool {
        self.interrupt.get().is_some()
    }

    /// What a function returns: the exception that nobody may forget, where one came by, instead of the result.
    #[inline]
    pub(super) fn settle<T>(&mut self, result: Result<T>) -> Result<T> {
        let Some(kept) = self.interrupt.take() else { return result };
        drop(result);
        self.put_back(kept);
        Err(self.exception())
    }

    /// The exception that is set, as an error. It stays set where the caller of ours held the GIL and can see it;
    /// otherwise it is cleared, because nobody would, and its words are all that is left.
    pub(super) fn exception(&self) -> Error {
        let Pending([mut kind, mut value, mut traceback]) = self.set_aside();
        if kind.is_null() {
            let words = "no exception, although it reported failure".into();
            return Error::Python { who: "the producer", words };
        }
        // SAFETY: the GIL is held, and the three are what `PyErr_Fetch` gave.
        unsafe { (self.api.PyErr_NormalizeException)(&mut kind, &mut value, &mut traceback) };
        let text = self.text(value);
        // Some add a whole stack of C++ frames; they stay in the exception.
        let first = text.split("\nException raised from").next().unwrap_or_default();
        let words = format!("{}: {first}", self.name(kind));
        let pending = Pending([kind, value, traceback]);
        if self.caller_holds {
            self.put_back(pending);
        } else {
            // SAFETY: the GIL is held; `Py_DecRef` ignores NULL.
            pending.0.into_iter().for_each(|object| unsafe { (self.api.Py_DecRef)(object) });
        }
        Error::Python { who: "the producer", words }
    }

    /// Runs the handlers of signals that have come, as whatever waits must; what one raised is raised as it is.
    pub(super) fn check_signals(&self) -> Result<()> {
        // SAFETY: the GIL is held.
        match unsafe { (self.api.PyErr_CheckSignals)() } {
            0 => Ok(()),
            _ => Err(self.exception_of(HANDLER)),
        }
    }

    /// The exception that the package's own Python code raised, or what it called: raised as it is.
    pub(super) fn raised(&self) -> Error {
        self.exception_of(PACKAGE)
    }

    /// The exception that a consumer raised, which is named.
    pub(super) fn exception_of(&self, who: &'static str) -> Error {
        match self.exception() {
            Error::Python { words, .. } => Error::Python { who, words },
            error => error,
        }
    }

    /// Whether the exception that is set is of this type and says one of `words`; if so it is cleared.
    pub(super) fn catch_saying(&self, kind: *mut Object, words: &[&str]) -> bool {
        // SAFETY: the GIL is held, an exception is set, and `kind` is the address of a static exception type.
        if unsafe { (self.api.PyErr_ExceptionMatches)(*kind) == 0 } {
            return false;
        }
        let Pending([mut kind, mut value, mut traceback]) = self.set_aside();
        // SAFETY: the GIL is held, and the three are what `PyErr_Fetch` gave.
        unsafe { (self.api.PyErr_NormalizeException)(&mut kind, &mut value, &mut traceback) };
        let text = self.text(value);
        self.put_back(Pending([kind, value, traceback]));
        let caught = words.iter().any(|words| text.contains(words));
        if caught {
            self.clear();
        }
        caught
    }

    /// Whether the exception that is set is of this type; if so it is cleared.
    pub(super) fn catch(&self, kind: *mut Object) -> bool {
        // SAFETY: the GIL is held, an exception is set, and `kind` is the address of a static exception type.
        let caught = unsafe { (self.api.PyErr_ExceptionMatches)(*kind) != 0 };
        if caught {
            self.clear();
        }
        caught
    }
}

/// Raises an error as the exception class of the package that stands for it. What a producer raised becomes the cause
/// of a `ProducerError`; what is no `Exception` (a keyboard interrupt), or comes from a signal's handler or from the package itself, passes through.
pub(super) fn raise(gil: &Gil, error: &Error) {
    let Pending([mut kind, mut value, mut traceback]) = gil.set_aside();
    if !kind.is_null() {
        // SAFETY: the GIL is held, and the three are what `PyErr_Fetch` gave. Before 3.12 the value may be anything.
        unsafe { (gil.api.PyErr_NormalizeException)(&mut kind, &mut value, &mut traceback) };
    }
    let handled = matches!(error, Error::Python { who: HANDLER | PACKAGE, .. });
    // SAFETY: the GIL is held; NULL is no exception.
    let foreign = error.kind() == Kind::Python
        && !kind.is_null()
        && (handled || unsafe { (gil.api.PyErr_GivenExceptionMatches)(kind, *gil.api.PyExc_Exception) == 0 });
    if foreign {
        return gil.put_back(Pending([kind, value, traceback]));
    }
    let words = error.c_words(Face::Python);
    // SAFETY: the GIL is held; the class and the words live on.
    unsafe { (gil.api.PyErr_SetString)(module::exception_class(gil, error), words.as_ptr()) };
    if value.is_null() && !matches!(error.of_one_array(), Error::Cast(_)) {
        return;
    }
    let Pending([mut new_kind, mut new_value, mut new_traceback]) = gil.set_aside();
    // SAFETY: the GIL is held, and the three are what `PyErr_Fetch` gave.
    unsafe { (gil.api.PyErr_NormalizeException)(&mut new_kind, &mut new_value, &mut new_traceback) };
    module::complete(gil, error, new_value);
    if value.is_null() {
        return gil.put_back(Pending([new_kind, new_value, new_traceback]));
    }
    // SAFETY: the GIL is held; the cause's reference is given away, and so are those that are put back.
    unsafe {
        if !traceback.is_null() {
            (gil.api.PyException_SetTraceback)(value, traceback);
        }
        (gil.api.PyException_SetCause)(new_value, value);
        (gil.api.Py_DecRef)(kind);
        (gil.api.Py_DecRef)(traceback);
    }
    gil.put_back(Pending([new_kind, new_value, new_traceback]));
}
