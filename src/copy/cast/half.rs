//! float16 with the instructions that most processors have for it. They mark NaNs as quiet, which the conversions that are
//! free of branches do not: a piece in which there is a NaN is done again with those, so that every level gives the same
//! bits.

use super::kernel::{CHANGES, MISFITS, finish, load_body};
use super::small::{F16, Small};
use crate::copy::level::Level;
use std::arch::x86_64::*;

/// Elements between two looks for NaNs.
const PIECE: usize = 1024;

/// Reads a row of float16 into float32.
///
/// # Safety
///
/// As for [`super::kernel::Row`].
pub(super) unsafe fn load(level: Level, from: *const u8, to: *mut u8, count: usize) -> bool {
    // SAFETY: promised by the caller.
    in_pieces(count, |at, count| unsafe {
        let (from, to) = (from.add(2 * at), to.add(4 * at));
        let whole = match level {
            Level::Avx512 => widen_16(from.cast(), to.cast(), count),
            Level::Avx2 => widen_8(from.cast(), to.cast(), count),
            Level::Portable => None,
        };
        let done = whole.unwrap_or(0);
        load_body::<F16>(from.add(2 * done), to.add(4 * done), count - done)
    })
}

/// Converts a row of float32 to float16.
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
    in_pieces(count, |at, count| unsafe {
        let (from, to) = (from.add(4 * at), to.add(2 * at));
        let whole = match level {
            Level::Avx512 => narrow_16::<SATURATE, NOTES>(from.cast(), to.cast(), count),
            Level::Avx2 => narrow_8::<SATURATE, NOTES>(from.cast(), to.cast(), count),
            Level::Portable => None,
        };
        finish::<f32, F16, SATURATE, NOTES>(level, from, to, count, whole.unwrap_or((0, false)))
    })
}

/// Whether `each`, called with where each piece begins and how long it is, ever says yes.
pub(super) fn in_pieces(count: usize, mut each: impl FnMut(usize, usize) -> bool) -> bool {
    (0..count).step_by(PIECE).fold(false, |noted, at| each(at, PIECE.min(count - at)) | noted)
}

/// How many elements were widened; `None` where there is a NaN.
///
/// # Safety
///
/// So many elements on both sides, and the processor has these instructions.
#[target_feature(enable = "avx2,f16c")]
unsafe fn widen_8(from: *const u16, to: *mut f32, count: usize) -> Option<usize> {
    let mut nan = _mm256_setzero_ps();
    let whole = count / 8 * 8;
    for at in (0..whole).step_by(8) {
        // SAFETY: promised by the caller.
        unsafe {
            let wide = _mm256_cvtph_ps(_mm_loadu_si128(from.add(at).cast()));
            nan = _mm256_or_ps(nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(wide, wide));
            _mm256_storeu_ps(to.add(at), wide);
        }
    }
    (_mm256_movemask_ps(nan) == 0).then_some(whole)
}

/// How many elements were narrowed, and what was noted; `None` where there is a NaN.
///
/// # Safety
///
/// As for [`widen_8`].
#[target_feature(enable = "avx2,f16c")]
unsafe fn narrow_8<const SATURATE: bool, const NOTES: u8>(
    from: *const f32,
    to: *mut u16,
    count: usize,
) -> Option<(usize, bool)> {
    let (mut nan, mut noted) = (_mm256_setzero_ps(), _mm256_setzero_ps());
    let magnitude = _mm256_castsi256_ps(_mm256_set1_epi32(i32::MAX));
    let (limit, infinity) = (_mm256_set1_ps(f32::from_bits(F16::BEYOND.0)), _mm256_set1_ps(f32::INFINITY));
    let whole = count / 8 * 8;
    for at in (0..whole).step_by(8) {
        // SAFETY: promised by the caller.
        unsafe {
            let value = _mm256_loadu_ps(from.add(at));
            nan = _mm256_or_ps(nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(value, value));
            let size = _mm256_and_ps(value, magnitude);
            let beyond = _mm256_and_ps(
                _mm256_cmp_ps::<_CMP_GE_OQ>(size, limit),
                _mm256_cmp_ps::<_CMP_LT_OQ>(size, infinity),
            );
            let clamped = if SATURATE {
                let largest = _mm256_or_ps(_mm256_andnot_ps(magnitude, value), _mm256_set1_ps(F16::LARGEST));
                _mm256_blendv_ps(value, largest, beyond)
            } else {
                value
            };
            let made = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(clamped);
            _mm_storeu_si128(to.add(at).cast(), made);
            let lost = match NOTES {
                CHANGES => _mm256_cmp_ps::<_CMP_NEQ_UQ>(_mm256_cvtph_ps(made), value),
                MISFITS => beyond,
                _ => continue,
            };
            noted = _mm256_or_ps(noted, lost);
        }
    }
    (_mm256_movemask_ps(nan) == 0).then_some((whole, _mm256_movemask_ps(noted) != 0))
}

/// [`widen_8`] in registers of twice the width.
///
/// # Safety
///
/// As for [`widen_8`].
#[target_feature(enable = "avx512f")]
unsafe fn widen_16(from: *const u16, to: *mut f32, count: usize) -> Option<usize> {
    let mut nan = 0;
    let whole = count / 16 * 16;
    for at in (0..whole).step_by(16) {
        // SAFETY: promised by the caller.
        unsafe {
            let wide = _mm512_cvtph_ps(_mm256_loadu_si256(from.add(at).cast()));
            nan |= _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(wide, wide);
            _mm512_storeu_ps(to.add(at), wide);
        }
    }
    (nan == 0).then_some(whole)
}

/// [`narrow_8`] in registers of twice the width.
///
/// # Safety
///
/// As for [`widen_8`].
#[target_feature(enable = "avx512f,avx512dq")]
unsafe fn narrow_16<const SATURATE: bool, const NOTES: u8>(
    from: *const f32,
    to: *mut u16,
    count: usize,
) -> Option<(usize, bool)> {
    let (mut nan, mut noted) = (0, 0);
    let sign = _mm512_set1_ps(-0.0);
    let (limit, infinity) = (_mm512_set1_ps(f32::from_bits(F16::BEYOND.0)), _mm512_set1_ps(f32::INFINITY));
    let whole = count / 16 * 16;
    for at in (0..whole).step_by(16) {
        // SAFETY: promised by the caller.
        let value = unsafe { _mm512_loadu_ps(from.add(at)) };
        nan |= _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(value, value);
        let size = _mm512_abs_ps(value);
        let over = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(size, limit);
        let beyond = _mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(over, size, infinity);
        let clamped = if SATURATE {
            let largest = _mm512_or_ps(_mm512_and_ps(sign, value), _mm512_set1_ps(F16::LARGEST));
            _mm512_mask_mov_ps(value, beyond, largest)
        } else {
            value
        };
        let made = _mm512_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(clamped);
        // SAFETY: promised by the caller.
        unsafe { _mm256_storeu_si256(to.add(at).cast(), made) };
        noted |= match NOTES {
            CHANGES => _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>(_mm512_cvtph_ps(made), value),
            MISFITS => beyond,
            _ => 0,
        };
    }
    (nan == 0).then_some((whole, noted != 0))
}
