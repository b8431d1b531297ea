//! Stores past the caches, for what is too large to stay in them: no line is read before it is written.

use super::level::per_level;
use crate::dlpack::DLDevice;
use crate::tensor::device;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a cache line.
pub(super) const LINE: usize = 64;
/// Runs shorter than this are not worth going past the caches: their ends go the usual way.
pub(super) const STREAMED: usize = 4096;

/// Where the machine does not say how large its last-level cache is.
const USUAL_CACHE: usize = 32 << 20;

/// More than any processor's share of the last-level cache. A virtual machine is told of the whole cache, and has a few of
/// the processors that fill it.
const SHARE: usize = 16 << 20;

/// Bytes of the last-level cache that this process has in reach.
pub(super) fn cache_bytes() -> usize {
    static BYTES: AtomicUsize = AtomicUsize::new(0);
    match BYTES.load(Ordering::Relaxed) {
        0 => {
            let processors = std::thread::available_parallelism().map_or(1, usize::from);
            let bytes = told_cache().unwrap_or(USUAL_CACHE).min(processors * SHARE);
            BYTES.store(bytes, Ordering::Relaxed);
            bytes
        }
        bytes => bytes,
    }
}

/// What Linux says of the first processor: the largest of its caches. Not `sysconf`, which adds up those of all groups of
/// cores on AMD's processors.
fn told_cache() -> Option<usize> {
    let size = |index| {
        let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/size");
        cache_size(&std::fs::read_to_string(path).ok()?)
    };
    (0..8).map_while(size).max()
}

/// Reads "32768K".
fn cache_size(text: &str) -> Option<usize> {
    let kib: usize = text.trim().strip_suffix('K')?.parse().ok()?;
    (kib != 0).then_some(kib << 10)
}

/// Smaller pieces for a device are not worth going past the caches.
const FOR_DEVICE: usize = 64 << 10;

/// As how much `bytes` count that are written to memory of `device`. A device that reads pinned memory waits for what lies in
/// the caches of processors, more than twice as long as for what does not (measured on an H200): everything goes past them.
pub(super) fn weight(bytes: usize, device: DLDevice) -> usize {
    if device::is_pinned(device) && bytes >= FOR_DEVICE { usize::MAX } else { bytes }
}

/// Makes what was stored past the caches visible in order, as other stores are.
#[inline(always)]
pub(super) fn finish() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 has it.
    unsafe {
        std::arch::x86_64::_mm_sfence()
    }
}

/// Has the caches fetch what is going to be read. The processor does so by itself, but not across pages.
#[inline(always)]
pub(super) fn fetch(from: *const u8, bytes: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..bytes).step_by(LINE) {
        // SAFETY: every x86-64 has it, and nothing happens where there is no memory.
        unsafe {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(at).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, bytes);
}

/// Stores 16 bytes past the caches.
///
/// # Safety
///
/// Both sides have them; `to` is a multiple of 16.
#[inline(always)]
pub(super) unsafe fn store16(from: *const u8, to: *mut u8) {
    // SAFETY: promised by the caller; every x86-64 has both.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_mm_loadu_si128, _mm_stream_si128};
        _mm_stream_si128(to.cast(), _mm_loadu_si128(from.cast()));
    }
    // SAFETY: promised by the caller.
    #[cfg(not(target_arch = "x86_64"))]
    unsafe {
        to.copy_from_nonoverlapping(from, 16);
    }
}

per_level! {
    /// Copies past the caches, but for the ends, which share lines with others. [`finish`] comes after it.
    pub(super) unsafe fn copy[](from: *const u8, to: *mut u8, bytes: usize) = copy_body;
}

/// # Safety
///
/// Both sides have so many bytes, and share none.
#[inline(always)]
unsafe fn copy_body(from: *const u8, to: *mut u8, bytes: usize) {
    let before = to.align_offset(LINE).min(bytes);
    let whole = (bytes - before) / LINE * LINE;
    // SAFETY: promised by the caller; lines of the destination begin at multiples of `LINE`.
    unsafe {
        to.copy_from_nonoverlapping(from, before);
        for at in (before..before + whole).step_by(LINE) {
            for part in [0, 16, 32, 48] {
                store16(from.add(at + part), to.add(at + part));
            }
        }
        let after = before + whole;
        to.add(after).copy_from_nonoverlapping(from.add(after), bytes - after);
    }
}

/// Copies a short run, with `STREAMING` past the caches; [`finish`] comes after it.
///
/// # Safety
///
/// As for [`copy`].
#[inline(always)]
pub(super) unsafe fn put<const STREAMING: bool>(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: promised by the caller.
    unsafe { if STREAMING { copy_body(from, to, bytes) } else { to.copy_from_nonoverlapping(from, bytes) } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_cache_is_read_in_kib() {
        assert_eq!(cache_size("32768K\n"), Some(32 << 20));
        for text in ["", "0K", "32", "32M", "K"] {
            assert_eq!(cache_size(text), None, "{text:?}");
        }
        assert!(cache_bytes() >= 1 << 10);
    }
}
