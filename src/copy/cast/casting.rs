//! What a cast may do to values.

use crate::error::{Cast, Error, Result};

/// What a cast may do to values. All round to the nearest, ties to even, and cut off the fraction on the way to an
/// integer. NaNs keep their sign and as much of their payload as there is room for; signed zeros, infinities and
/// subnormals stay what they are where the target has them. Anything but 0 becomes true, NaN included. What a number has
/// in its imaginary part is dropped by a real type. On x86-64 nothing of this depends on what the thread was told of
/// floating-point numbers: to take subnormals for 0, to round otherwise, to raise signals.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Casting {
    /// NumPy's kinds: bool, unsigned, signed, floating-point, complex, and no way back. Rounding is allowed; a value out of
    /// range, which would wrap around or become infinite, is an error.
    #[default]
    SameKind,
    /// Any dtypes. A value that would not be the same is an error: converted back it must be equal. A NaN may become
    /// another NaN, and -0 becomes 0 where the target has none.
    SameValue,
    /// Any dtypes and values, with the results of NumPy on x86-64:
    ///
    /// - integers wrap around;
    /// - floating-point numbers without an int32 become -2^31, and then wrap around, on the way to int8, int16, int32,
    ///   uint8 and uint16; those without an int64 become -2^63 on the way to int64;
    /// - to uint32 and uint64 negative ones wrap around as from the signed type of the size, those too large become 0, and
    ///   those too small for the signed type, and NaN, become its smallest value as an unsigned number. So does NumPy
    ///   with whole vectors of float32 and float64; what is left over at the end of its rows, and NaN and -inf of
    ///   float16, become another number to uint32 there. torch has one result in whole vectors and another at the end
    ///   too;
    /// - finite numbers out of range become infinite, and NaN in float8_e4m3fn, which has no infinity: as in ml_dtypes
    ///   (torch clamps them there).
    ///
    /// float64 and integers are rounded to bfloat16 once, where ml_dtypes and torch round to float32 in between.
    Unsafe,
    /// Any dtypes and values: what is out of range becomes the nearest that is in range, infinities included where
    /// the target has none, and NaN becomes the integer 0.
    Saturate,
}

impl Casting {
    /// The name, as Python takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Casting::SameKind => "same_kind",
            Casting::SameValue => "same_value",
            Casting::Unsafe => "unsafe",
            Casting::Saturate => "saturate",
        }
    }

    /// Reads a name.
    ///
    /// ```
    /// use dlbridge::copy::Casting;
    ///
    /// assert_eq!(Casting::parse("same_value")?, Casting::SameValue);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn parse(name: &str) -> Result<Self> {
        let all = [Casting::SameKind, Casting::SameValue, Casting::Unsafe, Casting::Saturate];
        all.into_iter()
            .find(|casting| casting.name() == name)
            .ok_or_else(|| Error::Cast(Cast::Casting { given: format!("{name:?}") }))
    }
}
