//! What a pool keeps and gives again, and where it refuses.

use crate::ledger::{Flag, Ledger};
use dlbridge::memory::{Allocator, Block, Host, Limits, Piece, Pool};
use dlbridge::tensor::Fence;
use dlbridge::{Allocation, Error, Kind, Result};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

const MIB: usize = 1 << 20;

fn pool_over(ledger: &Arc<Ledger>, limits: Limits) -> Arc<dyn Allocator> {
    Arc::new(Pool::new(ledger.clone(), limits))
}

fn block(pool: &Arc<dyn Allocator>, bytes: usize) -> Block {
    Block::new(Some(pool), bytes, 0).unwrap()
}

fn stats(pool: &Arc<dyn Allocator>) -> dlbridge::memory::Stats {
    pool.pool().unwrap().stats()
}

#[test]
fn the_host_gives_what_is_asked_for_at_any_alignment() {
    for bytes in [1, 255, 256, 4096, 100_000, 2 * MIB - 1, 2 * MIB, 2 * MIB + 1, 5 * MIB + 123] {
        for alignment in [1, 16, 256, 4096, 2 * MIB, 8 * MIB] {
            let block = Block::new(Some(&(Arc::new(Host) as Arc<dyn Allocator>)), bytes, alignment).unwrap();
            assert_eq!(block.data() as usize % alignment, 0);
            // SAFETY: the block is ours and this large.
            unsafe {
                block.data().cast::<u8>().write_bytes(7, bytes);
                assert_eq!(block.data().cast::<u8>().add(bytes - 1).read(), 7);
            }
        }
    }
}

#[test]
fn what_makes_no_sense_is_refused() {
    for alignment in [3, 48, usize::MAX, 1 << 31, 1 << 62] {
        let error = Block::new(None, 64, alignment).err().unwrap();
        assert_eq!(error, Error::Allocation(Allocation::Alignment { alignment }));
        assert!(error.to_string().contains("is no power of two up to 1 GiB; pass 64"));
        assert_eq!(error.kind(), Kind::InvalidArgument);
    }
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(Arc::new(Host), Limits::default()));
    for bytes in [usize::MAX, usize::MAX - 4096, isize::MAX as usize, isize::MAX as usize - 4096, 1 << 60] {
        for allocator in [None, Some(&pool)] {
            let error = Block::new(allocator, bytes, 0).err().unwrap();
            assert_eq!(error, Error::OutOfMemory { bytes: error_bytes(&error) }, "{bytes}");
        }
    }
    assert_eq!(stats(&pool), Default::default(), "a request that failed leaves no trace");
}

fn error_bytes(error: &Error) -> usize {
    match error {
        Error::OutOfMemory { bytes } => *bytes,
        other => panic!("{other}"),
    }
}

#[test]
fn a_block_is_given_again_to_who_asks_for_nearly_as_much() {
    let reused = |given_back: usize, asked: usize| {
        let pool = pool_over(&Ledger::new(), Limits::default());
        drop(block(&pool, given_back));
        drop(block(&pool, asked));
        stats(&pool).hits == 1
    };
    // At most an eighth larger than asked.
    assert!(reused(9 * MIB, 9 * MIB) && reused(9 * MIB, 8 * MIB) && !reused(9 * MIB, 8 * MIB - 1));
    assert!(!reused(9 * MIB, 9 * MIB + 1));
    // Where rounding adds more than that, what is rounded to serves.
    assert!(reused(512, 1) && !reused(1024, 512));
}

#[test]
fn the_smallest_block_that_serves_is_taken() {
    let ledger = Ledger::new();
    let pool = pool_over(&ledger, Limits::default());
    let sizes = [10 * MIB, 10 * MIB + 8192, 10 * MIB + 4096];
    let blocks: Vec<_> = sizes.map(|bytes| block(&pool, bytes)).into_iter().collect();
    let addresses: Vec<_> = blocks.iter().map(Block::data).collect();
    drop(blocks);
    let again = sizes.map(|_| block(&pool, 10 * MIB));
    assert_eq!(again.map(|block| block.data()).to_vec(), [addresses[0], addresses[2], addresses[1]]);
}

#[test]
fn a_cached_block_serves_only_where_its_address_fits() {
    let ledger = Ledger::new();
    let pool = pool_over(&ledger, Limits::default());
    for _ in 0..64 {
        drop(Block::new(Some(&pool), 1000, 16).unwrap());
        let aligned = Block::new(Some(&pool), 1000, 1 << 16).unwrap();
        assert_eq!(aligned.data() as usize % (1 << 16), 0);
    }
    drop(pool);
    assert_eq!(ledger.blocks(), 0);
}

