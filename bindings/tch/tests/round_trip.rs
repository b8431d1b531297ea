//! tch tensors in and out: the same memory, kept by whichever side lives longer, and what is refused.

#[path = "../../../tests/common/mod.rs"]
mod common;

use common::{Sample, alone};
use dlbridge::dlpack::{DLDevice, DLDeviceType, DLManagedTensorVersioned};
use dlbridge::staging::{Leaf, Options, Ring};
use dlbridge::tensor::dtype;
use dlbridge::{Kind as ErrorKind, Tensor};
use dlbridge_tch::{Error, from_torch, to_torch, to_torch_alias};
use tch::{Device, Kind};

const KINDS: [Kind; 17] = [
    Kind::Uint8,
    Kind::Int8,
    Kind::Int16,
    Kind::Int,
    Kind::Int64,
    Kind::Half,
    Kind::Float,
    Kind::Double,
    Kind::ComplexHalf,
    Kind::ComplexFloat,
    Kind::ComplexDouble,
    Kind::Bool,
    Kind::BFloat16,
    Kind::Float8e5m2,
    Kind::Float8e4m3fn,
    Kind::Float8e5m2fnuz,
    Kind::Float8e4m3fnuz,
];

fn numbers() -> Tensor {
    Tensor::from_vec(vec![1_i32, 2, 3, 4, 5, 6], &[2, 3]).unwrap()
}

fn values(tensor: &tch::Tensor) -> Vec<i32> {
    Vec::try_from(tensor.contiguous().view([-1])).unwrap()
}

/// One element on a device of this kind, or so it says.
fn on(device_type: DLDeviceType) -> Sample {
    Sample { device: DLDevice { device_type, device_id: 0 }, ..Sample::of(&[1]) }
}

#[track_caller]
fn refused<T>(result: Result<T, Error>, words: &str) {
    match result.map(drop) {
        Err(Error::Refused(text)) if text.contains(words) => {}
        other => panic!("{words:?} is missing in {other:?}"),
    }
}

#[test]
fn ours_to_torch_and_torch_goes_first() {
    let _alone = alone();
    let mut ours = numbers();
    let mut theirs = to_torch(&ours).unwrap();
    assert_eq!((theirs.data_ptr(), theirs.size()), (ours.data(), vec![2, 3]));
    let _ = theirs.g_mul_scalar_(10);
    assert!(ours.get_mut::<i32>().is_err(), "torch has the memory too");
    drop(theirs);
    assert_eq!(ours.into_vec::<i32>().unwrap(), [10, 20, 30, 40, 50, 60]);
}

#[test]
fn ours_to_torch_and_ours_goes_first() {
    let _alone = alone();
    let theirs = to_torch(&numbers().slice(1, Some(1), None, 1).unwrap()).unwrap();
    assert_eq!((theirs.size(), theirs.stride()), (vec![2, 2], vec![3, 1]));
    let row = theirs.get(1);
    drop(theirs);
    assert_eq!(values(&row), [5, 6], "a view of torch's keeps the vector");
}

#[test]
fn theirs_to_ours_in_either_order() {
    let _alone = alone();
    for torch_first in [true, false] {
        let theirs = tch::Tensor::arange(12, (Kind::Int, Device::Cpu)).view([3, 4]);
        let part = theirs.narrow(1, 1, 2).transpose(0, 1);
        let ours = from_torch(&part).unwrap();
        assert_eq!((ours.data(), ours.shape(), ours.strides()), (part.data_ptr(), &[2, 3][..], &[1, 4][..]));
        // SAFETY: one thread.
        unsafe { ours.select(1, 2).unwrap().data_mut_as(dtype::I32).unwrap().cast::<i32>().write(77) };
        assert_eq!(theirs.int64_value(&[2, 1]), 77, "what is written here is seen there");
        if torch_first {
            drop((theirs, part));
            let row = ours.select(0, 0).unwrap();
            drop(ours);
            assert_eq!(values(&to_torch(&row).unwrap()), [1, 5, 77]);
        } else {
            drop(ours);
            assert_eq!(values(&part), [1, 5, 77, 2, 6, 10]);
        }
    }
}

#[test]
fn what_was_lent_comes_back_as_it_was() {
    let _alone = alone();
    let mut ours = from_torch(&to_torch(&numbers()).unwrap()).unwrap();
    assert!(ours.get_mut::<i32>().is_ok(), "the tensor itself, which nobody else has");
    // SAFETY: nobody writes.
    let theirs = unsafe { to_torch_alias(&ours.read_only().unwrap()) }.unwrap();
    assert!(from_torch(&theirs).unwrap().is_read_only());
    assert!(from_torch(&theirs.get(1)).unwrap().is_read_only(), "a view torch made of it as well");
}

