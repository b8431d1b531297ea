//! Floating-point types of 16 and 8 bits. Each is a part of float32, so that widening is exact and narrowing from there
//! rounds once, to the nearest, ties to even. Free of branches, for the compiler to vectorise.

/// Infinity in float32, without its sign.
const INFINITY: u32 = 0x7f80_0000;

/// A floating-point type whose values are all values of float32.
pub(super) trait Small: Copy {
    /// The largest finite value.
    const LARGEST: f32;
    /// The bits of the magnitudes in float32 that are finite, or infinite where this type has no infinity, and round to
    /// something beyond [`Self::LARGEST`]: from the first up to the second.
    const BEYOND: (u32, u32);

    /// The nearest value. A NaN keeps its sign and as much of its payload as there is room for, as in NumPy.
    fn narrow(value: f32) -> Self;
    fn widen(self) -> f32;

    /// Whether [`Self::narrow`] leaves the range.
    #[inline(always)]
    fn overflows(value: f32) -> bool {
        let magnitude = value.to_bits() & !(1 << 31);
        (magnitude >= Self::BEYOND.0) & (magnitude < Self::BEYOND.1)
    }

    /// A value that does not leave the range.
    #[inline(always)]
    fn clamp(value: f32) -> f32 {
        if Self::overflows(value) { Self::LARGEST.copysign(value) } else { value }
    }
}

/// The exponent of float32 that a type with so many bits of exponent calls 0, in place.
const fn rebias(exponent: u32) -> u32 {
    (128 - (1 << (exponent - 1))) << 23
}

/// The code of the nearest value with so many bits of exponent and mantissa, sign and range left out.
#[inline(always)]
fn round<const EXPONENT: u32, const MANTISSA: u32>(magnitude: u32) -> u32 {
    let shift = 23 - MANTISSA;
    let half = (1 << (shift - 1)) - 1 + ((magnitude >> shift) & 1);
    let normal = magnitude.wrapping_add(half).wrapping_sub(rebias(EXPONENT)) >> shift;
    // Adding a number whose last place is worth one step of the subnormals lets the processor round.
    let magic = rebias(EXPONENT) + ((24 - MANTISSA) << 23);
    let subnormal = (f32::from_bits(magnitude) + f32::from_bits(magic)).to_bits().wrapping_sub(magic);
    if magnitude < rebias(EXPONENT) + (1 << 23) { subnormal } else { normal }
}

/// The magnitude in float32 of a code without its sign; what its largest exponent means is left out.
#[inline(always)]
fn spread<const EXPONENT: u32, const MANTISSA: u32>(code: u32) -> u32 {
    let bits = code << (23 - MANTISSA);
    let lowest = rebias(EXPONENT) + (1 << 23);
    let subnormal = (f32::from_bits(bits + lowest) - f32::from_bits(lowest)).to_bits();
    if bits < 1 << 23 { subnormal } else { bits + rebias(EXPONENT) }
}

/// What [`Small::narrow`] makes of a magnitude in a type with infinities and NaNs as IEEE 754 has them.
#[inline(always)]
fn narrow_ieee<const EXPONENT: u32, const MANTISSA: u32>(magnitude: u32, beyond: u32) -> u32 {
    let infinity = ((1 << EXPONENT) - 1) << MANTISSA;
    let payload = (magnitude & 0x7f_ffff) >> (23 - MANTISSA);
    // A payload that leaves nothing must not make it an infinity.
    let nan = infinity | payload | u32::from(payload == 0);
    let code = round::<EXPONENT, MANTISSA>(magnitude);
    let code = if magnitude >= beyond { infinity } else { code };
    if magnitude > INFINITY { nan } else { code }
}

#[inline(always)]
fn widen_ieee<const EXPONENT: u32, const MANTISSA: u32>(code: u32) -> u32 {
    let bits = code << (23 - MANTISSA);
    let special = bits >= ((1 << EXPONENT) - 1) << 23;
    if special { bits | INFINITY } else { spread::<EXPONENT, MANTISSA>(code) }
}

