//! Memory of our own: allocators, a pool that caches, and the tensors made of them.
//!
//! Everything here is the host's. Pinned and device memory are other implementations of [`Allocator`].
//!
//! A pool with a hard limit, over an allocator of the program's:
//!
//! ```
//! use dlbridge::memory::{Allocator, Host, Limits, Options, Piece, Pool};
//! use dlbridge::{Kind, Tensor, tensor::dtype};
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicUsize, Ordering};
//!
//! /// The host's memory, counted.
//! #[derive(Default)]
//! struct Counted(AtomicUsize);
//!
//! // SAFETY: what it gives is memory of the host's allocator, which it takes nothing from before it is given back.
//! unsafe impl Allocator for Counted {
//!     fn allocate(&self, bytes: usize, alignment: usize) -> dlbridge::Result<Piece> {
//!         let piece = Host.allocate(bytes, alignment)?; // memory of another kind: `Piece::new`, or `Error::OutOfMemory`
//!         self.0.fetch_add(bytes, Ordering::Relaxed);
//!         Ok(piece)
//!     }
//!
//!     unsafe fn deallocate(&self, piece: Piece) {
//!         self.0.fetch_sub(piece.bytes, Ordering::Relaxed);
//!         // SAFETY: it came from there.
//!         unsafe { Host.deallocate(piece) }
//!     }
//! }
//!
//! let counted = Arc::new(Counted::default());
//! let limits = Limits { held: 6 << 20, ..Limits::default() };
//! let pool: Arc<dyn Allocator> = Arc::new(Pool::new(counted.clone(), limits));
//! let options = Options { allocator: Some(&pool), ..Options::default() };
//! let frame = Tensor::empty_with(&[1024, 1024], dtype::F32, options)?; // 4 MiB
//! let refused = Tensor::empty_with(&[1024, 1024], dtype::F32, options);
//! assert_eq!(refused.unwrap_err().kind(), Kind::OutOfMemory);
//! drop(frame); // the pool keeps the block for the next one
//! assert_eq!(pool.pool().map(|pool| (pool.stats().cached, pool.trim(0))), Some((4 << 20, 4 << 20)));
//! assert_eq!(counted.0.load(Ordering::Relaxed), 0);
//! # Ok::<(), dlbridge::Error>(())
//! ```

mod allocator;
mod block;
mod cache;
mod host;
mod pool;
mod shared;
mod tensor;

pub use allocator::{ALIGNMENT, Allocator, Piece};
pub use block::Block;
pub use cache::Stats;
pub use host::Host;
pub use pool::{Limits, Pool};
pub use shared::{POOLED, pool};
pub(crate) use shared::{Shared, cache_share};
pub use tensor::Options;
