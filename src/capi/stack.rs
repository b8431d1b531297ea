//! `dlb_stack`: N tensors become one batch.

use super::cast::read_casting;
use super::memory::check_size;
use super::status::{dlb_status, listed, required, status};
use super::tensor::{borrowed, dlb_tensor};
use crate::copy::{self, Layout, StackOptions};
use crate::error::{Error, Result, Stack};
use crate::tensor::Tensor;
use std::mem::ManuallyDrop;

/// The axes of the arrays stay as they are.
pub const DLB_LAYOUT_SAME: i32 = 0;
/// Height, width, channels become channels, height, width.
pub const DLB_LAYOUT_CHW: i32 = 1;
/// Channels, height, width become height, width, channels.
pub const DLB_LAYOUT_HWC: i32 = 2;

/// What `dlb_stack()` does on the way. Set `struct_size` to `sizeof(dlb_stack_options)` and the rest to zero first.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_stack_options {
    /// `sizeof(dlb_stack_options)`.
    pub struct_size: usize,
    /// What a cast may do to values, those before `scale` and `bias` and what comes of them: a constant `DLB_CASTING_*`.
    pub casting: i32,
    /// How the axes are turned: a constant `DLB_LAYOUT_*`. A picture of two axes has one channel.
    pub layout: i32,
    /// What values are multiplied by: `scale_count` numbers, borrowed.
    pub scale: *const f64,
    /// How many numbers `scale` has: 1 for all values, or one for each channel; 0 multiplies by nothing.
    pub scale_count: usize,
    /// What is added then: `bias_count` numbers, borrowed.
    pub bias: *const f64,
    /// How many numbers `bias` has, as of `scale`.
    pub bias_count: usize,
}

/// Writes `count` tensors of one shape to `destination`, one behind the other along its first axis; cast to its dtype,
/// turned to `layout` and as `x * scale + bias` on the way, in one pass over each.
///
/// The destination has the shape `{count, ...}` of the turned tensors, any strides, and memory that no tensor shares;
/// `dlb_tensor_empty()` makes it. `x * scale + bias` is reckoned in float64 where the destination is, else in float32, and
/// each step is rounded, so that all processors give the same bits; a step that overflows gives an infinity, and what is
/// finite then is cast as `casting` says. The channels are the last axis, with `DLB_LAYOUT_CHW` the first.
/// From 512 KiB on several threads share the work.
///
/// All are borrowed; `options` may be NULL. Everything is checked before anything is written, and the message names the
/// tensor that was refused by its index. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL, no tensors, shapes that differ, a
/// destination of another shape, an unknown constant, dtypes that are not cast like this, as many numbers as there are
/// neither channels nor one, scale or bias to a dtype that is no real floating-point number, one that is finite and beyond
/// float32 where that is reckoned in), `DLB_ERROR_UNSUPPORTED` (memory that the host cannot read, dtypes that are never
/// cast, sub-byte elements, memory that is shared, a destination whose indices may share elements), `DLB_ERROR_READ_ONLY`,
/// and with `DLB_ERROR_LOSSY` where a value is refused: then all of the destination is set to one value that nobody takes
/// for a result (NaN, the smallest of the signed integers, the largest of the unsigned ones, true). Waits for asynchronous copies. Thread-safe; nobody else may touch the destination or write
/// to the tensors meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stack(
    tensors: *const *const dlb_tensor,
    count: usize,
    destination: *mut dlb_tensor,
    options: *const dlb_stack_options,
) -> dlb_status {
    status(|| {
        required(destination, "destination")?;
        // SAFETY: the caller gives NULL or `count` tensors, NULL or a struct, each alive for this call.
        unsafe {
            let tensors = read_tensors(tensors, count)?;
            let tensors: Vec<&Tensor> = tensors.iter().map(|tensor| &**tensor).collect();
            copy::stack_into(&tensors, &*borrowed(destination)?, read_options(options)?)
        }
    })
}

/// # Safety
///
/// `tensors` is NULL or leads to `count` pointers, each NULL or a tensor that is alive for the call.
unsafe fn read_tensors(tensors: *const *const dlb_tensor, count: usize) -> Result<Vec<ManuallyDrop<Tensor>>> {
    if count == 0 {
        return Err(Error::Stack(Stack::Empty));
    }
    required(tensors, "tensors")?;
    let read = |index| {
        // SAFETY: promised by the caller.
        let tensor = unsafe { borrowed(tensors.add(index).read()) };
        tensor.map_err(|cause| Error::Stack(Stack::Array { index, cause: Box::new(cause) }))
    };
    (0..count).map(read).collect()
}

/// # Safety
///
/// `options` is NULL or begins with its size, and its lists are there for `'a`.
unsafe fn read_options<'a>(options: *const dlb_stack_options) -> Result<StackOptions<'a>> {
    if options.is_null() {
        return Ok(StackOptions::default());
    }
    // SAFETY: promised by the caller.
    let given = unsafe { *check_size(options, "dlb_stack_options")? };
    // SAFETY: promised by the caller.
    let list = |values, count, what| unsafe { listed(values, count, what) };
    let layout = match given.layout {
        DLB_LAYOUT_SAME => Layout::Same,
        DLB_LAYOUT_CHW => Layout::Chw,
        DLB_LAYOUT_HWC => Layout::Hwc,
        other => return Err(Error::Stack(Stack::UnknownLayout { given: other.to_string() })),
    };
    Ok(StackOptions {
        casting: read_casting(given.casting)?,
        layout,
        scale: list(given.scale, given.scale_count, "scale")?,
        bias: list(given.bias, given.bias_count, "bias")?,
    })
}
