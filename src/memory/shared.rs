//! The allocator that everybody shares who names none: a pool for large blocks, the host's allocator for small ones.

use super::allocator::{Allocator, Piece};
use super::host::Host;
use super::pool::{Limits, Pool};
use crate::error::Result;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

/// From this size on, in bytes, the shared pool serves: 1 MiB. Smaller blocks come from the global allocator, which
/// has a cache of its own.
pub const POOLED: usize = 1 << 20;

/// The share of the memory that the shared pool may keep cached, unless it is told otherwise.
const SHARE: usize = 8;

/// The pool that serves tensors of [`POOLED`] bytes and more for which no allocator is named. It caches at most an
/// eighth of the machine's (or the container's) memory; [`Pool::limit_cached`] changes that.
pub fn pool() -> &'static Pool {
    // Not a OnceLock: in a forked child it might be waiting for a thread that is not there.
    static POOL: AtomicPtr<Pool> = AtomicPtr::new(null_mut());
    let mut pool = POOL.load(Ordering::Acquire);
    if pool.is_null() {
        let limits = Limits { cached: cache_share(), ..Limits::default() };
        let new = Box::into_raw(Box::new(Pool::new(Arc::new(Host), limits)));
        pool = match POOL.compare_exchange(null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new,
            Err(first) => {
                // SAFETY: just made, and nobody has seen it.
                drop(unsafe { Box::from_raw(new) });
                first
            }
        };
    }
    // SAFETY: made above by some thread, and never freed.
    unsafe { &*pool }
}

/// How much a pool of the host's memory may keep cached, unless it is told otherwise.
pub(crate) fn cache_share() -> usize {
    memory() / SHARE
}

/// Bytes of memory that this process may use at most.
fn memory() -> usize {
    // SAFETY: questions.
    let (pages, page) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    let installed = usize::try_from(pages).unwrap_or(0).saturating_mul(usize::try_from(page).unwrap_or(0));
    // A container sees its own limit there; "max" is none.
    let limits = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = |path| std::fs::read_to_string(path).ok()?.trim().parse::<usize>().ok();
    limits.into_iter().filter_map(limit).fold(installed, usize::min)
}

/// The shared allocator itself.
pub(crate) struct Shared;

// SAFETY: each piece comes from one of two allocators, and `held` says which.
unsafe impl Allocator for Shared {
    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        if bytes < POOLED { Host.allocate(bytes, alignment) } else { pool().allocate(bytes, alignment) }
    }

    unsafe fn deallocate(&self, piece: Piece) {
        // SAFETY: a piece of the pool has `held`, one of the host's allocator has not.
        unsafe { if piece.held.is_some() { pool().deallocate(piece) } else { Host.deallocate(piece) } }
    }

    unsafe fn deallocate_after(&self, piece: Piece, fences: Vec<Arc<dyn crate::tensor::Fence>>) {
        // SAFETY: as above.
        unsafe {
            match piece.held {
                Some(_) => pool().deallocate_after(piece, fences),
                None => Host.deallocate_after(piece, fences),
            }
        }
    }

    fn pool(&self) -> Option<&Pool> {
        Some(pool())
    }
}
