//! How many times this process is a child of itself: pools start afresh in a child.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static GENERATION: AtomicU64 = AtomicU64::new(0);
static WATCHED: AtomicBool = AtomicBool::new(false);

/// Another number in a forked child than in its parent.
pub(super) fn generation() -> u64 {
    GENERATION.load(Ordering::Relaxed)
}

/// Has forks noticed from now on.
pub(super) fn watch() {
    unsafe extern "C" fn child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    if !WATCHED.swap(true, Ordering::Relaxed) {
        // SAFETY: the handler changes one atomic number. It fails only where no memory is left, and then a child goes
        // on with its parent's generation.
        unsafe { libc::pthread_atfork(None, None, Some(child)) };
    }
}
