//! What can go wrong in a staging ring: whose batch, which slot, then what to do.

use super::{Error, Face, Kind};
use std::fmt;

/// Why a slot is not given, or a batch not handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are right below")]
pub enum Staging {
    Slots { slots: usize, keep: usize },
    Order { order: i32 },
    NotUtf8 { index: usize },
    NoTensors,
    Twice { name: String },
    TooMany { count: usize, limit: usize },
    Index { index: usize, count: usize },
    Name { name: String, names: Vec<String> },
    NeedsStream { device: String },
    OtherDevice { ring: String, stream: String },
    Closed,
    Aborted { reason: Reason },
    NoSlot { nanoseconds: u64, held: Vec<u64> },
    NoBatch { nanoseconds: u64 },
    Held { batches: Vec<u64>, most: usize, keep: usize },
    BeforeFork,
}

/// Why a ring was aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Whoever did it said so.
    Said(String),
    /// A batch could not be brought to its device. Whoever is told that reads it in the names of its own face.
    Failed(Box<Error>),
}

impl Staging {
    /// The kind, whose number is the C status code.
    pub const fn kind(&self) -> Kind {
        use Staging::*;
        match self {
            Slots { .. }
            | Order { .. }
            | NotUtf8 { .. }
            | NoTensors
            | Twice { .. }
            | TooMany { .. }
            | Index { .. }
            | Name { .. }
            | NeedsStream { .. }
            | OtherDevice { .. } => Kind::InvalidArgument,
            Closed | Aborted { .. } => Kind::Closed,
            NoSlot { .. } | NoBatch { .. } => Kind::Timeout,
            Held { .. } => Kind::OutOfMemory,
            BeforeFork => Kind::Unavailable,
        }
    }
}

/// Batches by their numbers, the first few of many.
fn listed(numbers: &[u64]) -> String {
    const SHOWN: usize = 8;
    let shown: Vec<String> = numbers.iter().take(SHOWN).map(u64::to_string).collect();
    let more =
        if numbers.len() > SHOWN { format!(" and {} more", numbers.len() - SHOWN) } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

impl Staging {
    /// The words, in the names of this face.
    pub(super) fn say(&self, face: Face, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Staging::*;
        match self {
            Slots { slots, keep } => write!(
                f,
                "{slots} slots and {keep} batches to keep are asked for; pass 1 to 65536 slots (2 overlap loading with computing) and at most 65536 batches"
            ),
            Order { order } => {
                write!(f, "{order} is no order; pass DLB_STAGING_IN_ORDER or DLB_STAGING_FIRST_COME")
            }
            NotUtf8 { index } => {
                write!(f, "the name of tensor {index} is not UTF-8; pass UTF-8, or NULL for its position")
            }
            NoTensors => f.write_str("a batch of no tensors is asked for; describe at least one"),
            Twice { name } => {
                write!(f, "two tensors of a batch are called {name:?}; give each a name of its own, or none")
            }
            TooMany { count, limit } => {
                write!(f, "a batch of {count} tensors is asked for; pass at most {limit}")
            }
            Index { index, count } => {
                write!(f, "the batch has {count} tensors and no number {index}; pass 0 to {}", *count as i64 - 1)
            }
            Name { name, names } => write!(f, "the batch has no tensor {name:?}; it has {names:?}"),
            NeedsStream { device } => write!(
                f,
                "the batches are on {device}, where work is ordered by streams; pass the stream that will use the batch"
            ),
            OtherDevice { ring, stream } => write!(
                f,
                "the batches are on {ring} and the stream is on {stream}; pass a stream of {ring}"
            ),
            Closed => f.write_str(
                "the ring is closed: nothing goes in any more, and when every batch was handed out that is its end, not an error to mend; make a new ring for another pass",
            ),
            Aborted { reason: Reason::Said(words) } => write!(f, "the ring was aborted: {words}"),
            Aborted { reason: Reason::Failed(error) } => {
                write!(f, "the ring was aborted: {}", error.words(face))
            }
            NoSlot { nanoseconds, held } if held.is_empty() => write!(
                f,
                "no slot was free within {} ms; wait again, or longer, or ask for more slots",
                milliseconds(*nanoseconds)
            ),
            NoSlot { nanoseconds, held } => write!(
                f,
                "no slot was free within {} ms; batches {} are held, by consumers or by tensors that outlive their batch or slot: release them, wait longer, or ask for more slots",
                milliseconds(*nanoseconds),
                listed(held)
            ),
            NoBatch { nanoseconds } => write!(
                f,
                "no batch was ready within {} ms; wait again, or longer",
                milliseconds(*nanoseconds)
            ),
            Held { batches, most, keep } => write!(
                f,
                "all {most} batches that the ring may have memory for are still held (batches {}), so there is none for the next; drop their tensors and views, copy what is to stay, or make it with a larger keep than {keep}: at least as many as you keep",
                listed(batches)
            ),
            BeforeFork => f.write_str(
                "the ring was made before this process forked, and its threads stayed in the parent; make a new one in the child",
            ),
        }
    }
}
