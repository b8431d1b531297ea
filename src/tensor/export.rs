//! Handing tensors out as DLPack structs. Every export has its own header and keeps the tensor alive.

use super::{Access, Tensor, device, layout};
use crate::dlpack::{DLManagedTensor, DLManagedTensorVersioned, DLTensor};
use crate::error::{Error, Result};
use crate::guard::guard_silent;
use dlpark::{DlpackFlags, ManagedTensorBase};
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicIsize, Ordering};

/// Exports whose deleter was not called yet.
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// Who sees to it that memory of a device stays when a consumer lets go of it while the device is at work. Set by who drives
/// devices; without a driver none of the memory is used again.
static LET_GO: OnceLock<fn(&Tensor)> = OnceLock::new();

/// Has `let_go` called when the consumer of an export on a device, who named no stream, lets go.
pub(crate) fn let_go_by(let_go: fn(&Tensor)) {
    let _ = LET_GO.set(let_go);
}

/// What is done instead for a consumer who named one.
pub(crate) type LetGo = Box<dyn Fn(&Tensor) + Send + Sync>;

/// Exports whose deleter was not called yet; what a leak test compares before and after.
///
/// ```
/// assert_eq!(dlbridge::tensor::live_exports(), 0);
/// ```
pub fn live() -> usize {
    usize::try_from(LIVE.load(Ordering::Relaxed)).unwrap_or(0)
}

/// The heap block behind an export; `ndim` sizes and `ndim` strides follow it in the same allocation.
#[repr(C)]
struct Export<M> {
    managed: M,
    tensor: Tensor,
    let_go: Option<LetGo>,
}

fn block_layout<M>(ndim: usize) -> Layout {
    let size = size_of::<Export<M>>() + ndim * 2 * size_of::<i64>();
    // At most MAX_NDIM dimensions: this cannot fail.
    Layout::from_size_align(size, align_of::<Export<M>>())
        .unwrap_or_else(|_| handle_alloc_error(Layout::new::<u64>()))
}

