//! [`ndarray`] arrays, in and out without a copy. Needs the feature `ndarray`.
//!
//! ```
//! use dlbridge::Tensor;
//! use ndarray::{Array2, s};
//!
//! let mut image = Array2::<f32>::zeros((480, 640));
//! image.invert_axis(ndarray::Axis(0)); // negative strides, Fortran order, slices: all as they are
//! let first = image.as_ptr();
//!
//! let tensor = Tensor::try_from(image)?; // keeps the array's vector alive
//! let mut image = Array2::<f32>::try_from(tensor)?; // the last reference gives it back
//! assert_eq!(image.as_ptr(), first);
//! image.slice_mut(s![.., ..320]).fill(1.0);
//! # Ok::<(), dlbridge::Error>(())
//! ```
//!
//! To borrow a tensor as a view there are four methods, with the rules of the slices in [`Tensor`]: two are safe, because
//! nobody else can be at the elements, and refuse where that is not so; in the others that is the caller's promise.
//!
//! | | memory that nobody else has | memory that nobody writes to | any memory, `unsafe` |
//! |---|---|---|---|
//! | `ArrayView` | [`get_array_mut`](Tensor::get_array_mut) | [`get_array`](Tensor::get_array) | [`as_array`](Tensor::as_array) |
//! | `ArrayViewMut` | [`get_array_mut`](Tensor::get_array_mut) | | [`as_array_mut`](Tensor::as_array_mut) |

use crate::dlpack::{DLDevice, DLTensor};
use crate::error::{Error, Result};
use crate::staging::{Batch, Which};
use crate::tensor::{self, Element, Reach, TakeError, Tensor};
use dlpark::DlpackFlags;
use ndarray::{ArcArray, Array, Array1, ArrayBase, ArrayD, ArrayView, ArrayViewMut};
use ndarray::{Axis, Dimension, IxDyn, Order, RawData, ShapeBuilder, StrideShape, s};
use std::ffi::c_void;
use std::ptr::NonNull;

const ACTION: &str = "taking the array";

/// Takes the array's vector over, whatever its strides. On failure (more than 128 dimensions) the array is dropped.
impl<T: Element, D: Dimension> TryFrom<Array<T, D>> for Tensor {
    type Error = Error;

    fn try_from(array: Array<T, D>) -> Result<Self> {
        let (mut shape, mut strides) =
            (signed(array.shape()), array.strides().iter().map(|&stride| stride as i64).collect::<Vec<_>>());
        let (mut vector, offset) = array.into_raw_vec_and_offset();
        let data = vector.as_mut_ptr().wrapping_add(offset.unwrap_or(0));
        let description = describe(data, &mut shape, &mut strides);
        // SAFETY: the array's elements lie in the vector, which it had to itself. Moving a vector does not move them.
        unsafe { Tensor::keep(vector, Reach::Nobody, DlpackFlags::empty(), |_| description) }
            .map_err(|(error, _)| error)
    }
}

/// Shares the array: a read-only tensor, since others may hold the array too. They copy before they write.
impl<T: Element, D: Dimension> TryFrom<ArcArray<T, D>> for Tensor {
    type Error = Error;

    fn try_from(array: ArcArray<T, D>) -> Result<Self> {
        let (mut shape, mut strides) =
            (signed(array.shape()), array.strides().iter().map(|&stride| stride as i64).collect::<Vec<_>>());
        let description = describe(array.as_ptr().cast_mut(), &mut shape, &mut strides);
        // SAFETY: the elements are those of the array, and while a reference to it is held nobody writes to them.
        unsafe { Tensor::keep(array.into_dyn(), Reach::Readers, DlpackFlags::READ_ONLY, |_| description) }
            .map_err(|(error, _)| error)
    }
}

/// Takes the vector out of the tensor: of the last tensor on memory that came from a `Vec<T>` or an owned array.
/// Otherwise the error hands the tensor back; a view's `to_owned()` copies.
impl<T: Element, D: Dimension> TryFrom<Tensor> for Array<T, D> {
    type Error = TakeError;

