//! Tensors on memory of our own.

use super::allocator::{Allocator, try_box};
use super::block::Block;
use crate::dlpack::{DLDataType, DLDevice, DLTensor};
use crate::error::{Allocation, Driver, Error, Result};
use crate::guard::guard_silent;
use crate::tensor::{Reach, ReleaseFn, Tensor, device, dtype, packed_bytes};
use dlpark::DlpackFlags;
use std::ffi::c_void;
use std::fmt;
use std::ptr::null_mut;
use std::sync::Arc;

/// Where the memory of a new tensor comes from. `Options::default()` is host memory at a multiple of 256 bytes, from
/// the shared pool where it is 1 MiB or more.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// A power of two, in bytes, up to 1 GiB; 0 for [`super::ALIGNMENT`].
    pub alignment: usize,
    /// Who gives the memory, and takes it back when the last tensor and the last export on it are gone.
    pub allocator: Option<&'a Arc<dyn Allocator>>,
}

impl fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |allocator: &Arc<dyn Allocator>| format!("on {}", device::Name(allocator.device()));
        f.debug_struct("Options")
            .field("alignment", &self.alignment)
            .field("allocator", &format_args!("{}", self.allocator.map_or("shared".to_owned(), of)))
            .finish()
    }
}

impl Tensor {
    /// A row-major tensor in host memory of its own, at a multiple of 256 bytes, writable. Its values are anything.
    /// Sub-byte elements are packed; a tensor without elements has no memory.
    ///
    /// It is for whoever writes all of it: as the destination of a copy, through a pointer, in another framework. Memory
    /// without values is not lent as a slice, so [`Tensor::get_mut`] refuses it; what [`Tensor::zeros`] makes it lends.
    ///
    /// ```
    /// let tensor = dlbridge::Tensor::empty(&[480, 640, 3], dlbridge::tensor::dtype::U8)?;
    /// assert_eq!(tensor.data() as usize % 256, 0);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn empty(shape: &[i64], dtype: DLDataType) -> Result<Self> {
        Self::empty_with(shape, dtype, Options::default())
    }

    /// [`Tensor::empty`] with another alignment, or from an allocator that is named.
    pub fn empty_with(shape: &[i64], dtype: DLDataType, options: Options<'_>) -> Result<Self> {
        Self::empty_flagged(shape, dtype, options, DlpackFlags::empty())
    }

    /// [`Tensor::empty`] for a copy, which [`Tensor::is_copied`] tells.
    pub(crate) fn empty_copied(shape: &[i64], dtype: DLDataType) -> Result<Self> {
        Self::empty_flagged(shape, dtype, Options::default(), DlpackFlags::IS_COPIED)
    }

    fn empty_flagged(
        shape: &[i64],
        dtype: DLDataType,
        options: Options<'_>,
        flags: DlpackFlags,
    ) -> Result<Self> {
        let bytes = packed_bytes(shape, dtype)?;
        let Options { alignment, allocator } = options;
        if bytes == 0 {
            super::allocator::layout(0, if alignment == 0 { super::ALIGNMENT } else { alignment })?;
            let device = allocator.map_or(DLDevice::CPU, |allocator| allocator.device());
            let description = describe(shape, dtype, device, null_mut());
            // SAFETY: no elements, so no memory.
            return unsafe { Tensor::wrap_foreign(&description, flags, None, null_mut()) };
        }
        Self::from_block_flagged(Block::new(allocator, bytes, alignment)?, shape, dtype, flags)
    }

    /// [`Tensor::empty`] with every byte 0. Pages that come fresh from the system (2 MiB and more that the pool has no
    /// block for) are 0 already and are not touched; all other memory is written once.
    ///
    /// ```
    /// let mut sums = dlbridge::Tensor::zeros(&[3], dlbridge::tensor::dtype::F64)?;
    /// sums.get_mut::<f64>()?[1] += 0.5; // nobody else has the memory
    /// assert_eq!(sums.get_mut::<f64>()?, [0.0, 0.5, 0.0]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn zeros(shape: &[i64], dtype: DLDataType) -> Result<Self> {
        Self::zeros_with(shape, dtype, Options::default())
    }

    /// [`Tensor::zeros`] with another alignment, or from an allocator that is named, whose memory the host can write;
    /// [`device::zeros_with`](crate::device::zeros_with) has no such limit.
    pub fn zeros_with(shape: &[i64], dtype: DLDataType, options: Options<'_>) -> Result<Self> {
        let Options { alignment, allocator } = options;
        let device = allocator.map_or(DLDevice::CPU, |allocator| allocator.device());
        if !device::is_host(device) {
            let device = device::Name(device).to_string();
            return Err(Error::Driver(Driver::NoZeros { device }));
        }
        let bytes = packed_bytes(shape, dtype)?;
        if bytes == 0 {
            return Self::empty_with(shape, dtype, options);
        }
        // SAFETY: memory of the host.
        let block = unsafe { Block::zeros(allocator, bytes, alignment) }?;
        // SAFETY: that is initialised now.
        own(block, shape, dtype, |description, release, context| unsafe {
            Tensor::wrap_reached(description, DlpackFlags::empty(), release, context, Reach::Nobody)
        })
    }

    /// A row-major tensor that owns a block, which must be large enough. On failure the block is given back.
    pub fn from_block(block: Block, shape: &[i64], dtype: DLDataType) -> Result<Self> {
        Self::from_block_flagged(block, shape, dtype, DlpackFlags::empty())
    }

    fn from_block_flagged(
        block: Block,
        shape: &[i64],
        dtype: DLDataType,
        flags: DlpackFlags,
    ) -> Result<Self> {
        let bytes = packed_bytes(shape, dtype)?;
        if bytes > block.bytes() {
            return Err(Error::Allocation(Allocation::SmallBlock { have: block.bytes(), need: bytes }));
        }
        if bytes > 0 && dtype::item_bytes(dtype).is_none() && device::is_host(block.device()) {
            // Where elements end within the last byte, a copy reads the rest of it, to leave that as it is.
            // SAFETY: the block has so many bytes, and is nobody else's.
            unsafe { block.data().cast::<u8>().add(bytes - 1).write(0) };
        }
        // SAFETY: the block is memory for this shape, writable, and its owner's until the release function runs.
        own(block, shape, dtype, |description, release, context| unsafe {
            Tensor::wrap_reached(description, flags, release, context, Reach::Unwritten)
        })
    }
}

/// Has a tensor made that keeps `block`; where that fails the block is given back.
fn own(
    block: Block,
    shape: &[i64],
    dtype: DLDataType,
    wrap: impl FnOnce(&DLTensor, ReleaseFn, *mut c_void) -> Result<Tensor>,
) -> Result<Tensor> {
    unsafe extern "C" fn release(context: *mut c_void) {
        // SAFETY: the box from below, released once.
        guard_silent(|| drop(unsafe { Box::from_raw(context.cast::<Block>()) }));
    }
    let block = try_box(block).map_err(|(error, _)| error)?;
    let description = describe(shape, dtype, block.device(), block.data());
    let context = Box::into_raw(block);
    wrap(&description, release, context.cast()).inspect_err(|_| {
        // SAFETY: the box from above, of which nothing was taken.
        drop(unsafe { Box::from_raw(context) });
    })
}

/// A row-major layout.
fn describe(shape: &[i64], dtype: DLDataType, device: DLDevice, data: *mut c_void) -> DLTensor {
    DLTensor {
        data,
        device,
        ndim: shape.len() as i32, // at most MAX_NDIM
        dtype,
        shape: shape.as_ptr().cast_mut(),
        strides: null_mut(),
        byte_offset: 0,
    }
}
