//! Thousands of random steps on a pool, beside a model of what it must have.

use crate::ledger::{Flag, Ledger, Random};
use dlbridge::memory::{Allocator, Block, Limits, Pool};
use std::sync::Arc;

const LIMIT: usize = 64 << 20;
const CACHED: usize = 24 << 20;

struct Model {
    ledger: Arc<Ledger>,
    pool: Arc<dyn Allocator>,
    out: Vec<Block>,
    /// Addresses that unfinished work still uses, and its fence.
    busy: Vec<(usize, Arc<Flag>)>,
    random: Random,
}

impl Model {
    fn step(&mut self) {
        match self.random.below(16) {
            0..=6 => self.allocate(),
            7..=11 => drop(self.some_block()),
            12 => {
                let Some(block) = self.some_block() else { return };
                let fence = Flag::new();
                self.busy.push((block.data() as usize, fence.clone()));
                block.release_after(vec![fence]);
            }
            13..=14 => {
                if !self.busy.is_empty() {
                    let index = self.random.below(self.busy.len());
                    self.busy.swap_remove(index).1.finish();
                }
            }
            _ => {
                let keep = self.random.below(CACHED);
                self.pool.pool().unwrap().trim(keep);
                let waiting: usize = self.busy.iter().map(|(address, _)| self.ledger.size_at(*address)).sum();
                assert!(self.pool.pool().unwrap().stats().cached <= keep.max(waiting));
            }
        }
    }

    fn allocate(&mut self) {
        let bytes = match self.random.below(3) {
            0 => 1 + self.random.below(5000),
            1 => 1 + self.random.below(3 << 20),
            _ => [1 << 20, 1_100_000, 9 << 20, 8 << 20][self.random.below(4)],
        };
        let alignment = 1 << self.random.below(14);
        match Block::new(Some(&self.pool), bytes, alignment) {
            Ok(block) => {
                let address = block.data() as usize;
                assert_eq!(address % alignment, 0);
                assert!(self.busy.iter().all(|(busy, _)| *busy != address), "given out while in use");
                let held = self.ledger.size_at(address);
                assert!(held >= bytes && held <= (bytes + bytes / 8).max(bytes.next_multiple_of(4096)));
                // SAFETY: the block is ours and this large.
                unsafe { block.data().cast::<u8>().write_bytes(address as u8, bytes.min(64)) };
                self.out.push(block);
            }
            Err(error) => {
                let used: usize =
                    self.out.iter().map(|block| self.ledger.size_at(block.data() as usize)).sum();
                let waiting: usize = self.busy.iter().map(|(address, _)| self.ledger.size_at(*address)).sum();
                assert!(used + waiting + bytes.next_multiple_of(4096) > LIMIT, "{error}");
            }
        }
    }

    fn some_block(&mut self) -> Option<Block> {
        if self.out.is_empty() {
            return None;
        }
        let index = self.random.below(self.out.len());
        let block = self.out.swap_remove(index);
        let mark = block.data() as usize as u8;
        // SAFETY: the block is ours; its first byte was written.
        assert_eq!(unsafe { block.data().cast::<u8>().read() }, mark, "somebody else wrote to it");
        Some(block)
    }

    fn check(&self) {
        let stats = self.pool.pool().unwrap().stats();
        let asked: usize = self.out.iter().map(Block::bytes).sum();
        let held: usize = self.out.iter().map(|block| self.ledger.size_at(block.data() as usize)).sum();
        assert_eq!((stats.asked, stats.held), (asked, held));
        assert_eq!(self.ledger.bytes(), stats.held + stats.cached);
        assert!(stats.held + stats.cached <= LIMIT && stats.peak_held <= LIMIT);
        assert!(stats.peak_asked >= asked && stats.hits <= stats.allocations);
    }
}

#[test]
fn a_pool_is_what_its_model_says() {
    for seed in 1..=20 {
        let ledger = Ledger::new();
        let limits = Limits { held: LIMIT, cached: CACHED };
        let pool: Arc<dyn Allocator> = Arc::new(Pool::new(ledger.clone(), limits));
        let random = Random(seed * 0x9E37_79B9);
        let mut model = Model { ledger: ledger.clone(), pool, out: vec![], busy: vec![], random };
        for _ in 0..1500 {
            model.step();
            model.check();
        }
        let stats = model.pool.pool().unwrap().stats();
        assert!(stats.hits > 20, "a cache that nothing hits proves nothing: {stats:?}");
        drop(model);
        assert_eq!(ledger.blocks(), 0);
    }
}
