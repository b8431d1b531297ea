//! Copies between tensors: what is refused, what is made of an overlap, and a report of what was done.

use super::level::level;
use super::movement::{Kernel, Movement};
use super::threads::num_threads;
use crate::dlpack::{DLDataType, DLDataTypeCode};
use crate::error::{Error, Result, Transfer};
use crate::tensor::{Access, MAX_NDIM, Tensor, device, dtype, is_row_major};
use std::ffi::CStr;

/// How elements are copied. `Options::default()` as they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// Puts the bytes of every element (of a complex one: of each part; of lanes: of each) in the other order.
    pub swap_bytes: bool,
}

/// The order in which a new tensor has the elements, as in NumPy.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// Row-major, the last dimension packed.
    #[default]
    C,
    /// Column-major, the first dimension packed.
    F,
    /// Column-major where the source is and row-major where not.
    A,
    /// As near to the source as is possible without gaps.
    K,
    /// The same as torch's `clone()` has it: a dimension that repeats elements, of stride 0, stays where it is.
    Torch,
}

/// What a copy or a cast does, or did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// What moves the elements.
    pub(super) kernel: &'static CStr,
    /// Bytes that are written to the destination.
    pub bytes: usize,
    /// How often the elements are moved: 2 where they go through a temporary, 0 where there is nothing to do.
    pub passes: usize,
    /// How many threads share the work at most.
    pub threads: usize,
    /// Bytes of the temporary that source and destination need where they share memory, else 0.
    pub temporary: usize,
}

impl Report {
    /// What moves the elements: "contiguous", "transposed", "split channels", "merged channels", "stepped", "repeated",
    /// "reversed", "shuffled", "byte-swapped", "packed bits" or "nothing"; "cast" of [`plan_cast`](super::plan_cast).
    pub fn kernel(&self) -> &'static str {
        self.kernel.to_str().unwrap_or_default()
    }

    /// The same for C.
    pub(crate) fn kernel_c(&self) -> &'static CStr {
        self.kernel
    }
}

/// What is to be done, and how.
struct Plan {
    movement: Movement,
    how: How,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// From one to the other.
    Apart,
    /// One run, onto memory that it shares: from whichever end is safe. It begins where the nest does, which for axes
    /// that go backward on both sides is not where indices are 0.
    Along,
    /// Through a temporary.
    Temporary,
}

impl Plan {
    fn new(source: &Tensor, destination: &Tensor, options: Options) -> Result<Plan> {
        check(source, destination)?;
        let mut movement = movement(source, destination.strides(), options)?;
        let (from, to) = (source.addresses(), destination.addresses());
        let mut how = How::Apart;
        if from.0 < to.1 && to.0 < from.1 {
            if source.data() == destination.data()
                && source.strides() == destination.strides()
                && !options.swap_bytes
            {
                // Onto itself.
                movement.kernel = Kernel::Nothing;
            }
            how = if movement.is_one_run() { How::Along } else { How::Temporary };
        }
        Ok(Plan { movement, how })
    }

    fn report(&self) -> Report {
        let bytes = self.movement.bytes();
        let (passes, temporary) = match (self.movement.kernel, self.how) {
            (Kernel::Nothing, _) => (0, 0),
            (_, How::Temporary) => (2, bytes),
            _ => (1, 0),
        };
        let chunks = if self.how == How::Along { 1 } else { self.movement.chunks() };
        let kernel = self.movement.kernel.name();
        Report { kernel, bytes, passes, threads: chunks.min(num_threads()), temporary }
    }
}

/// What [`copy`] would do. Nothing is moved.
pub fn plan(source: &Tensor, destination: &Tensor, options: Options) -> Result<Report> {
    Ok(Plan::new(source, destination, options)?.report())
}

/// What [`new`] would do. Nothing is allocated or moved.
pub fn plan_new(source: &Tensor, order: Order, options: Options) -> Result<Report> {
    check_host("source", source)?;
    check_packed(source)?;
    let mut strides = [0; MAX_NDIM];
    let strides = &mut strides[..source.ndim()];
    let (mut step, axes) = (1, nested(source, order));
    for &axis in axes[..source.ndim()].iter().rev() {
        strides[axis as usize] = step;
        step *= source.shape()[axis as usize];
    }
    let movement = movement(source, strides, options)?;
    Ok(Plan { movement, how: How::Apart }.report())
}

