//! Whether two rows of one dtype hold the same values: the loops, and what "the same" means to each kind of number.

use crate::copy::level::per_level;

/// Items that lie one behind the other, of a kind that tells when two are the same value.
pub(super) trait Same {
    /// As it lies in memory; any bits are one.
    type Item: Copy;
    /// Whether two are one value; with `NAN` two that are not a number are as well.
    fn same<const NAN: bool>(a: Self::Item, b: Self::Item) -> bool;
}

/// Values whose bits are all there is to them: integers.
pub(super) struct Bits<T>(T);
/// `bool`: any byte but 0 is true.
pub(super) struct Truth;
/// Floats that the processor compares.
pub(super) struct Float<T>(T);
/// Floats of 16 bits in which the exponent is full from `INFINITY` on.
pub(super) struct Half<const INFINITY: u16>;
/// Floats of 8 bits with a sign, of which everything above `LAST` is not a number.
pub(super) struct Mini<const LAST: u8>;
/// Floats of 8 bits with one zero and one NaN, or none of both: what has the bits `NOTHING` is not a number.
pub(super) struct Unsigned0<const NOTHING: u8>;
/// Integers of 64 bits, of one side with a sign and of the other without: those below 0 have no equal.
pub(super) struct Positive;
/// Two numbers: complex.
pub(super) struct Pair<S>(S);

impl<T: Copy + PartialEq> Same for Bits<T> {
    type Item = T;
    #[inline(always)]
    fn same<const NAN: bool>(a: T, b: T) -> bool {
        a == b
    }
}

impl Same for Positive {
    type Item = i64;
    #[inline(always)]
    fn same<const NAN: bool>(a: i64, b: i64) -> bool {
        (a == b) & (a >= 0)
    }
}

impl Same for Truth {
    type Item = u8;
    #[inline(always)]
    fn same<const NAN: bool>(a: u8, b: u8) -> bool {
        (a != 0) == (b != 0)
    }
}

impl<T: Copy + PartialEq> Same for Float<T> {
    type Item = T;
    #[inline(always)]
    #[allow(clippy::eq_op, reason = "what differs from itself is not a number")]
    fn same<const NAN: bool>(a: T, b: T) -> bool {
        (a == b) | (NAN & (a != a) & (b != b))
    }
}

impl<const INFINITY: u16> Same for Half<INFINITY> {
    type Item = u16;
    #[inline(always)]
    fn same<const NAN: bool>(a: u16, b: u16) -> bool {
        let nan = |x: u16| x & 0x7fff > INFINITY;
        let number = ((a == b) & !nan(a)) | ((a | b) & 0x7fff == 0);
        number | (NAN & nan(a) & nan(b))
    }
}

impl<const LAST: u8> Same for Mini<LAST> {
    type Item = u8;
    #[inline(always)]
    fn same<const NAN: bool>(a: u8, b: u8) -> bool {
        let nan = |x: u8| x & 0x7f > LAST;
        let number = ((a == b) & !nan(a)) | ((a | b) & 0x7f == 0);
        number | (NAN & nan(a) & nan(b))
    }
}

impl<const NOTHING: u8> Same for Unsigned0<NOTHING> {
    type Item = u8;
    #[inline(always)]
    fn same<const NAN: bool>(a: u8, b: u8) -> bool {
        (a == b) & (NAN | (a != NOTHING))
    }
}

impl<S: Same> Same for Pair<S> {
    type Item = [S::Item; 2];
    #[inline(always)]
    fn same<const NAN: bool>(a: Self::Item, b: Self::Item) -> bool {
        let number = S::same::<false>(a[0], b[0]) & S::same::<false>(a[1], b[1]);
        // A complex number of which one part is NaN is one, whatever the other part is.
        let nan = |x: Self::Item| !(S::same::<false>(x[0], x[0]) & S::same::<false>(x[1], x[1]));
        number | (NAN && nan(a) & nan(b))
    }
}

/// How many items are looked at before the answer is: enough for the widest vectors.
const STRETCH: usize = 256;

/// Whether all are the same.
///
/// # Safety
///
/// Both addresses have `count` items; they may be odd.
#[inline(always)]
unsafe fn row<S: Same, const NAN: bool>(a: *const u8, b: *const u8, count: usize) -> bool {
    let (a, b) = (a.cast::<S::Item>(), b.cast::<S::Item>());
    let mut at = 0;
    while at < count {
        let end = count.min(at + STRETCH);
        let mut same = true;
        for index in at..end {
            // SAFETY: within the rows.
            same &= unsafe { S::same::<NAN>(a.add(index).read_unaligned(), b.add(index).read_unaligned()) };
        }
        if !same {
            return false;
        }
        at = end;
    }
    true
}

per_level! {
    /// Whether all are the same.
    pub(super) unsafe fn same_row[S: Same, const NAN: bool](a: *const u8, b: *const u8, count: usize) -> bool = row;
}
