//! A copy between two layouts as one loop nest over runs of bytes. Pure: who moves the runs is a device's business.

use crate::copy;
use crate::dlpack::DLDevice;
use crate::error::Result;
use crate::tensor::{Tensor, dtype};

/// One dimension of the nest: how often, and the steps in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Axis {
    pub extent: usize,
    pub from: isize,
    pub to: isize,
}

/// What is copied: a run of bytes for each index of the axes, outermost first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Nest {
    pub from: usize,
    pub to: usize,
    pub axes: Vec<Axis>,
    pub run: usize,
}

/// Whose order the loops follow: that side is walked from its first byte to its last, whatever the order of its elements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    From,
    To,
}

impl Nest {
    /// The elements of `source`, to where `destination` has those of the same indices: both have the same shape and
    /// dtype, whose elements fill bytes or lie packed in row-major order. `None` where there is nothing to copy.
    pub fn new(source: &Tensor, destination: &Tensor, order: Side) -> Option<Nest> {
        if source.size() == 0 {
            return None;
        }
        let (from, to) = (source.data() as usize, destination.data() as usize);
        let item = dtype::item_bytes(source.dtype());
        let Some(item) = item.filter(|_| !(source.is_row_major() && destination.is_row_major())) else {
            let run = (source.size() * dtype::item_bits(source.dtype()) as usize).div_ceil(8);
            return Some(Nest { from, to, axes: Vec::new(), run });
        };
        let steps = source.strides().iter().zip(destination.strides());
        let axes = (source.shape().iter().zip(steps)).filter(|&(&extent, _)| extent > 1).map(
            |(&extent, (&from, &to))| Axis {
                extent: extent as usize,
                from: from as isize * item as isize,
                to: to as isize * item as isize,
            },
        );
        Some(Nest { from, to, axes: axes.collect(), run: item }.ordered(order))
    }

    /// The loops with the largest steps outermost, those that are one run in both layouts as one loop, and what lies
    /// packed in both as the run.
    fn ordered(mut self, order: Side) -> Nest {
        for axis in &mut self.axes {
            let backward = if order == Side::To { axis.to < 0 } else { axis.from < 0 };
            if backward {
                let last = axis.extent as isize - 1;
                self.from = self.from.wrapping_add_signed(axis.from * last);
                self.to = self.to.wrapping_add_signed(axis.to * last);
                (axis.from, axis.to) = (-axis.from, -axis.to);
            }
        }
        self.axes.sort_by_key(|axis| {
            std::cmp::Reverse(if order == Side::To { axis.to } else { axis.from }.unsigned_abs())
        });
        let mut nest: Vec<Axis> = Vec::with_capacity(self.axes.len());
        for inner in std::mem::take(&mut self.axes) {
            let run = inner.extent as isize;
            match nest.last_mut() {
                Some(outer) if outer.from == inner.from * run && outer.to == inner.to * run => {
                    *outer = Axis { extent: outer.extent * inner.extent, ..inner };
                }
                _ => nest.push(inner),
            }
        }
        let packed = |axis: &mut Axis| axis.from == self.run as isize && axis.to == axis.from;
        if let Some(Axis { extent, .. }) = nest.pop_if(packed) {
            self.run *= extent;
        }
        Nest { axes: nest, ..self }
    }

    /// How many bytes are copied.
    pub fn bytes(&self) -> usize {
        self.axes.iter().map(|axis| axis.extent).product::<usize>() * self.run
    }

    /// The same copy in pieces of at most `limit` bytes, each along the outermost loop it can be cut at.
    pub fn tiles(self, limit: usize, each: &mut impl FnMut(Nest) -> Result<()>) -> Result<()> {
        let bytes = self.bytes();
        if bytes <= limit {
            return each(self);
        }
        let Some((&outer, rest)) = self.axes.split_first() else {
            for start in (0..self.run).step_by(limit) {
                let run = limit.min(self.run - start);
                each(Nest { from: self.from + start, to: self.to + start, axes: Vec::new(), run })?;
            }
            return Ok(());
        };
        let inner = bytes / outer.extent;
        let at_once = (limit / inner).max(1);
        for start in (0..outer.extent).step_by(at_once) {
            let extent = at_once.min(outer.extent - start);
            let mut axes = Vec::with_capacity(self.axes.len());
            if extent > 1 {
                axes.push(Axis { extent, ..outer });
            }
            axes.extend_from_slice(rest);
            let piece = Nest {
                from: self.from.wrapping_add_signed(outer.from * start as isize),
                to: self.to.wrapping_add_signed(outer.to * start as isize),
                axes,
                run: self.run,
            };
            piece.tiles(limit, each)?;
        }
        Ok(())
    }

    /// The copy by way of packed memory at `middle`: into it, and out of it.
    pub fn through(&self, middle: usize) -> (Nest, Nest) {
        let mut step = self.run as isize;
        let (mut into, mut out) = (self.clone(), self.clone());
        for at in (0..self.axes.len()).rev() {
            (into.axes[at].to, out.axes[at].from) = (step, step);
            step *= self.axes[at].extent as isize;
        }
        (into.to, out.from) = (middle, middle);
        (into.ordered(Side::To), out.ordered(Side::From))
    }

