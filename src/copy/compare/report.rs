//! What differs: the first, the worst, how many.

use super::pass::{Pass, same};
use super::value::{self, Value};
use super::{CompareOptions, Rule, Tolerance};
use crate::copy::level::level;
use crate::copy::threads::{chunks_for, for_each};
use crate::error::Result;
use crate::float::usually;
use crate::tensor::{Tensor, dtype};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What a comparison found.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Comparison {
    /// The answer: shapes, dtypes where `strict` was asked for, and every element.
    pub equal: bool,
    /// When two elements counted as one.
    pub rule: Rule,
    /// Both shapes. Where they differ and need not, or do not broadcast, no element was looked at.
    pub shapes: [Vec<i64>; 2],
    /// The names of both dtypes.
    pub dtypes: [String; 2],
    /// Pairs of elements that were compared.
    pub compared: usize,
    /// Those of them that do not count as one.
    pub differing: usize,
    /// The first of those, in row-major order.
    pub first: Option<Difference>,
    /// The largest `|a - b|` of all pairs, where one is above 0; NaN does not take part.
    pub absolute: Option<Worst>,
    /// The largest `|a - b| / |b|`.
    pub relative: Option<Worst>,
}

/// Two elements of one index.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// The place in row-major order.
    pub place: usize,
    /// The index, in the shape that both broadcast to.
    pub index: Vec<i64>,
    /// The two values.
    pub values: [Value; 2],
}

/// The largest error of a kind, and where it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Worst {
    /// How large: a distance, or a share of the second value.
    pub error: f64,
    /// Between which elements.
    pub at: Difference,
}

impl Comparison {
    /// Of tensors whose shapes are all that was looked at.
    pub(super) fn of_shapes(a: &Tensor, b: &Tensor, rule: Rule) -> Self {
        Comparison {
            equal: false,
            rule,
            shapes: [a, b].map(|tensor| tensor.shape().to_vec()),
            dtypes: [a, b].map(|tensor| dtype::Name(tensor.dtype()).to_string()),
            compared: 0,
            differing: 0,
            first: None,
            absolute: None,
            relative: None,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        usually(|| self.say(f))
    }
}

impl Comparison {
    fn say(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([shape, other], [dtype, other_dtype]) = (&self.shapes, &self.dtypes);
        let Some(Difference { index, values: [a, b], .. }) = &self.first else {
            return match self.equal {
                true => f.write_str("equal"),
                false if shape != other => write!(f, "the shapes are {shape:?} and {other:?}"),
                false => write!(f, "the values are equal, the dtypes are {dtype} and {other_dtype}"),
            };
        };
        let (differing, compared) = (self.differing, self.compared);
        write!(f, "{differing} of {compared} elements ")?;
        match self.rule {
            Rule::Equal => f.write_str("differ")?,
            Rule::Close(Tolerance { rtol, atol }) => {
                let verb = if differing == 1 { "is" } else { "are" };
                write!(f, "{verb} not close (rtol={rtol:?}, atol={atol:?})")?;
            }
        }
        write!(f, ", the first at {index:?}: {a} and {b}")?;
        for (kind, error) in [("absolute", &self.absolute), ("relative", &self.relative)] {
            if let Some(Worst { error, at }) = error {
                write!(f, "; largest {kind} error {error:?} at {:?}", at.index)?;
            }
        }
        Ok(())
    }
}

/// Two elements by their place in row-major order.
type Pair = (usize, [Value; 2]);

/// What one thread found.
#[derive(Clone, Default)]
struct Found {
    differing: usize,
    first: Option<Pair>,
    absolute: Option<(f64, Pair)>,
    relative: Option<(f64, Pair)>,
}

impl Found {
    fn add(&mut self, pair: Pair, holds: bool) {
        let (_, [a, b]) = pair;
        if !holds {
            self.differing += 1;
            self.first.get_or_insert(pair);
        }
        let [absolute, relative] = a.errors(b);
        larger(&mut self.absolute, absolute, pair);
        larger(&mut self.relative, relative, pair);
    }

