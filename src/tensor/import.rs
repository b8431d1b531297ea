//! Taking tensors over: wrapped foreign buffers and both DLPack structs. Nothing a producer says is trusted.

use super::draft::{Draft, Place};
use super::export::{self, Ours};
use super::{MAX_NDIM, Owner, Reach, Tensor, device, dtype, layout};
use crate::dlpack::{DLManagedTensor, DLManagedTensorVersioned, DLPACK_MAJOR_VERSION, DLTensor};
use crate::error::{Error, Result};
use crate::guard::Foreign;
use dlpark::{DlpackFlags, ManagedTensorBase};
use std::ffi::c_void;
use std::ptr::NonNull;

impl Tensor {
    /// Wraps foreign memory with a C release function, or with none where the memory outlives every tensor.
    /// On failure nothing is taken and `release` is not called.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// use dlbridge::{DlpackFlags, dlpack::{DLDevice, DLTensor}, tensor::dtype};
    /// use std::ptr::null_mut;
    ///
    /// static TABLE: [u16; 4] = [1, 2, 3, 4];
    /// let mut shape = [4];
    /// let description = DLTensor {
    ///     data: TABLE.as_ptr().cast_mut().cast(),
    ///     device: DLDevice::CPU,
    ///     ndim: 1,
    ///     dtype: dtype::U16,
    ///     shape: shape.as_mut_ptr(),
    ///     strides: null_mut(),
    ///     byte_offset: 0,
    /// };
    /// // SAFETY: a table that outlives every tensor, and is not to be written.
    /// let table = unsafe { Tensor::wrap_foreign(&description, DlpackFlags::READ_ONLY, None, null_mut()) }?;
    /// assert_eq!(table.nbytes(), 8);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`Tensor::wrap`]; besides, `release` may be called once with `context`, from any thread.
    pub unsafe fn wrap_foreign(
        description: &DLTensor,
        flags: DlpackFlags,
        release: Option<super::ReleaseFn>,
        context: *mut c_void,
    ) -> Result<Self> {
        let owner = match release {
            Some(release) => Owner::Foreign { release, context },
            None => Owner::Nobody,
        };
        // SAFETY: the caller vouches for the description.
        unsafe { build(description, flags, owner, Reach::Unknown) }
    }

    /// [`Tensor::wrap_foreign`] for memory of which is known who reaches it.
    ///
    /// # Safety
    ///
    /// As for [`Tensor::wrap_foreign`]; besides, the memory is reached as `reach` says.
    pub(crate) unsafe fn wrap_reached(
        description: &DLTensor,
        flags: DlpackFlags,
        release: super::ReleaseFn,
        context: *mut c_void,
        reach: Reach,
    ) -> Result<Self> {
        let owner = Owner::Foreign { release, context };
        // SAFETY: the caller vouches for the description.
        unsafe { build(description, flags, owner, reach) }
    }

    /// Describes memory that `of` keeps alive: another view of it, made by somebody else. It is read-only if `of` is.
    ///
    /// ```
    /// use dlbridge::{DlpackFlags, Tensor, dlpack::DLTensor};
    ///
    /// let tensor = Tensor::from_vec(vec![1_u8, 2, 3, 4], &[4])?;
    /// let mut shape = [2, 2];
    /// let square = DLTensor { ndim: 2, shape: shape.as_mut_ptr(), strides: std::ptr::null_mut(), ..*tensor.view() };
    /// // SAFETY: all four elements are those of the tensor.
    /// let square = unsafe { Tensor::wrap_shared(&square, DlpackFlags::empty(), &tensor) }?;
    /// assert_eq!(square.strides(), [2, 1]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`Tensor::wrap`], with the owner of `of` as the owner.
    pub unsafe fn wrap_shared(description: &DLTensor, flags: DlpackFlags, of: &Tensor) -> Result<Self> {
        // SAFETY: the caller vouches for the description.
        unsafe { build(description, flags | of.flags(), Owner::Root(of.root().clone()), Reach::Unknown) }
    }

