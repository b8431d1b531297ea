//! What memory of our own costs in resident pages: as much as was asked for, and nothing once it was given back. A
//! program of its own, because other threads' pages would be counted too.

use dlbridge::memory::{Allocator, Block, Host, Limits, Pool};
use std::sync::Arc;

const MIB: usize = 1 << 20;

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn touched(allocator: &Arc<dyn Allocator>, bytes: usize) -> Block {
    let block = Block::new(Some(allocator), bytes, 0).unwrap();
    // SAFETY: the block is ours and this large.
    unsafe { block.data().cast::<u8>().write_bytes(1, bytes) };
    block
}

/// Whether `bytes` are resident since `before`, within 2 % and a MiB for the rest of the program.
fn check(what: &str, before: usize, bytes: usize) {
    let now = resident().saturating_sub(before);
    println!("resident: {what}: {now} of {bytes} bytes");
    assert!(now.abs_diff(bytes) <= bytes / 50 + MIB, "{what}: {now} bytes resident, {bytes} expected");
}

/// The part of a large block that fills no huge page must not become one.
fn sizes_are_exact() {
    let host: Arc<dyn Allocator> = Arc::new(Host);
    for bytes in [1000 * 1024, 2 * MIB, 2 * MIB + MIB / 10, 3 * MIB, 4 * MIB - 4096, 5 * MIB + 5] {
        let before = resident();
        let blocks: Vec<Block> = (0..40).map(|_| touched(&host, bytes)).collect();
        check(&format!("40 blocks of {bytes}"), before, 40 * bytes);
        drop(blocks);
        check("and given back", before, 0);
    }
}

/// 20.4 units are 20.4 units, not 32, and come back.
fn a_pool_is_as_large_as_what_is_in_it() {
    let unit = 4 * MIB;
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(Arc::new(Host), Limits::default()));
    let before = resident();
    let mut blocks: Vec<Block> = (0..20).map(|_| touched(&pool, unit)).collect();
    blocks.push(touched(&pool, unit * 4 / 10));
    let asked = blocks.iter().map(Block::bytes).sum::<usize>();
    let stats = pool.pool().unwrap().stats();
    assert_eq!(stats.asked, asked);
    assert!(stats.held - asked < 4096, "{stats:?}");
    check("20.4 units", before, asked);
    drop(blocks);
    check("20.4 units, cached", before, asked);
    pool.pool().unwrap().trim(10 * unit);
    let left = pool.pool().unwrap().stats().cached;
    assert!(left > 9 * unit && left <= 10 * unit, "{left}");
    check("at most 10 units, trimmed", before, left);
    pool.pool().unwrap().trim(0);
    check("none, trimmed", before, 0);
}

fn main() {
    sizes_are_exact();
    a_pool_is_as_large_as_what_is_in_it();
    println!("resident: 2 passed, 0 failed");
}
