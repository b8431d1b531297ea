//! As a producer, as far as no copy, device or interpreter is needed.

use crate::common::{Abi, Exported, Sample, accepted, accepted_as, alive, alone};
use dlbridge::dlpack::{DLDevice, DLDeviceType, DLManagedTensor, DLManagedTensorVersioned, DLTensor};
use dlbridge::{Kind, Tensor};
use dlpark::DlpackFlags;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Versioned = Exported<DLManagedTensorVersioned>;
type Legacy = Exported<DLManagedTensor>;

fn tensor(shape: &[i64]) -> Tensor {
    let size: i64 = shape.iter().product();
    Tensor::from_vec(vec![0.0_f32; size as usize], shape).unwrap()
}

#[test]
fn p03_legacy_of_a_read_only_tensor_is_refused() {
    let _alone = alone();
    let frozen = tensor(&[2]).read_only().unwrap();
    let error = Legacy::of(&frozen).map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::ReadOnly);
    assert!(error.to_string().contains("versioned"), "the message names the way out: {error}");
}

#[test]
fn p04_an_export_is_of_version_1_3() {
    let _alone = alone();
    let export = Versioned::of(&tensor(&[2])).unwrap();
    let version = export.managed().version;
    assert_eq!((version.major, version.minor), (1, 3));
}

#[test]
fn p06_strides_are_there_for_every_shape() {
    let _alone = alone();
    for shape in [&[3][..], &[2, 3], &[0], &[2, 0, 3], &[1, 1], &[1; 128]] {
        let tensor = tensor(shape);
        let (versioned, legacy) = (Versioned::of(&tensor).unwrap(), Legacy::of(&tensor).unwrap());
        assert_eq!((versioned.shape(), legacy.shape()), (shape, shape));
        assert_eq!(versioned.strides(), tensor.strides());
        assert_eq!(legacy.strides(), tensor.strides());
    }
}

#[test]
fn p07_ndim_0_exports() {
    let _alone = alone();
    let scalar = Tensor::from_vec(vec![7_i64], &[]).unwrap();
    let export = Versioned::of(&scalar).unwrap();
    assert_eq!((export.view().ndim, export.view().data), (0, scalar.data()));
    let back = export.import().unwrap();
    // SAFETY: nobody writes.
    assert_eq!(unsafe { back.as_slice::<i64>() }.unwrap(), [7]);
}

#[test]
fn p08_size_0_has_null_data() {
    let _alone = alone();
    let sample = Sample { byte_offset: 16, ..Sample::of(&[2, 0]) };
    accepted(&sample, |empty| {
        let export = Versioned::of(empty).unwrap();
        assert!(export.view().data.is_null() && export.view().byte_offset == 0);
    });
    let view = tensor(&[4]).slice(0, Some(2), Some(2), 1).unwrap();
    assert!(Versioned::of(&view).unwrap().view().data.is_null());
    assert!(Legacy::of(&view).unwrap().view().data.is_null());
}

#[test]
fn p09_byte_offset_is_0_but_for_handles() {
    let _alone = alone();
    let sample = Sample { byte_offset: 16, ..Sample::of(&[4]) };
    accepted(&sample, |tensor| {
        let export = Versioned::of(&tensor.slice(0, Some(1), None, 1).unwrap()).unwrap();
        assert_eq!(export.view().byte_offset, 0);
        assert_eq!(export.view().data as usize, sample.data as usize + 20);
    });
    let device = DLDevice { device_type: DLDeviceType::OPENCL, device_id: 0 };
    accepted(&Sample { device, ..sample.clone() }, |tensor| {
        let export = Legacy::of(&tensor.slice(0, Some(1), None, 1).unwrap()).unwrap();
        assert_eq!((export.view().byte_offset, export.view().data), (20, sample.data));
    });
}

#[test]
fn p11_read_only_survives_every_re_export() {
    let _alone = alone();
    let sample = Sample { flags: 1, ..Sample::of(&[2, 2]) };
    accepted_as::<DLManagedTensorVersioned>(&sample, &|tensor| {
        let mut tensor = tensor.clone();
        for _ in 0..5 {
            let export = Versioned::of(&tensor.permute(&[1, 0]).unwrap()).unwrap();
            assert_eq!(export.managed().flags, DlpackFlags::READ_ONLY);
            tensor = export.import().unwrap();
            assert!(tensor.is_read_only());
        }
    });
}

#[test]
fn p12_is_copied_is_never_set_without_a_copy() {
    let _alone = alone();
    let sample = Sample { flags: 2, ..Sample::of(&[2]) };
    accepted_as::<DLManagedTensorVersioned>(&sample, &|tensor| {
        assert!(Versioned::of(tensor).unwrap().managed().flags.is_empty(), "the producer copied, not we");
    });
}

#[test]
fn p15_each_export_has_its_own_header_and_keeps_the_source() {
    fn check<M: Abi>() {
        let produced = Sample::of(&[2, 3]).produce::<M>();
        let tensor = produced.import().unwrap();
        let exports = [(); 3].map(|()| Exported::<M>::of(&tensor).unwrap());
        let [a, b, c] = &exports;
        assert!(!std::ptr::eq(a.managed(), b.managed()) && !std::ptr::eq(b.managed(), c.managed()));
        assert!(a.shape().as_ptr() != b.shape().as_ptr() && a.strides().as_ptr() != b.strides().as_ptr());
        drop(tensor);
        for export in exports {
            assert_eq!(produced.deletions(), 0, "an export is left");
            drop(export);
        }
        assert_eq!(produced.deletions(), 1);
    }
    let _alone = alone();
    check::<DLManagedTensorVersioned>();
    check::<DLManagedTensor>();
}

