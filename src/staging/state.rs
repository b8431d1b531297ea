//! The state machine of a ring: who gets a slot, which batch comes next, who has to wait, whom to wake.
//!
//! Pure: it has no lock, no memory and no clock, so `model` can try every interleaving of it. Whoever drives it holds a
//! lock around each call, and after it wakes whom [`State::wake`] says.
//!
//! A *set* is the memory of one batch. It is filled, ready, handed out, perhaps kept (the consumer is done with the batch
//! as such, yet some tensor of it is alive), then free again. There are as many sets as slots; one more for each batch
//! that is kept, up to `keep`.

use super::Order;
use std::collections::{BTreeMap, VecDeque};

/// A thread, so that the ring knows who waits for itself.
pub(super) type Who = u64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Filling,
    Ready,
    /// To whom, and whether the copy that makes it is done.
    Handed {
        who: Who,
        copied: bool,
    },
    /// The consumer is done with it, and the copy that made it is not: it comes back by itself.
    Leaving,
    /// `settled` once its consumer has asked for batches after it: until then its last tensor may be about to go.
    Kept {
        settled: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Closed,
    Aborted,
}

/// What whoever asked gets.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer<T> {
    Go(T),
    Wait,
    /// Nothing comes any more.
    Closed,
    Aborted,
    /// These batches are held, there may be no further ones, and no consumer is at work that would release one. What is
    /// kept of released batches counts as held for good: whoever keeps it may let go of it, or never.
    Held(Vec<u64>),
}

/// A slot that was given: the number of its batch, and whether a free set serves or one is to be made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Given {
    pub ticket: u64,
    pub reuse: bool,
}

/// Who may find something new.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Wake {
    pub producers: bool,
    pub consumers: bool,
}

/// What a thread asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    /// A slot.
    Producer,
    /// A batch.
    Consumer,
}

pub(super) struct State {
    slots: usize,
    most: usize,
    order: Order,
    /// Every set in use, by the number of its batch.
    stages: BTreeMap<u64, Stage>,
    /// Ready batches as they came.
    arrived: VecDeque<u64>,
    free: usize,
    next: u64,
    end: Option<End>,
    producers: Vec<Who>,
    consumers: Vec<Who>,
    /// Whether a consumer was told that everything is held: it will do something about it, and producers wait.
    told: bool,
    wake: Wake,
}

impl State {
    pub fn new(slots: usize, keep: usize, order: Order) -> Self {
        State {
            slots,
            most: slots + keep,
            order,
            stages: BTreeMap::new(),
            arrived: VecDeque::new(),
            free: 0,
            next: 0,
            end: None,
            producers: Vec::new(),
            consumers: Vec::new(),
            told: false,
            wake: Wake::default(),
        }
    }

    /// Whom of those that wait the calls since the last one concern: nobody is woken to find what it knew.
    pub fn wake(&mut self) -> Wake {
        let Wake { producers, consumers } = std::mem::take(&mut self.wake);
        // Whoever waits is told something else than to wait only where one of these holds.
        let over = self.end.is_some();
        let room = || self.free > 0 || self.sets() < self.limit();
        Wake {
            producers: producers && !self.producers.is_empty() && (over || room() || self.is_dry()),
            consumers: consumers
                && !self.consumers.is_empty()
                && (over || self.candidate().is_some() || self.is_dry()),
        }
    }

    /// There are to be so many slots, where there are fewer.
    pub fn widen(&mut self, slots: usize) {
        let more = slots.saturating_sub(self.slots);
        (self.slots, self.most) = (self.slots + more, self.most + more);
        self.wake.producers |= more > 0;
    }

    /// The most sets there may be.
    pub fn most(&self) -> usize {
        self.most
    }

    /// How many of them are beyond the slots, for batches that are kept.
    pub fn keep(&self) -> usize {
        self.most - self.slots
    }

    /// The batches that consumers have, or of which tensors are kept; also slots that were given up while theirs are.
    pub fn held(&self) -> Vec<u64> {
        let held = |stage: &Stage| !matches!(stage, Stage::Filling | Stage::Ready);
        self.stages.iter().filter(|(_, stage)| held(stage)).map(|(&ticket, _)| ticket).collect()
    }