    /// Takes over a versioned managed tensor. Always takes ownership: on failure its deleter has been called.
    ///
    /// Accepted: any 1.x version, NULL strides as row-major whatever the minor version, any stride on dimensions
    /// of size 0 or 1, a NULL deleter, unknown flags (which are dropped). Of another major version nothing but
    /// the deleter is touched. An export of this library is undone: it is deleted at once, and the tensor shares
    /// its owner.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// /// A consumer, in C or in Rust, gets a pointer that it owns.
    /// fn consume(managed: std::ptr::NonNull<dlbridge::dlpack::DLManagedTensorVersioned>) -> dlbridge::Result<i64> {
    ///     // SAFETY: ours now, from a producer that is trusted with its own memory.
    ///     let tensor = unsafe { Tensor::import(managed) }?;
    ///     Ok(tensor.shape().iter().sum())
    /// }
    /// assert_eq!(consume(Tensor::from_vec(vec![0_u8; 6], &[2, 3])?.export()?)?, 5);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// `managed` points to a live `DLManagedTensorVersioned` that the caller owns, and its deleter may be called
    /// once from any thread. Shape and strides, where not NULL, are readable for `ndim` values.
    pub unsafe fn import(managed: NonNull<DLManagedTensorVersioned>) -> Result<Self> {
        // SAFETY: the caller owns `managed`; this adopts it with a releaser that calls its deleter once.
        unsafe { Self::import_with(managed, delete_versioned) }
    }

    /// [`Tensor::import`] with a release function of its own, which gets `managed` as its context and must end in
    /// its deleter.
    ///
    /// # Safety
    ///
    /// As for [`Tensor::import`]; `release` may be called once with `managed`, from any thread.
    pub(crate) unsafe fn import_with(
        managed: NonNull<DLManagedTensorVersioned>,
        release: super::ReleaseFn,
    ) -> Result<Self> {
        // SAFETY: version, context, deleter and flags are the prefix that every major version keeps; what lies
        // behind them is looked at only if the major version is ours.
        unsafe {
            let version = (*managed.as_ptr()).version;
            if version.major == DLPACK_MAJOR_VERSION {
                return adopt(managed, release);
            }
            release(managed.as_ptr().cast());
            Err(Error::Version { major: version.major, minor: version.minor })
        }
    }

    /// Takes over a legacy managed tensor. Always takes ownership: on failure its deleter has been called.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let export = Tensor::from_vec(vec![0_u8; 6], &[2, 3])?.export_legacy()?;
    /// // SAFETY: an export that nobody else takes.
    /// assert_eq!(unsafe { Tensor::import_legacy(export) }?.shape(), [2, 3]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`Tensor::import`].
    pub unsafe fn import_legacy(managed: NonNull<DLManagedTensor>) -> Result<Self> {
        // SAFETY: the caller owns `managed`; this adopts it with a releaser that calls its deleter once.
        unsafe { Self::import_legacy_with(managed, delete_legacy) }
    }

    /// [`Tensor::import_legacy`] with a release function of its own.
    ///
    /// # Safety
    ///
    /// As for `import_with`.
    pub(crate) unsafe fn import_legacy_with(
        managed: NonNull<DLManagedTensor>,
        release: super::ReleaseFn,
    ) -> Result<Self> {
        // SAFETY: promised by the caller.
        unsafe { adopt(managed, release) }
    }
}

