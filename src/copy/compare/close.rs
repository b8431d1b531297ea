//! Whether two rows are close: `|a - b| <= atol + rtol * |b|`, each step rounded as NumPy rounds it.
//!
//! NumPy makes `b` inexact first (integers become float64), reckons the tolerance in that type and the difference in the
//! type that both promote to. Each precision here is carried by a float that holds it exactly; rounding after every
//! operation then gives the very bits of that precision.

use crate::copy::level::per_level;

/// A float that a precision is reckoned in.
pub(super) trait Carrier: Copy + PartialOrd {
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn plus(self, other: Self) -> Self;
    fn magnitude(self) -> Self;
    fn from_f64(value: f64) -> Self;
}

macro_rules! carrier {
    ($($float:ty),*) => {$(
        impl Carrier for $float {
            #[inline(always)]
            fn minus(self, other: Self) -> Self { self - other }
            #[inline(always)]
            fn times(self, other: Self) -> Self { self * other }
            #[inline(always)]
            fn plus(self, other: Self) -> Self { self + other }
            #[inline(always)]
            fn magnitude(self) -> Self { self.abs() }
            #[inline(always)]
            fn from_f64(value: f64) -> Self { value as $float }
        }
    )*};
}
carrier!(f32, f64);

/// An element as it lies in memory, and the number it is.
pub(super) trait Number {
    type Item: Copy;
    /// Holds every number of this kind that NumPy reckons with.
    type Carrier: Carrier;
    fn read(item: Self::Item) -> Self::Carrier;
    /// What an operation gives in the precision of this kind.
    #[inline(always)]
    fn round(value: Self::Carrier) -> Self::Carrier {
        value
    }
    /// The same in the precision in which the tolerance is reckoned: that of `b` alone.
    #[inline(always)]
    fn round_allowed(value: Self::Carrier) -> Self::Carrier {
        Self::round(value)
    }
}

/// A number that is reckoned in float32 or float64: the type in memory, and how it is read.
pub(super) struct In<T>(T);
/// float16.
pub(super) struct Float16;
/// bfloat16, which NumPy reckons in float64.
pub(super) struct Bfloat16;
/// `bool`: any byte but 0 is 1.
pub(super) struct Truth;

macro_rules! numbers {
    ($($item:ty => $carrier:ty),*) => {$(
        impl Number for In<$item> {
            type Item = $item;
            type Carrier = $carrier;
            #[inline(always)]
            fn read(item: $item) -> $carrier { item as $carrier }
        }
    )*};
}
numbers!(i8 => f64, i16 => f64, i32 => f64, i64 => f64, u8 => f64, u16 => f64, u32 => f64, u64 => f64, f32 => f32, f64 => f64);

impl Number for Float16 {
    type Item = u16;
    type Carrier = f32;
    #[inline(always)]
    fn read(item: u16) -> f32 {
        let (sign, size) = (u32::from(item & 0x8000) << 16, u32::from(item & 0x7fff));
        let value = match size {
            0..0x400 => (size as f32 * 2_f32.powi(-24)).to_bits(),
            0x400..0x7c00 => (size << 13) + (112 << 23),
            _ => size << 13 | 0x7f80_0000,
        };
        f32::from_bits(sign | value)
    }
    #[inline(always)]
    fn round(value: f32) -> f32 {
        round_to_float16(value)
    }
}

/// The nearest float16, ties to even.
#[inline(always)]
pub(super) fn round_to_float16(value: f32) -> f32 {
    let (bits, size) = (value.to_bits(), value.abs());
    let normal = ((bits & 0x7fff_ffff) + 0xfff + ((bits >> 13) & 1)) & !0x1fff;
    // From 65520 on there is only infinity.
    let normal = f32::from_bits(normal);
    let normal = if normal >= 65536.0 { f32::INFINITY } else { normal };
    // Adding a half leaves multiples of 2^-24, which is what the small ones are.
    let small = (size + 0.5) - 0.5;
    let rounded = if size < 2_f32.powi(-14) { small } else { normal };
    let rounded = if value.is_nan() { size } else { rounded };
    rounded.copysign(value)
}

