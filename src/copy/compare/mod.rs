//! `equal` and `allclose`: two tensors, of whatever dtypes and strides, compared in one pass without a temporary.
//!
//! NumPy's definitions: [`Tensor::equal`] is `numpy.array_equal`, [`Tensor::allclose`] is `numpy.allclose`, the rounding of
//! each step included. What promotes exactly is compared exactly; an integer of 64 bits beside a float is rounded to
//! float64 first, as it is there. bfloat16 and float8 count as floats whose every value float32 holds.

mod close;
mod pass;
mod report;
mod rows;
#[cfg(test)]
mod tests;
mod value;

pub use close::Tolerance;
pub use report::{Comparison, Difference, Worst};
pub use value::Value;

use crate::error::{Compare, Error, Result};
use crate::float::usually;
use crate::tensor::{Access, MAX_NDIM, Tensor, device, dtype};
use pass::Pass;

/// When two elements count as one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// They are the same value.
    Equal,
    /// `|a - b| <= atol + rtol * |b|`, or they are the same value.
    Close(Tolerance),
}

/// How two tensors are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompareOptions {
    /// When two elements count as one.
    pub rule: Rule,
    /// Whether NaN counts as equal to NaN.
    pub equal_nan: bool,
    /// Whether the dtypes must be the same too.
    pub strict: bool,
}

impl Default for CompareOptions {
    fn default() -> Self {
        CompareOptions { rule: Rule::Equal, equal_nan: false, strict: false }
    }
}

impl Tensor {
    /// Whether both have the same shape and the same values: `numpy.array_equal`. With `strict` the same dtype as well.
    ///
    /// Ends at the first difference. Fails where the host cannot read the memory, and for dtypes whose elements have no
    /// value of their own: packed sub-byte types, several lanes.
    ///
    /// ```
    /// use dlbridge::{Tensor, copy::CompareOptions};
    ///
    /// let a = Tensor::from_vec(vec![1_i64, 2, 3], &[3])?;
    /// let b = Tensor::from_vec(vec![1.0_f32, 2.0, 3.0], &[3])?;
    /// let strict = CompareOptions { strict: true, ..Default::default() };
    /// // SAFETY: nobody else has the vectors.
    /// assert_eq!(unsafe { (a.equal(&b, CompareOptions::default())?, a.equal(&b, strict)?) }, (true, false));
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// The memory is what the tensors say, with a value in every element, and nobody writes to it meanwhile.
    pub unsafe fn equal(&self, other: &Tensor, options: CompareOptions) -> Result<bool> {
        let same_dtype = self.dtype() == other.dtype();
        if (options.strict && !same_dtype) || (options.rule == Rule::Equal && self.shape() != other.shape()) {
            return readable(self).and(readable(other)).map(|()| false);
        }
        // SAFETY: promised by the caller.
        usually(|| unsafe { Pass::new(self, other, options)?.holds() })
    }

    /// Whether all are close, where the shapes broadcast to one: `numpy.allclose`, `|a - b| <= atol + rtol * |b|`.
    ///
    /// Ends at the first that is not. Fails besides as [`Tensor::equal`] does for shapes that do not broadcast, or to
    /// more than `i64::MAX` pairs, and for a tolerance that is NaN.
    ///
    /// ```
    /// use dlbridge::{Tensor, copy::Tolerance};
    ///
    /// let a = Tensor::from_vec(vec![1.0_f32, 2.0], &[2])?;
    /// let b = Tensor::from_vec(vec![1.0_f32, 2.00001], &[2])?;
    /// // SAFETY: nobody else has the vectors.
    /// assert!(unsafe { a.allclose(&b, Tolerance::default(), false) }?);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`Tensor::equal`].
    pub unsafe fn allclose(&self, other: &Tensor, tolerance: Tolerance, equal_nan: bool) -> Result<bool> {
        // SAFETY: promised by the caller.
        unsafe {
            self.equal(other, CompareOptions { rule: Rule::Close(tolerance), equal_nan, strict: false })
        }
    }

    /// What differs: the first, the worst, how many. Looks at every element.
    ///
    /// ```
    /// use dlbridge::{Tensor, copy::CompareOptions};
    ///
    /// let a = Tensor::from_vec(vec![1, 2, 3, 4], &[2, 2])?;
    /// let b = Tensor::from_vec(vec![1, 2, 9, 5], &[2, 2])?;
    /// // SAFETY: nobody else has the vectors.
    /// let found = unsafe { a.compare(&b, CompareOptions::default()) }?;
    /// assert_eq!((found.equal, found.differing), (false, 2));
    /// assert_eq!(found.first.unwrap().index, [1, 0]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`Tensor::equal`].
    pub unsafe fn compare(&self, other: &Tensor, options: CompareOptions) -> Result<Comparison> {
        if options.rule == Rule::Equal && self.shape() != other.shape() {
            readable(self)?;
            readable(other)?;
            return Ok(Comparison::of_shapes(self, other, options.rule));
        }
        // SAFETY: promised by the caller.
        usually(|| unsafe { report::scan(&Pass::new(self, other, options)?, self, other, options) })
    }
}

/// Refuses what has no values to compare, and waits for copies into the rest.
fn readable(tensor: &Tensor) -> Result<()> {
    if !device::is_host(tensor.device()) {
        return Err(Error::NotHost { device: device::Name(tensor.device()).to_string() });
    }
    if !value::is_comparable(tensor.dtype()) {
        return Err(Error::Compare(Compare::Dtype { dtype: dtype::Name(tensor.dtype()).to_string() }));
    }
    tensor.settle(Access::Read)
}

/// The shape that both broadcast to, and the strides of each in it.
struct Common {
    shape: Vec<i64>,
    strides: [Vec<i64>; 2],
}

fn broadcast(a: &Tensor, b: &Tensor) -> Result<Common> {
    let ndim = a.ndim().max(b.ndim());
    debug_assert!(ndim <= MAX_NDIM);
    let padded = |tensor: &Tensor| {
        let missing = ndim - tensor.ndim();
        let mut axes = vec![(1, 0); missing];
        axes.extend(tensor.shape().iter().zip(tensor.strides()).map(|(&extent, &stride)| (extent, stride)));
        axes
    };
    let axes: Vec<_> = padded(a).into_iter().zip(padded(b)).collect();
    let fits = |&((a, _), (b, _)): &((i64, i64), (i64, i64))| a == b || a == 1 || b == 1;
    if !axes.iter().all(fits) {
        let [a, b] = [a, b].map(|tensor| tensor.shape().to_vec());
        return Err(Error::Compare(Compare::Shapes { a, b }));
    }
    let still = |(extent, stride): (i64, i64)| if extent == 1 { 0 } else { stride };
    let shape: Vec<i64> = axes.iter().map(|&((a, _), (b, _))| if a == 1 { b } else { a }).collect();
    // Each operand can be counted, but all pairs of them perhaps not.
    let countable = shape.iter().try_fold(1_i64, |size, &extent| size.checked_mul(extent)).is_some();
    if !countable && !shape.contains(&0) {
        return Err(Error::Compare(Compare::TooMany { shape }));
    }
    Ok(Common {
        shape,
        strides: [
            axes.iter().map(|&(a, _)| still(a)).collect(),
            axes.iter().map(|&(_, b)| still(b)).collect(),
        ],
    })
}
