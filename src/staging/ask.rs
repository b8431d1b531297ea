//! Asking a ring step by step: at once first, and only where that gives nothing with a wait. So whoever has a lock of its
//! own, as Python has, gives it up only for waits.

use super::MAX_LEAVES;
use super::batch::Batch;
use super::lease::{Lease, Set, fits, grow};
use super::shared::Shared;
use super::slot::{Leaf, Slot};
use super::state::Side;
use super::wait::{Asker, Before};
use crate::device::Stream;
use crate::error::{Error, Result, Staging};
use crate::tensor::{device, packed_bytes};
use std::sync::Arc;
use std::time::Duration;

/// A producer that asks for a slot.
pub(crate) struct AskSlot<'a> {
    shared: &'a Arc<Shared>,
    asker: Asker<'a>,
    /// Whether it goes on to wait where all is held, for consumers to be told so.
    patient: bool,
}

impl<'a> AskSlot<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, leaves: &[Leaf<'_>], patient: bool) -> Result<Self> {
        match leaves.len() {
            0 => return Err(Error::Staging(Staging::NoTensors)),
            count if count > MAX_LEAVES => {
                return Err(Error::Staging(Staging::TooMany { count, limit: MAX_LEAVES }));
            }
            _ => {}
        }
        for (index, leaf) in leaves.iter().enumerate() {
            packed_bytes(leaf.shape, leaf.dtype)?;
            if !leaf.name.is_empty() && leaves[..index].iter().any(|other| other.name == leaf.name) {
                return Err(Error::Staging(Staging::Twice { name: leaf.name.to_owned() }));
            }
        }
        Ok(AskSlot { shared, asker: Asker::new(shared, Side::Producer), patient })
    }

    /// The memory for a slot, waiting for at most `timeout`; `None` where there was none.
    pub fn within(&mut self, timeout: Option<Duration>) -> Result<Option<Taken>> {
        let Some((ticket, mut set)) = self.asker.slot(timeout, self.patient)? else { return Ok(None) };
        // What was copied out of the host's buffers, or used in them where they were the batch. Whether it failed was told to
        // others.
        set.uploaded = None;
        if self.shared.target.upload.is_none() {
            set.used.clear();
        }
        Ok(Some(Taken { shared: self.shared.clone(), ticket, set: Some(set) }))
    }
}

/// A set on its way to a slot. Dropped, it gives back what it has.
pub(crate) struct Taken {
    shared: Arc<Shared>,
    ticket: u64,
    set: Option<Set>,
}

impl Taken {
    /// Whether it has the memory for `leaves`.
    pub fn fits(&self, leaves: &[Leaf<'_>]) -> bool {
        let Some(set) = &self.set else { return false };
        fits(&set.host, leaves) && (self.shared.target.upload.is_none() || fits(&set.device, leaves))
    }

    /// The slot for `leaves`, with more memory where it needs that.
    pub fn slot(mut self, leaves: &[Leaf<'_>]) -> Result<Slot> {
        let (target, set) = (&self.shared.target, self.set.get_or_insert_default());
        grow(&mut set.host, leaves, target.host.as_ref(), &[])?;
        if let Some(upload) = &target.upload {
            grow(&mut set.device, leaves, Some(&upload.allocator), &set.used)?;
        }
        let set = self.set.take().unwrap_or_default();
        let lease = Lease::new(self.shared.clone(), self.ticket, set);
        Slot::new(lease, leaves)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(set) = self.set.take() {
            self.shared.give_back(self.ticket, Some(set));
        }
    }
}

/// A consumer that asks for a batch.
pub(crate) struct AskBatch<'a> {
    shared: &'a Arc<Shared>,
    stream: Option<&'a Stream>,
    asker: Asker<'a>,
    /// Said with the first question.
    before: Option<Before>,
}

impl<'a> AskBatch<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, stream: Option<&'a Stream>, before: Before) -> Result<Self> {
        let target = &shared.target;
        let refuse = |staging| Err(Error::Staging(staging));
        match stream {
            None if !device::is_host(target.device) => {
                return refuse(Staging::NeedsStream { device: device::Name(target.device).to_string() });
            }
            Some(stream) if stream.device() != target.device => {
                let [ring, stream] =
                    [target.device, stream.device()].map(|each| device::Name(each).to_string());
                return refuse(Staging::OtherDevice { ring, stream });
            }
            _ => {}
        }
        Ok(AskBatch { shared, stream, asker: Asker::new(shared, Side::Consumer), before: Some(before) })
    }

    /// The next batch, waiting for at most `timeout`; `None` where there was none.
    pub fn within(&mut self, timeout: Option<Duration>) -> Result<Option<Batch>> {
        let Some((ticket, filled)) = self.asker.batch(timeout, self.before.take())? else { return Ok(None) };
        let batch = Batch::new(self.shared.clone(), ticket, filled);
        if let Some(stream) = self.stream {
            batch.ready_on(stream)?;
        }
        Ok(Some(batch))
    }
}
