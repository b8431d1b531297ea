//! A batch: tensors that a consumer has, and the memory under them until the last of them is gone.

use super::shared::Shared;
use super::slot::Filled;
use super::which::{Among, Which};
use crate::device::Stream;
use crate::error::{Reason, Result};
use crate::tensor::{Element, Tensor};
use std::fmt;
use std::sync::Arc;

/// What [`Ring::next`](super::Ring::next) gives. Dropping it says that the consumer is done; tensors, views and exports
/// that were made of it keep the memory all the same. Where it is dropped for a panic, the ring is aborted.
pub struct Batch {
    filled: Filled,
    ticket: u64,
    shared: Arc<Shared>,
    /// Whether dropping it says that the consumer is done.
    counts: bool,
}

impl Batch {
    pub(super) fn new(shared: Arc<Shared>, ticket: u64, filled: Filled) -> Self {
        Batch { filled, ticket, shared, counts: true }
    }

    /// Has `stream` wait until the batch is complete, and the memory wait for what `stream` does with it.
    pub(super) fn ready_on(&self, stream: &Stream) -> Result<()> {
        if let Some(done) = self.filled.lease.ready() {
            stream.wait_event(&done)?;
        }
        self.filled.lease.used_on(stream);
        Ok(())
    }

    /// Its number, counted from 0 in the order in which slots were acquired. Slots that were given up leave gaps.
    pub fn number(&self) -> u64 {
        self.ticket
    }

    /// Which of the ring's sets of buffers it has.
    pub fn set(&self) -> usize {
        self.filled.lease.set.number
    }

    /// Its tensors, as they were described to [`acquire`](super::Ring::acquire), on the ring's device. Whoever writes
    /// through them, which takes `unsafe` or foreign code, does so while nobody reads the batch.
    pub fn tensors(&self) -> &[Tensor] {
        &self.filled.tensors
    }

    /// Their names.
    pub fn names(&self) -> &[String] {
        &self.filled.names
    }

    /// The tensor of this number or name.
    pub fn tensor(&self, which: impl Which) -> Result<&Tensor> {
        self.filled.at(which)
    }

    /// The tensor of this name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.filled.at(name)
    }

    /// The position of a tensor.
    pub fn position(&self, name: &str) -> Result<usize> {
        name.among(&self.filled.names)
    }

    /// The elements of the tensor of this number or name, in row-major order, without `unsafe`: nobody writes to a batch.
    ///
    /// Waits until they are there. Refused where the host cannot read the memory, where it holds another dtype, and, when it
    /// is called first, while another reference to the tensor, a view or an export is alive. Those that are made later are
    /// only read: [`Tensor::share_writable`] refuses the tensor from then on.
    ///
    /// ```
    /// use dlbridge::staging::{Leaf, Options, Ring};
    /// use dlbridge::tensor::dtype;
    ///
    /// let ring = Ring::new(Options::default())?;
    /// let mut slot = ring.acquire(&[Leaf::new("label", &[3], dtype::I64)], None)?;
    /// slot.get_mut::<i64>(0)?.copy_from_slice(&[4, 2, 7]);
    /// slot.submit()?;
    /// let batch = ring.next(None, None)?;
    /// assert_eq!(batch.slice::<i64>("label")?, [4, 2, 7]);
    /// assert!(batch.slice::<f32>(0).is_err(), "the tensor holds int64");
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn slice<T: Element>(&self, which: impl Which) -> Result<&[T]> {
        let tensor = self.filled.at(which)?;
        tensor.data_as(T::DTYPE)?;
        tensor.lend()?;
        // SAFETY: each byte has a value, which `Slot::submit` has seen to. The slot is gone, nobody had the tensor to write
        // to when it was lent, and nobody is given it for that without `unsafe` since; `unsafe` and foreign code were told.
        // The buffer is used again when the batch's tensors are gone, which are borrowed here.
        unsafe { tensor.as_slice() }
    }

    /// Says that the last use of the batch is what is queued on `stream` by now; the one given to
    /// [`next`](super::Ring::next) where it is another. Where tensors of it are alive still, what counts is what is
    /// queued when the last of them goes.
    pub fn release(self, stream: &Stream) {
        self.filled.lease.used_on(stream);
    }

    /// The tensors alone. For the ring the consumer is done with the batch when they are gone, or when it calls
    /// [`next_releasing`](super::Ring::next_releasing).
    pub fn into_tensors(mut self) -> Vec<Tensor> {
        self.counts = false;
        std::mem::take(&mut self.filled.tensors)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shared.abort(Reason::Said("a consumer panicked while it had a batch".into()));
        }
        if self.counts {
            self.shared.release(self.ticket);
        }
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("number", &self.ticket).field("tensors", &self.tensors()).finish()
    }
}
