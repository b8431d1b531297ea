//! One pass over both operands: which loop compares a row, and the nest of rows that threads share.

use super::close::{self, Number, Tolerance, close_row};
use super::rows::{self, Bits, Positive};
use super::value::{self, Closeness, Precision};
use super::{Common, CompareOptions, Rule, broadcast, readable};
use crate::copy::cast::{Buffers, Notes, Recipe, Scalar, ScalarKind};
use crate::copy::item::with_item;
use crate::copy::level::{Level, level};
use crate::copy::plan::{Operand, nest};
use crate::copy::threads::{chunks_for, for_each};
use crate::dlpack::DLDataType;
use crate::error::{Compare, Error, Result};
use crate::tensor::{Tensor, dtype};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

type SameRow = unsafe fn(Level, *const u8, *const u8, usize) -> bool;
type CloseRow = unsafe fn(Level, *const u8, *const u8, usize, Tolerance) -> bool;

/// How rows are compared.
enum Row {
    /// By a loop for their dtype.
    Alone(Loop),
    /// By one for the type that both are read as, a block at a time.
    Read(Box<[Recipe; 2]>, Scalar, Loop),
    /// Value by value.
    Each,
}

/// A loop over two rows of one type.
#[derive(Clone, Copy)]
pub(super) enum Loop {
    Same(SameRow),
    Close(CloseRow, Tolerance),
}

impl Loop {
    /// # Safety
    ///
    /// Both addresses have `count` items, one behind the other; the machine has the level.
    unsafe fn holds(self, level: Level, [a, b]: [*const u8; 2], count: usize) -> bool {
        // SAFETY: promised by the caller.
        unsafe {
            match self {
                Loop::Same(row) => row(level, a, b, count),
                Loop::Close(row, tolerance) => row(level, a, b, count, tolerance),
            }
        }
    }
}

/// What makes two values count as one.
#[derive(Clone, Copy)]
enum Pairs {
    Same { equal_nan: bool },
    Close(Closeness),
}

/// Items that are gathered or read at a time, where they do not lie one behind the other in one type.
const BLOCK: usize = 512;
/// Bytes that are compared before somebody asks whether the answer is known.
const UNASKED: usize = 64 << 10;
/// Bytes of both sides that one thread looks at before others are woken: they come later than it is done.
const AHEAD: usize = 256 << 10;

