//! A forked child: its pools start afresh, whatever the threads of its parent were at.

use crate::TURN;
use crate::ledger::Ledger;
use dlbridge::memory::{Allocator, Block, Host, Limits, Piece, Pool};
use dlbridge::{Result, Tensor, tensor::dtype};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

/// Runs `body` in a child; whether it came back true within ten seconds.
fn in_child(body: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `body` and leaves without running anything of its parent's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: ends the process; the alarm does if `body` hangs.
        unsafe {
            libc::alarm(10);
            libc::_exit(if body() { 7 } else { 1 });
        }
    }
    let mut status = 0;
    // SAFETY: our child.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 7
}

/// Counts without a lock, since a child must not wait for one of its parent's.
#[derive(Default)]
struct Counting {
    freed: AtomicUsize,
}

// SAFETY: the host's allocator.
unsafe impl Allocator for Counting {
    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        Host.allocate(bytes, alignment)
    }
    unsafe fn deallocate(&self, piece: Piece) {
        self.freed.fetch_add(1, SeqCst);
        // SAFETY: it came from there.
        unsafe { Host.deallocate(piece) }
    }
}

#[test]
fn a_child_starts_afresh() {
    let counting = Arc::new(Counting::default());
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(counting.clone(), Limits::default()));
    let numbers = || pool.pool().unwrap().stats();
    let mut before = Some(Block::new(Some(&pool), 3 << 20, 0).unwrap());
    drop([Block::new(Some(&pool), 4 << 20, 0).unwrap(), Block::new(Some(&pool), 5 << 20, 0).unwrap()]);
    let parent = numbers();
    let good = in_child(|| {
        let fresh = numbers() == Default::default() && counting.freed.load(SeqCst) == 2;
        drop(before.take()); // goes to the allocator, not to the cache
        let straight = counting.freed.load(SeqCst) == 3 && numbers().cached == 0;
        drop(Block::new(Some(&pool), 4 << 20, 0).unwrap());
        let works = Block::new(Some(&pool), 4 << 20, 0).is_ok() && numbers().hits == 1;
        fresh && straight && works
    });
    assert!(good);
    assert_eq!(numbers(), parent, "the parent did not notice");
}

#[test]
fn a_child_never_waits_for_a_thread_that_is_not_there() {
    let _turn = TURN.lock();
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(Arc::new(Host), Limits::default()));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(SeqCst) {
                    drop(Block::new(Some(&pool), 3 << 20, 0).unwrap());
                    drop(Tensor::empty(&[3 << 20], dtype::U8).unwrap());
                }
            });
        }
        let all = (0..200).all(|_| {
            let held = Block::new(Some(&pool), 2 << 20, 0).unwrap();
            in_child(|| {
                drop(held);
                let one = Block::new(Some(&pool), 3 << 20, 0).is_ok();
                one && Tensor::empty(&[3 << 20], dtype::U8).is_ok()
            })
        });
        stop.store(true, SeqCst);
        assert!(all);
    });
}

#[test]
fn an_allocator_may_fork() {
    struct Forking(AtomicUsize);
    // SAFETY: the host's allocator.
    unsafe impl Allocator for Forking {
        fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
            // SAFETY: both processes go on; the child is told by the caller to leave.
            self.0.store(unsafe { libc::fork() } as usize, SeqCst);
            Host.allocate(bytes, alignment)
        }
        unsafe fn deallocate(&self, piece: Piece) {
            // SAFETY: it came from there.
            unsafe { Host.deallocate(piece) }
        }
    }
    let forking = Arc::new(Forking(AtomicUsize::new(usize::MAX)));
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(forking.clone(), Limits::default()));
    let block = Block::new(Some(&pool), 5000, 0).unwrap();
    let child = forking.0.load(SeqCst);
    if child == 0 {
        drop(block);
        let fresh = pool.pool().unwrap().stats() == Default::default();
        // SAFETY: ends the child.
        unsafe { libc::_exit(if fresh { 7 } else { 1 }) };
    }
    let mut status = 0;
    // SAFETY: our child.
    unsafe { libc::waitpid(child as libc::pid_t, &mut status, 0) };
    assert_eq!(libc::WEXITSTATUS(status), 7);
    assert_eq!(pool.pool().unwrap().stats().asked, 5000);
}

#[test]
fn the_ledger_of_the_parent_balances() {
    // What a child frees is freed in the child alone.
    let ledger = Ledger::new();
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(ledger.clone(), Limits::default()));
    drop(Block::new(Some(&pool), 4 << 20, 0).unwrap());
    assert!(in_child(|| pool.pool().unwrap().trim(0) == 0 && ledger.blocks() == 0));
    assert_eq!(ledger.blocks(), 1);
}
