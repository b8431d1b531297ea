//! Every allocation fails in turn. The answer is "out of memory", the rule of who calls the deleter holds, and
//! nothing is leaked.
//!
//! Left out, because Rust itself aborts there: `Tensor::wrap` and `from_vec` box their owner, and the words of other
//! errors are allocated.

mod common;

use common::{Abi, Exported, Produced, Sample, alive};
use dlbridge::dlpack::{DLManagedTensor, DLManagedTensorVersioned};
use dlbridge::memory::{Allocator, Block, Host, Limits, Options, Pool, pool};
use dlbridge::tensor::dtype;
use dlbridge::{Kind, Result, Tensor};
use dlpark::DlpackFlags;
use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};

/// The system's allocator, which fails when told to, and counts. The program has one thread.
struct Stingy;

/// Allocations until one fails; negative: none does.
static UNTIL_FAILURE: AtomicIsize = AtomicIsize::new(-1);
static BLOCKS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator, but for NULL where memory is said to be out.
unsafe impl GlobalAlloc for Stingy {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let left = UNTIL_FAILURE.load(Relaxed);
        if left >= 0 {
            UNTIL_FAILURE.store(left - 1, Relaxed);
            if left == 0 {
                return std::ptr::null_mut();
            }
        }
        BLOCKS.fetch_add(1, Relaxed);
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        BLOCKS.fetch_sub(1, Relaxed);
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Stingy = Stingy;

/// Runs `attempt` with the first, second, ... allocation failing, until none fails any more; how many there were.
/// What it makes is dropped before the blocks are counted.
fn starve<T>(attempt: impl Fn() -> Result<T>) -> usize {
    for failing in 0.. {
        let before = (BLOCKS.load(Relaxed), alive());
        UNTIL_FAILURE.store(failing, Relaxed);
        let result = attempt();
        let starved = UNTIL_FAILURE.swap(-1, Relaxed) < 0;
        match result {
            Ok(made) => {
                assert!(!starved, "a failed allocation went unnoticed");
                drop(made);
            }
            Err(error) => {
                assert!(starved, "{error}");
                assert_eq!(error.kind(), Kind::OutOfMemory, "{error}");
                assert!(error.to_string().contains("bytes could not be allocated"));
            }
        }
        assert_eq!((BLOCKS.load(Relaxed), alive()), before, "leaked with allocation {failing} failing");
        if !starved {
            return failing as usize;
        }
    }
    unreachable!("an operation allocates only so often")
}

/// Import fails: the deleter has been called, once.
fn import<M: Abi>() -> usize {
    let mut failures = 0;
    loop {
        let produced: Produced<M> = Sample::of(&[2, 3]).produce();
        let before = (BLOCKS.load(Relaxed), alive());
        UNTIL_FAILURE.store(failures, Relaxed);
        let imported = produced.import();
        UNTIL_FAILURE.store(-1, Relaxed);
        let kind = imported.map(drop).map_err(|error| error.kind());
        assert_eq!(produced.deletions(), 1);
        assert_eq!((BLOCKS.load(Relaxed), alive()), before);
        match kind {
            Ok(()) => return failures as usize,
            Err(kind) => assert_eq!(kind, Kind::OutOfMemory),
        }
        failures += 1;
    }
}

/// Wrap fails: nothing was taken, so nothing is released.
fn wrap() -> usize {
    static RELEASED: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn release(_: *mut c_void) {
        RELEASED.fetch_add(1, Relaxed);
    }
    let export = Exported::<DLManagedTensorVersioned>::of(&tensor()).unwrap();
    let failures = starve(|| {
        let (description, context) = (export.view(), std::ptr::null_mut());
        // SAFETY: the export keeps the description and the memory.
        unsafe { Tensor::wrap_foreign(description, DlpackFlags::empty(), Some(release), context) }
    });
    assert_eq!(RELEASED.load(Relaxed), 1, "only the tensor that was made is released");
    failures
}

fn tensor() -> Tensor {
    Tensor::from_vec(vec![0_i32; 6], &[1, 2, 3]).unwrap()
}

fn export<M: Abi>() -> usize {
    let tensor = tensor();
    starve(|| Exported::<M>::of(&tensor))
}

fn view(view: impl Fn(&Tensor) -> Result<Tensor>) -> usize {
    let tensor = tensor();
    let count = starve(|| view(&tensor));
    assert_eq!(tensor.reference_count(), 1);
    count
}

/// Memory of our own from a pool that caches nothing, or has what is asked for.
fn from_pool(cached: usize) -> usize {
    let pool: Arc<dyn Allocator> =
        Arc::new(Pool::new(Arc::new(Host), Limits { cached, ..Limits::default() }));
    let make =
        || Tensor::empty_with(&[100, 100], dtype::U8, Options { alignment: 0, allocator: Some(&pool) });
    drop(make()); // where it is kept, the list of what is cached has its memory from here on
    let count = starve(make);
    let stats = pool.pool().unwrap().stats();
    assert_eq!((stats.asked, stats.held, stats.cached), (0, 0, if cached == 0 { 0 } else { 10240 }));
    count
}

/// A pool that has no memory for the list of what it caches frees the block instead.
fn a_list_that_cannot_grow() -> usize {
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(Arc::new(Host), Limits::default()));
    let block = Block::new(Some(&pool), 5000, 0).unwrap();
    UNTIL_FAILURE.store(0, Relaxed);
    drop(block);
    assert!(UNTIL_FAILURE.swap(-1, Relaxed) < 0, "the list did not grow");
    let stats = pool.pool().unwrap().stats();
    assert_eq!((stats.held, stats.cached), (0, 0));
    1
}