    fn try_from(tensor: Tensor) -> std::result::Result<Self, TakeError> {
        match Plan::new::<T, D>(&tensor) {
            // SAFETY: the plan was made from such a vector.
            Ok(plan) => Ok(plan.build(unsafe { tensor.take_vec() })),
            Err(error) => Err(TakeError { error, tensor }),
        }
    }
}

impl Tensor {
    /// The elements as a view, where nobody can write to them; refused where [`Tensor::get`] would be, but for the
    /// strides, which may be any.
    ///
    /// ```
    /// use dlbridge::Tensor;
    /// use ndarray::{ArcArray2, Ix2};
    ///
    /// let weights = ArcArray2::<f32>::ones((3, 2));
    /// let tensor = Tensor::try_from(weights.clone())?; // shared: read-only
    /// assert_eq!(tensor.permute(&[1, 0])?.get_array::<f32, Ix2>()?, weights.t());
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn get_array<T: Element, D: Dimension>(&self) -> Result<ArrayView<'_, T, D>> {
        self.check_immutable()?;
        // SAFETY: checked: nobody writes.
        unsafe { self.as_array() }
    }

    /// The elements as a mutable view, where nobody else can reach them; refused where [`Tensor::get_mut`] would be,
    /// but for the strides, which may be any.
    ///
    /// ```
    /// use dlbridge::Tensor;
    /// use ndarray::Ix2;
    ///
    /// let mut tensor = Tensor::from_vec(vec![1, 2, 3, 4, 5, 6], &[2, 3])?;
    /// tensor.get_array_mut::<i32, Ix2>()?.row_mut(1).fill(0);
    /// assert_eq!(tensor.into_vec::<i32>()?, [1, 2, 3, 0, 0, 0]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn get_array_mut<T: Element, D: Dimension>(&mut self) -> Result<ArrayViewMut<'_, T, D>> {
        self.check_exclusive("an exclusive borrow")?;
        // SAFETY: checked: nobody else reaches the memory, nor will while the tensor is borrowed mutably.
        unsafe { self.as_array_mut() }
    }

    /// The elements as a view. Strides may be any, negative ones too.
    ///
    /// ```
    /// use dlbridge::Tensor;
    /// use ndarray::{Ix1, array};
    ///
    /// let tensor = Tensor::from_vec(vec![1, 2, 3, 4], &[4])?;
    /// let reversed = tensor.slice(0, None, None, -1)?;
    /// // SAFETY: nobody writes.
    /// let view = unsafe { reversed.as_array::<i32, Ix1>() }?;
    /// assert_eq!(view, array![4, 3, 2, 1]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`Tensor::as_slice`].
    pub unsafe fn as_array<T: Element, D: Dimension>(&self) -> Result<ArrayView<'_, T, D>> {
        let data = self.data_as(T::DTYPE)?.cast_mut();
        // SAFETY: the tensor keeps the elements, and the view borrows the tensor; nobody writes, says the caller.
        view(self, data, |shape, lowest| unsafe { ArrayView::from_shape_ptr(shape, lowest) })
    }

    /// The elements as a mutable view. Strides may be any that give each index an element of its own.
    ///
    /// ```
    /// use dlbridge::Tensor;
    /// use ndarray::Ix2;
    ///
    /// let tensor = Tensor::from_vec(vec![0.0_f64; 6], &[2, 3])?;
    /// // SAFETY: nobody else reads or writes meanwhile.
    /// let mut view = unsafe { tensor.as_array_mut::<f64, Ix2>() }?;
    /// view.fill(1.0);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    ///
    /// # Safety
    ///
    /// As for [`Tensor::as_mut_slice`].
    #[allow(
        clippy::mut_from_ref,
        reason = "the tensor is a shared handle; exclusivity is the caller's promise"
    )]
    pub unsafe fn as_array_mut<T: Element, D: Dimension>(&self) -> Result<ArrayViewMut<'_, T, D>> {
        let data = self.data_mut_as(T::DTYPE)?;
        // SAFETY: as above; exclusive use is promised by the caller.
        view(self, data, |shape, lowest| unsafe { ArrayViewMut::from_shape_ptr(shape, lowest) })
    }
}

