//! How one number becomes another, and what is lost. Free of branches, for the compiler to vectorise.
//!
//! Every type is read into one of five without loss ([`Load`]): int32, int64, uint64, float32 or float64. From these there
//! is a conversion to each type ([`To`]).

use super::small::{Bf16, E4M3, E5M2, F16, Small, odd, odd_integer};

/// bool: any byte but 0 is true when read; 0 or 1 is written.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Bool(pub u8);

/// A type as it lies in memory, and the one that it is read into.
pub(super) trait Load: Copy {
    type Wide: Copy;
    fn load(self) -> Self::Wide;
}

macro_rules! load {
    ($($from:ty => $wide:ty: |$value:ident| $made:expr;)*) => {$(
        impl Load for $from {
            type Wide = $wide;
            #[inline(always)]
            fn load(self) -> $wide {
                let $value = self;
                $made
            }
        }
    )*};
}
load! {
    Bool => i32: |b| i32::from(b.0 != 0);
    i8 => i32: |v| v.into();
    u8 => i32: |v| v.into();
    i16 => i32: |v| v.into();
    u16 => i32: |v| v.into();
    i32 => i32: |v| v;
    u32 => i64: |v| v.into();
    i64 => i64: |v| v;
    u64 => u64: |v| v;
    F16 => f32: |v| v.widen();
    Bf16 => f32: |v| v.widen();
    E4M3 => f32: |v| v.widen();
    E5M2 => f32: |v| v.widen();
    f32 => f32: |v| v;
    f64 => f64: |v| v;
}

/// A conversion to `D`.
pub(super) trait To<D>: Copy {
    /// As NumPy does it on x86-64; the documentation of [`super::Casting::Unsafe`] says what that is.
    fn plain(self) -> D;
    /// The value in range that is nearest to `self`.
    fn saturate(self) -> D;
    /// Whether `made`, which one of the two gave, is the same value. A NaN stays the same as a NaN, and so does -0 as 0.
    fn keeps(self, made: D) -> bool;
    /// Whether `made`, which [`Self::plain`] gave, is at least in range: rounded at most. Only asked where both are of
    /// one kind, or `D`'s is the more general one.
    fn fits(self, made: D) -> bool;
}

macro_rules! integer_to_integer {
    ($from:ty => $($to:ty),*) => {$(
        impl To<$to> for $from {
            #[inline(always)]
            fn plain(self) -> $to {
                self as $to
            }
            #[inline(always)]
            fn saturate(self) -> $to {
                const LOW: $from =
                    if (<$to>::MIN as i128) < <$from>::MIN as i128 { <$from>::MIN } else { <$to>::MIN as $from };
                const HIGH: $from =
                    if (<$to>::MAX as i128) > <$from>::MAX as i128 { <$from>::MAX } else { <$to>::MAX as $from };
                self.clamp(LOW, HIGH) as $to
            }
            #[inline(always)]
            #[allow(unused_comparisons, reason = "of two unsigned types neither is negative")]
            fn keeps(self, made: $to) -> bool {
                (made as $from == self) & ((made < 0) == (self < 0))
            }
            #[inline(always)]
            fn fits(self, made: $to) -> bool {
                self.keeps(made)
            }
        }
    )*};
}
integer_to_integer!(i32 => i8, u8, i16, u16, u32, i64, u64);
integer_to_integer!(i64 => i8, u8, i16, u16, i32, u32, u64);
integer_to_integer!(u64 => i8, u8, i16, u16, i32, u32, i64);

/// What the conversions to floating-point types of 16 and 8 bits need to know.
pub(super) trait Wide: Copy {
    /// A float32 that rounds to each of them as `self` does.
    fn odd(self) -> f32;
    /// Whether it is this value.
    fn is(self, value: f32) -> bool;
}

macro_rules! wide {
    ($($from:ty: |$value:ident| $odd:expr, |$other:ident| $is:expr;)*) => {$(
        impl Wide for $from {
            #[inline(always)]
            fn odd(self) -> f32 {
                let $value = self;
                $odd
            }
            #[inline(always)]
            #[allow(clippy::manual_range_contains, reason = "it would branch between the two, and vectors cannot")]
            fn is(self, $other: f32) -> bool {
                let $value = self;
                $is
            }
        }
    )*};
}
/// Beyond int64 and uint64: what an `as` would clamp to their largest value, as it does infinities.
const I64_END: f32 = 9_223_372_036_854_775_808.0;
const U64_END: f32 = 18_446_744_073_709_551_616.0;
wide! {
    i32: |v| odd(v.into()), |other| f64::from(v) == f64::from(other);
    i64: |v| odd_integer(v.unsigned_abs()).copysign(if v < 0 { -1.0 } else { 1.0 }),
        |other| (other as i64 == v) & (other >= -I64_END) & (other < I64_END);
    u64: |v| odd_integer(v), |other| (other as u64 == v) & (other < U64_END);
    f32: |v| v, |other| (other == v) | v.is_nan();
    f64: |v| odd(v), |other| (f64::from(other) == v) | v.is_nan();
}

macro_rules! to_small {
    ($($to:ty),*) => {$(
        impl<W: Wide> To<$to> for W {
            #[inline(always)]
            fn plain(self) -> $to {
                <$to>::narrow(self.odd())
            }
            #[inline(always)]
            fn saturate(self) -> $to {
                <$to>::narrow(<$to>::clamp(self.odd()))
            }
            #[inline(always)]
            fn keeps(self, made: $to) -> bool {
                self.is(made.widen())
            }
            #[inline(always)]
            fn fits(self, _: $to) -> bool {
                !<$to>::overflows(self.odd())
            }
        }
    )*};
}
to_small!(F16, Bf16, E4M3, E5M2);

