//! A slot: memory that is a producer's alone until it is submitted.

use super::lease::Lease;
use super::which::{Among, Which};
use crate::copy;
use crate::device::{Stream, copy_async};
use crate::dlpack::DLDataType;
use crate::error::{Error, Reason, Result};
use crate::tensor::{Element, Tensor, dtype};
use std::fmt;
use std::sync::Arc;

/// What one tensor of a batch is like. Tensors without a name are called by their position: `"0"`, `"1"`.
#[derive(Debug, Clone, Copy)]
pub struct Leaf<'a> {
    /// What consumers ask for it by; `""` for its position.
    pub name: &'a str,
    /// Sizes in elements.
    pub shape: &'a [i64],
    /// The element type.
    pub dtype: DLDataType,
}

impl<'a> Leaf<'a> {
    /// A leaf of this name, shape and dtype.
    pub fn new(name: &'a str, shape: &'a [i64], dtype: DLDataType) -> Self {
        Leaf { name, shape, dtype }
    }
}

/// What is in a slot: tensors, their names, and the memory under them.
pub(super) struct Filled {
    /// Dropped before the lease, which is then the last to go.
    pub tensors: Vec<Tensor>,
    pub names: Vec<String>,
    pub lease: Arc<Lease>,
}

impl Filled {
    pub fn bytes(&self) -> u64 {
        self.tensors.iter().map(|tensor| tensor.nbytes() as u64).sum()
    }

    /// The tensor that is asked for.
    pub fn at(&self, which: impl Which) -> Result<&Tensor> {
        Ok(&self.tensors[which.among(&self.names)?])
    }
}

/// An empty slot of a ring, to be filled. Dropping it gives it back as it is, and no batch comes of it; where that is for
/// a panic, the ring is aborted.
pub struct Slot(Option<Filled>);

