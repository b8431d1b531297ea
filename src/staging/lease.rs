//! The memory of one batch, and who has it.

use super::shared::Shared;
use crate::copy::threads;
use crate::device::{Event, Lender, Lent, Stream};
use crate::dlpack::DLTensor;
use crate::error::Result;
use crate::fork::{Guarded, Lock};
use crate::memory::{Allocator, Block};
use crate::staging::Leaf;
use crate::tensor::{Fence, Reach, Tensor, packed_bytes};
use dlpark::DlpackFlags;
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// The buffers of one slot: one for each tensor, exactly as large as the largest it has had.
#[derive(Default)]
pub(super) struct Set {
    pub number: usize,
    /// Of a free one: the batch that it came back from.
    pub life: u64,
    /// Of a free one: whether what [`Set::busy`] says is known to be done.
    pub idle: bool,
    pub host: Vec<Buffer>,
    /// Empty where the host's buffers are the batch.
    pub device: Vec<Buffer>,
    /// The copies out of the host's buffers.
    pub uploaded: Option<Event>,
    /// What was queued on the batch when its tensors went.
    pub used: Vec<Event>,
}

impl Set {
    /// What has to be done before a producer may write the host's buffers.
    pub fn busy(&self) -> Vec<Event> {
        let used = if self.device.is_empty() { &self.used[..] } else { &[] };
        self.uploaded.iter().chain(used).cloned().collect()
    }

    /// Without any memory.
    pub fn numbered(number: usize) -> Self {
        let mut set = Set::default();
        set.number = number;
        set
    }
}

impl Drop for Set {
    fn drop(&mut self) {
        let events = self.used.iter().chain(&self.uploaded).filter(|event| !event.done());
        let fences: Vec<_> = events.map(Event::fence).collect();
        let blocks = self.host.drain(..).chain(self.device.drain(..)).map(|buffer| buffer.block);
        let at_once = |block: &Block| fences.is_empty() || block.is_pooled();
        let (pooled, others) = blocks.partition::<Vec<_>, _>(at_once);
        pooled.into_iter().for_each(|block| block.release_after(fences.clone()));
        if !others.is_empty() {
            release_later(others, fences);
        }
    }
}

/// Gives back what no pool looks after once the fences are done, for which a thread waits that does nothing else. Whoever
/// lets go of a batch may be the thread of a stream, which others wait for, or hold a lock that is needed there.
fn release_later(blocks: Vec<Block>, fences: Vec<Arc<dyn Fence>>) {
    // Where no thread can be started the memory is lost: better that than used by others.
    let blocks = ManuallyDrop::new(blocks);
    let _ = threads::spawn("dlbridge release", move || {
        ManuallyDrop::into_inner(blocks).into_iter().for_each(|block| block.release_after(fences.clone()));
    });
}

pub(super) struct Buffer {
    block: Block,
    /// How many of its first bytes have a value, as a slice needs it, for all that this crate knows. Several threads may look
    /// at the tensors of one slot: nobody is given one while another thread writes values to it.
    initialised: Mutex<usize>,
}

impl Buffer {
    fn describe(&self, leaf: &Leaf<'_>) -> Result<DLTensor> {
        Ok(DLTensor {
            data: if packed_bytes(leaf.shape, leaf.dtype)? == 0 { null_mut() } else { self.block.data() },
            device: self.block.device(),
            ndim: leaf.shape.len() as i32, // at most MAX_NDIM, as `packed_bytes` has seen
            dtype: leaf.dtype,
            shape: leaf.shape.as_ptr().cast_mut(),
            strides: null_mut(),
            byte_offset: 0,
        })
    }

    /// A tensor that keeps nothing, for copies that are to be over before the buffer is used again: those that are under
    /// way must not look as if somebody had the batch.
    ///
    /// # Safety
    ///
    /// The buffer has room for the leaf, and is used again or given back only once the tensor is done with.
    pub unsafe fn lend(&self, leaf: &Leaf<'_>) -> Result<Tensor> {
        // SAFETY: promised by the caller.
        unsafe { Tensor::wrap_foreign(&self.describe(leaf)?, DlpackFlags::empty(), None, null_mut()) }
    }

    /// Gives those of the first `bytes` a value that have none yet: each at most once in the buffer's life.
    ///
    /// # Safety
    ///
    /// Host memory of so many bytes at least, in a slot that nobody else has.
    pub unsafe fn initialise(&self, bytes: usize) {
        let mut have = self.initialised();
        if *have < bytes {
            // SAFETY: promised by the caller.
            unsafe { self.block.data().cast::<u8>().add(*have).write_bytes(0, bytes - *have) };
            *have = bytes;
        }
    }

    /// The first `bytes` were written.
    pub fn written(&self, bytes: usize) {
        let mut have = self.initialised();
        *have = bytes.max(*have);
    }

