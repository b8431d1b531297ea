//! One lock for all that threads of ours share, and what becomes of it when the process forks.
//!
//! A child of `fork()` has one thread, and every lock in the state in which it was. So the fork itself takes this lock
//! first: a child finds it free and what it guards whole. It is held for a few instructions at a time, never while
//! foreign code runs or elements move.

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

static LOCK: Mutex<()> = Mutex::new(());
static GENERATION: AtomicU64 = AtomicU64::new(0);

/// How often this process and those it descends from have forked: what was made under another number has lost its
/// threads. It changes once [`watch`] was called.
pub(crate) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// The lock, held. It is there until this goes or waits.
pub(crate) struct Lock(Option<MutexGuard<'static, ()>>);

impl Lock {
    pub fn take() -> Lock {
        watch();
        // Nothing panics halfway through a change, so what the lock guards is whole even after a panic.
        Lock::held(LOCK.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn held(guard: MutexGuard<'static, ()>) -> Lock {
        tell_race_checker(Step::Taken);
        Lock(Some(guard))
    }

    /// Lets go of the lock until `condition` is notified, or `timeout` has passed, or for no reason.
    pub fn wait(mut self, condition: &Condvar, timeout: Option<Duration>) -> Lock {
        let Some(guard) = self.0.take() else { unreachable!("held until it waits or goes") };
        tell_race_checker(Step::GivenBack);
        Lock::held(match timeout {
            None => condition.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(timeout) => condition.wait_timeout(guard, timeout).unwrap_or_else(PoisonError::into_inner).0,
        })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.0.is_some() {
            tell_race_checker(Step::GivenBack);
        }
    }
}

enum Step {
    Taken,
    GivenBack,
}

/// ThreadSanitizer does not see into std's mutex, so it is told.
#[cfg(race_checker)]
fn tell_race_checker(step: Step) {
    unsafe extern "C" {
        fn __tsan_acquire(address: *const std::ffi::c_void);
        fn __tsan_release(address: *const std::ffi::c_void);
    }
    let lock = (&raw const LOCK).cast();
    // SAFETY: both take any address, and are there in a program that the sanitizer is linked to.
    unsafe {
        match step {
            Step::Taken => __tsan_acquire(lock),
            Step::GivenBack => __tsan_release(lock),
        }
    }
}

#[cfg(not(race_checker))]
fn tell_race_checker(_: Step) {}

/// A value that is reached only by whoever holds the lock.
#[derive(Default)]
pub(crate) struct Guarded<T>(UnsafeCell<T>);

// SAFETY: a reference to the value needs the one lock, exclusively borrowed.
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    pub const fn new(value: T) -> Self {
        Guarded(UnsafeCell::new(value))
    }

    pub fn get<'a>(&'a self, _: &'a mut Lock) -> &'a mut T {
        // SAFETY: there is one lock; it is held, and borrowed for as long as the reference lives.
        unsafe { &mut *self.0.get() }
    }
}

/// The lock while a fork has it.
struct Held(UnsafeCell<Option<MutexGuard<'static, ()>>>);
// SAFETY: only the thread that forks touches it, while it holds the lock.
unsafe impl Sync for Held {}
static HELD: Held = Held(UnsafeCell::new(None));

/// Has forks counted from now on, and the lock taken for them.
pub(crate) fn watch() {
    static WATCHING: AtomicBool = AtomicBool::new(false);
    if !WATCHING.load(Ordering::Relaxed) && !WATCHING.swap(true, Ordering::AcqRel) {
        // SAFETY: three functions that live as long as the library. If there is no memory for them, a child may hang
        // that uses streams: nothing that can be done about here.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    }
}

unsafe extern "C" fn before() {
    let lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: the lock is held.
    unsafe { *HELD.0.get() = Some(lock) }
}

unsafe extern "C" fn in_parent() {
    // SAFETY: the lock is held since `before`, by this thread.
    drop(unsafe { (*HELD.0.get()).take() });
}

unsafe extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    // SAFETY: the lock was taken by the only thread that the child has.
    drop(unsafe { (*HELD.0.get()).take() });
}
