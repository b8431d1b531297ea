//! What the suites share: a producer of DLPack tensors, well-formed or not, whose deleter counts its calls.
#![allow(dead_code, reason = "each suite uses its part")]

use dlbridge::dlpack::{
    DLDataType, DLDataTypeCode, DLDevice, DLManagedTensor, DLManagedTensorVersioned, DLPackVersion, DLTensor,
};
use dlbridge::tensor::{dtype, live_exports, live_tensors};
use dlbridge::{Kind, Result, Tensor};
use dlpark::{DlpackFlags, ManagedTensorBase};
use std::cell::Cell;
use std::ffi::c_void;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Keeps the tests of one binary apart, for the live counters are those of the whole process. When it goes, nothing
/// that was made meanwhile may be left.
pub struct Alone {
    before: (usize, usize),
    _lock: MutexGuard<'static, ()>,
}

/// What every test that makes a tensor begins with.
pub fn alone() -> Alone {
    static LOCK: Mutex<()> = Mutex::new(());
    let lock = LOCK.lock().unwrap_or_else(PoisonError::into_inner);
    Alone { before: alive(), _lock: lock }
}

/// Tensors and exports alive.
pub fn alive() -> (usize, usize) {
    (live_tensors(), live_exports())
}

impl Drop for Alone {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(alive(), self.before, "tensors and exports were left behind");
        }
    }
}

/// One of the two DLPack structs.
pub trait Abi: ManagedTensorBase {
    /// Sets what only the versioned struct has.
    fn dress(&mut self, _sample: &Sample) {}

    /// # Safety
    ///
    /// As for `Tensor::import`.
    unsafe fn import(managed: NonNull<Self>) -> Result<Tensor>;

    fn export(tensor: &Tensor) -> Result<NonNull<Self>>;
}

impl Abi for DLManagedTensorVersioned {
    fn dress(&mut self, sample: &Sample) {
        let (major, minor) = sample.version;
        self.version = DLPackVersion { major, minor };
        self.flags = DlpackFlags::from_bits_retain(sample.flags);
    }

    unsafe fn import(managed: NonNull<Self>) -> Result<Tensor> {
        // SAFETY: promised by the caller.
        unsafe { Tensor::import(managed) }
    }

    fn export(tensor: &Tensor) -> Result<NonNull<Self>> {
        tensor.export()
    }
}

impl Abi for DLManagedTensor {
    unsafe fn import(managed: NonNull<Self>) -> Result<Tensor> {
        // SAFETY: promised by the caller.
        unsafe { Tensor::import_legacy(managed) }
    }

    fn export(tensor: &Tensor) -> Result<NonNull<Self>> {
        tensor.export_legacy()
    }
}

/// What a producer says of a tensor. `None` is NULL; `ndim` need not be the length of the shape.
#[derive(Clone, Debug)]
pub struct Sample {
    pub data: *mut c_void,
    pub device: DLDevice,
    pub ndim: i32,
    pub dtype: DLDataType,
    pub shape: Option<Vec<i64>>,
    pub strides: Option<Vec<i64>>,
    pub byte_offset: u64,
    pub version: (u32, u32),
    pub flags: u64,
    pub deleter: bool,
}

impl Sample {
    /// A row-major float32 tensor on the CPU at an address that is not to be touched.
    pub fn of(shape: &[i64]) -> Sample {
        Sample {
            data: 0x10_0000 as *mut c_void,
            device: DLDevice::CPU,
            ndim: shape.len() as i32,
            dtype: dtype::F32,
            shape: Some(shape.to_vec()),
            strides: None,
            byte_offset: 0,
            version: (1, 3),
            flags: 0,
            deleter: true,
        }
    }

    /// The same over real memory, which must outlive the tensor.
    pub fn over<T: dtype::Element>(values: &mut [T], shape: &[i64]) -> Sample {
        Sample { data: values.as_mut_ptr().cast(), dtype: T::DTYPE, ..Sample::of(shape) }
    }

    pub fn strides(mut self, strides: &[i64]) -> Sample {
        self.strides = Some(strides.to_vec());
        self
    }

    pub fn dtype(self, code: u8, bits: u8, lanes: u16) -> Sample {
        Sample { dtype: dtype(code, bits, lanes), ..self }
    }

    pub fn produce<M: Abi>(&self) -> Produced<M> {
        Produced::new(self)
    }
}

pub fn dtype(code: u8, bits: u8, lanes: u16) -> DLDataType {
    DLDataType { code: DLDataTypeCode(code), bits, lanes }
}

/// A managed tensor on the heap. It outlives its deleter, which only counts, so that a second call would show.
pub struct Produced<M: Abi> {
    block: NonNull<Block<M>>,
    given: Cell<bool>,
}

/// `managed` comes first, so that the address of the block is its address.
#[repr(C)]
struct Block<M> {
    managed: M,
    deletions: AtomicUsize,
    sample: Sample,
}

unsafe extern "C" fn count<M: Abi>(managed: *mut M) {
    // SAFETY: `managed` is the first field of a block that its `Produced` keeps.
    unsafe { (*managed.cast::<Block<M>>()).deletions.fetch_add(1, Ordering::Relaxed) };
}

