//! `stack`: N arrays of one shape, whoever made them, become one batch; cast, transposed and normalised on the way, in
//! one pass over each.

mod affine;
mod pixels;
#[cfg(test)]
mod tests;

use super::cast::{Casting, cast_into, check_casting, spoil};
use super::level::level;
use super::movement::{Movement, SHARED_COPY};
use super::stream;
use super::threads::{chunks_for, for_each};
use crate::dlpack::DLDataType;
use crate::error::{Error, Result, Stack, Transfer};
use crate::tensor::{Access, Tensor, device, dtype};
use affine::Affine;
use std::sync::{Mutex, PoisonError};

/// How the axes of pictures are turned on the way into the batch. A picture of two axes has one channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Layout {
    /// They stay as they are.
    #[default]
    Same,
    /// Height, width, channels become channels, height, width.
    Chw,
    /// Channels, height, width become height, width, channels.
    Hwc,
}

/// What is done to the arrays on the way into a batch. The default is nothing: they have the dtype of the batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct StackOptions<'a> {
    /// What a cast may do to values, those before `scale` and `bias`.
    pub casting: Casting,
    /// How the axes are turned.
    pub layout: Layout,
    /// What values are multiplied by: nothing, one number, or one for each channel.
    pub scale: &'a [f64],
    /// What is added then: the same.
    pub bias: &'a [f64],
}

/// The arrays as one tensor with a new first axis, of `dtype` or of the dtype that all have, in new row-major memory.
///
/// `x * scale + bias` is reckoned in float64 where that is the dtype, else in float32, each step rounded; a step
/// that overflows gives an infinity, as in NumPy, and what is finite then is cast as `casting` says: a float16 batch
/// refuses 1e5. A scale or bias that is finite and has no float32 is refused where that is reckoned in. Channels are the
/// last axis where the layout stays the same. Everything is checked before anything is written, and an array that is
/// refused is named: [`Stack::Array`]. Threads of this library help from 512 KiB on.
///
/// ```
/// use dlbridge::{Tensor, copy::{self, Layout, StackOptions}, tensor::dtype};
///
/// let picture = Tensor::from_vec(vec![0_u8, 51, 102, 153, 204, 255], &[1, 2, 3])?; // height, width, channels
/// let options = StackOptions { layout: Layout::Chw, scale: &[1.0 / 255.0], ..Default::default() };
/// // SAFETY: nobody writes to the picture.
/// let mut batch = unsafe { copy::stack(&[&picture, &picture], Some(dtype::F32), options) }?;
/// assert_eq!(batch.shape(), [2, 3, 1, 2]);
/// assert_eq!(batch.get_mut::<f32>()?[..2], [0.0, 153.0 * (1.0 / 255.0)]); // nobody else has it
/// # Ok::<(), dlbridge::Error>(())
/// ```
///
/// # Safety
///
/// The memory is what the tensors say, with a value in every element, and nobody writes to it meanwhile.
pub unsafe fn stack(
    tensors: &[&Tensor],
    dtype: Option<DLDataType>,
    options: StackOptions<'_>,
) -> Result<Tensor> {
    let first = tensors.first().ok_or(Error::Stack(Stack::Empty))?;
    let dtype = match dtype {
        Some(dtype) => dtype,
        None => common_dtype(tensors)?,
    };
    let shape = shape(options.layout, first)?;
    // What cannot be stacked costs no memory.
    let batch = Batch::new(tensors, &shape, dtype, options)?;
    let destination = Tensor::empty(&[&[tensors.len() as i64], &shape[..]].concat(), dtype)?;
    // SAFETY: promised by the caller, and nobody else has the destination.
    unsafe { batch.fill(&destination) }?;
    // SAFETY: written just now, and nobody else has it.
    Ok(unsafe { destination.written() })
}

