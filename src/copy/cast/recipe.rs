//! How blocks of one dtype become blocks of another: gathered, read into a wider type, converted, scattered, each step
//! only where it is needed.

use super::kernel::{Notes, Row, convert_row};
use super::scalar::Scalar;
use crate::copy::item::with_item;
use crate::copy::level::Level;
use crate::copy::stream;
use std::mem::MaybeUninit;
use std::ptr::from_mut;

/// Elements of a block that needs a buffer: few enough that all buffers stay in the first-level cache.
pub(super) const BLOCK: usize = 512;
/// Bytes of the source in a block that needs none: little to look at again where something was lost.
const DIRECT: usize = 4096;
/// Bytes of the source in a block whose results go past the caches: so short that reading and writing overlap (measured).
const STREAMED: usize = 1024;
/// So far ahead of them the source is fetched.
const AHEAD: usize = 2 * STREAMED;
/// Bytes of what is made in a block that needs a buffer for it.
const MADE: usize = BLOCK * size_of::<u128>();

/// Where what is gathered, widened and made waits, by turns.
pub(in crate::copy) struct Buffers {
    gathered: MaybeUninit<[u128; BLOCK]>,
    widened: MaybeUninit<[u64; 2 * BLOCK]>,
    made: MaybeUninit<[u128; BLOCK]>,
}

impl Buffers {
    pub fn new() -> Self {
        Buffers {
            gathered: MaybeUninit::uninit(),
            widened: MaybeUninit::uninit(),
            made: MaybeUninit::uninit(),
        }
    }
}

/// How complex numbers are met: as pairs, or with one part on one side only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Parts {
    /// Neither is complex.
    None,
    /// Both are.
    Pairs,
    /// The source is, and its real part is taken.
    Drop,
    /// The destination is, and its imaginary part is 0.
    Add,
}

/// What is the same for all blocks of a cast.
pub(in crate::copy) struct Recipe {
    source: Scalar,
    target: Scalar,
    level: Level,
    notes: Notes,
    parts: Parts,
    /// Into the wider type; `None` where the source is one.
    load: Option<Row>,
    /// From there; `None` where that is the target already.
    convert: Option<Row>,
    /// Whether packed results go past the caches; [`stream::finish`] comes after the last of them.
    pub streaming: bool,
}

impl Recipe {
    pub fn new(level: Level, source: Scalar, target: Scalar, saturate: bool, notes: Notes) -> Self {
        let parts = match (source.is_complex(), target.is_complex()) {
            (false, false) => Parts::None,
            (true, true) => Parts::Pairs,
            (true, false) => Parts::Drop,
            (false, true) => Parts::Add,
        };
        let wide = source.part().wide();
        let convert = convert_row(wide, target.part(), saturate, notes);
        let load = (wide != source.part() || convert.is_none()).then(|| source.part().load());
        Recipe { source, target, level, notes, parts, load, convert, streaming: false }
    }

    /// Bytes that are read at each step of the source.
    fn taken(&self) -> usize {
        if self.parts == Parts::Drop { self.source.part().bytes() } else { self.source.bytes() }
    }

    /// How many elements to give [`Recipe::block`] at most.
    pub fn block_size(&self, steps: [isize; 2]) -> usize {
        let plain = steps == [self.source.bytes() as isize, self.target.bytes() as isize]
            && matches!(self.parts, Parts::None | Parts::Pairs)
            && (self.load.is_none() || self.convert.is_none());
        match (plain, self.notes) {
            (false, _) => BLOCK,
            (true, _) if self.streaming => (STREAMED / self.source.bytes()).min(MADE / self.target.bytes()),
            (true, Notes::Nothing) => usize::MAX,
            (true, _) => DIRECT / self.source.bytes(),
        }
    }

    /// How many elements to give it first, at most, so that the later blocks begin where a cache line does.
    pub fn first_size(&self, to: *const u8, size: usize) -> usize {
        match to.align_offset(stream::LINE) / self.target.bytes() {
            lead if self.streaming && lead != 0 => lead.min(size),
            _ => size,
        }
    }

