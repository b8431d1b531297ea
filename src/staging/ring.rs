//! The ring: the state machine behind its lock, the memory that is free, and the threads that wait.

use super::batch::Batch;
use super::lease::{Lease, Set, grow};
use super::slot::{Filled, Leaf, Slot};
use super::state::{Answer, Given, State, Who};
use super::{MAX_LEAVES, Options};
use crate::device::{Event, Stream, device_allocator, pinned_allocator};
use crate::dlpack::{DLDevice, DLDeviceType};
use crate::error::{Error, Result, Staging};
use crate::fork::{self, Guarded, Lock};
use crate::memory::Allocator;
use crate::tensor::{device, packed_bytes};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

/// Where batches go: who gives the memory, and how it gets there.
pub(super) struct Target {
    pub device: DLDevice,
    pub host: Option<Arc<dyn Allocator>>,
    /// What a device of its own needs; without it the host's buffers are the batch.
    pub upload: Option<Upload>,
}

pub(super) struct Upload {
    pub allocator: Arc<dyn Allocator>,
    pub stream: Stream,
    /// The test of the test: a ring that does not wait for the batch before is one that tests must find wrong.
    #[cfg(test)]
    pub careless: bool,
}

impl Target {
    fn new(asked: DLDevice) -> Result<Target> {
        let device = device::check(asked)?;
        if device.device_type == DLDeviceType::CPU {
            return Ok(Target { device, host: None, upload: None });
        }
        let upload = Upload {
            stream: Stream::new(device)?,
            allocator: device_allocator(device)?,
            #[cfg(test)]
            careless: false,
        };
        Ok(Target { device, host: Some(pinned_allocator(device)?), upload: Some(upload) })
    }
}

impl Upload {
    /// Whether copies wait until the batch before was used.
    pub fn waits(&self) -> bool {
        #[cfg(test)]
        return !self.careless;
        #[cfg(not(test))]
        true
    }
}

/// How long a thread waits before it looks again which copies are done.
const SLICE: Duration = Duration::from_millis(2);

/// What handles, slots and batches share.
pub(super) struct Shared {
    generation: u64,
    pub target: Target,
    inner: Guarded<Inner>,
    /// Something changed for who waits for a slot, for a batch.
    room: Condvar,
    ready: Condvar,
}

pub(super) struct Inner {
    state: State,
    free: Vec<Set>,
    /// What is ready, by number.
    filled: BTreeMap<u64, Filled>,
    /// Batches that were handed out before the copies that make them were done.
    copies: Vec<(u64, Event)>,
    reason: Option<String>,
    totals: Totals,
}

impl Inner {
    /// Looks which copies are done: until then their batches are held by the copy, whatever consumers do.
    fn look(&mut self) {
        let Inner { state, copies, .. } = self;
        copies.retain(|(ticket, copy)| {
            let done = copy.done();
            if done {
                state.copied(*ticket);
            }
            !done
        });
    }
}

/// What a ring has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Batches that were submitted.
    pub submitted: u64,
    /// Batches that were handed out.
    pub handed: u64,
    /// Bytes of those.
    pub bytes: u64,
    /// Sets of buffers that were made: as many as slots, and more where batches were kept.
    pub sets: u64,
    /// Time that threads spent waiting for a slot, summed over them.
    pub slot_wait: Duration,
    /// Time that threads spent waiting for a batch, summed over them.
    pub batch_wait: Duration,
}

/// Slots that producers fill and consumers empty. A clone is another handle to the same ring; any thread may use one.
///
/// Whoever waits holds no lock. A thread that panics while it has a [`Slot`] or a [`Batch`] aborts the ring, so that
/// nobody waits for it. In a child of `fork()` the rings of the parent are [`Unavailable`](crate::Kind::Unavailable).
#[derive(Clone)]
pub struct Ring(Arc<Shared>);

