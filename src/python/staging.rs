//! What the package's `Stager` needs: a ring, slots and batches as integers that it looks after, and tensors. Waiting and
//! copying are done with the GIL released.

use super::api::Object;
use super::builtin::Arguments;
use super::gil::Gil;
use super::memory::read_shape;
use super::object;
use super::wanted::{device_of, read_dtype};
use crate::device::Stream;
use crate::dlpack::DLDataType;
use crate::error::{Error, Kind, Refusal, Result, Staging};
use crate::staging::{Leaf, Options, Order, Ring, Slot};
use crate::tensor::device;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

/// How long a wait lasts before Python may handle its signals: Ctrl-C is not to feel slow.
const SLICE: Duration = Duration::from_millis(20);

/// `_staging_create(device, slots, keep, first_come)`: a ring's handle.
pub(super) fn create(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([device, slots, keep, first_come], []) = arguments.parse(gil, "_staging_create", [])?;
    let size = |value| gil.index(value).map(|value| usize::try_from(value).unwrap_or(usize::MAX));
    let order = if gil.truth(first_come)? { Order::FirstCome } else { Order::Kept };
    let device = device_of(gil, device)?;
    let ring = Ring::new(Options { device, slots: size(slots)?, keep: size(keep)?, order })?;
    Ok(gil.handle(ring.into_raw()))
}

/// `_staging_end(ring, reason)`: closes a ring, or with a reason that is not None aborts it.
pub(super) fn end(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([ring, reason], []) = arguments.parse(gil, "_staging_end", [])?;
    let ring = ring_of(gil, ring)?;
    match gil.given(reason) {
        None => ring.close(),
        Some(reason) => {
            // Batches that nobody asked for go here; they are memory of the library's own.
            ring.abort(&gil.text(reason));
        }
    }
    gil.none()
}

/// `_staging_drop(ring)`: gives the handle back.
pub(super) fn drop_ring(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([ring], []) = arguments.parse(gil, "_staging_drop", [])?;
    drop(ManuallyDrop::into_inner(ring_of(gil, ring)?));
    gil.none()
}

/// `_staging_totals(ring)`: submitted, handed, bytes, sets, nanoseconds waited for slots, for batches.
pub(super) fn totals(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([ring], []) = arguments.parse(gil, "_staging_totals", [])?;
    let totals = ring_of(gil, ring)?.totals();
    let waits = [totals.slot_wait, totals.batch_wait].map(|wait| wait.as_nanos() as i64);
    let counts = [totals.submitted, totals.handed, totals.bytes, totals.sets].map(|count| count as i64);
    Ok(gil.tuple(&[counts[0], counts[1], counts[2], counts[3], waits[0], waits[1]]))
}

/// `_staging_acquire(ring, likes)`: waits for a slot for tensors like these, given as tensors or as pairs of shape and
/// dtype; its handle, number and set.
pub(super) fn acquire(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([ring, tensors], []) = arguments.parse(gil, "_staging_acquire", [])?;
    let ring = (*ring_of(gil, ring)?).clone();
    let shapes = items(gil, tensors)?.map(|item| like(gil, item)).collect::<Result<Vec<_>>>()?;
    let leaves: Vec<Leaf<'_>> = shapes.iter().map(|(shape, dtype)| Leaf::new("", shape, *dtype)).collect();
    let slot = gil.without(|| ring.acquire(&leaves, None))?;
    let (number, set) = (slot.number() as i64, slot.set() as i64);
    let handle = Box::into_raw(Box::new(slot)) as usize as i64;
    Ok(gil.tuple(&[handle, number, set]))
}

/// `_staging_tensor(slot, index)`: a tensor of a slot, to be filled before the slot is submitted.
pub(super) fn tensor(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([slot, index], []) = arguments.parse(gil, "_staging_tensor", [])?;
    let slot = slot_of(gil, slot)?;
    let index = usize::try_from(gil.index(index)?).unwrap_or(usize::MAX);
    // SAFETY: a slot that the package has.
    object::wrap(gil, unsafe { (*slot).tensor(index)?.clone() })
}

/// `_staging_fill(slot, tensors)`: fills a slot with the elements of tensors, None for one that is filled.
pub(super) fn fill(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([slot, tensors], []) = arguments.parse(gil, "_staging_fill", [])?;
    // SAFETY: the package passes what `acquire` gave and nobody has submitted; the thread that fills it has it alone.
    let slot = unsafe { &mut *slot_of(gil, slot)? };
    let source = |item| match gil.given(item) {
        // SAFETY: the GIL is held, and the tuple keeps the object.
        Some(item) => unsafe { object::tensor_in(gil, item) }.cloned().map(Some),
        None => Ok(None),
    };
    let sources = items(gil, tensors)?.map(source).collect::<Result<Vec<_>>>()?;
    gil.without(move || {
        for (index, source) in sources.iter().enumerate() {
            if let Some(source) = source {
                // SAFETY: the public documentation has the source leave alone what it has yielded: with one worker until
                // it is asked again, which is after this, with more for good.
                unsafe { slot.fill(index, source) }?;
            }
        }
        Ok::<(), Error>(())
    })?;
    gil.none()
}

