//! Views: other descriptions of the same buffer, which share its owner. Nothing here touches an element.

use super::draft::{Draft, Place};
use super::{MAX_NDIM, Tensor, device, dtype, layout};
use crate::dlpack::{DLDataType, DLDevice};
use crate::error::{Error, Result};
use dlpark::DlpackFlags;

impl Tensor {
    /// `tensor[..., start:stop:step, ...]` along one axis, with Python's rules: negative positions count from the
    /// end, positions outside are clamped, `None` means from or to the very end, the step may be negative.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let line = Tensor::from_vec(vec![0_i32, 1, 2, 3, 4], &[5])?;
    /// let odd_backwards = line.slice(0, Some(-2), None, -2)?; // line[-2::-2]
    /// assert_eq!((odd_backwards.shape(), odd_backwards.strides()), (&[2][..], &[-2][..]));
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn slice(&self, axis: i64, start: Option<i64>, stop: Option<i64>, step: i64) -> Result<Tensor> {
        let axis = self.axis(axis)?;
        let (first, count) = slice_bounds(self.shape()[axis], start, stop, step)?;
        let mut draft = Draft::new(self.shape(), Some(self.strides()))?;
        let (shape, strides) = draft.parts();
        // Two elements or more lie inside the buffer, so these products fit; with fewer the step is never taken.
        // (One does not: -1 along i64::MIN, of packed bits. It saturates, and is refused as too large.)
        let stride = if count > 1 { strides[axis].saturating_mul(step) } else { strides[axis] };
        let skip = if count > 0 { first * self.step(axis) } else { 0 };
        (shape[axis], strides[axis]) = (count, stride);
        draft.finish_view(self.place_at(skip)?, self.root())
    }

    /// `tensor[..., index, ...]`: one position of an axis, which disappears. A negative index counts from the end.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let image = Tensor::from_vec(vec![0_u8; 480 * 640 * 3], &[480, 640, 3])?;
    /// assert_eq!(image.select(2, -1)?.shape(), [480, 640]); // the last channel
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn select(&self, axis: i64, index: i64) -> Result<Tensor> {
        let axis = self.axis(axis)?;
        let extent = self.shape()[axis];
        let position = if index < 0 { index.checked_add(extent) } else { Some(index) };
        let position = position.filter(|position| (0..extent).contains(position));
        let position = position.ok_or(Error::IndexOutOfRange { axis, index, extent })?;
        let skip = position * self.step(axis);
        let keep = (0..self.ndim()).filter(|&kept| kept != axis);
        self.rearranged(self.ndim() - 1, keep.map(|kept| (self.shape()[kept], self.strides()[kept])), skip)
    }

    /// The axes in another order: axis `i` of the result is axis `axes[i]` of this tensor.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let image = Tensor::from_vec(vec![0_u8; 480 * 640 * 3], &[480, 640, 3])?;
    /// let channels_first = image.permute(&[2, 0, 1])?;
    /// assert_eq!((channels_first.shape(), channels_first.strides()), (&[3, 480, 640][..], &[1, 1920, 3][..]));
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn permute(&self, axes: &[i64]) -> Result<Tensor> {
        let ndim = self.ndim();
        if axes.len() != ndim {
            return Err(Error::AxisCount { count: axes.len(), ndim });
        }
        let refuse = || Error::NotAPermutation { axes: axes.to_vec(), ndim };
        let mut seen = [false; MAX_NDIM];
        for &axis in axes {
            let axis = self.axis(axis).map_err(|_| refuse())?;
            if std::mem::replace(&mut seen[axis], true) {
                return Err(refuse());
            }
        }
        let axes = axes.iter().map(|&axis| if axis < 0 { axis + ndim as i64 } else { axis } as usize);
        self.rearranged(ndim, axes.map(|axis| (self.shape()[axis], self.strides()[axis])), 0)
    }

