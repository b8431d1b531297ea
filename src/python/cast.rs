//! `cast`, and `dtype=` of the functions that convert: another dtype where it is asked for, with what was lost.

use super::api::Object;
use super::builtin::{Arguments, refused, unknown_name};
use super::copy::long;
use super::gil::{Gil, Owned};
use super::import::tensor_from;
use super::kind::{self, Kind};
use super::module;
use super::object;
use super::out::Out;
use super::version::wrote;
use super::wanted::{needed_dtype, read_dtype};
use crate::copy::{self, Casting, LossReport, Order};
use crate::dlpack::DLDataType;
use crate::error::{Cast, Error, Result};
use crate::tensor::Tensor;
use std::ptr::null_mut;

/// Where a cast goes.
pub(super) enum Target<'a> {
    /// New memory, in this order.
    New(Order),
    Out(&'a Tensor),
}

/// How a cast is asked for: `casting=` and `report=`.
pub(super) struct Request {
    pub casting: Casting,
    report: bool,
}

impl Request {
    pub fn read(gil: &Gil, casting: Object, report: Object) -> Result<Self> {
        let casting = match gil.given(casting) {
            None => Casting::default(),
            Some(casting) => match gil.utf8(casting) {
                Some(name) => Casting::parse(&name)?,
                None => {
                    return Err(unknown_name(gil, casting, |given| Error::Cast(Cast::Casting { given })));
                }
            },
        };
        Ok(Request { casting, report: gil.switch(report, "report")? })
    }

    /// Casts; what changed, where that is asked for.
    pub fn cast(
        &self,
        gil: &Gil,
        source: &Tensor,
        dtype: DLDataType,
        target: Target,
    ) -> Result<(Tensor, Option<LossReport>)> {
        gil.settle_tensor(source)?;
        if let Target::Out(out) = target {
            gil.settle_tensor(out)?;
        }
        let mut report = self.report.then(LossReport::default);
        let work = || match target {
            Target::Out(out) => {
                // SAFETY: Python code was told not to touch either meanwhile.
                let done = unsafe { copy::cast_into(source, out, self.casting, report.as_mut()) };
                done.map(|()| out.clone())
            }
            // SAFETY: as above.
            Target::New(order) => unsafe {
                copy::cast_in(source, dtype, order, self.casting, report.as_mut())
            },
        };
        long(gil, source, work).map(|made| (made, report))
    }

    /// What the caller gets: `made`, or the pair of it and the report that was asked for.
    pub fn answer(&self, gil: &Gil, made: Owned, report: Option<LossReport>) -> Result<Object> {
        if !self.report {
            return Ok(made.into_raw());
        }
        let report = match report {
            Some(report) => report,
            // Nothing was cast, so nothing changed.
            None => LossReport::unchanged(elements(gil, made.object)?),
        };
        let report = module::loss_report(gil, &report)?;
        // SAFETY: the GIL is held; the tuple takes both references over.
        unsafe {
            let pair = gil.own((gil.api.PyTuple_New)(2)).ok_or_else(|| gil.exception())?;
            for (item, index) in [made, report].into_iter().zip(0..) {
                if (gil.api.PyTuple_SetItem)(pair.object, index, item.into_raw()) != 0 {
                    return Err(gil.exception());
                }
            }
            Ok(pair.into_raw())
        }
    }
}

/// How many elements a result has. It may be an array that DLPack cannot describe.
fn elements(gil: &Gil, made: Object) -> Result<usize> {
    let count = match kind::of(gil, made) {
        Kind::Torch(_) | Kind::TorchSubclass => gil.call_method(made, c"numel"),
        _ => gil.attribute(made, c"size"),
    }?;
    gil.index(count.object).map(|count| count as usize)
}

/// `cast(x, /, dtype=None, *, casting="same_kind", out=None, report=False)`.
pub(super) fn cast(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([source, dtype], [casting, out, report]) =
        arguments.parse_by_name(gil, "cast(x, dtype)", ["", "dtype"], ["casting", "out", "report"])?;
    let (dtype, out) = (gil.given(dtype), gil.given(out));
    if source.is_null() || (dtype.is_none() && out.is_none()) {
        return Err(refused("cast() needs an array and a dtype; call cast(x, \"float32\")".into()));
    }
    let request = Request::read(gil, casting, report)?;
    let source = tensor_from(gil, source)?;
    let asked = dtype.map(|dtype| read_dtype(gil, dtype)).transpose()?;
    // Without a dtype it is for `out` to say which.
    let dtype = asked.unwrap_or(source.dtype());
    let Some(out) = out else {
        let (made, report) = request.cast(gil, &source, dtype, Target::New(Order::C))?;
        let made = gil.own(object::wrap(gil, made)?).ok_or_else(|| gil.exception())?;
        return request.answer(gil, made, report);
    };
    let mut wanted = Out { shape: source.shape(), dtype, any_dtype: asked.is_none() };
    let place = wanted.read(gil, out)?;
    wanted.check_dtype(&place)?;
    let done = request.cast(gil, &source, place.dtype(), Target::Out(&place));
    let (_, report) = wrote(gil, out, wanted.check(done))?;
    request.answer(gil, gil.share(out), report)
}

/// `Tensor.astype(dtype, *, casting="same_kind", report=False)`.
pub(super) fn astype(gil: &Gil, tensor: &Tensor, arguments: &Arguments) -> Result<Object> {
    let ([dtype], [casting, report]) =
        arguments.parse_by_name(gil, "astype(dtype)", ["dtype"], ["casting", "report"])?;
    let request = Request::read(gil, casting, report)?;
    let (made, report) =
        request.cast(gil, tensor, needed_dtype(gil, "astype", dtype)?, Target::New(Order::C))?;
    let made = gil.own(object::wrap(gil, made)?).ok_or_else(|| gil.exception())?;
    request.answer(gil, made, report)
}

/// What the package's class `LossReport` is made from: the counts with the index behind them, and the rest as text.
pub(super) fn spell(gil: &Gil, report: &LossReport) -> [Object; 2] {
    let counts = [report.elements, report.inexact, report.overflow, report.underflow, report.nan];
    let mut numbers: Vec<i64> = counts.iter().map(|&count| count as i64).collect();
    let errors = format!("{:?} {:?}", report.max_absolute_error, report.max_relative_error);
    let text = match &report.first {
        None => errors,
        Some(first) => {
            numbers.extend(&first.index);
            format!("{errors} {} {}", first.value, first.result)
        }
    };
    match gil.tuple(&numbers) {
        numbers if numbers.is_null() => [null_mut(); 2],
        numbers => [numbers, gil.string(&text)],
    }
}
