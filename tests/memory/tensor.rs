//! Tensors on memory of our own.

use crate::TURN;
use crate::ledger::Ledger;
use dlbridge::device;
use dlbridge::dlpack::{DLDataType, DLDataTypeCode, DLDevice};
use dlbridge::memory::{Allocator, Block, Host, Limits, Options, Piece, Pool, pool};
use dlbridge::tensor::dtype;
use dlbridge::{Allocation, Error, Kind, Result, Tensor};
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;

#[test]
fn p10_own_memory_is_aligned_and_writable() {
    let _turn = TURN.lock();
    for shape in [&[7][..], &[480, 640, 3], &[3, 1 << 20], &[]] {
        let tensor = Tensor::empty(shape, dtype::F32).unwrap();
        assert_eq!(tensor.data() as usize % 256, 0);
        assert!(tensor.is_row_major() && !tensor.is_read_only() && tensor.device() == DLDevice::CPU);
        // SAFETY: nobody else has it.
        let values = unsafe { tensor.as_mut_slice::<f32>() }.unwrap();
        values.fill(1.5);
        assert_eq!(values.len(), tensor.size());
    }
    for alignment in [1, 64, 4096, 2 << 20] {
        let options = Options { alignment, allocator: None };
        let tensor = Tensor::empty_with(&[3 << 20], dtype::U8, options).unwrap();
        assert_eq!(tensor.data() as usize % alignment, 0);
    }
}

/// A copy of elements that end within a byte reads the rest of it, to leave it as it is, and so does not meet what has no
/// value.
#[test]
fn a_last_byte_that_elements_do_not_fill_has_a_value() {
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(Arc::new(Host), Limits::default()));
    let options = Options { allocator: Some(&pool), ..Default::default() };
    let mut used = Tensor::zeros_with(&[512], dtype::U8, options).unwrap();
    used.get_mut::<u8>().unwrap().fill(0xff);
    drop(used);
    let nibbles = Tensor::empty_with(&[3], dtype::parse("int4").unwrap(), options).unwrap();
    // SAFETY: two bytes, of which nobody has written the second but the library.
    assert_eq!(unsafe { nibbles.data().cast::<u8>().add(1).read() }, 0);
}

#[test]
fn zeros_are_zeros_in_memory_that_was_used() {
    let _turn = TURN.lock();
    let shape = [700_000];
    let used = Tensor::empty(&shape, dtype::F32).unwrap();
    // SAFETY: nobody else has it.
    unsafe { used.as_mut_slice::<f32>() }.unwrap().fill(7.0);
    drop(used);
    let zeros = Tensor::zeros(&shape, dtype::F32).unwrap();
    // SAFETY: nobody writes.
    assert!(unsafe { zeros.as_slice::<f32>() }.unwrap().iter().all(|&value| value == 0.0));
    assert_eq!(Tensor::zeros(&[0], dtype::F32).unwrap().size(), 0);
}

/// How many of a tensor's pages the system has made, of the 4 KiB ones that it has.
fn resident(tensor: &Tensor) -> usize {
    let mut pages = vec![0_u8; tensor.nbytes().div_ceil(4096)];
    // SAFETY: the tensor's own memory, which begins at a page; a byte for each page of it.
    let asked = unsafe { libc::mincore(tensor.data(), tensor.nbytes(), pages.as_mut_ptr()) };
    assert_eq!(asked, 0);
    pages.iter().filter(|&&page| page & 1 != 0).count()
}

