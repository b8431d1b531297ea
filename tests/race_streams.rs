//! Copies from eight threads on four streams that share buffers. Alone it counts wrong elements; `make test-race` builds it
//! with ThreadSanitizer, which also sees an access that nothing orders.
//!
//! As in `race.rs` threads are made with libc. The sanitizer does not see into Rust's locks either, so with
//! `--cfg race_checker` the library tells it where its one lock is taken and given back; it knows nothing of the
//! fence with which `Arc` frees its last reference, which `tests/race.supp` says; and what a `OnceLock` holds has to be
//! there before there are threads.

use dlbridge::device::{Stream, copy_async};
use dlbridge::dlpack::DLDevice;
use dlbridge::tensor::{dtype, live_tensors};
use dlbridge::{Result, Tensor};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::process::ExitCode;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};

const THREADS: usize = 8;
const CYCLES: usize = 2_000;
const SIZE: usize = 256;

static WRONG: AtomicUsize = AtomicUsize::new(0);

/// What one thread works with.
struct Share {
    streams: Vec<Stream>,
    /// A buffer of ones, read by all.
    ones: Tensor,
    /// A buffer that all write, always whole: every element is the same.
    shared: Tensor,
    thread: usize,
}

fn main() -> ExitCode {
    println!("race_streams: {} kernels", dlbridge::copy::simd_level());
    let streams: Vec<Stream> = (0..4).map(|_| Stream::new(DLDevice::CPU).expect("the CPU")).collect();
    let (ones, shared) = (filled(1), filled(1));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            spawn(Share { streams: streams.clone(), ones: ones.clone(), shared: shared.clone(), thread })
        })
        .collect();
    // SAFETY: each thread is joined once.
    threads.into_iter().for_each(|thread| assert_eq!(unsafe { libc::pthread_join(thread, null_mut()) }, 0));
    streams.iter().for_each(|stream| stream.synchronize().expect("nothing failed"));
    drop((streams, ones, shared));
    let (wrong, left) = (WRONG.load(Ordering::Relaxed), live_tensors());
    println!("race_streams: {} copies, {wrong} wrong, {left} tensors left", THREADS * CYCLES * 3);
    ExitCode::from(u8::from(wrong + left > 0))
}

fn spawn(share: Share) -> libc::pthread_t {
    extern "C" fn start(share: *mut c_void) -> *mut c_void {
        // SAFETY: the box that `spawn` gave away.
        let share = unsafe { Box::from_raw(share.cast::<Share>()) };
        (0..CYCLES).for_each(|cycle| share.cycle(cycle).expect("nothing fails"));
        null_mut()
    }
    let mut thread = MaybeUninit::uninit();
    // SAFETY: `start` takes the box over; the thread is joined by the caller.
    unsafe {
        let share = Box::into_raw(Box::new(share)).cast();
        assert_eq!(libc::pthread_create(thread.as_mut_ptr(), null(), start, share), 0);
        thread.assume_init()
    }
}

impl Share {
    fn cycle(&self, cycle: usize) -> Result<()> {
        let on = |step: usize| &self.streams[(self.thread + cycle * step) % self.streams.len()];
        let mine = filled(0);
        let value = self.thread as i32 + 2;
        // SAFETY: all memory is reached through tensors.
        unsafe {
            copy_async(&self.ones, &mine, on(1))?;
            check(&mine, 1);
            // Waits for the copy out of it, so nobody sees half of what is written here.
            copy_async(&mine, &self.shared, on(2))?;
            mine.as_mut_slice::<i32>()?.fill(value);
            let seen = filled(0);
            copy_async(&self.shared, &seen, on(3))?;
            let first = seen.data_as(dtype::I32)?.cast::<i32>().read();
            check(&seen, first);
        }
        Ok(())
    }
}

/// Counts elements that are not `value`. Access waits for the copies.
fn check(tensor: &Tensor, value: i32) {
    // SAFETY: nobody writes to it but copies that are done.
    let values = unsafe { tensor.as_slice::<i32>() }.expect("a slice");
    WRONG.fetch_add(values.iter().filter(|&&each| each != value).count(), Ordering::Relaxed);
}

fn filled(value: i32) -> Tensor {
    Tensor::from_vec(vec![value; SIZE], &[SIZE as i64]).expect("memory for one tensor")
}
