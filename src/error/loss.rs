//! What a cast changed, and why it is refused.

use super::{Face, Kind};
use crate::float::usually;
use std::fmt;

/// What a cast changed. Every changed element is counted once, under the first of these that is true of it: NaN, overflow,
/// underflow, inexact.
///
/// Prints as a small table.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct LossReport {
    /// How many elements were cast.
    pub elements: usize,
    /// Rounded, cut off, without their imaginary part, whatever it was, or a truth value instead of the number.
    pub inexact: usize,
    /// Beyond the range of the target: now infinite, NaN, wrapped around or clamped.
    pub overflow: usize,
    /// Not zero, and zero in a floating-point target; a part that the target does not have is inexact.
    pub underflow: usize,
    /// NaN that the target cannot say.
    pub nan: usize,
    /// The largest distance between a value and what became of it, where both are finite. Of complex numbers the absolute
    /// value of the difference.
    pub max_absolute_error: f64,
    /// The largest such distance in units of the value.
    pub max_relative_error: f64,
    /// The first changed element in row-major order.
    pub first: Option<FirstLoss>,
}

// No number in it is NaN.
impl Eq for LossReport {}

/// An element that a cast changed.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct FirstLoss {
    /// Its index along each dimension.
    pub index: Vec<i64>,
    /// Its place in row-major order.
    pub flat: usize,
    /// Its value, as Python writes it.
    pub value: String,
    /// What became of it, with so many digits that it looks different.
    pub result: String,
    /// Real and imaginary part of both, rounded to float64.
    pub numbers: [[f64; 2]; 2],
}

impl LossReport {
    /// Of so many elements that are what they were.
    pub(crate) fn unchanged(elements: usize) -> Self {
        LossReport { elements, ..Default::default() }
    }

    /// How many elements changed.
    pub const fn lost(&self) -> usize {
        self.inexact + self.overflow + self.underflow + self.nan
    }
}

impl fmt::Display for LossReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        usually(|| self.say(f))
    }
}

impl LossReport {
    fn say(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = [
            ("changed", self.lost()),
            ("  inexact", self.inexact),
            ("  overflow", self.overflow),
            ("  underflow", self.underflow),
            ("  nan lost", self.nan),
        ];
        writeln!(f, "{:<20}{:>14}", "elements", self.elements)?;
        for (name, count) in rows {
            write!(f, "{name:<20}{count:>14}")?;
            match self.elements {
                0 => writeln!(f)?,
                all => writeln!(f, "{:>9.3} %", count as f64 / all as f64 * 100.0)?,
            }
        }
        // What became infinite or NaN is at no distance that could be said.
        let finite = if self.overflow + self.nan > 0 { " (where finite)" } else { "" };
        writeln!(
            f,
            "{:<20}{:>14}{finite}",
            "max absolute error",
            Short(self.max_absolute_error).to_string()
        )?;
        write!(f, "{:<20}{:>14}{finite}", "max relative error", Short(self.max_relative_error).to_string())?;
        if let Some(first) = &self.first {
            write!(f, "\nfirst at {}: {} became {}", Index(&first.index), first.value, first.result)?;
        }
        Ok(())
    }
}

/// A number in at most six digits.
struct Short(f64);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            value if value == 0.0 || (1e-4..1e7).contains(&value.abs()) => {
                let scale = 10_f64.powi(5 - (value.abs().max(1e-5).log10().floor() as i32));
                write!(f, "{}", (value * scale).round() / scale)
            }
            value => {
                let text = format!("{value:.5e}");
                let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
                let digits = digits.trim_end_matches('0').trim_end_matches('.');
                write!(f, "{digits}e{exponent}")
            }
        }
    }
}

/// An index as Python writes it.
struct Index<'a>(&'a [i64]);

impl fmt::Display for Index<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => f.write_str("()"),
            [one] => write!(f, "index {one}"),
            many => {
                let numbers: Vec<String> = many.iter().map(i64::to_string).collect();
                write!(f, "({})", numbers.join(", "))
            }
        }
    }
}

/// Why a cast is not made, or not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are right below")]
pub enum Cast {
    /// Values were lost that `casting` does not allow to lose.
    Lossy {
        from: String,
        to: String,
        casting: &'static str,
        report: Box<LossReport>,
    },
    Kinds {
        from: String,
        to: String,
    },
    Dtype {
        dtype: String,
    },
    Casting {
        given: String,
    },
    CopyForbidden {
        from: String,
        to: String,
    },
}

