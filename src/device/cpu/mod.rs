//! The CPU device: a stream is a queue and one thread that works it off.

mod copy;
mod event;
mod queue;

pub(super) use queue::Threaded;