    fn sets(&self) -> usize {
        self.stages.len() + self.free
    }

    /// How many sets there may be now.
    fn limit(&self) -> usize {
        let settled = Stage::Kept { settled: true };
        self.most.min(self.slots + self.stages.values().filter(|&&stage| stage == settled).count())
    }

    /// Whether no batch is on its way to a consumer.
    fn is_dry(&self) -> bool {
        !self.stages.values().any(|stage| matches!(stage, Stage::Filling | Stage::Ready))
    }

    /// Whether nobody at work could release a batch, so that a set comes back only if somebody who waits here, or who keeps
    /// tensors of a released batch, lets go. `waits` says of a thread that was given batches whether it does.
    fn is_starved(&self, waits: impl Fn(&Who) -> bool) -> bool {
        self.is_dry()
            && self.free == 0
            && self.stages.values().all(|stage| match stage {
                Stage::Handed { who, .. } => waits(who),
                Stage::Leaving => false,
                _ => true,
            })
    }

    /// Whether a thread has batches that it was given.
    fn has_some(&self, who: Who) -> bool {
        self.stages.values().any(|stage| matches!(stage, Stage::Handed { who: owner, .. } if *owner == who))
    }

    /// Asks for a slot. Where nothing that is free is `idle` yet, one is made as long as there may be more. Who is `patient`
    /// waits where all is held, for a consumer to be told so.
    pub fn acquire(&mut self, who: Who, idle: bool, patient: bool) -> Answer<Given> {
        match self.end {
            Some(End::Aborted) => return Answer::Aborted,
            Some(End::Closed) => return Answer::Closed,
            None => {}
        }
        let reuse = self.free > 0 && idle;
        if !reuse && self.sets() >= self.limit() {
            let consumes = |each: &Who| self.consumers.contains(each);
            // A producer may have batches, too.
            let waits = |each: &Who| *each == who || self.producers.contains(each) || consumes(each);
            if !self.is_starved(waits) {
                return Answer::Wait;
            }
            if self.sets() >= self.most {
                // Consumers are told so, or else producers that have some themselves, if there are any.
                let told = self.told || (!self.consumers.is_empty() && self.is_starved(consumes));
                let theirs = !self.has_some(who) && self.producers.iter().any(|&each| self.has_some(each));
                return if patient || told || theirs { Answer::Wait } else { Answer::Held(self.held()) };
            }
        }
        self.free -= usize::from(reuse);
        let ticket = self.next;
        self.next += 1;
        self.stages.insert(ticket, Stage::Filling);
        Answer::Go(Given { ticket, reuse })
    }

    /// A slot is filled; false where the ring was aborted meanwhile, and the batch is dropped.
    pub fn submit(&mut self, ticket: u64) -> bool {
        if self.end == Some(End::Aborted) {
            return false;
        }
        self.stages.insert(ticket, Stage::Ready);
        self.arrived.push_back(ticket);
        self.wake.consumers = true;
        true
    }

    /// Whoever was to fill a slot gives it up. Its memory comes back by itself; consumers do not wait for it.
    pub fn give_up(&mut self, ticket: u64) {
        if self.stages.get(&ticket) == Some(&Stage::Filling) {
            self.stages.insert(ticket, Stage::Kept { settled: false });
            self.wake = Wake { producers: true, consumers: true };
        }
    }

    /// Asks for a batch, once or again after a wait; [`State::asks`] comes first.
    pub fn next(&mut self, who: Who) -> Answer<u64> {
        if self.end == Some(End::Aborted) {
            return Answer::Aborted;
        }
        if let Some(ticket) = self.candidate() {
            self.arrived.retain(|&each| each != ticket);
            self.stages.insert(ticket, Stage::Handed { who, copied: false });
            // The batch behind it may be ready too, for another consumer.
            self.wake.consumers = true;
            return Answer::Go(ticket);
        }
        if self.end.is_some() && self.is_dry() {
            return Answer::Closed;
        }
        let full = self.sets() >= self.most && !self.producers.is_empty();
        self.told = full && self.is_starved(|each| *each == who || self.consumers.contains(each));
        if self.told { Answer::Held(self.held()) } else { Answer::Wait }
    }

