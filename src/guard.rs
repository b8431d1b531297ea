//! The panic guard: the only `catch_unwind` of the crate, around every entry from foreign code.

use crate::error::{Error, Result};
use std::any::Any;
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
