//! Which kernel moves the items of a nest, and how they are shared out. Nothing is decided while they move.

use super::bits;
use super::contiguous;
use super::interleaved::{self, Picture};
use super::item::with_item;
use super::level::{Level, level};
use super::plan::{Axis, Nest, Operand, nest};
use super::shuffled::{self, Group};
use super::stepped;
use super::stream;
use super::threads;
use super::transposed::{self, Plane};
use crate::dlpack::DLDevice;
use crate::error::Result;
use std::ffi::CStr;

/// How items are moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kernel {
    /// There are none.
    Nothing,
    /// Runs that are packed on both sides: bytes, whatever they are items of.
    Contiguous,
    /// Items that lie the other way round.
    Reversed,
    /// Groups of a few bytes, as pixels, whose items or which themselves are in another order.
    Shuffled { group: Group },
    /// One item again and again.
    Repeated,
    /// Items that lie apart.
    Stepped,
    /// Items whose bytes are put in the other order.
    Swapped,
    /// Loop `column` is packed in the source, the innermost in the destination.
    Transposed { column: usize },
    /// Loop `channel` of 2 to 4 turns: pixels to planes.
    Split { channel: usize },
    /// Loop `pixel`: planes to pixels of 2 to 4 channels.
    Merged { pixel: usize },
    /// Elements that do not fill bytes: so many bits in one run.
    Bits { bits: usize },
}

impl Kernel {
    /// What `explain` and reports call it.
    pub const fn name(self) -> &'static CStr {
        match self {
            Kernel::Nothing => c"nothing",
            Kernel::Contiguous => c"contiguous",
            Kernel::Reversed => c"reversed",
            Kernel::Shuffled { .. } => c"shuffled",
            Kernel::Repeated => c"repeated",
            Kernel::Stepped => c"stepped",
            Kernel::Swapped => c"byte-swapped",
            Kernel::Transposed { .. } => c"transposed",
            Kernel::Split { .. } => c"split channels",
            Kernel::Merged { .. } => c"merged channels",
            Kernel::Bits { .. } => c"packed bits",
        }
    }
}

/// What is to be done between two layouts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Movement {
    pub kernel: Kernel,
    /// Bytes that are moved at a time: those of an element, or less where there is no register of that size, or more
    /// where neighbours stay together.
    pub item: usize,
    pub nest: Nest<2>,
}

/// From how many bytes on transposes go past the caches: sooner than copies, for their lines are far apart.
const STREAMED_TRANSPOSE: usize = 8 << 20;
/// From how many bytes on plain copies are shared out: less stays in the caches of one processor.
pub(super) const SHARED_COPY: usize = 1 << 20;

/// From how many bytes on transposes are shared out: below, two caches that pass lines to each other take longer.
const SHARED_TRANSPOSE: usize = 2 << 20;

impl Movement {
    /// The movement from one layout to another of elements of `bytes` bytes. `lane` bytes of them are put in the other
    /// order together; 1 for none.
    pub fn new(shape: &[i64], source: &[i64], destination: &[i64], bytes: usize, lane: usize) -> Movement {
        let operands = [source, destination].map(|strides| Operand { strides, item: bytes });
        let mut nest = nest(shape, operands);
        let item = match lane {
            1 if bytes.is_power_of_two() && bytes <= 16 => bytes,
            1 => 1 << bytes.trailing_zeros().min(4),
            _ => lane,
        };
        // The parts of an element, where it is not moved at once, are packed on both sides.
        nest.push(Axis { extent: bytes / item, steps: [item as isize; 2] });
        let mut movement = Movement { kernel: Kernel::Nothing, item, nest };
        if movement.nest.size() != 0 {
            movement.kernel = if lane == 1 { movement.choose() } else { Kernel::Swapped };
        }
        movement
    }

    /// So many bytes that are one run on both sides, and too few to be shared out; `None` where they are not.
    pub fn of_run(bytes: usize) -> Option<Movement> {
        let nest = Nest { axes: Vec::new(), offsets: [0; 2] };
        (1..threads::WORTHWHILE).contains(&bytes).then_some(Movement {
            kernel: Kernel::Contiguous,
            item: bytes,
            nest,
        })
    }

    /// Elements that do not fill bytes, packed on both sides.
    pub fn of_bits(bits: usize) -> Movement {
        let nest = Nest { axes: Vec::new(), offsets: [0; 2] };
        Movement { kernel: if bits == 0 { Kernel::Nothing } else { Kernel::Bits { bits } }, item: 1, nest }
    }

    /// The kernel that moves items of this nest, in which neighbours that stay together become one item.
    fn choose(&mut self) -> Kernel {
        let (count, packed) = (self.nest.axes.len(), [self.item as isize; 2]);
        let inner = self.nest.inner();
        let run = inner.extent * self.item;
        if count < 2 && (inner.steps == packed || count == 0) {
            return Kernel::Contiguous;
        }
        if inner.steps == packed {
            if !(run.is_power_of_two() && run <= 16) {
                return self.shuffled().unwrap_or(Kernel::Contiguous);
            }
            self.item = run;
            self.nest.axes.pop();
        }
        let item = self.item as isize;
        let inner = self.nest.inner();
        match inner.steps {
            [_, to] if to != item => Kernel::Stepped,
            [0, _] => Kernel::Repeated,
            _ => self
                .shuffled()
                .or_else(|| self.crossing(inner))
                .unwrap_or_else(|| if inner.steps[0] == -item { Kernel::Reversed } else { Kernel::Stepped }),
        }
    }

