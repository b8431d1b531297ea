//! From one dtype to another, in one pass that also notes what is lost.
//!
//! - [`casting`]: what may happen to values; [`scalar`]: the dtypes; [`small`] and [`convert`]: single numbers;
//! - [`kernel`]: rows of them, for each instruction set; [`recipe`]: blocks in any layout; [`tally`]: what was lost, for the
//!   blocks where something was.

#[cfg(target_arch = "x86_64")]
mod brain;
#[cfg(target_arch = "x86_64")]
mod byte;
mod casting;
mod convert;
#[cfg(target_arch = "x86_64")]
mod half;
mod kernel;
mod recipe;
mod scalar;
mod short;
mod small;
mod tally;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod word;

use super::level::{Level, level};
use super::plan::{Axis, Nest, Operand, nest};
use super::stream;
use super::tensors::{Order, Report, check_host, empty_in, shapes_differ};
use super::threads;
use crate::dlpack::DLDataType;
use crate::error::{Cast, Error, LossReport, Result, Transfer};
use crate::float::usually;
use crate::tensor::{Access, Tensor, dtype, packed_bytes};
pub use casting::Casting;
pub(super) use kernel::Notes;
pub(super) use recipe::{Buffers, Recipe};
pub(super) use scalar::{Kind as ScalarKind, Scalar};
use std::sync::{Mutex, PoisonError};
use tally::{Change, Tally};

/// The elements of `source` as another dtype, in new row-major memory. `report`, where it is given, becomes what changed;
/// also where that is the error.
///
/// Refused: dtypes that are not cast, or not with this `casting`; memory that the host cannot reach; and, with
/// [`Casting::SameKind`] and [`Casting::SameValue`], values that do not allow it
/// ([`Kind::Lossy`](crate::Kind::Lossy)). Threads of this library help from 512 KiB on.
///
/// ```
/// use dlbridge::{Tensor, copy::{self, Casting, LossReport}, tensor::dtype};
///
/// let exact = Tensor::from_vec(vec![1.5_f64, 16_777_217.0], &[2])?;
/// let mut report = LossReport::default();
/// // SAFETY: nobody writes to the vector.
/// let mut rounded = unsafe { copy::cast(&exact, dtype::F32, Casting::SameKind, Some(&mut report)) }?;
/// assert_eq!(rounded.get_mut::<f32>()?, [1.5, 16_777_216.0]); // nobody else has it
/// assert_eq!((report.inexact, report.max_absolute_error), (1, 1.0));
/// // SAFETY: as above.
/// assert!(unsafe { copy::cast(&exact, dtype::F32, Casting::SameValue, None) }.is_err());
/// # Ok::<(), dlbridge::Error>(())
/// ```
///
/// # Safety
///
/// The memory is what the tensor says, with a value in every element, and nobody writes to it meanwhile.
pub unsafe fn cast(
    source: &Tensor,
    dtype: DLDataType,
    casting: Casting,
    report: Option<&mut LossReport>,
) -> Result<Tensor> {
    // SAFETY: promised by the caller.
    unsafe { cast_in(source, dtype, Order::C, casting, report) }
}

/// [`cast`] into new memory whose dimensions are nested in this order.
///
/// # Safety
///
/// As for [`cast`].
pub(crate) unsafe fn cast_in(
    source: &Tensor,
    dtype: DLDataType,
    order: Order,
    casting: Casting,
    report: Option<&mut LossReport>,
) -> Result<Tensor> {
    scalars(source.dtype(), dtype, casting)?;
    let destination = empty_in(source, dtype, order)?;
    // SAFETY: promised by the caller, and nobody else has the destination.
    unsafe { cast_into(source, &destination, casting, report) }?;
    // SAFETY: written just now, and nobody else has it.
    Ok(unsafe { destination.written() })
}

/// [`cast`] into memory that is there, in any layout, of the same shape.
///
/// Refused besides: another shape, a read-only destination, one whose indices may share elements, or one that shares
/// memory with the source. These errors leave the destination as it is. Where values are refused, every element of it is
/// set to one value that nobody takes for a result: NaN, the smallest of the signed integers, the largest of the unsigned
/// ones, true. A panic within, a bug of this library's, leaves it half written.
///
/// # Safety
///
/// The memory is what the tensors say, with a value in every element of `source`. Meanwhile nobody writes to that of `source`,
/// nor reads or writes that of `destination`.
pub unsafe fn cast_into(
    source: &Tensor,
    destination: &Tensor,
    casting: Casting,
    report: Option<&mut LossReport>,
) -> Result<()> {
    let (from, to) = scalars(source.dtype(), destination.dtype(), casting)?;
    check(source, destination)?;
    let notes = match casting {
        Casting::SameValue => Notes::Changes,
        _ if report.is_some() => Notes::Changes,
        Casting::SameKind => Notes::Misfits,
        Casting::Unsafe | Casting::Saturate => Notes::Nothing,
    };
    let work = Work { source, destination, from, to, notes, level: level() };
    // SAFETY: promised by the caller, and checked.
    let all = unsafe { work.run(casting == Casting::Saturate) }?;
    let refused = match casting {
        Casting::SameValue => !all.changes.is_empty(),
        Casting::SameKind => !all.misfits.is_empty(),
        Casting::Unsafe | Casting::Saturate => false,
    };
    if let Some(report) = report {
        *report = usually(|| all.changes.report(source.shape()));
    }
    if !refused {
        return Ok(());
    }
    // SAFETY: as above.
    unsafe { work.spoil() };
    let name = |scalar: Scalar| scalar.name().to_owned();
    let tally = if casting == Casting::SameValue { all.changes } else { all.misfits };
    Err(Error::Cast(Cast::Lossy {
        from: name(from),
        to: name(to),
        casting: casting.name(),
        report: Box::new(usually(|| tally.report(source.shape()))),
    }))
}

