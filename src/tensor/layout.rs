//! Shape and strides: all size arithmetic of the crate, all of it checked. Strides count elements.

use crate::error::{Error, Result};

/// What a shape and its strides reach, relative to the first element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    /// Number of elements.
    pub size: i64,
    /// Bytes the elements fill when packed.
    pub nbytes: i64,
    /// Lowest byte touched: zero or negative.
    pub low: i64,
    /// One past the highest byte touched.
    pub high: i64,
}

/// Measures a layout; `strides` of `None` means row-major. Refuses negative dimensions and everything that
/// does not fit 63 bits: the product of the dimensions (zeros apart), the bytes, the span of the strides.
#[inline(always)] // its result is large, and returned through memory it costs as much as the rest
pub(crate) fn measure(shape: &[i64], strides: Option<&[i64]>, item_bits: u32) -> Result<Extent> {
    let mut size = 1_i64;
    let mut empty = false;
    for (axis, &extent) in shape.iter().enumerate() {
        if extent < 0 {
            return Err(Error::NegativeDimension { axis, extent });
        }
        empty |= extent == 0;
        size = size.checked_mul(extent.max(1)).ok_or_else(|| too_large(shape, item_bits))?;
    }
    let nbytes = bytes(size, item_bits).ok_or_else(|| too_large(shape, item_bits))?;
    if empty {
        return Ok(Extent { size: 0, nbytes: 0, low: 0, high: 0 });
    }
    let (low, high) = match strides {
        Some(strides) if !is_row_major(shape, strides) => {
            span(shape, strides, item_bits).ok_or_else(|| overflow(shape, strides, item_bits))?
        }
        _ => (0, nbytes),
    };
    Ok(Extent { size, nbytes, low, high })
}

/// Bytes that `elements` packed elements fill, rounded up.
fn bytes(elements: i64, item_bits: u32) -> Option<i64> {
    let bits = i128::from(elements) * i128::from(item_bits);
    i64::try_from((bits + 7) / 8).ok()
}

/// The byte range that a layout without zero dimensions touches.
#[inline(always)]
fn span(shape: &[i64], strides: &[i64], item_bits: u32) -> Option<(i64, i64)> {
    let (mut low, mut high) = (0_i64, 1_i64);
    for (&extent, &stride) in shape.iter().zip(strides) {
        // A dimension of size 1 is never stepped along: whatever its stride, this is 0.
        let reach = (extent - 1).checked_mul(stride)?;
        if reach < 0 {
            low = low.checked_add(reach)?;
        } else {
            high = high.checked_add(reach)?;
        }
    }
    let lowest = (i128::from(low) * i128::from(item_bits)).div_euclid(8);
    let (low, high) = (i64::try_from(lowest).ok()?, bytes(high, item_bits)?);
    // The way from end to end must fit as well: a view may start at either.
    high.checked_sub(low).map(|_| (low, high))
}

#[cold]
fn too_large(shape: &[i64], item_bits: u32) -> Error {
    Error::TooLarge { shape: shape.to_vec(), item_bits }
}

#[cold]
fn overflow(shape: &[i64], strides: &[i64], item_bits: u32) -> Error {
    Error::StrideOverflow { shape: shape.to_vec(), strides: strides.to_vec(), item_bits }
}

/// Row-major strides of a shape. They saturate where [`measure`] would refuse it.
pub(crate) fn row_major(shape: &[i64], strides: &mut [i64]) {
    let mut stride = 1_i64;
    for (extent, slot) in shape.iter().zip(strides).rev() {
        *slot = stride;
        stride = stride.saturating_mul(*extent.max(&1));
    }
}

/// Whether the elements lie packed in row-major order. Empty tensors do.
pub(crate) fn is_row_major(shape: &[i64], strides: &[i64]) -> bool {
    is_packed(shape.iter().zip(strides).rev(), shape)
}

/// Whether the elements lie packed in column-major (Fortran) order. Empty tensors do.
pub(crate) fn is_column_major(shape: &[i64], strides: &[i64]) -> bool {
    is_packed(shape.iter().zip(strides), shape)
}

