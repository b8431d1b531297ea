//! The queue of a CUDA stream: work takes its place with the library's lock held, and goes to the driver without it.
//!
//! The thread that reserved a place hands its work over itself, when its turn on the stream comes. It waits only for
//! threads whose places were reserved before its own, so no two wait for each other.

use super::capture::{self, Relaxed};
use super::context::{Current, Device};
use super::driver::{Handle, call};
use super::event::Event;
use super::lane::Lane;
use super::mark::{Kept, Mark, SourceRead};
use super::pointer::Inquiry;
use super::{copy, under_way};
use crate::device::nest::{Nest, Side};
use crate::device::{Queue, Submitted, Work};
use crate::dlpack::DLDevice;
use crate::error::{Driver as Failure, Error, Result, Transfer};
use crate::fork::Lock;
use crate::guard::guard;
use crate::tensor::{Fence, Tensor, device};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

/// It does not wait for the legacy default stream, nor that for it.
const NON_BLOCKING: u32 = 1;
/// How long an event is asked at least that is as new as the question: the device takes some microseconds to come to it, also
/// where nothing is before it, and who asks again and again makes a new one each time.
const FRESH: Duration = Duration::from_micros(200);
pub(super) const LEGACY: usize = 1;
/// The default stream of whichever thread calls.
pub(in crate::device) const PER_THREAD: usize = 2;

/// A stream of the driver: our own, which is destroyed when this goes, or somebody else's.
pub(in crate::device) struct Queued {
    device: &'static Device,
    lane: Arc<Lane>,
}

/// Whether a stream does not wait for the legacy default stream, nor that for it. One that is not of the device is refused.
///
/// # Safety
///
/// `handle` is a stream.
pub(in crate::device) unsafe fn stands_apart(ordinal: i32, handle: *mut c_void) -> Result<bool> {
    if handle as usize <= PER_THREAD {
        return Ok(false);
    }
    let current = Device::get(ordinal)?.enter()?;
    let mut flags = 0;
    // SAFETY: the stream is alive, says the caller; writes a number.
    unsafe {
        check_context(&current, handle)?;
        let _relaxed = Relaxed::with(current.device.driver);
        call!(current.device.driver, cuStreamGetFlags(handle, &mut flags))?;
    }
    Ok(flags & NON_BLOCKING != 0)
}

/// Refuses work on a stream that is captured into a graph.
///
/// # Safety
///
/// `handle` is a stream of the device.
pub(in crate::device) unsafe fn check_capture(ordinal: i32, handle: *mut c_void) -> Result<()> {
    // SAFETY: promised by the caller.
    unsafe { capture::check(Device::get(ordinal)?, handle) }
}

/// Refuses a stream of another context than the device's primary one: events can be recorded on streams of their own context
/// alone.
///
/// # Safety
///
/// `handle` is a stream.
unsafe fn check_context(current: &Current<'_>, handle: Handle) -> Result<()> {
    let (device, driver) = (current.device, current.device.driver);
    let (mut context, mut found) = (null_mut(), -1);
    let _relaxed = Relaxed::with(driver);
    // SAFETY: the stream is alive, says the caller, so its context is; each writes to one place, and what is pushed is popped.
    unsafe {
        call!(driver, cuStreamGetCtx(handle, &mut context))?;
        if context == device.context {
            return Ok(());
        }
        call!(driver, cuCtxPushCurrent(context))?;
        let asked = call!(driver, cuCtxGetDevice(&mut found));
        call!(driver, cuCtxPopCurrent(&mut context))?;
        asked?;
    }
    let found = match found == device.ordinal {
        true => format!("another context of {}", device.name()),
        false => device::Name(DLDevice::cuda(found)).to_string(),
    };
    Err(Error::Driver(Failure::OtherContext { stream: handle as usize, device: device.name(), found }))
}

impl Queued {
    /// A new stream, whose failures hold up what is queued behind them unless it `carries_on`.
    pub fn new(ordinal: i32, carries_on: bool) -> Result<Self> {
        let device = Device::get(ordinal)?;
        under_way::watch()?;
        let current = device.enter()?;
        let mut handle = null_mut();
        let _relaxed = Relaxed::with(device.driver);
        // SAFETY: writes a handle.
        unsafe { call!(current.device.driver, cuStreamCreate(&mut handle, NON_BLOCKING)) }?;
        Ok(Self::on(device, handle as usize, true, carries_on))
    }