/// Copies the elements of `source` to where `destination`, of the same shape and dtype, has those of the same indices.
///
/// Strides may be anything; those of the destination must not let indices share an element. Where both share memory the
/// elements go through a temporary, unless they are one run: the destination is what it would be if they did not. Waits
/// for asynchronous copies into either, and out of the destination. From 512 KiB on (1 MiB where both sides are packed), [`num_threads`] share the work.
///
/// ```
/// use dlbridge::{Tensor, copy};
///
/// let source = Tensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0, 5.0, 6.0], &[2, 3])?;
/// let mut turned = Tensor::empty(&[3, 2], source.dtype())?;
/// // SAFETY: nobody else has either of them.
/// let report = unsafe { copy::copy(&source.permute(&[1, 0])?, &turned, copy::Options::default()) }?;
/// assert_eq!((report.bytes, report.passes), (24, 1));
/// # Ok::<(), dlbridge::Error>(())
/// ```
///
/// # Safety
///
/// The memory is what the tensors say, and every element of `source` has a value, as one of [`Tensor::empty`] has not before
/// it was written. Meanwhile nobody writes the memory of `source`, and nobody reads or writes that of `destination`.
pub unsafe fn copy(source: &Tensor, destination: &Tensor, options: Options) -> Result<Report> {
    let plan = Plan::new(source, destination, options)?;
    source.settle(Access::Read)?;
    destination.settle(Access::Write)?;
    let report = plan.report();
    let (from, to) = (source.data().cast::<u8>().cast_const(), destination.data().cast::<u8>());
    if plan.movement.kernel == Kernel::Nothing {
        return Ok(report);
    }
    // SAFETY: checked above, and promised by the caller.
    unsafe {
        match plan.how {
            How::Apart => plan.movement.carry_out(level(), from, to, destination.device())?,
            How::Along => {
                let [from, to] = plan.movement.nest.begin([from.cast_mut(), to]);
                std::ptr::copy(from, to, report.bytes);
            }
            How::Temporary => {
                let between = new(source, Order::K)?;
                movement(&between, destination.strides(), options)?.carry_out(
                    level(),
                    between.data().cast(),
                    to,
                    destination.device(),
                )?;
            }
        }
    }
    Ok(report)
}

/// A tensor of its own with the elements of `source`, in memory like that of [`Tensor::empty`].
///
/// ```
/// use dlbridge::{Tensor, copy::{self, Order}};
///
/// let source = Tensor::from_vec(vec![1_i16, 2, 3, 4, 5, 6], &[2, 3])?;
/// // SAFETY: nobody writes it meanwhile.
/// let mut packed = unsafe { copy::new(&source.permute(&[1, 0])?, Order::C) }?;
/// assert_eq!((packed.shape(), packed.strides(), packed.is_copied()), (&[3, 2][..], &[2, 1][..], true));
/// assert_eq!(packed.get_mut::<i16>()?, [1, 4, 2, 5, 3, 6]); // nobody else has it
/// # Ok::<(), dlbridge::Error>(())
/// ```
///
/// # Safety
///
/// The memory is what the tensor says, and every element of it has a value, as one of [`Tensor::empty`] has not before it was
/// written: the result is lent as a slice. Meanwhile nobody writes to it.
pub unsafe fn new(source: &Tensor, order: Order) -> Result<Tensor> {
    // SAFETY: promised by the caller.
    unsafe { new_with(source, order, Options::default()) }.map(|(tensor, _)| tensor)
}

/// [`new`] with options, and what it did.
///
/// # Safety
///
/// As for [`new`].
pub unsafe fn new_with(source: &Tensor, order: Order, options: Options) -> Result<(Tensor, Report)> {
    check_host("source", source)?;
    let destination = empty_in(source, source.dtype(), order)?;
    // SAFETY: promised by the caller for the source; nobody else has the destination.
    let report = unsafe { copy(source, &destination, options) }?;
    // SAFETY: written just now, and nobody else has it.
    Ok((unsafe { destination.written() }, report))
}

/// A new tensor like `source`, but of this dtype, whose dimensions are nested in this order.
pub(super) fn empty_in(source: &Tensor, dtype: DLDataType, order: Order) -> Result<Tensor> {
    let (ndim, axes) = (source.ndim(), nested(source, order));
    if axes[..ndim].is_sorted() {
        return Tensor::empty_copied(source.shape(), dtype);
    }
    let (mut shape, mut back) = ([0; MAX_NDIM], [0; MAX_NDIM]);
    for (place, &axis) in axes[..ndim].iter().enumerate() {
        shape[place] = source.shape()[axis as usize];
        back[axis as usize] = place as i64;
    }
    Tensor::empty_copied(&shape[..ndim], dtype)?.permute(&back[..ndim])
}

/// The dimensions of a new tensor like `source`, outermost first.
fn nested(source: &Tensor, order: Order) -> [i64; MAX_NDIM] {
    let mut axes: [i64; MAX_NDIM] = std::array::from_fn(|axis| axis as i64);
    let own = &mut axes[..source.ndim()];
    let reversed = match order {
        Order::C => false,
        Order::F => true,
        Order::A => source.is_column_major() && !source.is_row_major(),
        Order::K => {
            own.sort_by_key(|&axis| std::cmp::Reverse(source.strides()[axis as usize].unsigned_abs()));
            false
        }
        Order::Torch => {
            sort_as_torch(own, source);
            false
        }
    };
    // Elements that do not fill bytes have one order.
    match dtype::item_bytes(source.dtype()) {
        None => own.sort(),
        Some(_) if reversed => own.reverse(),
        Some(_) => {}
    }
    axes
}

