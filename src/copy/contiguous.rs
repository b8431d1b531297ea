//! Runs that lie packed on both sides.

use super::level::{Level, per_level};
use super::plan::Axis;
use super::stream::{self, STREAMED};

/// Runs shorter than this are not worth a call of the C library's copy.
const SHORT: usize = 512;
/// The same where a piece takes two registers, while that copy uses what the processor has (measured).
const SHORT_PORTABLE: usize = 128;

/// Copies `run` bytes for every turn of two loops, the outer one first; `streaming` past the caches.
///
/// # Safety
///
/// Both sides have the runs, and share no memory; the level is available.
pub(super) unsafe fn runs(
    level: Level,
    from: *const u8,
    to: *mut u8,
    loops: [Axis<2>; 2],
    run: usize,
    streaming: bool,
) {
    let least = if level == Level::Portable { SHORT_PORTABLE } else { SHORT };
    // SAFETY: promised by the caller, for every turn.
    unsafe {
        if streaming && run >= STREAMED {
            each(from, to, loops, |from, to| stream::copy(level, from, to, run));
            stream::finish();
        } else if run < least {
            short(level, from, to, loops, run);
        } else {
            each(from, to, loops, |from, to| long(level, from, to, run));
        }
    }
}

/// Calls `copy` with where each turn of the loops is.
#[inline(always)]
fn each(from: *const u8, to: *mut u8, [outer, inner]: [Axis<2>; 2], copy: impl Fn(*const u8, *mut u8)) {
    let step = |(from, to): (*const u8, *mut u8), axis: Axis<2>, turn: usize| {
        let [read, write] = axis.steps.map(|step| turn as isize * step);
        (from.wrapping_offset(read), to.wrapping_offset(write))
    };
    for turn in 0..outer.extent {
        let row = step((from, to), outer, turn);
        for turn in 0..inner.extent {
            let (from, to) = step(row, inner, turn);
            copy(from, to);
        }
    }
}

per_level! {
    /// Copies runs of less than [`SHORT`] bytes.
    unsafe fn short[](from: *const u8, to: *mut u8, loops: [Axis<2>; 2], run: usize) = short_body;
}

/// # Safety
///
/// As for [`runs`].
#[inline(always)]
unsafe fn short_body(from: *const u8, to: *mut u8, loops: [Axis<2>; 2], run: usize) {
    // SAFETY: promised by the caller; no piece is longer than a run.
    unsafe {
        match run {
            32.. => pieces::<32>(from, to, loops, run),
            16.. => pieces::<16>(from, to, loops, run),
            8.. => pieces::<8>(from, to, loops, run),
            4.. => pieces::<4>(from, to, loops, run),
            2.. => pieces::<2>(from, to, loops, run),
            _ => pieces::<1>(from, to, loops, run),
        }
    }
}

/// Copies runs in pieces of so many bytes, of which the last two overlap where a run is no multiple of them.
///
/// # Safety
///
/// As for [`runs`]; a run has as many bytes as a piece, or none.
#[inline(always)]
unsafe fn pieces<const PIECE: usize>(from: *const u8, to: *mut u8, loops: [Axis<2>; 2], run: usize) {
    let whole = run / PIECE * PIECE;
    each(from, to, loops, |from, to| {
        // SAFETY: promised by the caller; pieces lie within the run.
        unsafe {
            for at in (0..whole).step_by(PIECE) {
                to.add(at).copy_from_nonoverlapping(from.add(at), PIECE);
            }
            if whole != run {
                let last = run - PIECE;
                to.add(last).copy_from_nonoverlapping(from.add(last), PIECE);
            }
        }
    });
}

/// From so many bytes on plain vectors are faster than the string instructions that the C library takes (measured).
const LONG: usize = 2048;

/// Copies runs that are not short.
///
/// # Safety
///
/// As for [`runs`].
#[inline(always)]
unsafe fn long(level: Level, from: *const u8, to: *mut u8, run: usize) {
    // SAFETY: promised by the caller.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 if run >= LONG => vectors::copy(from, to, run),
            _ => to.copy_from_nonoverlapping(from, run),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use std::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_store_si256};

    const REGISTER: usize = size_of::<__m256i>();
    /// Bytes of one turn.
    const TURN: usize = 4 * REGISTER;

    /// # Safety
    ///
    /// Both sides have so many bytes, at least a turn, and share none; the processor has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn copy(from: *const u8, to: *mut u8, bytes: usize) {
        let head = to.align_offset(REGISTER);
        let turns = (bytes - head) / TURN;
        let tail = head + turns * TURN;
        // SAFETY: within both sides, and the registers are stored where they are aligned.
        unsafe {
            to.copy_from_nonoverlapping(from, head);
            for turn in 0..turns {
                let (from, to) = (from.add(head + turn * TURN).cast::<__m256i>(), to.add(head + turn * TURN));
                let values: [__m256i; 4] = [0, 1, 2, 3].map(|each| _mm256_loadu_si256(from.add(each)));
                for (each, value) in values.into_iter().enumerate() {
                    _mm256_store_si256(to.cast::<__m256i>().add(each), value);
                }
            }
            to.add(tail).copy_from_nonoverlapping(from.add(tail), bytes - tail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::guarded::{Guarded, Random, Side};
    use crate::copy::level::on_every_level;

    #[test]
    fn runs_of_any_length_and_alignment_are_copied_and_nothing_beside_them() {
        let once = [Axis { extent: 1, steps: [0; 2] }; 2];
        on_every_level(|level| {
            for run in (1..70).chain([
                SHORT_PORTABLE - 1,
                SHORT_PORTABLE,
                480,
                SHORT - 1,
                SHORT,
                LONG - 1,
                LONG,
                LONG + 1,
                LONG + 95,
                3 * LONG + 127,
                9001,
            ]) {
                for (side, odd) in [(Side::Left, 0), (Side::Right, 0), (Side::Left, 1), (Side::Left, 31)] {
                    let (source, target) = (Guarded::new(run, side), Guarded::new(run + odd, side));
                    let mut random = Random::new(run as u64);
                    source.bytes().iter_mut().for_each(|byte| *byte = random.next() as u8);
                    for streaming in [false, true] {
                        target.bytes().fill(0x5a);
                        // SAFETY: the memory of both, which nobody else has; the level is available.
                        unsafe { runs(level, source.at(0), target.at(odd), once, run, streaming) };
                        assert_eq!(target.bytes()[odd..], *source.bytes(), "{level:?} {run} {odd}");
                        assert!(target.bytes()[..odd].iter().all(|&byte| byte == 0x5a));
                    }
                }
            }
        });
    }
}