    /// Refused where it is not of the device.
    ///
    /// # Safety
    ///
    /// `handle` is a stream, and lives as long as the result.
    pub unsafe fn from_native(ordinal: i32, handle: *mut c_void) -> Result<Self> {
        if handle as usize > PER_THREAD {
            // SAFETY: promised by the caller.
            unsafe { check_context(&Device::get(ordinal)?.enter()?, handle) }?;
        }
        // SAFETY: as above, and it was asked for.
        unsafe { Self::from_known(ordinal, handle) }
    }

    /// # Safety
    ///
    /// `handle` is a stream of the device, and lives as long as the result.
    pub unsafe fn from_known(ordinal: i32, handle: *mut c_void) -> Result<Self> {
        let device = Device::get(ordinal)?;
        under_way::watch()?;
        Ok(Self::on(device, (handle as usize).max(LEGACY), false, false))
    }

    fn on(device: &'static Device, handle: usize, ours: bool, carries_on: bool) -> Self {
        Queued { device, lane: Arc::new(Lane::new(handle, ours, carries_on)) }
    }

    /// Hands work to the driver when its turn comes, and binds its mark. Until the turn is over no foreign code runs here:
    /// it may use this stream.
    fn carry_out(&self, mark: &Mark, place: u64, after: Vec<Arc<dyn Fence>>, work: Work) {
        let turn = self.lane.turn(place);
        let (mut event, mut kept, mut read) = (None, Kept::default(), None);
        match &work {
            Work::Keep(tensor) | Work::Zero(tensor) => kept.tensors.push(tensor.clone()),
            Work::Copy { source, destination, staged } => {
                kept.tensors.push(destination.clone());
                match staged {
                    true => read = Some(source.clone()),
                    false => kept.tensors.push(source.clone()),
                }
            }
            _ => {}
        }
        let held_up = self.lane.holds_up();
        let outcome = guard(|| {
            let current = self.device.enter()?;
            let last = Event::new(self.device, &current)?;
            let mut done = self.wait_for(&after);
            if done.is_ok() && held_up.is_none() {
                let (device, stream, lane) = (self.device, self.lane.handle(), &self.lane);
                let target = copy::Target { device, stream, current: &current, lane, place };
                // SAFETY: the stream lives as long as this, and waits for what comes before; the tensors were checked, and
                // what is needed is kept.
                done = unsafe {
                    match &work {
                        Work::Copy { source, destination, staged } => {
                            copy::issue(source, destination, *staged, &target, &mut kept)
                        }
                        Work::Zero(tensor) => copy::zero(tensor, &target),
                        _ => Ok(()),
                    }
                };
            }
            // Also after a failure: part of the work may be under way.
            // SAFETY: the stream lives as long as this.
            unsafe { last.record(self.lane.handle(), &current) }?;
            event = Some(last);
            done
        });
        if event.is_none() {
            // Whoever waits for this relies on all that comes before.
            after.iter().for_each(|fence| _ = fence.wait_for_work());
            self.drain();
        }
        if let (Err(failure), None) = (&outcome, &held_up) {
            self.lane.failed(failure.clone(), &mut Lock::take());
        }
        let is_over = event.is_none();
        drop(work); // these are not the last references
        mark.bind(event, kept, outcome.err().or(held_up));
        drop(turn);
        if is_over {
            mark.settle();
        }
        drop((read, after));
    }

    /// Refuses a stream of the process that this one was forked from.
    fn check_process(&self) -> Result<()> {
        match self.device.driver.is_ours() {
            true => Ok(()),
            false => Err(Error::Driver(Failure::BeforeFork { what: "the stream" })),
        }
    }

    /// Has the stream wait for what comes before; this thread, where that is none of the driver's.
    fn wait_for(&self, after: &[Arc<dyn Fence>]) -> Result<()> {
        let each = |fence: &Arc<dyn Fence>| {
            // SAFETY: the stream lives as long as this.
            unsafe { fence.wait_on_stream(self.device.dlpack(), self.lane.handle()) }
                .unwrap_or_else(|| fence.wait_for_work())
        };
        after.iter().map(each).fold(Ok(()), Result::and)
    }

