//! `stack`.

use super::api::Object;
use super::builtin::{Arguments, refused, unknown_name};
use super::cast::Request;
use super::convert::{array_of, make_torch};
use super::gil::{Gil, Owned};
use super::import::tensor_among;
use super::numpy::Numpy;
use super::object;
use super::out::{Out, casting_for};
use super::torch::{Calm, Torch};
use super::version::wrote;
use super::wanted::read_dtype;
use crate::copy::{self, Layout, StackOptions};
use crate::error::{Argument, Error, Result, Stack};
use crate::tensor::{Tensor, dtype};
use std::ptr::null_mut;

const KEYWORDS: [&str; 7] = ["out", "dtype", "casting", "layout", "scale", "bias", "as_"];

/// `stack(arrays, /, *, out=None, dtype=None, casting="same_kind", layout=None, scale=None, bias=None, as_=None)`
pub(super) fn stack(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([arrays], [out, dtype, casting, layout, scale, bias, framework]) =
        arguments.parse(gil, "stack(arrays)", KEYWORDS)?;
    let casting = Request::read(gil, casting, null_mut())?.casting;
    let framework = Framework::read(gil, framework)?;
    let dtype = gil.given(dtype).map(|dtype| read_dtype(gil, dtype)).transpose()?;
    let (scale, bias) = (numbers(gil, scale, "scale")?, numbers(gil, bias, "bias")?);
    let options = StackOptions { casting, layout: read_layout(gil, layout)?, scale: &scale, bias: &bias };
    let tensors = read_arrays(gil, arrays)?;
    let tensors: Vec<&Tensor> = tensors.iter().collect();
    let Some(out) = gil.given(out) else {
        // SAFETY: Python code was told not to write to the arrays meanwhile.
        let made = gil.unless_short(&tensors, || unsafe { copy::stack(&tensors, dtype, options) })?;
        return framework.answer(gil, made, None);
    };
    let shape = copy::batch_shape(&tensors, options.layout)?;
    // Scaled numbers are cast to the dtype of `out`; others only where a dtype is given.
    let scaled = !(scale.is_empty() && bias.is_empty());
    let any_dtype = dtype.is_none() && scaled;
    let mut wanted = Out { shape: &shape, dtype: dtype.unwrap_or(tensors[0].dtype()), any_dtype };
    let place = wanted.read(gil, out)?;
    if dtype.is_some() {
        wanted.check_dtype(&place)?;
    } else if !scaled {
        check_no_cast(&tensors, &place)?;
    }
    // SAFETY: as above, and not to touch `out` either.
    let done = gil.unless_short(&tensors, || unsafe { copy::stack_into(&tensors, &place, options) });
    wrote(gil, out, wanted.check(done))?;
    framework.answer(gil, place, Some(out))
}

/// Refuses an `out` of another dtype than that of the arrays: nobody asked for a cast.
fn check_no_cast(tensors: &[&Tensor], place: &Tensor) -> Result<()> {
    let (first, out) = (tensors[0].dtype(), place.dtype());
    let other = tensors.iter().position(|tensor| tensor.dtype() != first);
    if first == out && other.is_none() {
        return Ok(());
    }
    let name = |dtype| dtype::Name(dtype).to_string();
    let have = match other {
        Some(other) => {
            let dtype = name(tensors[other].dtype());
            format!("array 0 holds {}, array {other} holds {dtype}", name(first))
        }
        None => format!("the arrays hold {}", name(first)),
    };
    let casting = casting_for(tensors, out);
    Err(Error::Argument(Argument::StackDtype { have, out: name(out), casting }))
}

/// The tensors of a sequence, or of whatever can be iterated. What is none is named by its index.
fn read_arrays(gil: &Gil, arrays: Object) -> Result<Vec<Tensor>> {
    // SAFETY: the GIL is held; a new reference or NULL comes back.
    let Some(tuple) = gil.own(unsafe { (gil.api.PySequence_Tuple)(arrays) }) else {
        // What its own code raised while it was iterated is another matter.
        let mut ways = [c"__iter__", c"__getitem__"].iter();
        let python_type = gil.type_of(arrays);
        let raised = gil.set_aside();
        let iterable = ways.any(|way| gil.attribute(python_type, way).is_ok());
        gil.clear();
        gil.put_back(raised);
        if iterable {
            return Err(gil.exception());
        }
        gil.clear();
        return Err(refused(format!(
            "arrays is {}; pass a sequence of arrays, such as [x, y]",
            gil.text(arrays)
        )));
    };
    // SAFETY: the GIL is held, and it is a tuple.
    let count = unsafe { (gil.api.PyTuple_Size)(tuple.object) };
    let named = |index: usize| move |cause| Error::Stack(Stack::Array { index, cause: Box::new(cause) });
    let mut calm = Calm::default();
    let mut tensors = Vec::with_capacity(count as usize);
    for index in 0..count {
        // SAFETY: as above; a borrowed reference.
        let item = unsafe { (gil.api.PyTuple_GetItem)(tuple.object, index) };
        tensors.push(tensor_among(gil, item, &mut calm).map_err(named(index as usize))?);
    }
    // Handlers of signals run while this waits: not between arrays that are read as one list.
    for (index, tensor) in tensors.iter().enumerate() {
        gil.settle_tensor(tensor).map_err(named(index))?;
    }
    Ok(tensors)
}

