//! Rows too short to be worked on one by one, as the channels of a pixel: as many as fill a block are copied to lie side by
//! side first.

use super::level::Level;
use super::movement::Movement;

/// Longer rows are worked on one by one (measured).
pub(super) const SHORT: usize = 32;

/// Rows of one array.
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
    /// `rows` of the elements of `row`, of so many bytes each, to be copied `together`.
    pub fn new(rows: Loop, row: Loop, bytes: usize, together: usize) -> Rows {
        let copy = |count: usize| {
            let shape = [count as i64, row.0 as i64];
            let steps = [rows, row].map(|(_, step)| step as i64 / bytes as i64);
            Movement::new(&shape, &steps, &[shape[1], 1], bytes, 1)
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
