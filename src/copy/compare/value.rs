//! One element at a time: what a report says, and the comparison of dtypes that no row kernel is for.

use super::close::Tolerance;
use super::close::round_to_float16;
use crate::copy::hypot::hypot;
use crate::dlpack::{DLDataType, DLDataTypeCode};
use crate::float::usually;
use std::fmt;

/// The value of one element.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// `bool`.
    Bool(bool),
    /// Integers of any width up to 64 bits.
    Int(i128),
    /// Floats of any width up to 64 bits.
    Float(f64),
    /// Complex numbers: real and imaginary part.
    Complex(f64, f64),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        usually(|| match self {
            Value::Bool(value) => value.fmt(f),
            Value::Int(value) => value.fmt(f),
            Value::Float(value) => write!(f, "{value:?}"),
            Value::Complex(real, imaginary) => write!(f, "{real:?}{imaginary:+?}j"),
        })
    }
}

/// What NumPy reckons in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Precision {
    Half,
    Single,
    Double,
}

impl Precision {
    /// The nearest number of this precision. Rounding a float64 sum, difference or product to it gives what the operation
    /// itself would: float64 has more than twice the digits.
    fn round(self, value: f64) -> f64 {
        match self {
            Precision::Half => f64::from(round_to_float16(value as f32)),
            Precision::Single => f64::from(value as f32),
            Precision::Double => value,
        }
    }
}

/// The nearest float16 of a float64, rounded once.
pub(super) fn nearest_float16(value: f64) -> f64 {
    let size = value.abs();
    let bits = size.to_bits();
    let normal = f64::from_bits((bits + (1 << 41) - 1 + ((bits >> 42) & 1)) & !((1 << 42) - 1));
    let rounded = match size {
        _ if size.is_nan() => size,
        _ if size < 2_f64.powi(-14) => (size + 2_f64.powi(28)) - 2_f64.powi(28),
        _ if normal >= 65536.0 => f64::INFINITY,
        _ => normal,
    };
    rounded.copysign(value)
}

/// Whether elements of a dtype have values that can be compared: one lane of whole bytes, of a kind that is known.
pub(super) fn is_comparable(dtype: DLDataType) -> bool {
    let DLDataType { code: DLDataTypeCode(code), bits, lanes } = dtype;
    lanes == 1
        && match code {
            0 | 1 => matches!(bits, 8 | 16 | 32 | 64),
            2 => matches!(bits, 16 | 32 | 64),
            4..=14 => true,
            _ => false,
        }
}

/// Reads one element of a dtype that [`is_comparable`].
///
/// # Safety
///
/// `from` is the address of one; it may be odd.
pub(super) unsafe fn read(dtype: DLDataType, from: *const u8) -> Value {
    macro_rules! get {
        ($type:ty) => {
            // SAFETY: promised by the caller.
            unsafe { from.cast::<$type>().read_unaligned() }
        };
    }
    match (dtype.code.0, dtype.bits) {
        (0, 8) => Value::Int(get!(i8).into()),
        (0, 16) => Value::Int(get!(i16).into()),
        (0, 32) => Value::Int(get!(i32).into()),
        (0, _) => Value::Int(get!(i64).into()),
        (1, 8) => Value::Int(get!(u8).into()),
        (1, 16) => Value::Int(get!(u16).into()),
        (1, 32) => Value::Int(get!(u32).into()),
        (1, _) => Value::Int(get!(u64).into()),
        (2, 16) => Value::Float(float16(get!(u16))),
        (2, 32) => Value::Float(get!(f32).into()),
        (2, _) => Value::Float(get!(f64)),
        (4, _) => Value::Float(f32::from_bits(u32::from(get!(u16)) << 16).into()),
        (5, 32) => {
            let [real, imaginary] = get!([u16; 2]);
            Value::Complex(float16(real), float16(imaginary))
        }
        (5, 64) => {
            let [real, imaginary] = get!([f32; 2]);
            Value::Complex(real.into(), imaginary.into())
        }
        (5, _) => {
            let [real, imaginary] = get!([f64; 2]);
            Value::Complex(real, imaginary)
        }
        (6, _) => Value::Bool(get!(u8) != 0),
        (code, _) => Value::Float(float8(code, get!(u8))),
    }
}

fn float16(bits: u16) -> f64 {
    small_float(bits.into(), 5, 10, 15, Special::Ieee)
}

/// What the bits with a full exponent mean.
#[derive(Clone, Copy, PartialEq)]
enum Special {
    /// Infinity and NaN.
    Ieee,
    /// Numbers, but for all ones: NaN.
    AllOnes,
    /// Numbers; the bits of -0 are NaN.
    Unsigned0,
}

fn float8(code: u8, bits: u8) -> f64 {
    let of = |exponent, mantissa, bias, special| small_float(bits.into(), exponent, mantissa, bias, special);
    match code {
        7 => of(3, 4, 3, Special::Ieee),
        8 => of(4, 3, 7, Special::Ieee),
        9 => of(4, 3, 11, Special::Unsigned0),
        10 => of(4, 3, 7, Special::AllOnes),
        11 => of(4, 3, 8, Special::Unsigned0),
        12 => of(5, 2, 15, Special::Ieee),
        13 => of(5, 2, 16, Special::Unsigned0),
        _ if bits == 0xff => f64::NAN,
        _ => 2_f64.powi(i32::from(bits) - 127),
    }
}

