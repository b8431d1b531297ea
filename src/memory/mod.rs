//! Memory of our own: allocators, a pool that caches, and the tensors made of them.
//!
//! Everything here is the host's. Pinned and device memory are other implementations of [`Allocator`].

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
