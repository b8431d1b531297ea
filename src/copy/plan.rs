//! N layouts of one shape become one loop nest with as few loops as they allow. Pure: no memory is touched.

use std::cmp::Reverse;
use std::ops::Range;

/// One loop: how often, and the step of each operand in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Axis<const N: usize> {
    pub extent: usize,
    pub steps: [isize; N],
}

impl Axis<2> {
    /// The same turns so that the first operand is stepped forwards through, and where the first of them is.
    pub fn forwards(self, from: *const u8, to: *mut u8) -> (Axis<2>, *const u8, *mut u8) {
        if self.steps[0] >= 0 {
            return (self, from, to);
        }
        let [read, write] = self.steps.map(|step| (self.extent as isize - 1) * step);
        let axis = Axis { steps: self.steps.map(|step| -step), ..self };
        (axis, from.wrapping_offset(read), to.wrapping_offset(write))
    }
}

/// What an operand looks like: strides in elements, and the bytes of one.
#[derive(Clone, Copy)]
pub(crate) struct Operand<'a> {
    pub strides: &'a [i64],
    pub item: usize,
}

/// The loops over N operands of one shape, outermost first; the last operand is the destination.
///
/// - No loop has the extent 1. A nest without loops is one element; one with no element has one loop of extent 0.
/// - The destination's steps are not negative, and the innermost loop has the smallest.
/// - Neighbours that are one run in every operand are one loop.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Nest<const N: usize> {
    pub axes: Vec<Axis<N>>,
    /// From the element with indices 0 to where the loops begin, in bytes: not 0 where a loop runs backwards.
    pub offsets: [isize; N],
}

/// The nest of `operands`, each with one stride for each dimension of `shape`. A layout that a tensor may have does not
/// overflow here.
pub(crate) fn nest<const N: usize>(shape: &[i64], operands: [Operand; N]) -> Nest<N> {
    if shape.contains(&0) {
        return Nest { axes: vec![Axis { extent: 0, steps: [0; N] }], offsets: [0; N] };
    }
    let mut offsets = [0; N];
    let mut axes = Vec::with_capacity(shape.len());
    for (dimension, &extent) in shape.iter().enumerate().filter(|&(_, &extent)| extent > 1) {
        let extent = extent as usize;
        let mut steps = operands.map(|operand| operand.strides[dimension] as isize * operand.item as isize);
        // Where the destination stays in place, the operand before it decides, and so on.
        if steps.iter().rev().find(|&&step| step != 0).is_some_and(|&step| step < 0) {
            for (offset, step) in offsets.iter_mut().zip(&mut steps) {
                *offset += *step * (extent - 1) as isize;
                *step = -*step;
            }
        }
        axes.push(Axis { extent, steps });
    }
    if axes.len() > 1 {
        axes.sort_by_key(|axis| {
            let mut key = axis.steps.map(isize::unsigned_abs);
            key.reverse();
            Reverse(key)
        });
        merge(&mut axes);
    }
    Nest { axes, offsets }
}

/// Makes one loop of neighbours that are one run in every operand.
fn merge<const N: usize>(axes: &mut Vec<Axis<N>>) {
    let mut last = 0;
    for index in 1..axes.len() {
        let (outer, inner) = (axes[last], axes[index]);
        let run = inner.extent as isize;
        // A step that has no product is longer than any memory.
        if (0..N).all(|operand| inner.steps[operand].checked_mul(run) == Some(outer.steps[operand])) {
            axes[last] = Axis { extent: outer.extent * inner.extent, steps: inner.steps };
        } else {
            last += 1;
            axes[last] = inner;
        }
    }
    axes.truncate(last + 1);
}

#[cfg_attr(not(test), allow(dead_code, reason = "casts and comparisons walk nests by other ways"))]
impl<const N: usize> Nest<N> {
    /// The innermost loop; one that runs once where there is none.
    pub fn inner(&self) -> Axis<N> {
        self.axes.last().copied().unwrap_or(Axis { extent: 1, steps: [0; N] })
    }

    /// All loops but the innermost.
    pub fn outer(&self) -> &[Axis<N>] {
        &self.axes[..self.axes.len().saturating_sub(1)]
    }

    /// How many elements there are.
    pub fn size(&self) -> usize {
        self.axes.iter().map(|axis| axis.extent).product()
    }

    /// Where the loops begin, for operands whose elements with indices 0 are at `bases`.
    pub fn begin(&self, bases: [*mut u8; N]) -> [*mut u8; N] {
        std::array::from_fn(|operand| bases[operand].wrapping_offset(self.offsets[operand]))
    }