/// Makes a tensor of a managed tensor whose layout is known, and calls `release` if that fails.
///
/// # Safety
///
/// As for `import_with`.
unsafe fn adopt<M: ManagedTensorBase>(managed: NonNull<M>, release: super::ReleaseFn) -> Result<Tensor> {
    let context = managed.as_ptr().cast();
    // SAFETY: the caller owns a live structure and gives it away.
    let (bound, owner, ours) = match unsafe { export::take_back(managed) } {
        Some(Ours::Back(tensor)) => return Ok(tensor),
        // What nobody may write to stays so, whatever became of the header.
        Some(Ours::Changed(root)) => (root.flags(), Owner::Root(root), true),
        None => (DlpackFlags::empty(), Owner::Foreign { release, context }, false),
    };
    // SAFETY: as above.
    let header = unsafe { managed.as_ref() };
    // SAFETY: the caller vouches for the description.
    let built = unsafe { build(header.tensor(), header.flags() | bound, owner, Reach::Unknown) };
    if ours || built.is_err() {
        // SAFETY: neither a failed `build` nor a tensor on the root of an export of ours calls it again.
        unsafe { release(context) };
    }
    built
}

/// Calls the deleter of a `DLManagedTensorVersioned`, if it has one.
///
/// # Safety
///
/// `context` is a managed tensor whose deleter was not called yet.
pub(crate) unsafe extern "C" fn delete_versioned(context: *mut c_void) {
    let managed = context.cast::<DLManagedTensorVersioned>();
    // SAFETY: the caller owns `managed`; the deleter lies in the prefix that every version keeps.
    unsafe {
        if let Some(deleter) = (*managed).deleter {
            deleter.call((managed,));
        }
    }
}

/// Calls the deleter of a legacy `DLManagedTensor`, if it has one.
///
/// # Safety
///
/// `context` is a managed tensor whose deleter was not called yet.
pub(crate) unsafe extern "C" fn delete_legacy(context: *mut c_void) {
    let managed = context.cast::<DLManagedTensor>();
    // SAFETY: the caller owns `managed`.
    unsafe {
        if let Some(deleter) = (*managed).deleter {
            deleter.call((managed,));
        }
    }
}

/// Checks a description and builds the tensor. On failure the owner's release function is not called.
///
/// # Safety
///
/// Shape and strides, where not NULL, are readable for `ndim` values.
pub(super) unsafe fn build(
    description: &DLTensor,
    flags: DlpackFlags,
    owner: Owner,
    reach: Reach,
) -> Result<Tensor> {
    let ndim = description.ndim;
    let Some(ndim) = usize::try_from(ndim).ok().filter(|&ndim| ndim <= MAX_NDIM) else {
        return Err(Error::Ndim { ndim: ndim.into(), limit: MAX_NDIM });
    };
    if ndim > 0 && description.shape.is_null() {
        return Err(Error::NullShape { ndim: description.ndim });
    }
    // SAFETY: the caller vouches for `ndim` readable values behind each pointer that is not NULL.
    let shape = unsafe { values(description.shape, ndim) }.unwrap_or(&[]);
    // SAFETY: as above.
    let strides = unsafe { values(description.strides, ndim) };
    dtype::check(description.dtype)?;
    if flags.contains(DlpackFlags::IS_SUBBYTE_TYPE_PADDED) && description.dtype.bits < 8 {
        return Err(Error::PaddedSubByte { dtype: dtype::Name(description.dtype).to_string() });
    }
    let device = device::check(description.device)?;
    let extent = layout::measure(shape, strides, dtype::item_bits(description.dtype))?;
    if extent.size != 0 && description.data.is_null() {
        return Err(Error::NullData { shape: shape.to_vec() });
    }
    let place = Place {
        data: description.data,
        byte_offset: description.byte_offset,
        device,
        dtype: description.dtype,
        flags,
        // Without elements there is nothing to reach.
        reach: if extent.size == 0 && reach == Reach::Unknown { Reach::Nobody } else { reach },
    };
    Draft::new(shape, strides)?.finish(place, extent, owner)
}

/// The `count` values at `pointer`, or `None` where it is NULL or there are none.
///
/// # Safety
///
/// `pointer`, where not NULL, is readable for `count` values that nobody changes meanwhile.
unsafe fn values<'a>(pointer: *const i64, count: usize) -> Option<&'a [i64]> {
    if pointer.is_null() || count == 0 {
        return None;
    }
    // SAFETY: promised by the caller.
    Some(unsafe { std::slice::from_raw_parts(pointer, count) })
}
