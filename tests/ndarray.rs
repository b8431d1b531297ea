//! ndarray arrays in and out: the same memory, whatever its layout, and nothing left behind.
#![cfg(feature = "ndarray")]

mod common;

use common::{Exported, Random, alone};
use dlbridge::dlpack::DLManagedTensorVersioned;
use dlbridge::tensor::{TakeError, dtype};
use dlbridge::{Error, Kind, Tensor};
use ndarray::{
    ArcArray, ArcArray1, Array, Array0, Array1, Array2, Array3, ArrayD, ArrayView2, Axis, Dimension, Ix1,
    Ix2, Ix3, IxDyn, ShapeBuilder, Slice, array, s,
};

/// 0, 1, 2, ... in that order in memory.
fn count_to(shape: &[usize]) -> ArrayD<i32> {
    let size: usize = shape.iter().product();
    Array1::from_iter(0..size as i32).into_shape_with_order(IxDyn(shape)).unwrap()
}

/// In and out: the same elements at the same address, with the same strides, in the same allocation.
fn round_trip<D: Dimension>(array: Array<i32, D>) {
    let (expected, first) = (array.to_owned(), array.as_ptr());
    let strides = array.strides().to_vec();
    let tensor = Tensor::try_from(array).unwrap();
    let sizes: Vec<i64> = expected.shape().iter().map(|&extent| extent as i64).collect();
    assert_eq!((tensor.shape(), tensor.dtype()), (&sizes[..], dtype::I32));
    // SAFETY: one thread, and nobody writes.
    assert_eq!(unsafe { tensor.as_array::<i32, D>() }.unwrap(), expected);
    let array = Array::<i32, D>::try_from(tensor).unwrap();
    assert_eq!(array, expected);
    if !array.is_empty() {
        assert_eq!(array.as_ptr(), first, "{sizes:?} {strides:?}");
        let stepped = |axis: &usize| array.shape()[*axis] > 1;
        (0..array.ndim()).filter(stepped).for_each(|axis| assert_eq!(array.strides()[axis], strides[axis]));
    }
}

#[test]
fn every_layout_goes_in_and_out() {
    let _alone = alone();
    round_trip(Array0::from_elem((), 7));
    round_trip(count_to(&[2, 3, 4]));
    round_trip(count_to(&[4, 3, 2]).into_dimensionality::<Ix3>().unwrap().reversed_axes());
    round_trip(Array2::from_shape_vec((2, 3).f(), vec![1, 2, 3, 4, 5, 6]).unwrap());
    round_trip(count_to(&[4, 6]).into_dimensionality::<Ix2>().unwrap().slice_move(s![1..3, ..;-2]));
    round_trip(count_to(&[9]).into_dimensionality::<Ix1>().unwrap().slice_move(s![2..8;-2]));
    round_trip(count_to(&[9]).into_dimensionality::<Ix1>().unwrap().slice_move(s![3..;2]));
    round_trip(count_to(&[3, 5]).index_axis_move(Axis(1), 2));
    round_trip(count_to(&[3, 5]).index_axis_move(Axis(0), 2).index_axis_move(Axis(0), 3));
    round_trip(
        count_to(&[9])
            .into_dimensionality::<Ix1>()
            .unwrap()
            .slice_move(s![3..])
            .into_shape_with_order(IxDyn(&[3, 2]))
            .unwrap(),
    );
    round_trip(count_to(&[3, 1, 5]));
    round_trip(count_to(&[2, 0, 3]));
    round_trip(count_to(&[4, 4]).slice_move(s![2..2, ..]).into_dyn());
}

