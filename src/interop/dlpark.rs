//! [dlpark](https://docs.rs/dlpark/0.10.0)'s owners of managed tensors, which all its adapters (ndarray, candle, image, ...)
//! produce and consume.
//!
//! ```
//! use dlbridge::{Tensor, tensor::dtype};
//! use dlpark::versioned::Dlpack;
//!
//! let tensor = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?;
//! let exported = Dlpack::try_from(&tensor)?; // what a crate that speaks dlpark takes
//! assert_eq!(exported.validate().unwrap().shape(), [3]);
//! let back = Tensor::try_from(exported)?; // nothing was copied
//! assert_eq!((back.data(), back.dtype()), (tensor.data(), dtype::I32));
//! # Ok::<(), dlbridge::Error>(())
//! ```

use crate::dlpack::{DLManagedTensor, DLManagedTensorVersioned};
use crate::error::{Error, Result};
use crate::tensor::Tensor;
use dlpark::{Managed, ManagedTensorBase, legacy, versioned};
use std::ptr::NonNull;

/// Takes the tensor over. A malformed one is refused, and gone then.
impl TryFrom<versioned::Dlpack> for Tensor {
    type Error = Error;

    fn try_from(dlpack: versioned::Dlpack) -> Result<Self> {
        // SAFETY: whoever made the `Dlpack` vouched for the struct, and ownership moves out of it.
        unsafe { Tensor::import(into_raw(dlpack)?) }
    }
}

/// Takes the tensor over. A malformed one is refused, and gone then.
impl TryFrom<legacy::Dlpack> for Tensor {
    type Error = Error;

    fn try_from(dlpack: legacy::Dlpack) -> Result<Self> {
        // SAFETY: whoever made the `Dlpack` vouched for the struct, and ownership moves out of it.
        unsafe { Tensor::import_legacy(into_raw(dlpack)?) }
    }
}

/// Exports the tensor, as [`Tensor::export`] does.
impl TryFrom<&Tensor> for versioned::Dlpack {
    type Error = Error;

    fn try_from(tensor: &Tensor) -> Result<Self> {
        own::<DLManagedTensorVersioned>(tensor.export()?)
    }
}

/// Exports the tensor, as [`Tensor::export_legacy`] does: a read-only one is refused.
impl TryFrom<&Tensor> for legacy::Dlpack {
    type Error = Error;

    fn try_from(tensor: &Tensor) -> Result<Self> {
        own::<DLManagedTensor>(tensor.export_legacy()?)
    }
}

fn into_raw<M: ManagedTensorBase>(dlpack: Managed<M>) -> Result<NonNull<M>> {
    NonNull::new(dlpack.into_raw()).ok_or(Error::Null { what: "the managed tensor" })
}

fn own<M: ManagedTensorBase>(export: NonNull<M>) -> Result<Managed<M>> {
    // SAFETY: a fresh export that nobody else owns; its metadata does not change and its deleter is called by the
    // owner, once.
    let owned = unsafe { Managed::from_raw(export.as_ptr()) };
    owned.map_err(|_| Error::Null { what: "the managed tensor" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Kind;
    use crate::tensor::dtype;
    use dlpark::DlpackFlags;

    fn tensor() -> Tensor {
        Tensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3]).unwrap()
    }

    /// There and back: the same memory, one owner.
    fn round_trip<D>()
    where
        D: for<'a> TryFrom<&'a Tensor, Error = Error>,
        Tensor: TryFrom<D, Error = Error>,
    {
        let tensor = tensor();
        let view = tensor.permute(&[1, 0]).unwrap();
        let back = Tensor::try_from(D::try_from(&view).unwrap()).unwrap();
        assert_eq!((back.shape(), back.strides()), (view.shape(), view.strides()));
        assert_eq!((back.data(), back.dtype()), (tensor.data(), dtype::F32));
        assert_eq!(
            (tensor.reference_count(), view.reference_count()),
            (2, 2),
            "what comes back is the view itself, which keeps the owner"
        );
        drop(back);
        drop(D::try_from(&view).unwrap());
        assert_eq!(
            (tensor.reference_count(), view.reference_count()),
            (2, 1),
            "an unused export lets go too"
        );
    }

    #[test]
    fn both_structs_go_there_and_back() {
        round_trip::<versioned::Dlpack>();
        round_trip::<legacy::Dlpack>();
    }

    #[test]
    fn read_only_is_told_or_refused() {
        let frozen = tensor().read_only().unwrap();
        let exported = versioned::Dlpack::try_from(&frozen).unwrap();
        assert_eq!(exported.flags(), DlpackFlags::READ_ONLY);
        assert!(Tensor::try_from(exported).unwrap().is_read_only());
        let error = legacy::Dlpack::try_from(&frozen).map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::ReadOnly);
    }

    #[test]
    fn dlpark_reads_what_we_export() {
        let mut exported = versioned::Dlpack::try_from(&tensor()).unwrap();
        let view = exported.validate_export().unwrap();
        assert_eq!((view.shape(), view.strides()), (&[2, 3][..], Some(&[3, 1][..])));
        assert!(exported.validate_mut().is_ok());
    }

    #[test]
    fn what_dlpark_lets_through_is_still_checked() {
        let mut exported = legacy::Dlpack::try_from(&tensor()).unwrap();
        // SAFETY: the export is ours alone; a float of 7 bits is what a careless producer might say.
        unsafe { (*exported.as_ptr()).dl_tensor.dtype.bits = 7 };
        assert!(exported.validate_mut().is_ok(), "dlpark trusts the dtype");
        assert_eq!(Tensor::try_from(exported).unwrap_err().kind(), Kind::InvalidTensor);
    }
}
