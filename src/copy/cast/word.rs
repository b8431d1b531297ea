//! int64 to int32, as labels and indices take it. AVX-512 has an instruction for it, which the compiler takes, and which
//! stores half as much in a cycle as a permutation of two registers does.

use super::kernel::{NOTHING, finish};
use crate::copy::level::Level;
use std::arch::x86_64::*;

/// Converts a row of int64 to int32, without clamping. Whatever is noted, it is the numbers that changed.
///
/// # Safety
///
/// As for [`super::kernel::Row`].
pub(super) unsafe fn convert<const NOTES: u8>(
    level: Level,
    from: *const u8,
    to: *mut u8,
    count: usize,
) -> bool {
    // SAFETY: promised by the caller.
    unsafe {
        let done = match level {
            Level::Avx512 => permuted::<NOTES>(from.cast(), to.cast(), count),
            _ => (0, false),
        };
        finish::<i64, i32, false, NOTES>(level, from, to, count, done)
    }
}

/// How many elements were converted, and what was noted.
///
/// # Safety
///
/// So many elements on both sides, and the processor has these instructions.
#[target_feature(enable = "avx512f")]
unsafe fn permuted<const NOTES: u8>(from: *const i64, to: *mut i32, count: usize) -> (usize, bool) {
    let lower = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    // What fits is from 0 up to 2 to the 32 with this added.
    let middle = _mm512_set1_epi64(1 << 31);
    let mut moved = _mm512_setzero_si512();
    let whole = count / 16 * 16;
    for at in (0..whole).step_by(16) {
        // SAFETY: promised by the caller.
        let [low, high] = [0, 8].map(|part| unsafe { _mm512_loadu_si512(from.add(at + part).cast()) });
        let made = _mm512_permutex2var_epi32(low, lower, high);
        // SAFETY: promised by the caller.
        unsafe { _mm512_storeu_si512(to.add(at).cast(), made) };
        if NOTES != NOTHING {
            let both = [low, high].map(|value| _mm512_add_epi64(value, middle));
            moved = _mm512_or_si512(moved, _mm512_or_si512(both[0], both[1]));
        }
    }
    (whole, _mm512_test_epi64_mask(moved, _mm512_set1_epi64(-1 << 32)) != 0)
}
