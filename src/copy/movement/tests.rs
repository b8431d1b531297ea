//! Every kernel on every level, between pages that may not be touched, against a plain loop.

use super::*;
use crate::copy::guarded::{Guarded, Random, Side};
use crate::copy::level::on_every_level;
use std::collections::BTreeSet;

/// A layout and the bytes from its lowest to its highest, relative to the element with indices 0.
#[derive(Clone, Debug)]
struct Layout {
    strides: Vec<i64>,
    low: usize,
    high: usize,
}

impl Layout {
    /// Dimensions nested in `order`, innermost last; each with gaps of `step - 1` elements, backwards where it is
    /// negative, repeated where it is 0.
    fn new(shape: &[i64], order: &[usize], steps: &[i64], bytes: usize) -> Layout {
        let mut strides = vec![0; shape.len()];
        let (mut reach, mut low, mut high) = (1, 0, 0);
        for &axis in order.iter().rev() {
            strides[axis] = steps[axis] * reach;
            let end = (shape[axis].max(1) - 1) * strides[axis];
            (low, high) = (low + end.min(0), high + end.max(0));
            if steps[axis] != 0 {
                reach += (shape[axis].max(1) - 1) * strides[axis].abs();
            }
        }
        let bytes = bytes as i64;
        Layout { strides, low: (-low * bytes) as usize, high: ((high + 1) * bytes) as usize }
    }

    fn offset(&self, index: &[i64], bytes: usize) -> usize {
        let elements: i64 = self.strides.iter().zip(index).map(|(stride, index)| stride * index).sum();
        (self.low as i64 + elements * bytes as i64) as usize
    }
}

struct Case {
    shape: Vec<i64>,
    layouts: [Layout; 2],
    bytes: usize,
    lane: usize,
}

/// Moves a case on one level, in `pieces`, and compares all bytes of the destination, those of nobody included. The
/// kernel comes back.
fn check(
    case: &Case,
    random: &mut Random,
    level: Level,
    side: Side,
    streaming: bool,
    pieces: usize,
) -> Kernel {
    let Case { shape, layouts: [source, destination], bytes, lane } = case;
    let from = Guarded::new(source.low + source.high, side);
    let to = Guarded::new(destination.low + destination.high, side);
    from.bytes().iter_mut().chain(to.bytes().iter_mut()).for_each(|byte| *byte = random.next() as u8);
    let mut expected = to.bytes().to_vec();
    for mut number in 0..shape.iter().product::<i64>() {
        let mut index = vec![0; shape.len()];
        for (index, extent) in index.iter_mut().zip(shape).rev() {
            (*index, number) = (number % extent, number / extent);
        }
        let (at, start) = (source.offset(&index, *bytes), destination.offset(&index, *bytes));
        let mut element = from.bytes()[at..at + bytes].to_vec();
        element.chunks_mut(*lane).for_each(|lane| lane.reverse());
        expected[start..start + bytes].copy_from_slice(&element);
    }
    let movement = Movement::new(shape, &source.strides, &destination.strides, *bytes, *lane);
    let ends = Ends([from.at(source.low), to.at(destination.low)]);
    for index in 0..pieces {
        let part = movement.nest.part_but(movement.whole(), index, pieces);
        if part.size() != 0 {
            // SAFETY: the buffers have the elements of their layouts.
            unsafe { move_items(movement.kernel, movement.item, part, level, &ends, streaming) };
        }
    }
    let wrong = to.bytes().iter().zip(&expected).position(|(byte, expected)| byte != expected);
    assert_eq!(wrong, None, "{level:?} {movement:?} {source:?} {destination:?} of {shape:?}, {side:?}");
    movement.kernel
}

/// Every level, both guards, past the caches and not.
fn check_everywhere(case: &Case, random: &mut Random) -> Kernel {
    let mut kernel = Kernel::Nothing;
    on_every_level(|level| {
        for (side, streaming, pieces) in
            [(Side::Left, false, 1), (Side::Right, true, 1), (Side::Right, false, 3)]
        {
            kernel = check(case, random, level, side, streaming, pieces);
        }
    });
    kernel
}

fn case(shape: &[i64], orders: [&[usize]; 2], steps: [&[i64]; 2], bytes: usize, lane: usize) -> Case {
    let layouts = [0, 1].map(|each| Layout::new(shape, orders[each], steps[each], bytes));
    Case { shape: shape.to_vec(), layouts, bytes, lane }
}

