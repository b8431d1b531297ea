//! The last error of a call through the C API on this thread.

use super::{Error, Face};
use std::cell::RefCell;

thread_local! {
    static LAST: RefCell<Option<Error>> = const { RefCell::new(None) };
}

/// Keeps it until the next. A thread that is being torn down keeps none.
pub(crate) fn keep(error: Error) {
    let _ = LAST.try_with(|last| last.replace(Some(error)));
}

/// Its words; empty if nothing failed yet.
pub(crate) fn words(face: Face) -> String {
    let words = LAST.try_with(|last| last.borrow().as_ref().map(|error| error.words(face).to_string()));
    words.ok().flatten().unwrap_or_default()
}
