//! A block: memory that goes back to its allocator by itself.

use super::allocator::{ALIGNMENT, Allocator, Piece, layout, placed};
use super::shared::Shared;
use crate::dlpack::DLDevice;
use crate::error::Result;
use crate::tensor::{Fence, device};
use std::ffi::c_void;
use std::fmt;
use std::mem::ManuallyDrop;
use std::sync::Arc;

/// Memory and the allocator that takes it back when the block is dropped.
pub struct Block {
    /// Taken out once, in `drop` or by [`Block::release_after`].
    piece: ManuallyDrop<Piece>,
    /// `None`: the shared one, which needs no counting.
    allocator: Option<Arc<dyn Allocator>>,
}

impl Block {
    /// `bytes` bytes from `allocator`, by default the shared one, at a multiple of `alignment` (a power of two; 0 for
    /// [`ALIGNMENT`]). Their values are anything.
    pub fn new(allocator: Option<&Arc<dyn Allocator>>, bytes: usize, alignment: usize) -> Result<Self> {
        Ok(Self::given(allocator, bytes, alignment)?.0)
    }

    /// [`Block::new`] with every byte 0. Pages that the system gave just now are that already, and stay untouched.
    ///
    /// # Safety
    ///
    /// The host can write the allocator's memory.
    pub(super) unsafe fn zeros(
        allocator: Option<&Arc<dyn Allocator>>,
        bytes: usize,
        alignment: usize,
    ) -> Result<Self> {
        let (block, zeroed) = Self::given(allocator, bytes, alignment)?;
        if !zeroed {
            // SAFETY: that many bytes, which nobody else knows; the host can write them, as the caller promised.
            unsafe { block.data().write_bytes(0, bytes) };
        }
        Ok(block)
    }

    /// The block, and whether all of it is known to be 0: known once, for it will have been used when it goes back.
    fn given(allocator: Option<&Arc<dyn Allocator>>, bytes: usize, alignment: usize) -> Result<(Self, bool)> {
        let alignment = if alignment == 0 { ALIGNMENT } else { alignment };
        layout(bytes, alignment)?;
        let allocator = allocator.cloned();
        let mut piece = placed(chosen(&allocator), bytes, alignment)?;
        let zeroed = std::mem::take(&mut piece.zeroed);
        Ok((Block { piece: ManuallyDrop::new(piece), allocator }, zeroed))
    }

    /// The first byte; the memory is the owner's until the block is dropped.
    pub fn data(&self) -> *mut c_void {
        self.piece.data.as_ptr()
    }

    /// How many bytes were asked for.
    pub fn bytes(&self) -> usize {
        self.piece.bytes
    }

    /// Where the memory is.
    pub fn device(&self) -> DLDevice {
        chosen(&self.allocator).device()
    }

    /// Whether a pool has it, which keeps what is given back until its fences are done, and has nobody wait for that.
    pub(crate) fn is_pooled(&self) -> bool {
        self.piece.held.is_some()
    }

    /// Gives the memory back although work on it goes on: nobody gets it before the fences are done.
    pub fn release_after(self, fences: Vec<Arc<dyn Fence>>) {
        let mut block = ManuallyDrop::new(self);
        // SAFETY: `drop` does not run any more, so the piece is taken once; it came from this allocator.
        unsafe {
            let piece = ManuallyDrop::take(&mut block.piece);
            let allocator = std::ptr::read(&block.allocator);
            chosen(&allocator).deallocate_after(piece, fences);
        }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: taken once, here; it came from this allocator, and who drops the block uses it no more.
        unsafe { chosen(&self.allocator).deallocate(ManuallyDrop::take(&mut self.piece)) }
    }
}

impl fmt::Debug for Block {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block")
            .field("data", &self.data())
            .field("bytes", &self.bytes())
            .field("device", &format_args!("{}", device::Name(self.device())))
            .finish()
    }
}

fn chosen(allocator: &Option<Arc<dyn Allocator>>) -> &dyn Allocator {
    allocator.as_deref().unwrap_or(&Shared)
}
