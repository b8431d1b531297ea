//! Casts of rows too short to be cast one by one.

use super::recipe::{BLOCK, Buffers, Recipe};
use super::{Tallies, Work};
use crate::copy::plan::Nest;
use crate::copy::rows::{FEW, Rows, SHORT};
use std::mem::MaybeUninit;

impl Work<'_> {
    /// Casts a part whose rows are short and become one run; whether it is one.
    ///
    /// # Safety
    ///
    /// As for [`Work::run`].
    pub(super) unsafe fn short_rows(
        &self,
        recipe: &Recipe,
        nest: &Nest<2>,
        bases: [*mut u8; 2],
        tallies: &mut Tallies,
    ) -> bool {
        let (row, packed) = (nest.inner(), [self.from.bytes() as isize, self.to.bytes() as isize]);
        let few = nest.size() < 2 * FEW * row.extent;
        if few || !(1..=SHORT).contains(&row.extent) || row.steps[1] != packed[1] {
            return false;
        }
        // As many loops as are one run, and are needed to fill a block; `turn` elements are in a turn of the first of them.
        let mut outer = nest.clone();
        outer.take_inner();
        let block = BLOCK.min(recipe.block_size(packed));
        let (mut loops, mut rows, mut turn) = (vec![(row.extent, row.steps[0])], row, 1);
        while let Some(&next) = outer.axes.last() {
            let run = turn * rows.extent;
            if run > block / 2 || next.steps[1] != run as isize * packed[1] {
                break;
            }
            loops.insert(0, (next.extent, next.steps[0]));
            (rows, turn) = (next, run);
            outer.take_inner();
        }
        let together = (block / turn).min(rows.extent);
        if together * turn < FEW * row.extent {
            return false;
        }
        let source = Rows::new(&loops, self.from.bytes(), together);
        let (mut beside, mut buffers) = (MaybeUninit::<[u128; BLOCK]>::uninit(), Buffers::new());
        let beside = beside.as_mut_ptr().cast::<u8>();
        outer.each(bases, &mut |[from, to]| {
            for first in (0..rows.extent).step_by(together) {
                let count = together.min(rows.extent - first);
                let block = [beside, to.wrapping_offset(first as isize * rows.steps[1])];
                // SAFETY: promised by the caller; a block of any type has room beside.
                unsafe {
                    source.gather(self.level, from, first, count, beside);
                    if recipe.block(block, packed, count * turn, &mut buffers) {
                        self.look(block, packed, count * turn, tallies);
                    }
                }
            }
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Casting, LossReport, cast};
    use super::*;
    use crate::copy::guarded::Random;
    use crate::copy::{self, Order};
    use crate::tensor::{Tensor, dtype};

    #[test]
    fn short_rows_become_what_they_become_side_by_side_and_lose_the_same() {
        let mut random = Random::new(3);
        let values: Vec<f64> = (0..7 * 300 * 40).map(|_| random.next() as i16 as f64 / 16.0).collect();
        let all = Tensor::from_vec(values, &[7, 300, 40]).unwrap();
        // Of few rows each, which are copied with those around them.
        let groups = all.reshape(&[700, 3, 40]).unwrap();
        let widths = [1, 2, 3, 4, 5, 13, SHORT as i64, SHORT as i64 + 1];
        for (all, width) in widths.into_iter().flat_map(|width| [(&all, width), (&groups, width)]) {
            for (rows, columns) in [(1, 1), (-1, 1), (1, -1), (-2, -1), (3, 1)] {
                let view =
                    all.slice(1, None, None, rows).unwrap().slice(2, Some(2), Some(2 + width), 1).unwrap();
                let view = view.slice(2, None, None, columns).unwrap();
                // SAFETY: the vector is ours.
                let beside = unsafe { copy::new(&view, Order::C) }.unwrap();
                for to in [dtype::U8, dtype::I32, dtype::F16, dtype::F32, dtype::C64] {
                    let made = [&view, &beside].map(|source| {
                        let mut report = LossReport::default();
                        // SAFETY: as above.
                        let made = unsafe { cast(source, to, Casting::Unsafe, Some(&mut report)) }.unwrap();
                        // SAFETY: so many bytes, which nobody else has.
                        let bytes =
                            unsafe { std::slice::from_raw_parts(made.data().cast::<u8>(), made.nbytes()) };
                        (bytes.to_vec(), report)
                    });
                    assert!(made[0] == made[1], "{width} {rows} {columns} {to:?}");
                }
            }
        }
    }
}
