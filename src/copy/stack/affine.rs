//! `x * scale + bias` of arrays on the way into the batch, a block at a time: read into float32 or float64, multiplied,
//! rounded, added, rounded, and written as what the batch holds.

use super::pixels::{self, Pixels};
use super::{Layout, pixels::Affine as Channels};
use crate::copy::cast::{Buffers, Casting, Notes, Recipe, Scalar, ScalarKind};
use crate::copy::level::{level, per_level};
use crate::copy::plan::{Nest, Operand, nest};
use crate::copy::rows::{FEW, Rows, SHORT};
use crate::copy::threads::{chunks_for, for_each};
use crate::dlpack::DLDataType;
use crate::error::{Error, Result, Stack};
use crate::tensor::{Tensor, dtype};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// Elements of a block.
const BLOCK: usize = 512;

/// The least number that float32 rounds to infinity, however the thread of the caller rounds: half a step, 2 to the 103,
/// above the largest.
const BEYOND: f64 = f32::MAX as f64 + (1_u128 << 103) as f64;

/// A scale and a bias for each channel.
pub(super) struct Affine {
    scale: Vec<f64>,
    bias: Vec<f64>,
    /// Which axis of an array in the batch the channels are.
    axis: usize,
    target: Scalar,
}

impl Affine {
    pub fn new(
        scale: &[f64],
        bias: &[f64],
        layout: Layout,
        shape: &[i64],
        dtype: DLDataType,
    ) -> Result<Self> {
        let name = || dtype::Name(dtype).to_string();
        let target = Scalar::of(dtype).filter(|scalar| scalar.kind() == ScalarKind::Float);
        let target = target.ok_or_else(|| Error::Stack(Stack::NoFloat { dtype: name() }))?;
        let axis = if layout == Layout::Chw { 0 } else { shape.len().saturating_sub(1) };
        let channels = shape.get(axis).map_or(1, |&extent| extent as usize);
        let spread = |what, values: &[f64], default: f64| match values {
            [] => Ok(vec![default; channels]),
            [one] => Ok(vec![*one; channels]),
            values if values.len() == channels => Ok(values.to_vec()),
            values => Err(Error::Stack(Stack::Channels { what, given: values.len(), channels })),
        };
        let (scale, bias) = (spread("scale", scale, 1.0)?, spread("bias", bias, -0.0)?);
        if target != Scalar::F64 {
            let beyond = |value: &&f64| value.is_finite() && value.abs() >= BEYOND;
            for (what, values) in [("scale", &scale), ("bias", &bias)] {
                if let Some(value) = values.iter().find(beyond) {
                    return Err(Error::Stack(Stack::Beyond { what, value: format!("{value:?}") }));
                }
            }
        }
        Ok(Affine { scale, bias, axis, target })
    }

    /// Writes an array to its place.
    ///
    /// # Safety
    ///
    /// Both have the same shape, in memory that is there; nobody writes to the array, and the place is nobody else's.
    pub unsafe fn write(&self, array: &Tensor, place: &Tensor, casting: Casting) -> Result<()> {
        // SAFETY: promised by the caller.
        unsafe {
            let planes = if self.axis == 0 { write_pixels(array, place, Some(self)) } else { None };
            if let Some(done) = planes {
                return done;
            }
            match self.target {
                Scalar::F64 => self.write_in::<f64>(array, place, casting),
                _ => self.write_in::<f32>(array, place, casting),
            }
        }
    }

    /// # Safety
    ///
    /// As for [`Affine::write`].
    unsafe fn write_in<F: Float>(&self, array: &Tensor, place: &Tensor, casting: Casting) -> Result<()> {
        let unknown = || Error::Stack(Stack::NoFloat { dtype: dtype::Name(array.dtype()).to_string() });
        let source = Scalar::of(array.dtype()).ok_or_else(unknown)?;
        let saturate = casting == Casting::Saturate;
        let (read, write) = match casting {
            Casting::SameValue => (Notes::Changes, Notes::Misfits),
            Casting::SameKind => (Notes::Misfits, Notes::Misfits),
            Casting::Unsafe | Casting::Saturate => (Notes::Nothing, Notes::Nothing),
        };
        let work = Work::<F> {
            source,
            read: Recipe::new(level(), source, F::SCALAR, saturate, read),
            write: Recipe::new(level(), F::SCALAR, self.target, saturate, write),
            scale: self.scale.iter().map(|&value| F::of(value)).collect(),
            bias: self.bias.iter().map(|&value| F::of(value)).collect(),
        };
        let channel: Vec<i64> = (0..array.ndim()).map(|axis| i64::from(axis == self.axis)).collect();
        let nest = nest(
            array.shape(),
            [
                Operand { strides: array.strides(), item: source.bytes() },
                // Its address is the number of the channel.
                Operand { strides: &channel, item: 1 },
                Operand { strides: place.strides(), item: self.target.bytes() },
            ],
        );
        let bases = Bases([array.data().cast(), std::ptr::null_mut(), place.data().cast()]);
        let chunks = chunks_for(place.nbytes());
        let lost = AtomicBool::new(false);
        for_each(chunks, &|index| {
            // SAFETY: promised by the caller; the parts of the place are disjoint.
            if unsafe { work.part(&nest.part(index, chunks), bases.get()) } {
                lost.store(true, Ordering::Relaxed);
            }
        })?;
        if !lost.into_inner() {
            return Ok(());
        }
        let [from, to] = [array, place].map(|tensor| dtype::Name(tensor.dtype()).to_string());
        Err(Error::Stack(Stack::Values { from, to, casting: casting.name() }))
    }
}

