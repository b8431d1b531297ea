//! One pass over both operands: which loop compares a row, and the nest of rows that threads share.

use super::close::{self, Number, Tolerance, close_row};
use super::rows;
use super::value::{self, Closeness, nearest_float16};
use super::{Common, CompareOptions, Rule, broadcast, readable};
use crate::copy::level::{Level, level};
use crate::copy::plan::{Operand, nest};
use crate::copy::threads::{chunks_for, for_each};
use crate::dlpack::DLDataType;
use crate::error::{Compare, Error, Result};
use crate::tensor::{Tensor, dtype};
use std::sync::atomic::{AtomicBool, Ordering};

type SameRow = unsafe fn(Level, *const u8, *const u8, usize) -> bool;
type CloseRow = unsafe fn(Level, *const u8, *const u8, usize, Tolerance) -> bool;

/// How rows are compared.
#[derive(Clone, Copy)]
enum Row {
    Same(SameRow),
    Close(CloseRow, Tolerance),
    /// Value by value: dtypes that differ, complex numbers that are to be close.
    Each(Pairs),
}

/// What makes two values count as one.
#[derive(Clone, Copy)]
enum Pairs {
    Same { equal_nan: bool },
    Close(Closeness),
}

/// Items that are gathered at a time, where they do not lie one behind the other.
const GATHERED: usize = 512;
/// Bytes that are compared before somebody asks whether the answer is known.
const UNASKED: usize = 64 << 10;

/// Two operands and what is asked of them.
pub(super) struct Pass {
    pub common: Common,
    pub bases: [*mut u8; 2],
    pub dtypes: [DLDataType; 2],
    row: Row,
    each: Pairs,
}

// SAFETY: addresses of memory that is only read, on behalf of a caller who waits.
unsafe impl Sync for Pass {}

impl Pass {
    pub fn new(a: &Tensor, b: &Tensor, options: CompareOptions) -> Result<Pass> {
        readable(a)?;
        readable(b)?;
        let dtypes = [a.dtype(), b.dtype()];
        let equal_nan = options.equal_nan;
        let each = match options.rule {
            Rule::Equal => Pairs::Same { equal_nan },
            Rule::Close(Tolerance { rtol, atol }) if rtol.is_nan() || atol.is_nan() => {
                let what = if rtol.is_nan() { "rtol" } else { "atol" };
                return Err(Error::Compare(Compare::Tolerance { what }));
            }
            Rule::Close(tolerance) => {
                Pairs::Close(Closeness::new(dtypes[0], dtypes[1], tolerance, equal_nan))
            }
        };
        let row = match options.rule {
            _ if a.dtype() != b.dtype() => Row::Each(each),
            Rule::Equal => Row::Same(same(a.dtype(), equal_nan)),
            Rule::Close(tolerance) => close(a.dtype(), equal_nan, tolerance).unwrap_or(Row::Each(each)),
        };
        let bases = [a, b].map(|tensor| tensor.data().cast::<u8>());
        Ok(Pass { common: broadcast(a, b)?, bases, dtypes, row, each })
    }

    pub fn items(&self) -> [usize; 2] {
        self.dtypes.map(|dtype| dtype::item_bytes(dtype).unwrap_or(1))
    }

