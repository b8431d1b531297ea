//! `dlb_allocator_pool` and what pools are asked: memory that is kept for reuse.

use super::memory::{borrowed, check_size, dlb_allocator, give, size_from};
use super::status::{dlb_status, output, status};
use crate::error::{Allocation, Error, Result};
use crate::memory::{self, Allocator, Host, Limits, Pool, Stats};
use std::mem::offset_of;
use std::sync::Arc;

/// How much a pool may hold, in bytes. Set `struct_size` to `sizeof(dlb_pool_options)`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_pool_options {
    /// `sizeof(dlb_pool_options)`.
    pub struct_size: usize,
    /// In all, in use and cached: a request beyond it frees cached blocks. Where all of them are not enough it fails.
    /// 0 for any amount.
    pub limit: usize,
    /// Cached: what comes back beyond it makes the blocks go that were unused for longest. 0 for any amount; to cache
    /// nothing, call `dlb_allocator_limit(pool, 0)`.
    pub cached: usize,
}

/// What a pool has and did. Set `struct_size` to `sizeof(dlb_pool_stats)` before the call: no more than that is written. All
/// but `allocations` and `hits` are bytes.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_pool_stats {
    /// `sizeof(dlb_pool_stats)`.
    pub struct_size: usize,
    /// In use, as it was asked for.
    pub asked: usize,
    /// In use, as it was set aside: rounded up, or a cached block that is up to an eighth larger.
    pub held: usize,
    /// Kept for reuse.
    pub cached: usize,
    /// The largest `asked` so far.
    pub peak_asked: usize,
    /// The largest sum of `held` and `cached` so far.
    pub peak_held: usize,
    /// Requests that were granted.
    pub allocations: u64,
    /// Those of them that a cached block served.
    pub hits: u64,
    /// What it may have at most, in use and cached; `SIZE_MAX` for any amount.
    pub limit: usize,
    /// What it may cache at most, as `dlb_allocator_limit()` set it last; `SIZE_MAX` for any amount.
    pub cached_limit: usize,
}

/// The pool an argument stands for: the shared one where it is NULL.
///
/// # Safety
///
/// `allocator` is NULL or alive for `'a`.
unsafe fn pool_of<'a>(allocator: *const dlb_allocator) -> Result<&'a Pool> {
    // SAFETY: promised by the caller.
    match unsafe { borrowed(allocator) } {
        None => Ok(memory::pool()),
        Some(allocator) => allocator.pool().ok_or(Error::Allocation(Allocation::NotPooled)),
    }
}

/// A pool over another allocator: it gives blocks out again instead of freeing them, which spares the page faults of
/// fresh memory.
///
/// Sizes are rounded up to 512 bytes, from 1 MiB on to 4 KiB, and a cached block serves a request that it exceeds by at
/// most an eighth. `over` is retained; NULL stands for the host's allocator. `options` is borrowed and may be NULL: no
/// limits. The functions of `over` are called with no lock held and may use the pool; what they ask of it while they
/// free memory fails where it would have to wait for room that is being freed. In a forked child the pool starts
/// afresh: what was allocated before goes to `over` when it is given back.
///
/// `*out` is owned by the caller: `dlb_allocator_release()`; with the last reference and the last tensor the cache is
/// freed. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `out`, a `struct_size` that is too small).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allocator_pool(
    over: *mut dlb_allocator,
    options: *const dlb_pool_options,
    out: *mut *mut dlb_allocator,
) -> dlb_status {
    let make = || -> Result<Arc<dyn Allocator>> {
        let mut given = dlb_pool_options { struct_size: 0, limit: 0, cached: 0 };
        if !options.is_null() {
            // SAFETY: not NULL, so a struct that begins with its size.
            given = unsafe { *check_size(options, "dlb_pool_options")? };
        }
        let or_any = |bytes| if bytes == 0 { usize::MAX } else { bytes };
        let limits = Limits { held: or_any(given.limit), cached: or_any(given.cached) };
        // SAFETY: the caller gives NULL or a live allocator.
        let over = unsafe { borrowed(over) }.cloned().unwrap_or_else(|| Arc::new(Host));
        Ok(Arc::new(Pool::new(over, limits)))
    };
    // SAFETY: the caller gives NULL or a place to write to.
    unsafe { give(out, make) }
}

/// Frees what a pool caches, the blocks unused for longest first, until at most `keep` bytes are left. Returns how many
/// bytes were freed. NULL stands for the pool that all share; an allocator that is no pool has nothing to free: 0.
/// Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allocator_trim(allocator: *mut dlb_allocator, keep: usize) -> usize {
    // SAFETY: the caller gives NULL or a live allocator.
    crate::guard::guard(|| Ok(unsafe { pool_of(allocator) }?.trim(keep))).unwrap_or(0)
}

/// Changes how many bytes a pool may cache, and frees what is too much: 0 caches nothing, `SIZE_MAX` is any amount.
/// NULL stands for the pool that all share, which begins with an eighth of the memory of the machine or the container.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` where the allocator is no pool. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allocator_limit(allocator: *mut dlb_allocator, cached: usize) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live allocator.
        unsafe { pool_of(allocator) }?.limit_cached(cached);
        Ok(())
    })
}

/// What a pool has and did; NULL stands for the pool that all share, which serves tensors of 1 MiB and more.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `out`, a `struct_size` that is too small, an allocator that is no pool
/// and so counts nothing). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allocator_stats(
    allocator: *const dlb_allocator,
    out: *mut dlb_pool_stats,
) -> dlb_status {
    status(|| {
        let out = output(out)?;
        const FIRST_VERSION: usize = offset_of!(dlb_pool_stats, limit);
        // SAFETY: not NULL, so a struct that begins with its size.
        let struct_size = unsafe { size_from(out.cast(), "dlb_pool_stats", FIRST_VERSION) }?;
        // SAFETY: the caller gives NULL or a live allocator.
        let pool = unsafe { pool_of(allocator) }?;
        let Stats { asked, held, cached, peak_asked, peak_held, allocations, hits } = pool.stats();
        let limits = pool.limits();
        let stats = dlb_pool_stats {
            struct_size,
            asked,
            held,
            cached,
            peak_asked,
            peak_held,
            allocations,
            hits,
            limit: limits.held,
            cached_limit: limits.cached,
        };
        let bytes = struct_size.min(size_of::<dlb_pool_stats>());
        // SAFETY: the caller's struct is as large as it says; its size stays what it is.
        unsafe { out.cast::<u8>().copy_from_nonoverlapping((&raw const stats).cast(), bytes) };
        Ok(())
    })
}
