//! Typed access to elements on the host: the checks that let a pointer be used.

use super::{Element, Tensor, device, dtype, layout};
use crate::dlpack::DLDataType;
use crate::error::{Error, Result};
use std::ffi::c_void;

impl Tensor {
    /// The address of the first element, for reading it as `asked`.
    ///
    /// Refused: memory the host cannot read, another dtype, a dtype whose code is unknown, a misaligned address.
    /// The elements lie where shape and strides say. NULL where the tensor is empty.
    pub fn data_as(&self, asked: DLDataType) -> Result<*const c_void> {
        let have = self.dtype();
        if !dtype::is_known(have) {
            return Err(Error::UnknownDtype { dtype: dtype::Name(have).to_string() });
        }
        if asked != have {
            return Err(Error::DtypeMismatch {
                have: dtype::Name(have).to_string(),
                asked: dtype::Name(asked).to_string(),
            });
        }
        if !device::is_host(self.device()) {
            return Err(Error::NotHost { device: device::Name(self.device()).to_string() });
        }
        let (address, alignment) = (self.data() as usize, dtype::alignment(have));
        if !address.is_multiple_of(alignment) {
            return Err(Error::Misaligned { address, alignment, dtype: dtype::Name(have).to_string() });
        }
        Ok(self.data())
    }

    /// The address of the first element, for writing it as `asked`.
    ///
    /// Refused besides what [`Tensor::data_as`] refuses: a read-only tensor, and strides that make several
    /// indices share one element.
    pub fn data_mut_as(&self, asked: DLDataType) -> Result<*mut c_void> {
        if self.is_read_only() {
            return Err(Error::ReadOnly { action: "mutable access", remedy: "read it, or write to a copy" });
        }
        let data = self.data_as(asked)?;
        if layout::may_overlap(self.shape(), self.strides()) {
            return Err(Error::Overlapping {
                shape: self.shape().to_vec(),
                strides: self.strides().to_vec(),
            });
        }
        Ok(data.cast_mut())
    }

    /// The elements as a slice, where they lie packed in row-major order.
    ///
    /// # Safety
    ///
    /// The memory is what the tensor says, which is its producer's word. Nobody writes to it while the slice is in
    /// use: not through another tensor, not from Python, not from C.
    pub unsafe fn as_slice<T: Element>(&self) -> Result<&[T]> {
        let data = self.data_as(T::DTYPE)?;
        self.check_row_major()?;
        if data.is_null() {
            return Ok(&[]);
        }
        // SAFETY: `data` is aligned and holds `size` elements of T, which the tensor keeps alive; that
        // it is there and nobody writes is promised by the caller.
        Ok(unsafe { std::slice::from_raw_parts(data.cast(), self.size()) })
    }

    /// The elements as a mutable slice, where they lie packed in row-major order.
    ///
    /// # Safety
    ///
    /// The memory is what the tensor says, which is its producer's word. Nobody else reads or writes it while the
    /// slice is in use: not through another tensor or another slice, not from Python, not from C.
    #[allow(
        clippy::mut_from_ref,
        reason = "the tensor is a shared handle; exclusivity is the caller's promise"
    )]
    pub unsafe fn as_mut_slice<T: Element>(&self) -> Result<&mut [T]> {
        let data = self.data_mut_as(T::DTYPE)?;
        self.check_row_major()?;
        if data.is_null() {
            return Ok(&mut []);
        }
        // SAFETY: as for `as_slice`; exclusive use is promised by the caller.
        Ok(unsafe { std::slice::from_raw_parts_mut(data.cast(), self.size()) })
    }

    fn check_row_major(&self) -> Result<()> {
        if self.is_row_major() {
            return Ok(());
        }
        Err(Error::NotContiguous { shape: self.shape().to_vec(), strides: self.strides().to_vec() })
    }
}
