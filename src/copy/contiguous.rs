//! Runs that lie packed on both sides.

use super::level::Level;
use super::plan::Axis;
use super::stream;

/// Runs shorter than this are not worth a call of the C library's copy.
const SHORT: usize = 64;
/// Runs shorter than this are not worth going past the caches: their ends go the usual way.
const STREAMED: usize = 4096;

/// Copies `run` bytes for every turn of `axis`; `streaming` past the caches.
///
/// # Safety
///
/// Both sides have the runs, and share no memory; the level is available.
pub(super) unsafe fn runs(
    level: Level,
    from: *const u8,
    to: *mut u8,
    axis: Axis<2>,
    run: usize,
    streaming: bool,
) {
    let turn =
        |turn: isize| (from.wrapping_offset(turn * axis.steps[0]), to.wrapping_offset(turn * axis.steps[1]));
    let turns = (0..axis.extent as isize).map(turn);
    // SAFETY: promised by the caller, for every turn.
    unsafe {
        if streaming && run >= STREAMED {
            turns.for_each(|(from, to)| stream::copy(level, from, to, run));
            stream::finish();
        } else if run < SHORT {
            turns.for_each(|(from, to)| short(from, to, run));
        } else {
            turns.for_each(|(from, to)| to.copy_from_nonoverlapping(from, run));
        }
    }
}

/// Copies less than [`SHORT`] bytes: pieces that overlap where the run is no multiple of them.
///
/// # Safety
///
/// As for [`runs`].
#[inline(always)]
unsafe fn short(from: *const u8, to: *mut u8, run: usize) {
    macro_rules! both_ends {
        ($piece:ty) => {{
            let last = run - size_of::<$piece>();
            let ends =
                (from.cast::<$piece>().read_unaligned(), from.add(last).cast::<$piece>().read_unaligned());
            to.cast::<$piece>().write_unaligned(ends.0);
            to.add(last).cast::<$piece>().write_unaligned(ends.1);
        }};
    }
    // SAFETY: no piece reaches beyond the run, which is promised by the caller.
    unsafe {
        match run {
            16.. => {
                for at in (0..run - 15).step_by(16) {
                    to.add(at).cast::<u128>().write_unaligned(from.add(at).cast::<u128>().read_unaligned());
                }
                let (from, to) = (from.add(run - 16), to.add(run - 16));
                to.cast::<u128>().write_unaligned(from.cast::<u128>().read_unaligned());
            }
            8..16 => both_ends!(u64),
            4..8 => both_ends!(u32),
            2..4 => both_ends!(u16),
            1 => to.write(from.read()),
            0 => {}
        }
    }
}
