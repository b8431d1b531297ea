//! The host's memory: small blocks from the global allocator, large ones as mappings of huge pages.

use super::allocator::{Allocator, Piece, layout};
use crate::error::{Error, Result};
use std::alloc::{Layout, alloc, dealloc};
use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};

/// The size of a huge page, and from where on blocks are made of them. Measured: touching a fresh block of 2 MiB
/// takes a fifth of the time that 4 KiB pages take, and below it nothing is gained.
const HUGE: usize = 2 << 20;

/// Ordinary host memory. Exactly as large as asked for, rounded up to a page of 4 KiB where it is a mapping: the last
/// part of a large block, which fills no huge page, is made of small ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Host;

// SAFETY: both ways give memory that is the caller's alone until it is given back.
unsafe impl Allocator for Host {
    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        let layout = layout(bytes, alignment)?;
        let mapped = layout.size() >= HUGE;
        // SAFETY: the layout's size is not 0.
        let data = if mapped { map(layout) } else { unsafe { alloc(layout) }.cast() };
        match NonNull::new(data) {
            Some(data) => Ok(Piece { zeroed: mapped, ..Piece::new(data, bytes, alignment) }),
            None => Err(Error::OutOfMemory { bytes }),
        }
    }

    unsafe fn deallocate(&self, piece: Piece) {
        // It was checked when the piece was made.
        let Ok(layout) = layout(piece.bytes, piece.alignment) else { return };
        // SAFETY: the caller gives back what `allocate` made with these numbers, in the way they decide.
        unsafe {
            if layout.size() < HUGE {
                dealloc(piece.data.as_ptr().cast(), layout);
            } else {
                libc::munmap(piece.data.as_ptr(), layout.size());
            }
        }
    }
}

/// A mapping that begins at a multiple of the alignment and of a huge page, or NULL.
fn map(layout: Layout) -> *mut c_void {
    let page = page_size();
    let alignment = layout.align().max(HUGE);
    let Some(bytes) = layout.size().checked_next_multiple_of(page) else { return null_mut() };
    // Any run of this length holds one that is aligned.
    let Some(reserved) = bytes.checked_add(alignment - page) else { return null_mut() };
    let (access, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping, wherever there is room.
    let base = unsafe { libc::mmap(null_mut(), reserved, access, kind, -1, 0) };
    if base == libc::MAP_FAILED {
        return null_mut();
    }
    let before = base.addr().next_multiple_of(alignment) - base.addr();
    let data = base.wrapping_byte_add(before);
    let after = reserved - before - bytes;
    // SAFETY: both ends are whole pages of the new mapping, which nobody knows yet.
    unsafe {
        if before != 0 {
            libc::munmap(base, before);
        }
        if after != 0 {
            libc::munmap(data.wrapping_byte_add(bytes), after);
        }
        // A kernel without huge pages says no, and small ones serve as well.
        #[cfg(target_os = "linux")]
        libc::madvise(data, bytes, libc::MADV_HUGEPAGE);
    }
    data
}

/// The system's page: 4 KiB nearly everywhere.
fn page_size() -> usize {
    // SAFETY: a question.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
