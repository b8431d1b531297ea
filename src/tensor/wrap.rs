//! Tensors over memory that a Rust value owns, and the way back.

use super::{Element, Owner, Reach, Tensor, draft, import, packed_bytes};
use crate::dlpack::{DLDevice, DLTensor};
use crate::error::{Error, Result};
use dlpark::DlpackFlags;
use std::any::Any;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{NonNull, null_mut};

impl Tensor {
    /// A row-major CPU tensor that owns the vector; [`Tensor::into_vec`] gives it back.
    ///
    /// No copy is made. The vector must hold as many elements as the shape; on failure it is dropped.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let tensor = Tensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
    /// assert_eq!(tensor.strides(), [3, 1]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn from_vec<T: Element>(values: Vec<T>, shape: &[i64]) -> Result<Self> {
        Self::from_owner_mut(values, shape)
    }

    /// A read-only row-major CPU tensor over the slice that `owner` shows: an `Arc<[T]>`, a `&'static [T]`,
    /// `bytes::Bytes`, a `memmap2::Mmap`, a type of your own.
    ///
    /// No copy is made, and `owner` lives as long as the tensor, its views and its exports; on failure it is dropped.
    /// Nobody can write to the memory, so [`Tensor::get`] lends it out as a slice.
    ///
    /// ```
    /// use dlbridge::Tensor;
    /// use std::sync::Arc;
    ///
    /// let weights: Arc<[f32]> = vec![0.5; 6].into();
    /// let tensor = Tensor::from_owner(weights.clone(), &[2, 3])?;
    /// assert_eq!(tensor.data().cast_const().cast(), weights.as_ptr());
    /// assert!(tensor.is_read_only());
    ///
    /// struct Shared(Arc<Vec<f32>>); // an `Arc<Vec<T>>` shows a vector, not a slice
    /// impl AsRef<[f32]> for Shared {
    ///     fn as_ref(&self) -> &[f32] {
    ///         &self.0
    ///     }
    /// }
    /// assert_eq!(Tensor::from_owner(Shared(Arc::new(vec![1.0, 2.0])), &[2])?.get::<f32>()?, [1.0, 2.0]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn from_owner<T: Element, O>(owner: O, shape: &[i64]) -> Result<Self>
    where
        O: AsRef<[T]> + Send + 'static,
    {
        let describe = |owner: NonNull<O>| {
            // SAFETY: the box is leaked, so the owner does not move. Whatever `as_ref` does, it borrows the slice from the
            // owner for as long as this borrow lasts, which is until the tensor drops the owner, once nobody reads the
            // slice any more: nobody else has the owner, to end the borrow before.
            let values = unsafe { owner.as_ref() }.as_ref();
            describe::<T>(values.as_ptr().cast_mut(), values.len(), shape)
        };
        // SAFETY: `describe` shows the elements of the slice, and the flag says that they are not writable.
        unsafe { Self::keep(owner, Reach::Readers, DlpackFlags::READ_ONLY, describe) }
            .map_err(|(error, _)| error)
    }

    /// A row-major CPU tensor over the slice that `owner` shows: a `Box<[T]>`, a `memmap2::MmapMut`, a type of your
    /// own.
    ///
    /// As [`Tensor::from_owner`], but the elements may be written.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let pixels: Box<[u8]> = vec![0; 12].into();
    /// let mut tensor = Tensor::from_owner_mut(pixels, &[2, 2, 3])?;
    /// tensor.get_mut::<u8>()?.fill(255);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn from_owner_mut<T: Element, O>(owner: O, shape: &[i64]) -> Result<Self>
    where
        O: AsMut<[T]> + Send + 'static,
    {
        let describe = |mut owner: NonNull<O>| {
            // SAFETY: as in `from_owner`, with a mutable borrow: this one is the only one.
            let values = unsafe { owner.as_mut() }.as_mut();
            describe::<T>(values.as_mut_ptr(), values.len(), shape)
        };
        // SAFETY: `describe` shows the elements of the slice.
        unsafe { Self::keep(owner, Reach::Nobody, DlpackFlags::empty(), describe) }
            .map_err(|(error, _)| error)
    }

    /// Wraps memory that somebody else owns; `owner` is dropped when the last tensor on it is gone.
    ///
    /// NULL strides mean row-major. On failure nothing is taken: `owner` comes back beside the error, and where it is not
    /// wanted `?` makes the [`Error`] alone of the pair. Where the owner can show a slice, [`Tensor::from_owner`] does it
    /// without `unsafe`.
    ///
    /// ```
    /// use dlbridge::{DlpackFlags, Tensor, dlpack::{DLDevice, DLTensor}, tensor::dtype};
    ///
    /// // Two rows of three, each padded to four elements.
    /// let mut padded = vec![1_i32, 2, 3, 0, 4, 5, 6, 0];
    /// let (mut shape, mut strides) = ([2, 3], [4, 1]);
    /// let description = DLTensor {
    ///     data: padded.as_mut_ptr().cast(),
    ///     device: DLDevice::CPU,
    ///     ndim: 2,
    ///     dtype: dtype::I32,
    ///     shape: shape.as_mut_ptr(),
    ///     strides: strides.as_mut_ptr(),
    ///     byte_offset: 0,
    /// };
    /// // SAFETY: all six elements lie in the vector, which is the owner.
    /// let tensor = unsafe { Tensor::wrap(&description, DlpackFlags::empty(), padded) }?;
    /// assert_eq!(tensor.size(), 6);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// `description` points to readable shape and strides of `ndim` values, and every element it describes stays
    /// valid memory until `owner` is dropped. Without `READ_ONLY` in `flags` it must be writable.
    pub unsafe fn wrap<O: Send + 'static>(
        description: &DLTensor,
        flags: DlpackFlags,
        owner: O,
    ) -> std::result::Result<Self, (Error, O)> {
        // SAFETY: the caller vouches for the description.
        unsafe { Self::keep(owner, Reach::Unknown, flags, |_| Ok(*description)) }
    }

    /// [`Tensor::wrap`] for a description that is made once `owner` has its final address.
    ///
    /// # Safety
    ///
    /// As for [`Tensor::wrap`], for what `describe` returns; besides, `reach` is true.
    pub(crate) unsafe fn keep<O: Send + 'static>(
        owner: O,
        reach: Reach,
        flags: DlpackFlags,
        describe: impl FnOnce(NonNull<O>) -> Result<DLTensor>,
    ) -> std::result::Result<Self, (Error, O)> {
        let kept = Kept(NonNull::from(Box::leak(Box::new(owner))));
        let owner = Owner::Rust(kept.0);
        // SAFETY: the caller vouches for the description.
        let built = describe(kept.0)
            .and_then(|description| unsafe { import::build(&description, flags, owner, reach) });
        match built {
            Ok(tensor) => {
                std::mem::forget(kept);
                Ok(tensor)
            }
            Err(error) => Err((error, *kept.into_box())),
        }
    }

    /// The vector that [`Tensor::from_vec`] took, with the elements as they are now.
    ///
    /// Nothing is copied, so this must be the last reference to a tensor that shows all of the vector in row-major
    /// order. Otherwise the error hands the tensor back.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let tensor = Tensor::from_vec(vec![1, 2, 3], &[3])?;
    /// let view = tensor.clone();
    /// let refused = tensor.into_vec::<i32>().unwrap_err();
    /// assert_eq!(refused.error.kind(), dlbridge::Kind::CopyRequired);
    /// drop(view);
    /// assert_eq!(refused.tensor.into_vec::<i32>()?, [1, 2, 3]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn into_vec<T: Element>(self) -> std::result::Result<Vec<T>, TakeError> {
        const ACTION: &str = "taking the vector";
        let whole = |vector: &Vec<T>| {
            self.check_row_major()?;
            if self.size() == vector.len() {
                return Ok(());
            }
            let why = format!("the tensor shows {} of the {} elements", self.size(), vector.len());
            Err(Error::NotExclusive {
                action: ACTION,
                why: why.into(),
                remedy: "copy them: get_mut()?.to_vec()",
            })
        };
        match self.lent_vec::<T>(ACTION).and_then(whole) {
            // SAFETY: `lent_vec` checked both.
            Ok(()) => Ok(unsafe { self.take_vec() }),
            Err(error) => Err(TakeError { error, tensor: self }),
        }
    }

    /// The vector behind this tensor, which must be the last one on it, to look at before it is taken.
    ///
    /// Its elements are not to be touched: the reference is to the vector, not into it.
    pub(crate) fn lent_vec<T: Element>(&self, action: &'static str) -> Result<&Vec<T>> {
        self.data_as(T::DTYPE)?;
        self.check_exclusive(action)?;
        self.check_mutable("tensor")?;
        let vector = match self.root().inner().owner {
            // SAFETY: the box lives as long as the root, and nobody writes to the value in it.
            Owner::Rust(value) => unsafe { value.as_ref() }.downcast_ref::<Vec<T>>(),
            _ => None, // memory of an allocator
        };
        vector.ok_or_else(|| Error::NotExclusive {
            action,
            why: format!("the memory belongs to no Vec<{}>", std::any::type_name::<T>()).into(),
            remedy: "copy the elements: get_mut()?.to_vec()",
        })
    }

    /// Takes the vector out of the tensor.
    ///
    /// # Safety
    ///
    /// `lent_vec` has just returned a vector of this type.
    pub(crate) unsafe fn take_vec<T: Element>(self) -> Vec<T> {
        // SAFETY: the last reference, says the caller.
        let owner = match unsafe { draft::dissolve(ManuallyDrop::new(self).0) } {
            // SAFETY: the view held the last reference to its root.
            Owner::Root(root) => unsafe { draft::dissolve(ManuallyDrop::new(root).0) },
            owner => owner,
        };
        let Owner::Rust(value) = owner else { unreachable!("a Rust value, says the caller") };
        // SAFETY: `keep` leaked this box, and the owner that would have freed it is dissolved.
        let vector = unsafe { Box::from_raw(value.as_ptr()) } as Box<dyn Any>;
        *vector.downcast().unwrap_or_else(|_| unreachable!("a Vec<T>, says the caller"))
    }
}

