//! Transposes: one loop is packed in the source, another in the destination. Whole cache lines on both sides.

use super::item::Item;
use super::level::{Level, per_level};
use super::plan::Axis;
use super::stream;

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
/// Columns of a panel, in bytes of the source, and its rows, in bytes of the destination: as much as caches and address
/// translation have room for.
const PANEL_COLUMNS: usize = 4096;
const PANEL_ROWS: usize = 256;

/// Transposes a plane; `streaming` past the caches.
///
/// # Safety
///
/// The items of both sides are there, and share no memory; the level is available.
pub(super) unsafe fn transpose<T: Item>(level: Level, plane: Plane, streaming: bool) {
    // Lines can only be written whole where they begin at the same row in every column.
    let aligned =
        plane.to_step.rem_euclid(LINE as isize) == 0 && plane.to.addr().is_multiple_of(size_of::<T>());
    // SAFETY: promised by the caller.
    unsafe {
        if streaming && aligned {
            panels::<T, true>(level, plane);
            stream::finish();
        } else {
            panels::<T, false>(level, plane);
        }
    }
}

per_level! {
    unsafe fn panels[T: Item, const STREAMING: bool](plane: Plane) = panels_body;
}

/// # Safety
///
/// As for [`transpose`]; with `STREAMING` lines begin at the same row in every column.
#[inline(always)]
unsafe fn panels_body<T: Item, const STREAMING: bool>(plane: Plane) {
    let item = size_of::<T>();
    let before = if STREAMING { plane.to.align_offset(LINE) / item } else { 0 }.min(plane.rows);
    // SAFETY: parts of the plane, which is promised by the caller.
    unsafe {
        edge::<T>(plane.part(0, 0, plane.columns, before, item));
        let plane = plane.part(0, before, plane.columns, plane.rows - before, item);
        let (wide, high) = (PANEL_COLUMNS / item, PANEL_ROWS / item);
        for column in (0..plane.columns).step_by(wide) {
            let columns = wide.min(plane.columns - column);
            for row in (0..plane.rows).step_by(high) {
                let rows = high.min(plane.rows - row);
                panel::<T, STREAMING>(plane.part(column, row, columns, rows, item));
            }
        }
    }
}

impl Plane {
    /// The plane of two loops: `columns` is packed in the source, forwards or backwards, and `rows` in the destination.
    pub fn new(from: *const u8, to: *mut u8, columns: Axis<2>, rows: Axis<2>) -> Plane {
        let plane = Plane {
            from,
            to,
            from_step: rows.steps[0],
            to_step: columns.steps[1],
            columns: columns.extent,
            rows: rows.extent,
        };
        if columns.steps[0] > 0 {
            return plane;
        }
        // The other way round it is packed forwards.
        let last = columns.extent as isize - 1;
        Plane {
            from: from.wrapping_offset(last * columns.steps[0]),
            to: to.wrapping_offset(last * columns.steps[1]),
            to_step: -plane.to_step,
            ..plane
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

/// # Safety
///
/// As for [`panels_body`]; with `STREAMING` the first row begins a line.
#[inline(always)]
unsafe fn panel<T: Item, const STREAMING: bool>(plane: Plane) {
    let item = size_of::<T>();
    let (side, lines) = (T::SIDE, LINE / item);
    let (columns, rows) = (plane.columns / side * side, plane.rows / side * side);
    let whole = if STREAMING { plane.rows / lines * lines } else { 0 };
    // SAFETY: parts of the plane, which is promised by the caller.
    unsafe {
        for column in (0..columns).step_by(side) {
            for row in (0..whole).step_by(lines) {
                stream_lines::<T>(plane.part(column, row, side, lines, item));
            }
            for row in (whole..rows).step_by(side) {
                let Plane { from, to, from_step, to_step, .. } = plane.part(column, row, side, side, item);
                T::block(from, from_step, to, to_step);
            }
        }
        edge::<T>(plane.part(0, rows, columns, plane.rows - rows, item));
        edge::<T>(plane.part(columns, 0, plane.columns - columns, plane.rows, item));
    }
}

/// Transposes as many columns as a block has, and rows for one line each: in a corner of the stack first, so that each
/// line is written at once.
///
/// # Safety
///
/// As for [`panel`].
#[inline(always)]
unsafe fn stream_lines<T: Item>(plane: Plane) {
    let mut lines = stream::Lines::<16>::new();
    let item = size_of::<T>();
    // SAFETY: the plane has these columns and rows, says the caller, and `lines` has room for 16 columns.
    unsafe {
        for row in (0..plane.rows).step_by(T::SIDE) {
            let from = plane.from.wrapping_offset(row as isize * plane.from_step);
            T::block(from, plane.from_step, lines.start().add(row * item), LINE as isize);
        }
        for column in 0..T::SIDE {
            lines.stream(column, plane.to.wrapping_offset(column as isize * plane.to_step));
        }
    }
}

/// Item by item: what is too narrow for a block.
///
/// # Safety
///
/// As for [`transpose`].
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
