//! Letting go of Python objects from anywhere: with the GIL at once, without it later, after the interpreter never.

use super::api::{Api, Buffer, Object, api};
use super::gil::{holds_gil, is_usable};
use crate::tensor::ReleaseFn;
use std::ffi::{c_int, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// What is let go of.
pub(super) enum Thing {
    /// A counted reference.
    Object(Object),
    /// A filled-in buffer in a box.
    Buffer(*mut Buffer),
    /// A managed tensor that a Python producer gave, and what calls its deleter, which may ask for the GIL.
    Managed(*mut c_void, ReleaseFn),
}

impl Thing {
    /// # Safety
    ///
    /// The GIL is held, and the thing is given up.
    unsafe fn let_go(self, api: &Api) {
        // SAFETY: promised by the caller.
        unsafe {
            match self {
                Thing::Object(object) => (api.Py_DecRef)(object),
                Thing::Managed(managed, delete) => delete(managed),
                Thing::Buffer(buffer) => {
                    (api.PyBuffer_Release)(buffer);
                    drop(Box::from_raw(buffer));
                }
            }
        }
    }
}

/// A thing that waits for a thread that holds the GIL.
struct Waiting {
    thing: Thing,
    next: *mut Waiting,
}

/// The things that wait: a stack that any thread pushes to, and that is taken whole.
static WAITING: AtomicPtr<Waiting> = AtomicPtr::new(null_mut());

/// Whether the interpreter was asked to call [`drain_pending`], and has not yet.
static ASKED: AtomicBool = AtomicBool::new(false);

/// Drops a reference to a Python object: the release function of tensors whose owner is one.
///
/// # Safety
///
/// `object` is a counted reference that is given up.
pub(super) unsafe extern "C" fn release_object(object: *mut c_void) {
    // SAFETY: promised by the caller.
    unsafe { release(Thing::Object(object)) }
}

/// Gives a buffer back: the release function of tensors on one.
///
/// # Safety
///
/// `buffer` is a filled-in buffer in a box, given up.
pub(super) unsafe extern "C" fn release_buffer(buffer: *mut c_void) {
    // SAFETY: promised by the caller.
    unsafe { release(Thing::Buffer(buffer.cast())) }
}

/// Deletes a managed tensor of a Python producer with the GIL held, at the interpreter's next occasion.
///
/// # Safety
///
/// `managed` is what `delete` takes, and given up.
pub(super) unsafe fn delete_later(managed: *mut c_void, delete: ReleaseFn) {
    // SAFETY: promised by the caller.
    unsafe { release(Thing::Managed(managed, delete)) }
}

/// Never waits for the GIL: while the interpreter shuts down that would end or hang the thread.
///
/// # Safety
///
/// The thing is given up.
unsafe fn release(thing: Thing) {
    let Ok(api) = api() else { return };
    if !is_usable(api) {
        return; // the thing is leaked, and the process is at its end
    }
    if holds_gil(api) {
        // SAFETY: the GIL is held, and the thing is given up.
        return unsafe { thing.let_go(api) };
    }
    push(thing);
    if !ASKED.swap(true, Ordering::AcqRel) {
        // SAFETY: may be called without the GIL while the interpreter runs.
        if unsafe { (api.Py_AddPendingCall)(drain_pending, null_mut()) } != 0 {
            // Its queue is full: the next call of ours that holds the GIL drains.
            ASKED.store(false, Ordering::Release);
        }
    }
}

fn push(thing: Thing) {
    let waiting = Box::into_raw(Box::new(Waiting { thing, next: null_mut() }));
    let mut head = WAITING.load(Ordering::Relaxed);
    loop {
        // SAFETY: not published yet, so ours alone.
        unsafe { (*waiting).next = head };
        match WAITING.compare_exchange_weak(head, waiting, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

/// Lets go of the things that wait. One load where there are none.
///
/// # Safety
///
/// The calling thread holds the GIL.
pub(super) unsafe fn drain(api: &Api) {
    if WAITING.load(Ordering::Relaxed).is_null() {
        return;
    }
    let mut next = WAITING.swap(null_mut(), Ordering::Acquire);
    while !next.is_null() {
        // SAFETY: the whole stack was taken, so each node is ours; it was made by `push`.
        let waiting = unsafe { Box::from_raw(next) };
        next = waiting.next;
        // SAFETY: the GIL is held, and the thing was given up to us.
        unsafe { waiting.thing.let_go(api) };
    }
}

unsafe extern "C" fn drain_pending(_: *mut c_void) -> c_int {
    // A swap, because what follows looks for waiting things: a plain store could come after that look, and whoever
    // pushes in between would not ask again.
    ASKED.swap(false, Ordering::AcqRel);
    if let Ok(api) = api() {
        // SAFETY: CPython makes pending calls with the GIL held.
        unsafe { drain(api) };
    }
    0
}