#[test]
fn every_movement_has_its_kernel_and_does_it() {
    let mut random = Random::new(1);
    let mut run = |shape: &[i64], orders: [&[usize]; 2], steps: [&[i64]; 2], bytes: usize, lane: usize| {
        check_everywhere(&case(shape, orders, steps, bytes, lane), &mut random)
    };
    let ones: &[i64] = &[1, 1, 1];
    for bytes in [1, 2, 4, 8, 16] {
        let (packed, turned): (&[usize], &[usize]) = (&[0, 1], &[1, 0]);
        assert_eq!(run(&[3000], [&[0], &[0]], [ones, ones], bytes, 1), Kernel::Contiguous);
        assert_eq!(run(&[3, 1000], [packed, packed], [&[2, 1], &[1, 1]], bytes, 1), Kernel::Contiguous);
        assert_eq!(run(&[3, 99], [packed, packed], [&[1, -1], ones], bytes, 1), Kernel::Reversed);
        assert_eq!(run(&[3, 99], [packed, packed], [&[1, 0], ones], bytes, 1), Kernel::Repeated);
        for step in [2, 3, 4, 5, -2] {
            assert_eq!(run(&[3, 99], [packed, packed], [&[2, step], ones], bytes, 1), Kernel::Stepped);
            assert_eq!(run(&[3, 99], [packed, packed], [ones, &[1, step]], bytes, 1), Kernel::Stepped);
        }
        let transposed = Kernel::Transposed { column: 0 };
        for (columns, rows) in [(16, 16), (64, 128), (67, 131), (200, 33), (33, 300)] {
            for steps in [1_i64, -1, 2] {
                let steps: [&[i64]; 2] = [&[steps.signum(), 1], &[steps, 1]];
                assert_eq!(run(&[columns, rows], [turned, packed], steps, bytes, 1), transposed);
            }
            assert_eq!(run(&[columns, rows], [turned, packed], [&[1, -1], ones], bytes, 1), transposed);
        }
        // Rows that push each other out of the caches, in the source, in the destination; more than are put together, and
        // more than a strip has.
        let crowded = (1024 / bytes) as i64;
        for (columns, rows) in
            [(crowded, 37), (37, crowded), (crowded / 2, 37), (crowded, 1300 / bytes as i64), (20, 1100)]
        {
            assert_eq!(run(&[columns, rows], [turned, packed], [ones, ones], bytes, 1), transposed);
        }
        for channels in [2, 3, 4] {
            for pixels in [1, 15, 16, 31, 64, 333] {
                let split = run(&[channels, pixels], [turned, packed], [ones, &[2, 1]], bytes, 1);
                let backwards = run(&[channels, pixels], [turned, packed], [&[-1, 1], &[2, 1]], bytes, 1);
                let merged = run(&[pixels, channels], [turned, packed], [&[1, 2], ones], bytes, 1);
                if pixels > 4 {
                    assert_eq!([split, backwards], [Kernel::Split { channel: 0 }; 2]);
                    assert_eq!(merged, Kernel::Merged { pixel: 0 });
                }
            }
        }
        if bytes > 1 {
            assert_eq!(run(&[777], [&[0], &[0]], [ones, ones], bytes, bytes), Kernel::Swapped);
            assert_eq!(run(&[30, 40], [turned, packed], [ones, ones], bytes, bytes), Kernel::Swapped);
        }
    }
    assert_eq!(run(&[3, 0], [&[0, 1], &[0, 1]], [ones, ones], 4, 1), Kernel::Nothing);
    assert_eq!(run(&[], [&[], &[]], [&[], &[]], 4, 1), Kernel::Contiguous);
}

#[test]
fn pixels_are_shuffled_whatever_becomes_of_their_channels() {
    let mut random = Random::new(2);
    let mut shuffled = 0;
    // Pixels as they are, which a flip turns round; BGR to RGB; RGBA to RGB and to BGR; two channels of four; ABGR; groups
    // that are no pixels; sliding windows; groups that lie apart.
    let groups = [
        (3, 1, 3),
        (3, -1, 3),
        (4, 1, 3),
        (4, -1, 3),
        (4, 2, 2),
        (4, -1, 4),
        (5, -1, 5),
        (7, 1, 7),
        (1, 1, 3),
        (1, -1, 3),
        (2, 3, 2),
        (9, 1, 5),
    ];
    for ((pitch, step, channels), bytes) in
        groups.into_iter().flat_map(|group| [1, 2, 4, 8].map(|bytes| (group, bytes)))
    {
        for (pixels, way) in [1, 2, 3, 4, 5, 6, 7, 8, 11, 16, 17, 50]
            .into_iter()
            .flat_map(|pixels| [(pixels, 1), (pixels, -1)])
        {
            // Two rows with a gap between them.
            let shape = [2, pixels, channels];
            let strides = vec![pixels * pitch + 7, way * pitch, step];
            let ends = shape.iter().zip(&strides).map(|(extent, stride)| (extent - 1) * stride * bytes);
            let (low, high) = ends.fold((0, bytes), |(low, high), end| (low + end.min(0), high + end.max(0)));
            let source = Layout { strides, low: -low as usize, high: high as usize };
            let destination = Layout::new(&shape, &[0, 1, 2], &[1, 1, 1], bytes as usize);
            let layouts = [source, destination];
            let case = Case { shape: shape.to_vec(), layouts, bytes: bytes as usize, lane: 1 };
            let kernel = check_everywhere(&case, &mut random);
            shuffled += usize::from(matches!(kernel, Kernel::Shuffled { .. }));
        }
    }
    assert!(shuffled > 300, "{shuffled}");
    let kernel = |strides: &[i64]| Movement::new(&[9, 50, 3], strides, &[150, 3, 1], 1, 1).kernel.name();
    for strides in [[150, 3, -1], [150, -3, 1], [200, 4, 1], [-200, -4, -1]] {
        assert_eq!(kernel(&strides), c"shuffled");
    }
}

