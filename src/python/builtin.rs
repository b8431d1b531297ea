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
    /// Exactly `N` positional arguments, and the keywords that were passed (NULL where not), borrowed. `call` is how one
    /// writes it, for messages: `equal(a, b)`.
    #[inline]
    pub fn parse<const N: usize, const K: usize>(
        &self,
        gil: &Gil,
        call: &'static str,
        keywords: [&'static str; K],
    ) -> Result<([Object; N], [Object; K])> {
        if self.count != N as isize {
            return Err(wrong_count(call, N, self.count, &keywords));
        }
        let mut positional = std::array::from_fn(|index| self.value(index));
        let mut named = [null_mut(); K];
        self.read_names(gil, call, ([""; N], &mut positional), (keywords, &mut named))?;
        Ok((positional, named))
    }

    /// As [`Arguments::parse`], but that the positional arguments may be given by these names too, where they have one;
    /// NULL stands for what is not given, and is for the caller to refuse.
    #[inline]
    pub fn parse_by_name<const N: usize, const K: usize>(
        &self,
        gil: &Gil,
        call: &'static str,
        names: [&'static str; N],
        keywords: [&'static str; K],
    ) -> Result<([Object; N], [Object; K])> {
        let count = self.count as usize;
        if count > N {
            return Err(wrong_count(call, N, self.count, &keywords));
        }
        let given = |index| if index < count { self.value(index) } else { null_mut() };
        let mut positional = std::array::from_fn(given);
        let mut named = [null_mut(); K];
        self.read_names(gil, call, (names, &mut positional), (keywords, &mut named))?;
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
        call: &'static str,
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
                Some(_) => return Err(given_twice(call, &name)),
                None => return Err(unexpected(call, &name, &keywords)),
            }
        }
        Ok(())
    }
}

/// A call that does not fit the function.
pub(super) fn refused(words: String) -> Error {
    Error::Refused(Refusal::Signature { words })
}

/// An argument that is refused for its value if it is a `str`, and else for its type.
pub(super) fn unknown_name(gil: &Gil, argument: Object, error: impl FnOnce(String) -> Error) -> Error {
    let cause = error(gil.shown(argument));
    if gil.utf8(argument).is_some() { cause } else { wrong_type(cause) }
}

/// The same error, of an argument whose type is what is wrong.
pub(super) fn wrong_type(cause: Error) -> Error {
    Error::Refused(Refusal::WrongType { cause: Box::new(cause) })
}

/// The function that a call is of, and the names of its positional arguments; those of the package's own are not told.
pub(super) fn parts(call: &str) -> (&str, Vec<&str>) {
    let (function, names) = call.split_once('(').unwrap_or((call, ""));
    (function, names.trim_end_matches(')').split(", ").filter(|name| !name.is_empty()).collect())
}

/// Keywords as one writes them.
fn written(keywords: &[&str]) -> String {
    keywords.iter().map(|keyword| format!("{keyword}=")).collect::<Vec<_>>().join(", ")
}

#[cold]
fn wrong_count(call: &str, takes: usize, count: isize, keywords: &[&str]) -> Error {
    let (function, names) = parts(call);
    let verb = if count == 1 { "was" } else { "were" };
    if names.len() != takes {
        return refused(format!("{function}() takes {takes} arguments and {count} {verb} given"));
    }
    if let Some(missing) = names.get(count as usize..).filter(|missing| !missing.is_empty()) {
        let missing = missing.join(" and ");
        return refused(format!("{function}() needs {missing}, by position; call {call}"));
    }
    let takes = if names.is_empty() { "nothing".to_owned() } else { names.join(" and ") };
    let rest = match keywords {
        [] => String::new(),
        keywords => format!(", and name the rest: {}", written(keywords)),
    };
    refused(format!("{function}() takes {takes} by position, and {count} {verb} given; call {call}{rest}"))
}

#[cold]
fn given_twice(call: &str, name: &str) -> Error {
    let (function, _) = parts(call);
    refused(format!("{function}() got multiple values for argument '{name}'; pass it once: {call}"))
}

#[cold]
fn unexpected(call: &str, name: &str, keywords: &[&str]) -> Error {
    let (function, names) = parts(call);
    let remedy = match keywords {
        _ if names.contains(&name) => format!("it goes by position: {call}"),
        [] => format!("call {call}"),
        keywords => format!("there are {}", written(keywords)),
    };
    refused(format!("{function}() got an unexpected keyword argument '{name}'; {remedy}"))
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

    /// Whether a switch was passed and is true. What is no bool, Python's or NumPy's, may mean anything: `report="x"`.
    pub(super) fn switch(&self, argument: Object, name: &str) -> Result<bool> {
        self.one_of_bools(argument, name, "True or False")
    }

    /// The same of one to which None is a third answer.
    pub(super) fn switch_or_none(&self, argument: Object, name: &str) -> Result<bool> {
        self.one_of_bools(argument, name, "True, False or None")
    }

    fn one_of_bools(&self, argument: Object, name: &str, choices: &str) -> Result<bool> {
        let Some(given) = self.given(argument) else { return Ok(false) };
        let own = self.type_of(given) == self.type_of(self.api._Py_TrueStruct);
        if !own && !matches!(self.type_name(given).as_str(), "bool" | "bool_") {
            return Err(refused(format!("{name} is {}; pass {choices}", self.shown(given))));
        }
        self.truth(given)
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
                let index = |object| self.index(object).map_err(|_| refuse());
                return Ok((index(first)?, index(second)?));
            }
        }
        Err(refuse())
    }
}
