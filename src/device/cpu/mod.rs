//! The CPU device: a stream is a queue and one thread that works it off.

mod event;
mod queue;

pub(super) use event::is_stream_thread;
pub(super) use queue::Threaded;
