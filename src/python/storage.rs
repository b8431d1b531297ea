//! torch's storages: what keeps the memory of its tensors alive, and how far that reaches.

use super::api::Object;
use super::gil::{Gil, Owned};
use crate::dlpack::DLTensor;
use crate::error::{Error, Refusal, Result};
use crate::tensor::{dtype, measure};

/// What is looked up in torch once.
pub(super) struct Storages {
    /// `torch.UntypedStorage`, which says how many bytes it has as its length.
    python_type: Object,
    data_ptr: Object,
    /// `torch.Tensor.untyped_storage`.
    of: Object,
}

impl Storages {
    pub fn load(gil: &Gil, torch: Object, tensor_type: Object) -> Result<Self> {
        let python_type = gil.attribute(torch, c"UntypedStorage")?;
        Ok(Storages {
            data_ptr: gil.attribute(python_type.object, c"data_ptr")?.into_raw(),
            of: gil.attribute(tensor_type, c"untyped_storage")?.into_raw(),
            python_type: python_type.into_raw(),
        })
    }

    /// The storage of a tensor; `None` where torch raised, with the exception set.
    pub fn of<'gil>(&self, gil: &'gil Gil, tensor: Object) -> Option<Owned<'gil>> {
        gil.call_with(self.of, tensor)
    }

    /// Refuses a view that does not lie within the storage: torch lets a storage shrink under its tensors, and a function
    /// mode may answer with something else than the storage.
    pub fn check(&self, gil: &Gil, storage: Object, view: &DLTensor) -> Result<()> {
        if gil.type_of(storage) != self.python_type {
            return Err(Error::Refused(Refusal::TorchStorage {
                what: "has a storage that is none of torch's own",
                call: "the conversion outside the torch function mode",
            }));
        }
        if view.data.is_null() {
            return Ok(()); // a stand-in, or empty
        }
        let ndim = view.ndim as usize;
        // SAFETY: torch gave `ndim` sizes and strides with the view, or NULL where there is no axis.
        let (shape, strides) = unsafe { (values(view.shape, ndim), values(view.strides, ndim)) };
        // torch has no negative strides.
        let high = measure(shape, Some(strides), dtype::item_bits(view.dtype))?.high;
        if high == 0 {
            return Ok(());
        }
        let base = gil.call_with(self.data_ptr, storage).ok_or_else(|| gil.exception())?;
        // SAFETY: the GIL is held and both are alive; neither is a Python class, so no Python code runs.
        let (nbytes, base) =
            unsafe { ((gil.api.PyObject_Size)(storage) as i64, (gil.api.PyLong_AsLongLong)(base.object)) };
        if nbytes < 0 || base < 0 {
            return Err(gil.exception());
        }
        let start = (view.data as i64 - base).saturating_add_unsigned(view.byte_offset);
        let reach = start.saturating_add(high);
        match start >= 0 {
            true if reach <= nbytes => Ok(()),
            true => Err(Error::Refused(Refusal::PastStorage { reach, nbytes })),
            false => Err(Error::Refused(Refusal::TorchStorage {
                what: "does not lie in the storage it has",
                call: "the conversion again, once nobody changes the tensor",
            })),
        }
    }
}

/// Sizes or strides that torch gave.
///
/// # Safety
///
/// `count` values lie behind the pointer for `'a`, unless it is NULL.
pub(super) unsafe fn values<'a>(pointer: *const i64, count: usize) -> &'a [i64] {
    // SAFETY: promised by the caller.
    if pointer.is_null() { &[] } else { unsafe { std::slice::from_raw_parts(pointer, count) } }
}