#[test]
fn random_slices_go_in_and_out() {
    let _alone = alone();
    let mut random = Random::new(5);
    for _ in 0..20_000 {
        let shape: Vec<usize> = (0..random.below(5)).map(|_| 1 + random.below(5) as usize).collect();
        let mut array = count_to(&shape);
        for _ in 0..random.below(6) {
            let ndim = array.ndim() as u64;
            if ndim == 0 {
                break;
            }
            let axis = random.below(ndim) as usize;
            let extent = array.shape()[axis] as u64;
            match random.below(5) {
                0 => array.invert_axis(Axis(axis)),
                1 => array.swap_axes(axis, random.below(ndim) as usize),
                2 if extent > 0 => array = array.index_axis_move(Axis(axis), random.below(extent) as usize),
                3 => {
                    let start = random.below(extent + 1);
                    let stop = start + random.below(extent + 1 - start);
                    let step = random.pick(&[1, 1, 2, 3, -1, -2]);
                    array.slice_axis_inplace(
                        Axis(axis),
                        Slice::new(start as isize, Some(stop as isize), step),
                    );
                }
                _ => array.insert_axis_inplace(Axis(axis)),
            }
        }
        round_trip(array);
    }
}

#[test]
fn the_array_outlives_nothing_and_is_outlived_by_views() {
    let _alone = alone();
    let tensor = Tensor::try_from(counted_array()).unwrap();
    let row = tensor.select(0, 1).unwrap();
    drop(tensor);
    // SAFETY: nobody writes.
    assert_eq!(unsafe { row.as_array::<i32, Ix1>() }.unwrap(), array![3, 4, 5]);
    // The last reference is a view: the array has its shape, on the whole allocation.
    let row = Array1::<i32>::try_from(row).unwrap();
    assert_eq!(row, array![3, 4, 5]);
    assert_eq!(row.into_raw_vec_and_offset().0, [0, 1, 2, 3, 4, 5]);
}

fn counted_array() -> Array2<i32> {
    count_to(&[2, 3]).into_dimensionality().unwrap()
}

/// A slice of a reshaped slice: no array can be cut out of the vector like that.
#[test]
fn an_impossible_layout_is_handed_back() {
    let _alone = alone();
    let line = Tensor::from_vec((0..9).collect::<Vec<i32>>(), &[9]).unwrap();
    let cut = line
        .slice(0, Some(1), None, 1)
        .unwrap()
        .reshape(&[2, 4])
        .unwrap()
        .slice(1, Some(2), None, 1)
        .unwrap();
    drop(line);
    let TakeError { error, mut tensor } = Array2::<i32>::try_from(cut).unwrap_err();
    assert!(error.to_string().contains("as no owned array can have them"), "{error}");
    assert_eq!(tensor.get_array_mut::<i32, Ix2>().unwrap(), array![[3, 4], [7, 8]]);
}

#[test]
fn vectors_and_arrays_are_one() {
    let _alone = alone();
    let array = Array2::<f32>::try_from(Tensor::from_vec(vec![1.0_f32, 2.0], &[1, 2]).unwrap()).unwrap();
    assert_eq!(array, array![[1.0, 2.0]]);
    assert_eq!(Tensor::try_from(array).unwrap().into_vec::<f32>().unwrap(), [1.0, 2.0]);
}

#[test]
fn what_is_in_use_is_handed_back() {
    let _alone = alone();
    let tensor = Tensor::try_from(counted_array()).unwrap();
    let export = Exported::<DLManagedTensorVersioned>::of(&tensor).unwrap();
    let TakeError { error, tensor } = Array2::<i32>::try_from(tensor).unwrap_err();
    assert_eq!(error.kind(), Kind::CopyRequired);
    assert!(error.to_string().contains("still in use"), "{error}");
    // SAFETY: nobody writes.
    let copy = unsafe { tensor.as_array::<i32, Ix2>() }.unwrap().to_owned();
    drop(export);
    assert_eq!(Array2::<i32>::try_from(tensor).unwrap(), copy);
}

#[test]
fn imported_memory_is_viewed_but_not_taken() {
    let _alone = alone();
    let mut values = [1_i32, 2, 3];
    let produced = common::Sample::over(&mut values, &[3]).produce::<DLManagedTensorVersioned>();
    let mut tensor = produced.import().unwrap();
    // SAFETY: nobody else uses the array meanwhile.
    unsafe { tensor.as_array_mut::<i32, Ix1>() }.unwrap().fill(4);
    assert!(tensor.get_array_mut::<i32, Ix1>().is_err() && tensor.get_array::<i32, Ix1>().is_err());
    let refused = Array1::<i32>::try_from(tensor).unwrap_err();
    assert_eq!(refused.error.kind(), Kind::CopyRequired);
    drop(refused);
    assert_eq!((produced.deletions(), values), (1, [4, 4, 4]));
}

