//! Threads of the library.

use crate::error::{Error, Result, Transfer};
use crate::guard::guard_silent;
use std::mem::MaybeUninit;
use std::ptr::null_mut;

/// Starts a thread that is never joined: it ends by itself, or with the process.
pub(super) fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    let named = std::thread::Builder::new().name(name.into());
    // Signals are for the threads of the program; a new thread inherits what is blocked. Those that say what the thread
    // itself did stay open: where they are blocked they kill the process instead of reaching its handler.
    let mut before = MaybeUninit::uninit();
    let mut all = MaybeUninit::uninit();
    // SAFETY: `all` is filled in before it is read, and `before` is where the mask is to be kept.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for own in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS] {
            libc::sigdelset(all.as_mut_ptr(), own);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let started = named.spawn(move || guard_silent(body));
    // SAFETY: `before` was filled in above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), null_mut()) };
    started.map(drop).map_err(|error| Error::Transfer(Transfer::NoThread { words: error.to_string() }))
}
