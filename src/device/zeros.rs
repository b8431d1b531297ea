//! Tensors of zeros on any device.

use super::place::allocator;
use super::{Stream, Work, check_pointer, own_stream};
use crate::dlpack::{DLDataType, DLDevice};
use crate::error::Result;
use crate::fork::Lock;
use crate::memory::Options;
use crate::tensor::{Tensor, device};

/// [`Tensor::zeros`] on any device, or in pinned memory.
///
/// Memory of a CUDA device is written there, on the library's own stream, and this returns when that is done: whatever
/// reaches the memory afterwards finds zeros, on any stream.
pub fn zeros(shape: &[i64], dtype: DLDataType, place: DLDevice, pinned: bool) -> Result<Tensor> {
    let allocator = allocator(place, pinned)?;
    zeros_with(shape, dtype, Options { allocator: allocator.as_ref(), ..Options::default() })
}

/// The same with another alignment, or from an allocator that is named. Memory of a device that is not driven here is
/// refused ([`Unavailable`](crate::Kind::Unavailable)).
pub fn zeros_with(shape: &[i64], dtype: DLDataType, options: Options<'_>) -> Result<Tensor> {
    let device = options.allocator.map_or(DLDevice::CPU, |allocator| allocator.device());
    if device::is_host(device) {
        return Tensor::zeros_with(shape, dtype, options);
    }
    let stream = own_stream(device)?; // before memory is asked for
    let tensor = Tensor::empty_with(shape, dtype, options)?;
    fill(&tensor, &stream)?;
    Ok(tensor)
}

/// Has a stream of its device set all bytes of a tensor that was just made to 0, and waits for that.
fn fill(tensor: &Tensor, stream: &Stream) -> Result<()> {
    if tensor.size() == 0 {
        return Ok(());
    }
    check_pointer(tensor.data(), tensor.device())?;
    stream.queue().ready()?;
    let work = Work::Zero(tensor.clone());
    let submitted = stream.queue().submit(&mut Lock::take(), Vec::new(), work)?;
    submitted.carried_out().wait()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::dtype;

    #[test]
    fn a_stream_of_the_cpu_writes_zeros_too() {
        let tensor = Tensor::from_vec(vec![7_u16; 1001], &[7, 143]).unwrap();
        let stream = Stream::new(DLDevice::CPU).unwrap();
        fill(&tensor, &stream).unwrap();
        assert!(tensor.into_vec::<u16>().unwrap().iter().all(|&value| value == 0));
        fill(&Tensor::empty(&[0], dtype::U16).unwrap(), &stream).unwrap();
    }
}
