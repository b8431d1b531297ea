//! Threads of the library.

use crate::copy::threads;
use crate::error::{Error, Result, Transfer};

/// Starts a thread that is never joined: it ends by itself, or with the process.
pub(super) fn start(name: &str, body: impl FnOnce() + Send + 'static) -> Result<()> {
    threads::spawn(name, body)
        .map_err(|error| Error::Transfer(Transfer::NoThread { words: error.to_string() }))
}