/// A float of few bits: a sign, an exponent, a mantissa.
fn small_float(bits: u32, exponent_bits: u32, mantissa_bits: u32, bias: i32, special: Special) -> f64 {
    let (full, ones) = ((1 << exponent_bits) - 1, (1 << mantissa_bits) - 1);
    let (mantissa, exponent) = (bits & ones, bits >> mantissa_bits & full);
    let negative = bits >> (mantissa_bits + exponent_bits) & 1 == 1;
    let size = match special {
        Special::Ieee if exponent == full && mantissa == 0 => f64::INFINITY,
        Special::Ieee if exponent == full => f64::NAN,
        Special::AllOnes if exponent == full && mantissa == ones => f64::NAN,
        Special::Unsigned0 if negative && exponent == 0 && mantissa == 0 => f64::NAN,
        _ if exponent == 0 => f64::from(mantissa) * 2_f64.powi(1 - bias - mantissa_bits as i32),
        _ => {
            f64::from(mantissa | 1 << mantissa_bits)
                * 2_f64.powi(exponent as i32 - bias - mantissa_bits as i32)
        }
    };
    if negative { -size } else { size }
}

impl Value {
    /// Real and imaginary part, as NumPy converts the value to float64 or complex128.
    pub fn parts(self) -> [f64; 2] {
        match self {
            Value::Bool(value) => [f64::from(u8::from(value)), 0.0],
            Value::Int(value) => [value as f64, 0.0],
            Value::Float(value) => [value, 0.0],
            Value::Complex(real, imaginary) => [real, imaginary],
        }
    }

    fn int(self) -> Option<i128> {
        match self {
            Value::Bool(value) => Some(value.into()),
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    fn is_nan(self) -> bool {
        self.parts().iter().any(|part| part.is_nan())
    }

    /// Whether both are one value: integers exactly, everything else as NumPy promotes it.
    pub(super) fn same(self, other: Value, equal_nan: bool) -> bool {
        match (self.int(), other.int()) {
            (Some(a), Some(b)) => a == b,
            _ => self.parts() == other.parts() || (equal_nan && self.is_nan() && other.is_nan()),
        }
    }

    /// `|self - other|`; NaN where one is.
    pub fn distance(self, other: Value) -> f64 {
        self.errors(other)[0]
    }

    /// The distance of two values, and that as a share of the second. NaN where one is.
    pub(super) fn errors(self, other: Value) -> [f64; 2] {
        let (a, b) = (self.parts(), other.parts());
        let absolute = match (self.int(), other.int()) {
            (Some(a), Some(b)) => a.abs_diff(b) as f64,
            _ if a == b => 0.0,
            _ => hypot(a[0] - b[0], a[1] - b[1]),
        };
        [absolute, if absolute == 0.0 { 0.0 } else { absolute / hypot(b[0], b[1]) }]
    }
}

/// How close two dtypes are compared.
#[derive(Clone, Copy)]
pub(super) struct Closeness {
    difference: Precision,
    allowed: Precision,
    rtol: f64,
    atol: f64,
    equal_nan: bool,
}

impl Closeness {
    pub fn new(a: DLDataType, b: DLDataType, Tolerance { rtol, atol }: Tolerance, equal_nan: bool) -> Self {
        let allowed = own_precision(b).unwrap_or(Precision::Double);
        let difference = allowed.max(promoted_precision(a));
        let round = |value| match allowed {
            Precision::Half => nearest_float16(value),
            precision => precision.round(value),
        };
        Closeness { difference, allowed, rtol: round(rtol), atol: round(atol), equal_nan }
    }

    /// The precision of the difference, and that of what is allowed.
    pub fn precisions(&self) -> [Precision; 2] {
        [self.difference, self.allowed]
    }

    /// Rounded to the precision in which it counts.
    pub fn tolerance(&self) -> Tolerance {
        Tolerance { rtol: self.rtol, atol: self.atol }
    }

    /// `|a - b| <= atol + rtol * |b|`, or both are one value.
    pub fn holds(&self, a: Value, b: Value) -> bool {
        let [difference, allowed] = [self.difference, self.allowed];
        let [(x, y)] = [(a.parts(), b.parts())];
        let minus = |part: usize| difference.round(x[part] - y[part]);
        let size = |parts: [f64; 2], precision: Precision| match (parts, precision) {
            ([real, 0.0], _) => real.abs(),
            ([real, imaginary], Precision::Double) => hypot(real, imaginary),
            ([real, imaginary], _) => {
                f64::from(hypot(f64::from(real as f32), f64::from(imaginary as f32)) as f32)
            }
        };
        let tolerance = allowed.round(self.atol + allowed.round(self.rtol * size(y, allowed)));
        let near = size([minus(0), minus(1)], difference) <= tolerance;
        near && y.iter().all(|part| part.is_finite())
            || x == y
            || (self.equal_nan && a.is_nan() && b.is_nan())
    }
}

/// The precision that NumPy reckons in where only this dtype is there; `None`: in float64.
fn own_precision(dtype: DLDataType) -> Option<Precision> {
    match (dtype.code.0, dtype.bits) {
        (2, 16) | (5, 32) => Some(Precision::Half),
        (2, 32) | (5, 64) => Some(Precision::Single),
        _ => None,
    }
}

/// The least precision that holds all values of a dtype, in NumPy's promotion of it with a float.
pub(super) fn promoted_precision(dtype: DLDataType) -> Precision {
    match (dtype.code.0, dtype.bits) {
        (0 | 1, 8) | (6, _) => Precision::Half,
        (0 | 1, 16) | (4 | 7..=14, _) => Precision::Single,
        (0 | 1, _) => Precision::Double,
        _ => own_precision(dtype).unwrap_or(Precision::Double),
    }
}
