//! The absolute value of a complex number.

/// `sqrt(x * x + y * y)` without overflow on the way, rounded as by the `hypot` of glibc from 2.35 on: C. F. Borges, "An
/// improved algorithm for hypot(a, b)" (2019). Calling that one would ask for a newer C library than all the rest does.
pub(super) fn hypot(x: f64, y: f64) -> f64 {
    let (x, y) = (x.abs(), y.abs());
    if x.is_infinite() || y.is_infinite() {
        return f64::INFINITY;
    }
    if x.is_nan() || y.is_nan() {
        return f64::NAN;
    }
    let (large, small) = if x < y { (y, x) } else { (x, y) };
    if small <= large * (f64::EPSILON / 2.0) {
        return large;
    }
    // So that no square overflows or vanishes; powers of two change no digit.
    let scale = match () {
        _ if large > 1e150 => 2f64.powi(-600),
        _ if small < 1e-150 => 2f64.powi(600),
        _ => 1.0,
    };
    corrected(large * scale, small * scale) / scale
}

/// [`hypot`] of numbers whose squares are no trouble: the root, less the error that its square shows.
fn corrected(large: f64, small: f64) -> f64 {
    let root = (large * large + small * small).sqrt();
    let (first, second) = if root <= 2.0 * small {
        let rest = root - small;
        (large * (2.0 * rest - large), (rest - 2.0 * (large - small)) * rest)
    } else {
        let rest = root - large;
        (2.0 * rest * (large - 2.0 * small), (4.0 * rest - small) * small + rest * rest)
    };
    root - (first + second) / (2.0 * root)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Those of the C library, which before glibc 2.35 rounds some otherwise.
    #[test]
    fn it_gives_the_digits_of_the_c_library() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut bits = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        for round in 0..200_000 {
            let (mut x, mut y) = (f64::from_bits(bits()), f64::from_bits(bits()));
            if round % 2 == 0 {
                (x, y) = ((bits() >> 11) as f64 / 1e15, (bits() >> 11) as f64 / 1e14);
            }
            let (ours, theirs) = (hypot(x, y), x.hypot(y));
            let apart = ours.to_bits().abs_diff(theirs.to_bits());
            assert!(apart <= 1 || (ours.is_nan() && theirs.is_nan()), "{x:e}, {y:e}: {ours:e}, {theirs:e}");
        }
        assert_eq!(hypot(3.0, -4.0), 5.0);
        assert_eq!(hypot(f64::NAN, f64::NEG_INFINITY), f64::INFINITY);
        assert_eq!((hypot(0.0, -0.0), hypot(5e-324, 0.0)), (0.0, 5e-324));
        assert!(hypot(f64::MAX, f64::MAX).is_infinite() && hypot(f64::NAN, 1.0).is_nan());
    }
}
