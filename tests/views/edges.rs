//! Views where the arithmetic is at its edge: empty, vast, packed, handles, stray strides, a million deep.

use crate::common::{Abi, Exported, Sample, accepted, alive, alone, dtype as dtype_of};
use crate::model::{counting, elements};
use dlbridge::dlpack::{DLDevice, DLDeviceType, DLManagedTensor, DLManagedTensorVersioned};
use dlbridge::tensor::{dtype, live_tensors};
use dlbridge::{Kind, Tensor};
use std::ptr::null_mut;

#[test]
fn reshape_works_one_size_out() {
    let _alone = alone();
    let tensor = counting(&[2, 3, 4], &[12, 4, 1], 0);
    assert_eq!(tensor.reshape(&[-1]).unwrap().shape(), [24]);
    assert_eq!(tensor.reshape(&[4, -1, 2]).unwrap().shape(), [4, 3, 2]);
    let empty = counting(&[0, 3], &[3, 1], 0);
    assert_eq!(empty.reshape(&[-1, 3]).unwrap().shape(), [0, 3]);
    for target in [&[-1, -1][..], &[-1, 5], &[-2, -12], &[25], &[], &[-1, 0], &[i64::MAX, i64::MAX, 0]] {
        assert_eq!(tensor.reshape(target).unwrap_err().kind(), Kind::InvalidArgument, "{target:?}");
    }
    assert_eq!(empty.reshape(&[-1, 0]).unwrap_err().kind(), Kind::InvalidArgument, "any size would do");
    assert!(empty.reshape(&[0, i64::MAX, i64::MAX]).is_err(), "sizes that overflow, zeros apart");
    assert_eq!(tensor.reshape(&[1; 129]).unwrap_err().kind(), Kind::InvalidArgument);
}

#[test]
fn expanding_makes_read_only_where_elements_are_shared() {
    let _alone = alone();
    let tensor = counting(&[3, 1], &[1, 1], 0);
    assert!(!tensor.expand(&[3, 1]).unwrap().is_read_only());
    assert!(!tensor.expand(&[1, 3, 1]).unwrap().is_read_only());
    assert!(tensor.expand(&[3, 2]).unwrap().is_read_only());
    assert!(tensor.expand(&[2, 3, 1]).unwrap().is_read_only());
    for target in [&[3][..], &[2, 1], &[3, -1], &[-1, 3, 1], &[], &[3, 1, 2]] {
        assert_eq!(tensor.expand(target).unwrap_err().kind(), Kind::InvalidArgument, "{target:?}");
    }
    let vast = tensor.select(0, 0).unwrap().expand(&[1 << 60]).unwrap();
    assert_eq!(vast.size(), 1 << 60);
    assert_eq!(elements::<i32>(&vast.slice(0, None, None, -(1 << 59)).unwrap()), [0, 0]);
    assert!(tensor.select(0, 0).unwrap().expand(&[1 << 62]).is_err());
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    let _alone = alone();
    let tensor = counting(&[2, 3], &[3, 1], 0);
    for axis in [2, -3, i64::MAX, i64::MIN] {
        let refusals = [
            tensor.slice(axis, None, None, 1),
            tensor.select(axis, 0),
            tensor.squeeze(axis),
            tensor.permute(&[0, axis]),
        ];
        refusals.into_iter().for_each(|r| assert_eq!(r.unwrap_err().kind(), Kind::InvalidArgument, "{axis}"));
    }
    for index in [2, -3, i64::MAX, i64::MIN] {
        assert_eq!(tensor.select(0, index).unwrap_err().kind(), Kind::InvalidArgument);
    }
    for axes in [&[0][..], &[0, 1, 0], &[0, 0], &[0, -2], &[]] {
        assert_eq!(tensor.permute(axes).unwrap_err().kind(), Kind::InvalidArgument, "{axes:?}");
    }
    for axis in [3, -4] {
        assert_eq!(tensor.unsqueeze(axis).unwrap_err().kind(), Kind::InvalidArgument);
    }
    assert_eq!(tensor.squeeze(0).unwrap_err().kind(), Kind::InvalidArgument);
    let deep = counting(&[1; 128], &[1; 128], 0);
    assert_eq!(deep.unsqueeze(0).unwrap_err().kind(), Kind::InvalidArgument);
    assert_eq!(deep.expand(&[1; 129]).unwrap_err().kind(), Kind::InvalidArgument);
}

