//! Memory that Rust values own: lent without `unsafe` where that is sound, refused where not, and taken back.

mod common;

use common::{Exported, alone, not_exclusive, numbers};
use dlbridge::dlpack::{DLDevice, DLManagedTensorVersioned, DLTensor};
use dlbridge::tensor::{Element, TakeError, dtype};
use dlbridge::{DlpackFlags, Error, Kind, Tensor};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

type Versioned = Exported<DLManagedTensorVersioned>;

#[test]
fn the_last_reference_lends_and_gives_back() {
    let _alone = alone();
    let values = vec![1_i32, 2, 3, 4, 5, 6];
    let (address, capacity) = (values.as_ptr(), values.capacity());
    let mut tensor = Tensor::from_vec(values, &[2, 3]).unwrap();
    tensor.get_mut::<i32>().unwrap()[5] = 7;
    let values = tensor.into_vec::<i32>().unwrap();
    assert_eq!((values.as_ptr(), values.capacity()), (address, capacity), "the very vector");
    assert_eq!(values, [1, 2, 3, 4, 5, 7]);
}

#[test]
fn spare_capacity_comes_back() {
    let _alone = alone();
    let mut values = Vec::with_capacity(100);
    values.extend([1.0_f64, 2.0]);
    let values = Tensor::from_vec(values, &[2]).unwrap().into_vec::<f64>().unwrap();
    assert!(values.capacity() >= 100);
}

/// Whatever else holds the memory, a borrow waits until it is gone.
#[test]
fn any_other_holder_refuses_the_borrow() {
    type Holder = Box<dyn std::any::Any>;
    let holders: [fn(&Tensor) -> Holder; 4] = [
        |tensor| Box::new(tensor.clone()),
        |tensor| Box::new(tensor.select(0, 1).unwrap()),
        |tensor| Box::new(Versioned::of(&tensor.select(0, 1).unwrap()).unwrap()),
        |tensor| Box::new(dlpark::versioned::Dlpack::try_from(tensor).unwrap()),
    ];
    let _alone = alone();
    for hold in holders {
        let mut tensor = numbers();
        let holder = hold(&tensor);
        not_exclusive(tensor.get_mut::<i32>(), "still in use elsewhere");
        let refused = tensor.into_vec::<i32>().unwrap_err();
        not_exclusive::<()>(Err(refused.error), "still in use elsewhere");
        tensor = refused.tensor;
        drop(holder);
        assert_eq!(tensor.get_mut::<i32>().unwrap().len(), 6);
        assert_eq!(tensor.into_vec::<i32>().unwrap().len(), 6);
    }
}

