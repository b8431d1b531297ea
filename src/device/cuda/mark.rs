//! Marks: the fences of CUDA streams.
//!
//! A mark is reserved with the library's lock held, so that it has its place among others at once, and bound to an event
//! of the driver later, without the lock. When the event is done, the work is over; then somebody settles the mark, which
//! is to let go of what the work held. That may run foreign code, so it is done by who waits for all of it, and by the
//! library's own thread, and never by who only asks or whose other work comes behind.

use super::context::Device;
use super::event::{Event, ask_until};
use super::host_copy::HostCopy;
use super::lane::Lane;
use super::under_way;
use crate::device::signal::Signal;
use crate::dlpack::DLDevice;
use crate::error::{Driver as Failure, Error, Result};
use crate::fork;
use crate::guard::guard_silent;
use crate::memory::Block;
use crate::tensor::{Fence, Tensor};
use std::cell::Cell;
use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

/// It has its place, and its work is not with the driver yet.
const RESERVED: u8 = 0;
/// The driver has the work.
const BOUND: u8 = 1;
/// The work is done, and some thread lets go of what it held. Others go on waiting: afterwards nothing is in use.
const SETTLING: u8 = 2;
const DONE: u8 = 3;

/// What work needs until it is done.
#[derive(Default)]
pub(super) struct Kept {
    /// Before the memory that they copy: they are dropped first.
    pub copies: Vec<HostCopy>,
    pub tensors: Vec<Tensor>,
    pub blocks: Vec<Block>,
}

#[derive(Default)]
struct Bound {
    event: Option<Arc<Event>>,
    kept: Kept,
}

pub(super) struct Mark {
    generation: u64,
    pub lane: Arc<Lane>,
    /// Its number among the marks of the lane.
    pub place: u64,
    /// The host's memory that the driver itself reads or writes.
    pub direct: Option<(usize, usize)>,
    /// What the work waits for, to be told of what fails there later; their memory, and nothing that they hold, stays.
    after: Vec<Weak<dyn Fence>>,
    state: AtomicU8,
    /// Stands for the thread that settles it.
    settler: AtomicUsize,
    /// Whether it is known that all marks before it on the lane have let go as well.
    alone: AtomicBool,
    failure: OnceLock<Error>,
    bound: Mutex<Bound>,
    changed: Signal,
}

thread_local! {
    /// How many marks this thread is letting go of: the code that runs here may be what others wait for.
    static SETTLES: Cell<usize> = const { Cell::new(0) };
}

/// Stands for the present thread; never 0.
fn this_thread() -> usize {
    SETTLES.with(|here| std::ptr::from_ref(here) as usize)
}

fn settles_here() -> bool {
    SETTLES.with(Cell::get) > 0
}