/// A number, or a sequence of them.
fn numbers(gil: &Gil, argument: Object, name: &str) -> Result<Vec<f64>> {
    let Some(given) = gil.given(argument) else { return Ok(Vec::new()) };
    if gil.utf8(given).is_some() {
        return Ok(vec![gil.float_or(given, name, 0.0)?]); // which refuses a string
    }
    // SAFETY: the GIL is held; a new reference or NULL comes back.
    let Some(tuple) = gil.own(unsafe { (gil.api.PySequence_Tuple)(given) }) else {
        if !gil.catch(gil.api.PyExc_TypeError) {
            return Err(gil.exception());
        }
        return Ok(vec![gil.float_or(given, name, 0.0)?]);
    };
    // SAFETY: the GIL is held, and it is a tuple, whose items are borrowed.
    let item = |index| gil.float_or(unsafe { (gil.api.PyTuple_GetItem)(tuple.object, index) }, name, 0.0);
    // SAFETY: as above.
    (0..unsafe { (gil.api.PyTuple_Size)(tuple.object) }).map(item).collect()
}

fn read_layout(gil: &Gil, argument: Object) -> Result<Layout> {
    let Some(given) = gil.given(argument) else { return Ok(Layout::Same) };
    match gil.utf8(given).as_deref() {
        Some("CHW") => Ok(Layout::Chw),
        Some("HWC") => Ok(Layout::Hwc),
        _ => Err(unknown_name(gil, given, |given| Error::Stack(Stack::UnknownLayout { given }))),
    }
}

/// Whose array the result is to be.
enum Framework<'gil> {
    Own,
    Numpy,
    Torch,
    /// Any other that `to` knows: what makes its array.
    Other(Owned<'gil>),
}

impl<'gil> Framework<'gil> {
    fn read(gil: &'gil Gil, argument: Object) -> Result<Self> {
        let Some(given) = gil.given(argument) else { return Ok(Framework::Own) };
        match gil.utf8(given).as_deref() {
            Some("numpy" | "np") => Ok(Framework::Numpy),
            Some("torch" | "pytorch") => Ok(Framework::Torch),
            _ => Self::other(gil, given).map(Framework::Other),
        }
    }

    /// What the package makes arrays of a framework with.
    fn other(gil: &'gil Gil, given: Object) -> Result<Owned<'gil>> {
        // SAFETY: the GIL is held; a new reference or NULL comes back.
        let module = gil.own(unsafe { (gil.api.PyImport_ImportModule)(c"dlbridge._frameworks".as_ptr()) });
        let ask = gil.attribute(module.ok_or_else(|| gil.exception())?.object, c"as_consumer")?;
        gil.call_with(ask.object, given).ok_or_else(|| gil.raised())
    }

    /// The batch as what was asked for; `out` itself where nothing was.
    fn answer(&self, gil: &Gil, batch: Tensor, out: Option<Object>) -> Result<Object> {
        match (self, out) {
            (Framework::Own, Some(out)) => Ok(gil.share(out).into_raw()),
            (Framework::Own, None) => object::wrap(gil, batch),
            (Framework::Numpy, _) => array_of(gil, Numpy::get(gil)?, &batch).map(Owned::into_raw),
            (Framework::Torch, _) => make_torch(gil, Torch::get(gil)?, batch, false).map(Owned::into_raw),
            (Framework::Other(make), _) => {
                let batch = gil.own(object::wrap(gil, batch)?).ok_or_else(|| gil.exception())?;
                gil.call_with(make.object, batch.object).map(Owned::into_raw).ok_or_else(|| gil.raised())
            }
        }
    }
}