/// Where blocks wait: room for elements of up to 16 bytes.
struct Waiting {
    blocks: [MaybeUninit<[u128; BLOCK]>; 2],
    buffers: Buffers,
}

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
        let alone = match each {
            _ if dtypes[0] != dtypes[1] => None,
            Pairs::Same { .. } => Some(Loop::Same(same(dtypes[0], equal_nan))),
            Pairs::Close(closeness) => close(dtypes[0], equal_nan, closeness),
        };
        let row = alone.map_or_else(|| read_as(dtypes, each, equal_nan).unwrap_or(Row::Each), Row::Alone);
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
        let bytes = nest.size().saturating_mul(items[0] + items[1]);
        let chunks = chunks_for(bytes);
        let (level, differs) = (level(), AtomicBool::new(false));
        let look = |index: usize, chunks: usize| {
            let part = nest.part(index, chunks);
            let inner = part.inner();
            let stretch = self.stretch(inner.steps);
            let mut waiting = Waiting { blocks: [MaybeUninit::uninit(); 2], buffers: Buffers::new() };
            part.rows(self.bases, &mut |at| {
                let mut done = 0;
                while done < inner.extent && !differs.load(Ordering::Relaxed) {
                    let count = (inner.extent - done).min(stretch);
                    let from: [*const u8; 2] = std::array::from_fn(|operand| {
                        at[operand].wrapping_offset(done as isize * inner.steps[operand]).cast_const()
                    });
                    // SAFETY: elements of the operands, as promised; this machine has the level.
                    if !unsafe { self.row_holds(level, from, inner.steps, count, &mut waiting) } {
                        differs.store(true, Ordering::Relaxed);
                    }
                    done += count;
                }
            });
        };
        if chunks > 1 {
            look(0, bytes.div_ceil(AHEAD));
        }
        if !differs.load(Ordering::Relaxed) {
            for_each(chunks, &|index| look(index, chunks))?;
        }
        Ok(!differs.into_inner())
    }

    /// Elements that are compared at a time.
    fn stretch(&self, steps: [isize; 2]) -> usize {
        match self.row {
            Row::Alone(_) if self.packed(steps) => UNASKED / self.items()[0],
            _ => BLOCK,
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
    unsafe fn row_holds(
        &self,
        level: Level,
        from: [*const u8; 2],
        steps: [isize; 2],
        count: usize,
        waiting: &mut Waiting,
    ) -> bool {
        let Waiting { blocks, buffers } = waiting;
        let blocks: [*mut u8; 2] = blocks.each_mut().map(|block| block.as_mut_ptr().cast());
        let read = blocks.map(|block| block.cast_const());
        // SAFETY: promised by the caller; a block has room for so many elements of any type.
        unsafe {
            match &self.row {
                Row::Alone(row) if self.packed(steps) => row.holds(level, from, count),
                Row::Alone(row) => {
                    for operand in 0..2 {
                        gather(self.items()[operand], from[operand], steps[operand], count, blocks[operand]);
                    }
                    row.holds(level, read, count)
                }
                Row::Read(recipes, wide, row) => {
                    for operand in 0..2 {
                        let ends = [from[operand].cast_mut(), blocks[operand]];
                        let steps = [steps[operand], wide.bytes() as isize];
                        recipes[operand].block(ends, steps, count, buffers);
                    }
                    row.holds(level, read, count)
                }
                Row::Each => (0..count).all(|index| {
                    let [a, b] = std::array::from_fn(|operand| {
                        let at = from[operand].wrapping_offset(index as isize * steps[operand]);
                        value::read(self.dtypes[operand], at)
                    });
                    self.values_hold(a, b)
                }),
            }
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
    with_item!(item, T => for index in 0..count {
        // SAFETY: promised by the caller.
        unsafe {
            let at = from.wrapping_offset(index as isize * step);
            to.cast::<T>().add(index).write_unaligned(at.cast::<T>().read_unaligned());
        }
    })
}

/// The type that both dtypes are read as, and the loop for that; `None` where there is no such type.
fn read_as(dtypes: [DLDataType; 2], each: Pairs, equal_nan: bool) -> Option<Row> {
    let [a, b] = [Scalar::of(dtypes[0])?, Scalar::of(dtypes[1])?];
    let is_integer = |scalar: Scalar| scalar.kind() <= ScalarKind::Signed;
    let unlike = |a: Scalar, b: Scalar| a == Scalar::U64 && b.kind() == ScalarKind::Signed;
    let (wide, row) = match each {
        Pairs::Same { .. } if is_integer(a) && is_integer(b) => {
            let mixed = unlike(a, b) || unlike(b, a);
            let row: SameRow =
                if mixed { rows::same_row::<Positive, false> } else { rows::same_row::<Bits<u64>, false> };
            (Scalar::I64, Loop::Same(row))
        }
        Pairs::Same { .. } => {
            let single = dtypes.iter().all(|&dtype| value::promoted_precision(dtype) <= Precision::Single);
            let (wide, row) = match a.is_complex() || b.is_complex() {
                true => (Scalar::C128, same_loop::<rows::Pair<rows::Float<f64>>>(equal_nan)),
                false if single => (Scalar::F32, same_loop::<rows::Float<f32>>(equal_nan)),
                false => (Scalar::F64, same_loop::<rows::Float<f64>>(equal_nan)),
            };
            (wide, Loop::Same(row))
        }
        Pairs::Close(_) if a.is_complex() || b.is_complex() => return None,
        Pairs::Close(closeness) => {
            use Precision::{Double, Half, Single};
            let (wide, row) = match closeness.precisions() {
                [Half, _] => (Scalar::F32, close_loop::<close::Half>(equal_nan)),
                [Single, Half] => (Scalar::F32, close_loop::<close::SingleBesideHalf>(equal_nan)),
                [Single, _] => (Scalar::F32, close_loop::<close::In<f32>>(equal_nan)),
                [Double, Half] => (Scalar::F64, close_loop::<close::DoubleBesideHalf>(equal_nan)),
                [Double, Single] => (Scalar::F64, close_loop::<close::DoubleBesideSingle>(equal_nan)),
                [Double, Double] => (Scalar::F64, close_loop::<close::In<f64>>(equal_nan)),
            };
            (wide, Loop::Close(row, closeness.tolerance()))
        }
    };
    let recipe = |scalar| Recipe::new(level(), scalar, wide, false, Notes::Nothing);
    Some(Row::Read(Box::new([recipe(a), recipe(b)]), wide, row))
}

/// The loop that tells whether rows of a dtype are the same values.
pub(super) fn same(dtype: DLDataType, equal_nan: bool) -> SameRow {
    use rows::*;
    let pick = match (dtype.code.0, dtype.bits) {
        (0 | 1, 16) => same_loop::<Bits<u16>>,
        (0 | 1, 32) => same_loop::<Bits<u32>>,
        (0 | 1, 64) => same_loop::<Bits<u64>>,
        (2, 16) => same_loop::<Half<0x7c00>>,
        (2, 32) => same_loop::<Float<f32>>,
        (2, 64) => same_loop::<Float<f64>>,
        (4, _) => same_loop::<Half<0x7f80>>,
        (5, 32) => same_loop::<Pair<Half<0x7c00>>>,
        (5, 64) => same_loop::<Pair<Float<f32>>>,
        (5, _) => same_loop::<Pair<Float<f64>>>,
        (6, _) => same_loop::<Truth>,
        (7, _) => same_loop::<Mini<0x70>>,
        (8, _) => same_loop::<Mini<0x78>>,
        (10, _) => same_loop::<Mini<0x7e>>,
        (12, _) => same_loop::<Mini<0x7c>>,
        (9 | 11 | 13, _) => same_loop::<Unsigned0<0x80>>,
        (14, _) => same_loop::<Unsigned0<0xff>>,
        _ => same_loop::<Bits<u8>>,
    };
    pick(equal_nan)
}

fn same_loop<S: rows::Same>(equal_nan: bool) -> SameRow {
    if equal_nan { rows::same_row::<S, true> } else { rows::same_row::<S, false> }
}

/// The loop that tells whether rows of a dtype are close, where there is one.
pub(super) fn close(dtype: DLDataType, equal_nan: bool, closeness: Closeness) -> Option<Loop> {
    use close::{Bfloat16, Float16, In, Truth};
    let pick = match (dtype.code.0, dtype.bits) {
        (0, 8) => close_loop::<In<i8>>,
        (0, 16) => close_loop::<In<i16>>,
        (0, 32) => close_loop::<In<i32>>,
        (0, 64) => close_loop::<In<i64>>,
        (1, 8) => close_loop::<In<u8>>,
        (1, 16) => close_loop::<In<u16>>,
        (1, 32) => close_loop::<In<u32>>,
        (1, 64) => close_loop::<In<u64>>,
        (2, 16) => close_loop::<Float16>,
        (2, 32) => close_loop::<In<f32>>,
        (2, 64) => close_loop::<In<f64>>,
        (4, _) => close_loop::<Bfloat16>,
        (6, _) => close_loop::<Truth>,
        _ => return None,
    };
    Some(Loop::Close(pick(equal_nan), closeness.tolerance()))
}

fn close_loop<N: Number>(equal_nan: bool) -> CloseRow {
    if equal_nan { close_row::<N, true> } else { close_row::<N, false> }
}