/// Refuses dtypes that are not cast like this.
pub(super) fn check_casting(from: DLDataType, to: DLDataType, casting: Casting) -> Result<()> {
    scalars(from, to, casting).map(drop)
}

/// What [`cast`] would do, whatever the values are: one pass in every layout. Nothing is allocated or looked at. Refused: what
/// [`cast`] refuses without a look at the values, and what no memory has room for.
pub fn plan_cast(source: &Tensor, dtype: DLDataType, casting: Casting) -> Result<Report> {
    let (from, to) = scalars(source.dtype(), dtype, casting)?;
    check_host("source", source)?;
    let chunks = chunks_of(source, from, to);
    Ok(Report {
        kernel: c"cast",
        bytes: packed_bytes(source.shape(), dtype)?,
        passes: (source.size() > 0).into(),
        threads: chunks.min(threads::num_threads()),
        temporary: 0,
    })
}

/// Into how many parts the work is divided.
fn chunks_of(source: &Tensor, from: Scalar, to: Scalar) -> usize {
    threads::chunks_for(source.size().saturating_mul(from.bytes() + to.bytes()))
}

/// The two dtypes, where they are cast like this.
fn scalars(from: DLDataType, to: DLDataType, casting: Casting) -> Result<(Scalar, Scalar)> {
    let scalar = |dtype: DLDataType| {
        let unknown = || Error::Cast(Cast::Dtype { dtype: dtype::Name(dtype).to_string() });
        Scalar::of(dtype).ok_or_else(unknown)
    };
    let (source, target) = (scalar(from)?, scalar(to)?);
    if casting == Casting::SameKind && source.kind() > target.kind() {
        let [from, to] = [source, target].map(|scalar| scalar.name().to_owned());
        return Err(Error::Cast(Cast::Kinds { from, to }));
    }
    Ok((source, target))
}

/// Refuses layouts and memory that cannot be worked on, and waits for copies that are under way.
fn check(source: &Tensor, destination: &Tensor) -> Result<()> {
    check_host("source", source)?;
    check_host("destination", destination)?;
    if source.shape() != destination.shape() {
        return Err(shapes_differ(source, destination));
    }
    destination.check_mutable("destination")?;
    let (from, to) = (source.addresses(), destination.addresses());
    if from.0 < to.1 && to.0 < from.1 {
        return Err(Error::Transfer(Transfer::Overlap { source: from, destination: to }));
    }
    source.settle(Access::Read)?;
    destination.settle(Access::Write)
}

/// One cast.
struct Work<'a> {
    source: &'a Tensor,
    destination: &'a Tensor,
    from: Scalar,
    to: Scalar,
    notes: Notes,
    level: Level,
}

/// What was counted: everything that changed, and of that what was worse than rounded.
#[derive(Default)]
struct Tallies {
    changes: Tally,
    misfits: Tally,
}

