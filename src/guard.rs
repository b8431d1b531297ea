//! The panic guard: the only `catch_unwind` of the crate, around every entry from foreign code; and what a call of foreign
//! code goes through that may end its thread.

use crate::error::{Error, Result};
use std::any::Any;
use std::ffi::{CStr, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`; a panic becomes [`Error::Panic`], so that it never crosses into foreign code.
pub(crate) fn guard<T>(body: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safety: whatever `body` borrowed is a counted tensor or a local; neither is left half-written.
    catch_unwind(AssertUnwindSafe(body)).unwrap_or_else(|panic| Err(Error::Panic { words: words(panic) }))
}

/// Runs a deleter or destructor, which has nobody to report to: a panic ends here.
pub(crate) fn guard_silent(body: impl FnOnce()) {
    let _ = guard(|| {
        body();
        Ok(())
    });
}

/// The message of a panic. Any other payload is leaked: its destructor is foreign code that may panic again.
fn words(panic: Box<dyn Any + Send>) -> String {
    let text = match panic.downcast::<String>() {
        Ok(text) => return *text,
        Err(panic) => panic.downcast::<&'static str>().map_or_else(
            |payload| {
                std::mem::forget(payload);
                "no message"
            },
            |text| *text,
        ),
    };
    text.to_owned()
}

/// Calls foreign code that may run Python. A thread that asks for the GIL while the interpreter shuts down is ended by
/// CPython up to 3.13, with `pthread_exit`: that unwinds the stack, which cannot go on through a `catch_unwind`, and would
/// drop Python objects without the GIL on its way. So it comes to rest here, before anything of ours is dropped, as later
/// CPythons have it anyway. What `call` calls is declared `extern "C-unwind"`, and `call` owns nothing.
#[inline(always)]
pub(crate) fn foreign<T>(call: impl FnOnce() -> T) -> T {
    let rest = Rest;
    let answer = call();
    std::mem::forget(rest);
    answer
}

/// Dropped only by what unwinds out of foreign code.
struct Rest;

impl Drop for Rest {
    #[cold]
    fn drop(&mut self) {
        // A foreign exception is a mistake of its thrower; it goes on to the `catch_unwind`, which ends the process.
        while python_ends() {
            std::thread::park();
        }
    }
}

/// Whether there is an interpreter in this process that shuts down, or has.
fn python_ends() -> bool {
    let ask = |name: &CStr| {
        // SAFETY: the name is terminated. CPython exports the names below as `int (*)(void)`, and allows the call at any
        // time from any thread.
        unsafe {
            let address = libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr());
            (!address.is_null())
                .then(|| std::mem::transmute::<*mut c_void, unsafe extern "C" fn() -> c_int>(address)() != 0)
        }
    };
    let finalizing = ask(c"Py_IsFinalizing").or_else(|| ask(c"_Py_IsFinalizing"));
    finalizing == Some(true) || ask(c"Py_IsInitialized") == Some(false)
}

/// A foreign C function, called through [`foreign`].
pub(crate) trait Foreign<Arguments> {
    type Answer;

    /// # Safety
    ///
    /// As the function asks for.
    unsafe fn call(self, arguments: Arguments) -> Self::Answer;
}

macro_rules! foreign_functions {
    ($(($($argument:ident: $type:ident),*))*) => {
        $(impl<Answer, $($type),*> Foreign<($($type,)*)> for unsafe extern "C" fn($($type),*) -> Answer {
            type Answer = Answer;

            #[inline(always)]
            unsafe fn call(self, ($($argument,)*): ($($type,)*)) -> Answer {
                // SAFETY: the two ABIs differ only in that unwinding may come out of the second.
                let function = unsafe { std::mem::transmute::<Self, unsafe extern "C-unwind" fn($($type),*) -> Answer>(self) };
                // SAFETY: promised by the caller.
                foreign(|| unsafe { function($($argument),*) })
            }
        })*
    };
}

foreign_functions! {
    ()
    (a: A)
    (a: A, b: B)
    (a: A, b: B, c: C)
    (a: A, b: B, c: C, d: D)
    (a: A, b: B, c: C, d: D, e: E, f: F, g: G, h: H)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_internal_error() {
        let error = guard::<()>(|| panic!("boom {}", 7)).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::Internal);
        assert!(error.to_string().contains("boom 7"), "{error}");
        let error = guard::<()>(|| panic!("plain")).unwrap_err();
        assert!(error.to_string().contains("plain"), "{error}");
    }

    #[test]
    fn a_payload_that_panics_when_dropped_ends_here() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("dropped");
            }
        }
        guard_silent(|| std::panic::panic_any(Bomb));
    }

    #[test]
    fn a_silent_panic_ends_here() {
        guard_silent(|| panic!("nobody hears this"));
    }
}
