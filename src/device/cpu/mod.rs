//! The CPU device: a stream is a queue and one thread that works it off.

mod copy;
mod event;
mod queue;

pub(super) use copy::copy_nest;
pub(super) use event::{is_stream_thread, serve_others};
pub(super) use queue::Threaded;
