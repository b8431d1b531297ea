//! `out=`: the array that a result is written to. What is wrong with it is said of `out`, and not of `x`.

use super::api::Object;
use super::gil::Gil;
use super::import::tensor_from;
use crate::copy::{self, Casting};
use crate::dlpack::DLDataType;
use crate::error::{Argument, Cast, Error, Result, Stack, Transfer};
use crate::tensor::{Tensor, device, dtype};

/// What `out` has to look like.
pub(super) struct Out<'a> {
    pub shape: &'a [i64],
    pub dtype: DLDataType,
    /// Whether another one will do: then what has to be is what `out` has.
    pub any_dtype: bool,
}

impl Out<'_> {
    /// The tensor of an `out` that can be written to.
    pub fn read(&mut self, gil: &Gil, out: Object) -> Result<Tensor> {
        let place = tensor_from(gil, out).map_err(|error| self.blame(error))?;
        if self.any_dtype {
            self.dtype = place.dtype();
        }
        if !device::is_host(place.device()) {
            let device = device::Name(place.device()).to_string();
            return Err(self.blame(Error::NotHost { device }));
        }
        place.check_mutable("tensor").map_err(|error| self.blame(error))?;
        gil.settle_tensor(&place)?;
        Ok(place)
    }

    /// What became of a write, where nothing is wrong with `out`.
    pub fn check<T>(&self, done: Result<T>) -> Result<T> {
        done.map_err(|error| match &error {
            Error::Transfer(Transfer::Shapes { .. } | Transfer::Overlap { .. })
            | Error::Stack(Stack::Destination { .. }) => self.blame(error),
            Error::Stack(Stack::Array { cause, .. })
                if matches!(**cause, Error::Transfer(Transfer::Overlap { .. })) =>
            {
                self.blame(error)
            }
            _ => error,
        })
    }

    /// An error about `out`. What Python code raised stays what it is.
    fn blame(&self, cause: Error) -> Error {
        if let Error::Python { .. } = cause {
            return cause;
        }
        let (shape, dtype) = (self.shape.to_vec(), dtype::Name(self.dtype).to_string());
        Error::Argument(Argument::Out { cause: Box::new(cause), shape, dtype })
    }

    /// Refuses an `out` of another dtype than that which is asked for.
    pub fn check_dtype(&self, place: &Tensor) -> Result<()> {
        if place.dtype() == self.dtype {
            return Ok(());
        }
        let [asked, out] = [self.dtype, place.dtype()].map(|dtype| dtype::Name(dtype).to_string());
        Err(Error::Argument(Argument::CastDtype { asked, out, shape: self.shape.to_vec() }))
    }
}

/// The `casting=` without which these are not cast to a dtype.
pub(super) fn casting_for(sources: &[&Tensor], to: DLDataType) -> Option<&'static str> {
    let refused = |source: &&Tensor| {
        let plan = copy::plan_cast(source, to, Casting::SameKind);
        matches!(plan, Err(Error::Cast(Cast::Kinds { .. })))
    };
    sources.iter().any(refused).then_some("same_value")
}
