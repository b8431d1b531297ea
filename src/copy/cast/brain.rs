//! float32 to bfloat16. What the compiler makes of it packs 32 bits into 16 badly, and looks for NaN at every element: here
//! a piece in which there is one is done again. So is one with a subnormal number, which the processors that have an instruction
//! for it take for 0.

use super::half::in_pieces;
use super::kernel::{CHANGES, MISFITS, finish};
use super::small::{Bf16, Small};
use crate::copy::level::Level;
use std::arch::x86_64::*;
use std::mem::transmute;

/// Converts a row of float32 to bfloat16, without clamping.
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
    in_pieces(count, |at, count| unsafe {
        let (from, to) = (from.add(4 * at), to.add(2 * at));
        let whole = match level {
            Level::Avx512 if is_x86_feature_detected!("avx512bf16") => {
                native::<NOTES>(from.cast(), to.cast(), count)
            }
            _ => None,
        };
        let whole = whole.or_else(|| match level {
            Level::Portable => None,
            _ => narrow::<NOTES>(from.cast(), to.cast(), count),
        });
        finish::<f32, Bf16, false, NOTES>(level, from, to, count, whole.unwrap_or((0, false)))
    })
}

/// How many elements were narrowed, and what was noted; `None` where there is a NaN.
///
/// # Safety
///
/// So many elements on both sides, and the level is more than portable.
#[target_feature(enable = "avx2")]
unsafe fn narrow<const NOTES: u8>(from: *const f32, to: *mut u16, count: usize) -> Option<(usize, bool)> {
    let (mut nan, mut noted) = (_mm256_setzero_ps(), _mm256_setzero_ps());
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX));
    let (limit, infinity) = (_mm256_set1_ps(f32::from_bits(Bf16::BEYOND.0)), _mm256_set1_ps(f32::INFINITY));
    let whole = count / 16 * 16;
    for at in (0..whole).step_by(16) {
        let [low, high] = [0, 8].map(|part| {
            // SAFETY: promised by the caller.
            let value = unsafe { _mm256_loadu_ps(from.add(at + part)) };
            nan = _mm256_or_ps(nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
            let bits = _mm256_castps_si256(value);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
            let upper = _mm256_srli_epi32::<16>(rounded);
            if NOTES == CHANGES {
                let made = _mm256_castsi256_ps(_mm256_slli_epi32::<16>(upper));
                noted = _mm256_or_ps(noted, _mm256_cmp_ps::<_CMP_NEQ_UQ>(made, value));
            } else if NOTES == MISFITS {
                let size = _mm256_and_ps(value, magnitude);
                let (over, finite) =
                    (_mm256_cmp_ps::<_CMP_GE_OQ>(size, limit), _mm256_cmp_ps::<_CMP_LT_OQ>(size, infinity));
                noted = _mm256_or_ps(noted, _mm256_and_ps(over, finite));
            }
            upper
        });
        // Packing works in halves of a register, which the permutation puts in order again.
        let made = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high));
        // SAFETY: promised by the caller.
        unsafe { _mm256_storeu_si256(to.add(at).cast(), made) };
    }
    (_mm256_movemask_ps(nan) == 0).then_some((whole, _mm256_movemask_ps(noted) != 0))
}

/// The same; `None` where there is a NaN or a subnormal number.
///
/// # Safety
///
/// So many elements on both sides, and the processor has these instructions.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
unsafe fn native<const NOTES: u8>(from: *const f32, to: *mut u16, count: usize) -> Option<(usize, bool)> {
    /// Quiet NaNs, subnormal numbers, signalling NaNs.
    const ODD: i32 = 0x01 | 0x20 | 0x80;
    let (limit, infinity) = (_mm512_set1_ps(f32::from_bits(Bf16::BEYOND.0)), _mm512_set1_ps(f32::INFINITY));
    let (mut odd, mut noted) = (0, 0);
    let whole = count / 32 * 32;
    for at in (0..whole).step_by(32) {
        // SAFETY: promised by the caller.
        let [low, high] = [0, 16].map(|part| unsafe { _mm512_loadu_ps(from.add(at + part)) });
        // SAFETY: bits.
        let made = unsafe { transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) };
        // SAFETY: promised by the caller.
        unsafe { _mm512_storeu_si512(to.add(at).cast(), made) };
        let halves = [_mm512_castsi512_si256(made), _mm512_extracti64x4_epi64::<1>(made)];
        for (value, half) in [low, high].into_iter().zip(halves) {
            odd |= _mm512_fpclass_ps_mask::<ODD>(value);
            noted |= match NOTES {
                CHANGES => {
                    let again = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(half));
                    _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(_mm512_castsi512_ps(again), value)
                }
                MISFITS => {
                    let size = _mm512_abs_ps(value);
                    let over = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(size, limit);
                    _mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(over, size, infinity)
                }
                _ => 0,
            };
        }
    }
    (odd == 0).then_some((whole, noted != 0))
}
