//! Transposes: one loop is packed in the source, another in the destination. Whole cache lines on both sides.
//!
//! Lines whose distance is a large power of two have few places in the caches and push each other out. Where they have, and
//! where the result goes past the caches, columns are put together between the two and written as runs; else blocks go from
//! one side to the other.

use super::item::Item;
use super::level::per_level;
use super::plan::Axis;
use super::stream;
use std::mem::MaybeUninit;

/// A plane of `columns` by `rows` items. Along a column the source steps by one item and the destination by `to_step`;
/// along a row the destination steps by one item and the source by `from_step`.
#[derive(Clone, Copy)]
pub(super) struct Plane {
    pub from: *const u8,
    pub to: *mut u8,
    pub from_step: isize,
    pub to_step: isize,
    pub columns: usize,
    pub rows: usize,
}

/// A cache line.
const LINE: usize = 64;
/// Bytes of a column that are put together before they are written (measured: 128 take half as long again, 1024 gain
/// nothing more).
const RUN: usize = 512;

/// Lines that are a multiple of this apart push each other out of the caches; on both sides half of it is enough (measured).
const CROWDED: isize = 1024;
/// Rows and bytes of a strip: two neighbouring lines of each row, which the processor likes to fetch together, stay in
/// the second-level cache beside what is written meanwhile (measured).
const STRIP: (usize, usize) = (512, 2 * LINE);

/// Columns before they are written: as many as a line has items, so that each line of the source is read at once.
#[repr(C, align(64))]
struct Columns([MaybeUninit<u8>; LINE * (RUN + LINE)]);

per_level! {
    /// Transposes a plane for every turn of `outer`; with `STREAMING` past the caches.
    pub(super) unsafe fn transpose[T: Item, const STREAMING: bool](plane: Plane, outer: Axis<2>) = transpose_body;
}

/// # Safety
///
/// The items of both sides are there, and share no memory.
#[inline(always)]
unsafe fn transpose_body<T: Item, const STREAMING: bool>(plane: Plane, outer: Axis<2>) {
    let multiples = |bytes: isize| [plane.from_step, plane.to_step].map(|step| step % bytes == 0);
    let runs = STREAMING || multiples(CROWDED) != [false; 2] || multiples(CROWDED / 2) == [true; 2];
    for turn in 0..outer.extent as isize {
        let [read, write] = outer.steps.map(|step| turn * step);
        let plane =
            Plane { from: plane.from.wrapping_offset(read), to: plane.to.wrapping_offset(write), ..plane };
        // SAFETY: promised by the caller.
        unsafe {
            match runs {
                true => through_columns::<T, STREAMING>(plane),
                false if plane.columns * size_of::<T>() <= STRIP.1 && plane.rows <= STRIP.0 => {
                    blocks::<T>(plane, false)
                }
                false => strips::<T>(plane),
            }
        }
    }
}

/// Straight across, strip by strip.
///
/// # Safety
///
/// As for [`transpose_body`].
#[inline(always)]
unsafe fn strips<T: Item>(plane: Plane) {
    let (high, wide) = (STRIP.0, STRIP.1 / size_of::<T>());
    for row in (0..plane.rows).step_by(high) {
        let rows = high.min(plane.rows - row);
        for column in (0..plane.columns).step_by(wide) {
            let part = plane.part(column, row, wide.min(plane.columns - column), rows, size_of::<T>());
            // SAFETY: a part of the plane.
            unsafe { blocks::<T>(part, false) }
        }
    }
}

