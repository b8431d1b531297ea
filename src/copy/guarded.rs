//! For tests of kernels: memory between pages that may not be touched, and numbers that look random.

use std::ptr::null_mut;

/// Which guard the memory lies directly beside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Left,
    Right,
}

/// So many bytes, at the beginning or the end of pages of their own, with a guard on both sides.
pub(crate) struct Guarded {
    pages: *mut u8,
    mapped: usize,
    start: usize,
    bytes: usize,
}

const PAGE: usize = 4096;

impl Guarded {
    pub fn new(bytes: usize, side: Side) -> Guarded {
        let room = bytes.next_multiple_of(PAGE);
        let mapped = room + 2 * PAGE;
        // SAFETY: a new mapping, whose inner pages are opened before anybody knows it.
        let pages = unsafe {
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
            let pages = libc::mmap(null_mut(), mapped, libc::PROT_NONE, flags, -1, 0);
            assert_ne!(pages, libc::MAP_FAILED);
            let inner = pages.wrapping_byte_add(PAGE);
            if room != 0 {
                assert_eq!(libc::mprotect(inner, room, libc::PROT_READ | libc::PROT_WRITE), 0);
            }
            pages
        };
        let start = PAGE + if side == Side::Left { 0 } else { room - bytes };
        Guarded { pages: pages.cast(), mapped, start, bytes }
    }

    /// The address of byte `offset`.
    pub fn at(&self, offset: usize) -> *mut u8 {
        self.pages.wrapping_add(self.start + offset)
    }

    #[allow(clippy::mut_from_ref, reason = "a test uses one of them at a time")]
    pub fn bytes(&self) -> &mut [u8] {
        // SAFETY: the memory is there until this goes, and one test has it.
        unsafe { std::slice::from_raw_parts_mut(self.at(0), self.bytes) }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`.
        unsafe { libc::munmap(self.pages.cast(), self.mapped) };
    }
}

/// xorshift64*: the same numbers every time.
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.next() as usize % limit
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
