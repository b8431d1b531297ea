//! Staging: several batches in flight between those who fill them and those who use them, so that loading and computing
//! overlap, and no buffer is ever used again too early.
//!
//! A [`Ring`] has a number of slots. A producer [acquires](Ring::acquire) one, fills it and [submits](Slot::submit) it; a
//! consumer gets it from [`Ring::next`] as a [`Batch`], a few tensors. Both sides wait for each other as they must, any
//! number of threads on each. On the CPU the memory that was filled *is* the batch: nothing is copied on the way. For
//! another device each slot has a pinned buffer and one of the device, and `submit` starts the copy between them on a
//! stream of the ring.
//!
//! **A batch that is kept is never overwritten.** Its memory goes back to the ring when the last tensor on it is gone
//! (the batch's own, views, exports, whatever other frameworks made of them), and then only behind what was queued on
//! the stream that the batch was used on. Whoever keeps batches makes the ring allocate more, up to a limit; then an
//! error says which ones are held.
//!
//! ```
//! use dlbridge::staging::{Leaf, Options, Ring};
//! use dlbridge::tensor::dtype;
//!
//! let ring = Ring::new(Options::default())?;
//! let camera = std::thread::spawn({
//!     let ring = ring.clone();
//!     move || -> dlbridge::Result<()> {
//!         ring.produce(|ring| {
//!             for number in 0..5 {
//!                 let mut slot = ring.acquire(&[Leaf::new("frame", &[480, 640], dtype::U8)], None)?;
//!                 slot.get_mut::<u8>(0)?.fill(number); // nobody else can reach it
//!                 slot.submit()?;
//!             }
//!             Ok(())
//!         })
//!     }
//! });
//! let mut number = 0;
//! for batch in ring.batches(None) {
//!     let batch = batch?;
//!     assert!(batch.slice::<u8>(0)?.iter().all(|&pixel| pixel == number));
//!     number += 1;
//! }
//! assert_eq!(number, 5);
//! camera.join().unwrap()?;
//! # Ok::<(), dlbridge::Error>(())
//! ```
//!
//! Somebody has to say that it is over, or the other side waits for ever: a handle that is dropped, but the last one, says
//! nothing. [`Ring::produce`] does it for producers, also where they fail or panic; without it the last one
//! [closes](Ring::close) the ring, and who leaves early for an error [aborts](Ring::abort) it, as a consumer does. A thread that
//! panics with a slot or a batch in its hands does that by itself.
//!
//! A slot that was submitted cannot be touched any more:
//!
//! ```compile_fail,E0382
//! # use dlbridge::staging::{Leaf, Options, Ring};
//! # use dlbridge::tensor::dtype;
//! let ring = Ring::new(Options::default()).unwrap();
//! let mut slot = ring.acquire(&[Leaf::new("frame", &[4], dtype::U8)], None).unwrap();
//! slot.submit().unwrap();
//! slot.get_mut::<u8>(0).unwrap().fill(1);
//! ```
//!
//! Nor while it is being submitted, by a slice that was got before:
//!
//! ```compile_fail,E0505
//! # use dlbridge::staging::{Leaf, Options, Ring};
//! # use dlbridge::tensor::dtype;
//! let ring = Ring::new(Options::default()).unwrap();
//! let mut slot = ring.acquire(&[Leaf::new("frame", &[4], dtype::U8)], None).unwrap();
//! let pixels = slot.get_mut::<u8>(0).unwrap();
//! slot.submit().unwrap();
//! pixels.fill(1);
//! ```

mod ask;
mod batch;
mod lease;
mod loops;
mod ring;
mod shared;
mod slot;
mod state;
mod target;
mod wait;
mod which;

#[cfg(all(test, not(race_checker)))]
mod model;
#[cfg(test)]
mod tests;

pub(crate) use ask::AskBatch;
pub use batch::Batch;
pub use loops::Batches;
pub use ring::Ring;
pub use shared::Totals;
pub use slot::{Leaf, Slot};
pub use which::Which;

use crate::dlpack::DLDevice;

/// The most tensors of a batch.
pub const MAX_LEAVES: usize = 1024;

/// In which order batches are handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// In the order in which their slots were acquired.
    #[default]
    Kept,
    /// As they were submitted.
    FirstCome,
}

/// What a ring is like.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Where the batches are to be.
    pub device: DLDevice,
    /// How many batches may be on their way, being filled and being used: 2 overlap loading with computing on the host, 3 the
    /// copy to a device as well. There is memory for as many as were so at a time.
    pub slots: usize,
    /// How many more there may be memory for while consumers keep batches.
    pub keep: usize,
    /// In which order they are handed out.
    pub order: Order,
}

impl Default for Options {
    fn default() -> Self {
        Options { device: DLDevice::CPU, slots: 3, keep: 16, order: Order::Kept }
    }
}