#[test]
fn the_last_view_has_the_memory_to_itself() {
    let _alone = alone();
    let mut row = numbers().select(0, 1).unwrap();
    row.get_mut::<i32>().unwrap().fill(0);
    let other = row.clone();
    not_exclusive(row.get_mut::<i32>(), "still in use");
    drop(other);
    let TakeError { error, mut tensor } = row.into_vec::<i32>().unwrap_err();
    not_exclusive::<()>(
        Err(error),
        "3 of the 6 elements, so taking the vector is refused; copy them: get_mut()?.to_vec()",
    );
    assert_eq!(tensor.get_mut::<i32>().unwrap().to_vec(), [0, 0, 0], "what the error says");
    let whole = numbers().reshape(&[6]).unwrap();
    assert_eq!(whole.into_vec::<i32>().unwrap(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn what_typed_access_refuses_is_refused_here_too() {
    let _alone = alone();
    let mut tensor = numbers();
    assert!(matches!(tensor.get_mut::<u32>(), Err(Error::DtypeMismatch { .. })));
    let refused = tensor.into_vec::<f32>().unwrap_err();
    assert!(matches!(refused.error, Error::DtypeMismatch { .. }));
    let mut transposed = refused.tensor.permute(&[1, 0]).unwrap();
    drop(refused.tensor);
    assert!(matches!(transposed.get_mut::<i32>(), Err(Error::NotContiguous { .. })));
    let mut frozen = transposed.read_only().unwrap();
    drop(transposed);
    assert!(matches!(frozen.get_mut::<i32>(), Err(Error::ReadOnly { .. })));
    assert!(matches!(frozen.into_vec::<i32>().unwrap_err().error, Error::ReadOnly { .. }));
}

#[test]
fn reinterpreted_memory_is_lent_but_not_taken_as_another_vector() {
    let _alone = alone();
    let mut bytes = numbers().reinterpret(dtype::U32).unwrap();
    assert_eq!(bytes.get_mut::<u32>().unwrap()[0], 1);
    not_exclusive(bytes.into_vec::<u32>().map_err(Error::from), "no Vec<u32>");
}

/// A refusal to take looks at the owner. Where the elements lie in it, a borrow must be as good as before.
#[test]
fn a_refused_take_changes_nothing() {
    let _alone = alone();
    let mut tensor = Tensor::from_owner_mut([1_u16, 2], &[2]).unwrap();
    tensor.get_mut::<u16>().unwrap()[0] = 5;
    tensor = tensor.into_vec::<u16>().unwrap_err().tensor;
    tensor.get_mut::<u16>().unwrap()[1] = 6;
    assert_eq!(tensor.get_mut::<u16>().unwrap(), [5, 6]);
}

/// The owner's destructor sees what was written, may use other tensors, and may panic: on whatever thread it runs.
#[test]
fn a_destructor_may_use_tensors_and_panic() {
    struct Owner {
        values: [u32; 4],
        last: mpsc::Sender<u32>,
        other: Option<Tensor>,
    }
    impl AsMut<[u32]> for Owner {
        fn as_mut(&mut self) -> &mut [u32] {
            &mut self.values
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            self.last.send(self.values[0]).unwrap();
            drop(self.other.take());
            panic!("in the destructor");
        }
    }
    let _alone = alone();
    let (last, values) = mpsc::channel();
    let make = |other| {
        let owner = Owner { values: [7; 4], last: last.clone(), other };
        Tensor::from_owner_mut(owner, &[2, 2]).unwrap()
    };
    let mut outer = make(Some(make(None)));
    outer.get_mut::<u32>().unwrap()[0] = 9;
    let view = outer.permute(&[1, 0]).unwrap();
    drop(outer);
    std::thread::spawn(move || drop(view)).join().unwrap();
    drop(last);
    assert_eq!(values.iter().collect::<Vec<_>>(), [9, 7]);
}

#[test]
fn borrowed_and_imported_memory_is_not_lent() {
    let _alone = alone();
    let mut values = vec![1_i32, 2, 3];
    let mut shape = [3_i64];
    let description = DLTensor {
        data: values.as_mut_ptr().cast(),
        device: DLDevice::CPU,
        ndim: 1,
        dtype: dtype::I32,
        shape: shape.as_mut_ptr(),
        strides: null_mut(),
        byte_offset: 0,
    };
    // SAFETY: the vector is the owner. It could be another one just as well, which is why nothing follows from it.
    let mut wrapped = unsafe { Tensor::wrap(&description, DlpackFlags::empty(), values) }.unwrap();
    not_exclusive(wrapped.get_mut::<i32>(), "may use it too");
    not_exclusive(wrapped.get::<i32>(), "call as_slice(), where you promise");
    not_exclusive(wrapped.into_vec::<i32>().map_err(Error::from), "may use it too");
}

/// A consumer may change the header of an export and hand it back. Nothing is known of what it shows then.
#[test]
fn a_changed_export_proves_nothing_and_stays_read_only() {
    let _alone = alone();
    let change = |tensor: Tensor| {
        let export = tensor.into_export().unwrap();
        // SAFETY: the export is ours; its elements are those of the tensor.
        unsafe {
            (*export.as_ptr()).flags = DlpackFlags::empty();
            (*export.as_ptr()).dl_tensor.ndim = 0;
            Tensor::import(export).unwrap()
        }
    };
    let mut tensor = change(numbers());
    not_exclusive(tensor.get_mut::<i32>(), "may use it too");
    let shared = change(Tensor::from_owner(Arc::<[i32]>::from([1, 2]), &[2]).unwrap());
    not_exclusive(shared.get::<i32>(), "may use it too");
    assert!(shared.is_read_only());
    assert!(shared.data_mut_as(dtype::I32).is_err());
}

#[test]
fn an_unchanged_export_comes_back_as_it_was() {
    let _alone = alone();
    let mut tensor = numbers();
    tensor = Versioned::of(&tensor).unwrap().import().unwrap();
    assert!(tensor.get_mut::<i32>().is_ok());
}

#[test]
fn shared_owners_make_read_only_tensors() {
    let _alone = alone();
    let weights: Arc<[f32]> = vec![1.0, 2.0, 3.0].into();
    let tensor = Tensor::from_owner(weights.clone(), &[3]).unwrap();
    let view = tensor.slice(0, Some(1), None, 1).unwrap();
    assert_eq!(tensor.get::<f32>().unwrap().as_ptr(), weights.as_ptr());
    not_exclusive(tensor.clone().get_mut::<f32>(), "others may read the memory");
    assert_eq!(view.get::<f32>().unwrap(), [2.0, 3.0]);
    assert_eq!(view.data_mut_as(dtype::F32).unwrap_err().kind(), Kind::ReadOnly);
    assert_eq!(Versioned::of(&view).unwrap().managed().flags, DlpackFlags::READ_ONLY);
    let last = tensor.permute(&[0]).unwrap();
    drop((tensor, view));
    assert_eq!(Arc::strong_count(&weights), 2);
    drop(last);
    assert_eq!(Arc::strong_count(&weights), 1);
}

/// The elements lie in the owner itself, so it must not be moved after its address is taken.
#[test]
fn owners_that_hold_their_elements_inline() {
    let _alone = alone();
    let tensor = Tensor::from_owner([1_u8, 2, 3, 4], &[2, 2]).unwrap();
    assert_eq!(tensor.get::<u8>().unwrap(), [1, 2, 3, 4]);
    let mut tensor = Tensor::from_owner_mut([1_u16, 2], &[2]).unwrap();
    tensor.get_mut::<u16>().unwrap()[0] = 5;
    assert_eq!(tensor.get_mut::<u16>().unwrap(), [5, 2]);
}

#[test]
fn owners_of_every_kind() {
    let _alone = alone();
    let boxed: Box<[i64]> = vec![1, 2].into();
    let address = Box::into_raw(Box::<[i64]>::from([3, 4]));
    // SAFETY: leaked, and nobody else's until it is taken back.
    let leaked: &'static mut [i64] = unsafe { &mut *address };
    assert_eq!(Tensor::from_owner_mut(boxed, &[2]).unwrap().get_mut::<i64>().unwrap(), [1, 2]);
    assert_eq!(Tensor::from_owner_mut(leaked, &[2]).unwrap().get_mut::<i64>().unwrap(), [3, 4]);
    // SAFETY: leaked above, and its tensor is gone.
    drop(unsafe { Box::from_raw(address) });
    assert_eq!(Tensor::from_owner(String::from("ab"), &[2]).unwrap().get::<u8>().unwrap(), *b"ab");
    assert!(Tensor::from_owner(Vec::<f32>::new(), &[0, 3]).unwrap().get::<f32>().unwrap().is_empty());
}

#[test]
fn a_refused_owner_is_dropped_once() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Owner(bool);
    impl AsRef<[u8]> for Owner {
        fn as_ref(&self) -> &[u8] {
            assert!(self.0, "not today");
            &[1, 2, 3]
        }
    }
    impl Drop for Owner {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }
    let _alone = alone();
    assert!(matches!(Tensor::from_owner(Owner(true), &[4]), Err(Error::WrongLength { length: 3, size: 4 })));
    assert!(matches!(Tensor::from_owner(Owner(true), &[-3]), Err(Error::Allocation(_))));
    assert!(std::panic::catch_unwind(|| Tensor::from_owner(Owner(false), &[3])).is_err());
    assert_eq!(DROPPED.load(Ordering::Relaxed), 3);
}

/// What another thread wrote before it dropped its reference is seen by the one that borrows next.
#[test]
fn the_borrow_waits_for_other_threads() {
    let _alone = alone();
    let mut tensor = Tensor::from_vec(vec![0_u64; 1 << 12], &[1 << 12]).unwrap();
    for round in 1..200 {
        let theirs = tensor.clone();
        let (started, start) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            started.send(()).unwrap();
            // SAFETY: the other thread waits for this reference to go.
            unsafe { theirs.as_mut_slice::<u64>() }.unwrap().fill(round);
        });
        start.recv().unwrap();
        while tensor.get_mut::<u64>().is_err() {
            std::thread::yield_now();
        }
        assert!(tensor.get_mut::<u64>().unwrap().iter().all(|&value| value == round));
        thread.join().unwrap();
    }
}