impl Work<'_> {
    fn nest(&self) -> Nest<2> {
        let source = Operand { strides: self.source.strides(), item: self.from.bytes() };
        let destination = Operand { strides: self.destination.strides(), item: self.to.bytes() };
        nest(self.source.shape(), [source, destination])
    }

    fn bases(&self) -> [*mut u8; 2] {
        [self.source, self.destination].map(|tensor| tensor.data().cast())
    }

    /// Whether the result is too much for the caches, and its rows are long enough to go past them.
    fn is_streaming(&self, inner: Axis<2>) -> bool {
        let bytes = self.to.bytes();
        let all = stream::weight(self.source.size() * bytes, self.destination.device());
        inner.extent * bytes >= stream::STREAMED && all >= stream::cache_bytes() / 2
    }

    /// Casts everything.
    ///
    /// # Safety
    ///
    /// The elements of both are there, in memory that nobody else uses, and the level is this machine's.
    unsafe fn run(&self, saturate: bool) -> Result<Tallies> {
        let all = Mutex::new(Tallies::default());
        let nest = self.nest();
        let mut recipe = Recipe::new(self.level, self.from, self.to, saturate, self.notes);
        recipe.streaming = self.is_streaming(nest.inner());
        let chunks = chunks_of(self.source, self.from, self.to);
        let places = Bases(self.bases());
        threads::for_each(chunks, &|index| {
            let mut tallies = Tallies::default();
            // SAFETY: promised by the caller; the parts of the destination are disjoint.
            unsafe { self.part(&recipe, &nest.part(index, chunks), places.get(), &mut tallies) };
            if !tallies.changes.is_empty() {
                let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                all.changes.add(&tallies.changes);
                all.misfits.add(&tallies.misfits);
            }
        })?;
        Ok(all.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    /// # Safety
    ///
    /// As for [`Work::run`].
    unsafe fn part(&self, recipe: &Recipe, nest: &Nest<2>, bases: [*mut u8; 2], tallies: &mut Tallies) {
        // SAFETY: promised by the caller.
        if unsafe { self.short_rows(recipe, nest, bases, tallies) } {
            return;
        }
        let inner = nest.inner();
        let size = recipe.block_size(inner.steps);
        let mut buffers = Buffers::new();
        nest.rows(bases, &mut |row| {
            let mut done = 0;
            while done < inner.extent {
                let most = if done == 0 { recipe.first_size(row[1], size) } else { size };
                let count = most.min(inner.extent - done);
                let at = [0, 1].map(|each| row[each].wrapping_offset(done as isize * inner.steps[each]));
                // SAFETY: promised by the caller.
                unsafe {
                    if recipe.block(at, inner.steps, count, &mut buffers) {
                        self.look(at, inner.steps, count, tallies);
                    }
                }
                done += count;
            }
        });
        if recipe.streaming {
            stream::finish();
        }
    }

    /// Counts what changed in a block in which something did.
    ///
    /// # Safety
    ///
    /// As for [`Work::run`]; the block was cast.
    #[cold]
    unsafe fn look(&self, [from, to]: [*mut u8; 2], steps: [isize; 2], count: usize, tallies: &mut Tallies) {
        for index in 0..count as isize {
            let (from, to) = (from.wrapping_offset(index * steps[0]), to.wrapping_offset(index * steps[1]));
            // SAFETY: promised by the caller.
            let (value, made) = unsafe { (self.from.read(from), self.to.read(to)) };
            if let Some(change) = tally::change(value, made, self.to) {
                let flat = self.flat(to);
                tallies.changes.count(change, flat, value, made);
                if change >= Change::Overflow {
                    tallies.misfits.count(change, flat, value, made);
                }
            }
        }
    }

    /// Where an element of the destination is in row-major order.
    fn flat(&self, at: *mut u8) -> usize {
        let tensor = self.destination;
        let offset = (at as usize).wrapping_sub(tensor.data() as usize) as isize / self.to.bytes() as isize;
        if tensor.is_row_major() {
            return offset as usize;
        }
        // Indices share no elements, so each stride, from the largest on, goes into what is left as often as its index.
        let mut axes: Vec<usize> = (0..tensor.ndim()).filter(|&axis| tensor.shape()[axis] > 1).collect();
        axes.sort_by_key(|&axis| std::cmp::Reverse(tensor.strides()[axis].unsigned_abs()));
        let mut left = offset as i64;
        for &axis in &axes {
            left -= tensor.strides()[axis].min(0) * (tensor.shape()[axis] - 1);
        }
        let mut index = vec![0; tensor.ndim()];
        for axis in axes {
            let (stride, last) = (tensor.strides()[axis], tensor.shape()[axis] - 1);
            let turn = left / stride.abs();
            left -= turn * stride.abs();
            index[axis] = if stride < 0 { last - turn } else { turn };
        }
        let flat = index.iter().zip(tensor.shape()).fold(0, |flat, (index, extent)| flat * extent + index);
        flat as usize
    }

    /// Sets every element of the destination to what nobody takes for a result.
    ///
    /// # Safety
    ///
    /// As for [`Work::run`].
    unsafe fn spoil(&self) {
        // SAFETY: promised by the caller.
        unsafe { spoil(self.destination) }
    }
}

/// Sets every element to what nobody takes for a result; of a dtype that is not cast every byte to 255.
///
/// # Safety
///
/// The elements are there, in memory that nobody else uses.
pub(super) unsafe fn spoil(destination: &Tensor) {
    let bytes = dtype::item_bytes(destination.dtype()).unwrap_or(1);
    let mark = Scalar::of(destination.dtype()).map_or([0xff; 16], Scalar::mark);
    let nest = nest(destination.shape(), [Operand { strides: destination.strides(), item: bytes }]);
    let inner = nest.inner();
    nest.rows([destination.data().cast()], &mut |[row]| {
        for index in 0..inner.extent as isize {
            for (at, mark) in mark.iter().cycle().take(bytes).enumerate() {
                // SAFETY: promised by the caller.
                unsafe { row.wrapping_offset(index * inner.steps[0] + at as isize).write(*mark) }
            }
        }
    });
}

/// Addresses that threads share.
struct Bases([*mut u8; 2]);

// SAFETY: whoever runs the cast promised that nobody else uses the memory, and the threads use parts of their own.
unsafe impl Sync for Bases {}

impl Bases {
    fn get(&self) -> [*mut u8; 2] {
        self.0
    }
}
