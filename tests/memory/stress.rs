//! Eight threads on one pool, which free what others allocated: for a second, or as long as DLB_STRESS_SECONDS says.

use crate::ledger::{Ledger, Random};
use dlbridge::memory::{Allocator, Block, Limits, Pool};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const THREADS: u64 = 8;

/// A block filled with a value that its first bytes tell.
struct Filled(Block);

impl Filled {
    #[allow(clippy::mut_from_ref, reason = "one thread has the block at a time")]
    fn words(&self) -> &mut [u64] {
        // SAFETY: one thread has the block at a time, and it holds this many words.
        unsafe { std::slice::from_raw_parts_mut(self.0.data().cast(), self.0.bytes() / 8) }
    }

    fn new(block: Block, seed: u64) -> Self {
        let filled = Filled(block);
        filled.words().iter_mut().zip(seed..).for_each(|(word, value)| *word = value);
        filled
    }

    fn check(&self) {
        let words = self.words();
        assert!(words.iter().zip(words[0]..).all(|(word, value)| *word == value), "two users of one block");
    }
}

#[test]
fn eight_threads_share_a_pool() {
    let seconds = std::env::var("DLB_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let ledger = Ledger::new();
    let limits = Limits { held: 48 << 20, cached: 16 << 20 };
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(ledger.clone(), limits));
    let slots: Vec<Mutex<Option<Filled>>> = (0..24).map(|_| Mutex::new(None)).collect();
    let end = Instant::now() + Duration::from_secs(seconds);
    let work = |seed: u64| {
        let mut random = Random(seed);
        let mut refused = 0_u64;
        let mut done = 0_u64;
        while Instant::now() < end {
            let scale = [4096, 100_000, 3 << 20][random.below(3)];
            let bytes = 64 + random.below(scale);
            let made = match Block::new(Some(&pool), bytes, 0) {
                Ok(block) => Some(Filled::new(block, seed << 32 | done)),
                Err(_) => None,
            };
            refused += u64::from(made.is_none());
            let slot = random.below(slots.len());
            let other = std::mem::replace(&mut *slots[slot].lock().unwrap(), made);
            if let Some(other) = other {
                other.check();
            }
            if random.below(200) == 0 {
                pool.pool().unwrap().trim(random.below(16 << 20));
            }
            done += 1;
        }
        (done, refused)
    };
    let totals: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (1..=THREADS).map(|seed| scope.spawn(move || work(seed))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for slot in &slots {
        if let Some(last) = slot.lock().unwrap().take() {
            last.check();
        }
    }
    let (done, refused) = totals.iter().fold((0, 0), |sum, each| (sum.0 + each.0, sum.1 + each.1));
    let stats = pool.pool().unwrap().stats();
    println!("stress: {done} blocks, {} hits, {refused} refused", stats.hits);
    assert!(stats.hits > 20 && done > 100, "{stats:?}");
    assert_eq!((stats.asked, stats.held, stats.allocations), (0, 0, done - refused));
    assert!(stats.peak_held <= 48 << 20);
    assert_eq!(ledger.bytes(), stats.cached);
    drop(pool);
    assert_eq!(ledger.blocks(), 0);
}