/// `_staging_submit(slot, whole)`: gives a filled slot to the consumers, or where it is not whole back to the ring. The
/// handle is used up, whatever comes of it.
pub(super) fn submit(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([slot, whole], []) = arguments.parse(gil, "_staging_submit", [])?;
    let whole = gil.truth(whole)?;
    // SAFETY: the package passes what `acquire` gave, once.
    let slot = *unsafe { Box::from_raw(slot_of(gil, slot)?) };
    if whole {
        gil.without(move || slot.submit())?;
    }
    gil.none()
}

/// `_staging_next(ring, timeout, stream)`: the next batch within so many nanoseconds (negative: however long it takes), as a
/// tuple of its number, its set and its tensors. This thread is done with what it was given before. Of a device of its own,
/// the batch is complete for what is queued on `stream`, a native handle there; on the host that says nothing.
pub(super) fn next(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([ring, timeout, stream], []) = arguments.parse(gil, "_staging_next", [])?;
    let ring = (*ring_of(gil, ring)?).clone();
    let stream = match device::is_host(ring.device()) {
        true => None,
        // SAFETY: the package passes a stream of the framework that uses the batch, which keeps it.
        false => Some(unsafe { Stream::from_native(ring.device(), gil.index(stream)? as usize as *mut _) }?),
    };
    let limit = u64::try_from(gil.index(timeout)?).ok().map(Duration::from_nanos);
    let start = Instant::now();
    let mut first = true;
    let batch = loop {
        let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
        let slice = left.map_or(SLICE, |left| left.min(SLICE));
        let ask = if std::mem::take(&mut first) { Ring::next_releasing } else { Ring::next_again };
        match gil.without(|| ask(&ring, stream.as_ref(), Some(slice))) {
            Err(error) if error.kind() == Kind::Timeout => {
                if let Some(limit) = limit.filter(|_| left == Some(slice)) {
                    let nanoseconds = limit.as_nanos() as u64; // it was given as one
                    return Err(Error::Staging(Staging::NoBatch { nanoseconds }));
                }
            }
            result => break result?,
        }
        gil.check_signals()?;
    };
    let (number, set) = (batch.number(), batch.set());
    let mut items = vec![gil.integer(number as i64), gil.integer(set as i64)];
    for tensor in batch.into_tensors() {
        items.push(object::wrap(gil, tensor)?);
    }
    gil.tuple_of(&items)
}

/// The ring behind a handle, borrowed.
fn ring_of(gil: &Gil, handle: Object) -> Result<ManuallyDrop<Ring>> {
    let handle = gil.index(handle)?;
    if handle == 0 {
        return Err(Error::Null { what: "ring" });
    }
    // SAFETY: the package passes the handle of a ring that it holds meanwhile.
    Ok(ManuallyDrop::new(unsafe { Ring::from_raw(handle as usize as *mut _) }))
}

/// The slot behind a handle.
fn slot_of(gil: &Gil, handle: Object) -> Result<*mut Slot> {
    match gil.index(handle)? {
        0 => Err(Error::Null { what: "slot" }),
        handle => Ok(handle as usize as *mut Slot),
    }
}

/// What is in a tuple, borrowed from it.
fn items<'a>(gil: &'a Gil, tuple: Object) -> Result<impl Iterator<Item = Object> + 'a> {
    if gil.type_of(tuple) != gil.api.PyTuple_Type {
        return Err(Error::Refused(Refusal::Signature { words: "tensors is no tuple".into() }));
    }
    // SAFETY: the GIL is held, and it is a tuple.
    let count = unsafe { (gil.api.PyTuple_Size)(tuple) };
    // SAFETY: as above.
    Ok((0..count).map(move |index| unsafe { (gil.api.PyTuple_GetItem)(tuple, index) }))
}

/// The shape and dtype that a tensor has, or a pair of them says.
fn like(gil: &Gil, item: Object) -> Result<(Vec<i64>, DLDataType)> {
    if gil.type_of(item) != gil.api.PyTuple_Type {
        // SAFETY: the GIL is held, and its tuple keeps the object.
        let tensor = unsafe { object::tensor_in(gil, item) }?;
        return Ok((tensor.shape().to_vec(), tensor.dtype()));
    }
    let [shape, dtype] = items(gil, item)?.collect::<Vec<_>>()[..] else {
        return Err(Error::Refused(Refusal::Signature { words: "a pair of shape and dtype is none".into() }));
    };
    let (sizes, ndim) = read_shape(gil, shape)?;
    Ok((sizes[..ndim].to_vec(), read_dtype(gil, dtype)?))
}

impl Gil {
    /// None.
    pub(super) fn none(&self) -> Result<Object> {
        Ok(self.share(self.api._Py_NoneStruct).into_raw())
    }

    /// A Python int.
    fn integer(&self, value: i64) -> Object {
        // SAFETY: the GIL is held.
        unsafe { (self.api.PyLong_FromLongLong)(value) }
    }

    /// An address as a Python int.
    fn handle(&self, address: *mut std::ffi::c_void) -> Object {
        self.integer(address as usize as i64)
    }

    /// A tuple that takes its items over.
    fn tuple_of(&self, items: &[Object]) -> Result<Object> {
        // SAFETY: the GIL is held; the tuple takes each reference over, also where it fails. What is left behind then is
        // leaked, at the end of all memory.
        unsafe {
            let tuple = (self.api.PyTuple_New)(items.len() as isize);
            for (&item, index) in items.iter().zip(0..) {
                if tuple.is_null() || (self.api.PyTuple_SetItem)(tuple, index, item) != 0 {
                    return Err(self.exception());
                }
            }
            Ok(tuple)
        }
    }
}
