//! `stack`.

use super::api::Object;
use super::builtin::Arguments;
use super::cast::Request;
use super::convert::{array_of, make_torch};
use super::gil::{Gil, Owned};
use super::import::tensor_from;
use super::numpy::Numpy;
use super::object;
use super::torch::Torch;
use super::version::wrote;
use super::wanted::read_dtype;
use crate::copy::{self, Layout, StackOptions};
use crate::error::{Error, Result, Stack};
use crate::tensor::Tensor;
use std::ptr::null_mut;

const KEYWORDS: [&str; 7] = ["out", "dtype", "casting", "layout", "scale", "bias", "as_"];

/// `stack(arrays, /, *, out=None, dtype=None, casting="same_kind", layout=None, scale=None, bias=None, as_=None)`
pub(super) fn stack(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([arrays], [out, dtype, casting, layout, scale, bias, framework]) =
        arguments.parse(gil, "stack", KEYWORDS)?;
    let casting = Request::read(gil, casting, null_mut())?.casting;
    let framework = Framework::read(gil, framework)?;
    let dtype = gil.given(dtype).map(|dtype| read_dtype(gil, dtype)).transpose()?;
    let (scale, bias) = (numbers(gil, scale)?, numbers(gil, bias)?);
    let options = StackOptions { casting, layout: read_layout(gil, layout)?, scale: &scale, bias: &bias };
    let tensors = read_arrays(gil, arrays)?;
    let tensors: Vec<&Tensor> = tensors.iter().collect();
    let Some(out) = gil.given(out) else {
        // SAFETY: Python code was told not to write to the arrays meanwhile.
        let made = gil.unless_short(&tensors, || unsafe { copy::stack(&tensors, dtype, options) })?;
        return framework.answer(gil, made, None);
    };
    let place = tensor_from(gil, out)?;
    if let Some(dtype) = dtype {
        place.check_dtype(dtype)?;
    } else if scale.is_empty() && bias.is_empty() && !tensors.is_empty() {
        // Nobody asked for a cast.
        place.check_dtype(copy::common_dtype(&tensors)?)?;
    }
    gil.settle_tensor(&place)?;
    // SAFETY: as above, and not to touch `out` either.
    let done = gil.unless_short(&tensors, || unsafe { copy::stack_into(&tensors, &place, options) });
    wrote(gil, out, done)?;
    framework.answer(gil, place, Some(out))
}

/// The tensors of a sequence, or of whatever can be iterated. What is none is named by its index.
fn read_arrays(gil: &Gil, arrays: Object) -> Result<Vec<Tensor>> {
    // SAFETY: the GIL is held; a new reference or NULL comes back.
    let tuple = gil.own(unsafe { (gil.api.PySequence_Tuple)(arrays) }).ok_or_else(|| gil.exception())?;
    // SAFETY: the GIL is held, and it is a tuple.
    let count = unsafe { (gil.api.PyTuple_Size)(tuple.object) };
    let read = |index| {
        // SAFETY: as above; a borrowed reference.
        let tensor = tensor_from(gil, unsafe { (gil.api.PyTuple_GetItem)(tuple.object, index) })?;
        gil.settle_tensor(&tensor)?;
        Ok(tensor)
    };
    let named = |index| {
        read(index)
            .map_err(|cause| Error::Stack(Stack::Array { index: index as usize, cause: Box::new(cause) }))
    };
    (0..count).map(named).collect()
}

/// A number, or a sequence of them.
fn numbers(gil: &Gil, argument: Object) -> Result<Vec<f64>> {
    let Some(given) = gil.given(argument) else { return Ok(Vec::new()) };
    // SAFETY: the GIL is held; a new reference or NULL comes back.
    let Some(tuple) = gil.own(unsafe { (gil.api.PySequence_Tuple)(given) }) else {
        if !gil.catch(gil.api.PyExc_TypeError) {
            return Err(gil.exception());
        }
        return Ok(vec![gil.float_or(given, 0.0)?]);
    };
    // SAFETY: the GIL is held, and it is a tuple, whose items are borrowed.
    let item = |index| gil.float_or(unsafe { (gil.api.PyTuple_GetItem)(tuple.object, index) }, 0.0);
    // SAFETY: as above.
    (0..unsafe { (gil.api.PyTuple_Size)(tuple.object) }).map(item).collect()
}

fn read_layout(gil: &Gil, argument: Object) -> Result<Layout> {
    let Some(given) = gil.given(argument) else { return Ok(Layout::Same) };
    match gil.text(given).as_str() {
        "CHW" => Ok(Layout::Chw),
        "HWC" => Ok(Layout::Hwc),
        other => Err(Error::Stack(Stack::UnknownLayout { given: format!("{other:?}") })),
    }
}

/// Whose array the result is to be.
enum Framework {
    Own,
    Numpy,
    Torch,
}

impl Framework {
    fn read(gil: &Gil, argument: Object) -> Result<Self> {
        let Some(given) = gil.given(argument) else { return Ok(Framework::Own) };
        match gil.text(given).as_str() {
            "numpy" => Ok(Framework::Numpy),
            "torch" => Ok(Framework::Torch),
            other => Err(Error::Stack(Stack::UnknownFramework { given: format!("{other:?}") })),
        }
    }

    /// The batch as what was asked for; `out` itself where nothing was.
    fn answer(&self, gil: &Gil, batch: Tensor, out: Option<Object>) -> Result<Object> {
        match (self, out) {
            (Framework::Own, Some(out)) => Ok(gil.share(out).into_raw()),
            (Framework::Own, None) => object::wrap(gil, batch),
            (Framework::Numpy, _) => array_of(gil, Numpy::get(gil)?, &batch).map(Owned::into_raw),
            (Framework::Torch, _) => make_torch(gil, Torch::get(gil)?, batch, false).map(Owned::into_raw),
        }
    }
}