#[test]
fn sizes_are_rounded_finely() {
    let ledger = Ledger::new();
    let pool = pool_over(&ledger, Limits::default());
    for (asked, held) in
        [(1, 512), (512, 512), (513, 1024), (MIB - 1, MIB), (MIB + 1, MIB + 4096), (5 * MIB, 5 * MIB)]
    {
        let block = block(&pool, asked);
        assert_eq!((stats(&pool).asked, stats(&pool).held), (asked, held));
        assert_eq!(ledger.size_at(block.data() as usize), held);
        drop(block);
        pool.pool().unwrap().trim(0);
    }
}

#[test]
fn trimming_frees_what_was_unused_for_longest() {
    let ledger = Ledger::new();
    let pool = pool_over(&ledger, Limits::default());
    let blocks: Vec<_> = (1..=4).map(|index| block(&pool, index * 4 * MIB)).collect();
    for block in blocks {
        drop(block); // 4, 8, 12, 16 MiB, in this order
    }
    assert_eq!(pool.pool().unwrap().trim(28 * MIB), 12 * MIB);
    assert_eq!((stats(&pool).cached, ledger.bytes()), (28 * MIB, 28 * MIB));
    assert_eq!(pool.pool().unwrap().trim(0), 28 * MIB);
    assert_eq!((stats(&pool).cached, ledger.blocks()), (0, 0));
    assert_eq!((stats(&pool).peak_asked, stats(&pool).peak_held), (40 * MIB, 40 * MIB));
}

#[test]
fn beyond_the_limit_the_cache_goes_first_then_the_request() {
    let ledger = Ledger::new();
    let pool = pool_over(&ledger, Limits { held: 16 * MIB, ..Limits::default() });
    let kept = block(&pool, 6 * MIB);
    drop(block(&pool, 10 * MIB));
    let second = block(&pool, 4 * MIB); // frees the 10 MiB
    assert_eq!((ledger.bytes(), stats(&pool).cached), (10 * MIB, 0));
    let error = Block::new(Some(&pool), 7 * MIB, 0).err().unwrap();
    assert_eq!(error.kind(), Kind::OutOfMemory);
    let words = error.to_string();
    for number in [7 * MIB, 16 * MIB, 10 * MIB, 0] {
        assert!(words.contains(&number.to_string()), "{words}");
    }
    drop((kept, second));
    let kept = block(&pool, 6 * MIB);
    assert!(Block::new(Some(&pool), 11 * MIB, 0).is_err());
    assert_eq!(stats(&pool).cached, 4 * MIB, "what could not help stays");
    drop(kept);
    drop(block(&pool, 16 * MIB));
    assert!(Block::new(Some(&pool), 16 * MIB + 1, 0).is_err());
    assert!(stats(&pool).peak_held <= 16 * MIB);
}

#[test]
fn what_is_cached_is_bounded() {
    let ledger = Ledger::new();
    let pool = pool_over(&ledger, Limits { cached: 10 * MIB, ..Limits::default() });
    drop(block(&pool, 11 * MIB));
    assert_eq!(ledger.blocks(), 0, "larger than all that may be cached");
    let blocks = [4 * MIB, 5 * MIB, 3 * MIB].map(|bytes| block(&pool, bytes));
    drop(blocks);
    assert_eq!(ledger.bytes(), 8 * MIB, "the oldest went");
    pool.pool().unwrap().limit_cached(3 * MIB);
    assert_eq!((ledger.bytes(), stats(&pool).cached), (3 * MIB, 3 * MIB));
}

#[test]
fn the_cache_goes_where_the_allocator_below_has_no_more() {
    let ledger = Ledger::new();
    ledger.most.store(16 * MIB, SeqCst);
    let pool = pool_over(&ledger, Limits::default());
    drop([block(&pool, 6 * MIB), block(&pool, 8 * MIB)]);
    let large = block(&pool, 16 * MIB);
    assert_eq!((ledger.bytes(), stats(&pool).cached), (16 * MIB, 0));
    let error = Block::new(Some(&pool), MIB, 0).err().unwrap();
    assert_eq!(error, Error::OutOfMemory { bytes: MIB });
    drop(large);
}

