//! What is under way on all streams, and the thread that lets go of what nobody asks for.
//!
//! Whoever waits for a mark settles it. A copy that nobody waits for would hold its tensors for ever, and who only asks
//! lets go of nothing, so one thread of the library looks at what is left now and then, as long as there is something.

use super::capture::Relaxed;
use super::lane::Lane;
use super::mark::Mark;
use crate::device::signal::Signal;
use crate::device::{cpu, thread};
use crate::error::{Error, Result};
use crate::fork::{self, Guarded, Lock};
use crate::tensor::Fence;
use std::sync::Arc;
use std::time::Duration;

static UNDER_WAY: Guarded<UnderWay> =
    Guarded::new(UnderWay { marks: Vec::new(), watched: None, asleep: false });
static CHANGED: Signal = Signal::new();

struct UnderWay {
    /// In the order in which they were reserved.
    marks: Vec<Arc<Mark>>,
    /// The process that has the thread.
    watched: Option<u64>,
    /// Whether the thread sleeps until it is told: waking it takes longer than handing over a small copy, so it stays awake
    /// for a while.
    asleep: bool,
}

/// How often the thread looks in vain, a millisecond apart, before it sleeps.
const LINGERS: u32 = 50;

/// Starts the thread, where there is none.
pub(super) fn watch() -> Result<()> {
    let mut lock = Lock::take();
    let under_way = UNDER_WAY.get(&mut lock);
    if under_way.watched != Some(fork::generation()) {
        thread::start("dlbridge cuda", look_after)?;
        under_way.watched = Some(fork::generation());
    }
    Ok(())
}

/// Notes a mark that was reserved.
pub(super) fn add(mark: Arc<Mark>, lock: &mut Lock) {
    let under_way = UNDER_WAY.get(lock);
    under_way.marks.push(mark);
    if under_way.asleep {
        CHANGED.notify_one();
    }
}

/// The marks for which `which` holds.
fn select(which: impl Fn(&Mark) -> bool) -> Vec<Arc<Mark>> {
    let mut lock = Lock::take();
    UNDER_WAY.get(&mut lock).marks.iter().filter(|mark| which(mark)).cloned().collect()
}

/// Notes that the work at a place of a stream failed, for whoever waits for it, for what is behind it or for what waits for it
/// on other streams, before any of them goes on. No driver is called.
pub(super) fn failed(lane: &Arc<Lane>, place: u64, failure: &Error) {
    let mut concerned: Vec<Arc<Mark>> = Vec::new();
    let mut lock = Lock::take();
    // What comes after something was reserved after it.
    for mark in &UNDER_WAY.get(&mut lock).marks {
        let is_it = Arc::ptr_eq(&mark.lane, lane) && mark.place == place;
        if is_it || concerned.iter().any(|other| mark.fails_with(other)) {
            mark.has_failed(failure);
            concerned.push(mark.clone());
        }
    }
    lane.failed(failure.clone(), &mut lock);
    concerned.iter().for_each(|mark| mark.lane.failed(failure.clone(), &mut lock));
    drop(lock);
}

/// What comes before a mark on its stream, and has not let go of everything yet.
pub(super) fn before(mark: &Mark) -> Vec<Arc<Mark>> {
    let is_before = |other: &Mark| Arc::ptr_eq(&other.lane, &mark.lane) && other.place < mark.place;
    select(|other| is_before(other) && !other.is_over())
}

/// Has the thread look at once: something is over.
pub(super) fn hurry() {
    CHANGED.notify_one();
}

/// The copies that access these bytes of the host without help of the CPU.
fn that_touch((first, end): (usize, usize)) -> Vec<Arc<Mark>> {
    select(|mark| mark.direct.is_some_and(|(from, to)| from < end && first < to))
}

/// Waits for the copies that access these bytes of the host without help of the CPU.
pub(super) fn wait_for_memory(bytes: (usize, usize)) {
    that_touch(bytes).iter().for_each(|mark| mark.wait());
}

/// Whether there are such copies. No foreign code runs.
pub(super) fn is_used(bytes: (usize, usize)) -> bool {
    that_touch(bytes).iter().any(|mark| !mark.is_over())
}

fn look_after() {
    cpu::serve_others();
    Relaxed::for_good();
    let (shortest, longest) = (Duration::from_micros(200), Duration::from_millis(4));
    let mut pause = shortest;
    loop {
        let (mut lock, mut looks) = (Lock::take(), 0);
        while UNDER_WAY.get(&mut lock).marks.is_empty() {
            UNDER_WAY.get(&mut lock).asleep = looks == LINGERS;
            lock = CHANGED.wait(lock, (looks < LINGERS).then_some(Duration::from_millis(1)));
            UNDER_WAY.get(&mut lock).asleep = false;
            looks = LINGERS.min(looks + 1);
            pause = shortest;
        }
        drop(CHANGED.wait(lock, Some(pause)));
        let mut over = select(|_| true);
        // What is behind something that is not over is not over either.
        let mut held_up: Vec<Arc<Lane>> = Vec::new();
        over.retain(|mark| {
            if held_up.iter().any(|lane| Arc::ptr_eq(lane, &mark.lane)) {
                return mark.is_over();
            }
            let is_over = mark.look();
            if mark.is_under_way() && mark.lane.is_one_stream() {
                held_up.push(mark.lane.clone());
            }
            is_over
        });
        pause = if over.is_empty() { (pause * 2).min(longest) } else { shortest };
        let mut lock = Lock::take();
        // Both lists are in the same order.
        let mut next = over.iter().peekable();
        UNDER_WAY.get(&mut lock).marks.retain(|mark| match next.peek() {
            Some(gone) if Arc::ptr_eq(mark, gone) => next.next().is_none(),
            _ => true,
        });
        drop(lock);
        drop(over);
    }
}