    /// Calls `each` with where the innermost loop begins, for every turn of the others. `bases` are the elements with
    /// indices 0.
    pub fn rows(&self, bases: [*mut u8; N], each: &mut impl FnMut([*mut u8; N])) {
        if self.inner().extent != 0 {
            walk(self.outer(), self.begin(bases), each);
        }
    }

    /// Takes a loop out; what is left is walked by [`Nest::each`].
    pub fn take(&mut self, axis: usize) -> Axis<N> {
        self.axes.remove(axis)
    }

    /// Takes the innermost loop out; one that runs once where there is none.
    pub fn take_inner(&mut self) -> Axis<N> {
        self.axes.pop().unwrap_or(Axis { extent: 1, steps: [0; N] })
    }

    /// Calls `each` with where every turn of all loops is. `bases` are the elements with indices 0.
    pub fn each(&self, bases: [*mut u8; N], each: &mut impl FnMut([*mut u8; N])) {
        walk(&self.axes, self.begin(bases), each);
    }

    /// Adds a loop inside all others.
    pub fn push(&mut self, axis: Axis<N>) {
        if axis.extent > 1 && self.size() != 0 {
            self.axes.push(axis);
            merge(&mut self.axes);
        }
    }

    /// The `index`th of `pieces` parts that together are this nest, for threads to share; some may have no elements.
    pub fn part(&self, index: usize, pieces: usize) -> Nest<N> {
        self.part_but(None, index, pieces)
    }

    /// [`Nest::part`] where one of several loops has to stay whole.
    pub fn part_but(&self, whole: Option<usize>, index: usize, pieces: usize) -> Nest<N> {
        let mut part = self.clone();
        if self.axes.is_empty() && index != 0 {
            // One element, which is in the first part.
            part.axes.push(Axis { extent: 0, steps: [0; N] });
        } else if pieces > 1 && !self.axes.is_empty() {
            let axis = self.cut(whole, pieces);
            // Whole lines, where it is the elements themselves that are shared out.
            let grain = if axis + 1 == self.axes.len() { 64 } else { 1 };
            let Range { start, end } = share(self.axes[axis].extent, index, pieces, grain);
            part.shorten(axis, start..end);
        }
        part
    }

    /// The loop to share out: the outermost that is long enough, else the longest.
    fn cut(&self, whole: Option<usize>, pieces: usize) -> usize {
        let may = || (0..self.axes.len()).filter(|&axis| Some(axis) != whole);
        let enough = may().find(|&axis| self.axes[axis].extent >= pieces);
        enough.or_else(|| may().max_by_key(|&axis| self.axes[axis].extent)).unwrap_or(0)
    }

    /// Keeps of one loop these turns.
    pub fn shorten(&mut self, axis: usize, turns: Range<usize>) {
        let Some(shortened) = self.axes.get_mut(axis) else { return };
        for (offset, step) in self.offsets.iter_mut().zip(shortened.steps) {
            *offset += step * turns.start as isize;
        }
        shortened.extent = turns.len();
        if turns.is_empty() {
            self.axes = vec![Axis { extent: 0, steps: [0; N] }];
        }
    }
}

/// The `index`th of `pieces` shares of `extent` turns, in multiples of `grain` but for the last.
pub(crate) fn share(extent: usize, index: usize, pieces: usize, grain: usize) -> Range<usize> {
    let grains = extent.div_ceil(grain) as u128;
    let edge = |index: usize| {
        let grains = grains * index as u128 / pieces as u128;
        (grains as usize * grain).min(extent)
    };
    edge(index)..edge(index + 1)
}

