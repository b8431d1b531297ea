//! What the tests begin with: tensors on the host, pinned, and on devices; copies and what came of them.

use crate::standin;
use dlbridge::device::{Event, Stream, copy_async, device_allocator, pinned_allocator};
use dlbridge::dlpack::DLDevice;
use dlbridge::memory::{Allocator, Options};
use dlbridge::tensor::dtype;
use dlbridge::{Result, Tensor};
use std::sync::Arc;

pub const FIRST: DLDevice = DLDevice::cuda(0);
pub const SECOND: DLDevice = DLDevice::cuda(1);

pub fn stream() -> Stream {
    Stream::new(FIRST).unwrap()
}

pub fn copy(source: &Tensor, destination: &Tensor, stream: &Stream) -> Result<Event> {
    // SAFETY: these tests reach memory through tensors only, or wait.
    unsafe { copy_async(source, destination, stream) }
}

pub fn pattern(count: usize, seed: u32) -> Vec<u32> {
    (0..count as u32).map(|at| seed.wrapping_add(at.wrapping_mul(2_654_435_761))).collect()
}

/// Pageable memory.
pub fn host(values: Vec<u32>) -> Tensor {
    let count = values.len() as i64;
    Tensor::from_vec(values, &[count]).unwrap()
}

pub fn of(allocator: &Arc<dyn Allocator>, shape: &[i64]) -> Result<Tensor> {
    Tensor::empty_with(shape, dtype::U32, Options { allocator: Some(allocator), ..Options::default() })
}

pub fn pinned(shape: &[i64]) -> Tensor {
    of(&pinned_allocator(FIRST).unwrap(), shape).unwrap()
}

pub fn on(device: DLDevice, shape: &[i64]) -> Tensor {
    of(&device_allocator(device).unwrap(), shape).unwrap()
}

/// Writes the elements of a packed tensor of the host, once copies out of it are done.
pub fn fill(tensor: &Tensor, values: &[u32]) {
    // SAFETY: nobody else reads or writes.
    unsafe { tensor.as_mut_slice::<u32>() }.unwrap().copy_from_slice(values);
}

/// The elements of a tensor of the host in row-major order, once copies into it are done.
pub fn elements(tensor: &Tensor) -> Result<Vec<u32>> {
    let first = tensor.data_as(dtype::U32)?.cast::<u32>();
    if tensor.is_row_major() {
        // SAFETY: as below.
        return Ok(unsafe { tensor.as_slice::<u32>() }?.to_vec());
    }
    let mut offsets = vec![0];
    for (&extent, &stride) in tensor.shape().iter().zip(tensor.strides()) {
        offsets = offsets.iter().flat_map(|&at| (0..extent).map(move |index| at + index * stride)).collect();
    }
    // SAFETY: each offset is that of an element; nobody writes once `data_as` has waited.
    Ok(offsets.into_iter().map(|offset| unsafe { first.offset(offset as isize).read() }).collect())
}

/// The elements of a tensor of a device.
pub fn download(tensor: &Tensor, stream: &Stream) -> Result<Vec<u32>> {
    let out = Tensor::empty(tensor.shape(), dtype::U32)?;
    copy(tensor, &out, stream)?;
    elements(&out)
}

/// Gives back everything that is cached.
pub fn trim() {
    for allocator in [device_allocator(FIRST), device_allocator(SECOND), pinned_allocator(FIRST)] {
        allocator.unwrap().pool().unwrap().trim(0);
    }
}

/// Runs a test, after which nothing may be left that was not there before.
pub fn nothing_left(test: impl FnOnce()) {
    trim();
    let before = standin::left();
    test();
    nothing_but(before, "at the end");
}

/// Waits until no more is left than there was before: a thread of the library lets go of what nobody waited for.
pub fn nothing_but(before: [i64; 4], when: &str) {
    let is_gone = || standin::left().iter().zip(before).all(|(now, then)| *now <= then);
    for _ in 0..1000 {
        trim();
        if is_gone() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(is_gone(), "{when}: {:?} are left; before: {before:?}", standin::left());
}
