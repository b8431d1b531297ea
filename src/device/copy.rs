//! Asynchronous copies: what is refused, and the order in which things are noted.

use super::{Event, Stream, Work, transfers};
use crate::copy;
use crate::dlpack::DLDeviceType;
use crate::error::{Error, Result, Transfer};
use crate::fork::Lock;
use crate::tensor::{Access, Tensor, device, dtype};

/// Queues a copy of the elements of `source` to `destination`, of the same shape and dtype, and returns.
///
/// A stream of the CPU copies within the host's memory; one of CUDA also from and to its device, within it, and from or
/// to another one. Strides may be anything; those of the destination must not let indices share an element. Everything
/// is checked before anything is queued: what fails here has done nothing. Both tensors are held until the copy is done.
/// Until then, access to the destination waits, and so does mutable access to the source; other copies, on any stream,
/// are ordered behind this one where they touch the same buffer.
///
/// It returns at once, but where a CUDA stream uploads host memory that is not pinned, of any layout: that is packed into
/// pinned memory first, in one pass of the kernels of [`mod@crate::copy`], and may be written again when this returns. Pinned
/// memory goes up from where it lies, in one run or as rows; what lies scattered there (the driver would be called more
/// often than if it were packed, or fetch runs of less than 64 bytes) is packed as well.
///
/// # Safety
///
/// The memory is what the tensors say, with a value in every element of `source` when the copy comes to it. Until the copy is
/// done, nobody writes the memory of `source` and nobody reads or writes that of `destination`, but
/// through tensors that share it: not through another description of it, a slice, or an export from before. An export of
/// `source` from meanwhile does not wait either, and is only read until then.
pub unsafe fn copy_async(source: &Tensor, destination: &Tensor, stream: &Stream) -> Result<Event> {
    check(source, destination, stream)?;
    let staged = stream.queue().inspect(source, destination)?;
    // What failed is reported before the lock is taken: foreign code may be asked.
    source.look_back()?;
    destination.look_back()?;
    let submitted;
    {
        // Queueing and noting it on both tensors is one step: otherwise two threads could make two copies wait for each
        // other.
        let mut lock = Lock::take();
        let mut after = Vec::new();
        source.pending(Access::Read, &mut lock, &mut after);
        destination.pending(Access::Write, &mut lock, &mut after);
        let work = Work::Copy { source: source.clone(), destination: destination.clone(), staged };
        submitted = stream.queue().submit(&mut lock, after, work)?;
        let read = submitted.source_read.as_ref().unwrap_or(&submitted.fence).clone();
        source.busy_until(read, Access::Read, &mut lock);
        destination.busy_until(submitted.fence.clone(), Access::Write, &mut lock);
    }
    transfers::count(source.device(), destination.device(), source.nbytes());
    Ok(submitted.carried_out())
}

/// Refuses what cannot be copied.
fn check(source: &Tensor, destination: &Tensor, stream: &Stream) -> Result<()> {
    let refuse = |transfer| Err(Error::Transfer(transfer));
    let own = stream.device();
    let (from, to) = (source.device(), destination.device());
    for (what, tensor, other) in [("source", from, to), ("destination", to, from)] {
        // A device reaches the memory of another one of its kind where its own is the other end.
        let peer = tensor.device_type == own.device_type && other == own;
        let reached = tensor == own || peer || device::is_host(tensor);
        if !reached {
            let [device, stream] = [tensor, own].map(|each| device::Name(each).to_string());
            return refuse(Transfer::Device { what, device, stream });
        }
    }
    copy::check_match(source, destination)?;
    let dtype = source.dtype();
    let bits = source.size() as u64 * u64::from(dtype::item_bits(dtype));
    if own.device_type != DLDeviceType::CPU && !bits.is_multiple_of(8) {
        return refuse(Transfer::PartOfByte { dtype: dtype::Name(dtype).to_string(), bits });
    }
    let (from, to) = (source.addresses(), destination.addresses());
    if from.0 < to.1 && to.0 < from.1 {
        return refuse(Transfer::Overlap { source: from, destination: to });
    }
    Ok(())
}
