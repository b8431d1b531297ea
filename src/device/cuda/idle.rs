//! Memory that somebody has let go of who worked on a stream that may be gone: kept until its device has nothing to do.
//!
//! A handle is worth nothing once its stream is destroyed, and nobody says when that is, so nothing can be recorded on it.
//! What was queued there is over when all is that the device was given, for which a thread waits that does nothing else.

use super::context::Device;
use super::driver::{call, ignore_captures};
use crate::device::signal::Signal;
use crate::device::{cpu, thread};
use crate::error::Result;
use crate::fork::{self, Guarded, Lock};
use crate::guard::guard_silent;
use crate::tensor::Tensor;
use std::time::Duration;

static KEPT: Guarded<Kept> = Guarded::new(Kept { tensors: Vec::new(), served: None });
static CHANGED: Signal = Signal::new();

struct Kept {
    tensors: Vec<Tensor>,
    /// The process that has the thread.
    served: Option<u64>,
}

/// Keeps a tensor of a device until that has done all it was given so far. Nobody waits here.
pub(in crate::device) fn keep_until_idle(tensor: &Tensor) -> Result<()> {
    let mut lock = Lock::take();
    let kept = KEPT.get(&mut lock);
    if kept.served != Some(fork::generation()) {
        // Not dropped: what they lead to is the parent's.
        std::mem::forget(std::mem::take(&mut kept.tensors));
        thread::start("dlbridge idle", serve)?;
        kept.served = Some(fork::generation());
    }
    kept.tensors.push(tensor.clone());
    CHANGED.notify_one();
    Ok(())
}

fn serve() {
    cpu::serve_others();
    ignore_captures();
    loop {
        let mut lock = Lock::take();
        while KEPT.get(&mut lock).tensors.is_empty() {
            lock = CHANGED.wait(lock, None);
        }
        let tensors = std::mem::take(&mut KEPT.get(&mut lock).tensors);
        drop(lock);
        let mut ordinals: Vec<i32> = tensors.iter().map(|tensor| tensor.device().device_id).collect();
        ordinals.sort_unstable();
        ordinals.dedup();
        match ordinals.into_iter().all(is_idle) {
            true => guard_silent(|| drop(tensors)),
            // Nobody knows what is still at work: better lost than used again.
            false => std::mem::forget(tensors),
        }
    }
}

/// Waits until a device has done all that it was given; false where the driver refuses to say again and again, as where the
/// device is lost. While a graph is captured it refuses for that long.
fn is_idle(ordinal: i32) -> bool {
    let mut attempts = (0..1000).map(|attempt| {
        std::thread::sleep(Duration::from_millis(if attempt == 0 { 0 } else { 10 }));
        wait_for(ordinal)
    });
    attempts.any(|outcome| outcome.is_ok())
}

/// Waits until a device has done all that it was given.
fn wait_for(ordinal: i32) -> Result<()> {
    let current = Device::get(ordinal)?.enter()?;
    // SAFETY: a context is current.
    unsafe { call!(current.device.driver, cuCtxSynchronize()) }
}
