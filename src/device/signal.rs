//! What threads wait for, at no cost to who changes it where nobody waits.

use crate::fork::Lock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, MutexGuard, PoisonError};
use std::time::Duration;

/// A condition variable that knows whether anybody waits: the standard one asks the system each time it is notified.
///
/// What is waited for is changed with the lock held that those who wait give up here. Whoever found it unchanged has been
/// counted by then, so the count needs no order of its own.
#[derive(Default)]
pub(super) struct Signal {
    waiting: AtomicUsize,
    condition: Condvar,
}

impl Signal {
    pub const fn new() -> Self {
        Signal { waiting: AtomicUsize::new(0), condition: Condvar::new() }
    }

    fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) != 0
    }

    pub fn notify_one(&self) {
        if self.is_awaited() {
            self.condition.notify_one();
        }
    }

    pub fn notify_all(&self) {
        if self.is_awaited() {
            self.condition.notify_all();
        }
    }

    /// [`Lock::wait`].
    pub fn wait(&self, lock: Lock, timeout: Option<Duration>) -> Lock {
        self.counted(|| lock.wait(&self.condition, timeout))
    }

    /// [`Condvar::wait_while`], for what no panic leaves half changed.
    pub fn wait_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        condition: impl FnMut(&mut T) -> bool,
    ) -> MutexGuard<'a, T> {
        self.counted(|| self.condition.wait_while(guard, condition).unwrap_or_else(PoisonError::into_inner))
    }

    fn counted<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let result = wait();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        result
    }
}
