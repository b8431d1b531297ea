//! float32 to uint8, as pictures need it. The compiler packs 32 bits into 8 badly; and the processor's conversion has the
//! results that are asked for where there is no integer, which no Rust expression that vectorises has without a detour.

use super::kernel::{CHANGES, finish};
use crate::copy::level::Level;
use std::arch::x86_64::*;

/// Converts a row of float32 to uint8.
///
/// # Safety
///
/// As for [`super::kernel::Row`].
pub(super) unsafe fn convert<const SATURATE: bool, const NOTES: u8>(
    level: Level,
    from: *const u8,
    to: *mut u8,
    count: usize,
) -> bool {
    // SAFETY: promised by the caller.
    unsafe {
        let done = match level {
            Level::Portable => (0, false),
            _ => lines::<SATURATE, NOTES>(from.cast(), to, count),
        };
        finish::<f32, u8, SATURATE, NOTES>(level, from, to, count, done)
    }
}

/// How many elements were converted, and what was noted.
///
/// # Safety
///
/// So many elements on both sides, and the level is more than portable.
#[target_feature(enable = "avx2")]
unsafe fn lines<const SATURATE: bool, const NOTES: u8>(
    from: *const f32,
    to: *mut u8,
    count: usize,
) -> (usize, bool) {
    let mut noted = _mm256_setzero_ps();
    // Packing works in halves of a register, which this puts in order again.
    let order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    let whole = count / 32 * 32;
    for at in (0..whole).step_by(32) {
        let [a, b, c, d] = [0, 8, 16, 24].map(|part| {
            // SAFETY: promised by the caller.
            let value = unsafe { _mm256_loadu_ps(from.add(at + part)) };
            let number = if SATURATE {
                // Of a NaN the first gives its second operand, 0.
                let positive = _mm256_max_ps(value, _mm256_setzero_ps());
                _mm256_cvttps_epi32(_mm256_min_ps(positive, _mm256_set1_ps(255.0)))
            } else {
                _mm256_and_si256(_mm256_cvttps_epi32(value), _mm256_set1_epi32(255))
            };
            if NOTES == CHANGES {
                let lost = _mm256_cmp_ps::<_CMP_NEQ_UQ>(_mm256_cvtepi32_ps(number), value);
                noted = _mm256_or_ps(noted, lost);
            }
            number
        });
        let bytes = _mm256_packus_epi16(_mm256_packus_epi32(a, b), _mm256_packus_epi32(c, d));
        let bytes = _mm256_permutevar8x32_epi32(bytes, order);
        // SAFETY: promised by the caller.
        unsafe { _mm256_storeu_si256(to.add(at).cast(), bytes) }
    }
    (whole, _mm256_movemask_ps(noted) != 0)
}
