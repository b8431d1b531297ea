//! The state machine, driven as the ring drives it, through every interleaving of a few threads (within a bound of
//! preemptions). loom finds deadlocks and lost wake-ups by itself, and that two threads reach one set's memory at once.

use super::Order;
use super::state::{Answer, Side, State, Wake, Who};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Condvar, Mutex, MutexGuard};
use loom::thread;

mod held;

/// More sets than any of these rings ever has.
const SETS: usize = 4;

struct Model {
    inner: Mutex<Inner>,
    room: Condvar,
    ready: Condvar,
    /// The memory of each set: the number of the batch that was written there.
    memory: [UnsafeCell<u64>; SETS],
}

struct Inner {
    state: State,
    free: Vec<Free>,
    /// Sets that there ever were, and those that are no more.
    made: usize,
    gone: usize,
    /// Which set a batch is in.
    place: Vec<usize>,
}

/// A set that nobody has.
struct Free {
    set: usize,
    /// Whether the device is past it, and the ring knows.
    idle: bool,
}

#[derive(Debug, PartialEq)]
enum Over {
    Closed,
    Aborted,
    Held(Vec<u64>),
}

// SAFETY: who may reach the memory of a set is what the model is to find out.
unsafe impl Sync for Model {}

impl Model {
    fn new(slots: usize, keep: usize, order: Order) -> Arc<Model> {
        let state = State::new(slots, keep, order);
        Arc::new(Model {
            inner: Mutex::new(Inner { state, free: Vec::new(), made: 0, gone: 0, place: Vec::new() }),
            room: Condvar::new(),
            ready: Condvar::new(),
            memory: std::array::from_fn(|_| UnsafeCell::new(u64::MAX)),
        })
    }

    /// The lock is free for those who are woken.
    fn tell(&self, mut inner: MutexGuard<'_, Inner>) {
        let wake = inner.state.wake();
        drop(inner);
        self.wake(wake);
    }

    fn wake(&self, wake: Wake) {
        if wake.producers {
            self.room.notify_all();
        }
        if wake.consumers {
            self.ready.notify_all();
        }
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.inner.lock().unwrap();
        let result = change(&mut inner);
        self.tell(inner);
        result
    }

    fn close(&self) {
        self.change(|inner| {
            inner.state.close();
            inner.gone += std::mem::take(&mut inner.free).len();
        });
    }

    /// Asks as `Asker` does: at once, and with the lock given back in between (`None` where that is all) until there is an
    /// answer. What it gives comes with the lock.
    fn ask<T>(
        &self,
        side: Side,
        who: Who,
        patient: bool,
        ask: impl Fn(&mut Inner) -> Answer<T>,
    ) -> Result<Option<(MutexGuard<'_, Inner>, T)>, Over> {
        let condition = if side == Side::Producer { &self.room } else { &self.ready };
        let mut waits = false;
        for at_once in [true, false].into_iter().take(1 + usize::from(patient)) {
            let mut inner = self.inner.lock().unwrap();
            loop {
                let answer = ask(&mut inner);
                if !matches!(answer, Answer::Wait) && waits {
                    inner.state.leaves(side, who);
                }
                let over = match answer {
                    Answer::Go(value) => return Ok(Some((inner, value))),
                    Answer::Wait => None,
                    Answer::Closed => Some(Over::Closed),
                    Answer::Aborted => Some(Over::Aborted),
                    Answer::Held(batches) => Some(Over::Held(batches)),
                };
                if let Some(over) = over {
                    self.tell(inner);
                    return Err(over);
                }
                if !std::mem::replace(&mut waits, true) {
                    inner.state.waits(side, who);
                }
                self.wake(inner.state.wake());
                if at_once {
                    break;
                }
                inner = condition.wait(inner).unwrap();
            }
        }
        self.change(|inner| inner.state.gives_up(side, who));
        Ok(None)
    }

    /// A slot: the number of the batch, and its set.
    fn acquire(&self, who: Who) -> Result<(u64, usize), Over> {
        self.acquire_for(who, false)
    }