/// Writes pixels of uint8 as planes of float32; `None` where the arrays are not that.
///
/// # Safety
///
/// As for [`Affine::write`]; the channels of `affine` are the first axis.
pub(super) unsafe fn write_pixels(
    array: &Tensor,
    place: &Tensor,
    affine: Option<&Affine>,
) -> Option<Result<()>> {
    let planes = array.dtype() == dtype::U8 && place.dtype() == dtype::F32 && array.ndim() == 3;
    // SAFETY: promised by the caller.
    unsafe {
        match array.shape().first() {
            Some(1) if planes => write_channels::<1, 1>(array, place, affine),
            Some(2) if planes => write_channels::<2, 2>(array, place, affine),
            Some(3) if planes => (write_channels::<3, 3>(array, place, affine))
                .or_else(|| write_channels::<3, 4>(array, place, affine)),
            Some(4) if planes => write_channels::<4, 4>(array, place, affine),
            _ => None,
        }
    }
}

/// # Safety
///
/// As for [`write_pixels`]; there are `C` channels.
unsafe fn write_channels<const C: usize, const P: usize>(
    array: &Tensor,
    place: &Tensor,
    affine: Option<&Affine>,
) -> Option<Result<()>> {
    let operand = |strides, item| Operand { strides, item };
    let (from, to) = (array.strides(), place.strides());
    let nest = nest(&array.shape()[1..], [operand(&from[1..], 1), operand(&to[1..], 4)]);
    // BGR to RGB: the last channel is the first in memory.
    let backwards = C != 1 && from[0] == -1;
    let side_by_side = C == 1 || from[0].abs() == 1;
    if !side_by_side || (!nest.axes.is_empty() && nest.inner().steps != [P as isize, 4]) {
        return None;
    }
    let channel = |place: usize| if backwards { C - 1 - place } else { place };
    let numbers = |values: fn(&Affine) -> &[f64], default: f32| {
        std::array::from_fn(|place| affine.map_or(default, |affine| values(affine)[channel(place)] as f32))
    };
    let channels =
        Channels { scale: numbers(|affine| &affine.scale, 1.0), bias: numbers(|affine| &affine.bias, -0.0) };
    let first = array.data().cast::<u8>().wrapping_sub(if backwards { C - 1 } else { 0 });
    let bases = Bases([first, place.data().cast()]);
    let chunks = chunks_for(place.nbytes());
    Some(for_each(chunks, &|index| {
        let part = nest.part(index, chunks);
        let count = part.inner().extent;
        part.rows(bases.get(), &mut |[from, first]| {
            let plane =
                |place: usize| first.cast::<f32>().wrapping_offset(channel(place) as isize * to[0] as isize);
            let pixels = Pixels { from, planes: std::array::from_fn(plane), count };
            // SAFETY: promised by the caller; this machine has the level.
            unsafe { pixels::split::<C, P>(level(), pixels, channels) }
        });
    }))
}

/// What values are reckoned in.
pub(super) trait Float:
    Copy + std::ops::Mul<Output = Self> + std::ops::Add<Output = Self> + Send + Sync
{
    const SCALAR: Scalar;
    fn of(value: f64) -> Self;
}

impl Float for f32 {
    const SCALAR: Scalar = Scalar::F32;
    fn of(value: f64) -> Self {
        value as f32
    }
}

impl Float for f64 {
    const SCALAR: Scalar = Scalar::F64;
    fn of(value: f64) -> Self {
        value
    }
}

/// An array on its way.
struct Work<F> {
    source: Scalar,
    read: Recipe,
    write: Recipe,
    scale: Vec<F>,
    bias: Vec<F>,
}

