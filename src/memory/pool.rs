//! The pool: gives blocks out again instead of freeing them, which spares the page faults of fresh memory.

use super::allocator::{Allocator, Piece, layout, placed, try_box};
use super::cache::{Answer, Cache, Held, Request, Stats, Waiting};
use crate::dlpack::DLDevice;
use crate::error::{Allocation, Error, Kind, Result};
use crate::fork;
use crate::tensor::Fence;
use std::cell::Cell;
use std::fmt;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much a pool may hold. By default as much as the allocator below gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// In all, in use and cached: a request beyond it frees cached blocks. Where all of them are not enough it fails.
    pub held: usize,
    /// Cached: what comes back beyond it makes the oldest blocks go.
    pub cached: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { held: usize::MAX, cached: usize::MAX }
    }
}

/// Caches blocks of another allocator.
///
/// A request is rounded up to 512 bytes, from 1 MiB on to 4 KiB, and served by the smallest cached block that is at
/// most an eighth larger than asked. Any thread may use it. The allocator below is never called with the pool's lock
/// held. In a forked child the pool starts afresh: its cache and its numbers are empty, and what was allocated before
/// goes to the allocator below when it is given back.
pub struct Pool {
    below: Arc<dyn Allocator>,
    limit: usize,
    cached: AtomicUsize,
    /// Never NULL. Replaced in a forked child, since a thread that is not there may hold the lock.
    state: AtomicPtr<State>,
}

thread_local! {
    /// Whether this thread is inside a `deallocate` below a pool. If that asks a pool for memory it must not wait for
    /// room: the block on its way out may be its own.
    static FREEING: Cell<bool> = const { Cell::new(false) };
}

struct State {
    generation: u64,
    cache: Mutex<Cache>,
    /// The parent's, or NULL. Kept as long as the pool, for another thread may be looking at it.
    before: *mut State,
}

impl State {
    fn new(before: *mut State) -> *mut State {
        Box::into_raw(Box::new(State { generation: fork::generation(), cache: Mutex::default(), before }))
    }

    /// The lock has nothing to poison: no foreign code runs under it.
    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests of 1 MiB and more are rounded up to whole pages, smaller ones to 512 bytes.
fn rounded(bytes: usize) -> Result<usize> {
    let granule = if bytes < 1 << 20 { 512 } else { 4096 };
    bytes.max(1).checked_next_multiple_of(granule).ok_or(Error::OutOfMemory { bytes })
}

impl Pool {
    /// A pool over `below`, whose memory it gives.
    pub fn new(below: Arc<dyn Allocator>, limits: Limits) -> Self {
        fork::watch();
        Pool {
            below,
            limit: limits.held,
            cached: AtomicUsize::new(limits.cached),
            state: AtomicPtr::new(State::new(null_mut())),
        }
    }

    /// Frees cached blocks, those unused for longest first, until at most `keep` bytes are cached; how many bytes
    /// that were. Blocks with unfinished fences stay.
    pub fn trim(&self, keep: usize) -> usize {
        let waiting = self.state().lock().unpark();
        self.settle(waiting);
        // What other threads give back meanwhile is not followed: that might never end.
        let excess = self.stats().cached.saturating_sub(keep);
        let mut freed = 0;
        while freed < excess {
            let Some(held) = self.state().lock().evict_over(keep) else { break };
            freed += held.piece.bytes;
            self.let_go(*held);
        }
        freed
    }

    /// Changes how much may be cached, and frees what is too much.
    pub fn limit_cached(&self, bytes: usize) {
        self.cached.store(bytes, Ordering::Relaxed);
        self.trim(bytes);
    }

    /// What it may have and cache at most, as it is now: `usize::MAX` is any amount.
    pub fn limits(&self) -> Limits {
        Limits { held: self.limit, cached: self.cached.load(Ordering::Relaxed) }
    }

    /// What it has and did in this process.
    pub fn stats(&self) -> Stats {
        self.state().lock().stats
    }

    /// The state of this process.
    fn state(&self) -> &State {
        loop {
            let state = self.state.load(Ordering::Acquire);
            // SAFETY: never NULL, and freed only with the pool.
            let current = unsafe { &*state };
            if current.generation == fork::generation() {
                return current;
            }
            self.renew(state);
        }
    }

    /// The first use in a forked child: a new state. What was cached is freed, so that the child does not keep pages
    /// alive that its parent writes to; it stays where a thread of the parent was at work on the cache. Blocks with
    /// fences stay too: what they wait for happens in the parent.
    #[cold]
    fn renew(&self, old: *mut State) {
        let new = State::new(old);
        if self.state.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: just made, and nobody has seen it.
            return drop(unsafe { Box::from_raw(new) });
        }
        // SAFETY: states live as long as the pool at least.
        let old = unsafe { &*old };
        let cached = old.cache.try_lock().map(|mut cache| cache.drain()).unwrap_or_default();
        for held in cached {
            // SAFETY: a block of the allocator below, which nobody has.
            unsafe { self.below.deallocate(held.piece) };
        }
    }

