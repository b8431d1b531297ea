//! What handles, slots and batches share: the state machine behind its lock, the memory that is free, the threads that
//! wait.

use super::Order;
use super::lease::Set;
use super::slot::Filled;
use super::state::{Answer, Given, State, Waiting, Who};
use super::target::Target;
use crate::device::Event;
use crate::error::{Error, Result, Staging};
use crate::fork::{self, Guarded, Lock};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar};
use std::time::{Duration, Instant};

/// What a consumer that asks for a batch says of those it was given before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It is done with them.
    Released,
    /// That is said otherwise.
    Separate,
}

/// How long a thread waits before it looks again which copies are done.
const SLICE: Duration = Duration::from_millis(2);
/// How long a producer looks again and again for a set that is free but for a copy out of it.
const EAGER: Duration = Duration::from_micros(200);

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
    /// Those that came back first are used first: what is under way on them is done first.
    free: Vec<Set>,
    /// What is ready, by number.
    filled: BTreeMap<u64, Filled>,
    /// Batches that were handed out before the copies that make them were done.
    copies: Vec<(u64, Event)>,
    reason: Option<String>,
    totals: Totals,
}

impl Inner {
    /// These copies are done: until then their batches are held by the copy, whatever consumers do.
    fn copied(&mut self, over: &[u64]) {
        let Inner { state, copies, .. } = self;
        copies.retain(|(ticket, _)| {
            let done = over.contains(ticket);
            if done {
                state.copied(*ticket);
            }
            !done
        });
    }

