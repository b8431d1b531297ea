//! Pixels of 1 to 4 channels, uint8, to planes of float32, each channel with a scale and a bias of its own. `C` is how many
//! channels are wanted, and `P` the bytes from one pixel to the next: 4 for the first three channels of RGBA.
//!
//! Multiplied, rounded, added, rounded: never fused, so that every instruction set gives the bits that NumPy gives.

use crate::copy::level::Level;

/// So many pixels, and where the plane of each channel begins.
#[derive(Clone, Copy)]
pub(super) struct Pixels<const C: usize> {
    pub from: *const u8,
    pub planes: [*mut f32; C],
    pub count: usize,
}

/// What is done to the values of each channel: `x * scale + bias`.
#[derive(Clone, Copy)]
pub(super) struct Affine<const C: usize> {
    pub scale: [f32; C],
    pub bias: [f32; C],
}

/// Splits and scales.
///
/// # Safety
///
/// The pixels are there, and so is room for them in each plane; they share no memory; the level is available.
pub(super) unsafe fn split<const C: usize, const P: usize>(
    level: Level,
    pixels: Pixels<C>,
    affine: Affine<C>,
) {
    // SAFETY: promised by the caller.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 | Level::Avx512 => vectors::split::<C, P>(pixels, affine),
            _ => plain::<C, P>(pixels, affine, 0),
        }
    }
}

/// Pixel by pixel, from the `first` on.
///
/// # Safety
///
/// As for [`split`].
#[inline(always)]
unsafe fn plain<const C: usize, const P: usize>(
    Pixels { from, planes, count }: Pixels<C>,
    Affine { scale, bias }: Affine<C>,
    first: usize,
) {
    for pixel in first..count {
        for channel in 0..C {
            // SAFETY: promised by the caller.
            unsafe {
                let value = f32::from(from.add(P * pixel + channel).read());
                let made = value * scale[channel] + bias[channel];
                planes[channel].add(pixel).write_unaligned(made);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod vectors {
    use super::{Affine, Pixels, plain};
    use std::arch::x86_64::{
        __m128i, __m256i, _mm_loadu_si128, _mm256_add_ps, _mm256_cvtepi32_ps, _mm256_loadu_si256,
        _mm256_mul_ps, _mm256_set_m128i, _mm256_set1_ps, _mm256_shuffle_epi8, _mm256_storeu_ps,
    };

    /// Pixels in a register: four in each half.
    const STEP: usize = 8;

    /// Bytes of a register half that are no element become 0.
    const NOTHING: u8 = 0x80;

    /// Where the bytes of a channel go: each to the low end of four.
    const fn places<const P: usize>(channel: usize) -> [u8; 32] {
        let mut places = [NOTHING; 32];
        let mut pixel = 0;
        while pixel < STEP {
            places[4 * pixel] = (P * (pixel % 4) + channel) as u8;
            pixel += 1;
        }
        places
    }

    /// # Safety
    ///
    /// As for [`super::split`]; the processor has AVX2.
    #[target_feature(enable = "avx2")]
    pub(super) unsafe fn split<const C: usize, const P: usize>(pixels: Pixels<C>, affine: Affine<C>) {
        let Pixels { from, planes, count } = pixels;
        let load = |at: *const u8| {
            // SAFETY: 16 bytes that are there: see the loop.
            unsafe { _mm_loadu_si128(at.cast::<__m128i>()) }
        };
        let places: [__m256i; C] = std::array::from_fn(|channel| {
            let places = places::<P>(channel);
            // SAFETY: 32 bytes.
            unsafe { _mm256_loadu_si256(places.as_ptr().cast()) }
        });
        let scale = affine.scale.map(|scale| _mm256_set1_ps(scale));
        let bias = affine.bias.map(|bias| _mm256_set1_ps(bias));
        let mut pixel = 0;
        // The second half is read up to 16 bytes from its first pixel on.
        while P * (pixel + 4) + 16 + P - C <= P * count {
            let low = load(from.wrapping_add(P * pixel));
            let both = _mm256_set_m128i(load(from.wrapping_add(P * (pixel + 4))), low);
            for channel in 0..C {
                let value = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(both, places[channel]));
                let made = _mm256_add_ps(_mm256_mul_ps(value, scale[channel]), bias[channel]);
                // SAFETY: eight of the plane's.
                unsafe { _mm256_storeu_ps(planes[channel].add(pixel), made) }
            }
            pixel += STEP;
        }
        // SAFETY: promised by the caller.
        unsafe { plain::<C, P>(pixels, affine, pixel) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::guarded::{Guarded, Random, Side};
    use crate::copy::level::on_every_level;

    fn check<const C: usize, const P: usize>(level: Level, count: usize, side: Side, odd: usize) {
        let mut random = Random::new((count * C) as u64);
        let source = Guarded::new((P * count).saturating_sub(P - C), side);
        source.bytes().iter_mut().for_each(|byte| *byte = random.next() as u8);
        let target = Guarded::new(4 * C * count + odd, side);
        let affine = Affine {
            scale: std::array::from_fn(|channel| 0.017 + channel as f32 / 7.0),
            bias: std::array::from_fn(|channel| -1.3 * channel as f32 - 0.1),
        };
        let planes = std::array::from_fn(|channel| target.at(4 * channel * count + odd).cast());
        // SAFETY: the memory of both, which nobody else has; the level is available.
        unsafe { split::<C, P>(level, Pixels { from: source.at(0), planes, count }, affine) };
        for channel in 0..C {
            for pixel in 0..count {
                // SAFETY: within the target.
                let made =
                    unsafe { target.at(4 * (channel * count + pixel) + odd).cast::<f32>().read_unaligned() };
                let value = f32::from(source.bytes()[P * pixel + channel]);
                let product = std::hint::black_box(value * affine.scale[channel]);
                let expected = product + affine.bias[channel];
                assert_eq!(
                    made.to_bits(),
                    expected.to_bits(),
                    "{level:?} {C} of {P} {count} {channel} {pixel}"
                );
            }
        }
    }

    #[test]
    fn every_level_gives_the_bits_of_multiply_then_add() {
        on_every_level(|level| {
            for count in (0..40).chain([63, 64, 65, 255, 1000]) {
                for (side, odd) in [(Side::Left, 0), (Side::Right, 0), (Side::Right, 1)] {
                    check::<1, 1>(level, count, side, odd);
                    check::<2, 2>(level, count, side, odd);
                    check::<3, 3>(level, count, side, odd);
                    check::<3, 4>(level, count, side, odd);
                    check::<4, 4>(level, count, side, odd);
                }
            }
        });
    }
}