    /// Broadcasts to `target`: dimensions of size 1 grow with stride 0, missing ones appear in front.
    ///
    /// Where a dimension grows, several indices share one element, so the result is read-only, as NumPy's is.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let row = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?;
    /// let rows = row.expand(&[1000, 3])?;
    /// assert_eq!((rows.strides(), rows.is_read_only()), (&[0, 1][..], true));
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn expand(&self, target: &[i64]) -> Result<Tensor> {
        let refuse = || Error::NotExpandable { shape: self.shape().to_vec(), target: target.to_vec() };
        check_ndim(target.len())?;
        let missing = target.len().checked_sub(self.ndim()).ok_or_else(refuse)?;
        let mut draft = Draft::zeroed(target.len())?;
        let (shape, strides) = draft.parts();
        shape.copy_from_slice(target);
        let mut place = self.place_at(0)?;
        for (axis, &extent) in shape.iter().enumerate() {
            let own = axis.checked_sub(missing).map(|own| (self.shape()[own], self.strides()[own]));
            strides[axis] = match own {
                Some((own, stride)) if own == extent => stride,
                None | Some((1, _)) if extent >= 0 => {
                    if extent > 1 {
                        place.flags |= DlpackFlags::READ_ONLY;
                    }
                    0
                }
                _ => return Err(refuse()),
            };
        }
        draft.finish_view(place, self.root())
    }

    /// Removes an axis of size 1.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let batch = Tensor::from_vec(vec![1_i32, 2, 3], &[1, 3])?;
    /// assert_eq!(batch.squeeze(0)?.shape(), [3]);
    /// assert!(batch.squeeze(1).is_err());
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn squeeze(&self, axis: i64) -> Result<Tensor> {
        let axis = self.axis(axis)?;
        match self.shape()[axis] {
            1 => self.select(axis as i64, 0),
            extent => Err(Error::NotSqueezable { axis, extent }),
        }
    }

