//! Arrays that are only read to be copied: DLPack need not be able to describe them.

use super::{MAX_NDIM, Numpy, dtype};
use crate::dlpack::{DLDataType, DLDevice, DLTensor};
use crate::error::{Error, Refusal, Result};
use crate::python::api::Object;
use crate::python::gil::Gil;
use crate::python::release::release_object;
use crate::tensor::Tensor;
use crate::tensor::dtype::{U8, item_bytes};
use dlpark::DlpackFlags;

/// What is to be copied.
pub(in crate::python) struct ToCopy {
    pub tensor: Tensor,
    /// Whether the elements are in the other byte order, those that `of_bytes` names too.
    pub swapped: bool,
    /// Where the strides are no multiple of an element: its dtype. `tensor` then shows the bytes, along one more dimension.
    pub of_bytes: Option<DLDataType>,
}

impl Numpy {
    /// What an array holds, for a copy of it: also in the other byte order, and with strides that are no multiple of an
    /// element.
    ///
    /// # Safety
    ///
    /// As for [`Numpy::read`].
    pub unsafe fn read_for_copy(&self, gil: &Gil, array: Object) -> Result<ToCopy> {
        // SAFETY: promised by the caller; an array has a dtype.
        unsafe {
            let fields = self.fields(array);
            let (dtype, swapped) = dtype::of_descr_in_any_order(gil, fields.descr, self.descr(fields.descr))?;
            match self.read_as(gil, array, dtype) {
                Err(Error::Refused(Refusal::ByteStride { .. })) => {
                    let tensor = self.read_bytes(gil, array, item_bytes(dtype).unwrap_or(1))?;
                    Ok(ToCopy { tensor, swapped, of_bytes: Some(dtype) })
                }
                read => Ok(ToCopy { tensor: read?, swapped, of_bytes: None }),
            }
        }
    }

    /// The bytes of an array, those of an element along a dimension of their own.
    ///
    /// # Safety
    ///
    /// As for [`Numpy::read`]; an element has so many bytes, and there are at most [`MAX_NDIM`] dimensions.
    unsafe fn read_bytes(&self, gil: &Gil, array: Object, item: usize) -> Result<Tensor> {
        // SAFETY: promised by the caller.
        let fields = unsafe { self.fields(array) };
        let ndim = fields.ndim as usize;
        let (mut shape, mut strides) = ([item as i64; MAX_NDIM + 1], [1_i64; MAX_NDIM + 1]);
        for axis in 0..ndim {
            // SAFETY: an array has `ndim` sizes and strides.
            unsafe {
                shape[axis] = *fields.shape.add(axis) as i64;
                strides[axis] = *fields.strides.add(axis) as i64;
            }
        }
        let description = DLTensor {
            data: fields.data,
            device: DLDevice::CPU,
            ndim: fields.ndim + 1,
            dtype: U8,
            shape: shape.as_mut_ptr(),
            strides: strides.as_mut_ptr(),
            byte_offset: 0,
        };
        let owner = gil.share(array);
        // SAFETY: NumPy keeps the memory for as long as the array, to which the tensor gets a reference of its own.
        let tensor = unsafe {
            Tensor::wrap_foreign(&description, DlpackFlags::READ_ONLY, Some(release_object), owner.object)
        }?;
        owner.into_raw();
        Ok(tensor)
    }
}