impl Batch {
    /// The tensor of this number or name as a view, without `unsafe`; refused where [`Batch::slice`] would be, and where it
    /// has another number of dimensions.
    ///
    /// ```
    /// use dlbridge::staging::{Leaf, Options, Ring};
    /// use dlbridge::tensor::dtype;
    /// use ndarray::Ix2;
    ///
    /// let ring = Ring::new(Options::default())?;
    /// let mut slot = ring.acquire(&[Leaf::new("", &[2, 3], dtype::I32)], None)?;
    /// slot.get_mut::<i32>(0)?.copy_from_slice(&[1, 2, 3, 4, 5, 6]);
    /// slot.submit()?;
    /// assert_eq!(ring.next(None, None)?.array::<i32, Ix2>(0)?.row(1).sum(), 15);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn array<T: Element, D: Dimension>(&self, which: impl Which) -> Result<ArrayView<'_, T, D>> {
        let tensor = self.tensor(which)?;
        tensor.data_as(T::DTYPE)?;
        tensor.lend()?;
        // SAFETY: as for `Batch::slice`: every element has a value, and nobody writes to what was lent.
        unsafe { tensor.as_array() }
    }
}

/// A view of all elements, the first of which lies at `data`. What `make` is given lies inside the tensor's buffer, or
/// has no elements, as ndarray wants it: strides that are not negative, from the lowest element on.
fn view<T: Element, D: Dimension, S: RawData<Elem = T>>(
    tensor: &Tensor,
    data: *mut c_void,
    make: impl FnOnce(StrideShape<D>, *mut T) -> ArrayBase<S, D>,
) -> Result<ArrayBase<S, D>> {
    let shape = dimension::<D>(tensor)?;
    if tensor.size() == 0 {
        return Ok(make(shape.into(), NonNull::dangling().as_ptr()));
    }
    let mut strides = D::zeros(tensor.ndim());
    let mut lowest = data.cast::<T>();
    for (axis, extent, stride) in steps(tensor) {
        strides[axis] = stride.unsigned_abs();
        if stride < 0 {
            lowest = lowest.wrapping_offset((extent as isize - 1) * stride);
        }
    }
    let mut view = make(shape.strides(strides), lowest);
    steps(tensor).filter(|step| step.2 < 0).for_each(|(axis, ..)| view.invert_axis(Axis(axis)));
    Ok(view)
}

/// Axes that are stepped along, with size and stride. The others may have any stride, and get none.
fn steps(tensor: &Tensor) -> impl Iterator<Item = (usize, usize, isize)> + '_ {
    let axes = tensor.shape().iter().zip(tensor.strides()).enumerate();
    axes.filter(|(_, (extent, _))| **extent > 1)
        .map(|(axis, (&extent, &stride))| (axis, extent as usize, stride as isize))
}

/// The shape with as many dimensions as are asked for.
fn dimension<D: Dimension>(tensor: &Tensor) -> Result<D> {
    let shape: Vec<usize> = tensor.shape().iter().map(|&extent| extent as usize).collect();
    let asked = D::NDIM.unwrap_or(shape.len());
    D::from_dimension(&IxDyn(&shape)).ok_or(Error::WrongNdim { have: shape.len(), asked })
}

/// How an array is built on a vector whose first element need not be that of the array: ndarray makes arrays from the
/// start of a vector on, and cuts them down.
enum Plan {
    /// From the element `first` on, one after the other.
    Packed { shape: Vec<usize>, order: Order, first: usize },
    /// Each axis is made longer by `surplus` positions, until all begin at the start of the vector. What no axis can
    /// reach takes an axis of its own, the last, which comes off again.
    Strided { shape: Vec<usize>, strides: Vec<usize>, surplus: Vec<usize> },
}

impl Plan {
    fn new<T: Element, D: Dimension>(tensor: &Tensor) -> Result<Plan> {
        dimension::<D>(tensor)?;
        let vector = tensor.lent_vec::<T>(ACTION)?;
        let shape: Vec<usize> = tensor.shape().iter().map(|&extent| extent as usize).collect();
        let (start, data) = (vector.as_ptr() as usize, tensor.data() as usize);
        let skip = if tensor.size() == 0 { 0 } else { data.wrapping_sub(start) };
        let first = skip / size_of::<T>();
        let plan = if tensor.is_row_major() || tensor.is_column_major() {
            let order = if tensor.is_row_major() { Order::RowMajor } else { Order::ColumnMajor };
            Plan::Packed { shape, order, first }
        } else {
            Self::strided(tensor, shape, first)
        };
        if skip.is_multiple_of(size_of::<T>()) && plan.fits(vector.len()) {
            return Ok(plan);
        }
        let why = "the elements lie in the vector as no owned array can have them".into();
        Err(Error::NotExclusive { action: ACTION, why, remedy: "copy them: get_array_mut()?.to_owned()" })
    }

