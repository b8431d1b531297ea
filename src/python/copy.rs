//! `copy`, and the copies that conversions are asked for.

use super::api::Object;
use super::builtin::{Arguments, unknown_name};
use super::cast::Request;
use super::convert::{Wanted, wanted_cast};
use super::gil::Gil;
use super::import::tensor_from;
use super::kind::{self, Kind};
use super::numpy::ToCopy;
use super::object;
use super::out::{Out, casting_for};
use super::transfer::duplicate;
use super::version::wrote;
use crate::copy::{self, Options, Order, Report};
use crate::error::{Argument, Error, Refusal, Result, Transfer};
use crate::tensor::{Tensor, device};
use std::ptr::null_mut;

/// Copies from so many bytes on are made with the GIL released: taking it back may take longer than a shorter copy.
pub(super) const LONG: usize = 256 << 10;

/// `copy(x, *, out=None, order="C")`.
pub(super) fn copy(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([source], [out, order]) = arguments.parse(gil, "copy(x)", ["out", "order"])?;
    let Some(out) = gil.given(out) else {
        return object::wrap(gil, copied(gil, source, order_of(gil, order)?)?);
    };
    let ToCopy { mut tensor, mut swapped, of_bytes } = to_copy(gil, source)?;
    if of_bytes.is_some() {
        // Bytes have one more dimension than what they are copied to.
        (tensor, swapped) = (copied(gil, source, Order::C)?, false);
    }
    let mut wanted = Out { shape: tensor.shape(), dtype: tensor.dtype(), any_dtype: false };
    let destination = wanted.read(gil, out)?;
    let done = into(gil, &tensor, &destination, Options { swap_bytes: swapped });
    let done = done.map_err(|error| match error {
        Error::Transfer(Transfer::Dtypes { source: have, destination: out }) => {
            let casting = casting_for(&[&tensor], destination.dtype());
            Error::Argument(Argument::CopyDtype { have, out, casting })
        }
        error => error,
    });
    wrote(gil, out, wanted.check(done))?;
    Ok(gil.share(out).into_raw())
}

/// `_plan(x, dtype, casting)`: what `copy` would do, or the cast that `dtype=` asks for, as a tuple; None where `x` has that
/// dtype.
pub(super) fn plan(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([source, dtype, casting], []) = arguments.parse(gil, "_plan", [])?;
    let casting = Request::read(gil, casting, null_mut())?.casting;
    let report = match gil.given(dtype) {
        Some(dtype) => match wanted_cast(gil, source, dtype)? {
            Wanted::Cast(tensor, dtype) => copy::plan_cast(&tensor, dtype, casting)?,
            Wanted::Same(_) => return gil.none(),
        },
        None => {
            let ToCopy { tensor, swapped, of_bytes } = to_copy(gil, source)?;
            let again = swapped && of_bytes.is_some();
            let mut report = copy::plan_new(&tensor, Order::C, Options { swap_bytes: swapped && !again })?;
            if again {
                // What was put together byte by byte is swapped in another pass.
                (report.passes, report.temporary) = (2 * report.passes, report.bytes);
            }
            report
        }
    };
    let Report { bytes, passes, threads, temporary, .. } = report;
    let numbers = [bytes, passes, threads, temporary].map(|number| number as i64);
    Ok(gil.tuple_after(Some(report.kernel()), &numbers))
}

/// An `order=` argument; not passed, it is "C".
pub(super) fn order_of(gil: &Gil, argument: Object) -> Result<Order> {
    if argument.is_null() {
        return Ok(Order::C);
    }
    match gil.utf8(argument).as_deref() {
        Some("C") => Ok(Order::C),
        Some("F") => Ok(Order::F),
        Some("A") => Ok(Order::A),
        Some("K") => Ok(Order::K),
        _ => Err(unknown_name(gil, argument, |given| Error::Refused(Refusal::UnknownOrder { given }))),
    }
}

/// The elements of any producer; of NumPy's arrays also those that DLPack cannot describe.
fn to_copy(gil: &Gil, source: Object) -> Result<ToCopy> {
    match kind::of(gil, source) {
        // SAFETY: the GIL is held and `source` is an ndarray.
        Kind::Numpy(numpy) => unsafe { numpy.read_for_copy(gil, source) },
        _ => Ok(ToCopy { tensor: tensor_from(gil, source)?, swapped: false, of_bytes: None }),
    }
}

/// A tensor of its own with the elements of any producer.
pub(super) fn copied(gil: &Gil, source: Object, order: Order) -> Result<Tensor> {
    let ToCopy { tensor, swapped, of_bytes } = to_copy(gil, source)?;
    let Some(dtype) = of_bytes else {
        return copied_tensor(gil, &tensor, order, Options { swap_bytes: swapped });
    };
    let shape = &tensor.shape()[..tensor.ndim() - 1];
    let packed = copied_tensor(gil, &tensor, Order::C, Options::default())?;
    let packed = packed.reinterpret(dtype)?.reshape(shape)?;
    // The elements have lain one by one; another order, of dimensions or of bytes, takes another pass.
    match (order, swapped) {
        (Order::C, false) => Ok(packed),
        _ => copied_tensor(gil, &packed, order, Options { swap_bytes: swapped }),
    }
}

/// A tensor of its own with the elements of another.
pub(super) fn copied_tensor(gil: &Gil, source: &Tensor, order: Order, options: Options) -> Result<Tensor> {
    if order == Order::C && !device::is_host(source.device()) {
        return duplicate(gil, source);
    }
    gil.settle_tensor(source)?;
    // SAFETY: writing to an array that another thread copies is a race in Python as well, and the program's to avoid; nobody
    // else has the destination.
    let made = long(gil, source, || unsafe { copy::new_with(source, order, options) });
    Ok(made?.0)
}

/// Copies the elements of a tensor into another.
fn into(gil: &Gil, source: &Tensor, destination: &Tensor, options: Options) -> Result<Report> {
    gil.settle_tensor(source)?;
    // SAFETY: as above, for both.
    long(gil, source, || unsafe { copy::copy(source, destination, options) })
}

/// Runs `body` without the GIL where it takes long.
pub(super) fn long<T>(gil: &Gil, source: &Tensor, body: impl FnOnce() -> T) -> T {
    match source.nbytes() >= LONG && device::is_host(source.device()) {
        true => gil.without(body),
        false => body(),
    }
}