    /// The batch to hand out, if it is ready.
    fn candidate(&self) -> Option<u64> {
        match self.order {
            Order::FirstCome => self.arrived.front().copied(),
            Order::Kept => {
                let waiting = |stage: &Stage| matches!(stage, Stage::Filling | Stage::Ready);
                let first = self.stages.iter().find(|(_, stage)| waiting(stage));
                first.filter(|(_, stage)| **stage == Stage::Ready).map(|(&ticket, _)| ticket)
            }
        }
    }

    /// The copy that makes a batch is done, or there is none. Called for each batch that was handed out.
    pub fn copied(&mut self, ticket: u64) {
        match self.stages.get_mut(&ticket) {
            Some(Stage::Handed { copied, .. }) => *copied = true,
            Some(stage @ Stage::Leaving) => {
                *stage = Stage::Kept { settled: false };
                self.wake = Wake { producers: true, consumers: true };
            }
            _ => {}
        }
    }

    /// The consumer is done with a batch, whatever else keeps its memory.
    pub fn release(&mut self, ticket: u64) {
        let Some(stage) = self.stages.get_mut(&ticket) else { return };
        match *stage {
            Stage::Handed { copied: true, .. } => *stage = Stage::Kept { settled: false },
            Stage::Handed { copied: false, .. } => *stage = Stage::Leaving,
            _ => return,
        }
        self.wake = Wake { producers: true, consumers: true };
    }

    /// `who` is about to ask for a batch: it has had the time to drop those it released before. With `release` it is done
    /// with all that it was given.
    pub fn asks(&mut self, who: Who, release: bool) {
        for stage in self.stages.values_mut() {
            if *stage == (Stage::Kept { settled: false }) {
                *stage = Stage::Kept { settled: true };
                self.wake.producers = true;
            }
        }
        if release {
            let own = |stage: &Stage| matches!(stage, Stage::Handed { who: owner, .. } if *owner == who);
            let own = self.stages.iter().filter(|(_, stage)| own(stage)).map(|(&ticket, _)| ticket);
            own.collect::<Vec<u64>>().into_iter().for_each(|ticket| self.release(ticket));
        }
    }

    /// Nobody reaches the memory of a set any more. Whether it is to be kept for another batch.
    pub fn give_back(&mut self, ticket: u64) -> bool {
        self.told = false;
        self.stages.remove(&ticket);
        self.arrived.retain(|&each| each != ticket);
        let keep = self.end.is_none() && self.sets() < self.limit();
        self.free += usize::from(keep);
        // For consumers: in order, the batch behind one that was given up comes next.
        self.wake = Wake { producers: true, consumers: true };
        keep
    }

    /// No further slots, so nobody needs what is free; consumers get what is on its way.
    pub fn close(&mut self) {
        self.end = self.end.or(Some(End::Closed));
        self.free = 0;
        self.wake = Wake { producers: true, consumers: true };
    }

    /// No further slots and no further batches; the ready ones, which nobody will ask for.
    pub fn abort(&mut self) -> Vec<u64> {
        self.end = Some(End::Aborted);
        self.free = 0;
        self.wake = Wake { producers: true, consumers: true };
        self.arrived.drain(..).collect()
    }

    /// Whether no further slots are given.
    pub fn is_over(&self) -> bool {
        self.end.is_some()
    }

    /// A thread begins to wait. Where all is held, the other side may be told so now.
    pub fn waits(&mut self, side: Side, who: Who) {
        match side {
            Side::Producer => self.wake.consumers = true,
            Side::Consumer => self.wake.producers = true,
        }
        self.waiting(side).push(who);
    }

    /// A thread has waited, and gets nothing. Where all is held, and no consumer waits any more, it is for producers to know.
    pub fn gives_up(&mut self, side: Side, who: Who) {
        self.leaves(side, who);
        self.wake.producers |= side == Side::Consumer;
    }

    /// A thread has waited.
    pub fn leaves(&mut self, side: Side, who: Who) {
        let waiting = self.waiting(side);
        if let Some(at) = waiting.iter().position(|&each| each == who) {
            waiting.swap_remove(at);
        }
    }

    fn waiting(&mut self, side: Side) -> &mut Vec<Who> {
        match side {
            Side::Producer => &mut self.producers,
            Side::Consumer => &mut self.consumers,
        }
    }
}
