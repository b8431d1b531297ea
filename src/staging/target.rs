//! Where a ring's batches go.

use crate::device::{Stream, device_allocator, pinned_allocator};
use crate::dlpack::{DLDevice, DLDeviceType};
use crate::error::Result;
use crate::memory::Allocator;
use crate::tensor::device;
use std::sync::Arc;

/// Where batches go: who gives the memory, and how it gets there.
pub(super) struct Target {
    pub device: DLDevice,
    pub host: Option<Arc<dyn Allocator>>,
    /// What a device of its own needs; without it the host's buffers are the batch.
    pub upload: Option<Upload>,
}

pub(super) struct Upload {
    pub allocator: Arc<dyn Allocator>,
    pub stream: Stream,
    /// The test of the test: a ring that does not wait for the batch before is one that tests must find wrong.
    #[cfg(test)]
    pub careless: bool,
}

impl Target {
    pub fn new(asked: DLDevice) -> Result<Target> {
        let device = device::check(asked)?;
        if device.device_type == DLDeviceType::CPU {
            return Ok(Target { device, host: None, upload: None });
        }
        let upload = Upload {
            stream: Stream::new(device)?,
            allocator: device_allocator(device)?,
            #[cfg(test)]
            careless: false,
        };
        Ok(Target { device, host: Some(pinned_allocator(device)?), upload: Some(upload) })
    }
}

impl Upload {
    /// Whether copies wait until the batch before was used.
    pub fn waits(&self) -> bool {
        #[cfg(test)]
        return !self.careless;
        #[cfg(not(test))]
        true
    }
}