/// Each view shares the owner: a chain of thousands would overflow the stack when it is dropped.
#[test]
fn there_and_back_many_times() {
    let _alone = alone();
    let mut ours = Tensor::from_vec((0..50_000).collect::<Vec<i32>>(), &[50_000]).unwrap();
    for step in 0..20_000 {
        let theirs = to_torch(&ours).unwrap();
        ours = from_torch(&theirs.narrow(0, 1, 50_000 - step - 1)).unwrap();
    }
    assert_eq!(ours.into_vec::<i32>().unwrap_err().tensor.size(), 30_000);
}

#[test]
fn every_kind_keeps_its_dtype() {
    let _alone = alone();
    for kind in KINDS {
        let theirs = tch::Tensor::zeros([2, 3], (kind, Device::Cpu));
        let ours = from_torch(&theirs).unwrap();
        assert_eq!(to_torch(&ours).unwrap().kind(), kind, "{ours:?}");
    }
}

#[test]
fn scalars_empty_tensors_and_single_rows() {
    let _alone = alone();
    let ours = from_torch(&tch::Tensor::from(3.5_f64)).unwrap();
    assert_eq!((ours.ndim(), ours.dtype()), (0, dtype::F64));
    assert_eq!(f64::try_from(to_torch(&ours).unwrap()).unwrap(), 3.5);
    let empty = from_torch(&tch::Tensor::zeros([2, 0], (Kind::Float, Device::Cpu))).unwrap();
    assert_eq!(to_torch(&empty).unwrap().size(), [2, 0]);
    // A stride that is never taken may be negative.
    let single = numbers().slice(0, Some(1), None, 1).unwrap().slice(0, None, None, -1).unwrap();
    assert_eq!(values(&to_torch(&single).unwrap()), [4, 5, 6]);
}

#[test]
fn torch_may_drop_on_another_thread() {
    let _alone = alone();
    let theirs = to_torch(&numbers()).unwrap();
    let ours = from_torch(&tch::Tensor::ones([8], (Kind::Float, Device::Cpu))).unwrap();
    std::thread::spawn(move || drop((theirs, ours))).join().unwrap();
}

/// A resize_() that fails leaves its shape behind, whoever the memory belongs to.
#[test]
fn elements_that_the_storage_does_not_hold_are_refused() {
    let _alone = alone();
    let lent = numbers();
    let theirs = tch::Tensor::from_slice(&[1_i32, 2, 3, 4, 5, 6]);
    let _shared = from_torch(&theirs).unwrap();
    for mut x in [to_torch(&lent).unwrap(), theirs] {
        assert!(x.f_resize_([1 << 20]).is_err());
        refused(from_torch(&x), "reaches to byte 4194304 of a storage of 24");
        let _ = x.resize_([2, 2]);
        assert_eq!(values(&x), [1, 2, 3, 4]);
        assert_eq!(from_torch(&x.slice(0, 1, 2, 1)).unwrap().shape(), [1, 2]);
    }
}

/// resize_() would move the elements away from under the tensor.
#[test]
fn the_storage_cannot_be_resized_any_more() {
    let _alone = alone();
    let mut theirs = tch::Tensor::zeros([4], (Kind::Float, Device::Cpu));
    let ours = from_torch(&theirs).unwrap();
    let error = theirs.f_resize_([1 << 20]).unwrap_err();
    assert!(error.to_string().contains("not resizable"), "{error}");
    assert_eq!(ours.data(), theirs.data_ptr());
    let mut lent = to_torch(&ours).unwrap();
    assert!(lent.f_resize_([1 << 20]).is_err());
}