    /// The kernel where the two innermost loops are groups that fit into registers.
    fn shuffled(&self) -> Option<Kernel> {
        let groups = *self.nest.outer().last()?;
        Group::new(self.item, self.nest.inner(), groups).map(|group| Kernel::Shuffled { group })
    }

    /// The kernel where one loop is packed in the source and `inner`, another, in the destination.
    fn crossing(&self, inner: Axis<2>) -> Option<Kernel> {
        let item = self.item as isize;
        let outer = self.nest.outer();
        let along = outer.iter().rposition(|axis| axis.steps[0].unsigned_abs() == self.item)?;
        let Axis { extent, steps } = outer[along];
        if (2..=4).contains(&extent) && inner.steps[0] == extent as isize * item {
            return Some(Kernel::Split { channel: along });
        }
        if steps[0] == item && (2..=4).contains(&inner.extent) && steps[1] == inner.extent as isize * item {
            return Some(Kernel::Merged { pixel: along });
        }
        let least = (16 / self.item).max(4);
        (extent >= least && inner.extent >= least).then_some(Kernel::Transposed { column: along })
    }

    /// Bytes that are written.
    pub fn bytes(&self) -> usize {
        match self.kernel {
            Kernel::Nothing => 0,
            Kernel::Bits { bits } => bits.div_ceil(8),
            _ => self.nest.size() * self.item,
        }
    }

    /// Whether the elements are one run on both sides.
    pub fn is_one_run(&self) -> bool {
        match self.kernel {
            Kernel::Contiguous => self.nest.axes.len() < 2,
            Kernel::Nothing => true,
            _ => false,
        }
    }

    /// How many chunks it is shared out in.
    pub fn chunks(&self) -> usize {
        let bytes = self.bytes();
        match self.kernel {
            _ if bytes < threads::WORTHWHILE => 1,
            Kernel::Nothing | Kernel::Bits { .. } => 1,
            Kernel::Contiguous if bytes < SHARED_COPY => 1,
            Kernel::Transposed { .. } if bytes < SHARED_TRANSPOSE => 1,
            // Long runs of rows, which are read and written in whole lines.
            Kernel::Transposed { .. } => threads::chunks_for(bytes).min(4 * threads::num_threads()),
            _ => threads::chunks_for(bytes),
        }
    }

    /// Whether so many bytes, written together, are too much for the caches.
    fn streaming(&self, together: usize) -> bool {
        let least = match self.kernel {
            Kernel::Transposed { .. } => STREAMED_TRANSPOSE,
            _ => stream::cache_bytes() / 2,
        };
        together >= least
    }

    /// The loop that a kernel needs whole.
    fn whole(&self) -> Option<usize> {
        match self.kernel {
            Kernel::Split { channel } => Some(channel),
            Kernel::Merged { .. } => Some(self.nest.axes.len() - 1),
            // It would do with a part, but each row of the source is to be read in one go.
            Kernel::Transposed { column } => Some(column),
            Kernel::Shuffled { .. } => Some(self.nest.axes.len() - 1),
            _ => None,
        }
    }

    /// Moves the items, from the elements with indices 0 at `from` to those at `to`, in memory of `place`.
    ///
    /// # Safety
    ///
    /// Both sides have the elements of their layouts, and share no memory; no two of the destination are one; nobody
    /// else accesses them; the level is available.
    pub unsafe fn carry_out(
        &self,
        level: Level,
        from: *const u8,
        to: *mut u8,
        place: DLDevice,
    ) -> Result<()> {
        // SAFETY: promised by the caller.
        unsafe { self.carry_out_among(stream::weight(self.bytes(), place), level, from, to) }
    }

    /// The same by this thread alone, of little, in memory that is not pinned.
    ///
    /// # Safety
    ///
    /// As for [`Movement::carry_out`].
    pub unsafe fn carry_out_alone(&self, level: Level, from: *const u8, to: *mut u8) {
        let ends = Ends([from.cast_mut(), to]);
        // SAFETY: promised by the caller.
        unsafe { move_items(self.kernel, self.item, self.nest.clone(), level, &ends, false) }
    }