    /// Casts so many elements that lie `steps` bytes apart; whether what was to be noted happened.
    ///
    /// # Safety
    ///
    /// The elements of the first address are there, and so is room for those of the second, in memory of its own. They
    /// are no more than [`Recipe::block_size`] says. The machine has the level.
    pub unsafe fn block(
        &self,
        [from, to]: [*mut u8; 2],
        steps: [isize; 2],
        count: usize,
        buffers: &mut Buffers,
    ) -> bool {
        // Once each: whoever borrowed the buffers again would have them alone.
        let gathered: *mut u8 = from_mut(&mut buffers.gathered).cast();
        let widened: *mut u8 = from_mut(&mut buffers.widened).cast();
        let made: *mut u8 = from_mut(&mut buffers.made).cast();
        let (taken, bytes) = (self.taken(), self.target.bytes());
        let mut at = from.cast_const();
        let direct = steps[1] == bytes as isize && matches!(self.parts, Parts::None | Parts::Pairs);
        let out = if direct && !self.streaming { to } else { made };
        if self.streaming && steps[0] == taken as isize {
            stream::fetch(at.wrapping_add(AHEAD), count * taken);
        }
        // SAFETY: the caller's elements, and buffers with room for a block of any type.
        unsafe {
            if steps[0] != taken as isize {
                gather(taken, at, steps[0], gathered, count);
                at = gathered;
            }
            let parts = if self.parts == Parts::Pairs { 2 * count } else { count };
            let mut noted = self.rows(at, out, parts, widened);
            if self.parts == Parts::Drop {
                noted |= self.imaginary([from, made], steps[0], count, [gathered, widened]);
            }
            let mut at = out.cast_const();
            if self.parts == Parts::Add {
                pair(self.target.part().bytes(), at, gathered, count);
                at = gathered;
            }
            if !direct {
                scatter(bytes, at, to, steps[1], count);
            } else if self.streaming {
                stream::copy(self.level, at, to, count * bytes);
            }
            noted
        }
    }

    /// # Safety
    ///
    /// As for [`Row`]; there is a buffer for a block where two rows are needed.
    unsafe fn rows(&self, from: *const u8, to: *mut u8, count: usize, widened: *mut u8) -> bool {
        // SAFETY: promised by the caller.
        unsafe {
            match (self.load, self.convert) {
                (Some(load), Some(convert)) => {
                    load(self.level, from, widened, count);
                    convert(self.level, widened, to, count)
                }
                (Some(row), None) | (None, Some(row)) => row(self.level, from, to, count),
                (None, None) => unreachable!("`new` sets one of them"),
            }
        }
    }

    /// Looks at the imaginary parts that are dropped: true where one is not 0. A bool is true where either part is.
    ///
    /// # Safety
    ///
    /// As for [`Recipe::block`]; `made` are the booleans, and each of the buffers has room for a block.
    unsafe fn imaginary(
        &self,
        [from, made]: [*mut u8; 2],
        step: isize,
        count: usize,
        [gathered, truths]: [*mut u8; 2],
    ) -> bool {
        if self.notes == Notes::Nothing && self.target != Scalar::Bool {
            return false;
        }
        let part = self.source.part();
        let truth = convert_row(part, Scalar::Bool, false, Notes::Nothing).unwrap_or_else(|| part.load());
        let mut any = 0;
        // SAFETY: the second half of each element, the buffers of a block, and as many booleans.
        unsafe {
            gather(part.bytes(), from.add(part.bytes()), step, gathered, count);
            truth(self.level, gathered, truths, count);
            for index in 0..count {
                let nonzero = truths.add(index).read();
                any |= nonzero;
                if self.target == Scalar::Bool {
                    *made.add(index) |= nonzero;
                }
            }
        }
        any != 0 && self.notes == Notes::Changes
    }
}

/// # Safety
///
/// So many elements lie `step` bytes apart at `from`, and there is room for them at `to`.
unsafe fn gather(bytes: usize, from: *const u8, step: isize, to: *mut u8, count: usize) {
    with_item!(bytes, Item => for index in 0..count {
        // SAFETY: promised by the caller.
        unsafe {
            let item = from.offset(index as isize * step).cast::<Item>().read_unaligned();
            to.cast::<Item>().add(index).write_unaligned(item);
        }
    })
}

/// # Safety
///
/// So many elements lie at `from`, and there is room for them `step` bytes apart at `to`.
unsafe fn scatter(bytes: usize, from: *const u8, to: *mut u8, step: isize, count: usize) {
    with_item!(bytes, Item => for index in 0..count {
        // SAFETY: promised by the caller.
        unsafe {
            let item = from.cast::<Item>().add(index).read_unaligned();
            to.offset(index as isize * step).cast::<Item>().write_unaligned(item);
        }
    })
}

/// Puts a 0 behind each element.
///
/// # Safety
///
/// So many elements lie at `from`, and there is room for twice as many at `to`.
unsafe fn pair(bytes: usize, from: *const u8, to: *mut u8, count: usize) {
    with_item!(bytes, Item => for index in 0..count {
        // SAFETY: promised by the caller.
        unsafe {
            let item = from.cast::<Item>().add(index).read_unaligned();
            to.cast::<Item>().add(2 * index).write_unaligned(item);
            to.cast::<Item>().add(2 * index + 1).write_unaligned(0);
        }
    })
}