impl<M: Abi> Produced<M> {
    fn new(sample: &Sample) -> Self {
        let mut sample = sample.clone();
        let address = |values: &mut Option<Vec<i64>>| values.as_mut().map_or(null_mut(), |v| v.as_mut_ptr());
        let view = DLTensor {
            data: sample.data,
            device: sample.device,
            ndim: sample.ndim,
            dtype: sample.dtype,
            shape: address(&mut sample.shape),
            strides: address(&mut sample.strides),
            byte_offset: sample.byte_offset,
        };
        let mut managed = M::from_parts(view, null_mut(), sample.deleter.then_some(count::<M>));
        managed.dress(&sample);
        let block = Box::new(Block { managed, deletions: AtomicUsize::new(0), sample });
        Produced { block: NonNull::from(Box::leak(block)), given: Cell::new(false) }
    }

    /// Gives the tensor away to the library, once.
    pub fn import(&self) -> Result<Tensor> {
        assert!(!self.given.replace(true), "a managed tensor is imported once");
        // SAFETY: the block lives as long as `self`, and each test drops the tensor before.
        unsafe { M::import(self.block.cast()) }
    }

    /// How often the deleter was called.
    pub fn deletions(&self) -> usize {
        // SAFETY: the block lives as long as `self`, and its count is atomic.
        unsafe { (*self.block.as_ptr()).deletions.load(Ordering::Relaxed) }
    }
}

impl<M: Abi> Drop for Produced<M> {
    fn drop(&mut self) {
        // SAFETY: leaked by `new`, taken back once.
        drop(unsafe { Box::from_raw(self.block.as_ptr()) });
    }
}

/// Imports the sample through both structs and looks at the tensor; its deleter runs once, when the tensor goes.
pub fn accepted(sample: &Sample, look: impl Fn(&Tensor)) {
    accepted_as::<DLManagedTensorVersioned>(sample, &look);
    accepted_as::<DLManagedTensor>(sample, &look);
}

pub fn accepted_as<M: Abi>(sample: &Sample, look: &impl Fn(&Tensor)) {
    let produced = sample.produce::<M>();
    let tensor = produced.import().unwrap_or_else(|error| panic!("{sample:?}: {error}"));
    look(&tensor);
    assert_eq!(produced.deletions(), 0, "the tensor is in use");
    drop(tensor);
    assert_eq!(produced.deletions(), usize::from(sample.deleter));
}

/// Both structs refuse the sample with this kind and these words, and have run its deleter once by then.
pub fn refused(sample: &Sample, kind: Kind, words: &str) {
    refused_as::<DLManagedTensorVersioned>(sample, kind, words);
    refused_as::<DLManagedTensor>(sample, kind, words);
}

pub fn refused_as<M: Abi>(sample: &Sample, kind: Kind, words: &str) {
    let before = alive();
    let produced = sample.produce::<M>();
    let error = match produced.import() {
        Ok(tensor) => panic!("{sample:?} was accepted: {tensor:?}"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(words), "{words:?} is missing in: {error}");
    assert_eq!(produced.deletions(), usize::from(sample.deleter), "the deleter runs once: {error}");
    assert_eq!(alive(), before, "nothing is left of a refused tensor");
}

/// An export, whose deleter is called on drop unless it was imported.
pub struct Exported<M: Abi>(NonNull<M>);

impl<M: Abi> Exported<M> {
    pub fn of(tensor: &Tensor) -> Result<Self> {
        M::export(tensor).map(Exported)
    }

    pub fn managed(&self) -> &M {
        // SAFETY: an export that was not deleted yet.
        unsafe { self.0.as_ref() }
    }

    pub fn view(&self) -> &DLTensor {
        self.managed().tensor()
    }

    pub fn shape(&self) -> &[i64] {
        self.list(self.view().shape)
    }

    pub fn strides(&self) -> &[i64] {
        self.list(self.view().strides)
    }

    fn list(&self, values: *const i64) -> &[i64] {
        assert!(!values.is_null());
        // SAFETY: not NULL, so `ndim` values of the header.
        unsafe { std::slice::from_raw_parts(values, self.view().ndim as usize) }
    }

    pub fn into_raw(self) -> NonNull<M> {
        std::mem::ManuallyDrop::new(self).0
    }

    pub fn import(self) -> Result<Tensor> {
        // SAFETY: an export of ours that nobody else will delete.
        unsafe { M::import(self.into_raw()) }
    }
}

impl<M: Abi> Drop for Exported<M> {
    fn drop(&mut self) {
        // SAFETY: an export that was not deleted yet.
        unsafe { M::drop_raw(self.0.as_ptr()) }
    }
}

/// A small generator of reproducible noise.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub fn pick<T: Copy>(&mut self, values: &[T]) -> T {
        values[self.below(values.len() as u64) as usize]
    }
}

/// Six numbers, two by three, of a vector's.
pub fn numbers() -> Tensor {
    Tensor::from_vec(vec![1_i32, 2, 3, 4, 5, 6], &[2, 3]).unwrap()
}

/// Only who has the memory alone could do it, which is refused in these words.
#[track_caller]
pub fn not_exclusive<T>(result: Result<T>, words: &str) {
    let error = result.map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::CopyRequired, "{error}");
    assert!(error.to_string().contains(words), "{words:?} is missing in: {error}");
}