/// [`stack`] into memory that is there, of any strides; its dtype is that of the batch.
///
/// Refused besides: a destination of another shape, one that is read-only, whose indices may share elements, or that shares
/// memory with an array. These errors leave it as it is. Where values are refused, all of it is set to one value that nobody
/// takes for a result, as [`cast_into`] does.
///
/// # Safety
///
/// The memory is what the tensors say, with a value in every element of the arrays. Meanwhile nobody writes to that of the
/// arrays, nor reads or writes that of `destination`.
pub unsafe fn stack_into(tensors: &[&Tensor], destination: &Tensor, options: StackOptions<'_>) -> Result<()> {
    let first = tensors.first().ok_or(Error::Stack(Stack::Empty))?;
    let shape = shape(options.layout, first)?;
    let batch = Batch::new(tensors, &shape, destination.dtype(), options)?;
    let whole = batch_shape(tensors, options.layout)?;
    if destination.shape() != whole {
        let have = destination.shape().to_vec();
        let fits = |&(layout, _): &(Layout, _)| batch_shape(tensors, layout).is_ok_and(|shape| shape == have);
        let others = [(Layout::Same, "SAME"), (Layout::Chw, "CHW"), (Layout::Hwc, "HWC")];
        let layout = others.into_iter().find(fits).map(|(_, name)| name);
        return Err(Error::Stack(Stack::Destination { have, need: whole, layout }));
    }
    if !device::is_host(destination.device()) {
        return Err(Error::NotHost { device: device::Name(destination.device()).to_string() });
    }
    destination.check_mutable("destination")?;
    let to = destination.addresses();
    for (index, tensor) in tensors.iter().enumerate() {
        let from = tensor.addresses();
        if from.0 < to.1 && to.0 < from.1 {
            return Err(of(index)(Error::Transfer(Transfer::Overlap { source: from, destination: to })));
        }
    }
    destination.settle(Access::Write)?;
    // SAFETY: promised by the caller, and checked.
    unsafe { batch.fill(destination) }
}

/// Names the array that an error is about.
fn of(index: usize) -> impl Fn(Error) -> Error {
    move |cause| Error::Stack(Stack::Array { index, cause: Box::new(cause) })
}

/// The dtype of the first, which all must have.
pub(crate) fn common_dtype(tensors: &[&Tensor]) -> Result<DLDataType> {
    let dtype = tensors.first().ok_or(Error::Stack(Stack::Empty))?.dtype();
    let name = |tensor: &Tensor| dtype::Name(tensor.dtype()).to_string();
    match tensors.iter().position(|tensor| tensor.dtype() != dtype) {
        None => Ok(dtype),
        Some(index) => {
            Err(Error::Stack(Stack::Dtypes { index, dtype: name(tensors[index]), first: name(tensors[0]) }))
        }
    }
}

/// The shape of the batch.
pub(crate) fn batch_shape(tensors: &[&Tensor], layout: Layout) -> Result<Vec<i64>> {
    let first = tensors.first().ok_or(Error::Stack(Stack::Empty))?;
    Ok([&[tensors.len() as i64], &shape(layout, first)?[..]].concat())
}

/// The shape that an array has in the batch.
fn shape(layout: Layout, tensor: &Tensor) -> Result<Vec<i64>> {
    Ok(turned(layout, tensor)?.shape().to_vec())
}

/// An array as the batch shows it.
fn turned(layout: Layout, tensor: &Tensor) -> Result<Tensor> {
    let refuse = || Error::Stack(Stack::NoPicture { shape: tensor.shape().to_vec() });
    match (layout, tensor.ndim()) {
        (Layout::Same, _) => Ok(tensor.clone()),
        (Layout::Chw, 2) => tensor.unsqueeze(0),
        (Layout::Hwc, 2) => tensor.unsqueeze(2),
        (Layout::Chw, 3) => tensor.permute(&[2, 0, 1]),
        (Layout::Hwc, 3) => tensor.permute(&[1, 2, 0]),
        _ => Err(refuse()),
    }
}

/// Arrays that can be stacked, turned as the batch has them.
struct Batch {
    arrays: Vec<Tensor>,
    casting: Casting,
    affine: Option<Affine>,
}

impl Batch {
    /// Refuses what can be refused before a value was looked at.
    fn new(tensors: &[&Tensor], shape: &[i64], dtype: DLDataType, options: StackOptions) -> Result<Batch> {
        let StackOptions { casting, layout, scale, bias } = options;
        let affine = match scale.is_empty() && bias.is_empty() {
            true => None,
            false => Some(Affine::new(scale, bias, layout, shape, dtype)?),
        };
        let prepare = |(index, tensor): (usize, &&Tensor)| {
            let check = || {
                if !device::is_host(tensor.device()) {
                    return Err(Error::NotHost { device: device::Name(tensor.device()).to_string() });
                }
                if tensor.shape() != tensors[0].shape() {
                    let [have, first] = [tensor, &tensors[0]].map(|tensor| tensor.shape().to_vec());
                    return Err(Error::Stack(Stack::Shape { have, first }));
                }
                if tensor.dtype() != dtype || affine.is_some() {
                    check_casting(tensor.dtype(), dtype, casting)?;
                } else if dtype::item_bytes(dtype).is_none() {
                    let dtype = dtype::Name(dtype).to_string();
                    return Err(Error::Transfer(Transfer::SubByte { dtype }));
                }
                tensor.settle(Access::Read)?;
                turned(layout, tensor)
            };
            check().map_err(of(index))
        };
        let arrays = tensors.iter().enumerate().map(prepare).collect::<Result<_>>()?;
        Ok(Batch { arrays, casting, affine })
    }