impl Mark {
    pub fn reserved(
        lane: Arc<Lane>,
        place: u64,
        direct: Option<(usize, usize)>,
        after: &[Arc<dyn Fence>],
    ) -> Self {
        Mark {
            generation: fork::generation(),
            lane,
            place,
            direct,
            after: after.iter().map(Arc::downgrade).collect(),
            state: AtomicU8::new(RESERVED),
            settler: AtomicUsize::new(0),
            alone: AtomicBool::new(false),
            failure: OnceLock::new(),
            bound: Mutex::default(),
            changed: Signal::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver has the work, and the event is behind it. Without one there is nothing to wait for, and the caller
    /// settles it.
    pub fn bind(&self, event: Option<Event>, kept: Kept, failure: Option<Error>) {
        if let Some(failure) = failure {
            self.has_failed(&failure);
        }
        let mut bound = self.lock();
        *bound = Bound { event: event.map(Arc::new), kept };
        self.state.store(BOUND, Ordering::Release);
        self.changed.notify_all();
    }

    /// Waits until the driver has the work: the thread that reserved the mark is at it. The event, unless all is done.
    fn event(&self) -> Option<Arc<Event>> {
        let reserved = |_: &mut Bound| self.state.load(Ordering::Acquire) == RESERVED;
        self.changed.wait_while(self.lock(), reserved).event.clone()
    }

    pub fn is_bound(&self) -> bool {
        self.state.load(Ordering::Acquire) != RESERVED
    }

    /// Whether nobody has seen yet that the work is over.
    pub fn is_under_way(&self) -> bool {
        self.state.load(Ordering::Acquire) < SETTLING
    }

    /// Whether it is done, or being settled by this very thread, which would wait for itself.
    pub fn is_over(&self) -> bool {
        match self.state.load(Ordering::Acquire) {
            DONE => true,
            SETTLING => self.settler.load(Ordering::Relaxed) == this_thread(),
            _ => false,
        }
    }

    /// Whether the driver is known to be done with the work, though tensors may be held for it still.
    fn is_past(&self) -> bool {
        let event = match self.state.load(Ordering::Acquire) {
            RESERVED => None,
            BOUND => self.lock().event.clone(),
            _ => return true,
        };
        self.is_lost() || event.is_some_and(|event| !matches!(event.is_done(), Ok(false)))
    }

    fn is_lost(&self) -> bool {
        self.generation != fork::generation() && self.state.load(Ordering::Acquire) != DONE
    }

    /// Whether all before it on the lane have let go of what they held. Code that others may wait for waits for nobody.
    fn is_alone(&self) -> bool {
        let alone = self.alone.load(Ordering::Acquire)
            || settles_here()
            || !self.lane.is_one_stream()
            || under_way::before(self).is_empty();
        if alone && !settles_here() {
            self.alone.store(true, Ordering::Release);
        }
        alone
    }

    /// The work is over: lets go of what it held, unless another thread is at that.
    pub fn settle(&self) {
        if self.state.compare_exchange(BOUND, SETTLING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        self.settler.store(this_thread(), Ordering::Relaxed);
        let Bound { event, kept } = std::mem::take(&mut *self.lock());
        SETTLES.with(|here| here.set(here.get() + 1));
        guard_silent(|| drop((event, kept)));
        SETTLES.with(|here| here.set(here.get() - 1));
        let bound = self.lock();
        self.state.store(DONE, Ordering::Release);
        self.changed.notify_all();
        drop(bound);
    }

    /// Notes what became of the work, unless something failed before.
    pub fn has_failed(&self, failure: &Error) {
        let _ = self.failure.set(failure.clone());
    }

    /// Whether the work comes after that of `other`: behind it where all fails as one, or because it waits for it.
    pub fn fails_with(&self, other: &Mark) -> bool {
        let is_behind = Arc::ptr_eq(&self.lane, &other.lane) && self.place > other.place;
        let waits = |fence: &Weak<dyn Fence>| std::ptr::addr_eq(fence.as_ptr(), other);
        (is_behind && self.lane.fails_as_one()) || self.after.iter().any(waits)
    }

    /// Notes what the driver found later, for what comes after it as well.
    fn note(&self, failure: &Error) {
        if self.failure.set(failure.clone()).is_ok() {
            under_way::failed(&self.lane, self.place, failure);
        }
    }

    /// Settles it if the driver says that the work is over; whether it is done.
    pub fn look(&self) -> bool {
        // Before the event: what is handed over in between has one, and would be taken for work that has none.
        if !self.is_bound() {
            return false;
        }
        let event = self.lock().event.clone();
        if let Some(event) = event {
            match event.is_done() {
                Ok(false) => return false,
                Ok(true) => {}
                // It is no proof that it is over: if waiting fails as well the device is lost, and nothing goes on.
                Err(error) => {
                    let _ = event.wait();
                    self.note(&error);
                }
            }
        }
        self.settle();
        self.is_over()
    }

    /// Waits until the driver is done with the work.
    fn reach(&self) {
        let Some(event) = self.event() else { return };
        if let Err(error) = event.wait() {
            self.note(&error);
        }
    }

    /// Waits until no thread lets go of what the work held; not where the work is not over.
    fn let_go(&self) {
        self.look();
        let settling = |_: &mut Bound| self.state.load(Ordering::Acquire) == SETTLING && !self.is_over();
        drop(self.changed.wait_while(self.lock(), settling));
    }

    /// What is known by now to have failed.
    fn known(&self) -> Result<()> {
        match self.is_lost() {
            true => Err(Error::Driver(Failure::BeforeFork { what: "the copy" })),
            false => self.failure.get().cloned().map_or(Ok(()), Err),
        }
    }
}

impl Fence for Mark {
    /// Only asks. What holds tensors is left to the library's thread, unless this is the code that it waits for.
    fn done(&self) -> bool {
        if self.is_lost() {
            return true;
        }
        if settles_here() {
            return self.is_over() || self.look();
        }
        if !self.is_over() {
            let (event, holds) = {
                let bound = self.lock();
                (bound.event.clone(), !bound.kept.tensors.is_empty())
            };
            let Some(event) = event else { return self.is_over() && self.is_alone() };
            if matches!(event.is_done(), Ok(false)) {
                return false;
            }
            if holds || !self.is_alone() {
                under_way::hurry();
                return false;
            }
            self.look();
        }
        self.is_over() && self.is_alone()
    }

    fn wait(&self) {
        if self.is_lost() || (self.is_over() && self.is_alone()) {
            return;
        }
        if !self.is_over() {
            self.reach();
        }
        // What comes before on the stream is over as well, and lets go of its tensors.
        if !settles_here() {
            under_way::before(self).iter().for_each(|mark| mark.let_go());
        }
        self.settle();
        let settling = |_: &mut Bound| !self.is_over();
        drop(self.changed.wait_while(self.lock(), settling));
    }

    fn wait_timeout(&self, timeout: Duration) -> bool {
        ask_until(|| self.done(), Some(timeout))
    }

    /// What the work held is let go of here: the library's thread would have to be woken for it.
    fn wait_slice(&self, slice: Duration) -> bool {
        let is_over = ask_until(|| self.is_past(), Some(slice));
        if is_over {
            self.wait();
        }
        is_over && self.done()
    }

    /// Nothing is let go of: the caller may have its turn on a stream, or be the thread of one.
    fn wait_for_work(&self) -> Result<()> {
        if !self.is_over() && !self.is_lost() {
            self.reach();
        }
        self.known()
    }

    unsafe fn wait_on_stream(&self, device: DLDevice, native: *mut c_void) -> Option<Result<()>> {
        if self.is_over() || self.is_lost() {
            return Some(self.known());
        }
        let event = self.event().filter(|_| !self.lane.is_own(native));
        let Some(event) = event else { return Some(self.known()) };
        let held_up = Device::get(device.device_id).and_then(|device| {
            let current = device.enter()?;
            // SAFETY: promised by the caller.
            unsafe { event.hold_up(native, &current) }
        });
        held_up.ok().map(|()| self.known())
    }

    fn known_failure(&self) -> Option<Error> {
        self.known().err()
    }

    fn place(&self) -> Option<(usize, u64)> {
        self.lane.is_one_stream().then_some((Arc::as_ptr(&self.lane) as usize, self.place))
    }

    /// Only once it is done: part of what failed may be under way until then.
    fn failure(&self) -> Option<Error> {
        if self.done() { self.known().err() } else { None }
    }
}

/// What mutable access to the source of a staged copy waits for: that it was read, which it is when the driver has the
/// work.
pub(super) struct SourceRead(pub Arc<Mark>);

impl Fence for SourceRead {
    fn done(&self) -> bool {
        self.0.is_bound() || self.0.is_lost()
    }

    fn wait(&self) {
        if !self.done() {
            drop(self.0.event());
        }
    }
}

#[cfg(test)]
mod tests;