/// Calls `each` with where every turn of `axes` is.
fn walk<const N: usize>(axes: &[Axis<N>], mut at: [*mut u8; N], each: &mut impl FnMut([*mut u8; N])) {
    match axes {
        [] => each(at),
        [axis, rest @ ..] => {
            for _ in 0..axis.extent {
                walk(rest, at, each);
                at = std::array::from_fn(|operand| at[operand].wrapping_offset(axis.steps[operand]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<const N: usize>(shape: &[i64], strides: [&[i64]; N], items: [usize; N]) -> Nest<N> {
        nest(shape, std::array::from_fn(|each| Operand { strides: strides[each], item: items[each] }))
    }

    fn axis<const N: usize>(extent: usize, steps: [isize; N]) -> Axis<N> {
        Axis { extent, steps }
    }

    #[test]
    fn packed_layouts_are_one_loop() {
        let nest = of(&[2, 1, 3, 4], [&[12, 99, 4, 1], &[12, 7, 4, 1]], [4, 8]);
        assert_eq!(nest.axes, [axis(24, [4, 8])]);
        assert_eq!((nest.offsets, nest.size()), ([0, 0], 24));
        let scalar = of(&[], [&[], &[]], [4, 4]);
        assert_eq!((scalar.axes.len(), scalar.size(), scalar.inner()), (0, 1, axis(1, [0, 0])));
        let empty = of(&[3, 0], [&[0, 1], &[0, 1]], [4, 4]);
        assert_eq!((empty.size(), empty.inner().extent), (0, 0));
    }

    #[test]
    fn the_destination_decides_the_order() {
        // Both column-major: one run. Only the source: a transpose.
        assert_eq!(of(&[2, 3], [&[1, 2], &[1, 2]], [1, 1]).axes, [axis(6, [1, 1])]);
        assert_eq!(of(&[2, 3], [&[1, 2], &[3, 1]], [1, 1]).axes, [axis(2, [1, 3]), axis(3, [2, 1])]);
        // HWC to CHW: the rows and columns of a channel are one run in both.
        let nest = of(&[3, 4, 5], [&[1, 15, 3], &[20, 5, 1]], [1, 1]);
        assert_eq!(nest.axes, [axis(3, [1, 20]), axis(20, [3, 1])]);
    }

    #[test]
    fn backward_destinations_are_turned_round() {
        let nest = of(&[4], [&[1], &[-1]], [4, 2]);
        assert_eq!((nest.axes.as_slice(), nest.offsets), (&[axis(4, [-4, 2])][..], [12, -6]));
        // Both backwards is forwards, and one run again.
        let nest = of(&[2, 3], [&[-3, -1], &[-3, -1]], [4, 4]);
        assert_eq!((nest.axes.as_slice(), nest.offsets), (&[axis(6, [4, 4])][..], [-20, -20]));
        // Where the last operand stays in place, the one before it decides.
        let nest = of(&[4], [&[-1], &[0]], [1, 1]);
        assert_eq!((nest.axes.as_slice(), nest.offsets), (&[axis(4, [1, 0])][..], [-3, 0]));
    }

    #[test]
    fn repeated_elements_stay_loops() {
        let nest = of(&[2, 3], [&[0, 1], &[3, 1]], [4, 4]);
        assert_eq!(nest.axes, [axis(2, [0, 12]), axis(3, [4, 4])]);
        assert_eq!(of(&[2, 3], [&[0, 0], &[3, 1]], [4, 4]).axes, [axis(6, [0, 4])]);
    }

    /// The offsets of all elements in the order of the nest, by `rows` over addresses from 2^20 on.
    fn offsets<const N: usize>(nest: &Nest<N>) -> Vec<[isize; N]> {
        let base = (1_usize << 20) as *mut u8;
        let mut found = Vec::new();
        nest.rows([base; N], &mut |row| {
            for turn in 0..nest.inner().extent as isize {
                found.push(std::array::from_fn(|operand| {
                    row[operand].addr() as isize - base.addr() as isize + turn * nest.inner().steps[operand]
                }));
            }
        });
        found
    }

    #[test]
    fn every_element_is_visited_once_and_parts_share_them_out() {
        let layouts: [(&[i64], [&[i64]; 3]); 5] = [
            (&[5, 3, 7], [&[1, 5, 15], &[-21, 7, -1], &[21, 7, 1]]),
            (&[300], [&[2], &[-1], &[1]]),
            (&[2, 200, 3], [&[0, 3, 1], &[600, 1, 200], &[600, -3, -1]]),
            (&[4, 4], [&[8, 2], &[4, 1], &[1, 4]]),
            (&[1], [&[8], &[4], &[1]]),
        ];
        for (shape, strides) in layouts {
            let items = [4, 1, 2];
            let nest = of(shape, strides, items);
            let mut expected = vec![[0_isize; 3]];
            for (dimension, &extent) in shape.iter().enumerate() {
                expected = (expected.iter())
                    .flat_map(|at| {
                        (0..extent as isize).map(move |index| {
                            std::array::from_fn(|each| {
                                at[each] + index * strides[each][dimension] as isize * items[each] as isize
                            })
                        })
                    })
                    .collect();
            }
            expected.sort();
            let mut all = offsets(&nest);
            all.sort();
            assert_eq!(all, expected, "{shape:?} {strides:?}");
            for pieces in [1, 2, 3, 7, 1000] {
                let mut shared: Vec<_> =
                    (0..pieces).flat_map(|index| offsets(&nest.part(index, pieces))).collect();
                shared.sort();
                assert_eq!(shared, expected, "{shape:?} {strides:?} in {pieces}");
            }
        }
    }
}
