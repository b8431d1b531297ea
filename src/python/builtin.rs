//! Functions that CPython calls: their arguments, and the way an error becomes an exception.

use super::api::{Object, api};
use super::error::raise;
use super::gil::Gil;
use super::release::drain;
use crate::error::{Error, Refusal, Result};
use crate::guard::guard;
use std::ffi::c_int;
use std::ptr::null_mut;

/// METH_FASTCALL | METH_KEYWORDS.
pub(super) const KEYWORDS: c_int = 0x80 | 0x02;

/// Runs the body of a function that CPython called: a new reference, or NULL with an exception set.
pub(super) fn answer(body: impl FnOnce(&Gil) -> Result<Object>) -> Object {
    let Ok(api) = api() else { return null_mut() };
    // SAFETY: CPython calls functions with the GIL held.
    let mut gil = unsafe { Gil::held(api) };
    // SAFETY: as above.
    unsafe { drain(api) };
    let mut made = guard(|| body(&gil));
    if gil.is_interrupted() {
        made = discard(&mut gil, made);
    }
    made.unwrap_or_else(|error| {
        raise(&gil, &error);
        null_mut()
    })
}

/// Nobody gets what was made while an exception was kept: that one is raised.
#[cold]
fn discard(gil: &mut Gil, made: Result<Object>) -> Result<Object> {
    drop(made.map(|object| gil.own(object)));
    gil.settle(Ok(null_mut()))
}

/// The arguments of a METH_FASTCALL | METH_KEYWORDS function: positional values, then those of the keywords.
pub(super) struct Arguments {
    pub values: *const Object,
    pub count: isize,
    pub names: Object,
}