/// Sorts dimensions, outermost first, by their strides as torch does: from the innermost on, each moves in past those of
/// larger strides, or of the same and larger extents, over what repeats elements, up to one of a smaller stride.
fn sort_as_torch(axes: &mut [i64], source: &Tensor) {
    let of = |axis: i64| (source.strides()[axis as usize].unsigned_abs(), source.shape()[axis as usize]);
    for start in (0..axes.len()).rev() {
        let mut place = start;
        for inner in start + 1..axes.len() {
            let ((stride, extent), (other, other_extent)) = (of(axes[place]), of(axes[inner]));
            if stride == 0 || other == 0 {
                continue;
            }
            if (other, other_extent) > (stride, extent) {
                axes.swap(place, inner);
                place = inner;
            } else if other < stride {
                break;
            }
        }
    }
}

/// The movement to a tensor with these strides; [`check`] has passed both.
fn movement(source: &Tensor, destination: &[i64], options: Options) -> Result<Movement> {
    let dtype = source.dtype();
    let Some(bytes) = dtype::item_bytes(dtype) else {
        return Ok(Movement::of_bits(source.size() * dtype::item_bits(dtype) as usize));
    };
    let mut lane = 1;
    // What is copied most often, and must cost the least.
    if !options.swap_bytes
        && is_row_major(source.shape(), source.strides())
        && is_row_major(source.shape(), destination)
        && let Some(run) = Movement::of_run(source.nbytes())
    {
        return Ok(run);
    }
    if options.swap_bytes {
        let parts = if dtype.code == DLDataTypeCode::COMPLEX { 2 } else { 1 };
        lane = dtype.bits as usize / 8 / parts;
        if !(lane.is_power_of_two() && lane <= 16) {
            let dtype = dtype::Name(dtype).to_string();
            return Err(Error::Transfer(Transfer::SwapBytes { dtype }));
        }
    }
    Ok(Movement::new(source.shape(), source.strides(), destination, bytes, lane))
}

/// Moves the elements between tensors that [`check`] has passed.
///
/// # Safety
///
/// They share no memory, and nobody else accesses them.
pub(crate) unsafe fn carry_out(source: &Tensor, destination: &Tensor) -> Result<()> {
    let movement = movement(source, destination.strides(), Options::default())?;
    let (from, to) = (source.data().cast(), destination.data().cast());
    // SAFETY: promised by the caller, for layouts that were checked.
    unsafe { movement.carry_out(level(), from, to, destination.device()) }
}

/// Refuses what cannot be copied on the host.
fn check(source: &Tensor, destination: &Tensor) -> Result<()> {
    check_host("source", source)?;
    check_host("destination", destination)?;
    check_match(source, destination)
}

/// Refuses tensors that do not fit each other, wherever they are.
pub(crate) fn check_match(source: &Tensor, destination: &Tensor) -> Result<()> {
    let refuse = |transfer| Err(Error::Transfer(transfer));
    if source.shape() != destination.shape() {
        return Err(shapes_differ(source, destination));
    }
    let dtype = source.dtype();
    if dtype != destination.dtype() {
        let [source, destination] =
            [source, destination].map(|tensor| dtype::Name(tensor.dtype()).to_string());
        return refuse(Transfer::Dtypes { source, destination });
    }
    destination.check_mutable("destination")?;
    check_packed(source)?;
    check_packed(destination)
}

pub(super) fn shapes_differ(source: &Tensor, destination: &Tensor) -> Error {
    let expands = source.expand(destination.shape()).is_ok();
    let [source, destination] = [source, destination].map(|tensor| tensor.shape().to_vec());
    Error::Transfer(Transfer::Shapes { source, destination, expands })
}

/// Refuses elements that do not fill bytes, where they are not packed.
fn check_packed(tensor: &Tensor) -> Result<()> {
    let dtype = tensor.dtype();
    if dtype::item_bytes(dtype).is_some() || tensor.is_row_major() {
        return Ok(());
    }
    Err(Error::Transfer(Transfer::SubByte { dtype: dtype::Name(dtype).to_string() }))
}

/// Refuses memory that the host cannot reach.
pub(super) fn check_host(what: &'static str, tensor: &Tensor) -> Result<()> {
    if device::is_host(tensor.device()) {
        return Ok(());
    }
    let device = device::Name(tensor.device()).to_string();
    Err(Error::Transfer(Transfer::NotHost { what, device }))
}

#[cfg(test)]
mod tests;