#[test]
fn a_block_waits_for_its_fences() {
    let ledger = Ledger::new();
    let pool = pool_over(&ledger, Limits { held: 8 * MIB, ..Limits::default() });
    let (first, second) = (Flag::new(), Flag::new());
    let block_in_use = block(&pool, 8 * MIB);
    let address = block_in_use.data();
    block_in_use.release_after(vec![first.clone(), second.clone()]);
    assert_eq!((stats(&pool).asked, stats(&pool).held, stats(&pool).cached), (0, 0, 8 * MIB));
    first.finish();
    assert_eq!(pool.pool().unwrap().trim(0), 0, "a block that is still used is not freed");
    let error = Block::new(Some(&pool), 8 * MIB, 0).err().unwrap();
    assert_eq!(error.kind(), Kind::OutOfMemory, "nor given out");
    second.finish();
    let again = block(&pool, 8 * MIB);
    assert_eq!(again.data(), address);
    assert_eq!((first.waits.load(SeqCst), second.waits.load(SeqCst)), (0, 0), "nobody waited");
    // A pool that ends does.
    let last = Flag::new();
    again.release_after(vec![last.clone()]);
    drop(pool);
    assert_eq!((last.waits.load(SeqCst), ledger.blocks()), (1, 0));
}

#[test]
fn an_allocator_without_a_pool_waits_for_fences() {
    let fence = Flag::new();
    Block::new(None, 100, 0).unwrap().release_after(vec![fence.clone()]);
    assert_eq!(fence.waits.load(SeqCst), 1);
}

#[test]
fn a_pool_over_a_pool_gives_everything_back() {
    let ledger = Ledger::new();
    let inner = pool_over(&ledger, Limits::default());
    let outer: Arc<dyn Allocator> = Arc::new(Pool::new(inner.clone(), Limits::default()));
    drop([block(&outer, 3 * MIB), block(&outer, 100)]);
    drop(block(&outer, 3 * MIB - 4096));
    outer.pool().unwrap().trim(0);
    assert_eq!((stats(&outer).cached, stats(&inner).held), (0, 0));
    inner.pool().unwrap().trim(0);
    assert_eq!(ledger.blocks(), 0);
}

/// Asks its pool for numbers whenever it is called, which would never return were the pool's lock held.
#[derive(Default)]
struct Curious {
    pool: OnceLock<Weak<Pool>>,
    calls: AtomicUsize,
}

impl Curious {
    fn ask(&self) {
        self.calls.fetch_add(1, SeqCst);
        let _ = self.pool.get().and_then(Weak::upgrade).map(|pool| pool.stats());
    }
}

// SAFETY: the host's allocator.
unsafe impl Allocator for Curious {
    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        self.ask();
        Host.allocate(bytes, alignment)
    }
    unsafe fn deallocate(&self, piece: Piece) {
        self.ask();
        // SAFETY: it came from there.
        unsafe { Host.deallocate(piece) }
    }
}

impl Fence for Curious {
    fn done(&self) -> bool {
        self.ask();
        self.calls.load(SeqCst) > 6
    }
    fn wait(&self) {
        self.ask();
    }
}

#[test]
fn nothing_foreign_is_called_under_the_lock() {
    let curious = Arc::new(Curious::default());
    let limits = Limits { held: 10 * MIB, cached: 6 * MIB };
    let pool = Arc::new(Pool::new(curious.clone(), limits));
    curious.pool.set(Arc::downgrade(&pool)).unwrap();
    let allocator: Arc<dyn Allocator> = pool.clone();
    drop(block(&allocator, 4 * MIB)); // cached
    drop(block(&allocator, 9 * MIB)); // evicts it, and is too large to be cached
    block(&allocator, 5 * MIB).release_after(vec![curious.clone()]); // waits
    drop(block(&allocator, MIB)); // looks at who waits
    drop(block(&allocator, 5 * MIB));
    pool.trim(0);
    assert!(curious.calls.load(SeqCst) >= 9);
    assert_eq!((pool.stats().held, pool.stats().cached), (0, 0));
}

/// Takes its time to free.
#[derive(Default)]
struct Slow {
    freeing: AtomicBool,
}

// SAFETY: the host's allocator.
unsafe impl Allocator for Slow {
    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        Host.allocate(bytes, alignment)
    }
    unsafe fn deallocate(&self, piece: Piece) {
        self.freeing.store(true, SeqCst);
        std::thread::sleep(Duration::from_millis(100));
        // SAFETY: it came from there.
        unsafe { Host.deallocate(piece) }
    }
}

#[test]
fn room_that_another_thread_is_making_is_waited_for() {
    let slow = Arc::new(Slow::default());
    let limits = Limits { held: 16 * MIB, ..Limits::default() };
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(slow.clone(), limits));
    drop(block(&pool, 16 * MIB));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| Block::new(Some(&pool), 7 * MIB, 0).map(drop));
        while !slow.freeing.load(SeqCst) {
            std::thread::yield_now();
        }
        // The cache is empty by now, and the 16 MiB are still there.
        assert!(Block::new(Some(&pool), 7 * MIB, 0).is_ok());
        assert!(first.join().unwrap().is_ok());
    });
    assert!(stats(&pool).peak_held <= 16 * MIB);
}