    /// The same as [`Movement::carry_out`] for one of several movements that write so many bytes `together`, or to memory
    /// where they count for more: [`stream::weight`].
    ///
    /// # Safety
    ///
    /// As for [`Movement::carry_out`].
    pub unsafe fn carry_out_among(
        &self,
        together: usize,
        level: Level,
        from: *const u8,
        to: *mut u8,
    ) -> Result<()> {
        let (ends, chunks) = (Ends([from.cast_mut(), to]), self.chunks());
        let &Movement { kernel, item, .. } = self;
        let streaming = self.streaming(together);
        if chunks == 1 && kernel == Kernel::Contiguous && self.is_one_run() {
            let (once, [from, to]) = ([Axis { extent: 1, steps: [0; 2] }; 2], self.nest.begin(ends.0));
            // SAFETY: promised by the caller.
            unsafe { contiguous::runs(level, from, to, once, self.bytes(), streaming) };
            return Ok(());
        }
        if chunks == 1 {
            // SAFETY: promised by the caller.
            unsafe { move_items(kernel, item, self.nest.clone(), level, &ends, streaming) };
            return Ok(());
        }
        let whole = self.whole();
        threads::for_each(chunks, &|index| {
            let part = self.nest.part_but(whole, index, chunks);
            if part.size() != 0 {
                // SAFETY: promised by the caller; the parts are disjoint.
                unsafe { move_items(kernel, item, part, level, &ends, streaming) }
            }
        })
    }
}

/// Copies bytes from one layout to another, in memory of `place`: for each side where it begins, and its steps in bytes.
///
/// # Safety
///
/// As for [`Movement::carry_out`].
pub(crate) unsafe fn carry_out_bytes(
    shape: &[i64],
    (from, from_steps): (*const u8, &[i64]),
    (to, to_steps): (*mut u8, &[i64]),
    place: DLDevice,
) -> Result<()> {
    // SAFETY: promised by the caller; the level is what the machine has.
    unsafe { Movement::new(shape, from_steps, to_steps, 1, 1).carry_out(level(), from, to, place) }
}

/// Where the elements with indices 0 are, in the source and in the destination.
struct Ends([*mut u8; 2]);
// SAFETY: addresses; who may access what is there is up to who has them.
unsafe impl Sync for Ends {}

/// Moves the items of a nest, or of a part of it that has the same loops.
///
/// # Safety
///
/// As for [`Movement::carry_out`]; there are items, and the kernel is one that was chosen for the nest.
unsafe fn move_items(
    kernel: Kernel,
    item: usize,
    mut nest: Nest<2>,
    level: Level,
    &Ends(ends): &Ends,
    streaming: bool,
) {
    // SAFETY: promised by the caller, for every turn of the loops that are left.
    unsafe {
        match kernel {
            Kernel::Nothing => {}
            Kernel::Bits { bits } => bits::copy(ends[0], ends[1], bits),
            Kernel::Contiguous => {
                let run = nest.take_inner().extent * item;
                let (inner, outer) = (nest.take_inner(), nest.take_inner());
                let loops = [outer, inner];
                nest.each(ends, &mut |[from, to]| contiguous::runs(level, from, to, loops, run, streaming));
            }
            Kernel::Transposed { column } => {
                let (rows, columns, outer) = (nest.take_inner(), nest.take(column), nest.take_inner());
                with_item!(item, T => nest.each(ends, &mut |[from, to]| {
                    let plane = Plane::new(from, to, columns, rows);
                    match streaming {
                        true => transposed::transpose::<T, true>(level, plane, outer),
                        false => transposed::transpose::<T, false>(level, plane, outer),
                    }
                }));
            }
            Kernel::Split { channel } => {
                let (pixels, channels) = (nest.take_inner(), nest.take(channel));
                with_item!(item, T => nest.each(ends, &mut |[from, to]| {
                    let picture = Picture::new(from, to, channels, pixels.extent);
                    interleaved::split::<T>(level, picture, channels.extent);
                }));
            }
            Kernel::Merged { pixel } => {
                let (channels, pixels) = (nest.take_inner(), nest.take(pixel));
                with_item!(item, T => nest.each(ends, &mut |[from, to]| {
                    let picture = Picture { from, to, step: channels.steps[0], count: pixels.extent };
                    interleaved::merge::<T>(level, picture, channels.extent);
                }));
            }
            // Without registers that are shuffled, items and runs are moved sooner than bytes.
            Kernel::Shuffled { .. } if level == Level::Portable => {
                let apart = nest.inner().steps[0] != item as isize;
                let kernel = if apart { Kernel::Stepped } else { Kernel::Contiguous };
                move_items(kernel, item, nest, level, &Ends(ends), streaming);
            }
            Kernel::Shuffled { group } => {
                nest.take_inner();
                let (groups, outer) = (nest.take_inner(), nest.take_inner());
                nest.each(ends, &mut |[from, to]| {
                    shuffled::groups(level, from, to, outer, groups.extent, group)
                });
            }
            Kernel::Reversed | Kernel::Repeated | Kernel::Stepped => {
                let (inner, outer) = (nest.take_inner(), nest.take_inner());
                with_item!(item, T => nest.each(ends, &mut |[from, to]| {
                    stepped::step::<T, false>(level, from, to, outer, inner);
                }));
            }
            Kernel::Swapped => {
                let (inner, outer) = (nest.take_inner(), nest.take_inner());
                with_item!(item, T => nest.each(ends, &mut |[from, to]| {
                    stepped::step::<T, true>(level, from, to, outer, inner);
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests;
