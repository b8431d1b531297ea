//! Memory of devices, and pinned memory: allocators for [`Tensor::empty_with`](crate::Tensor::empty_with).

use super::{cuda, why_not};
use crate::dlpack::{DLDevice, DLDeviceType};
use crate::error::Result;
use crate::memory::{Allocator, Shared};
use crate::tensor::device;
use std::sync::Arc;

/// Who gives memory on a device: for the CPU the shared allocator, for CUDA a pool of that device, which all share.
///
/// ```
/// use dlbridge::{Tensor, device::device_allocator, dlpack::DLDevice, memory::Options, tensor::dtype};
///
/// let allocator = device_allocator(DLDevice::CPU)?; // takes its device as a parameter, so it runs everywhere
/// let options = Options { allocator: Some(&allocator), ..Options::default() };
/// let batch = Tensor::empty_with(&[32, 224, 224], dtype::F32, options)?;
/// assert_eq!(batch.device(), DLDevice::CPU);
/// # Ok::<(), dlbridge::Error>(())
/// ```
pub fn device_allocator(device: DLDevice) -> Result<Arc<dyn Allocator>> {
    let device = device::check(device)?;
    if device.device_type == DLDeviceType::CPU {
        return Ok(Arc::new(Shared));
    }
    match why_not(device) {
        None => cuda::device_pool(device.device_id),
        Some(why) => Err(cuda::unavailable(Some(device), why)),
    }
}

/// Who gives page-locked host memory, which `for_device` copies from and to without help of the CPU: a pool that all
/// share. Its device is `cuda_host`.
///
/// It is [`Unavailable`](crate::Kind::Unavailable) without a driver, and for devices that need none.
pub fn pinned_allocator(for_device: DLDevice) -> Result<Arc<dyn Allocator>> {
    let device = device::check(for_device)?;
    let why = match device.device_type {
        DLDeviceType::CUDA | DLDeviceType::CUDAHOST => cuda::why_not(device.device_id),
        _ => Some(format!("{} copies from any", device::Name(device))),
    };
    why.map_or_else(|| Ok(cuda::pinned_pool().clone()), |why| Err(cuda::unavailable(None, why)))
}