impl Number for Bfloat16 {
    type Item = u16;
    type Carrier = f64;
    #[inline(always)]
    fn read(item: u16) -> f64 {
        f64::from(f32::from_bits(u32::from(item) << 16))
    }
}

impl Number for Truth {
    type Item = u8;
    type Carrier = f64;
    #[inline(always)]
    fn read(item: u8) -> f64 {
        f64::from(u8::from(item != 0))
    }
}

/// Numbers of float16 as float32.
pub(super) struct Half;
/// Numbers as float32, of which `b` is float16.
pub(super) struct SingleBesideHalf;
/// Numbers as float64, of which `b` is float32.
pub(super) struct DoubleBesideSingle;
/// Numbers as float64, of which `b` is float16.
pub(super) struct DoubleBesideHalf;

macro_rules! widened {
    ($($name:ident, $carrier:ty, |$a:ident| $round:expr, |$b:ident| $allowed:expr;)*) => {$(
        impl Number for $name {
            type Item = $carrier;
            type Carrier = $carrier;
            #[inline(always)]
            fn read(item: $carrier) -> $carrier {
                item
            }
            #[inline(always)]
            fn round($a: $carrier) -> $carrier {
                $round
            }
            #[inline(always)]
            fn round_allowed($b: $carrier) -> $carrier {
                $allowed
            }
        }
    )*};
}
widened! {
    Half, f32, |a| round_to_float16(a), |b| round_to_float16(b);
    SingleBesideHalf, f32, |a| a, |b| round_to_float16(b);
    DoubleBesideSingle, f64, |a| a, |b| f64::from(b as f32);
    DoubleBesideHalf, f64, |a| a, |b| f64::from(round_to_float16(b as f32));
}

/// How far apart two numbers may be: `atol + rtol * |b|`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// What is allowed in proportion to `b`.
    pub rtol: f64,
    /// What is always allowed.
    pub atol: f64,
}

impl Default for Tolerance {
    /// NumPy's.
    fn default() -> Self {
        Tolerance { rtol: 1e-5, atol: 1e-8 }
    }
}

/// How many items are looked at before the answer is.
const STRETCH: usize = 256;

/// Whether all are close. The tolerances are rounded to the precision in which they count.
///
/// # Safety
///
/// Both addresses have `count` items; they may be odd.
#[inline(always)]
unsafe fn row<N: Number, const NAN: bool>(
    a: *const u8,
    b: *const u8,
    count: usize,
    tolerance: Tolerance,
) -> bool {
    let (a, b) = (a.cast::<N::Item>(), b.cast::<N::Item>());
    let (rtol, atol) = (N::Carrier::from_f64(tolerance.rtol), N::Carrier::from_f64(tolerance.atol));
    let infinity = N::Carrier::from_f64(f64::INFINITY);
    let mut at = 0;
    while at < count {
        let end = count.min(at + STRETCH);
        let mut close = true;
        for index in at..end {
            // SAFETY: within the rows.
            let (a, b) = unsafe { (a.add(index).read_unaligned(), b.add(index).read_unaligned()) };
            let (a, b) = (N::read(a), N::read(b));
            let allowed = N::round_allowed(atol.plus(N::round_allowed(rtol.times(b.magnitude()))));
            let near = (N::round(a.minus(b)).magnitude() <= allowed) & (b.magnitude() < infinity);
            close &= near | (a == b) | (NAN & is_nan(a) & is_nan(b));
        }
        if !close {
            return false;
        }
        at = end;
    }
    true
}

#[inline(always)]
#[allow(clippy::eq_op, reason = "what differs from itself is not a number")]
fn is_nan<C: Carrier>(value: C) -> bool {
    value != value
}

per_level! {
    /// Whether all are close.
    pub(super) unsafe fn close_row[N: Number, const NAN: bool](a: *const u8, b: *const u8, count: usize, tolerance: Tolerance) -> bool = row;
}
