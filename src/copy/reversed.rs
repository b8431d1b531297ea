//! Short runs in the opposite order, each as it is: the pixels of a picture that is flipped. (Single items that are
//! reversed are `stepped`, where the compiler makes shuffles of them.)

use super::level::{Level, per_level};
use super::plan::Axis;

/// Turns round `count` runs of `run` bytes for every turn of `outer`: the first is at `from`, the others lie before it, and
/// become those from `to` on.
///
/// # Safety
///
/// Both sides have the runs, and share no memory; a run has 1 to 8 bytes; the level is available.
pub(super) unsafe fn runs(
    level: Level,
    from: *const u8,
    to: *mut u8,
    outer: Axis<2>,
    count: usize,
    run: usize,
) {
    // SAFETY: promised by the caller.
    unsafe {
        match run {
            // The pixels of nearly all pictures: the compiler knows how long they are.
            3 => turn::<3>(level, from, to, outer, count, 3),
            _ => turn::<0>(level, from, to, outer, count, run),
        }
    }
}

per_level! {
    unsafe fn turn[const RUN: usize](
        from: *const u8,
        to: *mut u8,
        outer: Axis<2>,
        count: usize,
        run: usize,
    ) = plain, wide: shuffled;
}

/// # Safety
///
/// As for [`runs`]; `RUN` is `run`, or 0 where it is not known.
#[inline(always)]
unsafe fn plain<const RUN: usize>(from: *const u8, to: *mut u8, outer: Axis<2>, count: usize, run: usize) {
    let run = if RUN == 0 { run } else { RUN };
    for turn in 0..outer.extent as isize {
        // SAFETY: promised by the caller.
        unsafe {
            one_by_one(
                from.wrapping_offset(turn * outer.steps[0]),
                to.wrapping_offset(turn * outer.steps[1]),
                count,
                run,
            );
        }
    }
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
use plain as shuffled;

/// As many runs at a time as a register holds. What is too much is overwritten by the next, so the last are done one by
/// one.
///
/// # Safety
///
/// As for [`plain`]; the machine has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn shuffled<const RUN: usize>(from: *const u8, to: *mut u8, outer: Axis<2>, count: usize, run: usize) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm_shuffle_epi8, _mm_storeu_si128};
    let run = if RUN == 0 { run } else { RUN };
    let together = 16 / run;
    let bytes = together * run;
    // The runs in a register end with the first of them.
    let order: [u8; 16] = std::array::from_fn(|byte| match byte < bytes {
        true => (16 - run * (byte / run + 1) + byte % run) as u8,
        false => 0x80,
    });
    // Registers that lie within the runs on both sides.
    let whole = if count * run < 16 { 0 } else { (count * run - 16) / bytes + 1 };
    let done = whole * together;
    // SAFETY: promised by the caller. Register `index` ends `index * bytes` before the end of the first run in the source
    // and begins `index * bytes` after that of the destination; 16 bytes from there are within the runs.
    unsafe {
        let order = _mm_loadu_si128(order.as_ptr().cast());
        for turn in 0..outer.extent as isize {
            let from = from.wrapping_offset(turn * outer.steps[0]);
            let to = to.wrapping_offset(turn * outer.steps[1]);
            let end = from.wrapping_add(run).wrapping_sub(16);
            for index in 0..whole {
                let runs = _mm_shuffle_epi8(_mm_loadu_si128(end.wrapping_sub(index * bytes).cast()), order);
                _mm_storeu_si128(to.add(index * bytes).cast(), runs);
            }
            one_by_one(from.wrapping_sub(done * run), to.wrapping_add(done * run), count - done, run);
        }
    }
}