    /// Waits for the stream, where no event could be recorded. If even that fails nothing goes on any more.
    fn drain(&self) {
        if let Some(current) = self.device.enter_to_free() {
            let _relaxed = Relaxed::with(current.device.driver);
            // SAFETY: the stream lives as long as this.
            let _ = unsafe { call!(current.device.driver, cuStreamSynchronize(self.lane.handle())) };
        }
    }
}

impl Queue for Queued {
    fn ready(&self) -> Result<()> {
        self.check_process()?;
        match self.lane.is_shown() {
            // SAFETY: the stream lives as long as this.
            true => unsafe { capture::check(self.device, self.lane.handle()) },
            // Nobody could have it captured.
            false => Ok(()),
        }
    }

    fn inspect(&self, source: &Tensor, destination: &Tensor) -> Result<bool> {
        self.ready()?;
        let inquiry = Inquiry::by(self.device);
        for tensor in [source, destination] {
            let on = tensor.device();
            if !device::is_host(on) && tensor.size() != 0 {
                inquiry.check(tensor.data() as usize, on.device_id)?;
            }
        }
        if ![source, destination].iter().any(|tensor| device::is_host(tensor.device())) {
            copy::check(source, destination, self.device)?;
        }
        // Within the host the stream copies, when it comes to it.
        if !device::is_host(source.device()) || device::is_host(destination.device()) {
            return Ok(false);
        }
        let Some(nest) = Nest::new(source, destination, Side::To) else { return Ok(false) };
        let pinned = device::is_pinned(source.device());
        let goes = !copy::is_scattered(&nest, self.device) && inquiry.is_reachable(nest.source(), pinned)?;
        Ok(!goes)
    }

    fn submit(&self, lock: &mut Lock, after: Vec<Arc<dyn Fence>>, work: Work) -> Result<Submitted<'_>> {
        self.check_process()?;
        let (mut direct, mut staged) = (None, false);
        if let Work::Copy { source, destination, staged: source_staged } = &work {
            staged = *source_staged;
            let [from, to] = [source, destination].map(|tensor| device::is_host(tensor.device()));
            direct = match (from, to) {
                (true, false) if !staged => Some(source.addresses()),
                (false, true) => Some(destination.addresses()),
                _ => None,
            };
        }
        let place = self.lane.reserve(lock);
        let mark = Arc::new(Mark::reserved(self.lane.clone(), place, direct, &after));
        under_way::add(mark.clone(), lock);
        let source_read: Option<Arc<dyn Fence>> = match staged {
            true => Some(Arc::new(SourceRead(mark.clone()))),
            false => None,
        };
        let fence = mark.clone();
        let rest = Box::new(move || self.carry_out(&mark, place, after, work));
        Ok(Submitted { fence, source_read, rest: Some(rest) })
    }

    fn synchronize(&self, timeout: Option<Duration>) -> Result<()> {
        self.ready()?;
        let submitted = self.submit(&mut Lock::take(), Vec::new(), Work::Report)?;
        let event = submitted.carried_out();
        let is_late = |limit: &Duration| event.wait_timeout(FRESH.max(*limit)).is_err() && !event.done();
        if let Some(timeout) = timeout.filter(is_late) {
            return Err(Error::Transfer(Transfer::not_within(timeout)));
        }
        let _ = event.wait();
        // What comes before is done as well, so this says what became of it.
        self.lane.take_failure(&mut Lock::take()).map_or(Ok(()), Err)
    }

    fn native(&self) -> Option<*mut c_void> {
        Some(self.lane.handle())
    }

    fn show(&self) {
        self.lane.show();
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        if !self.lane.end() || !self.device.driver.is_ours() {
            return;
        }
        if let Some(current) = self.device.enter_to_free() {
            let _relaxed = Relaxed::with(current.device.driver);
            // SAFETY: our own, and nobody uses it any more; the driver carries out what is queued. There is nobody to tell
            // of a failure.
            unsafe { (current.device.driver.cuStreamDestroy)(self.lane.handle()) };
        }
    }
}