macro_rules! to_float {
    ($($from:ty => $to:ty: |$value:ident, $made:ident| $keeps:expr;)*) => {$(
        impl To<$to> for $from {
            #[inline(always)]
            fn plain(self) -> $to {
                self as $to
            }
            #[inline(always)]
            fn saturate(self) -> $to {
                self as $to
            }
            #[inline(always)]
            fn keeps(self, $made: $to) -> bool {
                let $value = self;
                $keeps
            }
            #[inline(always)]
            fn fits(self, _: $to) -> bool {
                true
            }
        }
    )*};
}
to_float! {
    i32 => f32: |v, made| f64::from(v) == f64::from(made);
    i32 => f64: |_v, _made| true;
    i64 => f32: |v, made| (made as i64 == v) & (made < I64_END);
    i64 => f64: |v, made| (made as i64 == v) & (made < f64::from(I64_END));
    u64 => f32: |v, made| (made as u64 == v) & (made < U64_END);
    u64 => f64: |v, made| (made as u64 == v) & (made < f64::from(U64_END));
    f32 => f64: |_v, _made| true;
}

impl To<f32> for f64 {
    #[inline(always)]
    fn plain(self) -> f32 {
        self as f32
    }
    #[inline(always)]
    fn saturate(self) -> f32 {
        let made = self as f32;
        if self.fits(made) { made } else { f32::MAX.copysign(made) }
    }
    #[inline(always)]
    fn keeps(self, made: f32) -> bool {
        (f64::from(made) == self) | self.is_nan()
    }
    #[inline(always)]
    fn fits(self, made: f32) -> bool {
        // Rounds to infinity; infinities, and NaNs, are none.
        !((made.abs() == f32::INFINITY) & (self.abs() != f64::INFINITY))
    }
}

/// Cuts off to an integer as the processor does: what has none becomes the smallest.
macro_rules! cut {
    ($name:ident, $from:ty => $to:ty, |$value:ident| $inside:expr) => {
        #[inline(always)]
        fn $name($value: $from) -> $to {
            let inside = $inside;
            // SAFETY: 0, or a number whose integral part the type has.
            let whole = unsafe { (if inside { $value } else { 0.0 }).to_int_unchecked::<$to>() };
            if inside { whole } else { <$to>::MIN }
        }
    };
}
cut!(f32_to_i32, f32 => i32, |v| (-2_147_483_648.0..2_147_483_648.0).contains(&v));
cut!(f64_to_i32, f64 => i32, |v| (v > -2_147_483_649.0) & (v < 2_147_483_648.0));
cut!(f32_to_i64, f32 => i64, |v| (-I64_END..I64_END).contains(&v));
cut!(f64_to_i64, f64 => i64, |v| (-f64::from(I64_END)..f64::from(I64_END)).contains(&v));

macro_rules! float_to_integer {
    ($from:ty => $($to:ty: |$value:ident| $plain:expr;)*) => {$(
        impl To<$to> for $from {
            #[inline(always)]
            fn plain(self) -> $to {
                let $value = self;
                $plain
            }
            #[inline(always)]
            fn saturate(self) -> $to {
                self as $to
            }
            #[inline(always)]
            fn keeps(self, _: $to) -> bool {
                // Not of what `saturate` gave: i32::MAX rounds to 2^31, which it came from, in float32.
                <$from as To<$to>>::plain(self) as $from == self
            }
            #[inline(always)]
            fn fits(self, made: $to) -> bool {
                self.keeps(made)
            }
        }
    )*};
}
/// 2^31, the smallest int32 as an unsigned number.
const TOP: u32 = 1 << 31;
float_to_integer! { f32 =>
    i8: |v| f32_to_i32(v) as i8;
    u8: |v| f32_to_i32(v) as u8;
    i16: |v| f32_to_i32(v) as i16;
    u16: |v| f32_to_i32(v) as u16;
    i32: |v| f32_to_i32(v);
    u32: |v| if v >= TOP as f32 { f32_to_i32(v - TOP as f32) as u32 ^ TOP } else { f32_to_i32(v) as u32 };
    i64: |v| f32_to_i64(v);
    u64: |v| if v >= I64_END { f32_to_i64(v - I64_END) as u64 ^ (1 << 63) } else { f32_to_i64(v) as u64 };
}
float_to_integer! { f64 =>
    i8: |v| f64_to_i32(v) as i8;
    u8: |v| f64_to_i32(v) as u8;
    i16: |v| f64_to_i32(v) as i16;
    u16: |v| f64_to_i32(v) as u16;
    i32: |v| f64_to_i32(v);
    u32: |v| if v >= f64::from(TOP) { f64_to_i32(v - f64::from(TOP)) as u32 ^ TOP } else { f64_to_i32(v) as u32 };
    i64: |v| f64_to_i64(v);
    u64: |v| if v >= f64::from(I64_END) {
        f64_to_i64(v - f64::from(I64_END)) as u64 ^ (1 << 63)
    } else {
        f64_to_i64(v) as u64
    };
}

macro_rules! to_bool {
    ($($from:ty),*) => {$(
        impl To<Bool> for $from {
            #[inline(always)]
            fn plain(self) -> Bool {
                Bool((self != 0 as $from).into())
            }
            #[inline(always)]
            fn saturate(self) -> Bool {
                self.plain()
            }
            #[inline(always)]
            fn keeps(self, made: Bool) -> bool {
                made.0 as $from == self
            }
            #[inline(always)]
            fn fits(self, made: Bool) -> bool {
                self.keeps(made)
            }
        }
    )*};
}
to_bool!(i32, i64, u64, f32, f64);
