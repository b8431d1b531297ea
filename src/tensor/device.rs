//! Devices: which exist, whose memory the host can read, which hand out handles instead of addresses.
//!
//! ```
//! use dlbridge::{dlpack::{DLDevice, DLDeviceType}, tensor::device};
//!
//! let vulkan = DLDevice { device_type: DLDeviceType::VULKAN, device_id: 0 };
//! assert_eq!((device::is_host(DLDevice::CPU), device::is_host(DLDevice::cuda(1))), (true, false));
//! assert_eq!((device::has_handles(vulkan), device::Name(DLDevice::cuda(1)).to_string()), (true, "cuda:1".into()));
//! ```

use crate::dlpack::{DLDevice, DLDeviceType};
use crate::error::{Error, Result};
use std::fmt;

/// Every device type of DLPack 1.3 with its name.
const NAMES: [(DLDeviceType, &str); 16] = [
    (DLDeviceType::CPU, "cpu"),
    (DLDeviceType::CUDA, "cuda"),
    (DLDeviceType::CUDAHOST, "cuda_host"),
    (DLDeviceType::OPENCL, "opencl"),
    (DLDeviceType::VULKAN, "vulkan"),
    (DLDeviceType::METAL, "metal"),
    (DLDeviceType::VPI, "vpi"),
    (DLDeviceType::ROCM, "rocm"),
    (DLDeviceType::ROCMHOST, "rocm_host"),
    (DLDeviceType::EXTDEV, "ext_dev"),
    (DLDeviceType::CUDAMANAGED, "cuda_managed"),
    (DLDeviceType::ONEAPI, "oneapi"),
    (DLDeviceType::WEBGPU, "webgpu"),
    (DLDeviceType::HEXAGON, "hexagon"),
    (DLDeviceType::MAIA, "maia"),
    (DLDeviceType::TRN, "trn"),
];

/// Whether a thread of the host can read and write the memory through its address.
pub const fn is_host(device: DLDevice) -> bool {
    matches!(
        device.device_type,
        DLDeviceType::CPU | DLDeviceType::CUDAHOST | DLDeviceType::ROCMHOST | DLDeviceType::CUDAMANAGED
    )
}

/// Whether it is page-locked memory of the host: plain memory for whoever does not know that.
pub const fn is_pinned(device: DLDevice) -> bool {
    matches!(device.device_type, DLDeviceType::CUDAHOST | DLDeviceType::ROCMHOST)
}

/// Whether `data` is a handle there: no arithmetic on it, positions are kept in `byte_offset`.
pub const fn has_handles(device: DLDevice) -> bool {
    matches!(
        device.device_type,
        DLDeviceType::OPENCL | DLDeviceType::VULKAN | DLDeviceType::METAL | DLDeviceType::WEBGPU
    )
}

/// Refuses unknown types and negative ids; host and managed memory comes back with id 0, as DLPack has it.
#[inline(always)] // every import calls it, and its result returned through memory costs 5 ns
pub(crate) fn check(device: DLDevice) -> Result<DLDevice> {
    if !device.device_type.is_known() || device.device_id < 0 {
        return Err(Error::UnknownDevice { device: Name(device).to_string() });
    }
    Ok(if is_host(device) { DLDevice { device_id: 0, ..device } } else { device })
}

/// A device that displays as its name: `cpu`, `cuda:1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name(pub DLDevice);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DLDevice { device_type, device_id } = self.0;
        match NAMES.iter().find(|(known, _)| *known == device_type) {
            Some((_, name)) if is_host(self.0) && device_id >= 0 => write!(f, "{name}"),
            Some((_, name)) => write!(f, "{name}:{device_id}"),
            // A C enum with a negative value reads as one, however it was declared.
            None => write!(f, "device(type={}, id={device_id})", device_type.0 as i32),
        }
    }
}

/// Reads a name as [`Name`] writes it, and as PyTorch's users do: no id means 0, and the host may be given one.
///
/// ```
/// use dlbridge::{dlpack::DLDevice, tensor::device};
///
/// assert_eq!(device::parse("cuda:1")?, DLDevice::cuda(1));
/// # Ok::<(), dlbridge::Error>(())
/// ```
pub fn parse(name: &str) -> Result<DLDevice> {
    let (kind, id) = name.split_once(':').unwrap_or((name, "0"));
    let known = NAMES.iter().find(|(_, known)| *known == kind);
    let id = id.bytes().all(|byte| byte.is_ascii_digit()).then(|| id.parse().ok()).flatten();
    let device = known.zip(id).map(|(&(device_type, _), device_id)| DLDevice { device_type, device_id });
    device.ok_or_else(|| Error::UnknownDeviceName { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cover_every_known_type() {
        for code in 0..32 {
            let device = DLDevice { device_type: DLDeviceType(code), device_id: 1 };
            assert_eq!(
                device.device_type.is_known(),
                NAMES.iter().any(|(known, _)| known.0 == code),
                "{code}"
            );
        }
        assert_eq!(Name(DLDevice::CPU).to_string(), "cpu");
        assert_eq!(Name(DLDevice::cuda(1)).to_string(), "cuda:1");
        let odd = DLDevice { device_type: DLDeviceType(5), device_id: 2 };
        assert_eq!(Name(odd).to_string(), "device(type=5, id=2)");
    }

    #[test]
    fn names_are_read_back_with_or_without_an_id() {
        for (device_type, _) in NAMES {
            let device = DLDevice { device_type, device_id: 0 };
            assert_eq!(parse(&Name(device).to_string()), Ok(device));
        }
        assert_eq!(parse("cuda:3"), Ok(DLDevice::cuda(3)));
        assert_eq!(parse("cuda"), Ok(DLDevice::cuda(0)));
        assert_eq!(parse("cpu:0"), Ok(DLDevice::CPU));
        for name in ["", "gpu", "cuda:", "cuda:-1", "cuda:+1", "cuda:x", "cuda:99999999999", "CPU"] {
            assert_eq!(parse(name), Err(Error::UnknownDeviceName { name: name.into() }));
        }
    }

    #[test]
    fn p23_host_and_managed_memory_has_id_zero() {
        for kind in
            [DLDeviceType::CPU, DLDeviceType::CUDAHOST, DLDeviceType::ROCMHOST, DLDeviceType::CUDAMANAGED]
        {
            assert_eq!(check(DLDevice { device_type: kind, device_id: 3 }).unwrap().device_id, 0);
        }
        assert_eq!(check(DLDevice::cuda(3)).unwrap().device_id, 3);
    }
}
