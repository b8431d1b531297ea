//! The functions of shim.cpp, made safe to call.

use crate::Error;
use dlbridge::dlpack::{DLDevice, DLTensor};
use dlbridge::tensor::{ReleaseFn, dtype};
use std::ffi::{CStr, c_char, c_void};
use std::mem::ManuallyDrop;
use std::ptr::null_mut;
use torch_sys::C_tensor;

/// As in shim.cpp.
const DONE: i32 = 0;
const REFUSED: i32 = 1;

unsafe extern "C" {
    fn dlbridge_tch_describe(
        x: *const C_tensor,
        release: ReleaseFn,
        description: *mut DLTensor,
        lender: *mut *mut c_void,
        storage: *mut *mut c_void,
        words: *mut *mut c_char,
    ) -> i32;
    fn dlbridge_tch_release_storage(storage: *mut c_void);
    fn dlbridge_tch_adopt(
        description: *const DLTensor,
        context: *mut c_void,
        release: ReleaseFn,
        out: *mut *mut C_tensor,
        words: *mut *mut c_char,
    ) -> i32;
    fn dlbridge_tch_free(words: *mut c_char);
}

/// A reference to the storage of a torch tensor.
pub(crate) struct Storage(*mut c_void);

// SAFETY: libtorch counts storages atomically and lets any thread drop them.
unsafe impl Send for Storage {}

impl Drop for Storage {
    fn drop(&mut self) {
        // SAFETY: `describe` got it from the shim, and this is the only drop.
        unsafe { dlbridge_tch_release_storage(self.0) }
    }
}

/// What keeps the memory of a torch tensor.
pub(crate) enum Keeper {
    /// The tensor of ours that torch borrowed it from.
    Lender(dlbridge::Tensor),
    /// Torch.
    Storage(Storage),
}

/// What a torch tensor looks like, its shape and strides borrowed from it, and what keeps its memory.
pub(crate) fn describe(source: &tch::Tensor) -> Result<(DLTensor, Keeper), Error> {
    let (mut lender, mut storage, mut words) = (null_mut(), null_mut(), null_mut());
    let mut description = DLTensor {
        data: null_mut(),
        device: DLDevice::CPU,
        ndim: 0,
        dtype: dtype::U8,
        shape: null_mut(),
        strides: null_mut(),
        byte_offset: 0,
    };
    let x = source.as_ptr();
    // SAFETY: `source` is alive, and the rest are places to write to.
    let verdict =
        unsafe { dlbridge_tch_describe(x, release, &mut description, &mut lender, &mut storage, &mut words) };
    judge(verdict, words)?;
    if lender.is_null() {
        return Ok((description, Keeper::Storage(Storage(storage))));
    }
    // SAFETY: what belongs to `release` came from `lend`, and torch, which borrowed it, keeps this reference.
    let lender = ManuallyDrop::new(unsafe { dlbridge::Tensor::from_raw(lender) });
    Ok((description, Keeper::Lender((*lender).clone())))
}

/// Drops the reference that a torch tensor kept.
///
/// # Safety
///
/// `tensor` came from [`dlbridge::Tensor::into_raw`], and this is called once.
unsafe extern "C" fn release(tensor: *mut c_void) {
    // SAFETY: promised by the caller.
    drop(unsafe { dlbridge::Tensor::from_raw(tensor) });
}

/// A torch tensor that looks as described, on the memory of `lender`.
///
/// # Safety
///
/// The description holds for as long as `lender` is alive.
pub(crate) unsafe fn lend(description: &DLTensor, lender: dlbridge::Tensor) -> Result<tch::Tensor, Error> {
    let (mut out, mut words) = (null_mut(), null_mut());
    // SAFETY: the caller vouches for the description; the reference is given away to `release`, which the shim sees
    // to in any case; the rest are places to write to.
    let verdict =
        unsafe { dlbridge_tch_adopt(description, lender.into_raw(), release, &mut out, &mut words) };
    judge(verdict, words)?;
    // SAFETY: a new at::Tensor, which tch deletes.
    Ok(unsafe { tch::Tensor::from_ptr(out) })
}

/// Turns a verdict into a result, and frees the words.
fn judge(verdict: i32, words: *mut c_char) -> Result<(), Error> {
    if verdict == DONE {
        return Ok(());
    }
    let text = if words.is_null() {
        "no memory for the words of an exception".to_owned()
    } else {
        // SAFETY: a C string from the shim.
        let text = unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned();
        // SAFETY: the shim's, freed once.
        unsafe { dlbridge_tch_free(words) };
        text
    };
    Err(if verdict == REFUSED { Error::Refused(text) } else { Error::Torch(text) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dlbridge::tensor::live_tensors;

    #[test]
    fn an_exception_comes_back_as_its_words_and_nothing_is_kept() {
        let tensor = dlbridge::Tensor::from_vec(vec![1_u8], &[1]).unwrap();
        let odd = DLTensor { dtype: dtype::parse("float32x3").unwrap(), ..*tensor.view() };
        // SAFETY: torch refuses the dtype before it looks at the memory.
        let result = unsafe { lend(&odd, tensor.clone()) };
        assert!(
            matches!(&result, Err(Error::Torch(words)) if words.contains("lanes")),
            "{:?}",
            result.map(drop)
        );
        assert_eq!(tensor.reference_count(), 1);
        drop(tensor);
        assert_eq!(live_tensors(), 0);
    }
}
