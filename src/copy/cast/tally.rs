//! What a cast changed, element by element: only asked about blocks in which something was lost.

use super::scalar::{Kind, Scalar, Value};
use crate::copy::hypot::hypot;
use crate::error::{FirstLoss, LossReport};

/// How an element changed. The worse is the later one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Change {
    Inexact,
    Underflow,
    Overflow,
    Nan,
}

/// An element before and after, and where it lies.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Seen {
    flat: usize,
    value: Value,
    made: Value,
}

/// Changes counted. What the tallies of two parts of an array add up to does not depend on their order.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Tally {
    counts: [usize; 4],
    absolute: f64,
    relative: f64,
    first: Option<Seen>,
}

impl Tally {
    /// Counts a change; `flat` is asked for where it may be the first.
    pub fn count(&mut self, change: Change, flat: usize, value: Value, made: Value) {
        self.counts[change as usize] += 1;
        let (absolute, relative) = errors(value, made);
        self.absolute = self.absolute.max(absolute);
        self.relative = self.relative.max(relative);
        self.offer(Seen { flat, value, made });
    }

    fn offer(&mut self, seen: Seen) {
        if self.first.is_none_or(|first| seen.flat < first.flat) {
            self.first = Some(seen);
        }
    }

    pub fn add(&mut self, other: &Tally) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
        self.absolute = self.absolute.max(other.absolute);
        self.relative = self.relative.max(other.relative);
        if let Some(seen) = other.first {
            self.offer(seen);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.counts == [0; 4]
    }

    /// For people; of an array of this shape.
    pub fn report(&self, shape: &[i64]) -> LossReport {
        let [inexact, underflow, overflow, nan] = self.counts;
        LossReport {
            elements: shape.iter().product::<i64>() as usize,
            inexact,
            overflow,
            underflow,
            nan,
            max_absolute_error: self.absolute,
            max_relative_error: self.relative,
            first: self.first.map(|Seen { flat, value, made }| FirstLoss {
                index: unravel(flat, shape),
                flat,
                value: value.to_string(),
                result: made.text_beside(value),
                numbers: [value, made].map(|each| [each.to_f64(), each.imaginary()]),
            }),
        }
    }
}

/// The index along each dimension of an element that is so far in row-major order.
fn unravel(mut flat: usize, shape: &[i64]) -> Vec<i64> {
    let mut index = vec![0; shape.len()];
    for (place, &extent) in index.iter_mut().zip(shape).rev() {
        *place = (flat % extent as usize) as i64;
        flat /= extent as usize;
    }
    index
}

/// The distance of two elements, and the same in units of the first, where both are finite; else 0.
fn errors(value: Value, made: Value) -> (f64, f64) {
    let real = match (value.to_integer(), made.to_integer()) {
        (Some(value), Some(made)) => (value - made) as f64,
        _ => value.to_f64() - made.to_f64(),
    };
    let absolute = match value.imaginary() - made.imaginary() {
        0.0 => real.abs(),
        imaginary => hypot(real, imaginary),
    };
    let finite = [value, made].iter().all(|each| each.to_f64().is_finite() && each.imaginary().is_finite());
    match hypot(value.to_f64(), value.imaginary()) {
        _ if !finite => (0.0, 0.0),
        0.0 => (absolute, 0.0),
        size => (absolute, absolute / size),
    }
}

/// How `made`, of this type, differs from the value that it was made from; `None` where it is the same.
pub(super) fn change(value: Value, made: Value, target: Scalar) -> Option<Change> {
    let real = match value {
        Value::Bool(_) | Value::Integer(_) if value.to_integer() == made.to_integer() => None,
        _ => part(value.to_f64(), made.to_f64(), target, || {
            !matches!((value, made), (Value::Integer(_), _) | (_, Value::Integer(_)))
                || value.to_integer() == made.to_integer()
        }),
    };
    match value.imaginary() {
        0.0 => real,
        // Dropped, whatever it was.
        _ if !target.is_complex() => real.max(Some(Change::Inexact)),
        imaginary => real.max(part(imaginary, made.imaginary(), target, || true)),
    }
}

/// The same of one part of a number. `integers_agree` is asked where float64 cannot tell.
fn part(value: f64, made: f64, target: Scalar, integers_agree: impl Fn() -> bool) -> Option<Change> {
    if value.is_nan() {
        return (!made.is_nan()).then_some(Change::Nan);
    }
    if value == made && integers_agree() {
        return None;
    }
    if !made.is_finite() || beyond(value, target) {
        return Some(Change::Overflow);
    }
    let real = matches!(target.kind(), Kind::Float | Kind::Complex);
    Some(if real && made == 0.0 { Change::Underflow } else { Change::Inexact })
}

/// Whether a value is out of a type's range. Integers that no float64 has are not decided here, but they are not near
/// the end of a range either, but for those of 64 bits.
fn beyond(value: f64, target: Scalar) -> bool {
    use Scalar::*;
    let whole = value.trunc();
    let outside = |low: f64, end: f64| !(low..end).contains(&whole);
    match target {
        Bool => !value.is_finite(),
        I8 => outside(-128.0, 128.0),
        I16 => outside(-32_768.0, 32_768.0),
        I32 => outside(-2_f64.powi(31), 2_f64.powi(31)),
        I64 => outside(-2_f64.powi(63), 2_f64.powi(63)),
        U8 => outside(0.0, 256.0),
        U16 => outside(0.0, 65_536.0),
        U32 => outside(0.0, 2_f64.powi(32)),
        U64 => outside(0.0, 2_f64.powi(64)),
        F16 => value.abs() >= 65_520.0,
        E5M2 => value.abs() >= 61_440.0,
        E4M3 => value.abs() > 464.0,
        Bf16 => value.abs() >= f64::from(f32::from_bits(0x7f7f_8000)),
        // Half way from the largest to what would be the next.
        F32 | C64 => value.abs() >= 2_f64.powi(128) - 2_f64.powi(103),
        F64 | C128 => value.is_infinite(),
    }
}