#[test]
fn zeros_on_fresh_pages_touch_none_of_them() {
    let _turn = TURN.lock();
    pool().trim(0);
    let shape = [24 << 20];
    let fresh = Tensor::zeros(&shape, dtype::U8).unwrap();
    assert_eq!(resident(&fresh), 0, "the system's pages are 0 as they are");
    // SAFETY: nobody else has it.
    let bytes = unsafe { fresh.as_mut_slice::<u8>() }.unwrap();
    assert!(bytes.iter().all(|&byte| byte == 0));
    bytes.fill(7);
    let address = fresh.data();
    drop(fresh);
    // Used, and given out with values in it in between: nothing is believed of it any more.
    drop(Tensor::empty(&shape, dtype::U8).unwrap());
    let again = Tensor::zeros(&shape, dtype::U8).unwrap();
    assert_eq!(again.data(), address);
    // SAFETY: nobody writes.
    assert!(unsafe { again.as_slice::<u8>() }.unwrap().iter().all(|&byte| byte == 0));
    pool().trim(0);
}

#[test]
fn zeros_after_a_fresh_tensor_that_was_not_asked_to_be_zeros() {
    let _turn = TURN.lock();
    for allocator in
        [Ledger::new() as Arc<dyn Allocator>, Arc::new(Pool::new(Ledger::new(), Limits::default()))]
    {
        let options = Options { alignment: 4096, allocator: Some(&allocator) };
        for turn in 0..3 {
            let used = Tensor::empty_with(&[3 << 20], dtype::U8, options).unwrap();
            // SAFETY: nobody else has it.
            unsafe { used.as_mut_slice::<u8>() }.unwrap().fill(turn + 1);
            drop(used);
            let mut zeros = Tensor::zeros_with(&[3 << 20], dtype::U8, options).unwrap();
            assert!(zeros.get_mut::<u8>().unwrap().iter().all(|&byte| byte == 0));
            zeros.get_mut::<u8>().unwrap().fill(9);
        }
    }
}

/// Memory that only a device can write.
struct Elsewhere;

// SAFETY: gives none.
unsafe impl Allocator for Elsewhere {
    fn device(&self) -> DLDevice {
        DLDevice::cuda(0)
    }

    fn allocate(&self, _: usize, _: usize) -> Result<Piece> {
        unreachable!("refused before")
    }

    unsafe fn deallocate(&self, _: Piece) {}
}

#[test]
fn zeros_of_a_device_are_refused_before_memory_is_asked_for() {
    let allocator: Arc<dyn Allocator> = Arc::new(Elsewhere);
    let options = Options { alignment: 0, allocator: Some(&allocator) };
    for shape in [&[3][..], &[0]] {
        let error = Tensor::zeros_with(shape, dtype::F32, options).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains("cuda:0 is asked for"), "{error}");
    }
    assert_eq!(device::zeros(&[3], dtype::F32, DLDevice::CPU, false).unwrap().nbytes(), 12);
}

#[test]
fn p08_an_empty_tensor_has_no_memory() {
    let ledger: Arc<dyn Allocator> = Ledger::new();
    let options = Options { alignment: 0, allocator: Some(&ledger) };
    let tensor = Tensor::empty_with(&[3, 0, 2], dtype::F64, options).unwrap();
    assert!(tensor.data().is_null());
    assert_eq!((tensor.nbytes(), tensor.strides()), (0, &[2, 2, 1][..]));
    assert!(Tensor::empty_with(&[0], dtype::F64, Options { alignment: 3, allocator: None }).is_err());
}

#[test]
fn sub_byte_elements_are_packed() {
    let float4 = DLDataType { code: DLDataTypeCode(17), bits: 4, lanes: 1 };
    let ledger = Ledger::new();
    let allocator: Arc<dyn Allocator> = ledger.clone();
    let options = Options { alignment: 0, allocator: Some(&allocator) };
    let tensor = Tensor::empty_with(&[3, 3], float4, options).unwrap();
    assert_eq!((tensor.nbytes(), ledger.bytes()), (5, 5));
}

