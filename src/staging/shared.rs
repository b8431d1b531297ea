//! What handles, slots and batches share: the state machine behind its lock, the memory that is free, the threads that
//! wait.

use super::Order;
use super::lease::Set;
use super::slot::Filled;
use super::state::{Given, Side, State, Wake};
use super::target::Target;
use crate::device::Event;
use crate::error::{Error, Reason, Result, Staging};
use crate::fork::{self, Guarded, Lock};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar};
use std::time::Duration;

/// What handles, slots and batches share.
pub(super) struct Shared {
    generation: u64,
    pub target: Target,
    pub inner: Guarded<Inner>,
    /// Something changed for who waits for a slot, for a batch.
    room: Condvar,
    ready: Condvar,
}

pub(super) struct Inner {
    pub state: State,
    /// Those that came back first are used first: what is under way on them is done first.
    pub free: Vec<Set>,
    /// What is ready, by number.
    filled: BTreeMap<u64, Filled>,
    /// Batches that were handed out before the copies that make them were done.
    pub copies: Vec<(u64, Event)>,
    reason: Option<Reason>,
    pub totals: Totals,
}

impl Inner {
    /// What whoever asks is told of a ring that was aborted.
    pub fn aborted(&self) -> Staging {
        let reason = self.reason.clone().unwrap_or_else(|| unreachable!("who aborts says why"));
        Staging::Aborted { reason }
    }

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

    /// The memory for a slot that was given.
    pub fn set_for(&mut self, given: Given) -> Set {
        let first = self.free.iter().position(|set| set.idle).filter(|_| given.reuse);
        first.map(|first| self.free.remove(first)).unwrap_or_else(|| {
            let number = self.totals.sets as usize;
            self.totals.sets += 1;
            Set::numbered(number)
        })
    }

    /// What is in a batch that is handed out.
    pub fn hand_out(&mut self, ticket: u64) -> Filled {
        let Some(filled) = self.filled.remove(&ticket) else { unreachable!("ready means filled") };
        match filled.lease.ready() {
            Some(copy) => self.copies.push((ticket, copy)),
            None => self.state.copied(ticket),
        }
        self.totals.handed += 1;
        self.totals.bytes += filled.bytes();
        filled
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
    /// Sets of buffers that were made, each when first needed: at most as many as slots, and more where batches were kept.
    pub sets: u64,
    /// Time that threads spent waiting for a slot, summed over them.
    pub slot_wait: Duration,
    /// Time that threads spent waiting for a batch, summed over them.
    pub batch_wait: Duration,
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

    /// Why it was aborted, if it was.
    pub fn reason(&self) -> Option<Reason> {
        self.inner.get(&mut Lock::take()).reason.clone()
    }

    /// Whether it was closed or aborted.
    pub fn is_over(&self) -> bool {
        self.inner.get(&mut Lock::take()).state.is_over()
    }

    /// There are to be so many slots, where there are fewer.
    pub fn widen(&self, slots: usize) {
        self.change(|inner| inner.state.widen(slots));
    }

    pub fn close(&self) {
        let unused = self.change(|inner| {
            inner.state.close();
            std::mem::take(&mut inner.free)
        });
        drop(unused); // without the lock
    }

    pub fn check_process(&self) -> Result<()> {
        if self.generation == fork::generation() { Ok(()) } else { Err(Error::Staging(Staging::BeforeFork)) }
    }

    /// Changes the state, and wakes who waits for that.
    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut lock = Lock::take();
        let result = change(self.inner.get(&mut lock));
        self.tell(lock);
        result
    }

    /// Wakes who waits for what was changed under the lock, once that is free for them.
    pub fn tell(&self, mut lock: Lock) {
        let wake = self.inner.get(&mut lock).state.wake();
        drop(lock);
        self.wake(wake);
    }

    pub fn wake(&self, wake: Wake) {
        if wake.producers {
            self.room.notify_all();
        }
        if wake.consumers {
            self.ready.notify_all();
        }
    }

    /// What is notified when something changes for who waits.
    pub fn condition(&self, side: Side) -> &Condvar {
        match side {
            Side::Producer => &self.room,
            Side::Consumer => &self.ready,
        }
    }

    /// Looks which copies are done, and which free sets may be written. Events are asked without the lock, which they may
    /// need.
    pub fn look(&self) {
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

    /// A slot is filled. Where the ring was aborted, what is in it goes, with the reason.
    pub fn submit(&self, ticket: u64, filled: Filled) -> Result<()> {
        let refused = self.change(|inner| {
            if !inner.state.submit(ticket) {
                return Some((inner.aborted(), filled));
            }
            inner.totals.submitted += 1;
            inner.filled.insert(ticket, filled);
            None
        });
        // Dropped without the lock.
        refused.map_or(Ok(()), |(aborted, _)| Err(Error::Staging(aborted)))
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

    pub fn abort(&self, reason: Reason) {
        let dropped = self.change(|inner| {
            inner.reason.get_or_insert(reason);
            inner.state.abort();
            (std::mem::take(&mut inner.filled), std::mem::take(&mut inner.free))
        });
        drop(dropped); // without the lock
    }
}