impl Slot {
    pub(super) fn new(lease: Arc<Lease>, leaves: &[Leaf<'_>]) -> Result<Slot> {
        let tensors = lease.tensors(&lease.set.host, leaves)?;
        let named = |(index, leaf): (usize, &Leaf<'_>)| match leaf.name {
            "" => index.to_string(),
            name => name.to_owned(),
        };
        let names = leaves.iter().enumerate().map(named).collect();
        Ok(Slot(Some(Filled { tensors, names, lease })))
    }

    fn filled(&self) -> &Filled {
        self.0.as_ref().unwrap_or_else(|| unreachable!("there until it is submitted or dropped"))
    }

    /// The number of the batch that this becomes, counted from 0 in the order of [`acquire`](super::Ring::acquire).
    pub fn number(&self) -> u64 {
        self.filled().lease.ticket
    }

    /// Which of the ring's sets of buffers it has.
    pub fn set(&self) -> usize {
        self.filled().lease.set.number
    }

    /// The tensors, in host memory: for code that fills them through pointers, or through another framework. Whoever
    /// writes through them does so before [`Slot::submit`].
    pub fn tensors(&self) -> &[Tensor] {
        (0..self.filled().tensors.len()).for_each(|index| self.initialise(index));
        &self.filled().tensors
    }

    /// The tensor of this number or name; what tensors are there was said to [`acquire`](super::Ring::acquire).
    pub fn tensor(&self, which: impl Which) -> Result<&Tensor> {
        let index = which.among(&self.filled().names)?;
        self.initialise(index);
        self.filled().at(index)
    }

    /// The tensor of this number, whose bytes may have no value yet: for batches that are never read as slices.
    pub(crate) fn bare(&self, index: usize) -> Result<&Tensor> {
        let tensor = self.filled().at(index)?;
        if dtype::item_bytes(tensor.dtype()).is_none() {
            // A copy reads the last byte, of which it may write a part.
            self.initialise(index);
        }
        Ok(tensor)
    }

    /// Gives those bytes of a tensor that is there a value that have none yet.
    fn initialise(&self, index: usize) {
        let filled = self.filled();
        // SAFETY: `grow` has made the buffer large enough, and until it is submitted the slot has it alone.
        unsafe { filled.lease.set.host[index].initialise(filled.tensors[index].nbytes()) };
    }

    /// The position of a tensor.
    pub fn position(&self, name: &str) -> Result<usize> {
        name.among(&self.filled().names)
    }

    /// The elements of the tensor of this number or name, in row-major order. What they were before is anything.
    ///
    /// Refused while another reference to the tensor, a view or an export is alive: another framework writes without
    /// `unsafe`, too.
    pub fn get_mut<T: Element>(&mut self, which: impl Which) -> Result<&mut [T]> {
        let filled = self.filled();
        let index = which.among(&filled.names)?;
        let tensor = filled.at(index)?;
        tensor.data_as(T::DTYPE)?;
        tensor.check_alone("an exclusive borrow")?;
        self.initialise(index);
        // SAFETY: the memory is this slot's alone, which is borrowed exclusively, and nobody else has the tensor.
        unsafe { tensor.as_mut_slice::<T>() }
    }

    /// Copies the elements of `source`, of the same shape and dtype and with any strides, into the tensor of this number or
    /// name, on this thread.
    ///
    /// # Safety
    ///
    /// The memory of `source` is what the tensor says, with a value in every element, and nobody writes to it meanwhile.
    pub unsafe fn fill(&mut self, which: impl Which, source: &Tensor) -> Result<()> {
        let index = which.among(&self.filled().names)?;
        // SAFETY: the slot's memory is nobody else's, and the caller vouches for the source.
        unsafe { copy::copy(source, self.bare(index)?, copy::Options::default()) }?;
        let filled = self.filled();
        filled.lease.set.host[index].written(filled.tensors[index].nbytes());
        Ok(())
    }

    /// Gives the batch to the consumers. For another device this queues the copy, and returns.
    ///
    /// Fails with [`Closed`](crate::Kind::Closed) where the ring was aborted; where the copy cannot be queued the ring is
    /// aborted, so that consumers do not wait for a batch that is lost.
    pub fn submit(self) -> Result<()> {
        // What nobody has filled has a value now: a batch may be read without `unsafe`.
        self.tensors();
        self.submit_bare()
    }

    /// [`Slot::submit`] as the memory is, for batches that are never read as slices.
    pub(crate) fn submit_bare(mut self) -> Result<()> {
        let Some(filled) = self.0.take() else { unreachable!("there until it is submitted or dropped") };
        let lease = filled.lease.clone();
        let abort = |error: &Error| lease.shared.abort(Reason::Failed(Box::new(error.clone())));
        let filled = upload(filled).inspect_err(abort)?;
        lease.shared.submit(lease.ticket, filled)
    }
}

/// The same batch on the device.
fn upload(filled: Filled) -> Result<Filled> {
    let Filled { tensors: host, names, lease } = filled;
    let Some(upload) = &lease.shared.target.upload else { return Ok(Filled { tensors: host, names, lease }) };
    let leaves: Vec<Leaf<'_>> =
        host.iter().map(|tensor| Leaf { name: "", shape: tensor.shape(), dtype: tensor.dtype() }).collect();
    let tensors = lease.tensors(&lease.set.device, &leaves)?;
    for used in lease.set.used.iter().filter(|_| upload.waits()) {
        upload.stream.wait_event(used)?;
    }
    // What a producer has queued into the slot comes first, and whoever looks at the tensors waits.
    host.iter().try_for_each(|tensor| upload.stream.wait_tensor(tensor))?;
    let queued =
        queue(&lease, &leaves, &upload.stream).and_then(|()| upload.stream.reads_and_writes(&host, &tensors));
    match queued {
        Ok(done) => lease.uploaded(done),
        Err(error) => {
            // The memory must not be used while some of it is being copied. Where this fails as well nothing is.
            let _ = upload.stream.synchronize();
            return Err(error);
        }
    }
    Ok(Filled { tensors, names, lease })
}

/// Queues the copies of what is in a slot.
fn queue(lease: &Lease, leaves: &[Leaf<'_>], stream: &Stream) -> Result<()> {
    for (leaf, (host, device)) in leaves.iter().zip(lease.set.host.iter().zip(&lease.set.device)) {
        // SAFETY: the set is used again once what comes behind the copies on the stream is done, or the stream has been
        // waited for. The producer has given up the slot, and the destination is nobody else's.
        unsafe { copy_async(&host.lend(leaf)?, &device.lend(leaf)?, stream) }?;
    }
    Ok(())
}

impl Drop for Slot {
    fn drop(&mut self) {
        let Some(Filled { lease, .. }) = &self.0 else { return };
        if std::thread::panicking() {
            lease.shared.abort(Reason::Said("a producer panicked before its batch was complete".into()));
        }
        // Also where a tensor of it lives on.
        lease.shared.give_up(lease.ticket);
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("number", &self.number())
            .field("tensors", &self.filled().tensors)
            .finish()
    }
}
