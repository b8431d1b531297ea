//! What the package's `Stager` needs: a ring, slots and batches as integers that it looks after, and tensors. Waiting and
//! copying are done with the GIL released.

use super::api::Object;
use super::builtin::Arguments;
use super::copy::LONG;
use super::gil::Gil;
use super::memory::read_shape;
use super::object;
use super::wanted::{device_of, read_dtype};
use crate::device::Stream;
use crate::dlpack::DLDataType;
use crate::error::{Error, Reason, Refusal, Result, Staging};
use crate::staging::{AskBatch, Batch, Leaf, Options, Order, Ring, Slot};
use crate::tensor::{Tensor, device};
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

/// `_staging_check(ring)`: raises what a ring was aborted for, if it was.
pub(super) fn check(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([ring], []) = arguments.parse(gil, "_staging_check", [])?;
    match ring_of(gil, ring)?.reason() {
        None => gil.none(),
        Some(reason) => Err(cause(Error::Staging(Staging::Aborted { reason }))),
    }
}

/// An error; what a ring was aborted for, where that is another one.
fn cause(error: Error) -> Error {
    match error {
        Error::Staging(Staging::Aborted { reason: Reason::Failed(cause) }) => *cause,
        error => error,
    }
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

/// What a worker has for its life: the ring, and the slot that it fills.
struct Producer {
    ring: Ring,
    slot: Option<Slot>,
}

impl Producer {
    fn slot(&mut self) -> Result<&mut Slot> {
        self.slot.as_mut().ok_or(Error::Null { what: "slot" })
    }
}

/// `_staging_producer(ring)`: the handle of a producer, for one thread.
pub(super) fn producer(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([ring], []) = arguments.parse(gil, "_staging_producer", [])?;
    let ring = (*ring_of(gil, ring)?).clone();
    Ok(gil.handle(Box::into_raw(Box::new(Producer { ring, slot: None })).cast()))
}

/// `_staging_leave(producer)`: gives the handle back, with its slot.
pub(super) fn leave(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([producer], []) = arguments.parse(gil, "_staging_leave", [])?;
    // SAFETY: the package passes what `producer` gave, once.
    drop(unsafe { Box::from_raw(producer_of(gil, producer)?) });
    gil.none()
}

/// `_staging_widen(ring, likes)`: gives a ring for small batches like these more slots.
pub(super) fn widen(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([ring, likes], []) = arguments.parse(gil, "_staging_widen", [])?;
    let shapes = items(gil, likes)?.map(|item| like(gil, item)).collect::<Result<Vec<_>>>()?;
    ring_of(gil, ring)?.widen_for(&leaves_of(&shapes))?;
    gil.none()
}

/// `_staging_acquire(producer, likes)`: waits for a slot for tensors like these, given as tensors or as pairs of shape and
/// dtype; its number and set.
pub(super) fn acquire(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([producer, tensors], []) = arguments.parse(gil, "_staging_acquire", [])?;
    // SAFETY: the package passes what `producer` gave; a thread has its own.
    let producer = unsafe { &mut *producer_of(gil, producer)? };
    let shapes = items(gil, tensors)?.map(|item| like(gil, item)).collect::<Result<Vec<_>>>()?;
    let leaves = leaves_of(&shapes);
    let mut asked = producer.ring.ask_slot(&leaves)?;
    let at_once = if is_without_driver(&producer.ring) {
        asked.within(Some(Duration::ZERO)).map_err(cause)?
    } else {
        None
    };
    let taken = match at_once {
        None => gil.without(|| asked.within(None)).map_err(cause)?,
        taken => taken,
    };
    let Some(taken) = taken else { unreachable!("there is no limit") };
    // New memory takes its time.
    let slot = if taken.fits(&leaves) { taken.slot(&leaves) } else { gil.without(|| taken.slot(&leaves)) }?;
    let answer = gil.tuple(&[slot.number() as i64, slot.set() as i64]);
    producer.slot = Some(slot);
    Ok(answer)
}

/// `_staging_tensor(producer, index)`: a tensor of the slot, to be filled before that is submitted.
pub(super) fn tensor(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([producer, index], []) = arguments.parse(gil, "_staging_tensor", [])?;
    let index = usize::try_from(gil.index(index)?).unwrap_or(usize::MAX);
    // SAFETY: as above.
    let slot = unsafe { (*producer_of(gil, producer)?).slot() }?;
    object::wrap(gil, slot.bare(index)?.clone())
}

/// `_staging_submit(producer, tensors)`: fills the slot with the elements of tensors, None for what is filled already, and
/// gives it to the consumers. Where that fails it stays the producer's.
pub(super) fn submit(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([producer, tensors], []) = arguments.parse(gil, "_staging_submit", [])?;
    // SAFETY: as above.
    let producer = unsafe { &mut *producer_of(gil, producer)? };
    let source = |item| match gil.given(item) {
        // SAFETY: the GIL is held, and the tuple keeps the object.
        Some(item) => unsafe { object::tensor_in(gil, item) }.cloned().map(Some),
        None => Ok(None),
    };
    let sources = items(gil, tensors)?.map(source).collect::<Result<Vec<_>>>()?;
    let given = || sources.iter().flatten();
    given().try_for_each(|source| gil.settle_tensor(source))?;
    let slow = !device::is_host(producer.ring.device()) || given().map(Tensor::nbytes).sum::<usize>() >= LONG;
    let mut fill_and_submit = || {
        let slot = producer.slot()?;
        for (index, source) in sources.iter().enumerate() {
            if let Some(source) = source {
                // SAFETY: the public documentation has the source leave alone what it has yielded: with one worker until
                // it is asked again, which is after this, with more for good.
                unsafe { slot.fill(index, source) }?;
            }
        }
        producer.slot.take().map_or(Ok(()), Slot::submit_bare)
    };
    if slow { gil.without(fill_and_submit) } else { fill_and_submit() }.map_err(cause)?;
    gil.none()
}

/// `_staging_give_up(producer)`: gives the slot, if there is one, back to the ring.
pub(super) fn give_up(gil: &Gil, arguments: &Arguments) -> Result<Object> {
    let ([producer], []) = arguments.parse(gil, "_staging_give_up", [])?;
    // SAFETY: as above.
    drop(unsafe { (*producer_of(gil, producer)?).slot.take() });
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
    let mut asked = ring.ask_batch(stream.as_ref())?;
    let at_once = if is_without_driver(&ring) { asked.within(Some(Duration::ZERO))? } else { None };
    let batch = match at_once {
        None => wait_for_batch(gil, &mut asked, limit)?,
        Some(batch) => batch,
    };
    let (number, set) = (batch.number(), batch.set());
    let mut items = vec![gil.integer(number as i64), gil.integer(set as i64)];
    for tensor in batch.into_tensors() {
        items.push(object::wrap(gil, tensor)?);
    }
    gil.tuple_of(&items)
}

/// Whether what a ring has is to be asked for at once first, with the GIL held: taking that back may take longer than all
/// else. With a driver it is released, since somebody whom that makes wait may want it.
fn is_without_driver(ring: &Ring) -> bool {
    device::is_host(ring.device())
}

/// Waits for a batch, handling signals now and then.
fn wait_for_batch(gil: &Gil, asked: &mut AskBatch<'_>, limit: Option<Duration>) -> Result<Batch> {
    let start = Instant::now();
    loop {
        let left = limit.map(|limit| limit.saturating_sub(start.elapsed()));
        let slice = left.map_or(SLICE, |left| left.min(SLICE));
        if let Some(batch) = gil.without(|| asked.within(Some(slice)))? {
            return Ok(batch);
        }
        if let Some(limit) = limit.filter(|_| left == Some(slice)) {
            let nanoseconds = limit.as_nanos() as u64; // it was given as one
            return Err(Error::Staging(Staging::NoBatch { nanoseconds }));
        }
        gil.check_signals()?;
    }
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

/// The producer behind a handle.
fn producer_of(gil: &Gil, handle: Object) -> Result<*mut Producer> {
    match gil.index(handle)? {
        0 => Err(Error::Null { what: "producer" }),
        handle => Ok(handle as usize as *mut Producer),
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

/// Leaves like these.
fn leaves_of(shapes: &[(Vec<i64>, DLDataType)]) -> Vec<Leaf<'_>> {
    shapes.iter().map(|(shape, dtype)| Leaf::new("", shape, *dtype)).collect()
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
