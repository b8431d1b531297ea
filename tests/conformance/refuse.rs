//! As a consumer: what must be refused, with clear words, the deleter called exactly once.

use crate::common::{Abi, Sample, accepted, accepted_as, alone, dtype as dtype_of, refused, refused_as};
use dlbridge::dlpack::{
    DLDevice, DLDeviceType, DLManagedTensor, DLManagedTensorVersioned, DLPackVersion, DLTensor,
};
use dlbridge::tensor::dtype;
use dlbridge::{Kind, Tensor};
use std::ffi::c_void;
use std::mem::offset_of;
use std::ptr::{NonNull, null_mut};

#[test]
fn r46_another_major_version() {
    let _alone = alone();
    for version in [(0, 8), (2, 0), (u32::MAX, 3)] {
        let sample = Sample { version, ..Sample::of(&[2]) };
        refused_as::<DLManagedTensorVersioned>(&sample, Kind::Unsupported, "this library reads 1.x");
    }
}

/// Behind the prefix that every major version keeps lies a page that must not be read.
#[test]
fn r46_only_the_stable_prefix_is_touched() {
    let _alone = alone();
    const PAGE: usize = 4096;
    const PREFIX: usize = offset_of!(DLManagedTensorVersioned, dl_tensor);

    unsafe extern "C" fn count(managed: *mut DLManagedTensorVersioned) {
        // SAFETY: `manager_ctx` is the counter below.
        unsafe { *(*managed).manager_ctx.cast::<usize>() += 1 };
    }

    let mut deletions = 0_usize;
    // SAFETY: fresh pages of our own; the fields of the prefix are written before they are read, and lie in the
    // first page. The mapping is given back when nobody uses it any more.
    unsafe {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let pages = libc::mmap(null_mut(), 2 * PAGE, access, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        assert_ne!(pages, libc::MAP_FAILED);
        assert_eq!(libc::mprotect(pages.byte_add(PAGE), PAGE, libc::PROT_NONE), 0);
        let managed = pages.byte_add(PAGE - PREFIX).cast::<DLManagedTensorVersioned>();
        (&raw mut (*managed).version).write(DLPackVersion { major: 2, minor: 0 });
        (&raw mut (*managed).manager_ctx).write((&raw mut deletions).cast());
        (&raw mut (*managed).deleter).write(Some(count));
        let error = Tensor::import(NonNull::new(managed).unwrap()).unwrap_err();
        assert!(error.to_string().contains("2.0"), "{error}");
        assert_eq!(libc::munmap(pages, 2 * PAGE), 0);
    }
    assert_eq!(deletions, 1);
}

#[test]
fn r47_ndim_negative_or_above_the_limit() {
    let _alone = alone();
    for ndim in [-1, i32::MIN, 129, i32::MAX] {
        let sample = Sample { ndim, ..Sample::of(&[1; 129]) };
        refused(&sample, Kind::InvalidTensor, &format!("ndim is {ndim}"));
    }
    accepted(&Sample::of(&[1; 128]), |tensor| assert_eq!(tensor.ndim(), 128));
}

#[test]
fn r48_null_shape() {
    let _alone = alone();
    for strides in [None, Some(vec![1, 1])] {
        let sample = Sample { shape: None, strides, ..Sample::of(&[1, 1]) };
        refused(&sample, Kind::InvalidTensor, "shape is NULL although ndim is 2");
    }
}

#[test]
fn r49_a_negative_dimension() {
    let _alone = alone();
    for (axis, shape) in [(0, [-1, 3]), (1, [3, i64::MIN]), (1, [0, -5])] {
        let words = format!("dimension {axis} is {}", shape[axis]);
        refused(&Sample::of(&shape), Kind::InvalidTensor, &words);
    }
}

#[test]
fn r50_overflow_of_the_product_of_dimensions() {
    let _alone = alone();
    for shape in [[1 << 32, 1 << 31], [i64::MAX, 2], [i64::MAX, i64::MAX]] {
        refused(&Sample::of(&shape).dtype(1, 8, 1), Kind::InvalidTensor, "does not fit 63 bits");
        // NumPy refuses this too: the sizes apart from zeros must fit.
        let [a, b] = shape;
        refused(&Sample::of(&[a, 0, b]).dtype(1, 8, 1), Kind::InvalidTensor, "does not fit 63 bits");
    }
}

#[test]
fn r50_overflow_of_the_bytes() {
    let _alone = alone();
    refused(&Sample::of(&[1 << 61]), Kind::InvalidTensor, "does not fit 63 bits");
    refused(&Sample::of(&[1 << 45]).dtype(2, 128, u16::MAX), Kind::InvalidTensor, "does not fit 63 bits");
    accepted(&Sample::of(&[(1 << 61) - 1]), |tensor| assert_eq!(tensor.nbytes(), (1 << 63) - 4));
}

#[test]
fn r51_overflow_of_the_strides_span() {
    let _alone = alone();
    let refuse = |shape: &[i64], strides: &[i64]| {
        let sample = Sample { data: (1_usize << 62) as *mut c_void, ..Sample::of(shape) };
        refused(&sample.strides(strides), Kind::InvalidTensor, "reach beyond 63 bits");
    };
    for stride in [i64::MAX, i64::MIN, 1 << 61, -(1 << 61) - 1] {
        refuse(&[2], &[stride]);
        refuse(&[3, 2], &[1, stride]);
    }
    refuse(&[3], &[1 << 62]);
    refuse(&[2, 2], &[1 << 60, 1 << 60]);
    refuse(&[2, 2], &[-(1 << 60), -(1 << 60) - 1]);
    // Each direction would fit, but not the way from one end to the other.
    refuse(&[2, 2], &[1 << 60, -(1 << 60)]);
}

#[test]
fn r52_overflow_of_data_and_byte_offset() {
    let _alone = alone();
    let refuse = |data: usize, byte_offset: u64, strides: [i64; 1]| {
        let sample = Sample { data: data as *mut c_void, byte_offset, ..Sample::of(&[4]) };
        refused(&sample.strides(&strides), Kind::InvalidTensor, "leaves the address space");
    };
    refuse(0x1000, u64::MAX, [1]);
    refuse(0x1000, u64::MAX - 0xfff, [1]);
    refuse(0x1000, u64::MAX - 0x100f, [1]);
    refuse(usize::MAX - 3, 0, [1]);
    refuse(8, 0, [-1]);
    refuse(12, 0, [-1]);
    refuse(0x1000, 0, [-(1 << 20)]);
    let device = DLDevice { device_type: DLDeviceType::METAL, device_id: 0 };
    let handle = Sample { device, byte_offset: 8, ..Sample::of(&[4]) };
    refused(&handle.clone().strides(&[-1]), Kind::InvalidTensor, "leaves the address space");
    accepted(&Sample { byte_offset: 12, ..handle }.strides(&[-1]), |_| ());
}

#[test]
fn r53_null_data() {
    let _alone = alone();
    for shape in [&[2, 3][..], &[]] {
        let sample = Sample { data: null_mut(), byte_offset: 64, ..Sample::of(shape) };
        refused(&sample, Kind::InvalidTensor, "data is NULL");
    }
    accepted(&Sample { data: null_mut(), ..Sample::of(&[2, 0]) }, |tensor| assert_eq!(tensor.size(), 0));
}

#[test]
fn r54_bits_or_lanes_0() {
    let _alone = alone();
    for (code, bits, lanes) in [(2, 0, 1), (2, 32, 0), (0, 0, 0), (42, 0, 1), (3, 0, 1)] {
        refused(&Sample::of(&[2]).dtype(code, bits, lanes), Kind::InvalidTensor, "cannot exist");
    }
}

#[test]
fn r55_impossible_code_and_bits() {
    let _alone = alone();
    let impossible = [(6, 1), (6, 16), (17, 8), (17, 6), (15, 8), (16, 4), (2, 7), (2, 8), (4, 8), (5, 8)];
    for (code, bits) in impossible.into_iter().chain((7..=14).map(|code| (code, 16))) {
        refused(&Sample::of(&[2]).dtype(code, bits, 1), Kind::InvalidTensor, "cannot exist");
    }
}

#[test]
fn r56_typed_access_to_an_unknown_code() {
    let _alone = alone();
    let mut values = [1.0_f32, 2.0];
    let sample = Sample::over(&mut values, &[2]).dtype(42, 32, 1);
    accepted(&sample, |tensor| {
        let error = tensor.data_as(sample.dtype).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{error}");
        assert!(error.to_string().contains("code=42"), "{error}");
        assert_eq!(tensor.data_mut_as(sample.dtype).unwrap_err(), error);
        let known = tensor.reinterpret(dtype::F32).unwrap();
        assert_eq!(known.data_as(dtype::F32).unwrap(), sample.data.cast_const());
    });
}

#[test]
fn r57_padded_sub_byte() {
    let _alone = alone();
    for (code, bits) in [(17, 4), (15, 6), (0, 4), (1, 1)] {
        let sample = Sample { flags: 4, ..Sample::of(&[8]) }.dtype(code, bits, 1);
        refused_as::<DLManagedTensorVersioned>(&sample, Kind::Unsupported, "padded to bytes");
    }
    // A whole byte has no padding, so the flag says nothing.
    accepted_as::<DLManagedTensorVersioned>(&Sample { flags: 4, ..Sample::of(&[8]) }, &|_| ());
}

#[test]
fn r58_misaligned_typed_access() {
    let _alone = alone();
    let mut values = [0_u64; 4];
    for byte_offset in 1..8 {
        let sample = Sample { byte_offset, ..Sample::over(&mut values, &[3]) };
        accepted(&sample, |tensor| {
            let error = tensor.data_as(dtype::U64).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported);
            assert!(error.to_string().contains("is not a multiple of 8"), "{error}");
            let bytes = tensor.reinterpret(dtype::U8).unwrap();
            assert!(bytes.data_as(dtype::U8).is_ok(), "bytes are always aligned");
        });
    }
}

