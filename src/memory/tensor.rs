//! Tensors on memory of our own.

use super::allocator::{Allocator, try_box};
use super::block::Block;
use crate::dlpack::{DLDataType, DLDevice, DLDeviceType, DLTensor};
use crate::error::{Allocation, Error, Result};
use crate::guard::guard_silent;
use crate::tensor::{Tensor, device, packed_bytes};
use dlpark::DlpackFlags;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;

/// Where the memory of a new tensor comes from. `Options::default()` is host memory at a multiple of 256 bytes, from
/// the shared pool where it is 1 MiB or more.
#[derive(Clone, Copy, Default)]
pub struct Options<'a> {
    /// A power of two, in bytes; 0 for [`super::ALIGNMENT`].
    pub alignment: usize,
    /// Who gives the memory, and takes it back when the last tensor and the last export on it are gone.
    pub allocator: Option<&'a Arc<dyn Allocator>>,
}

impl Tensor {
    /// A row-major tensor in host memory of its own, at a multiple of 256 bytes, writable. Its values are anything.
    /// Sub-byte elements are packed; a tensor without elements has no memory.
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
        let bytes = packed_bytes(shape, dtype)?;
        let Options { alignment, allocator } = options;
        if bytes == 0 {
            super::allocator::layout(0, if alignment == 0 { super::ALIGNMENT } else { alignment })?;
            let device = allocator.map_or(DLDevice::CPU, |allocator| allocator.device());
            // SAFETY: no elements, so no memory.
            return unsafe { describe(shape, dtype, device, null_mut(), None) };
        }
        Self::from_block(Block::new(allocator, bytes, alignment)?, shape, dtype)
    }

    /// [`Tensor::empty`] with every byte 0. Touches all of it once.
    pub fn zeros(shape: &[i64], dtype: DLDataType) -> Result<Self> {
        let tensor = Self::empty(shape, dtype)?;
        if tensor.nbytes() != 0 {
            // SAFETY: host memory of this size, which nobody else knows yet.
            unsafe { tensor.data().write_bytes(0, tensor.nbytes()) };
        }
        Ok(tensor)
    }

    /// A row-major tensor that owns a block, which must be large enough. On failure the block is given back.
    pub fn from_block(block: Block, shape: &[i64], dtype: DLDataType) -> Result<Self> {
        let bytes = packed_bytes(shape, dtype)?;
        if bytes > block.bytes() {
            return Err(Error::Allocation(Allocation::SmallBlock { have: block.bytes(), need: bytes }));
        }
        let block = try_box(block).map_err(|(error, _)| error)?;
        let (device, data) = (block.device(), block.data());
        // SAFETY: the block is memory of this size, goes into the owner, and stays where it is.
        unsafe { describe(shape, dtype, device, data, Some(block)) }
    }
}

/// Wraps memory that `block` keeps.
///
/// # Safety
///
/// `data` is memory for this shape, writable until the block is dropped.
unsafe fn describe(
    shape: &[i64],
    dtype: DLDataType,
    device: DLDevice,
    data: *mut c_void,
    block: Option<Box<Block>>,
) -> Result<Tensor> {
    unsafe extern "C" fn release(context: *mut c_void) {
        // SAFETY: the box from below, released once.
        guard_silent(|| drop(unsafe { Box::from_raw(context.cast::<Block>()) }));
    }
    let description = DLTensor {
        data,
        device,
        ndim: shape.len() as i32, // at most MAX_NDIM
        dtype,
        shape: shape.as_ptr().cast_mut(),
        strides: null_mut(),
        byte_offset: 0,
    };
    let release = block.is_some().then_some(release as crate::tensor::ReleaseFn);
    let context = block.map_or(null_mut(), Box::into_raw);
    // SAFETY: promised by the caller; shape is a live slice.
    let made = unsafe { Tensor::wrap_foreign(&description, DlpackFlags::empty(), release, context.cast()) };
    if made.is_err() && !context.is_null() {
        // SAFETY: the box from above, of which nothing was taken.
        drop(unsafe { Box::from_raw(context) });
    }
    made
}

/// Refuses memory that no allocator of this version gives: anything but the host's, or pinned.
pub fn check_device(asked: DLDevice, pinned: bool) -> Result<()> {
    if pinned || asked.device_type == DLDeviceType::CUDAHOST {
        return Err(Error::Allocation(Allocation::NoPinned));
    }
    if asked.device_type != DLDeviceType::CPU {
        let device = device::Name(asked).to_string();
        return Err(Error::Allocation(Allocation::NoDevice { device }));
    }
    Ok(())
}