impl Cast {
    /// The kind, whose number is the C status code.
    pub const fn kind(&self) -> Kind {
        match self {
            Cast::Lossy { .. } => Kind::Lossy,
            Cast::Kinds { .. } | Cast::Casting { .. } => Kind::InvalidArgument,
            Cast::Dtype { .. } => Kind::Unsupported,
            Cast::CopyForbidden { .. } => Kind::CopyRequired,
        }
    }

    /// The words, in the names of this face.
    pub(super) fn say(&self, face: Face, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cast::Lossy { from, to, casting, report } => {
                usually(|| lossy(face, f, [from, to], casting, report))
            }
            Cast::Kinds { from, to } => write!(
                f,
                "{from} is not cast to {to} with {}, which goes from bool to unsigned to signed integers to floating-point to complex numbers, never back; pass {}, which refuses values that would change, {}, which clamps, or {}",
                face.casting("same_kind"),
                face.casting("same_value"),
                face.casting("saturate"),
                face.casting("unsafe")
            ),
            Cast::Dtype { dtype } => write!(
                f,
                "{dtype} is not cast; pass bool, int8 to int64, uint8 to uint64, float16 to float64, bfloat16, float8_e4m3fn, float8_e5m2, complex64 or complex128"
            ),
            Cast::Casting { given } => write!(
                f,
                "casting is {given}; pass {}",
                face.pick(
                    "DLB_CASTING_SAME_KIND, DLB_CASTING_SAME_VALUE, DLB_CASTING_UNSAFE or DLB_CASTING_SATURATE",
                    "\"same_kind\", \"same_value\", \"unsafe\" or \"saturate\"",
                    "\"same_kind\", \"same_value\", \"unsafe\" or \"saturate\""
                )
            ),
            Cast::CopyForbidden { from, to } => write!(
                f,
                "{from} becomes {to} in memory of its own only, which copy=False forbids; drop one of the two"
            ),
        }
    }
}

/// What was lost on the way between two dtypes, and the casting that would allow it.
fn lossy(
    face: Face,
    f: &mut fmt::Formatter<'_>,
    [from, to]: [&str; 2],
    casting: &str,
    report: &LossReport,
) -> fmt::Result {
    let &LossReport { elements, overflow, nan, .. } = report;
    let lost = report.lost();
    let (one, many, which) = match to {
        "bool" => ("is neither 0 nor 1", "are neither 0 nor 1", ", which has no other values"),
        _ if lost == nan => ("is NaN", "are NaN", ", which has none"),
        _ if lost == overflow => ("is out of range", "are out of range", ""),
        _ => ("changes its value", "change their values", ""),
    };
    let what = if lost == 1 { one } else { many };
    write!(f, "{lost} of {elements} elements {what} on the way from {from} to {to}{which}")?;
    if let Some(FirstLoss { index, value, result, .. }) = &report.first {
        write!(f, "; the first, at {}, is {value} and became {result}", Index(index))?;
    }
    let whole = is_integer(from) && is_integer(to);
    match report.max_absolute_error {
        // NaN is at no distance from anything, and a truth value is no number.
        _ if lost == nan || to == "bool" => {}
        0.0 => f.write_str("; no error is finite")?,
        error => write!(
            f,
            "; the largest {}absolute error is {}, the largest relative error {}",
            if overflow > 0 && !whole { "finite " } else { "" },
            Short(error),
            Short(report.max_relative_error)
        )?,
    }
    write!(f, "; {} does not allow that", face.casting(casting))?;
    for (at, (name, effect)) in allowing(from, to, report).iter().enumerate() {
        write!(f, "{}{}{effect}", if at == 0 { ", pass " } else { ", or " }, face.casting(name))?;
    }
    Ok(())
}

fn is_integer(dtype: &str) -> bool {
    dtype.contains("int")
}

/// The castings that would allow this, by name, and what each does with it.
fn allowing(from: &str, to: &str, report: &LossReport) -> &'static [(&'static str, &'static str)] {
    let is_complex = |dtype: &str| dtype.starts_with("complex");
    match report.lost() {
        _ if to == "bool" => &[("unsafe", ", which makes everything but 0 true")],
        lost if lost == report.nan => {
            &[("saturate", ", which makes it 0"), ("unsafe", " for what NumPy makes of it")]
        }
        _ if report.overflow + report.nan > 0 => {
            &[("saturate", " to clamp them"), ("unsafe", " for what NumPy makes of them")]
        }
        _ if is_complex(from) && is_integer(to) => {
            &[("unsafe", " to drop the imaginary part and the fraction")]
        }
        _ if is_complex(from) && !is_complex(to) => &[("unsafe", " to keep the real part only")],
        _ if is_integer(to) => &[("unsafe", " to cut off the fraction")],
        _ => &[("same_kind", " to round them")],
    }
}