    fn strided(tensor: &Tensor, mut shape: Vec<usize>, first: usize) -> Plan {
        let (mut strides, mut surplus) = (vec![0; shape.len()], vec![0; shape.len()]);
        let mut axes: Vec<_> = steps(tensor).collect();
        axes.sort_by_key(|(_, _, stride)| std::cmp::Reverse(stride.unsigned_abs()));
        // A negative stride starts at the far end.
        let below = |&(_, extent, stride): &(usize, usize, isize)| (extent as isize - 1) * stride.min(0);
        let mut rest = first.wrapping_add_signed(axes.iter().map(below).sum());
        for (axis, _, stride) in axes {
            strides[axis] = stride as usize;
            surplus[axis] = rest / stride.unsigned_abs();
            shape[axis] += surplus[axis];
            rest %= stride.unsigned_abs();
        }
        surplus.push(usize::from(rest > 0));
        shape.push(1 + usize::from(rest > 0));
        strides.push(rest);
        Plan::Strided { shape, strides, surplus }
    }

    /// Whether the elements lie inside the vector, lengthened axes and all, with an index of its own for each: what
    /// ndarray checks too, when it is too late to give the vector back.
    fn fits(&self, length: usize) -> bool {
        let (shape, strides) = match self {
            Plan::Packed { shape, first, .. } => {
                let end = shape.iter().try_fold(1_usize, |size, &extent| size.checked_mul(extent));
                return end.and_then(|size| size.checked_add(*first)).is_some_and(|end| end <= length);
            }
            Plan::Strided { shape, strides, .. } => (signed(shape), signed(strides)),
        };
        let reach = |(&extent, &stride): (&i64, &i64)| (extent - 1).checked_mul(stride.checked_abs()?);
        let mut reaches = shape.iter().zip(&strides).map(reach);
        let last = reaches.try_fold(0_i64, |last, reach| last.checked_add(reach?));
        last.is_some_and(|last| (last as usize) < length) && !tensor::may_overlap(&shape, &strides)
    }

    fn build<T: Element, D: Dimension>(self, vector: Vec<T>) -> Array<T, D> {
        let array = match self {
            Plan::Packed { shape, order, first } => {
                let size: usize = shape.iter().product();
                let line = Array1::from_vec(vector).slice_move(s![first..first + size]);
                line.into_shape_with_order((IxDyn(&shape), order))
            }
            Plan::Strided { shape, strides, surplus } => {
                let long = ArrayD::from_shape_vec(IxDyn(&shape).strides(IxDyn(&strides)), vector);
                long.map(|mut array| {
                    for (axis, surplus) in surplus.into_iter().enumerate() {
                        let forwards = strides[axis] as isize >= 0;
                        let kept = if forwards { surplus..shape[axis] } else { 0..shape[axis] - surplus };
                        array.slice_axis_inplace(Axis(axis), kept.into());
                    }
                    array.index_axis_move(Axis(shape.len() - 1), 0)
                })
            }
        };
        let array = array.expect("`fits` has asked what ndarray asks");
        array.into_dimensionality().expect("the number of dimensions was checked")
    }
}

fn describe<T: Element>(data: *mut T, shape: &mut [i64], strides: &mut [i64]) -> Result<DLTensor> {
    Ok(DLTensor {
        data: data.cast(),
        device: DLDevice::CPU,
        ndim: i32::try_from(shape.len()).unwrap_or(i32::MAX),
        dtype: T::DTYPE,
        shape: shape.as_mut_ptr(),
        strides: strides.as_mut_ptr(),
        byte_offset: 0,
    })
}

/// Sizes, or strides as ndarray keeps them, as numbers with a sign.
fn signed(values: &[usize]) -> Vec<i64> {
    values.iter().map(|&value| value as i64).collect()
}
