//! `dlb_event_*`: points in a stream.

use super::status::{dlb_status, required, status};
use crate::device::Event;
use crate::error::Result;
use std::time::Duration;

/// As a timeout in nanoseconds, wherever a call takes one: however long it takes.
pub const DLB_WAIT_FOREVER: u64 = u64::MAX;

/// A point in a stream: done once everything queued before it is.
///
/// Opaque. Reference-counted: `dlb_event_retain()` adds a reference, `dlb_event_release()` drops one. Any thread may use
/// an event while it holds a reference. It does not keep the stream or any tensor.
pub struct dlb_event {
    _opaque: [u8; 0],
}

/// An event argument; a reference of its own.
///
/// # Safety
///
/// `event` is NULL or a live event.
pub(super) unsafe fn borrowed(event: *const dlb_event) -> Result<Event> {
    let event = required(event, "event")?;
    // SAFETY: not NULL, so a live event.
    Ok(unsafe { Event::borrow_raw(event.cast()) })
}

/// Gives an event to the caller.
///
/// # Safety
///
/// `out` is a place to write to.
pub(super) unsafe fn give(event: Event, out: *mut *mut dlb_event) {
    // SAFETY: promised by the caller.
    unsafe { out.write(event.into_raw().cast()) }
}

/// Adds a reference and returns `event`. NULL gives NULL. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_event_retain(event: *mut dlb_event) -> *mut dlb_event {
    if !event.is_null() {
        // SAFETY: not NULL, so a live event.
        unsafe { Event::retain_raw(event.cast()) }
    }
    event
}

/// Drops a reference. What the event stands for goes on all the same. NULL is a no-op. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_event_release(event: *mut dlb_event) {
    if !event.is_null() {
        // SAFETY: not NULL, so a reference that the caller gives back.
        crate::guard::guard_silent(|| unsafe { Event::release_raw(event.cast()) });
    }
}

/// Whether the event is done, or never will be (in a child of `fork()`): whether `dlb_event_wait()` would answer at once.
/// Never blocks, and runs no release function: a thread of the library does, or whoever waits. NULL gives true. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_event_done(event: *const dlb_event) -> bool {
    // SAFETY: the caller gives NULL or a live event.
    unsafe { borrowed(event) }.map_or(true, |event| event.done())
}

/// Waits until the event is done, for at most `timeout_ns` nanoseconds: 0 only asks, `DLB_WAIT_FOREVER` has no limit.
///
/// When it is done the stream holds none of the tensors any more that were copied before it. Returns the error of what
/// failed before it, to everybody who waits. Fails besides with `DLB_ERROR_TIMEOUT`, `DLB_ERROR_INVALID_ARGUMENT` (NULL;
/// the stream's own thread, in a release function) and `DLB_ERROR_UNAVAILABLE` (not done when the process forked, and
/// this is the child). Thread-safe. Do not hold a lock meanwhile that a release function of a copied tensor takes; for
/// memory that came through `dlb_python_import()` the GIL is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_event_wait(event: *const dlb_event, timeout_ns: u64) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live event.
        let event = unsafe { borrowed(event) }?;
        match timeout_ns {
            DLB_WAIT_FOREVER => event.wait(),
            nanoseconds => event.wait_timeout(Duration::from_nanos(nanoseconds)),
        }
    })
}
