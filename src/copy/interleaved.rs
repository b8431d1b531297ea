//! Two to four channels, from pixels that hold them side by side to planes, and back.

use super::item::Item;
use super::level::{Level, per_level};
use super::plan::Axis;
use super::stream::LINE;

/// Pixels and planes: `count` pixels of `C` items each, and planes `step` bytes apart.
#[derive(Clone, Copy)]
pub(super) struct Picture {
    pub from: *const u8,
    pub to: *mut u8,
    pub step: isize,
    pub count: usize,
}

impl Picture {
    /// To be split: the loop over the `channels` is packed in the source, forwards or backwards.
    pub fn new(from: *const u8, to: *mut u8, channels: Axis<2>, count: usize) -> Picture {
        let (channels, from, to) = channels.forwards(from, to);
        Picture { from, to, step: channels.steps[1], count }
    }
}

/// Splits pixels into planes.
///
/// # Safety
///
/// Both sides are there, and share no memory; the level is available; `channels` is 2, 3 or 4.
pub(super) unsafe fn split<T: Item>(level: Level, picture: Picture, channels: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        match channels {
            2 => split_each::<T, 2>(level, picture),
            3 => split_each::<T, 3>(level, picture),
            _ => split_each::<T, 4>(level, picture),
        }
    }
}

/// Merges planes into pixels.
///
/// # Safety
///
/// As for [`split`].
pub(super) unsafe fn merge<T: Item>(level: Level, picture: Picture, channels: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        match channels {
            2 => merge_each::<T, 2>(level, picture),
            3 => merge_each::<T, 3>(level, picture),
            _ => merge_each::<T, 4>(level, picture),
        }
    }
}

/// Fewer pixels are moved as they come.
const MANY: usize = 512;

/// The pixels in two parts. The second is written, `bytes` for each from `to` on, to where a cache line begins: registers of
/// 64 bytes that cross from one line to the next take up to three times as long.
fn parts(to: *const u8, bytes: usize, count: usize) -> [std::ops::Range<usize>; 2] {
    let begins = |&pixel: &usize| to.wrapping_add(pixel * bytes).addr().is_multiple_of(LINE);
    let first = if count < MANY { None } else { (0..LINE).find(begins) };
    let first = first.unwrap_or(0);
    [0..first, first..count]
}

per_level! {
    unsafe fn split_each[T: Item, const C: usize](picture: Picture) = split_body;
}

per_level! {
    unsafe fn merge_each[T: Item, const C: usize](picture: Picture) = merge_body;
}

/// # Safety
///
/// As for [`split`].
#[inline(always)]
unsafe fn split_body<T: Item, const C: usize>(Picture { from, to, step, count }: Picture) {
    let from = from.cast::<T>();
    let planes: [*mut T; C] =
        std::array::from_fn(|channel| to.wrapping_offset(channel as isize * step).cast());
    for part in parts(to, size_of::<T>(), count) {
        for pixel in part {
            for (channel, plane) in planes.iter().enumerate() {
                // SAFETY: promised by the caller.
                unsafe { plane.add(pixel).write_unaligned(from.add(C * pixel + channel).read_unaligned()) }
            }
        }
    }
}

/// # Safety
///
/// As for [`merge`].
#[inline(always)]
unsafe fn merge_body<T: Item, const C: usize>(Picture { from, to, step, count }: Picture) {
    let to = to.cast::<T>();
    let planes: [*const T; C] =
        std::array::from_fn(|channel| from.wrapping_offset(channel as isize * step).cast());
    for part in parts(to.cast(), C * size_of::<T>(), count) {
        for pixel in part {
            for (channel, plane) in planes.iter().enumerate() {
                // SAFETY: promised by the caller.
                unsafe { to.add(C * pixel + channel).write_unaligned(plane.add(pixel).read_unaligned()) }
            }
        }
    }
}