/// A number for this thread, never used again.
fn this_thread() -> Who {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Who = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.try_with(|number| *number).unwrap_or(0)
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
        // From here on forks are counted.
        drop(Lock::take());
        Ok(Ring(Arc::new(Shared {
            generation: fork::generation(),
            target,
            inner: Guarded::new(Inner {
                state: State::new(slots, keep, order),
                free: Vec::new(),
                filled: BTreeMap::new(),
                copies: Vec::new(),
                reason: None,
                totals: Totals::default(),
            }),
            room: Condvar::new(),
            ready: Condvar::new(),
        })))
    }

    /// Where the batches are.
    pub fn device(&self) -> DLDevice {
        self.0.target.device
    }

    /// An empty slot with host memory for tensors like `leaves`, row-major, their values anything. Waits until there is
    /// one, for at most `timeout`: `None` however long it takes, zero not at all.
    ///
    /// Fails with [`Timeout`](crate::Kind::Timeout), with [`Closed`](crate::Kind::Closed) once the ring is closed or
    /// aborted, and with [`OutOfMemory`](crate::Kind::OutOfMemory) where there is none, or where all that the ring may
    /// have is held by batches which nobody else can let go.
    pub fn acquire(&self, leaves: &[Leaf<'_>], timeout: Option<Duration>) -> Result<Slot> {
        match leaves.len() {
            0 => return Err(Error::Staging(Staging::NoTensors)),
            count if count > MAX_LEAVES => {
                return Err(Error::Staging(Staging::TooMany { count, limit: MAX_LEAVES }));
            }
            _ => {}
        }
        for leaf in leaves {
            packed_bytes(leaf.shape, leaf.dtype)?;
        }
        let (ticket, set) = self.0.wait_for_slot(timeout)?;
        // From here on the slot gives back what it has, whatever fails.
        let mut taken = Taken { shared: self.0.clone(), ticket, set: Some(set) };
        let (target, set) = (&self.0.target, taken.set.get_or_insert_default());
        // What was copied out of the host's buffers, or used in them where they were the batch: done long ago, unless
        // nobody looked at the batch. Whether it failed was told to others.
        let busy = if target.upload.is_some() { set.uploaded.take() } else { set.used.take() };
        if let Some(busy) = busy {
            let _ = busy.wait();
        }
        grow(&mut set.host, leaves, target.host.as_ref(), None)?;
        if let Some(upload) = &target.upload {
            grow(&mut set.device, leaves, Some(&upload.allocator), set.used.as_ref())?;
        }
        let set = taken.set.take().unwrap_or_default();
        let lease = Lease::new(self.0.clone(), ticket, set);
        Slot::new(lease, leaves)
    }

    /// The next batch, waiting for at most `timeout`. What is queued on `stream` from now on finds it complete; nobody
    /// waits for that but the device. On the host `stream` may be `None`.
    ///
    /// Once the ring is closed this fails with [`Closed`](crate::Kind::Closed) after the last batch, and at once where it
    /// was aborted, with the reason. Where consumers hold all batches that the ring may have memory for, and all of them
    /// wait here, it is [`OutOfMemory`](crate::Kind::OutOfMemory); nothing is lost, and after some were dropped the next
    /// call succeeds.
    pub fn next(&self, stream: Option<&Stream>, timeout: Option<Duration>) -> Result<Batch> {
        self.next_batch(stream, timeout, false)
    }

    /// [`Ring::next`] for a loop that is done with its batch when it asks for another: what this thread was given before
    /// is released first.
    pub fn next_releasing(&self, stream: Option<&Stream>, timeout: Option<Duration>) -> Result<Batch> {
        self.next_batch(stream, timeout, true)
    }

    fn next_batch(&self, stream: Option<&Stream>, timeout: Option<Duration>, release: bool) -> Result<Batch> {
        let target = &self.0.target;
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
        let (ticket, filled) = self.0.wait_for_batch(timeout, release)?;
        let batch = Batch::new(self.0.clone(), ticket, filled);
        if let Some(stream) = stream {
            batch.ready_on(stream)?;
        }
        Ok(batch)
    }

    /// Lets consumers have what is submitted and being filled, and nothing after it.
    pub fn close(&self) {
        self.0.change(|inner| inner.state.close());
    }

    /// Ends it for both sides: whoever waits or asks from now on gets `reason`, and what nobody has asked for is dropped.
    /// Batches that were handed out stay what they are. Of several reasons the first counts.
    pub fn abort(&self, reason: &str) {
        self.0.abort(reason);
    }

    /// What it has done so far.
    pub fn totals(&self) -> Totals {
        self.0.inner.get(&mut Lock::take()).totals
    }

    /// The batches, by number, that consumers have or keep.
    pub fn held(&self) -> Vec<u64> {
        self.0.inner.get(&mut Lock::take()).state.held()
    }

    #[cfg(test)]
    pub(super) fn target(&self) -> &Target {
        &self.0.target
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
        Ring(unsafe { Arc::from_raw(raw.cast::<Shared>()) })
    }
}

/// A set on its way to a slot.
struct Taken {
    shared: Arc<Shared>,
    ticket: u64,
    set: Option<Set>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        if let Some(set) = self.set.take() {
            self.shared.give_back(self.ticket, Some(set));
        }
    }
}

impl Shared {
    fn check_process(&self) -> Result<()> {
        if self.generation == fork::generation() { Ok(()) } else { Err(Error::Staging(Staging::BeforeFork)) }
    }

