//! Short runs in the opposite order, each as it is: the pixels of a picture that is flipped. (Single items that are
//! reversed are `stepped`, where the compiler makes shuffles of them.)

use super::level::{Level, per_level};

/// Turns round `count` runs of `run` bytes: the first is at `from`, the others lie before it, and become those from `to`
/// on.
///
/// # Safety
///
/// Both sides have the runs, and share no memory; a run has 1 to 8 bytes; the level is available.
pub(super) unsafe fn runs(level: Level, from: *const u8, to: *mut u8, count: usize, run: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        match run {
            // The pixels of nearly all pictures: the compiler knows how long they are.
            3 => turn(level, from, to, count, 3),
            _ => turn(level, from, to, count, run),
        }
    }
}

per_level! {
    unsafe fn turn[](from: *const u8, to: *mut u8, count: usize, run: usize) = one_by_one, wide: shuffled;
}

/// # Safety
///
/// As for [`runs`].
#[inline(always)]
unsafe fn one_by_one(from: *const u8, to: *mut u8, count: usize, run: usize) {
    for index in 0..count {
        for byte in 0..run {
            // SAFETY: promised by the caller.
            unsafe { to.add(index * run + byte).write(from.wrapping_sub(index * run).add(byte).read()) }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
use one_by_one as shuffled;

/// As many runs at a time as a register holds. What is too much is overwritten by the next, so the last are done one by
/// one.
///
/// # Safety
///
/// As for [`runs`]; the machine has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn shuffled(from: *const u8, to: *mut u8, count: usize, run: usize) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm_shuffle_epi8, _mm_storeu_si128};
    let together = 16 / run;
    let bytes = together * run;
    // The runs in a register end with the first of them.
    let order: [u8; 16] = std::array::from_fn(|byte| match byte < bytes {
        true => (16 - run * (byte / run + 1) + byte % run) as u8,
        false => 0x80,
    });
    // A register before the first and behind the last must be the runs' own.
    let whole = (count * run).saturating_sub(16) / bytes;
    // SAFETY: promised by the caller. Register `index` ends `index * bytes` before the end of the first run in the source
    // and begins `index * bytes` after that of the destination; 16 bytes from there are within the runs.
    unsafe {
        let order = _mm_loadu_si128(order.as_ptr().cast());
        for index in 0..whole {
            let from = from.wrapping_add(run).wrapping_sub(16 + index * bytes);
            let runs = _mm_shuffle_epi8(_mm_loadu_si128(from.cast()), order);
            _mm_storeu_si128(to.add(index * bytes).cast(), runs);
        }
        let done = whole * together;
        one_by_one(from.wrapping_sub(done * run), to.add(done * run), count - done, run);
    }
}