#[test]
fn what_cannot_be_is_refused_with_its_values() {
    let bits1 = DLDataType { code: DLDataTypeCode::BOOL, bits: 1, lanes: 1 };
    let cases: [(&[i64], DLDataType, &str); 6] = [
        (&[2, -1], dtype::F32, "dimension 1 of the shape is -1"),
        (&[1 << 40, 1 << 40], dtype::U8, "[1099511627776, 1099511627776] of 8-bit elements does not fit"),
        (&[1 << 61], dtype::F64, "64-bit elements does not fit"),
        (&[i64::MAX, 0, 2], dtype::U8, "does not fit"),
        (&[1], bits1, "bits=1, lanes=1) cannot exist"),
        (&[1; 129], dtype::U8, "129 dimensions are asked for; pass at most 128"),
    ];
    for (shape, dtype, words) in cases {
        let error = Tensor::empty(shape, dtype).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    let error = Tensor::empty(&[1 << 50], dtype::U8).unwrap_err();
    assert_eq!(error.kind(), Kind::OutOfMemory);
    assert!(error.to_string().contains("1125899906842624 bytes"), "{error}");
}

#[test]
fn devices_without_a_driver_are_unavailable() {
    if device::devices().len() > 1 {
        eprintln!("UNAVAILABLE: there is a driver here");
        return;
    }
    for (place, pinned, words) in [
        (DLDevice::cuda(1), false, "cuda:1"),
        (DLDevice::CPU, true, "call Tensor::empty(), for pageable host memory"),
    ] {
        let error = device::empty(&[1], dtype::U8, place, pinned).unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains(words), "{error}");
    }
}

#[test]
fn memory_goes_back_with_the_last_view_and_export() {
    let ledger = Ledger::new();
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(ledger.clone(), Limits::default()));
    let options = Options { alignment: 0, allocator: Some(&pool) };
    let tensor = Tensor::empty_with(&[1000, 1000], dtype::U8, options).unwrap();
    drop(pool); // the tensor keeps its allocator
    let view = tensor.slice(0, Some(10), None, 1).unwrap();
    drop(tensor);
    let export: dlpark::versioned::Dlpack = (&view).try_into().unwrap();
    drop(view);
    assert_eq!(ledger.blocks(), 1);
    drop(export);
    assert_eq!(ledger.blocks(), 0);
}

#[test]
fn large_tensors_share_a_pool_and_small_ones_do_not() {
    let _turn = TURN.lock();
    let before = pool().stats();
    drop(Tensor::empty(&[(1 << 20) - 1], dtype::U8).unwrap());
    assert_eq!(pool().stats(), before);
    let first = Tensor::empty(&[1 << 20], dtype::U8).unwrap();
    let address = first.data();
    drop(first);
    let again = Tensor::empty(&[1 << 20], dtype::U8).unwrap();
    assert!(pool().stats().hits > before.hits);
    assert_eq!(again.data(), address);
}

#[test]
fn a_tensor_of_a_block() {
    let error = Tensor::from_block(Block::new(None, 100, 0).unwrap(), &[26], dtype::F32).unwrap_err();
    assert_eq!(error, Error::Allocation(Allocation::SmallBlock { have: 100, need: 104 }));
    let tensor = Tensor::from_block(Block::new(None, 100, 0).unwrap(), &[25], dtype::F32).unwrap();
    assert_eq!(tensor.nbytes(), 100);
}

#[test]
fn an_allocator_that_ignores_the_alignment_is_found_out() {
    struct Askew;
    // SAFETY: nothing uses the memory, which is refused.
    unsafe impl Allocator for Askew {
        fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
            let place = NonNull::new(0x1008 as *mut c_void).unwrap();
            Ok(Piece::new(place, bytes, alignment))
        }
        unsafe fn deallocate(&self, _: Piece) {}
    }
    let askew: Arc<dyn Allocator> = Arc::new(Askew);
    let options = Options { alignment: 64, allocator: Some(&askew) };
    let error = Tensor::empty_with(&[1], dtype::U8, options).unwrap_err();
    assert_eq!(error, Error::Allocation(Allocation::Misplaced { address: 0x1008, alignment: 64 }));
}