    /// Whether every pair of elements counts as one.
    ///
    /// # Safety
    ///
    /// The elements are there, and nobody writes to them.
    pub unsafe fn holds(&self) -> Result<bool> {
        let items = self.items();
        let operand = |index: usize| Operand { strides: &self.common.strides[index], item: items[index] };
        let nest = nest(&self.common.shape, [operand(0), operand(1)]);
        let chunks = chunks_for(nest.size().saturating_mul(items[0] + items[1]));
        let (level, differs) = (level(), AtomicBool::new(false));
        for_each(chunks, &|index| {
            let part = nest.part(index, chunks);
            let inner = part.inner();
            part.rows(self.bases, &mut |at| {
                let mut done = 0;
                while done < inner.extent && !differs.load(Ordering::Relaxed) {
                    let count = (inner.extent - done).min(self.stretch(inner.steps));
                    let from = |operand: usize| {
                        at[operand].wrapping_offset(done as isize * inner.steps[operand]).cast_const()
                    };
                    // SAFETY: elements of the operands, as promised; this machine has the level.
                    if !unsafe { self.row_holds(level, [from(0), from(1)], inner.steps, count) } {
                        differs.store(true, Ordering::Relaxed);
                    }
                    done += count;
                }
            });
        })?;
        Ok(!differs.into_inner())
    }

    /// Elements that are compared at a time.
    fn stretch(&self, steps: [isize; 2]) -> usize {
        match self.row {
            Row::Each(_) => GATHERED,
            _ if self.packed(steps) => UNASKED / self.items()[0],
            _ => GATHERED,
        }
    }

    fn packed(&self, steps: [isize; 2]) -> bool {
        steps == self.items().map(|item| item as isize)
    }

    /// Whether `count` pairs of elements, so many bytes apart, count as one each.
    ///
    /// # Safety
    ///
    /// They are elements of the operands, at most what `stretch` says; the machine has the level.
    unsafe fn row_holds(&self, level: Level, from: [*const u8; 2], steps: [isize; 2], count: usize) -> bool {
        if let Row::Each(rule) = self.row {
            // SAFETY: promised by the caller.
            return (0..count).all(|index| unsafe { self.pair_holds(rule, from, steps, index) });
        }
        if self.packed(steps) {
            // SAFETY: promised by the caller.
            return unsafe { self.packed_holds(level, from, count) };
        }
        let mut gathered = [[0_u64; 2 * GATHERED]; 2];
        for operand in 0..2 {
            // SAFETY: promised by the caller; there is room for so many elements of up to 16 bytes.
            unsafe {
                let to = gathered[operand].as_mut_ptr().cast();
                gather(self.items()[operand], from[operand], steps[operand], count, to);
            }
        }
        // SAFETY: just filled.
        unsafe { self.packed_holds(level, [gathered[0].as_ptr().cast(), gathered[1].as_ptr().cast()], count) }
    }

    /// # Safety
    ///
    /// Both addresses have `count` elements, one behind the other; the machine has the level.
    unsafe fn packed_holds(&self, level: Level, [a, b]: [*const u8; 2], count: usize) -> bool {
        // SAFETY: promised by the caller.
        unsafe {
            match self.row {
                Row::Same(row) => row(level, a, b, count),
                Row::Close(row, tolerance) => row(level, a, b, count, tolerance),
                Row::Each(rule) => {
                    let steps = self.items().map(|item| item as isize);
                    (0..count).all(|index| self.pair_holds(rule, [a, b], steps, index))
                }
            }
        }
    }

    /// # Safety
    ///
    /// The `index`th pair of elements is there.
    #[inline]
    unsafe fn pair_holds(&self, rule: Pairs, from: [*const u8; 2], steps: [isize; 2], index: usize) -> bool {
        // SAFETY: promised by the caller.
        let [a, b] = std::array::from_fn(|operand| unsafe {
            let at = from[operand].wrapping_offset(index as isize * steps[operand]);
            value::read(self.dtypes[operand], at)
        });
        match rule {
            Pairs::Same { equal_nan } => a.same(b, equal_nan),
            Pairs::Close(closeness) => closeness.holds(a, b),
        }
    }

    /// Whether two values count as one.
    pub fn values_hold(&self, a: value::Value, b: value::Value) -> bool {
        match self.each {
            Pairs::Same { equal_nan } => a.same(b, equal_nan),
            Pairs::Close(closeness) => closeness.holds(a, b),
        }
    }
}