/// Why a tensor's memory cannot be taken out of it, or frozen, and the tensor, unchanged.
///
/// It converts into the [`Error`] alone, so `?` works where the tensor is not wanted back.
#[derive(Debug)]
pub struct TakeError {
    /// What is in the way.
    pub error: Error,
    /// The tensor, as it was.
    pub tensor: Tensor,
}

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl std::error::Error for TakeError {}

impl From<TakeError> for Error {
    fn from(refused: TakeError) -> Error {
        refused.error
    }
}

/// What [`Tensor::wrap`] refuses, for who does not want the owner back.
impl<O> From<(Error, O)> for Error {
    fn from((error, _): (Error, O)) -> Error {
        error
    }
}

/// A value on its way to a tensor, in a box that does not move any more: pointers into it stay good.
struct Kept<O>(NonNull<O>);

impl<O> Kept<O> {
    fn into_box(self) -> Box<O> {
        // SAFETY: leaked by `Tensor::keep`, taken back once.
        unsafe { Box::from_raw(ManuallyDrop::new(self).0.as_ptr()) }
    }
}

impl<O> Drop for Kept<O> {
    fn drop(&mut self) {
        // SAFETY: as above; this is reached only if describing the value panicked.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// A packed row-major CPU tensor of `length` elements.
fn describe<T: Element>(data: *mut T, length: usize, shape: &[i64]) -> Result<DLTensor> {
    let size = packed_bytes(shape, T::DTYPE)? / size_of::<T>();
    if size != length {
        return Err(Error::WrongLength { length, size: size as i64 });
    }
    Ok(DLTensor {
        data: data.cast(),
        device: DLDevice::CPU,
        ndim: i32::try_from(shape.len()).unwrap_or(i32::MAX),
        dtype: T::DTYPE,
        shape: shape.as_ptr().cast_mut(),
        strides: null_mut(),
        byte_offset: 0,
    })
}