macro_rules! ieee {
    ($(#[$meta:meta])* $name:ident($bits:ty), $exponent:literal, $mantissa:literal, $largest:literal, $beyond:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        #[repr(transparent)]
        pub(super) struct $name(pub $bits);

        impl Small for $name {
            const LARGEST: f32 = $largest;
            const BEYOND: (u32, u32) = (f32::to_bits($beyond), INFINITY);

            #[inline(always)]
            fn narrow(value: f32) -> Self {
                let sign = value.to_bits() >> 31 << ($exponent + $mantissa);
                let magnitude = value.to_bits() & !(1 << 31);
                $name((narrow_ieee::<$exponent, $mantissa>(magnitude, Self::BEYOND.0) | sign) as $bits)
            }

            #[inline(always)]
            fn widen(self) -> f32 {
                let (code, sign) = (u32::from(self.0), 1 << ($exponent + $mantissa));
                let magnitude = widen_ieee::<$exponent, $mantissa>(code & (sign - 1));
                f32::from_bits(magnitude | ((code & sign) << (31 - $exponent - $mantissa)))
            }
        }
    };
}
ieee! {
    /// float16.
    F16(u16), 5, 10, 65_504.0, 65_520.0
}
ieee! {
    /// float8_e5m2.
    E5M2(u8), 5, 2, 57_344.0, 61_440.0
}

/// bfloat16: the upper half of a float32.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Bf16(pub u16);

impl Small for Bf16 {
    const LARGEST: f32 = f32::from_bits(0x7f7f_0000);
    const BEYOND: (u32, u32) = (0x7f7f_8000, INFINITY);

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        let bits = value.to_bits();
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
        let upper = bits >> 16;
        let nan = upper | u32::from(upper & 0x7f == 0);
        Bf16(if bits & !(1 << 31) > INFINITY { nan as u16 } else { rounded as u16 })
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self.0) << 16)
    }
}

/// float8_e4m3fn: no infinity, and one NaN of each sign, which is what overflows become.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct E4M3(pub u8);

impl Small for E4M3 {
    const LARGEST: f32 = 448.0;
    // 464 lies half way to where 480 would be, and rounds to the even neighbour.
    const BEYOND: (u32, u32) = (f32::to_bits(464.0) + 1, INFINITY + 1);

    #[inline(always)]
    fn narrow(value: f32) -> Self {
        let magnitude = value.to_bits() & !(1 << 31);
        let code = if magnitude >= Self::BEYOND.0 { 0x7f } else { round::<4, 3>(magnitude) };
        E4M3((code | (value.to_bits() >> 31 << 7)) as u8)
    }

    #[inline(always)]
    fn widen(self) -> f32 {
        let code = u32::from(self.0);
        let magnitude = if code & 0x7f == 0x7f { 0x7fc0_0000 } else { spread::<4, 3>(code & 0x7f) };
        f32::from_bits(magnitude | ((code & 0x80) << 24))
    }
}

/// A float32 that rounds to each of these types as `value` does: cut off, with the last bit set where that loses
/// something ("round to odd"). A NaN keeps its sign, and its payload as far as there is room.
#[inline(always)]
pub(super) fn odd(value: f64) -> f32 {
    let nearest = value as f32;
    let wide = f64::from(nearest);
    let bits = nearest.to_bits() - u32::from(wide.abs() > value.abs());
    let bits = bits | u32::from(wide != value);
    let source = value.to_bits();
    // Not what the processor makes of a NaN, which it marks as quiet.
    let payload = ((source >> 29) as u32 & 0x7f_ffff) | u32::from(source << 35 != 0);
    let nan = ((source >> 32) as u32 & (1 << 31)) | INFINITY | payload;
    f32::from_bits(if value.is_nan() { nan } else { bits })
}