    /// The same; who is `patient` waits where all is held, until a consumer is told so.
    fn acquire_for(&self, who: Who, patient: bool) -> Result<(u64, usize), Over> {
        let ask = |inner: &mut Inner| {
            let idle = inner.free.iter().any(|free| free.idle);
            inner.state.acquire(who, idle, patient)
        };
        let Some((mut inner, given)) = self.ask(Side::Producer, who, true, ask)? else { unreachable!() };
        let first = inner.free.iter().position(|free| free.idle && given.reuse);
        assert_eq!(first.is_some(), given.reuse, "what is given may be written");
        let set = first.map_or(inner.made, |first| inner.free.remove(first).set);
        inner.made += usize::from(!given.reuse);
        assert!(inner.made - inner.gone <= inner.state.most(), "no more sets than allowed");
        assert_eq!(inner.place.len() as u64, given.ticket, "numbers follow one another");
        inner.place.push(set);
        self.tell(inner);
        Ok((given.ticket, set))
    }

    fn produce(&self, who: Who) -> Result<u64, Over> {
        self.fill(self.acquire(who)?)
    }

    fn fill(&self, (ticket, set): (u64, usize)) -> Result<u64, Over> {
        // SAFETY: loom finds whoever else is at it.
        self.memory[set].with_mut(|place| unsafe { *place = ticket });
        if self.change(|inner| inner.state.submit(ticket)) {
            return Ok(ticket);
        }
        self.give_back(ticket);
        Err(Over::Aborted)
    }

    fn next(&self, who: Who, release: bool) -> Result<u64, Over> {
        self.next_within(who, release, true).map(|ticket| ticket.unwrap())
    }

    fn next_within(&self, who: Who, release: bool, patient: bool) -> Result<Option<u64>, Over> {
        let first = std::cell::Cell::new(true);
        let ask = |inner: &mut Inner| {
            if first.take() {
                inner.state.asks(who, release);
            }
            inner.state.next(who)
        };
        let Some((mut inner, ticket)) = self.ask(Side::Consumer, who, patient, ask)? else { return Ok(None) };
        let set = inner.place[ticket as usize];
        inner.state.copied(ticket);
        self.tell(inner);
        self.read(ticket, set);
        Ok(Some(ticket))
    }

    fn read(&self, ticket: u64, set: usize) {
        // SAFETY: loom finds whoever else is at it.
        assert_eq!(self.memory[set].with(|place| unsafe { *place }), ticket, "the batch that was written");
    }

    fn give_back(&self, ticket: u64) {
        self.comes_back(ticket, true);
    }

    /// The last tensor of a batch goes; where the memory is not `idle` the device still reads it.
    fn comes_back(&self, ticket: u64, idle: bool) {
        self.change(|inner| {
            let set = inner.place[ticket as usize];
            match inner.state.give_back(ticket) {
                true => inner.free.push(Free { set, idle }),
                false => inner.gone += 1,
            }
        });
    }

    /// The device reads the batch, and is past it. The producer that waits finds that out by looking again and again: what
    /// it finds, and when, is as if it were told.
    fn device_reads(&self, ticket: u64, set: usize) {
        self.read(ticket, set);
        self.inner.lock().unwrap().free.iter_mut().for_each(|free| free.idle |= free.set == set);
        self.room.notify_all();
    }
}

fn check(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(2);
    builder.check(test);
}

#[test]
fn one_producer_and_one_consumer_hand_over_in_order() {
    for slots in [1, 2] {
        check(move || {
            let model = Model::new(slots, 0, Order::Kept);
            let producer = model.clone();
            let thread = thread::spawn(move || {
                (0..3).for_each(|number| assert_eq!(producer.produce(1), Ok(number)));
                producer.close();
            });
            for number in 0..3 {
                assert_eq!(model.next(2, false), Ok(number));
                model.give_back(number);
            }
            assert_eq!(model.next(2, false), Err(Over::Closed));
            thread.join().unwrap();
        });
    }
}