#[test]
fn p15_a_consumer_may_scribble_on_its_header() {
    let _alone = alone();
    let tensor = tensor(&[2, 3]);
    let managed = Versioned::of(&tensor).unwrap().into_raw();
    // SAFETY: the export is ours alone, and deleted once.
    unsafe {
        let header = managed.as_ptr();
        (*header).dl_tensor.shape.write(99);
        (*header).dl_tensor.strides.write(-1);
        ((*header).dl_tensor.ndim, (*header).dl_tensor.data, (*header).manager_ctx) =
            (-5, null_mut(), null_mut());
        ((*header).deleter.unwrap())(header);
    }
    assert_eq!((tensor.shape(), tensor.strides()), (&[2, 3][..], &[3, 1][..]));
}

#[test]
fn p16_an_export_nobody_consumed_is_deleted_once() {
    let _alone = alone();
    let produced = Sample::of(&[2]).produce::<DLManagedTensorVersioned>();
    let export = Versioned::of(&produced.import().unwrap()).unwrap();
    let before = alive();
    assert_eq!(produced.deletions(), 0);
    drop(export);
    assert_eq!((produced.deletions(), alive()), (1, (before.0 - 1, before.1 - 1)));
}

/// Counts, and panics as it goes.
struct Grumpy(Arc<AtomicUsize>);

impl Drop for Grumpy {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        panic!("an owner that panics in its destructor");
    }
}

fn grumpy() -> (Tensor, Arc<AtomicUsize>) {
    static VALUES: [f32; 2] = [1.0, 2.0];
    let count = Arc::new(AtomicUsize::new(0));
    let mut shape = [2_i64];
    let description = DLTensor {
        data: (&raw const VALUES).cast_mut().cast(),
        device: DLDevice::CPU,
        ndim: 1,
        dtype: dlbridge::tensor::dtype::F32,
        shape: shape.as_mut_ptr(),
        strides: null_mut(),
        byte_offset: 0,
    };
    // SAFETY: the values are static, and nobody writes to them.
    let tensor = unsafe { Tensor::wrap(&description, DlpackFlags::READ_ONLY, Grumpy(count.clone())) };
    (tensor.unwrap_or_else(|(error, _)| panic!("{error}")), count)
}

#[test]
fn p17_the_deleter_runs_on_a_plain_thread() {
    unsafe extern "C" fn delete(managed: *mut std::ffi::c_void) -> *mut std::ffi::c_void {
        let managed = managed.cast::<DLManagedTensorVersioned>();
        // SAFETY: the export was given to this thread.
        unsafe { ((*managed).deleter.unwrap())(managed) };
        null_mut()
    }
    extern "C" fn start(managed: *mut std::ffi::c_void) -> *mut std::ffi::c_void {
        // SAFETY: as below.
        unsafe { delete(managed) }
    }
    let _alone = alone();
    let produced = Sample::of(&[2]).produce::<DLManagedTensorVersioned>();
    let export = Versioned::of(&produced.import().unwrap()).unwrap().into_raw();
    // SAFETY: a thread that Rust knows nothing of gets the export, its only owner, and is waited for.
    unsafe {
        let mut thread = std::mem::zeroed();
        let made = libc::pthread_create(&mut thread, std::ptr::null(), start, export.as_ptr().cast());
        assert_eq!(made, 0);
        assert_eq!(libc::pthread_join(thread, null_mut()), 0);
    }
    assert_eq!(produced.deletions(), 1);
}

#[test]
fn p18_the_deleter_never_unwinds() {
    let _alone = alone();
    let (tensor, count) = grumpy();
    let export = Versioned::of(&tensor).unwrap();
    drop(tensor);
    assert_eq!(count.load(Ordering::Relaxed), 0);
    drop(export);
    assert_eq!(count.load(Ordering::Relaxed), 1);
    // The same where the tensor is the last to go.
    let (tensor, count) = grumpy();
    drop(tensor);
    assert_eq!(count.load(Ordering::Relaxed), 1);
}

#[test]
fn p31_a_failure_midway_leaks_nothing() {
    let _alone = alone();
    let frozen = tensor(&[2, 3]).read_only().unwrap();
    let before = alive();
    assert!(frozen.export_legacy().is_err());
    assert!(frozen.select(0, 2).is_err() && frozen.slice(2, None, None, 1).is_err());
    assert!(frozen.slice(0, None, None, 0).is_err() && frozen.permute(&[0, 0]).is_err());
    assert!(frozen.expand(&[3]).is_err() && frozen.squeeze(0).is_err() && frozen.unsqueeze(9).is_err());
    assert!(frozen.expand(&[i64::MAX, 2, 3]).is_err(), "too large to measure");
    assert!(frozen.reshape(&[7]).is_err() && frozen.permute(&[1, 0]).unwrap().reshape(&[6]).is_err());
    assert!(frozen.reinterpret(dlbridge::tensor::dtype::F64).is_err());
    assert_eq!(alive(), before);
    assert!(Tensor::from_vec(vec![0_u8; 3], &[4]).is_err());
}
