//! Memory that somebody has let go of who worked on a stream that may be gone: kept until its device has nothing to do.
//!
//! A handle is worth nothing once its stream is destroyed, and nobody says when that is, so nothing can be recorded on it.
//! What was queued there is over when all is that the device was given, for which a thread waits that does nothing else.
//!
//! To wait for a whole device spoils every graph that is captured of a stream there. So it is not done while a stream is
//! captured that is known: those that a tensor is kept for, and all that wait for the default stream. Of others the driver
//! says nothing, whoever asks; the README tells what to do.

use super::capture::{self, Relaxed};
use super::context::Device;
use super::driver::{CAPTURES, Code, SUCCESS};
use super::stream::LEGACY;
use crate::device::signal::Signal;
use crate::device::{Stream, cpu, thread};
use crate::error::{Driver as Failure, Error, Result};
use crate::fork::{self, Guarded, Lock};
use crate::guard::guard_silent;
use crate::tensor::Tensor;
use std::time::Duration;

static KEPT: Guarded<Kept> = Guarded::new(Kept { tensors: Vec::new(), served: None });
static CHANGED: Signal = Signal::new();

struct Kept {
    /// Each with the stream that it is kept for, where that is there still.
    tensors: Vec<(Tensor, Option<Stream>)>,
    /// The process that has the thread.
    served: Option<u64>,
}

/// Keeps a tensor of a device until that has done all it was given so far, `stream` among it, which may be captured at the
/// moment. Nobody waits here.
pub(in crate::device) fn keep_until_idle(tensor: &Tensor, stream: Option<Stream>) -> Result<()> {
    let mut lock = Lock::take();
    let kept = KEPT.get(&mut lock);
    if kept.served != Some(fork::generation()) {
        // Not dropped: what they lead to is the parent's.
        std::mem::forget(std::mem::take(&mut kept.tensors));
        thread::start("dlbridge idle", serve)?;
        kept.served = Some(fork::generation());
    }
    kept.tensors.push((tensor.clone(), stream));
    CHANGED.notify_one();
    Ok(())
}

fn serve() {
    cpu::serve_others();
    Relaxed::for_good();
    loop {
        let mut lock = Lock::take();
        while KEPT.get(&mut lock).tensors.is_empty() {
            lock = CHANGED.wait(lock, None);
        }
        let tensors = std::mem::take(&mut KEPT.get(&mut lock).tensors);
        drop(lock);
        let mut ordinals: Vec<i32> = tensors.iter().map(|(tensor, _)| tensor.device().device_id).collect();
        ordinals.sort_unstable();
        ordinals.dedup();
        let streams: Vec<&Stream> = tensors.iter().filter_map(|(_, stream)| stream.as_ref()).collect();
        match ordinals.into_iter().all(|ordinal| is_idle(ordinal, &streams)) {
            true => guard_silent(|| drop(tensors)),
            // Nobody knows what is still at work: better lost than used again.
            false => std::mem::forget(tensors),
        }
    }
}

/// Waits until a device has done all that it was given; false where the driver refuses to say again and again, as where the
/// device is lost. While a graph is captured it waits for that, for as long as it takes.
fn is_idle(ordinal: i32, streams: &[&Stream]) -> bool {
    let Ok(device) = Device::get(ordinal) else { return false };
    let mut refused = 0;
    while refused < 1000 {
        if !is_captured(device, streams) {
            match wait_for(device) {
                SUCCESS => return true,
                code => refused += u32::from(!CAPTURES.contains(&code)),
            }
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// Whether a stream is captured, as far as is known.
fn is_captured(device: &Device, streams: &[&Stream]) -> bool {
    // SAFETY: the default stream always lives.
    let default = unsafe { capture::check(device, LEGACY as _) };
    let mut asked = streams.iter().map(|stream| stream.queue().ready()).chain([default]);
    asked.any(|answer| matches!(answer, Err(Error::Driver(Failure::Captured { .. }))))
}

/// Waits until a device has done all that it was given.
fn wait_for(device: &Device) -> Code {
    const NO_CONTEXT: Code = 201;
    let Ok(current) = device.enter() else { return NO_CONTEXT };
    // SAFETY: a context is current.
    unsafe { (current.device.driver.cuCtxSynchronize)() }
}
