//! The library's own stream of each device: for whoever names none.

use super::{Stream, check_device, cuda};
use crate::dlpack::DLDevice;
use crate::error::Result;
use crate::fork::{self, Guarded, Lock};
use std::sync::atomic::{AtomicU8, Ordering};

/// The streams made so far, and the process that made them: those of a parent are not for its child.
struct Own {
    generation: u64,
    streams: Vec<Stream>,
}

static OWN: Guarded<Own> = Guarded::new(Own { generation: 0, streams: Vec::new() });

/// The stream of a device that copies go to for which no stream is named. It is there until the process ends.
///
/// A failure on it is that of its event and its tensors: other than on a stream of your own, what is queued behind it is
/// carried out.
pub fn own_stream(device: DLDevice) -> Result<Stream> {
    check_device(device)?;
    if let Some(stream) = known(device) {
        return Ok(stream);
    }
    let new = Stream::shared(device)?; // may call a driver, so not with the lock held
    let mut lock = Lock::take();
    let own = OWN.get(&mut lock);
    let first = own.streams.iter().find(|stream| stream.device() == device).cloned();
    Ok(first.unwrap_or_else(|| {
        own.streams.push(new.clone());
        new
    }))
}

/// That stream, if it was ever needed.
pub(super) fn known(device: DLDevice) -> Option<Stream> {
    let mut lock = Lock::take();
    let own = OWN.get(&mut lock);
    if own.generation != fork::generation() {
        // Not dropped: what they lead to is the parent's.
        std::mem::forget(std::mem::take(&mut own.streams));
        own.generation = fork::generation();
    }
    own.streams.iter().find(|stream| stream.device() == device).cloned()
}

/// Whether any CUDA device is driven here. Asked once: what every import asks must cost nothing.
pub(crate) fn drives_cuda() -> bool {
    const UNKNOWN: u8 = 2;
    static KNOWN: AtomicU8 = AtomicU8::new(UNKNOWN);
    match KNOWN.load(Ordering::Relaxed) {
        UNKNOWN => {
            let found = cuda::count().is_some_and(|count| count > 0);
            KNOWN.store(found.into(), Ordering::Relaxed);
            found
        }
        known => known != 0,
    }
}