#[test]
fn dimensions_and_dtypes_are_checked() {
    let _alone = alone();
    let mut tensor = Tensor::try_from(counted_array()).unwrap();
    let error = tensor.get_array_mut::<i32, Ix3>().map(drop).unwrap_err();
    assert_eq!(error, Error::WrongNdim { have: 2, asked: 3 });
    assert!(matches!(tensor.get_array_mut::<f32, Ix2>(), Err(Error::DtypeMismatch { .. })));
    assert_eq!(tensor.get_array_mut::<i32, IxDyn>().unwrap().shape(), [2, 3]);
    let refused = Array3::<i32>::try_from(tensor).unwrap_err();
    assert_eq!(refused.error, Error::WrongNdim { have: 2, asked: 3 });
    let many = ArrayD::<u8>::zeros(IxDyn(&[1; 200]));
    assert!(matches!(Tensor::try_from(many), Err(Error::Ndim { ndim: 200, .. })));
}

#[test]
fn views_of_ours_keep_their_strides() {
    let _alone = alone();
    let tensor = Tensor::from_vec((0..24).collect::<Vec<i32>>(), &[2, 3, 4]).unwrap();
    let view = tensor.slice(2, None, None, -2).unwrap().permute(&[2, 0, 1]).unwrap();
    let expected = count_to(&[2, 3, 4]).into_dimensionality::<Ix3>().unwrap();
    // SAFETY: one thread, and nobody writes while it is looked at.
    let array = unsafe { view.as_array::<i32, Ix3>() }.unwrap();
    assert_eq!(array, expected.slice(s![.., .., ..;-2]).permuted_axes([2, 0, 1]));
    assert_eq!(array.strides(), [-2, 12, 4]);
    drop(tensor);
    let mut view = view;
    view.get_array_mut::<i32, Ix3>().unwrap().fill(0);
    let array = Array3::<i32>::try_from(view).unwrap();
    assert_eq!(array.strides(), [-2, 12, 4]);
    let (vector, _) = array.into_raw_vec_and_offset();
    assert_eq!(vector[..6], [0, 0, 2, 0, 4, 0], "the odd columns were in the view");
}

#[test]
fn broadcast_views_can_be_read_only() {
    let _alone = alone();
    let wide = Tensor::from_vec(vec![1_i32, 2], &[2, 1]).unwrap().expand(&[2, 3]).unwrap();
    // SAFETY: nobody writes.
    assert_eq!(unsafe { wide.as_array::<i32, Ix2>() }.unwrap(), array![[1, 1, 1], [2, 2, 2]]);
    // SAFETY: refused.
    assert!(unsafe { wide.as_array_mut::<i32, Ix2>() }.is_err());
    assert!(Array2::<i32>::try_from(wide).is_err());
}

#[test]
fn shared_arrays_are_read_only_and_safe_to_look_at() {
    let _alone = alone();
    let mut shared: ArcArray<i32, Ix2> = counted_array().into_shared();
    let first = shared.as_ptr();
    let tensor = Tensor::try_from(shared.clone()).unwrap();
    let view: ArrayView2<'_, i32> = tensor.get_array().unwrap();
    assert_eq!(view.as_ptr(), first);
    shared[[0, 0]] = 9; // copies: the tensor holds the first one
    assert_eq!((view[[0, 0]], shared[[0, 0]]), (0, 9));
    assert_ne!(shared.as_ptr(), first);
    assert!(tensor.is_read_only());
    assert_eq!(tensor.get::<i32>().unwrap(), [0, 1, 2, 3, 4, 5]);
    drop(shared);
    assert_eq!(tensor.get_array::<i32, Ix2>().unwrap()[[1, 2]], 5);
    let backwards = ArcArray1::from_vec(vec![1_u8, 2, 3]).slice_move(s![..;-1]);
    let tensor = Tensor::try_from(backwards).unwrap();
    assert_eq!(tensor.get_array::<u8, Ix1>().unwrap(), array![3, 2, 1]);
}
