//! Items that lie apart on one side or both: slices with steps, repeated and reversed items, columns too few to
//! transpose; and items whose bytes are to be in the other order.

use super::item::Item;
use super::level::{Level, per_level};
use super::plan::Axis;

/// Copies the items of two loops, one by one; with `SWAP` the bytes of each in the other order.
///
/// # Safety
///
/// Both sides have the items, and share no memory; the level is available.
pub(super) unsafe fn step<T: Item, const SWAP: bool>(
    level: Level,
    from: *const u8,
    to: *mut u8,
    outer: Axis<2>,
    inner: Axis<2>,
) {
    let item = size_of::<T>() as isize;
    // The compiler makes vectors of loops whose steps it knows; of items that fill a register there is nothing to make.
    let packed = item < 16 && inner.steps[1] == item && inner.steps[0] % item == 0;
    let step = inner.steps[0] / item;
    // SAFETY: promised by the caller.
    unsafe {
        match (step, packed && (step == 1 || !SWAP)) {
            (0, true) => known::<T, SWAP, 0>(level, from, to, outer, inner.extent),
            (1, true) => known::<T, SWAP, 1>(level, from, to, outer, inner.extent),
            (-1, true) => known::<T, SWAP, -1>(level, from, to, outer, inner.extent),
            (2, true) => known::<T, SWAP, 2>(level, from, to, outer, inner.extent),
            (3, true) => known::<T, SWAP, 3>(level, from, to, outer, inner.extent),
            (4, true) => known::<T, SWAP, 4>(level, from, to, outer, inner.extent),
            _ => any::<T, SWAP>(level, from, to, outer, inner),
        }
    }
}

per_level! {
    unsafe fn known[T: Item, const SWAP: bool, const STEP: isize](
        from: *const u8,
        to: *mut u8,
        outer: Axis<2>,
        extent: usize,
    ) = known_body;
}

per_level! {
    unsafe fn any[T: Item, const SWAP: bool](from: *const u8, to: *mut u8, outer: Axis<2>, inner: Axis<2>) = any_body;
}

/// One item.
///
/// # Safety
///
/// Both sides have it.
#[inline(always)]
unsafe fn one<T: Item, const SWAP: bool>(from: *const u8, to: *mut u8) {
    // SAFETY: promised by the caller.
    unsafe {
        let value = from.cast::<T>().read_unaligned();
        to.cast::<T>().write_unaligned(if SWAP { value.swapped() } else { value });
    }
}

/// # Safety
///
/// As for [`step`], where the inner loop steps by `STEP` items in the source and by one in the destination.
#[inline(always)]
unsafe fn known_body<T: Item, const SWAP: bool, const STEP: isize>(
    from: *const u8,
    to: *mut u8,
    outer: Axis<2>,
    extent: usize,
) {
    let item = size_of::<T>() as isize;
    for turn in 0..outer.extent as isize {
        let from = from.wrapping_offset(turn * outer.steps[0]);
        let to = to.wrapping_offset(turn * outer.steps[1]);
        for index in 0..extent as isize {
            // SAFETY: promised by the caller.
            unsafe { one::<T, SWAP>(from.offset(index * STEP * item), to.offset(index * item)) }
        }
    }
}

/// # Safety
///
/// As for [`step`].
#[inline(always)]
unsafe fn any_body<T: Item, const SWAP: bool>(from: *const u8, to: *mut u8, outer: Axis<2>, inner: Axis<2>) {
    for turn in 0..outer.extent as isize {
        let from = from.wrapping_offset(turn * outer.steps[0]);
        let to = to.wrapping_offset(turn * outer.steps[1]);
        for index in 0..inner.extent as isize {
            let (from, to) =
                (from.wrapping_offset(index * inner.steps[0]), to.wrapping_offset(index * inner.steps[1]));
            // SAFETY: promised by the caller.
            unsafe { one::<T, SWAP>(from, to) }
        }
    }
}
