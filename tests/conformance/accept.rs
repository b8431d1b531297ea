//! As a consumer: what must be accepted, and kept as it is.

use crate::common::{Exported, Sample, accepted, accepted_as, alone};
use dlbridge::dlpack::{DLDevice, DLDeviceType, DLManagedTensor, DLManagedTensorVersioned};
use dlbridge::tensor::dtype;
use dlbridge::{Kind, Tensor};

#[test]
fn a33_versioned_and_legacy() {
    let _alone = alone();
    let mut values = [1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let sample = Sample::over(&mut values, &[2, 3]).strides(&[3, 1]);
    accepted(&sample, |tensor| {
        assert_eq!((tensor.shape(), tensor.strides()), (&[2, 3][..], &[3, 1][..]));
        assert_eq!((tensor.dtype(), tensor.device()), (dtype::F32, DLDevice::CPU));
        assert_eq!(tensor.data(), sample.data, "zero-copy");
        assert_eq!((tensor.size(), tensor.nbytes()), (6, 24));
        assert!(!tensor.is_read_only());
    });
}

#[test]
fn a34_a_higher_minor_version_and_unknown_flags() {
    let _alone = alone();
    for minor in [0, 1, 3, 4, u32::MAX] {
        let sample = Sample { version: (1, minor), flags: !5, ..Sample::of(&[2]) };
        accepted_as::<DLManagedTensorVersioned>(&sample, &|tensor| {
            assert!(tensor.flags().is_empty(), "unknown flags are dropped");
        });
    }
}

#[test]
fn a35_null_strides_are_row_major_whatever_the_version() {
    let _alone = alone();
    for minor in 0..=4 {
        let sample = Sample { version: (1, minor), ..Sample::of(&[2, 3, 4]) };
        accepted(&sample, |tensor| {
            assert_eq!(tensor.strides(), [12, 4, 1]);
            assert!(tensor.is_row_major());
        });
    }
    accepted(&Sample::of(&[2, 0, 4]), |tensor| assert_eq!(tensor.strides(), [4, 4, 1]));
    let scalar = Sample { shape: None, ..Sample::of(&[]) };
    accepted(&scalar, |tensor| assert_eq!((tensor.ndim(), tensor.size()), (0, 1)));
}

#[test]
fn a36_byte_offset_is_folded_into_the_address() {
    let _alone = alone();
    let mut values = [1.0_f32, 2.0, 3.0];
    let sample = Sample { byte_offset: 4, ..Sample::over(&mut values, &[2]) };
    accepted(&sample, |tensor| {
        assert_eq!(tensor.data() as usize, sample.data as usize + 4);
        assert_eq!(tensor.view().byte_offset, 0);
        // SAFETY: nobody writes to the values meanwhile.
        assert_eq!(unsafe { tensor.as_slice::<f32>() }.unwrap(), [2.0, 3.0]);
    });
}

#[test]
fn a36_byte_offset_is_kept_where_data_is_a_handle() {
    let _alone = alone();
    for kind in [DLDeviceType::OPENCL, DLDeviceType::VULKAN, DLDeviceType::METAL, DLDeviceType::WEBGPU] {
        let device = DLDevice { device_type: kind, device_id: 1 };
        let sample = Sample { device, byte_offset: 64, ..Sample::of(&[4, 4]) };
        accepted(&sample, |tensor| {
            assert_eq!((tensor.data(), tensor.view().byte_offset), (sample.data, 64));
            let row = tensor.select(0, 2).unwrap();
            assert_eq!((row.data(), row.view().byte_offset), (sample.data, 64 + 2 * 16));
            let back = row.slice(0, None, None, -1).unwrap();
            assert_eq!((back.data(), back.view().byte_offset), (sample.data, 64 + 2 * 16 + 12));
            assert_eq!(tensor.alignment(), 0, "a handle has no address");
        });
    }
}

#[test]
fn a37_negative_and_zero_strides_are_kept() {
    let _alone = alone();
    for strides in [[-3, 1], [3, -1], [0, 1], [0, 0], [-3, -1]] {
        let sample = Sample::of(&[2, 3]).strides(&strides);
        accepted(&sample, |tensor| {
            assert_eq!((tensor.strides(), tensor.data()), (&strides[..], sample.data));
            let export = Exported::<DLManagedTensorVersioned>::of(tensor).unwrap();
            assert_eq!(export.strides(), strides);
        });
    }
}

#[test]
fn a38_any_stride_on_dimensions_of_size_1_or_0() {
    let _alone = alone();
    for stray in [i64::MIN, -1, 0, 7, i64::MAX] {
        accepted(&Sample::of(&[2, 1, 3]).strides(&[3, stray, 1]), |tensor| {
            assert_eq!(tensor.strides(), [3, stray, 1]);
            assert!(tensor.is_row_major());
            let export = Exported::<DLManagedTensorVersioned>::of(tensor).unwrap();
            assert_eq!(export.strides(), [3, 3, 1], "older consumers trip on a stray stride");
        });
        let empty = Sample::of(&[2, 0, 3]).strides(&[stray; 3]);
        accepted(&empty, |tensor| assert!(tensor.is_row_major() && tensor.is_column_major()));
    }
}

#[test]
fn a39_a_null_deleter() {
    let _alone = alone();
    accepted(&Sample { deleter: false, ..Sample::of(&[2]) }, |tensor| assert_eq!(tensor.shape(), [2]));
}

#[test]
fn a40_pinned_and_managed_memory_is_host_readable() {
    let _alone = alone();
    let mut values = [1_u8, 2, 3];
    for kind in [DLDeviceType::CUDAHOST, DLDeviceType::CUDAMANAGED, DLDeviceType::ROCMHOST] {
        let device = DLDevice { device_type: kind, device_id: 0 };
        accepted(&Sample { device, ..Sample::over(&mut values, &[3]) }, |tensor| {
            assert_eq!(tensor.device().device_type, kind);
            // SAFETY: nobody writes to the values meanwhile.
            assert_eq!(unsafe { tensor.as_slice::<u8>() }.unwrap(), [1, 2, 3]);
        });
    }
    let device = DLDevice::cuda(0);
    accepted(&Sample { device, ..Sample::of(&[3]) }, |tensor| {
        assert_eq!(tensor.data_as(dtype::F32).unwrap_err().kind(), Kind::Unsupported);
    });
}

#[test]
fn a41_fortran_order_and_slices() {
    let _alone = alone();
    accepted(&Sample::of(&[2, 3, 4]).strides(&[1, 2, 6]), |tensor| {
        assert!(tensor.is_column_major() && !tensor.is_row_major());
    });
    // Every second column of every third row of a matrix 100 wide.
    accepted(&Sample::of(&[5, 50]).strides(&[300, 2]), |tensor| {
        assert_eq!(tensor.strides(), [300, 2]);
        assert!(!tensor.is_column_major() && !tensor.is_row_major());
    });
}

#[test]
fn a42_read_only_refuses_mutable_access() {
    let _alone = alone();
    let mut values = [1.0_f32, 2.0];
    let sample = Sample { flags: 1, ..Sample::over(&mut values, &[2]) };
    accepted_as::<DLManagedTensorVersioned>(&sample, &|tensor| {
        assert!(tensor.is_read_only());
        assert_eq!(tensor.data_mut_as(dtype::F32).unwrap_err().kind(), Kind::ReadOnly);
        assert_eq!(tensor.data_as(dtype::F32).unwrap(), sample.data.cast_const());
        let views: [Tensor; 4] = [
            tensor.slice(0, None, None, -1).unwrap(),
            tensor.reshape(&[2, 1]).unwrap(),
            tensor.reinterpret(dtype::I32).unwrap(),
            tensor.clone(),
        ];
        assert!(views.iter().all(Tensor::is_read_only), "a view inherits it");
    });
    let sample = Sample { flags: 0, ..sample };
    accepted(&sample, |tensor| assert_eq!(tensor.data_mut_as(dtype::F32).unwrap(), sample.data));
}

#[test]
fn a43_bool_bytes_other_than_0_and_1() {
    let _alone = alone();
    let mut values = [0_u8, 1, 2, 255];
    let sample = Sample::over(&mut values, &[4]).dtype(6, 8, 1);
    accepted(&sample, |tensor| {
        assert_eq!(tensor.dtype(), dtype::BOOL);
        let bytes = tensor.reinterpret(dtype::U8).unwrap();
        // SAFETY: nobody writes to the values meanwhile.
        assert_eq!(unsafe { bytes.as_slice::<u8>() }.unwrap(), [0, 1, 2, 255]);
    });
    accepted_as::<DLManagedTensor>(&sample, &|tensor| {
        // SAFETY: refused, so there is nothing to access.
        assert_eq!(unsafe { tensor.as_slice::<u8>() }.unwrap_err().kind(), Kind::InvalidArgument);
    });
}