impl Arguments {
    /// Exactly `N` positional arguments, and the keywords that were passed (NULL where not), borrowed.
    #[inline]
    pub fn parse<const N: usize, const K: usize>(
        &self,
        gil: &Gil,
        function: &'static str,
        keywords: [&'static str; K],
    ) -> Result<([Object; N], [Object; K])> {
        if self.count != N as isize {
            return Err(wrong_count(function, N, "positional-only ", self.count));
        }
        let mut positional = std::array::from_fn(|index| self.value(index));
        let mut named = [null_mut(); K];
        self.read_names(gil, function, ([""; N], &mut positional), (keywords, &mut named))?;
        Ok((positional, named))
    }

    /// As [`Arguments::parse`], but that the positional arguments may be given by these names too, where they have one;
    /// NULL stands for what is not given, and is for the caller to refuse.
    #[inline]
    pub fn parse_by_name<const N: usize, const K: usize>(
        &self,
        gil: &Gil,
        function: &'static str,
        names: [&'static str; N],
        keywords: [&'static str; K],
    ) -> Result<([Object; N], [Object; K])> {
        let count = self.count as usize;
        if count > N {
            return Err(wrong_count(function, N, "", self.count));
        }
        let given = |index| if index < count { self.value(index) } else { null_mut() };
        let mut positional = std::array::from_fn(given);
        let mut named = [null_mut(); K];
        self.read_names(gil, function, (names, &mut positional), (keywords, &mut named))?;
        Ok((positional, named))
    }

    /// One of the values, of which there are `count`, and one more for each name.
    #[inline]
    fn value(&self, index: usize) -> Object {
        // SAFETY: CPython passes that many.
        unsafe { *self.values.add(index) }
    }

    /// Puts what was passed by name in its place.
    #[inline]
    fn read_names<const N: usize, const K: usize>(
        &self,
        gil: &Gil,
        function: &'static str,
        (names, positional): ([&'static str; N], &mut [Object; N]),
        (keywords, named): ([&'static str; K], &mut [Object; K]),
    ) -> Result<()> {
        if self.names.is_null() {
            return Ok(());
        }
        // SAFETY: the GIL is held, and names are a tuple of strings.
        let count = unsafe { (gil.api.PyTuple_Size)(self.names) };
        for index in 0..count {
            // SAFETY: as above; a borrowed reference.
            let name = unsafe { (gil.api.PyTuple_GetItem)(self.names, index) };
            let value = self.value(self.count as usize + index as usize);
            if let Some(place) = gil.position(name, &keywords) {
                named[place] = value;
                continue;
            }
            let name = gil.text(name);
            match names.iter().position(|&known| known == name && !known.is_empty()) {
                Some(place) if positional[place].is_null() => positional[place] = value,
                Some(_) => {
                    return Err(refused(format!("{function}() got multiple values for argument '{name}'")));
                }
                None => {
                    return Err(refused(format!("{function}() got an unexpected keyword argument '{name}'")));
                }
            }
        }
        Ok(())
    }
}

/// A call that does not fit the function.
pub(super) fn refused(words: String) -> Error {
    Error::Refused(Refusal::Signature { words })
}

#[cold]
fn wrong_count(function: &str, takes: usize, kind: &str, count: isize) -> Error {
    let (plural, verb) = (if takes == 1 { "" } else { "s" }, if count == 1 { "was" } else { "were" });
    refused(format!("{function}() takes {takes} {kind}argument{plural} but {count} {verb} given"))
}

impl Gil {
    /// Which of `texts` a `str` reads like.
    fn position(&self, string: Object, texts: &[&str]) -> Option<usize> {
        let mut length = 0;
        // SAFETY: the GIL is held and `string` is a str.
        let utf8 = unsafe { (self.api.PyUnicode_AsUTF8AndSize)(string, &mut length) };
        if utf8.is_null() {
            self.clear(); // a lone surrogate, in a name that is none of ours
            return None;
        }
        // SAFETY: CPython gives `length` bytes, which live as long as the str.
        let bytes = unsafe { std::slice::from_raw_parts(utf8.cast::<u8>(), length as usize) };
        texts.iter().position(|text| text.as_bytes() == bytes)
    }

    /// An integer argument.
    pub(super) fn index(&self, value: Object) -> Result<i64> {
        // SAFETY: the GIL is held; -1 may be a value or an error.
        let number = unsafe { (self.api.PyLong_AsLongLong)(value) };
        // SAFETY: as above.
        if number != -1 || unsafe { (self.api.PyErr_Occurred)().is_null() } {
            return Ok(number);
        }
        if self.catch(self.api.PyExc_TypeError) || self.catch(self.api.PyExc_OverflowError) {
            let words = format!("{} is no integer that fits 64 bits; pass one", self.text(value));
            return Err(Error::Refused(Refusal::Signature { words }));
        }
        Err(self.exception())
    }

    /// An argument that was passed and is not None.
    pub(super) fn given(&self, argument: Object) -> Option<Object> {
        (!argument.is_null() && argument != self.api._Py_NoneStruct).then_some(argument)
    }

    /// Whether a value is true.
    pub(super) fn truth(&self, value: Object) -> Result<bool> {
        // SAFETY: the GIL is held.
        match unsafe { (self.api.PyObject_IsTrue)(value) } {
            -1 => Err(self.exception()),
            truth => Ok(truth != 0),
        }
    }

    /// A tuple of two integers: enumerations are, bools are not.
    pub(super) fn pair(&self, value: Object, what: &'static str) -> Result<(i64, i64)> {
        let refuse = || {
            Error::Refused(Refusal::Signature {
                words: format!(
                    "{what} is {}; pass a tuple of two integers such as (1, 0), or None",
                    self.text(value)
                ),
            })
        };
        let integer = |object: Object| {
            let python_type = self.type_of(object);
            let boolean = python_type == self.type_of(self.api._Py_TrueStruct);
            self.is_subtype(python_type, self.api.PyLong_Type) && !boolean
        };
        // SAFETY: the GIL is held; each call is made only if the one before found a tuple.
        unsafe {
            if self.type_of(value) != self.api.PyTuple_Type || (self.api.PyTuple_Size)(value) != 2 {
                return Err(refuse());
            }
            let (first, second) =
                ((self.api.PyTuple_GetItem)(value, 0), (self.api.PyTuple_GetItem)(value, 1));
            if integer(first) && integer(second) {
                return Ok((self.index(first)?, self.index(second)?));
            }
        }
        Err(refuse())
    }
}
