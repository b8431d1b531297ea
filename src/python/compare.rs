//! `equal` and `allclose`.

use super::api::Object;
use super::builtin::{Arguments, refused};
use super::gil::{Gil, Owned};
use super::import::tensor_from;
use crate::copy::{CompareOptions, Comparison, Difference, Rule, Tolerance, Value, Worst};
use crate::error::{Argument, Error, Result};
use crate::guard::foreign;
use crate::tensor::Tensor;
use std::ffi::{c_int, c_longlong, c_ulonglong};

/// From so many bytes on other Python threads may run meanwhile.
pub(super) const LONG: usize = 1 << 20;

/// `equal(a, b, /, *, equal_nan=False, strict=False, report=False)`
pub(super) fn equal(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([a, b], [equal_nan, strict, report]) =
        arguments.parse(gil, "equal(a, b)", ["equal_nan", "strict", "report"])?;
    let options = CompareOptions {
        rule: Rule::Equal,
        equal_nan: gil.switch(equal_nan, "equal_nan")?,
        strict: gil.switch(strict, "strict")?,
    };
    compare(gil, [a, b], options, gil.switch(report, "report")?)
}

/// `allclose(a, b, /, *, rtol=1e-5, atol=1e-8, equal_nan=False, report=False)`
pub(super) fn allclose(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([a, b], [rtol, atol, equal_nan, report]) =
        arguments.parse(gil, "allclose(a, b)", ["rtol", "atol", "equal_nan", "report"])?;
    let default = Tolerance::default();
    let tolerance = Tolerance {
        rtol: gil.float_or(rtol, "rtol", default.rtol)?,
        atol: gil.float_or(atol, "atol", default.atol)?,
    };
    let options = CompareOptions {
        rule: Rule::Close(tolerance),
        equal_nan: gil.switch(equal_nan, "equal_nan")?,
        strict: false,
    };
    compare(gil, [a, b], options, gil.switch(report, "report")?)
}

fn compare(gil: &Gil, [a, b]: [Object; 2], options: CompareOptions, report: bool) -> Result<Object> {
    let (a, b) = (read(gil, a, "a")?, read(gil, b, "b")?);
    gil.settle_tensor(&a)?;
    gil.settle_tensor(&b)?;
    if report {
        // SAFETY: Python code was told not to write to either meanwhile.
        let found = gil.unless_short(&[&a, &b], || unsafe { a.compare(&b, options) })?;
        return comparison(gil, &found);
    }
    // SAFETY: as above.
    let equal = gil.unless_short(&[&a, &b], || unsafe { a.equal(&b, options) })?;
    // SAFETY: the GIL is held.
    Ok(unsafe { (gil.api.PyBool_FromLong)(equal.into()) })
}

/// One of the two; an error about it names it.
fn read(gil: &Gil, array: Object, name: &'static str) -> Result<Tensor> {
    tensor_from(gil, array).map_err(|error| match error {
        Error::Python { .. } => error,
        error => Error::Argument(Argument::Array { name, cause: Box::new(error) }),
    })
}

impl Gil {
    /// Runs `body`, without the GIL where it looks at so many bytes that another thread would notice.
    pub(super) fn unless_short<T>(&self, tensors: &[&Tensor], body: impl FnOnce() -> T) -> T {
        let bytes: usize = tensors.iter().map(|tensor| tensor.nbytes()).sum();
        if bytes < LONG { body() } else { self.without(body) }
    }

    /// A float argument that was passed, else `default`.
    pub(super) fn float_or(&self, argument: Object, name: &str, default: f64) -> Result<f64> {
        let Some(given) = self.given(argument) else { return Ok(default) };
        // SAFETY: the GIL is held; -1 may be a value or an error.
        let value = unsafe { (self.api.PyFloat_AsDouble)(given) };
        // SAFETY: as above.
        if value == -1.0 && !unsafe { (self.api.PyErr_Occurred)() }.is_null() {
            if self.catch(self.api.PyExc_TypeError) || self.catch(self.api.PyExc_OverflowError) {
                let text = self.shown(given);
                return Err(refused(format!(
                    "{name} is {text}, no number that a float holds; pass a number, such as 0.1"
                )));
            }
            return Err(self.exception());
        }
        Ok(value)
    }

