//! Memory of devices, and pinned memory: allocators for [`Tensor::empty_with`](crate::Tensor::empty_with).

use super::cuda;
use crate::dlpack::{DLDevice, DLDeviceType};
use crate::error::{Driver, Error, Result};
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
    let why = match device.device_type {
        DLDeviceType::CPU => return Ok(Arc::new(Shared)),
        DLDeviceType::CUDA => cuda::why_not(),
        _ => "this version of dlbridge drives no such device".to_owned(),
    };
    let device = device::Name(device).to_string();
    Err(Error::Driver(Driver::NoMemory { device, why }))
}

/// Who gives page-locked host memory, which `for_device` copies from and to without help of the CPU: a pool that all
/// share. Its device is `cuda_host`.
pub fn pinned_allocator(for_device: DLDevice) -> Result<Arc<dyn Allocator>> {
    let device = device::check(for_device)?;
    let why = match device.device_type {
        DLDeviceType::CUDA | DLDeviceType::CUDAHOST => cuda::why_not(),
        _ => format!("{} needs none", device::Name(device)),
    };
    Err(Error::Driver(Driver::NoPinned { why }))
}