fn main() {
    pool(); // made once in a process, where there must be memory for it
    type Check = (&'static str, fn() -> usize);
    let checks: &[Check] = &[
        ("import", import::<DLManagedTensorVersioned>),
        ("import_legacy", import::<DLManagedTensor>),
        ("wrap_foreign", wrap),
        ("export", export::<DLManagedTensorVersioned>),
        ("export_legacy", export::<DLManagedTensor>),
        ("slice", || view(|tensor| tensor.slice(1, None, None, -1))),
        ("slice to nothing", || view(|tensor| tensor.slice(1, Some(2), None, 1))),
        ("select", || view(|tensor| tensor.select(1, -1))),
        ("permute", || view(|tensor| tensor.permute(&[2, 0, 1]))),
        ("expand", || view(|tensor| tensor.expand(&[4, 5, 2, 3]))),
        ("squeeze", || view(|tensor| tensor.squeeze(0))),
        ("unsqueeze", || view(|tensor| tensor.unsqueeze(-1))),
        ("reshape", || view(|tensor| tensor.reshape(&[3, -1]))),
        ("reinterpret", || view(|tensor| tensor.reinterpret(dtype::U8))),
        ("read_only", || view(Tensor::read_only)),
        ("clone", || view(|tensor| Ok(tensor.clone()))),
        // The memory, its owner, the tensor. Of the second the memory is a mapping and the pool has a note.
        ("small empty", || starve(|| Tensor::empty(&[100], dtype::F32))),
        ("large empty", || {
            pool().limit_cached(0);
            starve(|| Tensor::empty(&[3, 1 << 20], dtype::U8))
        }),
        ("zeros", || starve(|| Tensor::zeros(&[100], dtype::F32))),
        ("empty of nothing", || starve(|| Tensor::empty(&[0], dtype::F32))),
        ("fresh from a pool", || from_pool(0)),
        ("cached in a pool", || from_pool(usize::MAX)),
        ("a list that cannot grow", a_list_that_cannot_grow),
    ];
    for (name, check) in checks {
        let allocations = check();
        println!("out_of_memory: {name}: {allocations} allocation(s) failed in turn");
        let expected = match *name {
            "clone" => 0,
            "cached in a pool" => 2,
            "small empty" | "large empty" | "zeros" => 3,
            "fresh from a pool" => 4,
            _ => 1,
        };
        assert_eq!(allocations, expected, "{name}");
    }
    println!("out_of_memory: {} passed, 0 failed", checks.len());
}