#[test]
fn reinterpreting_shows_the_same_bytes() {
    let _alone = alone();
    let tensor = counting(&[2, 3, 4], &[40, 8, 1], 3);
    let bytes = elements::<i32>(&tensor).iter().flat_map(|value| value.to_ne_bytes()).collect::<Vec<u8>>();
    let as_bytes = tensor.reinterpret(dtype::U8).unwrap();
    assert_eq!((as_bytes.shape(), as_bytes.strides()), (&[2, 3, 16][..], &[160, 32, 1][..]));
    assert_eq!(elements::<u8>(&as_bytes), bytes);
    let back = as_bytes.reinterpret(dtype::I32).unwrap();
    assert_eq!((back.strides(), elements::<i32>(&back)), (tensor.strides(), elements::<i32>(&tensor)));
    assert_eq!(tensor.reinterpret(dtype::U64).unwrap().shape(), [2, 3, 2]);
    assert_eq!(tensor.reinterpret(dtype_of(2, 32, 4)).unwrap().shape(), [2, 3, 1]);
    let refuse =
        |tensor: &Tensor, to| assert_eq!(tensor.reinterpret(to).unwrap_err().kind(), Kind::Unsupported);
    refuse(&tensor.permute(&[2, 1, 0]).unwrap(), dtype::U8);
    refuse(&tensor.slice(2, None, Some(3), 1).unwrap(), dtype::U64);
    refuse(&counting(&[3, 2], &[3, 1], 0), dtype::U64);
    refuse(&counting(&[], &[], 0), dtype::U8);
    assert_eq!(counting(&[], &[], 0).reinterpret(dtype::U32).unwrap().ndim(), 0);
    assert_eq!(tensor.reinterpret(dtype_of(6, 1, 1)).unwrap_err().kind(), Kind::InvalidArgument);
}

/// Every view of a tensor, whatever comes of it.
fn every_view(tensor: &Tensor) -> Vec<Tensor> {
    let axes: Vec<i64> = (0..tensor.ndim() as i64).collect();
    let mut views = vec![tensor.read_only(), tensor.reshape(tensor.shape()), tensor.reshape(&[-1])];
    views.push(tensor.permute(&axes.iter().rev().copied().collect::<Vec<_>>()));
    views.push(tensor.expand(&[&[2], tensor.shape()].concat()));
    views.extend([dtype::U8, dtype::I32, dtype::U64].map(|to| tensor.reinterpret(to)));
    for axis in axes {
        views.extend([1, -1, 3, i64::MAX, i64::MIN].map(|step| tensor.slice(axis, None, None, step)));
        views.extend([0, -1].map(|index| tensor.select(axis, index)));
        views.extend([tensor.slice(axis, Some(1), None, 1), tensor.slice(axis, Some(-1), Some(-1), 1)]);
        views.extend([tensor.squeeze(axis), tensor.unsqueeze(axis)]);
    }
    views.into_iter().filter_map(Result::ok).collect()
}

#[test]
fn empty_tensors_with_absurd_strides_have_views() {
    let _alone = alone();
    for stray in [i64::MIN, i64::MAX, 0, -1] {
        let tensor = counting(&[4, 0, 3], &[stray, i64::MAX, stray], 0);
        let views = every_view(&tensor);
        assert!(views.len() >= 35, "{}", views.len());
        let deeper: Vec<Tensor> = views.iter().flat_map(every_view).collect();
        for view in views.iter().chain(&deeper) {
            assert!(view.size() == 0 && view.data().is_null() && view.is_row_major(), "{view:?}");
            view.export().map(drop_export).unwrap();
        }
        assert_eq!(tensor.reinterpret(dtype::U8).unwrap().shape(), [4, 0, 12]);
    }
}

fn drop_export(managed: std::ptr::NonNull<DLManagedTensorVersioned>) {
    // SAFETY: a fresh export, imported once.
    drop(unsafe { Tensor::import(managed) }.unwrap());
}

#[test]
fn stray_strides_of_size_1_never_move_a_view() {
    let _alone = alone();
    for stray in [i64::MAX, i64::MIN, i64::MIN + 1] {
        let tensor = counting(&[1, 3, 1], &[stray, -2, stray], 10);
        assert_eq!(elements_by_select(&tensor), [10, 8, 6]);
        for view in
            every_view(&tensor).into_iter().filter(|view| view.size() == 3 && view.dtype() == dtype::I32)
        {
            let mut shown = elements_by_select(&view);
            shown.sort_unstable();
            assert_eq!(shown, [6, 8, 10], "{view:?}");
        }
        assert_eq!(tensor.select(0, -1).unwrap().data(), tensor.data());
        assert_eq!(tensor.slice(2, None, None, -1).unwrap().data(), tensor.data());
    }
}

