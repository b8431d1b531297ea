//! Attributes, names and values of Python objects.

use super::api::Object;
use super::gil::{Gil, Owned};
use crate::error::{Error, Result};
use std::ffi::{CStr, CString};

impl Gil {
    /// An attribute; the exception stays set where there is none.
    pub(super) fn attribute(&self, object: Object, name: &CStr) -> Result<Owned<'_>> {
        // SAFETY: the GIL is held and `object` is alive; a new reference or NULL comes back.
        let found = self.own(unsafe { (self.api.PyObject_GetAttrString)(object, name.as_ptr()) });
        found.ok_or_else(|| self.exception())
    }

    /// `object.method()`.
    pub(super) fn call_method(&self, object: Object, method: &CStr) -> Result<Owned<'_>> {
        let method = self.attribute(object, method)?;
        self.call(method.object).ok_or_else(|| self.exception())
    }

    /// An attribute whose name is made at run time.
    pub(super) fn attribute_named(&self, object: Object, name: &str) -> Option<Owned<'_>> {
        self.attribute(object, &CString::new(name).ok()?).ok()
    }

    /// A boolean attribute, or what a method of this name returns; false where there is none.
    pub(super) fn flag(&self, object: Object, name: &CStr, method: bool) -> bool {
        let found = self.attribute(object, name).ok();
        let found = if method { found.and_then(|found| self.call(found.object)) } else { found };
        // SAFETY: the GIL is held.
        let set = found.is_some_and(|found| unsafe { (self.api.PyObject_IsTrue)(found.object) } == 1);
        self.clear();
        set
    }

    /// A new reference to an interned string.
    pub(super) fn interned(&self, name: &CStr) -> Result<Object> {
        // SAFETY: the GIL is held.
        let string = unsafe { (self.api.PyUnicode_InternFromString)(name.as_ptr()) };
        if string.is_null() { Err(self.exception()) } else { Ok(string) }
    }

    pub(super) fn is_subtype(&self, python_type: Object, base: Object) -> bool {
        // SAFETY: the GIL is held, and both are live types.
        unsafe { (self.api.PyType_IsSubtype)(python_type, base) != 0 }
    }

    /// Whether an object is a type.
    pub(super) fn is_type(&self, object: Object) -> bool {
        self.is_subtype(self.type_of(object), self.type_of(self.api.PyLong_Type))
    }

    /// Bytes of the header that every object begins with: `object.__basicsize__`.
    pub(super) fn header_size(&self) -> Result<usize> {
        let size = self.attribute(self.api.PyBaseObject_Type, c"__basicsize__")?;
        // SAFETY: the GIL is held and `size` is an int.
        Ok(unsafe { (self.api.PyLong_AsLongLong)(size.object) } as usize)
    }

    /// An object's type, borrowed from the object.
    pub(super) fn type_of(&self, object: Object) -> Object {
        // SAFETY: the GIL is held and `object` is alive; the new reference is dropped at once.
        unsafe {
            let python_type = (self.api.PyObject_Type)(object);
            (self.api.Py_DecRef)(python_type);
            python_type
        }
    }

    /// Why a framework could not be imported: it is not there, or importing it raised.
    pub(super) fn import_error(&self, name: &str) -> Error {
        if self.catch(self.api.PyExc_ModuleNotFoundError) {
            return Error::Unavailable { what: format!("{name} is not installed; run pip install {name}") };
        }
        self.exception()
    }

    /// The name of an object's type.
    pub(super) fn type_name(&self, object: Object) -> String {
        self.name(self.type_of(object))
    }

    /// `__name__`.
    pub(super) fn name(&self, object: Object) -> String {
        self.attribute_text(object, c"__name__")
    }

    pub(super) fn attribute_text(&self, object: Object, name: &CStr) -> String {
        match self.attribute(object, name) {
            Ok(value) => self.text(value.object),
            Err(_) => self.no_words(),
        }
    }

    /// `str(object)`.
    pub(super) fn text(&self, object: Object) -> String {
        // SAFETY: the GIL is held; `PyObject_Str` takes NULL too; a new reference or NULL comes back.
        let Some(text) = self.own(unsafe { (self.api.PyObject_Str)(object) }) else {
            return self.no_words();
        };
        self.utf8(text.object).unwrap_or_else(|| self.no_words())
    }

    /// What a `str` says; `None` for anything else.
    pub(super) fn utf8(&self, string: Object) -> Option<String> {
        let mut length = 0;
        // SAFETY: the GIL is held; the bytes live as long as the string.
        let utf8 = unsafe { (self.api.PyUnicode_AsUTF8AndSize)(string, &mut length) };
        if utf8.is_null() {
            self.clear();
            return None;
        }
        // SAFETY: CPython gives `length` bytes of UTF-8.
        let bytes = unsafe { std::slice::from_raw_parts(utf8.cast::<u8>(), length as usize) };
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A value as a message shows it: a `str` in quotes.
    pub(super) fn shown(&self, object: Object) -> String {
        self.utf8(object).map_or_else(|| self.text(object), |text| format!("{text:?}"))
    }

    /// A new `str`.
    pub(super) fn string(&self, text: &str) -> Object {
        // SAFETY: the GIL is held, and the bytes are valid UTF-8 of this length.
        unsafe { (self.api.PyUnicode_FromStringAndSize)(text.as_ptr().cast(), text.len() as isize) }
    }

    /// A new tuple of integers.
    pub(super) fn tuple(&self, values: &[i64]) -> Object {
        self.tuple_after(None, values)
    }

    /// A new tuple of a `str`, where there is one, and integers.
    pub(super) fn tuple_after(&self, text: Option<&str>, values: &[i64]) -> Object {
        // SAFETY: the GIL is held; a new reference or NULL comes back.
        let integers = values.iter().map(|&value| unsafe { (self.api.PyLong_FromLongLong)(value) });
        let items = text.into_iter().map(|text| self.string(text)).chain(integers);
        let count = values.len() + usize::from(text.is_some());
        // SAFETY: as above.
        let Some(tuple) = self.own(unsafe { (self.api.PyTuple_New)(count as isize) }) else {
            return std::ptr::null_mut();
        };
        for (item, index) in items.zip(0..) {
            // SAFETY: the GIL is held; the tuple takes each new item over, also on failure.
            if item.is_null() || unsafe { (self.api.PyTuple_SetItem)(tuple.object, index, item) } != 0 {
                return std::ptr::null_mut();
            }
        }
        tuple.into_raw()
    }

    /// How many elements of a masked array are masked, for a message.
    pub(super) fn masked_count(&self, array: Object) -> String {
        let mask = self.attribute(array, c"mask").ok();
        match mask.and_then(|mask| self.call_method(mask.object, c"sum").ok()) {
            Some(count) => self.text(count.object),
            None => self.no_words(),
        }
    }

    /// For an object that cannot even be described: drops the exception that this raised.
    fn no_words(&self) -> String {
        self.clear();
        "(no description)".into()
    }
}