#[test]
fn random_layouts_arrive_as_a_plain_loop_moves_them() {
    // Two, so that the cases are the same on machines of all levels.
    let (mut random, mut bytes_of) = (Random::new(1), Random::new(8));
    let mut kernels = BTreeSet::new();
    let budget = if cfg!(debug_assertions) { 300 } else { 4000 };
    for _ in 0..budget {
        let ndim = random.below(5);
        let most = [1, 300, 24, 9, 6][ndim];
        let shape: Vec<i64> = (0..ndim).map(|_| 1 + random.below(most) as i64).collect();
        let (bytes, lane) = random.pick(&[
            (1, 1),
            (2, 1),
            (4, 1),
            (8, 1),
            (16, 1),
            (3, 1),
            (6, 1),
            (12, 1),
            (24, 1),
            (32, 1),
            (2, 2),
            (4, 4),
            (8, 8),
            (8, 4),
            (16, 8),
            (12, 4),
            (16, 16),
        ]);
        let layouts = [0, 1].map(|destination| {
            let mut order: Vec<usize> = (0..ndim).collect();
            (1..ndim).for_each(|last| order.swap(last, random.below(last + 1)));
            let steps = [1, 1, 1, 1, -1, 2, 3, -2, 4].map(|step| step as i64);
            let steps: Vec<i64> = (0..ndim)
                .map(|_| if destination == 0 && random.below(12) == 0 { 0 } else { random.pick(&steps) })
                .collect();
            Layout::new(&shape, &order, &steps, bytes)
        });
        let case = Case { shape, layouts, bytes, lane };
        kernels.insert(check_everywhere(&case, &mut bytes_of).name());
    }
    let common = [
        c"byte-swapped",
        c"contiguous",
        c"repeated",
        c"reversed",
        c"shuffled",
        c"split channels",
        c"stepped",
        c"transposed",
    ];
    assert!(common.iter().all(|kernel| kernels.contains(kernel)), "{kernels:?}");
}

#[test]
fn neighbours_that_stay_together_move_as_one() {
    // Pixels of four bytes, picture by picture turned by a quarter.
    let movement = Movement::new(&[50, 60, 4], &[4, 200, 1], &[240, 4, 1], 1, 1);
    assert_eq!((movement.item, movement.kernel), (4, Kernel::Transposed { column: 0 }));
    assert_eq!(movement.bytes(), 50 * 60 * 4);
}

#[test]
fn large_movements_are_shared_out() {
    let mut random = Random::new(3);
    let (columns, rows) = (1500, 1111);
    let source: Vec<u32> = (0..columns * rows).map(|_| random.next() as u32).collect();
    let mut destination = vec![0_u32; columns * rows];
    let movement =
        Movement::new(&[columns as i64, rows as i64], &[1, columns as i64], &[rows as i64, 1], 4, 1);
    // SAFETY: the vectors have the items.
    unsafe {
        let (from, to) = (source.as_ptr().cast(), destination.as_mut_ptr().cast());
        movement.carry_out(crate::copy::level::level(), from, to, DLDevice::CPU).unwrap();
    }
    for column in 0..columns {
        for row in 0..rows {
            assert_eq!(destination[column * rows + row], source[row * columns + column], "{column} {row}");
        }
    }
}

#[test]
fn bits_leave_their_neighbours_alone() {
    for bits in 0..40_usize {
        let from = Guarded::new(bits.div_ceil(8), Side::Right);
        let to = Guarded::new(bits.div_ceil(8), Side::Right);
        from.bytes().fill(0b1010_0110);
        to.bytes().fill(0xff);
        let movement = Movement::of_bits(bits);
        assert_eq!(movement.bytes(), bits.div_ceil(8));
        // SAFETY: both have the bits.
        unsafe { movement.carry_out(Level::Portable, from.at(0), to.at(0), DLDevice::CPU).unwrap() };
        for bit in 0..bits.div_ceil(8) * 8 {
            let has = |bytes: &[u8]| bytes[bit / 8] >> (bit % 8) & 1;
            let expected = if bit < bits { has(from.bytes()) } else { 1 };
            assert_eq!(has(to.bytes()), expected, "{bit} of {bits}");
        }
    }
}
