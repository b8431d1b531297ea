//! What a caller asks memory for: checked as an argument, not as what a producer said.

use super::{MAX_NDIM, dtype, layout};
use crate::dlpack::DLDataType;
use crate::error::{Allocation, Error, Result};

/// Bytes of a packed tensor; sub-byte elements share bytes.
pub(crate) fn packed_bytes(shape: &[i64], dtype: DLDataType) -> Result<usize> {
    if shape.len() > MAX_NDIM {
        return Err(Error::TooManyAxes { ndim: shape.len(), limit: MAX_NDIM });
    }
    let name = |_| Error::ImpossibleTarget { dtype: dtype::Name(dtype).to_string() };
    dtype::check(dtype).map_err(name)?;
    let item_bits = dtype::item_bits(dtype);
    let measured = layout::measure(shape, None, item_bits).map_err(|error| match error {
        Error::NegativeDimension { axis, extent } => Allocation::NegativeSize { axis, extent },
        _ => Allocation::TooLarge { shape: shape.to_vec(), item_bits },
    });
    Ok(measured.map_err(Error::Allocation)?.nbytes as usize)
}
