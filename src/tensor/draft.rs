//! Making and unmaking the one heap block of a tensor.

use super::{Inner, LIVE, Owner, Reach, Tensor, device, layout};
use crate::dlpack::{DLDataType, DLDevice, DLTensor};
use crate::error::{Error, Result};
use crate::guard::{Foreign, guard_silent};
use crate::tensor::dtype;
use dlpark::DlpackFlags;
use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What a tensor shows of memory, before its layout is checked.
pub(super) struct Place {
    /// The base address or handle; where the first element is, follows from `byte_offset`.
    pub data: *mut c_void,
    pub byte_offset: u64,
    pub device: DLDevice,
    pub dtype: DLDataType,
    pub flags: DlpackFlags,
    pub reach: Reach,
}

/// A block on its way to a tensor: allocated, shape and strides filled in, nothing owned yet. Dropping it frees it.
pub(super) struct Draft {
    block: NonNull<Inner>,
    ndim: usize,
}

/// The block for `ndim` dimensions.
fn block_layout(ndim: usize) -> Layout {
    let size = size_of::<Inner>() + ndim * 2 * size_of::<i64>();
    // `ndim` is at most MAX_NDIM, so the size is small and this cannot fail.
    Layout::from_size_align(size, align_of::<Inner>())
        .unwrap_or_else(|_| handle_alloc_error(Layout::new::<Inner>()))
}

impl Draft {
    pub fn new(shape: &[i64], strides: Option<&[i64]>) -> Result<Self> {
        let draft = Self::with_ndim(shape.len())?;
        let (own_shape, own_strides) = draft.tail();
        // SAFETY: the tail holds `ndim` values each, and nothing else points into the new block.
        unsafe { own_shape.copy_from_nonoverlapping(shape.as_ptr(), shape.len()) };
        match strides {
            // SAFETY: as above; both slices have `ndim` values.
            Some(strides) => unsafe { own_strides.copy_from_nonoverlapping(strides.as_ptr(), strides.len()) },
            // SAFETY: as above; a slice of i64 may be made before it is written only if zeroed, which comes first.
            None => unsafe {
                own_strides.write_bytes(0, shape.len());
                layout::row_major(shape, std::slice::from_raw_parts_mut(own_strides, shape.len()));
            },
        }
        Ok(draft)
    }

    /// A draft whose shape and strides are zeros for the caller to fill in.
    pub fn zeroed(ndim: usize) -> Result<Self> {
        let draft = Self::with_ndim(ndim)?;
        // SAFETY: the tail holds 2 * `ndim` values.
        unsafe { draft.tail().0.write_bytes(0, 2 * ndim) };
        Ok(draft)
    }

    fn with_ndim(ndim: usize) -> Result<Self> {
        let layout = block_layout(ndim);
        // SAFETY: the layout is never of size 0.
        let block = NonNull::new(unsafe { alloc(layout) }.cast::<Inner>());
        let block = block.ok_or(Error::OutOfMemory { bytes: layout.size() })?;
        Ok(Draft { block, ndim })
    }

    /// Where shape and strides begin: right behind the fixed part.
    fn tail(&self) -> (*mut i64, *mut i64) {
        // SAFETY: `block_layout` made room for 2 * `ndim` values behind the fixed part.
        let shape = unsafe { self.block.as_ptr().add(1) }.cast::<i64>();
        // SAFETY: as above.
        (shape, unsafe { shape.add(self.ndim) })
    }

    /// Shape and strides, to read and to fill in. Only for a draft made by [`Draft::zeroed`] or [`Draft::new`].
    pub fn parts(&mut self) -> (&mut [i64], &mut [i64]) {
        let (shape, strides) = self.tail();
        // SAFETY: both constructors initialise all values; `&mut self` makes the access exclusive.
        unsafe {
            (
                std::slice::from_raw_parts_mut(shape, self.ndim),
                std::slice::from_raw_parts_mut(strides, self.ndim),
            )
        }
    }

