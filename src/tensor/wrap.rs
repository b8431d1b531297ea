//! Tensors over memory that Rust owns.

use super::{Element, Tensor, layout};
use crate::dlpack::{DLDevice, DLTensor};
use crate::error::{Error, Result};
use dlpark::DlpackFlags;
use std::ptr::null_mut;

impl Tensor {
    /// A row-major CPU tensor that owns the vector. No copy is made; on failure the vector is dropped.
    pub fn from_vec<T: Element>(mut values: Vec<T>, shape: &[i64]) -> Result<Self> {
        let extent = layout::measure(shape, None, 8 * size_of::<T>() as u32)?;
        if extent.size as usize != values.len() {
            return Err(Error::WrongLength { length: values.len(), size: extent.size });
        }
        let description = DLTensor {
            data: values.as_mut_ptr().cast(),
            device: DLDevice::CPU,
            ndim: i32::try_from(shape.len()).unwrap_or(i32::MAX),
            dtype: T::DTYPE,
            shape: shape.as_ptr().cast_mut(),
            strides: null_mut(),
            byte_offset: 0,
        };
        // SAFETY: the vector holds `size` elements at `data` and moves into the owner, which does not move them;
        // the shape is a live slice.
        unsafe { Tensor::wrap(&description, DlpackFlags::empty(), values) }.map_err(|(error, _)| error)
    }
}