    fn initialised(&self) -> MutexGuard<'_, usize> {
        self.initialised.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `buffers` have room for tensors like `leaves`.
pub(super) fn fits(buffers: &[Buffer], leaves: &[Leaf<'_>]) -> bool {
    let enough = |(buffer, leaf): (&Buffer, &Leaf<'_>)| {
        packed_bytes(leaf.shape, leaf.dtype).is_ok_and(|bytes| buffer.block.bytes() >= bytes)
    };
    buffers.len() >= leaves.len() && buffers.iter().zip(leaves).all(enough)
}

/// Makes room in `buffers` for tensors like `leaves`; smaller ones go once what is queued on them, `used`, is done.
pub(super) fn grow(
    buffers: &mut Vec<Buffer>,
    leaves: &[Leaf<'_>],
    allocator: Option<&Arc<dyn Allocator>>,
    used: &[Event],
) -> Result<()> {
    for (index, leaf) in leaves.iter().enumerate() {
        let bytes = packed_bytes(leaf.shape, leaf.dtype)?;
        if buffers.get(index).is_some_and(|buffer| buffer.block.bytes() >= bytes) {
            continue;
        }
        let buffer = Buffer { block: Block::new(allocator, bytes, 0)?, initialised: Mutex::default() };
        match buffers.get_mut(index) {
            Some(place) => {
                let smaller = std::mem::replace(place, buffer);
                smaller.block.release_after(used.iter().map(Event::fence).collect());
            }
            None => buffers.push(buffer),
        }
    }
    Ok(())
}

/// A set while tensors on it are alive. It goes back to its ring when the last of them is gone.
pub(super) struct Lease {
    pub shared: Arc<Shared>,
    pub ticket: u64,
    /// Taken out once, in `drop`.
    pub set: Set,
    /// The stream that the batch is used on.
    stream: Guarded<Option<Stream>>,
    /// What others had queued when they let go of tensors.
    used: Guarded<Vec<Event>>,
    /// The copies to the device.
    uploaded: OnceLock<Event>,
}

impl Lease {
    pub fn new(shared: Arc<Shared>, ticket: u64, set: Set) -> Arc<Self> {
        let (stream, used, uploaded) = (Guarded::new(None), Guarded::default(), OnceLock::new());
        Arc::new(Lease { shared, ticket, set, stream, used, uploaded })
    }

    /// What has to be done before the memory is used again is what is on `stream` when the last tensor goes.
    pub fn used_on(&self, stream: &Stream) {
        let before = self.stream.get(&mut Lock::take()).replace(stream.clone());
        drop(before);
    }

    /// The batch is on the device once `event` is done.
    pub fn uploaded(&self, event: Event) {
        let _ = self.uploaded.set(event);
    }

    /// When the batch is on the device; `None` where it is there.
    pub fn ready(&self) -> Option<Event> {
        self.uploaded.get().cloned()
    }

    /// Tensors like `leaves` on buffers of this set.
    pub fn tensors(self: &Arc<Self>, buffers: &[Buffer], leaves: &[Leaf<'_>]) -> Result<Vec<Tensor>> {
        leaves.iter().zip(buffers).map(|(leaf, buffer)| self.tensor(buffer, leaf)).collect()
    }

    fn tensor(self: &Arc<Self>, buffer: &Buffer, leaf: &Leaf<'_>) -> Result<Tensor> {
        let description = buffer.describe(leaf)?;
        let owner = Lent(self.clone());
        // SAFETY: `grow` has made the buffer large enough. It is the set's, which is given out again only when this
        // owner and all its likes are dropped.
        let made = unsafe { Tensor::keep(owner, Reach::Unknown, DlpackFlags::empty(), |_| Ok(description)) };
        made.map_err(|(error, _)| error)
    }
}

impl Lender for Lease {
    fn used_until(&self, event: Event) {
        // A batch may be lent out any number of times: what is over is forgotten now and then, asked without the lock.
        let many = {
            let mut lock = Lock::take();
            let used = self.used.get(&mut lock);
            used.push(event);
            (used.len() >= 16 && used.len().is_power_of_two()).then(|| std::mem::take(used))
        };
        if let Some(mut used) = many {
            used.retain(|event| !event.done());
            self.used.get(&mut Lock::take()).append(&mut used);
        }
    }

    fn is_used_on(&self, stream: usize) -> bool {
        let mut lock = Lock::take();
        let own = self.stream.get(&mut lock).as_ref();
        own.and_then(Stream::native).is_some_and(|native| native as usize == stream)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut set = std::mem::take(&mut self.set);
        let stream = self.stream.get(&mut Lock::take()).take();
        if let Some(uploaded) = self.uploaded.take() {
            // What was queued on the batch before is over when this is.
            set.used.clear();
            set.uploaded = Some(uploaded);
        }
        set.used.append(self.used.get(&mut Lock::take()));
        let last = stream.map_or(Ok(None), |stream| stream.record_now().map(Some));
        if last.is_err() {
            // A stream that takes no more work has lost its process or its device, and nobody knows what it still does with the
            // memory; or it is captured into a graph, which may use it again and again. Better lost than used by others.
            std::mem::forget(set);
            return self.shared.give_back(self.ticket, None);
        }
        set.used.extend(last.ok().flatten());
        self.shared.give_back(self.ticket, Some(set));
    }
}