#[test]
fn r59_an_unknown_device_or_a_negative_id() {
    let _alone = alone();
    let refuse = |kind: u32, id: i32| {
        let device = DLDevice { device_type: DLDeviceType(kind), device_id: id };
        let words =
            if kind == 1 { format!("cpu:{id} is no device of DLPack 1.3") } else { "is no device of".into() };
        refused(&Sample { device, ..Sample::of(&[2]) }, Kind::InvalidTensor, &words);
    };
    [0, 5, 6, 19, 99, u32::MAX].into_iter().for_each(|kind| refuse(kind, 0));
    [-1, i32::MIN].into_iter().for_each(|id| refuse(2, id));
    refuse(1, -1);
}

#[test]
fn r60_mutable_access_to_overlapping_strides() {
    let _alone = alone();
    let mut values = [0.0_f32; 64];
    let mut check = |shape: &[i64], strides: &[i64], overlaps: bool| {
        accepted(&Sample::over(&mut values, shape).strides(strides), |tensor| {
            let answer = tensor.data_mut_as(dtype::F32).map_err(|error| error.kind());
            assert_eq!(answer == Err(Kind::Unsupported), overlaps, "{shape:?} {strides:?} {answer:?}");
            assert!(tensor.data_as(dtype::F32).is_ok(), "reading is fine");
        });
    };
    check(&[2, 3], &[0, 1], true);
    check(&[3, 3], &[1, 1], true);
    check(&[4, 4], &[2, 1], true);
    check(&[2, 3], &[3, 1], false);
    check(&[1, 3], &[0, 1], false);
    check(&[0, 3], &[0, 0], false);
    check(&[2, 2], &[2, 4], false);
}