    /// A new block from below, for which room was set aside. `None` where the cache was freed for want of memory, so
    /// that another attempt may succeed.
    fn fresh(&self, request: Request, generation: u64) -> Result<Option<Box<Held>>> {
        let Request { asked, size, alignment, .. } = request;
        let made = placed(&*self.below, size, alignment).and_then(|piece| {
            try_box(Held { piece, asked, generation, since: 0 }).map_err(|(error, held)| {
                // SAFETY: it came from below just now.
                unsafe { self.below.deallocate(held.piece) };
                error
            })
        });
        // The allocator's own code may have forked.
        let state = self.state();
        if state.generation == generation {
            let mut cache = state.lock();
            match made {
                Ok(_) => cache.granted(),
                Err(_) => cache.end(asked, size),
            }
        }
        match made {
            Err(error) if error.kind() == Kind::OutOfMemory && self.trim(0) != 0 => Ok(None),
            made => made.map(Some),
        }
    }

    /// Keeps a block that is no longer in use, within what may be cached.
    fn recycle(&self, held: Box<Held>) {
        let state = self.state();
        if held.generation != state.generation {
            // SAFETY: allocated below, before this process was forked.
            return unsafe { self.below.deallocate(held.piece) };
        }
        let (most, kept, mut excess) = {
            let mut cache = state.lock();
            // Under the lock: either this sees a new limit, or the trim that comes with it sees the block.
            let most = self.cached.load(Ordering::Relaxed);
            cache.end(held.asked, held.piece.bytes);
            let refused = cache.keep(held, most);
            (most, refused.is_none(), refused.or_else(|| cache.evict_over(most)))
        };
        while let Some(held) = excess {
            self.let_go(*held);
            excess = if kept { self.state().lock().evict_over(most) } else { None };
        }
    }

    /// Frees a block that is leaving the cache.
    fn let_go(&self, Held { piece, generation, .. }: Held) {
        let size = piece.bytes;
        let outer = FREEING.replace(true);
        // SAFETY: a block of the allocator below, which nobody has.
        unsafe { self.below.deallocate(piece) };
        FREEING.set(outer);
        let state = self.state();
        if state.generation == generation {
            state.lock().left(size);
        }
    }

    /// Makes those blocks free whose fences are done by now.
    fn settle(&self, waiting: Vec<Waiting>) {
        waiting.into_iter().for_each(|entry| self.settle_one(entry));
    }

    fn settle_one(&self, entry: Waiting) {
        if entry.fences.iter().all(|fence| fence.done()) {
            self.recycle(entry.held)
        } else {
            self.park(entry)
        }
    }

    /// Sets a block apart that is no longer in use but for what its fences stand for.
    fn park(&self, entry: Waiting) {
        let state = self.state();
        let back =
            if entry.held.generation == state.generation { state.lock().park(entry) } else { Some(entry) };
        if let Some(entry) = back {
            entry.fences.iter().for_each(|fence| fence.wait());
            self.recycle(entry.held);
        }
    }
}

// SAFETY: what is given out came from the allocator below, and is given out once until it comes back.
unsafe impl Allocator for Pool {
    fn device(&self) -> DLDevice {
        self.below.device()
    }

    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        layout(bytes, alignment)?;
        let size = rounded(bytes)?;
        let most = size.max(bytes.saturating_add(bytes / 8));
        let request = Request { asked: bytes, size, most, alignment };
        let mut settled = false;
        loop {
            let state = self.state();
            let answer = state.lock().request(request, self.limit, settled);
            let held = match answer {
                Answer::Hit(held) => Some(held),
                Answer::Reserved => self.fresh(request, state.generation)?,
                Answer::Settle(waiting) => {
                    settled = true;
                    self.settle(waiting);
                    None
                }
                Answer::Evict(held) => {
                    self.let_go(*held);
                    None
                }
                Answer::Soon if !FREEING.get() => {
                    std::thread::yield_now();
                    None
                }
                Answer::Soon | Answer::Full => {
                    let (limit, Stats { held, cached, .. }) = (self.limit, self.stats());
                    return Err(Error::Allocation(Allocation::Full { bytes, held, cached, limit }));
                }
            };
            if let Some(mut held) = held {
                // Known of new memory only: when it comes back it has been used.
                let zeroed = std::mem::take(&mut held.piece.zeroed);
                let data = held.piece.data;
                return Ok(Piece { zeroed, held: Some(held), ..Piece::new(data, bytes, alignment) });
            }
        }
    }

    unsafe fn deallocate(&self, piece: Piece) {
        // Every piece of a pool has it.
        if let Some(held) = piece.held {
            self.recycle(held);
        }
    }

    unsafe fn deallocate_after(&self, piece: Piece, fences: Vec<Arc<dyn Fence>>) {
        let Some(held) = piece.held else { return };
        self.settle_one(Waiting { held, fences });
    }

    fn pool(&self) -> Option<&Pool> {
        Some(self)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("limits", &self.limits()).field("stats", &self.stats()).finish()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let waiting = self.state().lock().unpark();
        for Waiting { held, fences } in waiting {
            fences.iter().for_each(|fence| fence.wait());
            self.recycle(held);
        }
        self.trim(0);
        let mut next = *self.state.get_mut();
        // SAFETY: made by `State::new`, and nobody uses the pool any more.
        while let Some(state) = unsafe { next.as_ref() } {
            let (this, idle) = (next, state.cache.try_lock().is_ok());
            next = state.before;
            // What a thread of the parent was changing is left as it is.
            if idle {
                // SAFETY: as above; each is freed once.
                drop(unsafe { Box::from_raw(this) });
            }
        }
    }
}