    fn built(&self, object: Object) -> Result<Owned<'_>> {
        self.own(object).ok_or_else(|| self.exception())
    }
}

/// A `dlbridge.Comparison`.
fn comparison(gil: &Gil, found: &Comparison) -> Result<Object> {
    // SAFETY: the GIL is held; a new reference or NULL comes back.
    let module = gil.built(unsafe { (gil.api.PyImport_ImportModule)(c"dlbridge._compare".as_ptr()) })?;
    let class = gil.attribute(module.object, c"Comparison")?;
    let [shape, other_shape] = &found.shapes;
    let (shape, other_shape) = (gil.built(gil.tuple(shape))?, gil.built(gil.tuple(other_shape))?);
    let [dtype, other_dtype] = &found.dtypes;
    let (dtype, other_dtype) = (gil.built(gil.string(dtype))?, gil.built(gil.string(other_dtype))?);
    let first = found.first.as_ref().map(|first| difference(gil, first)).transpose()?;
    let worst = |worst: &Option<Worst>| worst.as_ref().map(|worst| error(gil, worst)).transpose();
    let (absolute, relative) = (worst(&found.absolute)?, worst(&found.relative)?);
    let words = gil.built(gil.string(&found.to_string()))?;
    let none = gil.api._Py_NoneStruct;
    let or_none = |owned: &Option<Owned>| owned.as_ref().map_or(none, |owned| owned.object);
    // SAFETY: the GIL is held, the format fits the arguments, and a tuple takes references of its own.
    let fields = gil.built(unsafe {
        let equal = (gil.api.PyBool_FromLong)(found.equal.into());
        let (first, absolute, relative) = (or_none(&first), or_none(&absolute), or_none(&relative));
        foreign(|| {
            (gil.api.Py_BuildValue)(
                c"(N(OO)(OO)LLOOOO)".as_ptr(),
                equal,
                shape.object,
                other_shape.object,
                dtype.object,
                other_dtype.object,
                found.compared as c_longlong,
                found.differing as c_longlong,
                first,
                absolute,
                relative,
                words.object,
            )
        })
    })?;
    gil.call_with(class.object, fields.object).map(Owned::into_raw).ok_or_else(|| gil.exception())
}

/// `(index, a, b)`.
fn difference<'gil>(gil: &'gil Gil, found: &Difference) -> Result<Owned<'gil>> {
    let index = gil.built(gil.tuple(&found.index))?;
    let [a, b] = found.values;
    let (a, b) = (value(gil, a)?, value(gil, b)?);
    // SAFETY: as in `comparison`.
    gil.built(unsafe {
        foreign(|| (gil.api.Py_BuildValue)(c"(OOO)".as_ptr(), index.object, a.object, b.object))
    })
}

/// `(error, index, a, b)`.
fn error<'gil>(gil: &'gil Gil, worst: &Worst) -> Result<Owned<'gil>> {
    let index = gil.built(gil.tuple(&worst.at.index))?;
    let [a, b] = worst.at.values;
    let (a, b) = (value(gil, a)?, value(gil, b)?);
    // SAFETY: as in `comparison`.
    gil.built(unsafe {
        let format = c"(dOOO)".as_ptr();
        foreign(|| (gil.api.Py_BuildValue)(format, worst.error, index.object, a.object, b.object))
    })
}

/// A Python number.
fn value(gil: &Gil, value: Value) -> Result<Owned<'_>> {
    let build = gil.api.Py_BuildValue;
    let parts = if let Value::Complex(real, imaginary) = value { [real, imaginary] } else { [0.0; 2] };
    // SAFETY: the GIL is held, and the formats fit the arguments.
    gil.built(unsafe {
        foreign(|| match value {
            Value::Bool(value) => (gil.api.PyBool_FromLong)(c_int::from(value).into()),
            Value::Int(value) if value < 0 => build(c"L".as_ptr(), value as c_longlong),
            Value::Int(value) => build(c"K".as_ptr(), value as c_ulonglong),
            Value::Float(value) => build(c"d".as_ptr(), value),
            Value::Complex(..) => build(c"D".as_ptr(), parts.as_ptr()),
        })
    })
}