/// The elements found by selecting down to 0 dimensions, which uses no stride that is not stepped along.
fn elements_by_select(tensor: &Tensor) -> Vec<i32> {
    match tensor.shape().first() {
        None => elements(tensor),
        Some(&extent) => {
            (0..extent).flat_map(|at| elements_by_select(&tensor.select(0, at).unwrap())).collect()
        }
    }
}

#[test]
fn views_of_handles_move_the_byte_offset() {
    let _alone = alone();
    let device = DLDevice { device_type: DLDeviceType::VULKAN, device_id: 0 };
    let sample = Sample { device, byte_offset: 400, ..Sample::of(&[4, 5]) }.strides(&[-10, 2]);
    accepted(&sample, |tensor| {
        for view in every_view(tensor) {
            let data = if view.size() == 0 { null_mut() } else { sample.data };
            assert_eq!(view.data(), data, "a handle is no address");
        }
        let offset = |view: Tensor| view.view().byte_offset;
        assert_eq!(offset(tensor.select(0, 3).unwrap()), 400 - 3 * 40);
        assert_eq!(offset(tensor.slice(1, Some(2), None, 1).unwrap()), 400 + 2 * 8);
        assert_eq!(offset(tensor.slice(0, None, None, -1).unwrap()), 400 - 3 * 40);
        assert_eq!(offset(tensor.slice(1, Some(9), None, 1).unwrap()), 0, "empty");
    });
}

#[test]
fn packed_elements_are_sliced_at_whole_bytes() {
    let _alone = alone();
    for (code, bits) in [(0, 4), (1, 2), (17, 4), (15, 6), (16, 6), (1, 1)] {
        let tensor = Sample::of(&[24]).dtype(code, bits, 1);
        accepted(&tensor, |tensor| {
            for (start, by) in (0..24).flat_map(|start| [1, 2, -1].map(|by| (start, by))) {
                let bit = start * i64::from(bits);
                let Ok(view) = tensor.slice(0, Some(start), None, by) else {
                    let error = tensor.slice(0, Some(start), None, by).unwrap_err();
                    assert!(bit % 8 != 0 && error.kind() == Kind::Unsupported, "{error}");
                    assert!(error.to_string().contains(&format!("bit {}", bit % 8)), "{error}");
                    continue;
                };
                assert_eq!(bit % 8, 0);
                assert_eq!(view.data() as usize, tensor.data() as usize + bit as usize / 8);
                assert_eq!(view.nbytes(), (view.size() * usize::from(bits)).div_ceil(8));
            }
        });
    }
}

#[test]
fn packed_rows_and_their_bytes() {
    let _alone = alone();
    accepted(&Sample::of(&[3, 4]).dtype(17, 4, 1), |tensor| {
        assert_eq!((tensor.nbytes(), tensor.select(0, 2).unwrap().data() as usize), (6, 0x10_0004));
        let bytes = tensor.reinterpret(dtype::U8).unwrap();
        assert_eq!((bytes.shape(), bytes.strides()), (&[3, 2][..], &[2, 1][..]));
        assert_eq!(bytes.reinterpret(tensor.dtype()).unwrap().strides(), tensor.strides());
        assert_eq!(tensor.select(1, 1).unwrap_err().kind(), Kind::Unsupported);
        assert_eq!(tensor.reinterpret(dtype_of(17, 4, 2)).unwrap().shape(), [3, 2], "two lanes fill a byte");
    });
    // Rows of five elements do not begin on a byte, but every second one does.
    accepted(&Sample::of(&[4, 5]).dtype(17, 4, 1), |tensor| {
        assert_eq!(tensor.nbytes(), 10);
        assert!(tensor.select(0, 1).is_err() && tensor.select(0, 2).is_ok());
        assert!(tensor.reinterpret(dtype::U8).is_err());
        assert_eq!(tensor.reshape(&[20]).unwrap().reinterpret(dtype::U8).unwrap().shape(), [10]);
    });
    // Backwards: the element before the first is in the upper half of the byte before.
    accepted(&Sample::of(&[4]).strides(&[-1]).dtype(17, 4, 1), |tensor| {
        let error = tensor.select(0, 1).unwrap_err();
        assert!(error.to_string().contains("start at bit 4"), "{error}");
        assert_eq!(tensor.select(0, 2).unwrap().data() as usize, 0x0f_ffff);
    });
    accepted(&Sample::of(&[2, 4]).dtype(15, 6, 1), |tensor| {
        assert_eq!(tensor.reinterpret(dtype::U8).unwrap().shape(), [2, 3]);
    });
}

