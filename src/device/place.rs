//! Where a new tensor lies: on any device, or in pinned memory.

use super::{device_allocator, pinned_allocator};
use crate::dlpack::{DLDataType, DLDevice, DLDeviceType};
use crate::error::{Allocation, Error, Result};
use crate::memory::{Allocator, Options};
use crate::tensor::{Tensor, device};
use std::sync::Arc;

/// Who gives memory there; `None` is the allocator of the host that all share. Pinned memory is the host's.
pub fn allocator(place: DLDevice, pinned: bool) -> Result<Option<Arc<dyn Allocator>>> {
    let place = device::check(place)?;
    match place.device_type {
        DLDeviceType::CPU if !pinned => Ok(None),
        DLDeviceType::CPU | DLDeviceType::CUDAHOST => pinned_allocator(DLDevice::cuda(0)).map(Some),
        _ if pinned => {
            Err(Error::Allocation(Allocation::PinnedDevice { device: device::Name(place).to_string() }))
        }
        _ => device_allocator(place).map(Some),
    }
}

/// [`Tensor::empty`] on any device, or in pinned memory.
pub fn empty(shape: &[i64], dtype: DLDataType, place: DLDevice, pinned: bool) -> Result<Tensor> {
    let allocator = allocator(place, pinned)?;
    Tensor::empty_with(shape, dtype, Options { allocator: allocator.as_ref(), ..Options::default() })
}

/// A row-major tensor on a device for a copy of `source`: from a CUDA device to the host it is pinned, so that the driver
/// writes it directly.
pub fn empty_for(source: &Tensor, to: DLDevice) -> Result<Tensor> {
    let pinned = to == DLDevice::CPU && source.device().device_type == DLDeviceType::CUDA;
    empty(source.shape(), source.dtype(), to, pinned)
}