    /// Makes the copy, on the host, into memory of `place`.
    ///
    /// # Safety
    ///
    /// Both sides of the nest lie in host memory and share none; nobody else accesses either.
    pub unsafe fn carry_out(&self, place: DLDevice) -> Result<()> {
        let run = Axis { extent: self.run, from: 1, to: 1 };
        let axes: Vec<Axis> = self.axes.iter().copied().chain([run]).collect();
        let of_each = |value: fn(&Axis) -> i64| axes.iter().map(value).collect::<Vec<_>>();
        let (shape, from, to) = (
            of_each(|axis| axis.extent as i64),
            of_each(|axis| axis.from as i64),
            of_each(|axis| axis.to as i64),
        );
        // SAFETY: promised by the caller; a loop's turns in the destination share no byte, as its elements share none.
        unsafe {
            copy::carry_out_bytes(&shape, (self.from as *const u8, &from), (self.to as *mut u8, &to), place)
        }
    }

    /// The addresses from the lowest byte that is read to one past the highest.
    pub fn source(&self) -> (usize, usize) {
        self.range(self.from, |axis| axis.from)
    }

    /// The addresses from the lowest byte that is written to one past the highest.
    pub fn destination(&self) -> (usize, usize) {
        self.range(self.to, |axis| axis.to)
    }

    fn range(&self, start: usize, step: impl Fn(&Axis) -> isize) -> (usize, usize) {
        let reach = |axis: &Axis| step(axis) * (axis.extent as isize - 1);
        let low = self.axes.iter().map(|axis| reach(axis).min(0)).sum();
        let high = self.axes.iter().map(|axis| reach(axis).max(0)).sum();
        (start.wrapping_add_signed(low), start.wrapping_add_signed(high) + self.run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nest(axes: &[(usize, isize, isize)], run: usize) -> Nest {
        let axes = axes.iter().map(|&(extent, from, to)| Axis { extent, from, to }).collect();
        Nest { from: 1 << 20, to: 1 << 30, axes, run }
    }

    /// Every byte that is copied, with where it goes.
    fn bytes(nest: &Nest) -> Vec<(usize, usize)> {
        let mut starts = vec![(nest.from, nest.to)];
        for axis in &nest.axes {
            let each = |(from, to): (usize, usize)| {
                (0..axis.extent as isize).map(move |index| {
                    (from.wrapping_add_signed(index * axis.from), to.wrapping_add_signed(index * axis.to))
                })
            };
            starts = starts.into_iter().flat_map(each).collect();
        }
        let mut all: Vec<_> =
            starts.iter().flat_map(|&(from, to)| (0..nest.run).map(move |at| (from + at, to + at))).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn tiles_cover_everything_once_and_are_small() {
        let nests = [
            nest(&[], 1000),
            nest(&[(7, 64, 48)], 40),
            nest(&[(3, -500, 40), (5, 8, 120)], 8),
            nest(&[(4, 0, 300), (3, 100, 100)], 100),
        ];
        for whole in nests {
            for limit in [1, 16, 100, 137, 10_000] {
                let mut seen = Vec::new();
                let collected = whole.clone().tiles(limit, &mut |tile| {
                    assert!(tile.bytes() <= limit, "{tile:?}");
                    seen.extend(bytes(&tile));
                    Ok(())
                });
                collected.unwrap();
                seen.sort_unstable();
                assert_eq!(seen, bytes(&whole), "{whole:?} in pieces of {limit}");
            }
        }
    }

    #[test]
    fn a_copy_through_the_middle_is_the_same_copy() {
        let middle = 1 << 40;
        for whole in [nest(&[(3, -500, 40), (5, 8, 120)], 8), nest(&[(4, 0, 300), (3, 100, 100)], 100)] {
            let (into, out) = whole.through(middle);
            let (into, out) = (bytes(&into), bytes(&out));
            let onward = |at: usize| out.iter().find(|(from, _)| *from == at).map(|(_, to)| *to).unwrap();
            let mut joined: Vec<_> = into.iter().map(|&(from, to)| (from, onward(to))).collect();
            joined.sort_unstable();
            assert_eq!(joined, bytes(&whole));
            assert_eq!(into.len(), out.len());
        }
    }

    #[test]
    fn the_ranges_hold_every_byte() {
        let nest = nest(&[(3, -500, 40), (5, 8, 120)], 8);
        let all = bytes(&nest);
        let range = |each: fn(&(usize, usize)) -> usize| {
            (all.iter().map(each).min().unwrap(), all.iter().map(each).max().unwrap() + 1)
        };
        assert_eq!(nest.source(), range(|pair| pair.0));
        assert_eq!(nest.destination(), range(|pair| pair.1));
    }
}