/// The same for integers, whose lowest bits a float64 has no room for: from 2^53 on those become one bit.
#[inline(always)]
pub(super) fn odd_integer(magnitude: u64) -> f32 {
    let sticky = (magnitude & !0x7ff) | (u64::from(magnitude & 0x7ff != 0) << 11);
    odd(if magnitude >> 53 == 0 { magnitude as f64 } else { sticky as f64 })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the code of a finite value means, by its definition.
    fn value(code: u32, exponent: u32, mantissa: u32) -> f64 {
        let bias = (1 << (exponent - 1)) - 1;
        let (power, digits) = ((code >> mantissa) as i32, f64::from(code & ((1 << mantissa) - 1)));
        let unit = 2_f64.powi(-(mantissa as i32));
        if power == 0 {
            digits * unit * 2_f64.powi(1 - bias)
        } else {
            (1.0 + digits * unit) * 2_f64.powi(power - bias)
        }
    }

    /// Every finite code means what it should, comes back, and so does everything around the points half way to the next.
    fn check<S: Small>(exponent: u32, mantissa: u32, last: u32, new: fn(u32) -> S, code: fn(S) -> u32) {
        for at in 0..=last {
            let here = value(at, exponent, mantissa);
            assert_eq!(f64::from(new(at).widen()), here, "{at:#x}");
            assert_eq!(code(S::narrow(here as f32)), at, "{at:#x}");
            let sign = 1 << (exponent + mantissa);
            assert_eq!(code(S::narrow(-here as f32)), at | sign, "{at:#x}");
            assert_eq!(f64::from(new(at | sign).widen()), -here, "{at:#x}");
            if at < last {
                let half = (here + value(at + 1, exponent, mantissa)) / 2.0;
                assert_eq!(code(S::narrow(odd(half))), at + (at & 1), "half way from {at:#x}");
                assert_eq!(code(S::narrow(odd(half.next_down()))), at, "below half way from {at:#x}");
                assert_eq!(code(S::narrow(odd(half.next_up()))), at + 1, "above half way from {at:#x}");
                assert!(!S::overflows(odd(half.next_up())), "{at:#x}");
            }
        }
        let largest = value(last, exponent, mantissa);
        assert_eq!(f64::from(S::LARGEST), largest);
        let half = (largest + value(last + 1, exponent, mantissa)) / 2.0;
        let (below, above) = if last & 1 == 1 { (half.next_down(), half) } else { (half, half.next_up()) };
        assert!(!S::overflows(odd(below)) && code(S::narrow(odd(below))) == last);
        assert!(S::overflows(odd(above)) && !S::narrow(odd(above)).widen().is_finite());
        assert!(S::overflows(odd(-1e300)) && !S::overflows(f32::NAN));
        assert_eq!(S::clamp(-f32::MAX), -S::LARGEST);
        assert!(S::narrow(f32::NAN).widen().is_nan());
        assert!(S::narrow(f32::from_bits(0x7f80_0001)).widen().is_nan());
    }

    #[test]
    fn every_value_and_every_tie() {
        check(5, 10, 0x7bff, |code| F16(code as u16), |f| f.0.into());
        check(8, 7, 0x7f7f, |code| Bf16(code as u16), |f| f.0.into());
        check(5, 2, 0x7b, |code| E5M2(code as u8), |f| f.0.into());
        check(4, 3, 0x7e, |code| E4M3(code as u8), |f| f.0.into());
    }

    #[test]
    fn payloads_and_infinities_stay() {
        for sign in [0, 1 << 15] {
            for payload in 0..0x400_u16 {
                let code = sign | 0x7c00 | payload;
                assert_eq!(F16::narrow(F16(code).widen()).0, code);
                assert_eq!(
                    F16::narrow(odd(f64::from_bits(
                        u64::from(sign) << 48 | 0x7ff << 52 | u64::from(payload) << 42
                    )))
                    .0,
                    code
                );
            }
            for payload in 0..0x80 {
                let code = sign | 0x7f80 | payload;
                assert_eq!(Bf16::narrow(Bf16(code).widen()).0, code);
            }
        }
        for code in (0x7c..=0x7f).chain(0xfc..=0xff) {
            assert_eq!(E5M2::narrow(E5M2(code).widen()).0, code);
        }
        assert_eq!([E4M3::narrow(f32::INFINITY).0, E4M3::narrow(-f32::INFINITY).0], [0x7f, 0xff]);
    }

    #[test]
    fn integers_round_once() {
        // Twice, through float32, would give 2^32.
        assert_eq!(Bf16::narrow(odd_integer((1 << 32) + (1 << 24) + 1)).0, 0x4f81);
        assert_eq!(Bf16::narrow(odd_integer((1 << 62) + (1 << 54) + 1)).0, 0x5e81);
        assert_eq!(Bf16::narrow(odd_integer((1 << 62) + (1 << 54))).0, 0x5e80);
        assert_eq!(odd_integer(1 << 53), 9_007_199_254_740_992.0);
        assert!(F16::overflows(odd_integer(65_520)) && !F16::overflows(odd_integer(65_519)));
    }
}
