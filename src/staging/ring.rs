//! The ring, as producers and consumers see it.

use super::Options;
use super::ask::{AskBatch, AskSlot};
use super::batch::Batch;
use super::shared::{Shared, Totals};
use super::slot::{Leaf, Slot};
use super::target::Target;
use super::wait::{Before, nanoseconds};
use crate::device::Stream;
use crate::dlpack::DLDevice;
use crate::error::{Error, Reason, Result, Staging};
use crate::tensor::{device, packed_bytes};
use std::ffi::c_void;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Slots that producers fill and consumers empty. A clone is another handle to the same ring; any thread may use one.
///
/// Whoever waits holds no lock. A thread that panics while it has a [`Slot`] or a [`Batch`] aborts the ring, so that
/// nobody waits for it. In a child of `fork()` the rings of the parent are [`Unavailable`](crate::Kind::Unavailable).
#[derive(Clone)]
pub struct Ring(Arc<Handle>);

// A panic leaves the ring whole: at most it is aborted, which everybody is told.
impl std::panic::UnwindSafe for Ring {}
impl std::panic::RefUnwindSafe for Ring {}

/// What handles share. Slots and batches have the part in it only, so that batches which nobody can ask for any more do
/// not keep the ring that keeps them.
struct Handle(Arc<Shared>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.abort(Reason::Said("nobody has a handle to it any more".into()));
    }
}

impl Ring {
    /// A ring without any memory yet: slots get it as they are first used.
    pub fn new(options: Options) -> Result<Ring> {
        Ring::on(Target::new(options.device)?, options)
    }

    pub(super) fn on(target: Target, options: Options) -> Result<Ring> {
        const MOST: usize = 1 << 16;
        let Options { slots, keep, order, .. } = options;
        if slots == 0 || slots > MOST || keep > MOST {
            return Err(Error::Staging(Staging::Slots { slots, keep }));
        }
        Ok(Ring(Arc::new(Handle(Shared::new(target, slots, keep, order)))))
    }

    /// Where the batches are.
    pub fn device(&self) -> DLDevice {
        self.0.0.target.device
    }

    /// An empty slot with host memory for tensors like `leaves`, row-major, their values anything. Waits until there is
    /// one, for at most `timeout`: `None` however long it takes, zero not at all.
    ///
    /// Fails with [`Timeout`](crate::Kind::Timeout), with [`Closed`](crate::Kind::Closed) once the ring is closed or
    /// aborted, and with [`OutOfMemory`](crate::Kind::OutOfMemory) where there is none, or where all that the ring may
    /// have is held by batches of this thread, or of others that wait as well, and by tensors and exports that outlive their
    /// batches: those give no back-pressure beyond the cap, since nobody may ever let go of them. Where another thread will,
    /// ask again.
    pub fn acquire(&self, leaves: &[Leaf<'_>], timeout: Option<Duration>) -> Result<Slot> {
        match AskSlot::new(&self.0.0, leaves, false)?.within(timeout)? {
            Some(taken) => taken.slot(leaves),
            None => {
                let (nanoseconds, held) = (nanoseconds(timeout), self.held());
                Err(Error::Staging(Staging::NoSlot { nanoseconds, held }))
            }
        }
    }

    /// [`Ring::acquire`] step by step, by a producer who leaves it to consumers to hear that all is held.
    pub(crate) fn ask_slot(&self, leaves: &[Leaf<'_>]) -> Result<AskSlot<'_>> {
        AskSlot::new(&self.0.0, leaves, true)
    }

    /// The next batch, waiting for at most `timeout`. What is queued on `stream` from now on finds it complete; nobody
    /// waits for that but the device. On the host `stream` may be `None`.
    ///
    /// Once the ring is closed this fails with [`Closed`](crate::Kind::Closed) after the last batch, and at once where it
    /// was aborted, with the reason. Where consumers hold all batches that the ring may have memory for, and all of them
    /// wait here, it is [`OutOfMemory`](crate::Kind::OutOfMemory); nothing is lost, and after some were dropped the next
    /// call succeeds.
    pub fn next(&self, stream: Option<&Stream>, timeout: Option<Duration>) -> Result<Batch> {
        self.next_batch(stream, timeout, Before::Separate)
    }

    /// [`Ring::next`] for a loop that is done with its batch when it asks for another: what this thread was given before
    /// is released first.
    pub fn next_releasing(&self, stream: Option<&Stream>, timeout: Option<Duration>) -> Result<Batch> {
        self.next_batch(stream, timeout, Before::Released)
    }

    fn next_batch(
        &self,
        stream: Option<&Stream>,
        timeout: Option<Duration>,
        before: Before,
    ) -> Result<Batch> {
        let none = || Error::Staging(Staging::NoBatch { nanoseconds: nanoseconds(timeout) });
        AskBatch::new(&self.0.0, stream, before)?.within(timeout)?.ok_or_else(none)
    }

    /// [`Ring::next_releasing`] step by step.
    pub(crate) fn ask_batch<'a>(&'a self, stream: Option<&'a Stream>) -> Result<AskBatch<'a>> {
        AskBatch::new(&self.0.0, stream, Before::Released)
    }

    /// Gives a ring for batches like `leaves` as many slots as a little memory has, where that is more: threads that hand
    /// over several small batches at a time wait for each other less often.
    pub(crate) fn widen_for(&self, leaves: &[Leaf<'_>]) -> Result<()> {
        const MEMORY: usize = 256 << 10;
        const SLOTS: usize = 16;
        let mut bytes = 0_usize;
        for leaf in leaves {
            bytes = bytes.saturating_add(packed_bytes(leaf.shape, leaf.dtype)?);
        }
        self.0.0.widen(SLOTS.min(MEMORY / bytes.max(1)));
        Ok(())
    }

    /// Lets consumers have what is submitted and being filled, and nothing after it. Memory that no batch is in goes now, or when
    /// the streams that it was used on are done with it; nobody waits here.
    pub fn close(&self) {
        self.0.0.close();
    }

    /// Ends it for both sides: whoever waits or asks from now on gets `reason`, and what nobody has asked for is dropped.
    /// Batches that were handed out stay what they are. Of several reasons the first counts.
    pub fn abort(&self, reason: &str) {
        self.0.0.abort(Reason::Said(reason.into()));
    }

    /// Whether it was aborted.
    pub fn is_aborted(&self) -> bool {
        self.reason().is_some()
    }

    /// Why it was aborted, if it was.
    pub(crate) fn reason(&self) -> Option<Reason> {
        self.0.0.reason()
    }

    /// What it has done so far.
    pub fn totals(&self) -> Totals {
        self.0.0.totals()
    }

    /// The batches, by number, that consumers have or keep, and the slots that were given up while tensors of them live.
    pub fn held(&self) -> Vec<u64> {
        self.0.0.held()
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.0.0
    }

    #[cfg(test)]
    pub(super) fn target(&self) -> &Target {
        &self.0.0.target
    }

    /// The handle as a pointer; [`Ring::from_raw`] takes it back.
    pub(crate) fn into_raw(self) -> *mut c_void {
        Arc::into_raw(self.0).cast_mut().cast()
    }

    /// # Safety
    ///
    /// `raw` came from [`Ring::into_raw`], and the handle is taken back once.
    pub(crate) unsafe fn from_raw(raw: *mut c_void) -> Ring {
        // SAFETY: promised by the caller.
        Ring(unsafe { Arc::from_raw(raw.cast::<Handle>()) })
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let totals = self.totals();
        f.debug_struct("Ring")
            .field("device", &format_args!("{}", device::Name(self.device())))
            .field("totals", &totals)
            .finish()
    }
}