    /// Changes the state, and wakes who may care.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut lock = Lock::take();
        let inner = self.inner.get(&mut lock);
        let result = change(inner);
        self.tell(inner);
        result
    }

    fn tell(&self, inner: &mut Inner) {
        let wake = inner.state.wake();
        if wake.producers {
            self.room.notify_all();
        }
        if wake.consumers {
            self.ready.notify_all();
        }
    }

    fn wait_for_slot(&self, timeout: Option<Duration>) -> Result<(u64, Set)> {
        let who = this_thread();
        let ask = |inner: &mut Inner| inner.state.acquire(who);
        let waiting =
            (State::producer_waits as fn(&mut State, Who), State::producer_leaves as fn(&mut State, Who));
        let (mut lock, answer, waited) = self.wait(&self.room, who, timeout, ask, waiting)?;
        let inner = self.inner.get(&mut lock);
        inner.totals.slot_wait += waited;
        let Some(Given { ticket, reuse }) = answer else {
            let held = inner.state.held();
            let nanoseconds = nanoseconds(timeout);
            return Err(Error::Staging(Staging::NoSlot { nanoseconds, held }));
        };
        let set = if reuse { inner.free.pop() } else { None };
        let set = set.unwrap_or_else(|| {
            let number = inner.totals.sets as usize;
            inner.totals.sets += 1;
            Set::numbered(number)
        });
        Ok((ticket, set))
    }

    fn wait_for_batch(&self, timeout: Option<Duration>, release: bool) -> Result<(u64, Filled)> {
        let who = this_thread();
        // Released and asked in one step: between the two a producer would find that everything is held.
        let mut release = release;
        let ask = |inner: &mut Inner| {
            if std::mem::take(&mut release) {
                inner.state.release_all(who);
            }
            inner.state.next(who)
        };
        let waiting =
            (State::consumer_waits as fn(&mut State, Who), State::consumer_leaves as fn(&mut State, Who));
        let (mut lock, answer, waited) = self.wait(&self.ready, who, timeout, ask, waiting)?;
        let inner = self.inner.get(&mut lock);
        inner.totals.batch_wait += waited;
        let Some(ticket) = answer else {
            return Err(Error::Staging(Staging::NoBatch { nanoseconds: nanoseconds(timeout) }));
        };
        let Some(filled) = inner.filled.remove(&ticket) else { unreachable!("ready means filled") };
        match filled.lease.ready() {
            Some(copy) => inner.copies.push((ticket, copy)),
            None => inner.state.copied(ticket),
        }
        inner.totals.handed += 1;
        inner.totals.bytes += filled.bytes();
        Ok((ticket, filled))
    }

    /// Asks until the answer is not to wait, or the time is up (`None`); how long that took.
    fn wait<T>(
        &self,
        condition: &Condvar,
        who: Who,
        timeout: Option<Duration>,
        mut ask: impl FnMut(&mut Inner) -> Answer<T>,
        (waits, leaves): (fn(&mut State, Who), fn(&mut State, Who)),
    ) -> Result<(Lock, Option<T>, Duration)> {
        self.check_process()?;
        let mut start = None;
        let mut lock = Lock::take();
        let answer = loop {
            let inner = self.inner.get(&mut lock);
            inner.look();
            let answer = ask(inner);
            self.tell(inner);
            if !matches!(answer, Answer::Wait) {
                break answer;
            }
            let now = Instant::now();
            let begun = *start.get_or_insert_with(|| {
                waits(&mut inner.state, who);
                self.tell(inner);
                now
            });
            let left = timeout.map(|timeout| timeout.saturating_sub(now - begun));
            if left == Some(Duration::ZERO) {
                break answer;
            }
            // Nobody wakes for a copy that is done while the consumer keeps the batch.
            let slice = (!inner.copies.is_empty()).then_some(SLICE);
            lock = lock.wait(condition, left.into_iter().chain(slice).min());
        };
        let inner = self.inner.get(&mut lock);
        let waited = start.map_or(Duration::ZERO, |start| start.elapsed());
        if start.is_some() {
            leaves(&mut inner.state, who);
        }
        let refuse = |staging| Err(Error::Staging(staging));
        match answer {
            Answer::Go(value) => Ok((lock, Some(value), waited)),
            Answer::Wait => Ok((lock, None, waited)),
            Answer::Closed => refuse(Staging::Closed),
            Answer::Aborted => refuse(Staging::Aborted { reason: inner.reason.clone().unwrap_or_default() }),
            Answer::Held(batches) => refuse(Staging::Held { batches, most: inner.state.most() }),
        }
    }

    /// A slot is filled. Where the ring was aborted, what is in it comes back with the reason.
    pub fn submit(&self, ticket: u64, filled: Filled) -> std::result::Result<(), (Error, Filled)> {
        self.change(|inner| {
            if !inner.state.submit(ticket) {
                let reason = inner.reason.clone().unwrap_or_default();
                return Err((Error::Staging(Staging::Aborted { reason }), filled));
            }
            inner.totals.submitted += 1;
            inner.filled.insert(ticket, filled);
            Ok(())
        })
    }

    /// The consumer says that it is done with a batch.
    pub fn release(&self, ticket: u64) {
        self.change(|inner| {
            inner.look();
            inner.state.release(ticket);
        });
    }

    /// Nobody has a set any more; without one its memory is lost.
    pub fn give_back(&self, ticket: u64, set: Option<Set>) {
        let excess = self.change(|inner| {
            inner.copies.retain(|(each, _)| *each != ticket);
            let keep = inner.state.give_back(ticket);
            match set {
                Some(set) if keep => inner.free.push(set),
                set => return set,
            }
            None
        });
        drop(excess); // without the lock
    }

    pub fn abort(&self, reason: &str) {
        let dropped = self.change(|inner| {
            inner.reason.get_or_insert_with(|| reason.to_owned());
            inner.state.abort();
            std::mem::take(&mut inner.filled)
        });
        drop(dropped); // without the lock
    }
}

fn nanoseconds(timeout: Option<Duration>) -> u64 {
    timeout.map_or(u64::MAX, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX))
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