/// Copies elements that are so many bytes apart to where they lie one behind the other.
///
/// # Safety
///
/// They are there, and so is room for them.
unsafe fn gather(item: usize, from: *const u8, step: isize, count: usize, to: *mut u8) {
    /// # Safety
    ///
    /// As for `gather`.
    unsafe fn of<T: Copy>(from: *const u8, step: isize, count: usize, to: *mut u8) {
        let to = to.cast::<T>();
        for index in 0..count {
            // SAFETY: promised by the caller.
            unsafe {
                let at = from.wrapping_offset(index as isize * step);
                to.add(index).write_unaligned(at.cast::<T>().read_unaligned());
            }
        }
    }
    // SAFETY: promised by the caller.
    unsafe {
        match item {
            1 => of::<u8>(from, step, count, to),
            2 => of::<u16>(from, step, count, to),
            4 => of::<u32>(from, step, count, to),
            8 => of::<u64>(from, step, count, to),
            _ => of::<[u64; 2]>(from, step, count, to),
        }
    }
}

/// The loop that tells whether rows of a dtype are the same values.
pub(super) fn same(dtype: DLDataType, equal_nan: bool) -> SameRow {
    use rows::*;
    fn pick<S: Same>(equal_nan: bool) -> SameRow {
        if equal_nan { same_row::<S, true> } else { same_row::<S, false> }
    }
    let pick = match (dtype.code.0, dtype.bits) {
        (0 | 1, 16) => pick::<Bits<u16>>,
        (0 | 1, 32) => pick::<Bits<u32>>,
        (0 | 1, 64) => pick::<Bits<u64>>,
        (2, 16) => pick::<Half<0x7c00>>,
        (2, 32) => pick::<Float<f32>>,
        (2, 64) => pick::<Float<f64>>,
        (4, _) => pick::<Half<0x7f80>>,
        (5, 32) => pick::<Pair<Half<0x7c00>>>,
        (5, 64) => pick::<Pair<Float<f32>>>,
        (5, _) => pick::<Pair<Float<f64>>>,
        (6, _) => pick::<Truth>,
        (7, _) => pick::<Mini<0x70>>,
        (8, _) => pick::<Mini<0x78>>,
        (10, _) => pick::<Mini<0x7e>>,
        (12, _) => pick::<Mini<0x7c>>,
        (9 | 11 | 13, _) => pick::<Unsigned0<0x80>>,
        (14, _) => pick::<Unsigned0<0xff>>,
        _ => pick::<Bits<u8>>,
    };
    pick(equal_nan)
}

/// The loop that tells whether rows of a dtype are close, where there is one.
fn close(dtype: DLDataType, equal_nan: bool, tolerance: Tolerance) -> Option<Row> {
    use close::{Bfloat16, Float16, In, Truth};
    fn pick<N: Number>(equal_nan: bool) -> CloseRow {
        if equal_nan { close_row::<N, true> } else { close_row::<N, false> }
    }
    let mut tolerance = tolerance;
    let pick = match (dtype.code.0, dtype.bits) {
        (0, 8) => pick::<In<i8>>,
        (0, 16) => pick::<In<i16>>,
        (0, 32) => pick::<In<i32>>,
        (0, 64) => pick::<In<i64>>,
        (1, 8) => pick::<In<u8>>,
        (1, 16) => pick::<In<u16>>,
        (1, 32) => pick::<In<u32>>,
        (1, 64) => pick::<In<u64>>,
        (2, 16) => {
            let Tolerance { rtol, atol } = tolerance;
            tolerance = Tolerance { rtol: nearest_float16(rtol), atol: nearest_float16(atol) };
            pick::<Float16>
        }
        (2, 32) => pick::<In<f32>>,
        (2, 64) => pick::<In<f64>>,
        (4, _) => pick::<Bfloat16>,
        (6, _) => pick::<Truth>,
        _ => return None,
    };
    Some(Row::Close(pick(equal_nan), tolerance))
}