    /// Measures the layout and turns the draft into a tensor. On failure `owner` is dropped, which releases a
    /// root but runs no foreign function: that is for the caller to decide.
    pub fn finish(mut self, place: Place, extent: layout::Extent, owner: Owner) -> Result<Tensor> {
        let (data, byte_offset) = first_element(&place, extent)?;
        let (shape, strides) = self.parts();
        let view = DLTensor {
            data,
            device: place.device,
            ndim: shape.len() as i32,
            dtype: place.dtype,
            shape: shape.as_mut_ptr(),
            strides: strides.as_mut_ptr(),
            byte_offset,
        };
        let inner = Inner {
            view,
            count: AtomicUsize::new(1),
            flags: place.flags & (DlpackFlags::READ_ONLY | DlpackFlags::IS_COPIED),
            reach: place.reach,
            lent: Default::default(),
            size: extent.size,
            nbytes: extent.nbytes,
            owner,
            fences: Default::default(),
        };
        let block = self.block;
        std::mem::forget(self);
        // SAFETY: the block is large and aligned enough for `Inner`, and ours alone.
        unsafe { block.as_ptr().write(inner) };
        LIVE.fetch_add(1, Ordering::Relaxed);
        Ok(Tensor(block))
    }

    /// [`Draft::finish`] for a view of `root`, whose strides are filled in but not measured yet.
    pub fn finish_view(mut self, place: Place, root: &Tensor) -> Result<Tensor> {
        let (shape, strides) = self.parts();
        let item_bits = dtype::item_bits(place.dtype);
        // What does not fit is what was asked for: the tensor itself was measured when it was made.
        let extent = layout::measure(shape, Some(strides), item_bits)
            .map_err(|_| Error::ViewTooLarge { shape: shape.to_vec(), item_bits })?;
        self.finish(place, extent, Owner::Root(root.clone()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // SAFETY: allocated by `with_ndim` with this very layout, and not yet a tensor.
        unsafe { dealloc(self.block.as_ptr().cast(), block_layout(self.ndim)) }
    }
}

/// Folds `byte_offset` into the address, but for devices with handles, and checks that every element lies inside
/// the address space. An empty tensor has no address.
fn first_element(place: &Place, extent: layout::Extent) -> Result<(*mut c_void, u64)> {
    let overflow = || Error::AddressOverflow {
        data: place.data as usize,
        byte_offset: place.byte_offset,
        low: extent.low,
        high: extent.high,
    };
    if extent.size == 0 {
        return Ok((std::ptr::null_mut(), 0));
    }
    let handle = device::has_handles(place.device);
    let base = if handle { 0 } else { place.data as u64 };
    let start = base.checked_add(place.byte_offset).ok_or_else(overflow)?;
    // No element lies at address 0: a view that starts there could not be told from an empty one.
    start.checked_add_signed(extent.low).filter(|&lowest| handle || lowest != 0).ok_or_else(overflow)?;
    start.checked_add_signed(extent.high).ok_or_else(overflow)?;
    Ok(if handle {
        (place.data, place.byte_offset)
    } else {
        (place.data.wrapping_byte_add(place.byte_offset as usize), 0)
    })
}

/// Frees the block, then lets the owner go: should the owner's code look, the tensor is gone already.
///
/// # Safety
///
/// `block` is a finished tensor whose last reference was just dropped.
pub(super) unsafe fn destroy(block: NonNull<Inner>) {
    // SAFETY: promised by the caller.
    unsafe { dissolve(block) }.release();
}

/// Frees the block and hands out the owner.
///
/// # Safety
///
/// As for [`destroy`].
pub(super) unsafe fn dissolve(block: NonNull<Inner>) -> Owner {
    // SAFETY: the caller has the block to itself; the owner is read once, and the rest freed as raw memory, which
    // needs no destructor. The block was allocated by `Draft::with_ndim` for this many dimensions.
    let owner = unsafe {
        let inner = &mut *block.as_ptr();
        inner.fences.clear();
        let (owner, ndim) = (std::ptr::read(&inner.owner), inner.view.ndim as usize);
        dealloc(block.as_ptr().cast(), block_layout(ndim));
        owner
    };
    LIVE.fetch_sub(1, Ordering::Relaxed);
    owner
}

impl Owner {
    /// Calls the owner's release function, or drops the value or the reference to the root.
    pub(crate) fn release(self) {
        match self {
            Owner::Nobody => {}
            // SAFETY: whoever made the owner promised that `release` may be called once with `context`, from any
            // thread; `self` is consumed, so this is that once.
            Owner::Foreign { release, context } => unsafe { release.call((context,)) },
            // SAFETY: `Tensor::keep` leaked this box for the tensor, which is gone.
            Owner::Rust(value) => guard_silent(|| drop(unsafe { Box::from_raw(value.as_ptr()) })),
            Owner::Root(root) => drop(root),
        }
    }
}
