//! The tensor: an immutable description of a buffer somebody else owns, counted atomically, shared between threads.

pub mod device;
pub mod dtype;

mod access;
mod draft;
mod export;
mod fence;
mod import;
mod layout;
mod lent;
mod request;
mod unfinished;
mod view;
mod wrap;

pub use dtype::Element;
pub use export::live as live_exports;
pub(crate) use export::{LetGo, let_go_by, tensor_in};
pub use fence::Fence;
pub(crate) use import::{delete_legacy, delete_versioned};
pub(crate) use layout::is_row_major;
#[cfg(feature = "ndarray")]
pub(crate) use layout::may_overlap;
pub(crate) use layout::measure;
pub(crate) use request::packed_bytes;
pub(crate) use unfinished::Access;
pub use wrap::TakeError;

use crate::dlpack::{DLDataType, DLDevice, DLTensor};
use dlpark::DlpackFlags;
use std::any::Any;
use std::ffi::c_void;
use std::fmt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicIsize, AtomicU8, AtomicUsize, Ordering};

/// The largest number of dimensions handled: twice what NumPy and PyTorch allow.
pub const MAX_NDIM: usize = 128;

/// Called once when the last user of a buffer is gone; from any thread, with no lock held. It must not unwind.
pub type ReleaseFn = unsafe extern "C" fn(context: *mut c_void);

/// References that may be leaked before the process is stopped: one more turn and a live tensor would be freed.
const MAX_COUNT: usize = isize::MAX as usize;

// Sizes, spans and addresses are reckoned in 63 bits.
const _: () = assert!(usize::BITS == 64, "dlbridge is written for 64-bit systems");

/// Tensors alive in this process.
static LIVE: AtomicIsize = AtomicIsize::new(0);

/// Tensors alive in this process, views included; what a leak test compares before and after.
///
/// ```
/// use dlbridge::{Tensor, tensor::live_tensors};
///
/// let tensor = Tensor::from_vec(vec![1_i32, 2], &[2])?;
/// let view = tensor.select(0, 1)?;
/// assert_eq!(live_tensors(), 2);
/// drop((tensor, view));
/// assert_eq!(live_tensors(), 0);
/// # Ok::<(), dlbridge::Error>(())
/// ```
pub fn live_tensors() -> usize {
    usize::try_from(LIVE.load(Ordering::Relaxed)).unwrap_or(0)
}

/// What keeps the memory alive.
pub(crate) enum Owner {
    /// Nobody: memory that outlives every tensor.
    Nobody,
    /// Whoever gave us a function to call at the end.
    Foreign { release: ReleaseFn, context: *mut c_void },
    /// A Rust value in a box, dropped at the end.
    Rust(NonNull<dyn Any + Send>),
    /// The tensor this one is a view of; never itself a view, so that no chain builds up.
    Root(Tensor),
}

/// Who reaches the memory of a tensor besides the tensors that share its owner: what borrows without `unsafe` rest on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Only whoever described it knows.
    Unknown,
    /// Nobody.
    Nobody,
    /// Nobody, but its bytes may have no value yet, as those of an allocator have not.
    Unwritten,
    /// Perhaps others, but nobody can write, through the tensors neither.
    Readers,
}

/// The heap block behind a [`Tensor`]; `ndim` sizes and `ndim` strides follow it in the same allocation.
#[repr(C)]
struct Inner {
    /// First, so that a `dlb_tensor *` is also the address of its `DLTensor`. Its `byte_offset` is 0 but for
    /// devices with handles, its `data` NULL where the tensor is empty, its strides never NULL where it is not 0-d.
    view: DLTensor,
    count: AtomicUsize,
    flags: DlpackFlags,
    reach: Reach,
    /// Of a root: whether slices were lent that nobody may write to; see `lent.rs`.
    lent: AtomicU8,
    size: i64,
    nbytes: i64,
    owner: Owner,
    /// Of a root: the copies that are not done yet.
    fences: unfinished::Slot,
}

