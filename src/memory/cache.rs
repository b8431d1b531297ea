//! What a pool knows: blocks that wait for somebody, and the numbers. Pure bookkeeping, done under the pool's lock: no
//! memory is allocated or freed by it but its own lists, and no foreign code runs.

use super::allocator::Piece;
use crate::tensor::Fence;
use std::sync::Arc;

/// A block of the allocator below, as the pool remembers it from its allocation until it goes back there.
pub(super) struct Held {
    /// As the allocator below gave it.
    pub piece: Piece,
    /// What its present user asked for.
    pub asked: usize,
    /// The process it was allocated in.
    pub generation: u64,
    /// When it was given back last.
    pub since: u64,
}

/// A block whose last users are not finished.
pub(super) struct Waiting {
    pub held: Box<Held>,
    pub fences: Vec<Arc<dyn Fence>>,
}

/// What a pool did and has, in bytes; `memory_stats()` in Python.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// In use, as it was asked for.
    pub asked: usize,
    /// In use, as it was set aside: rounded up to the granule, or a cached block that is a little larger.
    pub held: usize,
    /// Kept for reuse, blocks with unfinished fences included.
    pub cached: usize,
    /// The largest `asked` so far.
    pub peak_asked: usize,
    /// The largest sum of `held` and `cached` so far: what was taken from the allocator below.
    pub peak_held: usize,
    /// Requests that were granted.
    pub allocations: u64,
    /// Those of them that a cached block served.
    pub hits: u64,
}

/// The answer to a request.
pub(super) enum Answer {
    /// A cached block serves.
    Hit(Box<Held>),
    /// None does; look whether one of these does by now, then ask again.
    Settle(Vec<Waiting>),
    /// The room is set aside: allocate the block.
    Reserved,
    /// Free this block, then ask again.
    Evict(Box<Held>),
    /// Another thread is freeing a block just now: ask again.
    Soon,
    /// There is no room, and nothing to free.
    Full,
}

/// A request: what was asked for, and between which sizes the blocks are that serve it.
#[derive(Clone, Copy)]
pub(super) struct Request {
    pub asked: usize,
    pub size: usize,
    pub most: usize,
    pub alignment: usize,
}

#[derive(Default)]
#[allow(
    clippy::vec_box,
    reason = "the box goes out with the block and comes back with it: no allocation on the way"
)]
pub(super) struct Cache {
    /// Free blocks by size, those of one size from the newest to the oldest.
    free: Vec<Box<Held>>,
    waiting: Vec<Waiting>,
    pub stats: Stats,
    /// Bytes on their way back to the allocator below.
    leaving: usize,
    clock: u64,
}

impl Cache {
    /// A free block that serves and whose address fits: the smallest, and of those the newest.
    fn take(&mut self, request: Request) -> Option<Box<Held>> {
        let first = self.free.partition_point(|held| held.piece.bytes < request.size);
        let mut candidates = self.free[first..].iter().take_while(|held| held.piece.bytes <= request.most);
        let index =
            candidates.position(|held| held.piece.data.addr().get().is_multiple_of(request.alignment))?;
        let held = self.free.remove(first + index);
        self.stats.cached -= held.piece.bytes;
        Some(held)
    }

    /// Serves a request from what is cached, or sets its size aside under `limit`. `settled`: those that wait have been
    /// looked at.
    pub fn request(&mut self, request: Request, limit: usize, settled: bool) -> Answer {
        let Request { asked, size, .. } = request;
        if let Some(mut held) = self.take(request) {
            held.asked = asked;
            self.begin(asked, held.piece.bytes);
            self.stats.hits += 1;
            self.granted();
            return Answer::Hit(held);
        }
        if !settled && !self.waiting.is_empty() {
            return Answer::Settle(self.unpark());
        }
        if size <= limit && self.taken() <= limit - size {
            self.begin(asked, size);
            return Answer::Reserved;
        }
        // Where the whole cache is not enough, none of it goes.
        let enough = size <= limit && self.stats.held <= limit - size;
        match self.evict_over(if enough { 0 } else { usize::MAX }) {
            Some(held) => Answer::Evict(held),
            None if self.leaving != 0 => Answer::Soon,
            None => Answer::Full,
        }
    }

    /// What the allocator below has given.
    fn taken(&self) -> usize {
        self.stats.held + self.stats.cached + self.leaving
    }

    /// `asked` bytes are in use now, of `size`.
    fn begin(&mut self, asked: usize, size: usize) {
        self.stats.asked += asked;
        self.stats.held += size;
    }

    /// What was begun is there.
    pub fn granted(&mut self) {
        self.stats.allocations += 1;
        self.stats.peak_asked = self.stats.peak_asked.max(self.stats.asked);
        self.stats.peak_held = self.stats.peak_held.max(self.taken());
    }

    /// `asked` bytes are no longer in use, or could not be had.
    pub fn end(&mut self, asked: usize, size: usize) {
        self.stats.asked -= asked;
        self.stats.held -= size;
    }

    /// Keeps a block for reuse, or gives it back where it is larger than all that may be kept or there is no memory
    /// for the list: it is then leaving.
    pub fn keep(&mut self, mut held: Box<Held>, most: usize) -> Option<Box<Held>> {
        let size = held.piece.bytes;
        if size > most || self.free.try_reserve(1).is_err() {
            self.leaving += size;
            return Some(held);
        }
        self.clock += 1;
        held.since = self.clock;
        let index = self.free.partition_point(|other| other.piece.bytes < size);
        self.free.insert(index, held);
        self.stats.cached += size;
        None
    }

    /// Sets a block in use apart until its fences are done; it comes back where there is no memory for the list.
    pub fn park(&mut self, mut entry: Waiting) -> Option<Waiting> {
        if self.waiting.try_reserve(1).is_err() {
            return Some(entry);
        }
        let size = entry.held.piece.bytes;
        self.end(std::mem::take(&mut entry.held.asked), size);
        self.stats.cached += size;
        self.waiting.push(entry);
        None
    }

    /// Every block that waits, to be looked at without the lock: meanwhile they count as in use.
    pub fn unpark(&mut self) -> Vec<Waiting> {
        let waiting = std::mem::take(&mut self.waiting);
        let bytes: usize = waiting.iter().map(|entry| entry.held.piece.bytes).sum();
        self.stats.cached -= bytes;
        self.begin(0, bytes);
        waiting
    }

    /// The free block that was given back first; it is leaving then.
    pub fn evict(&mut self) -> Option<Box<Held>> {
        let oldest = self.free.iter().enumerate().min_by_key(|(_, held)| held.since)?;
        let held = self.free.remove(oldest.0);
        self.stats.cached -= held.piece.bytes;
        self.leaving += held.piece.bytes;
        Some(held)
    }

    /// [`Cache::evict`] where more than `keep` bytes are cached.
    pub fn evict_over(&mut self, keep: usize) -> Option<Box<Held>> {
        if self.stats.cached > keep { self.evict() } else { None }
    }

    /// A block that was leaving is gone.
    pub fn left(&mut self, size: usize) {
        self.leaving -= size;
    }

    /// Every free block, for a cache that ends.
    #[allow(clippy::vec_box, reason = "the boxes are the list's own")]
    pub fn drain(&mut self) -> Vec<Box<Held>> {
        self.stats.cached -= self.free.iter().map(|held| held.piece.bytes).sum::<usize>();
        std::mem::take(&mut self.free)
    }
}