    /// How long a producer that has waited so long sleeps, at most, before it looks again; `None` until it is woken.
    fn pause(&self, waited: Duration, produces: bool) -> Option<Duration> {
        let uploads = produces && self.free.iter().any(|set| !set.idle);
        match uploads {
            true if waited < EAGER => Some(Duration::ZERO),
            true => Some((waited / 8).min(SLICE)),
            false => (!self.copies.is_empty()).then_some(SLICE),
        }
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

/// A number for this thread, never used again.
fn this_thread() -> Who {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Who = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

impl Shared {
    pub fn new(target: Target, slots: usize, keep: usize, order: Order) -> Arc<Self> {
        // From here on forks are counted.
        drop(Lock::take());
        Arc::new(Shared {
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
        })
    }

    pub fn totals(&self) -> Totals {
        self.inner.get(&mut Lock::take()).totals
    }

    pub fn held(&self) -> Vec<u64> {
        self.inner.get(&mut Lock::take()).state.held()
    }

    pub fn is_aborted(&self) -> bool {
        self.inner.get(&mut Lock::take()).reason.is_some()
    }

    pub fn close(&self) {
        self.change(|inner| inner.state.close());
    }

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

    /// The number of a slot's batch, and the memory that is free for it.
    pub fn wait_for_slot(&self, timeout: Option<Duration>) -> Result<(u64, Set)> {
        let who = this_thread();
        let ask = |inner: &mut Inner| {
            let idle = inner.free.iter().any(|set| set.idle);
            inner.state.acquire(who, idle)
        };
        let waiting: Waiting = (State::producer_waits, State::producer_leaves);
        let (mut lock, answer, waited) = self.wait(&self.room, who, timeout, ask, waiting)?;
        let inner = self.inner.get(&mut lock);
        inner.totals.slot_wait += waited;
        let Some(Given { ticket, reuse }) = answer else {
            let (nanoseconds, held) = (nanoseconds(timeout), inner.state.held());
            return Err(Error::Staging(Staging::NoSlot { nanoseconds, held }));
        };
        let first = inner.free.iter().position(|set| set.idle).filter(|_| reuse);
        let set = first.map(|first| inner.free.remove(first)).unwrap_or_else(|| {
            let number = inner.totals.sets as usize;
            inner.totals.sets += 1;
            Set::numbered(number)
        });
        Ok((ticket, set))
    }

    /// The next batch. `before` says what becomes of those that this thread was given before; `None` where that was said.
    pub fn wait_for_batch(&self, timeout: Option<Duration>, before: Option<Before>) -> Result<(u64, Filled)> {
        let who = this_thread();
        // Released and asked in one step: between the two a producer would find that everything is held.
        let mut first = before;
        let ask = |inner: &mut Inner| {
            if let Some(before) = first.take() {
                inner.state.asks(who, before == Before::Released);
            }
            inner.state.next(who)
        };
        let waiting: Waiting = (State::consumer_waits, State::consumer_leaves);
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

    /// Looks which copies are done, and which free sets may be written. Events are asked without the lock, which they may
    /// need.
    fn look(&self) {
        let (mut copies, mut sets) = {
            let mut lock = Lock::take();
            let inner = self.inner.get(&mut lock);
            let busy = inner.free.iter().filter(|set| !set.idle);
            (inner.copies.clone(), busy.map(|set| (set.life, set.busy())).collect::<Vec<_>>())
        };
        copies.retain(|(_, copy)| copy.done());
        sets.retain(|(_, events)| events.iter().all(Event::done));
        if !copies.is_empty() {
            let over: Vec<u64> = copies.iter().map(|(ticket, _)| *ticket).collect();
            self.change(|inner| inner.copied(&over));
        }
        if !sets.is_empty() {
            let mut lock = Lock::take();
            let inner = self.inner.get(&mut lock);
            let is_over = |set: &Set| sets.iter().any(|(life, _)| *life == set.life);
            inner.free.iter_mut().filter(|set| is_over(set)).for_each(|set| set.idle = true);
            self.room.notify_all();
        }
    }

    /// Asks until the answer is not to wait, or the time is up (`None`); how long that took.
    fn wait<T>(
        &self,
        condition: &Condvar,
        who: Who,
        timeout: Option<Duration>,
        mut ask: impl FnMut(&mut Inner) -> Answer<T>,
        (waits, leaves): Waiting,
    ) -> Result<(Lock, Option<T>, Duration)> {
        self.check_process()?;
        let mut start = None;
        self.look();
        let mut lock = Lock::take();
        let answer = loop {
            let inner = self.inner.get(&mut lock);
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
            // Nobody wakes for a copy that is done.
            let slice = inner.pause(now - begun, std::ptr::eq(condition, &self.room));
            lock = lock.wait(condition, left.into_iter().chain(slice).min());
            if slice.is_some() {
                drop(lock);
                self.look();
                lock = Lock::take();
            }
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
            Answer::Held(batches) => {
                let state = &inner.state;
                refuse(Staging::Held { batches, most: state.most(), keep: state.keep() })
            }
        }
    }

    /// A slot is filled. Where the ring was aborted, what is in it goes, with the reason.
    pub fn submit(&self, ticket: u64, filled: Filled) -> Result<()> {
        let refused = self.change(|inner| {
            if !inner.state.submit(ticket) {
                return Some((inner.reason.clone().unwrap_or_default(), filled));
            }
            inner.totals.submitted += 1;
            inner.filled.insert(ticket, filled);
            None
        });
        // Dropped without the lock.
        refused.map_or(Ok(()), |(reason, _)| Err(Error::Staging(Staging::Aborted { reason })))
    }

    /// No batch comes of a slot.
    pub fn give_up(&self, ticket: u64) {
        self.change(|inner| inner.state.give_up(ticket));
    }

    /// The consumer says that it is done with a batch.
    pub fn release(&self, ticket: u64) {
        self.look();
        self.change(|inner| inner.state.release(ticket));
    }

    /// Nobody has a set any more; without one its memory is lost.
    pub fn give_back(&self, ticket: u64, set: Option<Set>) {
        let excess = self.change(|inner| {
            inner.copies.retain(|(each, _)| *each != ticket);
            let keep = inner.state.give_back(ticket);
            match set {
                Some(mut set) if keep => {
                    (set.life, set.idle) = (ticket, set.busy().is_empty());
                    inner.free.push(set);
                }
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