/// A shared description of a buffer: shape, strides, dtype, device, and who owns the memory.
///
/// Cloning counts a reference; the last drop releases the owner. The description never changes, so it may be used
/// from any thread; the elements are plain shared memory, as they are in NumPy and PyTorch.
///
/// ```
/// use dlbridge::{DlpackFlags, Tensor, dlpack::DLDevice, tensor::dtype};
///
/// let image = Tensor::from_vec(vec![0_u16; 480 * 640 * 3], &[480, 640, 3])?;
/// let left = image.slice(1, None, Some(320), 1)?;
///
/// assert_eq!((left.ndim(), left.shape(), left.strides()), (3, &[480, 320, 3][..], &[1920, 3, 1][..]));
/// assert_eq!((left.dtype(), left.device(), left.flags()), (dtype::U16, DLDevice::CPU, DlpackFlags::empty()));
/// assert_eq!((left.size(), left.nbytes()), (480 * 320 * 3, 2 * 480 * 320 * 3));
/// assert_eq!((left.is_row_major(), left.is_column_major(), left.is_read_only()), (false, false, false));
/// assert_eq!((left.data(), left.alignment() >= 2), (image.data(), true));
/// assert_eq!((left.view().data, left.view().byte_offset), (image.data(), 0)); // the DLPack struct
/// assert_eq!((image.reference_count(), left.reference_count()), (2, 1)); // the view holds the image
/// # Ok::<(), dlbridge::Error>(())
/// ```
pub struct Tensor(NonNull<Inner>);

// SAFETY: the block is immutable but for its atomic count and its fences, which are shared too, and whoever gives an `Owner::Foreign` promises that its
// release function may run on any thread.
unsafe impl Send for Tensor {}
// SAFETY: as above; shared access reads immutable fields only.
unsafe impl Sync for Tensor {}

// What a panic may leave behind are elements half written, as of an `Arc` of atomics: never a broken tensor.
impl std::panic::UnwindSafe for Tensor {}
impl std::panic::RefUnwindSafe for Tensor {}

impl Clone for Tensor {
    fn clone(&self) -> Self {
        // Relaxed is enough: the caller holds a reference already, so the block cannot go away meanwhile.
        if self.inner().count.fetch_add(1, Ordering::Relaxed) > MAX_COUNT {
            std::process::abort();
        }
        Tensor(self.0)
    }
}

impl Drop for Tensor {
    fn drop(&mut self) {
        let count = &self.inner().count;
        // A count of 1 is ours, and nobody else has a reference to make another from: no need to write it, and the
        // load is what orders us behind every thread that dropped one before. So is the load after a subtraction;
        // a fence would do too, but race checkers do not understand it.
        if count.load(Ordering::Acquire) == 1
            || (count.fetch_sub(1, Ordering::Release) == 1 && count.load(Ordering::Acquire) == 0)
        {
            // SAFETY: this was the last reference, so nobody else can reach the block.
            unsafe { draft::destroy(self.0) }
        }
    }
}

impl Tensor {
    /// The same tensor, whose elements have been written: it may be borrowed without `unsafe` from now on.
    ///
    /// # Safety
    ///
    /// Every element was written, and the memory is reached through this tensor only, which is the last on it.
    pub(crate) unsafe fn written(mut self) -> Tensor {
        debug_assert!(self.is_last());
        if self.inner().reach == Reach::Unwritten {
            // SAFETY: the last reference, so nobody looks at the block meanwhile.
            unsafe { self.0.as_mut() }.reach = Reach::Nobody;
        }
        self
    }

    fn inner(&self) -> &Inner {
        // SAFETY: a `Tensor` holds a reference, so the block is alive and, its count and fences apart, immutable.
        unsafe { self.0.as_ref() }
    }

