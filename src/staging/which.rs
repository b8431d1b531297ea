//! What a tensor of a slot or a batch is asked for by.

use crate::error::{Error, Result, Staging};

/// What a tensor of a [`Slot`](super::Slot) or a [`Batch`](super::Batch) is asked for by: its number or its name, which
/// is `usize`, `&str` or `&String`.
pub trait Which: Among {}

impl<W: Among> Which for W {}

/// Outside of the crate nobody can name it, so more may be asked for later.
pub trait Among {
    /// The number, among tensors of these names.
    fn among(&self, names: &[String]) -> Result<usize>;
}

impl Among for usize {
    fn among(&self, names: &[String]) -> Result<usize> {
        let (index, count) = (*self, names.len());
        if index < count { Ok(index) } else { Err(Error::Staging(Staging::Index { index, count })) }
    }
}

impl Among for &str {
    fn among(&self, names: &[String]) -> Result<usize> {
        let position = names.iter().position(|own| own == self);
        position
            .ok_or_else(|| Error::Staging(Staging::Name { name: (*self).to_owned(), names: names.to_vec() }))
    }
}

impl Among for &String {
    fn among(&self, names: &[String]) -> Result<usize> {
        self.as_str().among(names)
    }
}
