//! Memory that several parties are handed by turns: who reads it as a slice, and who is given it to write to, without
//! `unsafe` on either side. A batch is such memory, and a framework that computes in place is such a writer.
//!
//! Whichever comes first wins for as long as its tensor lives. A reader marks the root of the tensor, provided that nobody
//! else has a reference; a writer takes a reference, and then looks for the mark. Each does its own before it looks at the
//! other's, with a fence between the two, so that one of them at least sees the other.

use super::{Access, Tensor};
use crate::error::{Error, Result};
use std::sync::atomic::{Ordering, fence};

/// Nobody was lent a slice.
const OPEN: u8 = 0;
/// Somebody is about to be, if nobody else has the tensor.
const ASKED: u8 = 1;
/// Slices were lent: nobody writes any more.
const LENT: u8 = 2;

impl Tensor {
    /// Another reference, for whoever writes to the elements without `unsafe`: a binding to a framework that computes in
    /// place.
    ///
    /// Waits for copies into the memory and out of it. Refused besides read-only tensors: what a
    /// [`Batch`](crate::staging::Batch) has lent as a slice.
    ///
    /// ```
    /// use dlbridge::Tensor;
    ///
    /// let mut tensor = Tensor::from_vec(vec![1, 2, 3], &[3])?;
    /// let theirs = tensor.share_writable()?;
    /// assert!(tensor.get_mut::<i32>().is_err(), "they may write");
    /// assert!(tensor.read_only()?.share_writable().is_err());
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn share_writable(&self) -> Result<Tensor> {
        if self.is_read_only() {
            return Err(Error::ReadOnly { what: "tensor" });
        }
        self.settle(Access::Write)?;
        let shared = self.clone();
        // A view of the tensor that was lent has a reference to it, too.
        fence(Ordering::SeqCst);
        if self.root().inner().lent.load(Ordering::Acquire) == OPEN {
            return Ok(shared);
        }
        Err(Error::NotExclusive {
            action: "handing it on for writing",
            why: "the elements were lent as a slice, by Batch::slice() or Batch::array()".into(),
            remedy: "hand on a copy: copy::new()",
        })
    }

    /// Sees to it that slices of the tensor may be lent, since nobody writes to it from now on.
    pub(crate) fn lend(&self) -> Result<()> {
        let lent = &self.root().inner().lent;
        loop {
            match lent.compare_exchange(OPEN, ASKED, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(LENT) => return Ok(()),
                Err(_) => std::thread::yield_now(), // another thread is between these lines
            }
        }
        fence(Ordering::SeqCst);
        let alone = self.check_alone("a shared borrow");
        lent.store(if alone.is_ok() { LENT } else { OPEN }, Ordering::Release);
        alone
    }

    /// Refuses a tensor of which there is another reference, a view or an export.
    pub(crate) fn check_alone(&self, action: &'static str) -> Result<()> {
        if self.is_last() {
            return Ok(());
        }
        Err(Error::NotExclusive {
            action,
            why: "the memory is still in use elsewhere".into(),
            remedy: "drop the other tensors, views and exports first, or call as_slice() or as_mut_slice() of the tensor, where you promise that nobody writes",
        })
    }
}