    /// Inserts an axis of size 1 at position `axis` of the result; a negative one counts from the result's end.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let line = Tensor::from_vec(vec![1_i32, 2, 3], &[3])?;
    /// assert_eq!(line.unsqueeze(0)?.shape(), [1, 3]);
    /// assert_eq!(line.unsqueeze(-1)?.shape(), [3, 1]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn unsqueeze(&self, axis: i64) -> Result<Tensor> {
        let ndim = self.ndim() + 1;
        check_ndim(ndim)?;
        let axis = resolve(axis, ndim)?;
        let stride = self.strides().get(axis).map_or(1, |stride| stride.saturating_mul(self.shape()[axis]));
        let before = (0..axis).map(|axis| (self.shape()[axis], self.strides()[axis]));
        let after = (axis..self.ndim()).map(|axis| (self.shape()[axis], self.strides()[axis]));
        self.rearranged(ndim, before.chain([(1, stride)]).chain(after), 0)
    }

    /// Another shape over the same elements in the same row-major order; one size may be -1, to be worked out.
    /// Where only a copy could do it: [`Error::ReshapeCopies`].
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let line = Tensor::from_vec((0..6).collect::<Vec<i32>>(), &[6])?;
    /// let table = line.reshape(&[2, -1])?;
    /// assert_eq!(table.shape(), [2, 3]);
    /// let error = table.permute(&[1, 0])?.reshape(&[6]).unwrap_err();
    /// assert_eq!(error.kind(), dlbridge::Kind::CopyRequired);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn reshape(&self, target: &[i64]) -> Result<Tensor> {
        check_ndim(target.len())?;
        let refuse = || Error::ReshapeSize { shape: self.shape().to_vec(), target: target.to_vec() };
        let size = self.size() as i64;
        let mut draft = Draft::zeroed(target.len())?;
        let (shape, strides) = draft.parts();
        shape.copy_from_slice(target);
        let known = target
            .iter()
            .filter(|&&extent| extent != -1)
            .try_fold(1_i64, |product, &extent| if extent < 0 { None } else { product.checked_mul(extent) });
        let known = known.ok_or_else(refuse)?;
        match shape.iter_mut().find(|extent| **extent == -1) {
            None if known == size => {}
            Some(open) if known != 0 && size % known == 0 => *open = size / known,
            _ => return Err(refuse()),
        }
        if shape.contains(&-1) {
            return Err(refuse());
        }
        if !layout::restride(self.shape(), self.strides(), shape, strides) {
            return Err(Error::ReshapeCopies {
                shape: self.shape().to_vec(),
                strides: self.strides().to_vec(),
                target: target.to_vec(),
            });
        }
        draft.finish_view(self.place_at(0)?, self.root())
    }

    /// The same bytes as another dtype. Where the element sizes differ, the last dimension shrinks or grows to fit
    /// and must lie packed.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// use dlbridge::tensor::dtype;
    ///
    /// let numbers = Tensor::from_vec(vec![1_u32, 2], &[2])?;
    /// assert_eq!(numbers.reinterpret(dtype::U8)?.shape(), [8]);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn reinterpret(&self, to: DLDataType) -> Result<Tensor> {
        dtype::check(to).map_err(|_| Error::ImpossibleTarget { dtype: dtype::Name(to).to_string() })?;
        let (old_bits, new_bits) =
            (i64::from(dtype::item_bits(self.dtype())), i64::from(dtype::item_bits(to)));
        let names = || [self.dtype(), to].map(|dtype| dtype::Name(dtype).to_string());
        let only_a_copy = |why| {
            let [from, to] = names();
            Error::ReinterpretCopies { from, to, why }
        };
        let mut draft = Draft::new(self.shape(), Some(self.strides()))?;
        if old_bits != new_bits {
            let empty = self.size() == 0;
            let (shape, strides) = draft.parts();
            let (Some((extent, outer_shape)), Some((stride, outer_strides))) =
                (shape.split_last_mut(), strides.split_last_mut())
            else {
                let [from, to] = names();
                return Err(Error::ReinterpretScalar { from, to });
            };
            if *extent > 1 && *stride != 1 && !empty {
                return Err(only_a_copy("the last dimension is not packed (its stride is not 1)"));
            }
            let row_bits = extent.checked_mul(old_bits).filter(|bits| bits % new_bits == 0);
            let row_bits = row_bits.ok_or_else(|| {
                let [from, to] = names();
                Error::ReinterpretPart {
                    from,
                    to,
                    extent: *extent,
                    multiple: new_bits / gcd(old_bits, new_bits),
                }
            })?;
            (*extent, *stride) = (row_bits / new_bits, 1);
            for (stride, extent) in outer_strides.iter_mut().zip(outer_shape) {
                let bits = stride.checked_mul(old_bits).filter(|bits| bits % new_bits == 0);
                // A stride that is never taken may round.
                let never = *extent <= 1 || empty;
                *stride = match bits {
                    Some(bits) => bits / new_bits,
                    None if never => 1,
                    None => return Err(only_a_copy("a stride is no whole number of new elements")),
                };
            }
        }
        draft.finish_view(Place { dtype: to, ..self.place_at(0)? }, self.root())
    }

    /// The same memory, marked so that nobody downstream may write to it.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// use dlbridge::tensor::dtype;
    ///
    /// let frozen = Tensor::from_vec(vec![1_i32, 2], &[2])?.read_only()?;
    /// assert_eq!(frozen.data_mut_as(dtype::I32).unwrap_err().kind(), dlbridge::Kind::ReadOnly);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn read_only(&self) -> Result<Tensor> {
        let mut place = self.place_at(0)?;
        place.flags |= DlpackFlags::READ_ONLY;
        Draft::new(self.shape(), Some(self.strides()))?.finish_view(place, self.root())
    }

    /// Pinned memory as the plain memory of the host that it is too, for consumers that know no other.
    ///
    /// Other memory than the host's is refused.
    pub fn on_host(&self) -> Result<Tensor> {
        if !device::is_host(self.device()) {
            return Err(Error::NotHost { device: device::Name(self.device()).to_string() });
        }
        let place = Place { device: DLDevice::CPU, ..self.place_at(0)? };
        Draft::new(self.shape(), Some(self.strides()))?.finish_view(place, self.root())
    }

    /// A view of `ndim` dimensions with the given sizes and strides, starting `skip` elements further on.
    fn rearranged(&self, ndim: usize, axes: impl Iterator<Item = (i64, i64)>, skip: i64) -> Result<Tensor> {
        let mut draft = Draft::zeroed(ndim)?;
        let (shape, strides) = draft.parts();
        for (slot, (extent, stride)) in axes.enumerate() {
            (shape[slot], strides[slot]) = (extent, stride);
        }
        draft.finish_view(self.place_at(skip)?, self.root())
    }

    /// Where the element lies that is `skip` elements from the first: inside the buffer, so nothing overflows.
    fn place_at(&self, skip: i64) -> Result<Place> {
        let bits = i128::from(skip) * i128::from(dtype::item_bits(self.dtype()));
        if bits % 8 != 0 {
            let dtype = dtype::Name(self.dtype()).to_string();
            return Err(Error::SubByteStart { bit: bits.rem_euclid(8) as u8, dtype });
        }
        let bytes = (bits / 8) as i64;
        let mut place = Place {
            data: self.data(),
            byte_offset: self.view().byte_offset,
            device: self.device(),
            dtype: self.dtype(),
            flags: self.inner().flags,
            reach: self.inner().reach,
        };
        if device::has_handles(place.device) {
            place.byte_offset = place.byte_offset.wrapping_add_signed(bytes);
        } else {
            place.data = place.data.wrapping_byte_offset(bytes as isize);
        }
        Ok(place)
    }

    /// The stride of an axis, 0 where there is no element to step to: a stray value there could overflow.
    fn step(&self, axis: usize) -> i64 {
        if self.size() == 0 { 0 } else { self.strides()[axis] }
    }

    fn axis(&self, axis: i64) -> Result<usize> {
        resolve(axis, self.ndim())
    }
}