/// A view refers to the owner, never to another view: a million of them are two live tensors, and letting go of the
/// last does not recurse.
#[test]
fn a_million_views_of_views() {
    let _alone = alone();
    let before = live_tensors();
    let root = counting(&[3, 4], &[4, 1], 0);
    let mut view = root.clone();
    for round in 0..1_000_000 {
        view = match round % 4 {
            0 => view.permute(&[1, 0]),
            1 => view.slice(0, None, None, -1),
            2 => view.unsqueeze(1),
            _ => view.squeeze(1),
        }
        .unwrap();
    }
    assert_eq!(live_tensors(), before + 2);
    assert_eq!(root.reference_count(), 2);
    drop(root);
    let mut left = elements::<i32>(&view);
    left.sort_unstable();
    assert!(left.into_iter().eq(0..12));
}

/// The same for a tensor that goes out and comes back a million times.
#[test]
fn a_million_hand_overs_to_ourselves() {
    fn check<M: Abi>() {
        let before = alive();
        let produced = Sample::of(&[4]).produce::<M>();
        let mut tensor = produced.import().unwrap();
        for _ in 0..1_000_000 {
            tensor = Exported::<M>::of(&tensor).unwrap().import().unwrap();
        }
        assert_eq!(alive(), (before.0 + 1, before.1), "what comes back is the tensor itself");
        assert_eq!(produced.deletions(), 0);
        drop(tensor);
        assert_eq!(produced.deletions(), 1);
    }
    let _alone = alone();
    check::<DLManagedTensorVersioned>();
    check::<DLManagedTensor>();
}

/// An export comes back as it is, not as it was: a consumer may have changed the header meanwhile.
#[test]
fn a_header_that_was_changed_is_read_anew() {
    let _alone = alone();
    let before = alive();
    let tensor = Tensor::from_vec(vec![0_i32; 6], &[2, 3]).unwrap();
    type Change = fn(&mut DLManagedTensorVersioned);
    let changes: [(Change, &[i64], bool); 4] = [
        (|_| (), &[2, 3], true),
        // SAFETY: the export has two sizes.
        (|managed| unsafe { *managed.dl_tensor.shape = 1 }, &[1, 3], false),
        (|managed| managed.dl_tensor.ndim = 1, &[2], false),
        (|managed| managed.flags = dlpark::DlpackFlags::READ_ONLY, &[2, 3], false),
    ];
    for (change, shape, same) in changes {
        let mut managed = tensor.export().unwrap();
        // SAFETY: the export is ours until it is imported.
        let back = unsafe {
            change(managed.as_mut());
            Tensor::import(managed).unwrap()
        };
        assert_eq!(back.shape(), shape);
        assert_eq!(std::ptr::eq(back.view(), tensor.view()), same);
        assert_eq!(back.data(), tensor.data());
    }
    drop(tensor);
    assert_eq!(alive(), before);
}

#[test]
fn many_views_keep_the_owner_until_the_last_is_gone() {
    let _alone = alone();
    let produced = Sample::of(&[8, 8]).produce::<DLManagedTensor>();
    let tensor = produced.import().unwrap();
    let mut views: Vec<Tensor> = (0..100_000).map(|i| tensor.select(0, i % 8).unwrap()).collect();
    drop(tensor);
    let last = views.swap_remove(777);
    drop(views);
    assert_eq!(produced.deletions(), 0);
    drop(last);
    assert_eq!(produced.deletions(), 1);
}

#[test]
fn a_target_that_is_too_large_is_the_argument_s_fault() {
    let _alone = alone();
    let one = Tensor::from_vec(vec![1.0_f64], &[1]).unwrap();
    for error in [one.expand(&[i64::MAX]).unwrap_err(), one.expand(&[i64::MAX, 4]).unwrap_err()] {
        assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
        assert!(error.to_string().contains(&i64::MAX.to_string()), "{error}");
    }
    let empty = Tensor::from_vec(Vec::<f64>::new(), &[0]).unwrap();
    assert_eq!(empty.reshape(&[0, i64::MAX, i64::MAX]).unwrap_err().kind(), Kind::InvalidArgument);
}

#[test]
fn messages_about_axes_that_are_not_there_name_something_that_works() {
    let _alone = alone();
    let scalar = Tensor::from_vec(vec![1.0_f64], &[]).unwrap();
    assert!(scalar.squeeze(0).unwrap_err().to_string().contains("0-d"));
    let empty = Tensor::from_vec(Vec::<f64>::new(), &[0]).unwrap();
    assert!(empty.select(0, 0).unwrap_err().to_string().contains("empty"));
}
