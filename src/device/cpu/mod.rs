//! The CPU device: a stream is a queue and one thread that works it off.

mod copy;
mod event;
mod queue;

pub(super) use copy::copy;
pub(super) use event::is_stream_thread;
pub(super) use queue::Threaded;
