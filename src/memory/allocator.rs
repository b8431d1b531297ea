//! What an allocator is, and what it gives.

use super::cache::Held;
use super::pool::Pool;
use crate::dlpack::DLDevice;
use crate::error::{Allocation, Error, Result};
use crate::tensor::Fence;
use std::alloc::Layout;
use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;

/// The alignment where none is asked for: a multiple of every cache line and vector, and what JAX shares.
pub const ALIGNMENT: usize = 256;

/// Memory as an allocator gave it, to be given back to it as it is. Dropping it leaks; [`super::Block`] does not.
///
/// A piece of [`Host`](super::Host) may be known to be all 0. An allocator that hands such a piece on, having written to the
/// memory, makes a new one with [`Piece::new`].
pub struct Piece {
    /// The first byte.
    pub data: NonNull<c_void>,
    /// How many bytes were asked for.
    pub bytes: usize,
    /// The alignment that was asked for.
    pub alignment: usize,
    /// How many bytes before `data` belong to it too, for the sake of the alignment.
    pub(crate) skipped: usize,
    /// Whether every byte is known to be 0, as of pages that the system gave just now.
    pub(super) zeroed: bool,
    /// What a pool remembers of the memory.
    pub(super) held: Option<Box<Held>>,
}

impl Piece {
    /// What an implementation of [`Allocator`] answers.
    pub fn new(data: NonNull<c_void>, bytes: usize, alignment: usize) -> Self {
        Piece { data, bytes, alignment, skipped: 0, zeroed: false, held: None }
    }
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Piece")
            .field("data", &self.data)
            .field("bytes", &self.bytes)
            .field("alignment", &self.alignment)
            .finish()
    }
}

// SAFETY: a piece is an address and numbers; who may use the memory behind it is up to its owner.
unsafe impl Send for Piece {}
// SAFETY: as above.
unsafe impl Sync for Piece {}

/// Gives memory and takes it back. Any thread may call it, and give back what another one took. It must not panic.
///
/// # Safety
///
/// The memory is there, writable on the device, and nobody else's, until it is given back.
pub unsafe trait Allocator: Send + Sync {
    /// Where the memory is.
    fn device(&self) -> DLDevice {
        DLDevice::CPU
    }

    /// `bytes` bytes whose address is a multiple of `alignment`, a power of two. Their values are anything.
    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece>;

    /// Takes back what nobody uses any more.
    ///
    /// # Safety
    ///
    /// `piece` came from [`Allocator::allocate`] of this allocator.
    unsafe fn deallocate(&self, piece: Piece);

    /// Takes back what is used until the fences are done: it is neither reused nor freed before. An allocator that
    /// does not know better waits for them.
    ///
    /// # Safety
    ///
    /// As for [`Allocator::deallocate`]; the fences stand for every use that goes on.
    unsafe fn deallocate_after(&self, piece: Piece, fences: Vec<Arc<dyn Fence>>) {
        fences.iter().for_each(|fence| fence.wait());
        // SAFETY: promised by the caller; the uses are over.
        unsafe { self.deallocate(piece) }
    }

    /// The pool that this is, if it is one: it can be trimmed, limited and asked for numbers.
    fn pool(&self) -> Option<&Pool> {
        None
    }
}

/// More bytes than any address space has; sums of sizes below it do not overflow.
const ABSURD: usize = 1 << 56;

/// The largest alignment: that of the largest pages there are.
const MOST_ALIGNED: usize = 1 << 30;

/// Refuses alignments that are none, and absurd sizes.
pub(super) fn layout(bytes: usize, alignment: usize) -> Result<Layout> {
    if !alignment.is_power_of_two() || alignment > MOST_ALIGNED {
        return Err(Error::Allocation(Allocation::Alignment { alignment }));
    }
    let layout = Layout::from_size_align(bytes.max(1), alignment).ok();
    layout.filter(|layout| layout.size() < ABSURD).ok_or(Error::OutOfMemory { bytes })
}

/// What `allocator` gives, or an error, with the memory given back, where it ignores the alignment.
pub(super) fn placed(allocator: &dyn Allocator, bytes: usize, alignment: usize) -> Result<Piece> {
    let piece = allocator.allocate(bytes, alignment)?;
    let address = piece.data.addr().get();
    if address.is_multiple_of(alignment) {
        return Ok(piece);
    }
    // SAFETY: it came from there just now.
    unsafe { allocator.deallocate(piece) };
    Err(Error::Allocation(Allocation::Misplaced { address, alignment }))
}

/// A box, or an error where `Box::new` would end the process.
pub(super) fn try_box<T>(value: T) -> std::result::Result<Box<T>, (Error, T)> {
    let layout = Layout::new::<T>();
    assert!(layout.size() != 0, "boxes of nothing need no memory");
    // SAFETY: the layout is not of size 0.
    let Some(place) = NonNull::new(unsafe { std::alloc::alloc(layout) }.cast::<T>()) else {
        return Err((Error::OutOfMemory { bytes: layout.size() }, value));
    };
    // SAFETY: new memory of the global allocator with the layout of T, filled before the box is made.
    Ok(unsafe {
        place.write(value);
        Box::from_raw(place.as_ptr())
    })
}
