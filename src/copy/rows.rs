//! Rows too short to be worked on one by one, as the channels of a pixel: as many as fill a block are copied to lie side by
//! side first.

use super::level::Level;
use super::movement::Movement;

/// Longer rows are worked on one by one (measured).
pub(super) const SHORT: usize = 32;
/// So are fewer rows at a time than these, and fewer than twice as many in all: to copy them is more to do than they are worth
/// (measured).
pub(super) const FEW: usize = 12;

/// The rows of one array, or groups of them.
pub(super) struct Rows {
    /// Bytes from one to the next.
    step: isize,
    /// How many of them are copied at a time, and how many the last time.
    together: usize,
    whole: Movement,
    last: Movement,
}

/// So many elements or rows, and the bytes from one to the next, which are a multiple of an element's.
pub(super) type Loop = (usize, isize);

impl Rows {
    /// The turns of the first of `loops`, of elements of so many bytes, to be copied `together`. The others, if any, are within
    /// it, outermost first.
    pub fn new(loops: &[Loop], bytes: usize, together: usize) -> Rows {
        let (rows, extents) = (loops[0], loops.iter().map(|&(extent, _)| extent as i64));
        let steps: Vec<i64> = loops.iter().map(|&(_, step)| step as i64 / bytes as i64).collect();
        let mut packed: Vec<i64> = vec![1; loops.len()];
        let mut shape: Vec<i64> = extents.collect();
        for axis in (1..loops.len()).rev() {
            packed[axis - 1] = packed[axis] * shape[axis];
        }
        let mut copy = |count: usize| {
            shape[0] = count as i64;
            Movement::new(&shape, &steps, &packed, bytes, 1)
        };
        Rows { step: rows.1, together, whole: copy(together), last: copy(rows.0 % together) }
    }

    /// Copies `count` rows, which are those of a block or the last, from the row `first` on.
    ///
    /// # Safety
    ///
    /// The rows are there, the first of all of them at `from`, and room for a block is at `to`; the level is available.
    pub unsafe fn gather(&self, level: Level, from: *const u8, first: usize, count: usize, to: *mut u8) {
        let copy = if count == self.together { &self.whole } else { &self.last };
        // SAFETY: promised by the caller.
        unsafe { copy.carry_out_alone(level, from.wrapping_offset(first as isize * self.step), to) }
    }
}
