//! dlpark's own way to produce and to import a managed tensor, `times` over: what `benches/handoff.cpp` measures
//! beside dlbridge. The loops are in here, so the compiler sees and inlines all of dlpark.

use dlpark::ffi::{DLDataType, DLDataTypeCode, DLDevice, DLManagedTensorVersioned};
use dlpark::metadata::Dynamic;
use dlpark::{Managed, OpaqueContext, versioned::Dlpack};
use std::ffi::c_void;
use std::hint::black_box;
use std::sync::Arc;

/// A row-major or strided buffer of float32 somebody else owns; its release is counted.
#[repr(C)]
pub struct Buffer {
    data: *mut c_void,
    ndim: usize,
    shape: *const i64,
    strides: *const i64,
    released: *mut u64,
}

/// What keeps the buffer: letting it go is one more release.
struct Owner(*mut u64);

// SAFETY: the benchmark has one thread.
unsafe impl Send for Owner {}
// SAFETY: as above.
unsafe impl Sync for Owner {}

impl Drop for Owner {
    fn drop(&mut self) {
        // SAFETY: the counter outlives the benchmark, which has one thread.
        unsafe { *self.0 += 1 };
    }
}

/// The builder: shape and strides copied.
fn build(buffer: &Buffer, owner: impl OpaqueContext) -> Dlpack {
    // SAFETY: `Buffer` has `ndim` sizes and strides.
    let (shape, strides) = unsafe {
        (
            std::slice::from_raw_parts(buffer.shape, buffer.ndim),
            std::slice::from_raw_parts(buffer.strides, buffer.ndim),
        )
    };
    let mut built = Dynamic::new(shape, strides)
        .initialize_as::<DLManagedTensorVersioned>(owner)
        .expect("the benchmark's layouts are valid");
    built.set_data(buffer.data).set_device(DLDevice::CPU);
    built.set_dtype(DLDataType { code: DLDataTypeCode::FLOAT, bits: 32, lanes: 1 });
    // SAFETY: the description is that of a live buffer.
    unsafe { built.finish() }
}

/// An owner of its own, boxed.
fn boxed(buffer: &Buffer) -> Box<Owner> {
    Box::new(Owner(buffer.released))
}

/// The import: version check and validation.
fn import(managed: *mut DLManagedTensorVersioned) -> Dlpack {
    // SAFETY: the caller hands over a live managed tensor.
    let imported = unsafe { Managed::from_raw(managed) }.expect("the version is right");
    let _ = black_box(imported.validate().expect("the tensor is valid"));
    imported
}

/// Produces a managed tensor and has it deleted, `times` over.
///
/// # Safety
///
/// `buffer` is readable, and so is what it points to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlpark_produce(buffer: &Buffer, times: usize) {
    for _ in 0..times {
        drop(black_box(build(black_box(buffer), boxed(buffer))));
    }
}

/// Produces managed tensors that share one owner, each deleted before the next, `times` over.
///
/// # Safety
///
/// As for [`dlpark_produce`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlpark_export(buffer: &Buffer, times: usize) {
    let owner = Arc::new(Owner(buffer.released));
    for _ in 0..times {
        drop(black_box(build(black_box(buffer), Arc::clone(&owner))));
    }
}

/// Imports `managed` and drops it again, `times` over.
///
/// # Safety
///
/// `managed` is a live managed tensor whose deleter may be called many times.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlpark_import(managed: *mut DLManagedTensorVersioned, times: usize) {
    for _ in 0..times {
        drop(import(black_box(managed)));
    }
}

/// Produces a managed tensor, imports it and drops it, `times` over.
///
/// # Safety
///
/// As for [`dlpark_produce`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlpark_round_trip(buffer: &Buffer, times: usize) {
    for _ in 0..times {
        drop(import(black_box(build(black_box(buffer), boxed(buffer)).into_raw())));
    }
}