impl Tensor {
    /// Exports the tensor as DLPack 1.3. The receiver owns the result and calls its deleter once, from any thread.
    ///
    /// Strides are always there, canonical on dimensions of size 0 and 1, `data` is NULL where the tensor is empty,
    /// and `READ_ONLY` is set where the tensor is read-only. Nothing is copied, so `IS_COPIED` is not set. While a copy
    /// into the memory goes on, this waits for it. Memory of a CUDA device is not used again before what was queued on the
    /// default stream, and on the library's own, when the deleter is called.
    ///
    /// The pointer owns the export: hand it to a consumer, or call its deleter; dropping it leaks. As an owner that
    /// deletes by itself there is `dlpark::versioned::Dlpack::try_from(&tensor)`.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let tensor = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?;
    /// let export = tensor.export()?;
    /// assert_eq!(tensor.reference_count(), 2);
    /// // SAFETY: the export is alive; its deleter is called once, as its consumer would.
    /// unsafe { (export.as_ref().deleter.unwrap())(export.as_ptr()) };
    /// assert_eq!(tensor.reference_count(), 1);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn export(&self) -> Result<NonNull<DLManagedTensorVersioned>> {
        self.clone().into_export()
    }

    /// [`Tensor::export`] that hands over this reference instead of taking another.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let export = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?.into_export()?;
    /// // SAFETY: an export that nobody else takes.
    /// let back = unsafe { Tensor::import(export) }?;
    /// assert_eq!(back.into_vec::<i32>()?, [1, 2, 3]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn into_export(self) -> Result<NonNull<DLManagedTensorVersioned>> {
        let flags = self.flags();
        self.export_as(flags)
    }

    /// Exports the tensor in the struct from before DLPack 1.0, which cannot say "read-only": a read-only tensor is
    /// refused.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let tensor = Tensor::from_vec(vec![1_i32], &[1])?;
    /// assert_eq!(tensor.read_only()?.export_legacy().unwrap_err().kind(), dlbridge::Kind::ReadOnly);
    /// // SAFETY: an export that nobody else takes.
    /// drop(unsafe { Tensor::import_legacy(tensor.export_legacy()?) }?);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn export_legacy(&self) -> Result<NonNull<DLManagedTensor>> {
        if self.is_read_only() {
            return Err(Error::ReadOnlyLegacy);
        }
        self.clone().export_as(DlpackFlags::empty())
    }

    /// [`Tensor::into_export`] for who has ordered the consumer behind the copies into the memory: this waits for none.
    /// `copied` says that the memory was made for this export, `let_go` what is to be done when the consumer lets go.
    pub(crate) fn into_ordered_export(
        self,
        copied: bool,
        let_go: Option<LetGo>,
    ) -> Result<NonNull<DLManagedTensorVersioned>> {
        let flags = self.flags();
        self.build(if copied { flags | DlpackFlags::IS_COPIED } else { flags }, let_go)
    }

    /// [`Tensor::export_legacy`], as [`Tensor::into_ordered_export`].
    pub(crate) fn into_ordered_legacy_export(
        self,
        let_go: Option<LetGo>,
    ) -> Result<NonNull<DLManagedTensor>> {
        self.build(DlpackFlags::empty(), let_go)
    }

    fn export_as<M: ManagedTensorBase>(self, flags: DlpackFlags) -> Result<NonNull<M>> {
        self.settle(Access::Read)?;
        self.build(flags, None)
    }

    fn build<M: ManagedTensorBase>(self, flags: DlpackFlags, let_go: Option<LetGo>) -> Result<NonNull<M>> {
        let ndim = self.ndim();
        let layout = block_layout::<M>(ndim);
        // SAFETY: the layout is never of size 0.
        let block = NonNull::new(unsafe { alloc(layout) }.cast::<Export<M>>());
        let block = block.ok_or(Error::OutOfMemory { bytes: layout.size() })?;
        // SAFETY: the block has room for 2 * `ndim` values behind the fixed part, and is ours alone.
        let strides = unsafe {
            let shape = block.as_ptr().add(1).cast::<i64>();
            let strides = shape.add(ndim);
            shape.copy_from_nonoverlapping(self.shape().as_ptr(), ndim);
            strides.copy_from_nonoverlapping(self.strides().as_ptr(), ndim);
            std::slice::from_raw_parts_mut(strides, ndim)
        };
        layout::canonicalise(self.shape(), strides);
        let view = DLTensor {
            // SAFETY: as above; the shape follows the fixed part.
            shape: unsafe { block.as_ptr().add(1) }.cast(),
            strides: strides.as_mut_ptr(),
            ..*self.view()
        };
        let mut managed = M::from_parts(view, block.as_ptr().cast(), Some(delete::<M>));
        // SAFETY: IS_COPIED, the flag that promises something, is never among a tensor's flags: who adds it has copied.
        unsafe { managed.set_flags_unchecked(flags) };
        // SAFETY: the block is large and aligned enough for `Export<M>`.
        unsafe { block.as_ptr().write(Export { managed, tensor: self, let_go }) };
        LIVE.fetch_add(1, Ordering::Relaxed);
        Ok(block.cast())
    }
}

/// What an import finds in an export of ours.
pub(super) enum Ours {
    /// The tensor that was exported: the export came back as it went out and is gone now.
    Back(Tensor),
    /// The owner of the memory. Somebody changed the header, which is still to be read and deleted.
    Changed(Tensor),
}

/// Takes an export of ours back; `None` for anybody else's, which is left alone.
///
/// A hand-over that comes back costs no new block, and thousands of them build no chain that would have to be undone
/// in a recursion as deep.
///
/// # Safety
///
/// The caller owns `managed`, which points to a live structure.
pub(super) unsafe fn take_back<M: ManagedTensorBase>(managed: NonNull<M>) -> Option<Ours> {
    // SAFETY: promised by the caller.
    let export = unsafe { export_of(managed) }?;
    Some(if export.is_unchanged() {
        // SAFETY: the caller owns the export, and nobody else will delete it.
        Ours::Back(unsafe { dissolve(managed.as_ptr()) })
    } else {
        Ours::Changed(export.tensor.root().clone())
    })
}

