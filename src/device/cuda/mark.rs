//! Marks: the fences of CUDA streams.
//!
//! A mark is reserved with the library's lock held, so that it has its place among others at once, and bound to an event
//! of the driver later, without the lock. When the event is done, whoever looks first lets go of what the work held.

use super::context::Device;
use super::event::Event;
use super::stream::Lane;
use super::under_way;
use crate::dlpack::DLDevice;
use crate::error::{Driver as Failure, Error, Result};
use crate::fork::{self, Lock};
use crate::guard::guard_silent;
use crate::memory::Block;
use crate::tensor::{Fence, Tensor};
use std::ffi::c_void;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

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
    pub tensors: Vec<Tensor>,
    pub blocks: Vec<Block>,
    /// What a stream calls on the host.
    #[allow(clippy::vec_box, reason = "the driver has the addresses")]
    pub moves: Vec<Box<crate::device::nest::Nest>>,
}

#[derive(Default)]
struct Bound {
    event: Option<Arc<Event>>,
    kept: Kept,
}

pub(super) struct Mark {
    generation: u64,
    pub lane: Arc<Lane>,
    /// The host's memory that the driver itself reads or writes.
    pub direct: Option<(usize, usize)>,
    state: AtomicU8,
    /// Stands for the thread that settles it.
    settler: AtomicUsize,
    failure: OnceLock<Error>,
    bound: Mutex<Bound>,
    changed: Condvar,
}

/// Stands for the present thread; never 0.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here) as usize)
}

impl Mark {
    pub fn reserved(lane: Arc<Lane>, direct: Option<(usize, usize)>) -> Self {
        Mark {
            generation: fork::generation(),
            lane,
            direct,
            state: AtomicU8::new(RESERVED),
            settler: AtomicUsize::new(0),
            failure: OnceLock::new(),
            bound: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Bound> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The driver has the work, and the event is behind it; without one there is nothing to wait for.
    pub fn bind(&self, event: Option<Event>, kept: Kept, failure: Option<Error>) {
        if let Some(failure) = failure {
            let _ = self.failure.set(failure);
        }
        let finished = event.is_none();
        let mut bound = self.lock();
        *bound = Bound { event: event.map(Arc::new), kept };
        self.state.store(BOUND, Ordering::Release);
        self.changed.notify_all();
        drop(bound);
        if finished {
            self.settle(None);
        }
    }

    /// Waits until the driver has the work: the thread that reserved the mark is at it. The event, unless all is done.
    fn event(&self) -> Option<Arc<Event>> {
        let reserved = |_: &mut Bound| self.state.load(Ordering::Acquire) == RESERVED;
        let bound = self.changed.wait_while(self.lock(), reserved);
        bound.unwrap_or_else(PoisonError::into_inner).event.clone()
    }

    pub fn is_bound(&self) -> bool {
        self.state.load(Ordering::Acquire) != RESERVED
    }

    /// Whether it is done, or being settled by this very thread, which would wait for itself.
    fn is_over(&self) -> bool {
        match self.state.load(Ordering::Acquire) {
            DONE => true,
            SETTLING => self.settler.load(Ordering::Relaxed) == this_thread(),
            _ => false,
        }
    }

    fn is_lost(&self) -> bool {
        self.generation != fork::generation() && self.state.load(Ordering::Acquire) != DONE
    }

    /// The work is over: lets go of what it held, unless another thread is at that.
    fn settle(&self, failure: Option<Error>) {
        if self.state.compare_exchange(BOUND, SETTLING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        self.settler.store(this_thread(), Ordering::Relaxed);
        if let Some(failure) = failure {
            self.lane.failed(failure.clone(), &mut Lock::take());
            let _ = self.failure.set(failure);
        }
        let Bound { event, kept } = std::mem::take(&mut *self.lock());
        guard_silent(|| drop((event, kept)));
        let bound = self.lock();
        self.state.store(DONE, Ordering::Release);
        self.changed.notify_all();
        drop(bound);
    }

    /// What the driver says of the event; whether it is done.
    fn look(&self) -> bool {
        let Some(event) = self.lock().event.clone() else { return self.is_over() };
        match event.is_done() {
            Ok(false) => return false,
            Ok(true) => self.settle(None),
            Err(error) => self.settle(Some(over_after(error, &event))),
        }
        self.is_over()
    }

    /// Waits until the driver is done with the work.
    fn reach(&self) {
        if let Some(event) = self.event() {
            let failure = event.wait().err();
            self.settle(failure.map(|error| over_after(error, &event)));
        }
    }
}

/// That the driver failed to say whether something is over is no proof that it is: it is waited for once more. If that
/// fails as well the device is lost, and nothing goes on any more.
fn over_after(error: Error, event: &Event) -> Error {
    let _ = event.wait();
    error
}

impl Fence for Mark {
    fn done(&self) -> bool {
        self.is_over() || self.is_lost() || (self.is_bound() && self.look())
    }

    fn wait(&self) {
        if self.is_over() || self.is_lost() {
            return;
        }
        self.reach();
        let settling = |_: &mut Bound| !self.is_over();
        drop(self.changed.wait_while(self.lock(), settling).unwrap_or_else(PoisonError::into_inner));
        // What comes before on the stream is over as well, and lets go of its tensors.
        under_way::look_at(&self.lane);
    }

    /// The driver has no such function, so it is asked again and again.
    fn wait_timeout(&self, timeout: Duration) -> bool {
        if self.is_over() || self.is_lost() {
            return true;
        }
        let start = Instant::now();
        let mut pause = Duration::from_micros(10);
        while !self.done() {
            let Some(left) = timeout.checked_sub(start.elapsed()) else { return false };
            std::thread::sleep(left.min(pause));
            pause = (pause * 2).min(Duration::from_millis(1));
        }
        under_way::look_at(&self.lane);
        true
    }

    fn wait_for_work(&self) -> Result<()> {
        if !self.is_over() && !self.is_lost() {
            self.reach();
        }
        match self.is_lost() {
            true => Err(Error::Driver(Failure::BeforeFork { what: "the copy" })),
            false => self.failure.get().cloned().map_or(Ok(()), Err),
        }
    }

    unsafe fn wait_on_stream(&self, device: DLDevice, native: *mut c_void) -> bool {
        if self.is_over() || self.is_lost() {
            return true;
        }
        let event = self.event();
        if self.lane.is_own(native) {
            return true;
        }
        let Some(event) = event else { return true };
        let held_up = Device::get(device.device_id).and_then(|device| {
            let current = device.enter()?;
            // SAFETY: promised by the caller.
            unsafe { event.hold_up(native, &current) }
        });
        held_up.is_ok()
    }

    fn failure(&self) -> Option<Error> {
        match self.is_lost() {
            true => Some(Error::Driver(Failure::BeforeFork { what: "the copy" })),
            false => self.failure.get().cloned(),
        }
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