/// Refuses more dimensions than are handled.
fn check_ndim(ndim: usize) -> Result<()> {
    if ndim <= MAX_NDIM { Ok(()) } else { Err(Error::TooManyAxes { ndim, limit: MAX_NDIM }) }
}

/// An axis that may count from the end.
fn resolve(axis: i64, ndim: usize) -> Result<usize> {
    let resolved = if axis < 0 { axis.checked_add(ndim as i64) } else { Some(axis) };
    let resolved = resolved.and_then(|axis| usize::try_from(axis).ok());
    resolved.filter(|&axis| axis < ndim).ok_or(Error::AxisOutOfRange { axis, ndim })
}

/// First position and number of positions of a Python slice over `extent` elements.
fn slice_bounds(extent: i64, start: Option<i64>, stop: Option<i64>, step: i64) -> Result<(i64, i64)> {
    // Positions before the first element and after the last that the slice may stop at.
    let (lowest, highest) = match step {
        0 => return Err(Error::ZeroStep),
        1.. => (0, extent),
        _ => (-1, extent - 1),
    };
    let clamp = |position: i64| {
        let position = if position < 0 { position.saturating_add(extent) } else { position };
        position.clamp(lowest, highest)
    };
    let (from, to) = if step > 0 { (lowest, highest) } else { (highest, lowest) };
    let (first, last) = (start.map_or(from, clamp), stop.map_or(to, clamp));
    let (distance, stride) =
        if step > 0 { (last - first, step) } else { (first - last, step.saturating_neg()) };
    let count = if distance > 0 { (distance - 1) / stride + 1 } else { 0 };
    Ok((first, count))
}

/// The greatest common divisor of numbers above 0.
fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