    /// Writes every array to its place.
    ///
    /// # Safety
    ///
    /// The destination has room for them, in memory that nobody else uses and no array shares; nobody writes to the arrays.
    unsafe fn fill(&self, destination: &Tensor) -> Result<()> {
        if destination.size() == 0 {
            return Ok(());
        }
        let same =
            self.affine.is_none() && self.arrays.iter().all(|array| array.dtype() == destination.dtype());
        // SAFETY: promised by the caller.
        let result = unsafe { if same { self.move_all(destination) } else { self.convert_all(destination) } };
        if result.is_err() {
            // SAFETY: as above.
            unsafe { spoil(destination) };
        }
        result
    }

    /// Writes arrays that are cast or scaled; the first that is refused is named.
    ///
    /// # Safety
    ///
    /// As for [`Batch::fill`].
    unsafe fn convert_all(&self, destination: &Tensor) -> Result<()> {
        let count = self.arrays.len();
        let failed: Mutex<Option<(usize, Error)>> = Mutex::new(None);
        let lock = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        let one = |index: usize| {
            if lock().as_ref().is_some_and(|&(first, _)| first < index) {
                return;
            }
            let place = destination.select(0, index as i64);
            // SAFETY: promised by the caller; the places share no memory.
            let done = place.and_then(|place| unsafe { self.place(&self.arrays[index], &place) });
            if let Err(error) = done {
                let mut first = lock();
                if first.as_ref().is_none_or(|&(first, _)| index < first) {
                    *first = Some((index, error));
                }
            }
        };
        // Where an array alone is worth several threads they share that; else they share the arrays.
        let groups = if chunks_for(destination.nbytes() / count) > 1 {
            1
        } else {
            chunks_for(destination.nbytes()).min(count)
        };
        let shared = for_each(groups, &|group| {
            (group * count / groups..(group + 1) * count / groups).for_each(&one);
        });
        let failure = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        shared.and(failure.map_or(Ok(()), |(index, error)| Err(of(index)(error))))
    }

    /// Writes arrays that stay as they are. Many are small and alike: how they move is found out once.
    ///
    /// # Safety
    ///
    /// As for [`Batch::fill`].
    unsafe fn move_all(&self, destination: &Tensor) -> Result<()> {
        let bytes = dtype::item_bytes(destination.dtype()).unwrap_or(1);
        let (count, all) = (self.arrays.len(), destination.nbytes());
        let step = destination.strides()[0] as isize * bytes as isize;
        let movement = |array: &Tensor| {
            Movement::new(array.shape(), array.strides(), &destination.strides()[1..], bytes, 1)
        };
        let usual = movement(&self.arrays[0]);
        let together = stream::weight(all, destination.device());
        let one = |index: usize| {
            let (array, place) = (&self.arrays[index], destination.data().cast::<u8>());
            let (from, to) = (array.data().cast(), place.wrapping_offset(index as isize * step));
            // SAFETY: promised by the caller: the place of this array; this machine has the level.
            unsafe {
                match array.strides() == self.arrays[0].strides() {
                    true => usual.carry_out_among(together, level(), from, to),
                    false => movement(array).carry_out_among(together, level(), from, to),
                }
            }
        };
        // Either an array alone is worth several threads, or all are together, or none.
        let alone = usual.chunks() > 1 || (usual.is_one_run() && all < SHARED_COPY);
        let groups = if alone { 1 } else { chunks_for(all).min(count) };
        let failed = Mutex::new(None);
        for_each(groups, &|group| {
            let done = (group * count / groups..(group + 1) * count / groups).try_for_each(&one);
            if let Err(error) = done {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        })?;
        failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// Writes an array to its place, cast or scaled.
    ///
    /// # Safety
    ///
    /// As for [`Batch::fill`].
    unsafe fn place(&self, array: &Tensor, place: &Tensor) -> Result<()> {
        // SAFETY: promised by the caller; this machine has the level.
        unsafe {
            if let Some(affine) = &self.affine {
                return affine.write(array, place, self.casting);
            }
            if array.dtype() != place.dtype() {
                let plain = affine::write_pixels(array, place, None);
                return plain.unwrap_or_else(|| cast_into(array, place, self.casting, None));
            }
            let bytes = dtype::item_bytes(array.dtype()).unwrap_or(1);
            let movement = Movement::new(array.shape(), array.strides(), place.strides(), bytes, 1);
            movement.carry_out(level(), array.data().cast(), place.data().cast(), place.device())
        }
    }
}