/// Several faults at once: still one answer, one call of the deleter.
#[test]
fn r46_to_r59_faults_in_company() {
    let _alone = alone();
    let device = DLDevice { device_type: DLDeviceType(77), device_id: -1 };
    let sample = Sample { data: null_mut(), device, byte_offset: u64::MAX, ..Sample::of(&[-1, i64::MAX]) };
    refused(&sample.clone().dtype(9, 9, 0), Kind::InvalidTensor, "");
    refused(&Sample { ndim: -7, shape: None, ..sample.clone() }, Kind::InvalidTensor, "ndim is -7");
    refused(&Sample { deleter: false, ..sample }, Kind::InvalidTensor, "");
}

/// `wrap_foreign` that fails takes nothing.
#[test]
fn r53_a_wrap_that_fails_does_not_release() {
    let _alone = alone();
    unsafe extern "C" fn never(_: *mut c_void) {
        panic!("released although nothing was taken");
    }
    let description = DLTensor {
        data: null_mut(),
        device: DLDevice::CPU,
        ndim: 1,
        dtype: dtype_of(2, 32, 1),
        shape: (&raw const TWO).cast_mut(),
        strides: null_mut(),
        byte_offset: 0,
    };
    static TWO: i64 = 2;
    let flags = dlpark::DlpackFlags::empty();
    // SAFETY: the shape is readable; no element is described that could be accessed.
    let error = unsafe { Tensor::wrap_foreign(&description, flags, Some(never), null_mut()) }.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidTensor);
    // SAFETY: as above.
    let (_, owner) = unsafe { Tensor::wrap(&description, flags, vec![7]) }.unwrap_err();
    assert_eq!(owner, [7], "the owner comes back");
}

/// Both structs answer alike.
#[test]
fn r46_to_r60_both_structs_answer_alike() {
    fn answer<M: Abi>(sample: &Sample) -> String {
        sample.produce::<M>().import().unwrap_err().to_string()
    }
    let _alone = alone();
    for sample in [Sample::of(&[-1]), Sample::of(&[2]).dtype(6, 1, 1), Sample::of(&[2]).strides(&[i64::MIN])]
    {
        assert_eq!(answer::<DLManagedTensor>(&sample), answer::<DLManagedTensorVersioned>(&sample));
    }
}
