//! Fences: work on a buffer that goes on after the call that started it.

/// A point that work on a buffer will reach: the end of a copy, of a kernel.
///
/// Whoever runs such work implements it; memory that a fence stands for is not reused before the fence is done. Both
/// functions may be called from any thread, any number of times, and never with a lock of this crate held. They must not panic.
pub trait Fence: Send + Sync {
    /// Whether the work is finished, or never will be. Once true it stays true.
    fn done(&self) -> bool;

    /// Blocks this thread until the work is done.
    fn wait(&self);
}
