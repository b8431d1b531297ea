//! The loops of both sides: how a producer says that it is over, and a consumer hears it.

use super::batch::Batch;
use super::ring::Ring;
use crate::device::Stream;
use crate::error::{Error, Reason, Result, Staging};
use std::fmt;
use std::iter::FusedIterator;

impl Ring {
    /// Runs a producer, and tells the consumers how it ended: nothing more comes once it has returned, and its error or its
    /// panic aborts the ring, so that nobody waits for batches that never come.
    ///
    /// Its result comes back. Where there are several, `producer` is what starts them and waits for all. Where the ring was
    /// closed meanwhile an error aborts nothing, and consumers still get what was submitted.
    ///
    /// ```
    /// use dlbridge::staging::{Leaf, Options, Ring};
    /// use dlbridge::tensor::dtype;
    ///
    /// let ring = Ring::new(Options::default())?;
    /// let read = |name: &str| std::fs::read(name); // fails, and then the consumer gets the reason
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         ring.produce(|ring| -> Result<(), Box<dyn std::error::Error>> {
    ///             let bytes = read("/there/is/no/such.file")?;
    ///             let mut slot = ring.acquire(&[Leaf::new("bytes", &[bytes.len() as i64], dtype::U8)], None)?;
    ///             slot.get_mut::<u8>(0)?.copy_from_slice(&bytes);
    ///             Ok(slot.submit()?)
    ///         })
    ///         .is_err()
    ///     });
    ///     let error = ring.batches(None).next().unwrap().unwrap_err();
    ///     assert!(error.to_string().contains("No such file"), "{error}");
    /// });
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn produce<T, E: fmt::Display>(
        &self,
        producer: impl FnOnce(&Ring) -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        let panics = Panics(self);
        let produced = producer(self);
        match &produced {
            Ok(_) => self.close(),
            Err(error) => self.fail(error.to_string()),
        }
        // Not before: the words of an error may panic as well.
        std::mem::forget(panics);
        produced
    }

    /// The batches from here on, each as [`Ring::next`] gives it: a loop over them ends after the last batch of a closed
    /// ring. An error is the last item, too; where it was but for a while, ask for them again.
    ///
    /// Who leaves the loop before its end [aborts](Ring::abort) the ring, or producers wait for ever for somebody who takes
    /// the next batch.
    ///
    /// ```
    /// use dlbridge::staging::{Leaf, Options, Ring};
    /// use dlbridge::tensor::dtype;
    ///
    /// let ring = Ring::new(Options::default())?;
    /// let sum = std::thread::scope(|scope| {
    ///     scope.spawn(|| {
    ///         ring.produce(|ring| {
    ///             (0..10).try_for_each(|number| {
    ///                 let mut slot = ring.acquire(&[Leaf::new("number", &[1], dtype::I64)], None)?;
    ///                 slot.get_mut::<i64>(0)?[0] = number;
    ///                 slot.submit()
    ///             })
    ///         })
    ///     });
    ///     let numbers = ring.batches(None).map(|batch| Ok(batch?.slice::<i64>(0)?[0]));
    ///     numbers.sum::<dlbridge::Result<i64>>().inspect_err(|error| ring.abort(&error.to_string()))
    /// })?;
    /// assert_eq!(sum, 45);
    /// # Ok::<(), dlbridge::Error>(())
    /// ```
    pub fn batches<'a>(&'a self, stream: Option<&'a Stream>) -> Batches<'a> {
        Batches { ring: self, stream, over: false }
    }

    /// Aborts a ring whose producer is over too early. Where it was closed consumers are told of an end anyway.
    fn fail(&self, reason: String) {
        let shared = self.shared();
        if !shared.is_over() {
            shared.abort(Reason::Said(reason));
        }
    }
}

/// The batches of a ring, one after the other: what [`Ring::batches`] gives.
#[derive(Debug)]
pub struct Batches<'a> {
    ring: &'a Ring,
    stream: Option<&'a Stream>,
    over: bool,
}

impl Iterator for Batches<'_> {
    type Item = Result<Batch>;

    fn next(&mut self) -> Option<Result<Batch>> {
        if self.over {
            return None;
        }
        let next = self.ring.next(self.stream, None);
        // A loop that passes over errors would run for ever with a ring that was aborted.
        self.over = next.is_err();
        match next {
            Err(Error::Staging(Staging::Closed)) => None,
            next => Some(next),
        }
    }
}

impl FusedIterator for Batches<'_> {}

/// Dropped where a producer does not return.
struct Panics<'a>(&'a Ring);

impl Drop for Panics<'_> {
    fn drop(&mut self) {
        self.0.fail("a producer panicked".into());
    }
}
