//! Fresh memory for what arrives: the one place where this layer allocates elements.

use crate::dlpack::{DLDevice, DLTensor};
use crate::error::{Error, Result};
use crate::tensor::{Reach, Tensor};
use dlpark::DlpackFlags;
use std::alloc::{Layout, alloc, dealloc};
use std::ptr::{NonNull, null_mut};

/// What DLPack asks of an allocation.
const ALIGNMENT: usize = 256;

/// Memory that is freed at the end.
struct Fresh {
    data: NonNull<u8>,
    layout: Layout,
}

// SAFETY: memory belongs to no thread.
unsafe impl Send for Fresh {}

impl Drop for Fresh {
    fn drop(&mut self) {
        // SAFETY: allocated by `fresh_like` with this layout.
        unsafe { dealloc(self.data.as_ptr(), self.layout) }
    }
}

/// A row-major host tensor of the same shape and dtype, with memory of its own that nobody has written yet.
pub(crate) fn fresh_like(like: &Tensor) -> Result<Tensor> {
    let refuse = || Error::OutOfMemory { bytes: like.nbytes() };
    let layout = Layout::from_size_align(like.nbytes().max(1), ALIGNMENT).map_err(|_| refuse())?;
    // SAFETY: at least one byte.
    let data = NonNull::new(unsafe { alloc(layout) }).ok_or_else(refuse)?;
    let description = DLTensor {
        data: data.as_ptr().cast(),
        device: DLDevice::CPU,
        strides: null_mut(),
        byte_offset: 0,
        ..*like.view()
    };
    // SAFETY: the description is that of a tensor, packed, over memory of that size, which is freed with its owner and
    // which nobody else has.
    unsafe { Tensor::keep(Fresh { data, layout }, Reach::Nobody, DlpackFlags::empty(), |_| Ok(description)) }
        .map_err(|(error, _)| error)
}