    /// Gives the reference away as a raw pointer; [`Tensor::from_raw`] takes it back.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let raw = Tensor::from_vec(vec![1_i32, 2], &[2])?.into_raw(); // a `dlb_tensor *` for C
    /// // SAFETY: the reference of the line above.
    /// let tensor = unsafe { Tensor::from_raw(raw) };
    /// assert_eq!(tensor.shape(), [2]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn into_raw(self) -> *mut c_void {
        std::mem::ManuallyDrop::new(self).0.as_ptr().cast()
    }

    /// The raw pointer, borrowed: nothing is given away.
    pub(crate) fn as_raw(&self) -> *mut c_void {
        self.0.as_ptr().cast()
    }

    /// Takes a reference back from [`Tensor::into_raw`].
    ///
    /// # Safety
    ///
    /// `raw` came from [`Tensor::into_raw`], and the reference it stands for is taken back once.
    pub unsafe fn from_raw(raw: *mut c_void) -> Self {
        // SAFETY: `into_raw` never gives NULL.
        Tensor(unsafe { NonNull::new_unchecked(raw.cast()) })
    }

    /// The DLPack view: borrowed, valid while the tensor lives. `byte_offset` is 0 except on devices that hand out
    /// handles, strides are never NULL for `ndim > 0`.
    pub fn view(&self) -> &DLTensor {
        &self.inner().view
    }

    /// Sizes of the dimensions, in elements.
    pub fn shape(&self) -> &[i64] {
        let view = self.view();
        // SAFETY: `Draft` points shape at `ndim` initialised values in the same block.
        unsafe { std::slice::from_raw_parts(view.shape, view.ndim as usize) }
    }

    /// Steps along the dimensions, in elements.
    pub fn strides(&self) -> &[i64] {
        let view = self.view();
        // SAFETY: `Draft` points strides at `ndim` initialised values in the same block.
        unsafe { std::slice::from_raw_parts(view.strides, view.ndim as usize) }
    }

    /// Number of dimensions.
    pub fn ndim(&self) -> usize {
        self.view().ndim as usize
    }

    /// The element type.
    pub fn dtype(&self) -> DLDataType {
        self.view().dtype
    }

    /// Where the memory is. Host and managed memory has id 0.
    pub fn device(&self) -> DLDevice {
        self.view().device
    }

    /// Address of the first element; NULL where there is none, a handle on devices that have those.
    pub fn data(&self) -> *mut c_void {
        self.view().data
    }

    /// `READ_ONLY` or nothing: what survives every view and every export.
    pub fn flags(&self) -> DlpackFlags {
        self.inner().flags & DlpackFlags::READ_ONLY
    }

    /// Whether the memory is a copy that was made for this tensor, or for the one it is a view of: by [`copy`](mod@crate::copy), or
    /// by a producer whose export said so. An export does not hand it on, for it copies nothing.
    pub fn is_copied(&self) -> bool {
        self.inner().flags.contains(DlpackFlags::IS_COPIED)
    }

    /// Whether writing through this tensor is forbidden.
    pub fn is_read_only(&self) -> bool {
        self.flags().contains(DlpackFlags::READ_ONLY)
    }

    /// Number of elements.
    pub fn size(&self) -> usize {
        self.inner().size as usize
    }

    /// Bytes the elements fill when packed, not the span that the strides reach.
    pub fn nbytes(&self) -> usize {
        self.inner().nbytes as usize
    }

    /// Whether the elements lie packed in row-major (C) order.
    pub fn is_row_major(&self) -> bool {
        layout::is_row_major(self.shape(), self.strides())
    }

    /// Whether the elements lie packed in column-major (Fortran) order.
    pub fn is_column_major(&self) -> bool {
        layout::is_column_major(self.shape(), self.strides())
    }

    /// The largest power of two that divides the address of the first element; 0 where there is no address (an
    /// empty tensor, a handle).
    pub fn alignment(&self) -> usize {
        let address = self.data() as usize;
        if address == 0 || device::has_handles(self.device()) { 0 } else { 1 << address.trailing_zeros() }
    }

    /// References held to this tensor, for tests and diagnostics: another thread may change it at any time.
    pub fn reference_count(&self) -> usize {
        self.inner().count.load(Ordering::Relaxed)
    }

    /// Whether this is the only reference to the only tensor on its memory, so that nobody can make another.
    ///
    /// The loads order what follows behind whatever was done through references dropped before.
    fn is_last(&self) -> bool {
        let last = |tensor: &Tensor| tensor.inner().count.load(Ordering::Acquire) == 1;
        last(self) && last(self.root())
    }

    /// The tensor that owns the memory: itself, or what it is a view of.
    fn root(&self) -> &Tensor {
        match &self.inner().owner {
            Owner::Root(root) => root,
            _ => self,
        }
    }

    /// The owner of the memory, where it is a value of this type.
    pub(crate) fn owner<O: Send + Sync + 'static>(&self) -> Option<&O> {
        match &self.root().inner().owner {
            // SAFETY: a box that stays where it is while there is a tensor, and that nobody changes. What is made of it may
            // be shared among threads.
            Owner::Rust(owner) => unsafe { owner.as_ref() }.downcast_ref(),
            _ => None,
        }
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tensor")
            .field("shape", &self.shape())
            .field("strides", &self.strides())
            .field("dtype", &format_args!("{}", dtype::Name(self.dtype())))
            .field("device", &format_args!("{}", device::Name(self.device())))
            .field("data", &self.data())
            .field("flags", &self.flags())
            .finish()
    }
}
