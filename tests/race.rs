//! A million hand-overs from eight threads: import, export, view, release, on tensors that all of them share and
//! with deleters that run on other threads. Alone it counts what is left; `make test-race` builds it with
//! ThreadSanitizer.
//!
//! Threads are made with libc, and words are printed by the first one only: the sanitizer does not see into Rust's
//! own locks and would report races that are none.

use dlbridge::dlpack::{DLDevice, DLManagedTensorVersioned, DLTensor};
use dlbridge::tensor::{dtype, live_exports, live_tensors};
use dlbridge::{Result, Tensor};
use dlpark::DlpackFlags;
use std::ffi::c_void;
use std::mem::{ManuallyDrop, MaybeUninit};
use std::process::ExitCode;
use std::ptr::{NonNull, null, null_mut};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

const THREADS: usize = 8;
const ROUNDS: usize = 10;
const CYCLES: usize = 1_000_000 / THREADS / ROUNDS;
const ROWS: i64 = 4;

/// Exports on their way from one thread to another.
static LETTERBOX: [AtomicPtr<DLManagedTensorVersioned>; 4] = [const { AtomicPtr::new(null_mut()) }; 4];
/// Buffers that were made, and that were let go.
static MADE: AtomicUsize = AtomicUsize::new(0);
static RELEASED: AtomicUsize = AtomicUsize::new(0);
/// Elements that did not hold what they should.
static WRONG: AtomicUsize = AtomicUsize::new(0);

fn main() -> ExitCode {
    let mut failed = 0;
    for round in 0..ROUNDS {
        failed += usize::from(!run_round());
        println!("race: round {} of {ROUNDS}, {} cycles", round + 1, (round + 1) * THREADS * CYCLES);
    }
    println!("race: {} passed, {failed} failed", ROUNDS - failed);
    ExitCode::from(u8::from(failed > 0))
}

/// All threads on one shared tensor; true if nothing is left and every element was right.
fn run_round() -> bool {
    let shared = buffer().expect("memory for one tensor");
    let threads: Vec<_> = (0..THREADS).map(|_| spawn(shared.clone())).collect();
    // From here on the threads hold the only references, and the last of them frees the buffer.
    drop(shared);
    // SAFETY: each thread is joined once.
    threads.into_iter().for_each(|thread| assert_eq!(unsafe { libc::pthread_join(thread, null_mut()) }, 0));
    LETTERBOX.iter().for_each(|slot| receive(slot.swap(null_mut(), Ordering::AcqRel)));
    let left = (live_tensors(), live_exports(), WRONG.swap(0, Ordering::Relaxed));
    let (made, released) = (MADE.load(Ordering::Relaxed), RELEASED.load(Ordering::Relaxed));
    if left != (0, 0, 0) || made != released {
        println!("race: {left:?} tensors, exports, wrong elements; {made} buffers made, {released} released");
    }
    left == (0, 0, 0) && made == released
}

fn spawn(shared: Tensor) -> libc::pthread_t {
    extern "C" fn start(shared: *mut c_void) -> *mut c_void {
        // SAFETY: the reference that `spawn` gave away.
        let shared = unsafe { Tensor::from_raw(shared) };
        (0..CYCLES).for_each(|cycle| self::cycle(&shared, cycle).expect("memory for a few tensors"));
        null_mut()
    }
    let mut thread = MaybeUninit::uninit();
    // SAFETY: `start` takes the reference over; the thread is joined by the caller.
    unsafe {
        assert_eq!(libc::pthread_create(thread.as_mut_ptr(), null(), start, shared.into_raw()), 0);
        thread.assume_init()
    }
}

/// One hand-over of the shared tensor, and one of a buffer made here and let go wherever it ends.
fn cycle(shared: &Tensor, cycle: usize) -> Result<()> {
    let row = shared.select(0, cycle as i64 % ROWS)?;
    // SAFETY: a fresh export, imported once.
    let back = unsafe { Tensor::import_legacy(row.export_legacy()?) }?;
    drop(row);
    check(&back.clone());
    if cycle.is_multiple_of(4) {
        let own = buffer()?;
        let view = own.permute(&[1, 0])?;
        send(cycle, view.read_only()?.export()?);
        check(&own);
    } else {
        send(cycle, back.export()?);
    }
    Ok(())
}

/// Leaves an export for another thread and takes what was there.
fn send(cycle: usize, export: NonNull<DLManagedTensorVersioned>) {
    receive(LETTERBOX[cycle % LETTERBOX.len()].swap(export.as_ptr(), Ordering::AcqRel));
}

fn receive(export: *mut DLManagedTensorVersioned) {
    let Some(export) = NonNull::new(export) else { return };
    // SAFETY: the export was swapped out of the letterbox, so it is ours alone.
    match unsafe { Tensor::import(export) } {
        Ok(tensor) => check(&tensor),
        Err(_) => _ = WRONG.fetch_add(1, Ordering::Relaxed),
    }
}

/// Reads elements: a buffer that is released too early shows here, and as a race.
fn check(tensor: &Tensor) {
    let Ok(data) = tensor.data_as(dtype::I64) else {
        WRONG.fetch_add(1, Ordering::Relaxed);
        return;
    };
    // SAFETY: the buffer is alive as long as the tensor, and nobody writes to it.
    let value = unsafe { data.cast::<i64>().read() };
    WRONG.fetch_add(usize::from(value != 7), Ordering::Relaxed);
}

/// A tensor of sevens, which its release function overwrites before it frees them.
fn buffer() -> Result<Tensor> {
    unsafe extern "C" fn release(context: *mut c_void) {
        // SAFETY: the buffer leaked below, taken back once.
        let mut values = unsafe { Box::from_raw(context.cast::<[i64; (ROWS * ROWS) as usize]>()) };
        values.fill(-1);
        drop(std::hint::black_box(values));
        RELEASED.fetch_add(1, Ordering::Relaxed);
    }
    let values = ManuallyDrop::new(Box::new([7_i64; (ROWS * ROWS) as usize]));
    let data: *mut c_void = (&raw const **values).cast_mut().cast();
    let mut shape = [ROWS, ROWS];
    let description = DLTensor {
        data,
        device: DLDevice::CPU,
        ndim: 2,
        dtype: dtype::I64,
        shape: shape.as_mut_ptr(),
        strides: null_mut(),
        byte_offset: 0,
    };
    MADE.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the buffer lives until `release`.
    unsafe { Tensor::wrap_foreign(&description, DlpackFlags::empty(), Some(release), data) }
}