#[test]
fn what_torch_memory_does_not_show_is_refused() {
    let _alone = alone();
    let plain = tch::Tensor::from_slice(&[1.0_f32, 2.0]);
    let complex = tch::Tensor::complex(&plain, &plain);
    refused(from_torch(&tch::Tensor::new()), "undefined");
    refused(from_torch(&plain.shallow_clone().set_requires_grad(true)), "call .detach() first");
    refused(from_torch(&complex.conj()), "call .resolve_conj() first");
    refused(from_torch(&complex.conj().imag()), "call .resolve_neg() first");
    refused(from_torch(&plain.to_sparse_sparse_dim(1)), "call .to_dense(None, false) first");
    refused(from_torch(&plain.quantize_per_tensor(0.1, 0, Kind::QInt8)), "share .int_repr()");
    for (mended, expected) in
        [(complex.conj().resolve_conj(), [1.0, -1.0]), (complex.conj().imag().resolve_neg(), [-1.0, -2.0])]
    {
        let first =
            from_torch(&mended).unwrap().reinterpret(dtype::F32).unwrap().slice(0, None, Some(2), 1).unwrap();
        // SAFETY: nobody writes.
        assert_eq!(unsafe { first.as_slice::<f32>() }.unwrap(), expected);
    }
}

#[test]
fn what_torch_cannot_have_is_refused() {
    let _alone = alone();
    let ours = numbers();
    assert_eq!(to_torch(&ours.read_only().unwrap()).unwrap_err(), Error::ReadOnly);
    // SAFETY: nobody writes.
    assert_eq!(values(&unsafe { to_torch_alias(&ours.read_only().unwrap()) }.unwrap()), [1, 2, 3, 4, 5, 6]);
    let error = to_torch(&ours.slice(1, None, None, -1).unwrap()).unwrap_err();
    assert!(error.to_string().contains("stride -1 of axis 1 is negative"), "{error}");
    refused(to_torch(&ours.slice(1, None, None, -1).unwrap()), "call .flip([1]) there");
    refused(to_torch(&Tensor::from_vec(vec![1_u16], &[1]).unwrap()), "no Kind for uint16; share the bytes");
    refused(to_torch(&ours.reshape(&[&[1; 63][..], &[2, 3]].concat()).unwrap()), "65 dimensions");
    let elsewhere = on(DLDeviceType::METAL).produce::<DLManagedTensorVersioned>();
    refused(to_torch(&elsewhere.import().unwrap()), "not on metal");
    assert_eq!((elsewhere.deletions(), ours.reference_count()), (1, 1), "nothing is kept of what is refused");
}

#[test]
fn pinned_memory_is_the_hosts_to_torch() {
    let _alone = alone();
    for kind in [DLDeviceType::CUDAHOST, DLDeviceType::ROCMHOST, DLDeviceType::CUDAMANAGED] {
        let pinned = on(kind).produce::<DLManagedTensorVersioned>();
        let ours = pinned.import().unwrap();
        let theirs = to_torch(&ours).unwrap();
        assert_eq!((theirs.device(), theirs.data_ptr().addr()), (tch::Device::Cpu, ours.data().addr()));
        drop((ours, theirs));
        assert_eq!(pinned.deletions(), 1);
    }
}

#[test]
fn what_dlbridge_says_keeps_its_kind() {
    let error = Error::from(Tensor::from_vec(vec![1_u8], &[2]).unwrap_err());
    assert!(matches!(&error, Error::Dlbridge(inner) if inner.kind() == ErrorKind::InvalidArgument));
    assert!(error.to_string().contains("1 elements were given for a shape of 2"));
    assert_eq!(format!("{error:?}"), format!("InvalidArgument: {error}"), "what unwrap prints");
    assert_eq!(format!("{:?}", Error::ReadOnly), format!("ReadOnly: {}", Error::ReadOnly));
}

/// torch writes in place without `unsafe`: not while a batch is read as a slice.
#[test]
fn what_a_batch_lent_as_a_slice_is_not_shared() {
    let _alone = alone();
    let ring = Ring::new(Options::default()).unwrap();
    let mut slot = ring.acquire(&[Leaf::new("x", &[2], dtype::F32)], None).unwrap();
    slot.get_mut::<f32>(0).unwrap().fill(1.0);
    slot.submit().unwrap();
    let batch = ring.next(None, None).unwrap();
    let mut theirs = to_torch(&batch.tensors()[0]).unwrap();
    let _ = theirs.g_mul_scalar_(2.0);
    assert!(batch.slice::<f32>(0).is_err(), "torch may write");
    drop(theirs);
    assert_eq!(batch.slice::<f32>(0).unwrap(), [2.0, 2.0]);
    let error = to_torch(&batch.tensors()[0]).unwrap_err();
    assert!(error.to_string().contains("lent as a slice"), "{error}");
    // SAFETY: the sum only reads.
    let sum = unsafe { to_torch_alias(&batch.tensors()[0]) }.unwrap().sum(Kind::Float);
    assert_eq!(f32::try_from(sum).unwrap(), 4.0);
}