fn is_packed<'a>(innermost_first: impl Iterator<Item = (&'a i64, &'a i64)>, shape: &[i64]) -> bool {
    let mut expected = 1_i64;
    for (&extent, &stride) in innermost_first {
        if extent > 1 && stride != expected {
            // Only now can an empty shape matter: it is packed whatever its strides.
            return shape.contains(&0);
        }
        expected = expected.saturating_mul(extent.max(1));
    }
    true
}

/// Gives dimensions that are never stepped along the stride a packed layout would have: older consumers take
/// any other value there for a gap. Where the dimensions are nested otherwise, the first ones lie around all others, and the
/// last ones with the one before: by that torch knows a batch of one that is channels_last. Empty layouts become row-major.
pub(crate) fn canonicalise(shape: &[i64], strides: &mut [i64]) {
    if !shape.iter().any(|&extent| extent <= 1) {
        return;
    }
    if is_row_major(shape, strides) {
        return row_major(shape, strides);
    }
    let reach = |strides: &[i64], axis: usize| strides[axis].saturating_mul(shape[axis]);
    let ones = (0..shape.len()).filter(|&axis| shape[axis] == 1);
    if is_column_major(shape, strides) {
        ones.for_each(|axis| strides[axis] = if axis == 0 { 1 } else { reach(strides, axis - 1) });
        return;
    }
    // What is not row-major has dimensions of another size.
    let sized = |axis: &usize| shape[*axis] != 1;
    let [first, last] =
        [(0..shape.len()).find(sized), (0..shape.len()).rfind(sized)].map(Option::unwrap_or_default);
    let around = (0..shape.len()).filter(sized).map(|axis| reach(strides, axis).saturating_abs()).max();
    for axis in ones.rev() {
        strides[axis] = match axis {
            axis if axis < first => around.unwrap_or(1),
            axis if axis > last => strides[last],
            axis => reach(strides, axis + 1),
        };
    }
}

/// Whether two indices may meet at one element, so that a write through one would show at the other.
///
/// Exact for everything that slicing, permuting, reshaping and broadcasting make. An exotic interleaving that no
/// nesting order explains counts as overlapping, which errs to the safe side.
pub(crate) fn may_overlap(shape: &[i64], strides: &[i64]) -> bool {
    // Most layouts; also those without elements.
    if is_row_major(shape, strides) {
        return false;
    }
    // Walk the steps from the smallest up: each must clear everything the smaller ones reach.
    let (mut reached, mut above) = (0_u64, 0_u64);
    loop {
        let next = shape.iter().zip(strides).filter(|&(&extent, _)| extent > 1);
        let Some(step) = next.clone().map(|(_, &stride)| stride.unsigned_abs()).filter(|&s| s >= above).min()
        else {
            return false;
        };
        let mut same = next.filter(|&(_, &stride)| stride.unsigned_abs() == step);
        let extent = same.next().map_or(1, |(&extent, _)| extent);
        if step <= reached || same.next().is_some() {
            return true;
        }
        reached = reached.saturating_add(step.saturating_mul(extent.unsigned_abs() - 1));
        above = step.saturating_add(1);
    }
}

/// The strides with which `new_shape` shows the same elements in the same order, written to `new_strides`;
/// `false` where only a copy could. Both shapes hold the same number of elements.
pub(crate) fn restride(shape: &[i64], strides: &[i64], new_shape: &[i64], new_strides: &mut [i64]) -> bool {
    if new_shape.contains(&0) {
        row_major(new_shape, new_strides);
        return true;
    }
    let mut slot = new_shape.len();
    // Cuts `run` elements, each `stride` after the one before, into new dimensions.
    let mut cut = |run: i64, mut stride: i64| {
        let mut filled = 1_i64;
        while slot > 0 && (filled < run || new_shape[slot - 1] == 1) {
            slot -= 1;
            new_strides[slot] = stride;
            filled *= new_shape[slot];
            stride = stride.saturating_mul(new_shape[slot]);
        }
        filled == run
    };
    // Group the old dimensions into the longest such runs, innermost first.
    let (mut run, mut step) = (1_i64, 1_i64);
    for (&extent, &stride) in shape.iter().zip(strides).rev().filter(|&(&extent, _)| extent > 1) {
        if step.checked_mul(run) != Some(stride) {
            if !cut(run, step) {
                return false;
            }
            (run, step) = (1, stride);
        }
        run *= extent;
    }
    cut(run, step)
}

#[cfg(test)]
mod tests;