    /// Adds what was found behind this.
    fn join(&mut self, later: Found) {
        self.differing += later.differing;
        self.first = self.first.or(later.first);
        for (own, other) in [(&mut self.absolute, later.absolute), (&mut self.relative, later.relative)] {
            if let Some((error, pair)) = other {
                larger(own, error, pair);
            }
        }
    }
}

fn larger(largest: &mut Option<(f64, Pair)>, error: f64, pair: Pair) {
    if error > largest.map_or(0.0, |(error, _)| error) {
        *largest = Some((error, pair));
    }
}

/// Elements that are skipped at once where they are the same.
const SKIPPED: usize = 256;

/// Looks at every pair, in row-major order.
///
/// # Safety
///
/// As for [`Pass::holds`].
pub(super) unsafe fn scan(
    pass: &Pass,
    a: &Tensor,
    b: &Tensor,
    options: CompareOptions,
) -> Result<Comparison> {
    let shape = &pass.common.shape;
    // Where there is no element, the other extents need not have a product.
    let size = if shape.contains(&0) { 0 } else { shape.iter().product::<i64>() as usize };
    let items = pass.items();
    let chunks = chunks_for(size.saturating_mul(items[0] + items[1]));
    let found: Vec<Mutex<Found>> = (0..chunks).map(|_| Mutex::default()).collect();
    for_each(chunks, &|index| {
        // SAFETY: promised by the caller.
        let part = unsafe {
            scan_range(pass, options.equal_nan, size * index / chunks, size * (index + 1) / chunks)
        };
        *found[index].lock().unwrap_or_else(PoisonError::into_inner) = part;
    })?;
    let mut all = Found::default();
    for part in found {
        all.join(part.into_inner().unwrap_or_else(PoisonError::into_inner));
    }
    let place = |(place, values): Pair| Difference { place, index: unravel(place, shape), values };
    let worst = |(error, pair)| Worst { error, at: place(pair) };
    let same_dtype = !options.strict || a.dtype() == b.dtype();
    Ok(Comparison {
        equal: all.differing == 0 && same_dtype,
        compared: size,
        differing: all.differing,
        first: all.first.map(place),
        absolute: all.absolute.map(worst),
        relative: all.relative.map(worst),
        ..Comparison::of_shapes(a, b, options.rule)
    })
}

/// # Safety
///
/// As for [`Pass::holds`].
unsafe fn scan_range(pass: &Pass, equal_nan: bool, start: usize, end: usize) -> Found {
    let (shape, items) = (&pass.common.shape, pass.items());
    let mut found = Found::default();
    let inner = shape.last().map_or(1, |&extent| extent as usize);
    let step = |operand: usize| {
        let stride = pass.common.strides[operand].last().copied().unwrap_or(0);
        stride as isize * items[operand] as isize
    };
    let steps = [step(0), step(1)];
    let same = (pass.dtypes[0] == pass.dtypes[1] && steps == items.map(|item| item as isize))
        .then(|| same(pass.dtypes[0], equal_nan));
    let mut at = start;
    while at < end {
        let index = unravel(at, shape);
        let from: [*const u8; 2] = std::array::from_fn(|operand| {
            let strides = &pass.common.strides[operand];
            let offset: i64 = index.iter().zip(strides).map(|(index, stride)| index * stride).sum();
            pass.bases[operand].wrapping_offset(offset as isize * items[operand] as isize).cast_const()
        });
        let count = (inner - at % inner).min(end - at).min(SKIPPED);
        // SAFETY: elements of one row, as promised; the level is this machine's.
        let skip = same.is_some_and(|same| unsafe { same(level(), from[0], from[1], count) });
        for turn in 0..if skip { 0 } else { count } {
            let values: [Value; 2] = std::array::from_fn(|operand| {
                let at = from[operand].wrapping_offset(turn as isize * steps[operand]);
                // SAFETY: an element of the operand, as promised.
                unsafe { value::read(pass.dtypes[operand], at) }
            });
            found.add((at + turn, values), pass.values_hold(values[0], values[1]));
        }
        at += count;
    }
    found
}

/// The index of an element, from its place in row-major order.
fn unravel(mut place: usize, shape: &[i64]) -> Vec<i64> {
    let mut index = vec![0; shape.len()];
    for (index, &extent) in index.iter_mut().zip(shape).rev() {
        *index = place as i64 % extent;
        place /= extent as usize;
    }
    index
}