#[test]
fn element_types_have_their_dtypes() {
    fn round_trip<T: Element + PartialEq + std::fmt::Debug>(values: [T; 2], name: &str) {
        let tensor = Tensor::from_vec(values.to_vec(), &[2]).unwrap();
        assert_eq!(dtype::Name(tensor.dtype()).to_string(), name);
        assert_eq!(tensor.into_vec::<T>().unwrap(), values);
    }
    let _alone = alone();
    round_trip([1_u8, 2], "uint8");
    round_trip([-1_i64, 2], "int64");
    round_trip([0.5_f64, 2.0], "float64");
    #[cfg(feature = "half")]
    {
        round_trip([half::f16::from_f32(0.5), half::f16::MAX], "float16");
        round_trip([half::bf16::from_f32(0.5), half::bf16::MAX], "bfloat16");
    }
}

#[test]
fn zeros_are_ours_to_write_and_of_no_vector() {
    let _alone = alone();
    let mut zeros = Tensor::zeros(&[2, 2], dtype::I32).unwrap();
    zeros.get_mut::<i32>().unwrap()[3] = 7;
    let refused = zeros.into_vec::<i32>().unwrap_err();
    assert_eq!(refused.error.kind(), Kind::CopyRequired);
    assert!(refused.error.to_string().contains("belongs to no Vec<i32>"), "{}", refused.error);
    // What was never written is not lent without `unsafe`.
    let mut empty = Tensor::empty(&[2], dtype::I32).unwrap();
    assert!(empty.get_mut::<i32>().is_err());
}