#[test]
fn two_producers_and_a_consumer_in_either_order() {
    for order in [Order::Kept, Order::FirstCome] {
        check(move || {
            let model = Model::new(1, 0, order);
            let threads = [1, 2].map(|who| {
                let model = model.clone();
                thread::spawn(move || assert!(model.produce(who).is_ok()))
            });
            for number in 0..2 {
                assert_eq!(model.next(3, false), Ok(number));
                model.give_back(number);
            }
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}

#[test]
fn two_consumers_get_every_batch_once_and_both_see_the_end() {
    check(|| {
        let model = Model::new(2, 0, Order::Kept);
        let consumers = [1, 2].map(|who| {
            let model = model.clone();
            thread::spawn(move || {
                let mut got = 0;
                while let Ok(ticket) = model.next(who, false) {
                    model.give_back(ticket);
                    got += 1;
                }
                got
            })
        });
        (0..2).for_each(|number| assert_eq!(model.produce(3), Ok(number)));
        model.close();
        assert_eq!(consumers.map(|thread| thread.join().unwrap()).iter().sum::<i32>(), 2);
    });
}

#[test]
fn a_slot_that_is_given_up_does_not_hold_up_those_behind_it() {
    check(|| {
        let model = Model::new(2, 0, Order::Kept);
        let (first, _) = model.acquire(1).unwrap();
        let producer = model.clone();
        let thread = thread::spawn(move || {
            producer.produce(1).unwrap();
            producer.give_back(first);
        });
        assert_eq!(model.next(2, false), Ok(1));
        thread.join().unwrap();
    });
}

#[test]
fn a_slot_that_was_given_up_holds_nobody_up_though_its_memory_comes_back_later() {
    check(|| {
        let model = Model::new(2, 0, Order::Kept);
        let (first, _) = model.acquire(1).unwrap();
        let producer = model.clone();
        let thread = thread::spawn(move || {
            producer.change(|inner| inner.state.give_up(first));
            producer.produce(1).unwrap();
            producer.close();
        });
        assert_eq!(model.next(2, false), Ok(1));
        model.give_back(1);
        assert_eq!(model.next(2, false), Err(Over::Closed));
        thread.join().unwrap();
        model.give_back(first);
    });
}

#[test]
fn memory_that_is_free_and_still_read_by_the_device_is_not_written() {
    for slots in [1, 2] {
        check(move || {
            let model = Model::new(slots, 0, Order::Kept);
            let producer = model.clone();
            let thread = thread::spawn(move || {
                (0..3).for_each(|number| assert_eq!(producer.produce(1), Ok(number)));
            });
            assert_eq!(model.next(2, true), Ok(0));
            let set = model.inner.lock().unwrap().place[0];
            model.comes_back(0, false);
            let device = model.clone();
            let device = thread::spawn(move || device.device_reads(0, set));
            // Nobody is told that all is held: the device lets go by itself.
            assert_eq!(model.next(2, true), Ok(1));
            model.give_back(1);
            assert_eq!(model.next(2, true), Ok(2));
            model.give_back(2);
            [thread, device].into_iter().for_each(|thread| thread.join().unwrap());
        });
    }
}

#[test]
fn where_what_is_free_is_still_read_by_the_device_another_is_made() {
    check(|| {
        let model = Model::new(2, 0, Order::Kept);
        assert_eq!(model.produce(1), Ok(0));
        assert_eq!(model.next(2, false), Ok(0));
        let set = model.inner.lock().unwrap().place[0];
        let producer = model.clone();
        let thread = thread::spawn(move || assert_eq!(producer.produce(1), Ok(1)));
        model.comes_back(0, false);
        assert_eq!(model.next(2, false), Ok(1));
        thread.join().unwrap();
        model.device_reads(0, set);
        model.give_back(1);
    });
}

#[test]
fn an_abort_reaches_a_producer_that_waits_and_a_consumer_that_waits() {
    check(|| {
        let model = Model::new(1, 0, Order::Kept);
        assert_eq!(model.produce(1), Ok(0));
        assert_eq!(model.next(2, false), Ok(0));
        let threads = [3, 4].map(|who| {
            let model = model.clone();
            let ask = move || if who == 3 { model.produce(who) } else { model.next(who, false) };
            thread::spawn(move || assert_eq!(ask(), Err(Over::Aborted)))
        });
        model.change(|inner| inner.state.abort());
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        model.give_back(0);
    });
}

#[test]
fn more_slots_reach_a_producer_that_waits() {
    check(|| {
        let model = Model::new(1, 0, Order::Kept);
        assert_eq!(model.produce(1), Ok(0));
        let producer = model.clone();
        let thread = thread::spawn(move || assert_eq!(producer.produce(2), Ok(1)));
        model.change(|inner| inner.state.widen(2));
        thread.join().unwrap();
    });
}
