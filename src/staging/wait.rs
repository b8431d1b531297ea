//! Asking for a slot or a batch, and waiting until there is one.

use super::lease::Set;
use super::shared::{Inner, Shared};
use super::slot::Filled;
use super::state::{Answer, Side, State, Who};
use crate::error::{Error, Result, Staging};
use crate::fork::Lock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long a thread waits before it looks again which copies are done.
const SLICE: Duration = Duration::from_millis(2);
/// How long a producer looks again and again for a set that is free but for a copy out of it.
const EAGER: Duration = Duration::from_micros(200);

/// What a consumer that asks for a batch says of those it was given before.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Before {
    /// It is done with them.
    Released,
    /// That is said otherwise.
    Separate,
}

/// A thread that asks, once or again and again. From the first answer that is to wait until this is dropped, or has what
/// it asked for, the ring takes it for one that waits: no other is told meanwhile that nobody will release anything.
pub(super) struct Asker<'a> {
    shared: &'a Shared,
    who: Who,
    side: Side,
    since: Option<Instant>,
}

impl<'a> Asker<'a> {
    pub fn new(shared: &'a Shared, side: Side) -> Self {
        Asker { shared, who: this_thread(), side, since: None }
    }

    /// The number of a slot's batch and the memory that is free for it; `None` where the time is up. Where all is held,
    /// and consumers do not wait, who is `patient` waits until one is told so.
    pub fn slot(&mut self, timeout: Option<Duration>, patient: bool) -> Result<Option<(u64, Set)>> {
        let who = self.who;
        let ask = |inner: &mut Inner| {
            let idle = inner.free.iter().any(|set| set.idle);
            inner.state.acquire(who, idle, patient)
        };
        let Some((mut lock, given)) = self.ask(timeout, ask)? else { return Ok(None) };
        let set = self.shared.inner.get(&mut lock).set_for(given);
        self.shared.tell(lock);
        Ok(Some((given.ticket, set)))
    }

    /// The next batch; `None` where the time is up. `before` says what becomes of those that this thread was given, and is
    /// `None` where it goes on to ask.
    pub fn batch(
        &mut self,
        timeout: Option<Duration>,
        mut before: Option<Before>,
    ) -> Result<Option<(u64, Filled)>> {
        let who = self.who;
        // Released and asked in one step: between the two a producer would find that everything is held.
        let ask = |inner: &mut Inner| {
            if let Some(before) = before.take() {
                inner.state.asks(who, before == Before::Released);
            }
            inner.state.next(who)
        };
        let Some((mut lock, ticket)) = self.ask(timeout, ask)? else { return Ok(None) };
        let filled = self.shared.inner.get(&mut lock).hand_out(ticket);
        self.shared.tell(lock);
        Ok(Some((ticket, filled)))
    }

    /// Asks until the answer is not to wait, or the time is up; what the answer gives, under the lock.
    fn ask<T>(
        &mut self,
        timeout: Option<Duration>,
        mut ask: impl FnMut(&mut Inner) -> Answer<T>,
    ) -> Result<Option<(Lock, T)>> {
        let shared = self.shared;
        shared.check_process()?;
        shared.look();
        let mut start = None;
        let mut lock = Lock::take();
        loop {
            let inner = shared.inner.get(&mut lock);
            match ask(inner) {
                Answer::Wait => {}
                Answer::Go(value) => {
                    self.leave(inner, State::leaves);
                    return Ok(Some((lock, value)));
                }
                answer => {
                    self.leave(inner, State::leaves);
                    let error = refusal(inner, answer);
                    shared.tell(lock);
                    return Err(Error::Staging(error));
                }
            }
            let now = Instant::now();
            let begun = *start.get_or_insert(now);
            if self.since.is_none() {
                self.since = Some(now);
                inner.state.waits(self.side, self.who);
            }
            let wake = inner.state.wake();
            let left = timeout.map(|timeout| timeout.saturating_sub(now - begun));
            // Nobody wakes for a copy that is done.
            let slice = pause(inner, now - begun, self.side);
            shared.wake(wake);
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            lock = lock.wait(shared.condition(self.side), left.into_iter().chain(slice).min());
            if slice.is_some() {
                drop(lock);
                shared.look();
                lock = Lock::take();
            }
        }
    }

    /// It waits no longer.
    fn leave(&mut self, inner: &mut Inner, leaves: fn(&mut State, Side, Who)) {
        let Some(since) = self.since.take() else { return };
        leaves(&mut inner.state, self.side, self.who);
        match self.side {
            Side::Producer => inner.totals.slot_wait += since.elapsed(),
            Side::Consumer => inner.totals.batch_wait += since.elapsed(),
        }
    }
}

impl Drop for Asker<'_> {
    fn drop(&mut self) {
        if self.since.is_some() {
            let mut lock = Lock::take();
            self.leave(self.shared.inner.get(&mut lock), State::gives_up);
            self.shared.tell(lock);
        }
    }
}

/// How long a thread that has waited so long sleeps, at most, before it looks again; `None` until it is woken.
fn pause(inner: &Inner, waited: Duration, side: Side) -> Option<Duration> {
    let uploads = side == Side::Producer && inner.free.iter().any(|set| !set.idle);
    match uploads {
        true if waited < EAGER => Some(Duration::ZERO),
        true => Some((waited / 8).min(SLICE)),
        false => (!inner.copies.is_empty()).then_some(SLICE),
    }
}

/// Why there is nothing, and will be nothing.
fn refusal<T>(inner: &Inner, answer: Answer<T>) -> Staging {
    match answer {
        Answer::Aborted => inner.aborted(),
        Answer::Held(batches) => {
            let (most, keep) = (inner.state.most(), inner.state.keep());
            Staging::Held { batches, most, keep }
        }
        Answer::Closed => Staging::Closed,
        Answer::Go(_) | Answer::Wait => unreachable!("no refusal"),
    }
}

/// A number for this thread, never used again.
fn this_thread() -> Who {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Who = NEXT.fetch_add(1, Ordering::Relaxed);
    }
    NUMBER.try_with(|number| *number).unwrap_or(0)
}

/// A limit, for a message.
pub(super) fn nanoseconds(timeout: Option<Duration>) -> u64 {
    timeout.map_or(u64::MAX, |timeout| u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX))
}
