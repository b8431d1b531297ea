//! Python exceptions as errors, and the names of things for messages.

use super::api::{Gil, Object};
use crate::error::Error;
use std::ptr::null_mut;

impl Gil {
    /// The exception that is set, as an error. It stays set where the caller of ours held the GIL and can see it;
    /// otherwise it is cleared, because nobody would, and its words are all that is left.
    pub(super) fn exception(&self) -> Error {
        let (mut kind, mut value, mut traceback) = (null_mut(), null_mut(), null_mut());
        // SAFETY: the GIL is held; the three places are ours, and what is put there is ours to give back or drop.
        unsafe {
            (self.api.PyErr_Fetch)(&mut kind, &mut value, &mut traceback);
            if kind.is_null() {
                return Error::Python { words: "no exception, although it reported failure".into() };
            }
            (self.api.PyErr_NormalizeException)(&mut kind, &mut value, &mut traceback);
        }
        let words = format!("{}: {}", self.attribute_text(kind, c"__name__"), self.text(value));
        // SAFETY: as above; `PyErr_Restore` takes the three references over, `Py_DecRef` ignores NULL.
        unsafe {
            if self.caller_holds {
                (self.api.PyErr_Restore)(kind, value, traceback);
            } else {
                [kind, value, traceback].into_iter().for_each(|object| (self.api.Py_DecRef)(object));
            }
        }
        Error::Python { words }
    }

    /// Whether the exception that is set is of this type; if so it is cleared.
    pub(super) fn catch(&self, kind: *mut Object) -> bool {
        // SAFETY: the GIL is held, an exception is set, and `kind` is the address of a static exception type.
        unsafe {
            let caught = (self.api.PyErr_ExceptionMatches)(*kind) != 0;
            if caught {
                (self.api.PyErr_Clear)();
            }
            caught
        }
    }

    /// The name of an object's type.
    pub(super) fn type_name(&self, object: Object) -> String {
        // SAFETY: the GIL is held and `object` is alive; a new reference comes back.
        match self.own(unsafe { (self.api.PyObject_Type)(object) }) {
            Some(kind) => self.attribute_text(kind.object, c"__name__"),
            None => self.no_words(),
        }
    }

    fn attribute_text(&self, object: Object, name: &std::ffi::CStr) -> String {
        // SAFETY: the GIL is held and `object` is alive; a new reference or NULL comes back.
        match self.own(unsafe { (self.api.PyObject_GetAttrString)(object, name.as_ptr()) }) {
            Some(value) => self.text(value.object),
            None => self.no_words(),
        }
    }

    /// `str(object)`.
    fn text(&self, object: Object) -> String {
        // SAFETY: the GIL is held; `PyObject_Str` takes NULL too; a new reference or NULL comes back.
        let Some(text) = self.own(unsafe { (self.api.PyObject_Str)(object) }) else {
            return self.no_words();
        };
        let mut length = 0;
        // SAFETY: the GIL is held and `text` is a str; the bytes live as long as it does.
        let utf8 = unsafe { (self.api.PyUnicode_AsUTF8AndSize)(text.object, &mut length) };
        if utf8.is_null() {
            return self.no_words();
        }
        // SAFETY: CPython gives `length` bytes of UTF-8.
        let bytes = unsafe { std::slice::from_raw_parts(utf8.cast::<u8>(), length as usize) };
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// For an object that cannot even be described: drops the exception that this raised.
    fn no_words(&self) -> String {
        // SAFETY: the GIL is held.
        unsafe { (self.api.PyErr_Clear)() };
        "(no description)".into()
    }
}