/// The tensor in an export of ours that somebody keeps; `None` for anybody else's.
///
/// # Safety
///
/// `managed` points to a structure that lives, and is not deleted, for `'a`.
pub(crate) unsafe fn tensor_in<'a, M: ManagedTensorBase + 'a>(managed: NonNull<M>) -> Option<&'a Tensor> {
    // SAFETY: promised by the caller.
    unsafe { export_of(managed) }.map(|export| &export.tensor)
}

/// The block around an export of ours; `None` for anybody else's.
///
/// # Safety
///
/// As for [`tensor_in`].
unsafe fn export_of<'a, M: ManagedTensorBase>(managed: NonNull<M>) -> Option<&'a Export<M>> {
    // SAFETY: promised by the caller.
    let deleter = unsafe { managed.as_ref() }.deleter()?;
    // Two addresses may stand for one function, as in a program with two copies of this library: then ours counts as
    // somebody else's, and goes through its deleter as any other. One address may stand for two functions only if they do
    // the same to the same bytes, so what it deletes is a block like ours all the same.
    if !std::ptr::fn_addr_eq(deleter, delete::<M> as unsafe extern "C" fn(*mut M)) {
        return None;
    }
    // SAFETY: this deleter is only right for the first field of a block that `export_as` made.
    Some(unsafe { managed.cast::<Export<M>>().as_ref() })
}

impl<M: ManagedTensorBase> Export<M> {
    /// Whether the header still says what the tensor does.
    fn is_unchanged(&self) -> bool {
        let (view, header) = (self.tensor.view(), self.managed.tensor());
        let place = |view: &DLTensor| (view.data, view.device, view.ndim, view.dtype, view.byte_offset);
        // The block's own shape and strides are compared, so a header that points elsewhere has changed.
        let end = std::ptr::from_ref(self).wrapping_add(1).cast::<i64>().cast_mut();
        let ndim = self.tensor.ndim();
        if place(view) != place(header) || (header.shape, header.strides) != (end, end.wrapping_add(ndim)) {
            return false;
        }
        // SAFETY: `export_as` filled in `ndim` sizes and as many strides behind the block.
        let (shape, strides) = unsafe {
            (std::slice::from_raw_parts(header.shape, ndim), std::slice::from_raw_parts(header.strides, ndim))
        };
        let mut steps = shape.iter().zip(strides).zip(self.tensor.strides());
        let read_only = self.managed.flags().contains(DlpackFlags::READ_ONLY);
        shape == self.tensor.shape()
            && (self.tensor.size() == 0 || steps.all(|((&extent, header), own)| extent == 1 || header == own))
            && (self.managed.version().is_none() || read_only == self.tensor.is_read_only())
    }
}

/// Frees an export's block and returns the reference it held. What a device has queued on the memory may go on.
///
/// # Safety
///
/// `managed` came from `export_as::<M>`, and is dissolved once.
unsafe fn dissolve<M: ManagedTensorBase>(managed: *mut M) -> Tensor {
    // SAFETY: `managed` is the first field of the block that `export_as` made.
    let Export { tensor, let_go, .. } = unsafe { managed.cast::<Export<M>>().read() };
    // SAFETY: allocated for the tensor's dimensions; the header's own `ndim` is not trusted, a consumer may have
    // changed it.
    unsafe { dealloc(managed.cast(), block_layout::<M>(tensor.ndim())) };
    LIVE.fetch_sub(1, Ordering::Relaxed);
    if !device::is_host(tensor.device()) {
        match (let_go, LET_GO.get()) {
            (Some(let_go), _) => let_go(&tensor),
            (None, Some(let_go)) => let_go(&tensor),
            (None, None) => {}
        }
    }
    tensor
}

/// The deleter of every export: frees the header, then drops its reference to the tensor. Needs no lock, no
/// interpreter and no particular thread, and never unwinds.
///
/// # Safety
///
/// `managed` came from `export_as::<M>`, and this is the first call.
unsafe extern "C" fn delete<M: ManagedTensorBase>(managed: *mut M) {
    if managed.is_null() {
        return;
    }
    // SAFETY: promised by the caller.
    guard_silent(|| drop(unsafe { dissolve(managed) }));
}
