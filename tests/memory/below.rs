//! A pool over allocators that use the pool while it calls them, and over one that ignores what it is asked for.

use crate::ledger::Ledger;
use dlbridge::Result;
use dlbridge::memory::{Allocator, Block, Host, Limits, Piece, Pool};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};

const KIB: usize = 1 << 10;

/// Takes memory from the pool above, and gives it back, whenever it frees some.
#[derive(Default)]
struct Meddler {
    pool: OnceLock<Weak<Pool>>,
    granted: AtomicUsize,
    refused: AtomicUsize,
}

impl Meddler {
    fn under(limits: Limits) -> (Arc<Meddler>, Arc<Pool>) {
        let meddler = Arc::new(Meddler::default());
        let pool = Arc::new(Pool::new(meddler.clone(), limits));
        meddler.pool.set(Arc::downgrade(&pool)).unwrap();
        (meddler, pool)
    }
}

// SAFETY: the host's allocator.
unsafe impl Allocator for Meddler {
    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        Host.allocate(bytes, alignment)
    }

    unsafe fn deallocate(&self, piece: Piece) {
        if let Some(pool) = self.pool.get().and_then(Weak::upgrade) {
            let pool: Arc<dyn Allocator> = pool;
            let counter = match Block::new(Some(&pool), 8 * KIB, 0) {
                Ok(_) => &self.granted,
                Err(_) => &self.refused,
            };
            counter.fetch_add(1, SeqCst);
        }
        // SAFETY: it came from there.
        unsafe { Host.deallocate(piece) }
    }
}

#[test]
fn a_trim_ends_although_memory_comes_back_meanwhile() {
    let (meddler, pool) = Meddler::under(Limits::default());
    let allocator: Arc<dyn Allocator> = pool.clone();
    drop(Block::new(Some(&allocator), 8 * KIB, 0));
    assert_eq!(pool.trim(0), 8 * KIB);
    assert_eq!((meddler.granted.load(SeqCst), pool.stats().cached), (1, 8 * KIB));
}

#[test]
fn room_that_this_thread_is_making_is_not_waited_for() {
    let (meddler, pool) = Meddler::under(Limits { held: 16 * KIB, ..Limits::default() });
    let allocator: Arc<dyn Allocator> = pool.clone();
    let four = Block::new(Some(&allocator), 4 * KIB, 0).unwrap();
    drop(Block::new(Some(&allocator), 10 * KIB, 0).unwrap());
    let twelve = Block::new(Some(&allocator), 12 * KIB, 0).unwrap(); // frees the 10 KiB
    assert_eq!((meddler.granted.load(SeqCst), meddler.refused.load(SeqCst)), (0, 1));
    drop((four, twelve));
    assert_eq!((pool.stats().held, pool.stats().cached), (0, 16 * KIB));
}

/// Gives memory one byte off.
struct Crooked(Arc<Ledger>);

// SAFETY: the ledger's memory; what it gives is one byte larger.
unsafe impl Allocator for Crooked {
    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        let piece = self.0.allocate(bytes + 1, alignment)?;
        // SAFETY: inside the block.
        Ok(Piece::new(unsafe { piece.data.byte_add(1) }, bytes, alignment))
    }

    unsafe fn deallocate(&self, piece: Piece) {
        // SAFETY: as it was allocated above.
        unsafe {
            let data = piece.data.byte_sub(1);
            self.0.deallocate(Piece::new(data, piece.bytes + 1, piece.alignment));
        }
    }
}

#[test]
fn misplaced_memory_goes_back_and_is_not_cached() {
    let ledger = Ledger::new();
    let pool = Arc::new(Pool::new(Arc::new(Crooked(ledger.clone())), Limits::default()));
    let allocator: Arc<dyn Allocator> = pool.clone();
    let error = Block::new(Some(&allocator), KIB, 64).err().unwrap();
    assert!(error.to_string().contains("no multiple of the 64 it was asked for"), "{error}");
    assert_eq!((ledger.blocks(), pool.stats().held, pool.stats().cached), (0, 0, 0));
    assert_eq!(pool.stats().allocations, 0);
}
