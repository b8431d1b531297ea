//! What kernels move: 1, 2, 4, 8 or 16 bytes at a time, whatever they mean.

/// An item of so many bytes, and the small transposes of it that registers can do.
///
/// # Safety
///
/// Every bit pattern is a value, and there is no padding.
pub(super) unsafe trait Item: Copy + Send + Sync + 'static {
    /// Columns and rows of a block: 16 bytes a row.
    const SIDE: usize;

    /// The bytes in the other order.
    fn swapped(self) -> Self;

    /// Transposes `SIDE` by `SIDE` items: row `i` of the source, at `from + i * from_step`, becomes column `i`; the rows
    /// of the destination are `to_step` apart.
    ///
    /// # Safety
    ///
    /// Both sides have these 16 bytes a row, and share none.
    unsafe fn block(from: *const u8, from_step: isize, to: *mut u8, to_step: isize);
}

/// The block, item by item: where there are no registers for it.
///
/// # Safety
///
/// As for [`Item::block`].
#[inline(always)]
#[cfg_attr(target_arch = "x86_64", allow(dead_code))]
unsafe fn plain_block<T: Item>(from: *const u8, from_step: isize, to: *mut u8, to_step: isize) {
    for row in 0..T::SIDE as isize {
        for column in 0..T::SIDE as isize {
            // SAFETY: promised by the caller.
            unsafe {
                let value = from.offset(row * from_step).cast::<T>().offset(column).read_unaligned();
                to.offset(column * to_step).cast::<T>().offset(row).write_unaligned(value);
            }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
use plain_block as block;

#[cfg(target_arch = "x86_64")]
use vectors::block;

/// SSE2, which every x86-64 has. Wider registers gain nothing: memory is the limit.
#[cfg(target_arch = "x86_64")]
mod vectors {
    use super::Item;
    use std::arch::x86_64::{
        __m128i, _mm_loadu_si128, _mm_setzero_si128, _mm_storeu_si128, _mm_unpackhi_epi8, _mm_unpackhi_epi16,
        _mm_unpackhi_epi32, _mm_unpackhi_epi64, _mm_unpacklo_epi8, _mm_unpacklo_epi16, _mm_unpacklo_epi32,
        _mm_unpacklo_epi64,
    };

    /// Lines up the items of `a` and `b` in turn: the lower halves, and the upper ones.
    #[inline(always)]
    fn zip<T>(a: __m128i, b: __m128i) -> (__m128i, __m128i) {
        // SAFETY: every x86-64 has these.
        unsafe {
            match size_of::<T>() {
                1 => (_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)),
                2 => (_mm_unpacklo_epi16(a, b), _mm_unpackhi_epi16(a, b)),
                4 => (_mm_unpacklo_epi32(a, b), _mm_unpackhi_epi32(a, b)),
                _ => (_mm_unpacklo_epi64(a, b), _mm_unpackhi_epi64(a, b)),
            }
        }
    }

    /// Zipping row `i` with row `i + SIDE / 2`, as often as `SIDE` halves, is the transpose.
    ///
    /// # Safety
    ///
    /// As for [`Item::block`].
    #[inline(always)]
    pub(super) unsafe fn block<T: Item>(from: *const u8, from_step: isize, to: *mut u8, to_step: isize) {
        // SAFETY: promised by the caller, for the loads and stores; a block has at most 16 rows.
        unsafe {
            let mut rows = [_mm_setzero_si128(); 16];
            for (index, row) in rows.iter_mut().enumerate().take(T::SIDE) {
                *row = _mm_loadu_si128(from.offset(index as isize * from_step).cast());
            }
            for _ in 0..T::SIDE.trailing_zeros() {
                let before = rows;
                for index in 0..T::SIDE / 2 {
                    (rows[2 * index], rows[2 * index + 1]) =
                        zip::<T>(before[index], before[index + T::SIDE / 2]);
                }
            }
            for (index, &row) in rows.iter().enumerate().take(T::SIDE) {
                _mm_storeu_si128(to.offset(index as isize * to_step).cast(), row);
            }
        }
    }
}

macro_rules! item {
    ($($type:ty),*) => {$(
        // SAFETY: an integer.
        unsafe impl Item for $type {
            const SIDE: usize = 16 / size_of::<$type>();

            #[inline(always)]
            fn swapped(self) -> Self {
                self.swap_bytes()
            }

            #[inline(always)]
            unsafe fn block(from: *const u8, from_step: isize, to: *mut u8, to_step: isize) {
                // SAFETY: promised by the caller.
                unsafe { block::<$type>(from, from_step, to, to_step) }
            }
        }
    )*};
}
item!(u8, u16, u32, u64, u128);

/// Calls `$body` with the type `$T` of `$bytes` bytes, one of 1, 2, 4, 8 and 16.
macro_rules! with_item {
    ($bytes:expr, $T:ident => $body:expr) => {
        match $bytes {
            1 => {
                type $T = u8;
                $body
            }
            2 => {
                type $T = u16;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            8 => {
                type $T = u64;
                $body
            }
            _ => {
                type $T = u128;
                $body
            }
        }
    };
}
pub(super) use with_item;
