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

/// As many runs at a time as a register holds. What is too much is overwritten by the next; the last are a register that
/// overlaps the one before, of which no byte is too much.
///
/// # Safety
///
/// As for [`plain`]; the machine has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn shuffled<const RUN: usize>(from: *const u8, to: *mut u8, outer: Axis<2>, count: usize, run: usize) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm_shuffle_epi8, _mm_storel_epi64, _mm_storeu_si128};
    let run = if RUN == 0 { run } else { RUN };
    let together = 16 / run;
    let bytes = together * run;
    if count * run < 16 {
        // SAFETY: promised by the caller.
        return unsafe { plain::<RUN>(from, to, outer, count, run) };
    }
    // Where a byte of the result is, in a register that ends with the first run, and in one that begins with the last.
    let place = |byte: usize, runs: usize| (runs - run * (byte / run + 1) + byte % run) as u8;
    let first: [u8; 16] = std::array::from_fn(|byte| if byte < bytes { place(byte, 16) } else { 0x80 });
    let last: [u8; 16] = std::array::from_fn(|byte| if byte < bytes { place(byte, bytes) } else { 0x80 });
    // The same but for the bytes before the last eight.
    let ending: [u8; 16] = std::array::from_fn(|byte| if byte < 8 { last[bytes - 8 + byte] } else { 0x80 });
    // Registers that lie within the runs on both sides.
    let whole = (count * run - 16) / bytes + 1;
    // SAFETY: promised by the caller. Register `index` ends `index * bytes` before the end of the first run in the source
    // and begins `index * bytes` after that of the destination; 16 bytes from there are within the runs. So are 16 from the
    // last run on, and the last `bytes` of the destination, of which there are 8 to 16: `together` runs of 1 to 8.
    unsafe {
        let [first, last, ending] = [first, last, ending].map(|order| _mm_loadu_si128(order.as_ptr().cast()));
        for turn in 0..outer.extent as isize {
            let from = from.wrapping_offset(turn * outer.steps[0]);
            let to = to.wrapping_offset(turn * outer.steps[1]);
            let end = from.wrapping_add(run).wrapping_sub(16);
            for index in 0..whole {
                let runs = _mm_shuffle_epi8(_mm_loadu_si128(end.wrapping_sub(index * bytes).cast()), first);
                _mm_storeu_si128(to.add(index * bytes).cast(), runs);
            }
            let (begin, to) = (from.wrapping_sub((count - 1) * run), to.add((count - together) * run));
            let runs = _mm_loadu_si128(begin.cast());
            _mm_storel_epi64(to.cast(), _mm_shuffle_epi8(runs, last));
            _mm_storel_epi64(to.add(bytes - 8).cast(), _mm_shuffle_epi8(runs, ending));
        }
    }
}