/// A block of values and the numbers for them, where cache lines begin: registers of 64 bytes that cross from one line to the
/// next take longer.
#[repr(C, align(64))]
struct Room<F> {
    values: MaybeUninit<[F; BLOCK]>,
    /// Scale and bias of each value.
    pattern: [[F; BLOCK]; 2],
}

impl<F: Float> Work<F> {
    /// Writes a part; whether it lost what it must not. The operands are the array, the number of the channel, the place.
    ///
    /// # Safety
    ///
    /// As for [`Affine::write`].
    unsafe fn part(&self, nest: &Nest<3>, bases: [*mut u8; 3]) -> bool {
        let mut nest = nest.clone();
        let mut inner = nest.take_inner();
        let (row, taken) = (inner.extent, self.source.bytes());
        // In how many elements the channels come again.
        let period = if inner.steps[1] == 0 { 1 } else { row };
        let mut short = None;
        // Pixels side by side, or that can be put there: one row.
        if let Some(outer) = nest.axes.last().copied() {
            let goes_on = [0, 2].map(|operand| outer.steps[operand] == inner.steps[operand] * row as isize);
            let worth = goes_on[0] || (row <= SHORT && outer.extent >= 2 * FEW);
            if outer.steps[1] == 0 && goes_on[1] && row <= BLOCK && worth {
                if !goes_on[0] {
                    let [rows, row] = [outer, inner].map(|axis| (axis.extent, axis.steps[0]));
                    short = Some(Rows::new(&[rows, row], taken, (BLOCK / row.0).min(rows.0)));
                    inner.steps[0] = taken as isize;
                }
                nest.take_inner();
                inner.extent *= outer.extent;
            }
        }
        let whole = if short.is_some() { row } else { period };
        let block = if whole <= BLOCK { BLOCK / whole * whole } else { BLOCK };
        let (mut buffers, mut lost) = (Buffers::new(), false);
        let mut beside = MaybeUninit::<[u128; BLOCK]>::uninit();
        let beside = beside.as_mut_ptr().cast::<u8>();
        let mut room = Room { values: MaybeUninit::uninit(), pattern: [[F::of(0.0); BLOCK]; 2] };
        let Room { values, pattern: [scale, bias] } = &mut room;
        // The channel that the pattern begins with.
        let mut begins = None;
        nest.each(bases, &mut |[from, channel, to]| {
            let mut done = 0;
            while done < inner.extent {
                let count = block.min(inner.extent - done);
                if begins != Some(channel) || period > BLOCK {
                    for index in 0..block.min(inner.extent) {
                        let step = (done + index) % period;
                        let channel = channel.wrapping_offset(step as isize * inner.steps[1]) as usize;
                        (scale[index], bias[index]) = (self.scale[channel], self.bias[channel]);
                    }
                    begins = Some(channel);
                }
                let offset = |operand: usize| done as isize * inner.steps[operand];
                let (mut from_here, to) = (from.wrapping_offset(offset(0)), to.wrapping_offset(offset(2)));
                let middle = values.as_mut_ptr().cast::<u8>();
                let width = size_of::<F>() as isize;
                // SAFETY: promised by the caller; a block of values fits between the two and beside them, and the pattern is
                // as long.
                unsafe {
                    if let Some(rows) = &short {
                        rows.gather(level(), from, done / row, count / row, beside);
                        from_here = beside;
                    }
                    lost |=
                        self.read.block([from_here, middle], [inner.steps[0], width], count, &mut buffers);
                    scale_row::<F>(level(), middle.cast(), scale.as_ptr(), bias.as_ptr(), count);
                    lost |= self.write.block([middle, to], [width, inner.steps[2]], count, &mut buffers);
                }
                done += count;
            }
        });
        lost
    }
}

per_level! {
    /// Multiplies each value, then adds.
    pub(super) unsafe fn scale_row[F: Float](values: *mut F, scale: *const F, bias: *const F, count: usize) = scale_body;
}

/// # Safety
///
/// All three have so many values.
#[inline(always)]
unsafe fn scale_body<F: Float>(values: *mut F, scale: *const F, bias: *const F, count: usize) {
    for index in 0..count {
        // SAFETY: promised by the caller.
        unsafe {
            let product = values.add(index).read() * scale.add(index).read();
            values.add(index).write(product + bias.add(index).read());
        }
    }
}

/// Addresses that threads share.
struct Bases<const N: usize>([*mut u8; N]);

// SAFETY: the caller of `stack` promised that nobody else uses the memory, and the threads use parts of their own.
unsafe impl<const N: usize> Sync for Bases<N> {}

impl<const N: usize> Bases<N> {
    fn get(&self) -> [*mut u8; N] {
        self.0
    }
}