/// By way of a buffer, of which runs are written; with `STREAMING` past the caches.
///
/// # Safety
///
/// As for [`transpose_body`].
#[inline(always)]
unsafe fn through_columns<T: Item, const STREAMING: bool>(plane: Plane) {
    let item = size_of::<T>();
    let aligned = plane.to_step % LINE as isize == 0;
    let (wide, high) = (LINE / item, RUN / item);
    // One line more, or they would push each other out.
    let step = RUN + LINE;
    // Both sides are read and written in whole lines but for the ends, wherever they begin.
    let [left, above] = [plane.from.addr(), plane.to.addr()].map(|at| at % LINE / item);
    let mut between = Columns([MaybeUninit::uninit(); LINE * (RUN + LINE)]);
    let start = between.0.as_mut_ptr().cast::<u8>();
    let mut row = 0;
    while row < plane.rows {
        let rows = (high - (row + above) % high).min(plane.rows - row);
        let mut column = 0;
        while column < plane.columns {
            let columns = (wide - (column + left) % wide).min(plane.columns - column);
            let part = plane.part(column, row, columns, rows, item);
            // SAFETY: a part of the plane, and `between` has room for it; each of its columns is filled before it is written.
            unsafe {
                blocks::<T>(Plane { to: start, to_step: step as isize, ..part }, aligned);
                for column in 0..part.columns {
                    let to = part.to.wrapping_offset(column as isize * part.to_step);
                    stream::put::<STREAMING>(start.add(column * step), to, rows * item);
                }
            }
            column += columns;
        }
        row += rows;
    }
    if STREAMING {
        stream::finish();
    }
}

impl Plane {
    /// The plane of two loops: `columns` is packed in the source, forwards or backwards, and `rows` in the destination.
    pub fn new(from: *const u8, to: *mut u8, columns: Axis<2>, rows: Axis<2>) -> Plane {
        let (columns, from, to) = columns.forwards(from, to);
        Plane {
            from,
            to,
            from_step: rows.steps[0],
            to_step: columns.steps[1],
            columns: columns.extent,
            rows: rows.extent,
        }
    }

    /// Some of its columns and rows.
    fn part(&self, column: usize, row: usize, columns: usize, rows: usize, item: usize) -> Plane {
        let (column, row, item) = (column as isize, row as isize, item as isize);
        Plane {
            from: self.from.wrapping_offset(column * item + row * self.from_step),
            to: self.to.wrapping_offset(column * self.to_step + row * item),
            columns,
            rows,
            ..*self
        }
    }
}

/// Transposes block by block: `along` the rows of the source, so that their lines are done with where they are powers of
/// two apart, or down the columns, which is faster where they are not (measured).
///
/// # Safety
///
/// As for [`transpose_body`].
#[inline(always)]
unsafe fn blocks<T: Item>(plane: Plane, along: bool) {
    let (item, side) = (size_of::<T>(), T::SIDE);
    let (columns, rows) = (plane.columns / side * side, plane.rows / side * side);
    let (outer, inner) = if along { (rows, columns) } else { (columns, rows) };
    for outer in (0..outer).step_by(side) {
        for inner in (0..inner).step_by(side) {
            let (column, row) = if along { (inner, outer) } else { (outer, inner) };
            let Plane { from, to, from_step, to_step, .. } = plane.part(column, row, side, side, item);
            // SAFETY: a part of the plane, which is promised by the caller.
            unsafe { T::block(from, from_step, to, to_step) }
        }
    }
    // SAFETY: as above.
    unsafe {
        edge::<T>(plane.part(0, rows, columns, plane.rows - rows, item));
        edge::<T>(plane.part(columns, 0, plane.columns - columns, plane.rows, item));
    }
}

/// Item by item: what is too narrow for a block.
///
/// # Safety
///
/// As for [`transpose_body`].
#[inline(always)]
unsafe fn edge<T: Item>(plane: Plane) {
    let item = size_of::<T>() as isize;
    for column in 0..plane.columns as isize {
        for row in 0..plane.rows as isize {
            let from = plane.from.wrapping_offset(column * item + row * plane.from_step);
            let to = plane.to.wrapping_offset(column * plane.to_step + row * item);
            // SAFETY: items of the plane, says the caller.
            unsafe { to.cast::<T>().write_unaligned(from.cast::<T>().read_unaligned()) }
        }
    }
}
