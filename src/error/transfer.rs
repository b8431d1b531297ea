//! What can go wrong with streams, events and asynchronous copies.

use super::{Face, Kind};
use std::fmt;
use std::time::Duration;

/// Why a copy is not made, or not waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are right below")]
pub enum Transfer {
    Shapes { source: Vec<i64>, destination: Vec<i64>, expands: bool },
    Dtypes { source: String, destination: String },
    Device { what: &'static str, device: String, stream: String },
    NotHost { what: &'static str, device: String },
    Overlap { source: (usize, usize), destination: (usize, usize) },
    SubByte { dtype: String },
    PartOfByte { dtype: String, bits: u64 },
    SwapBytes { dtype: String },
    Scattered { calls: usize, most: usize },
    NativeStream { device: String },
    Timeout { nanoseconds: u64 },
    OwnThread,
    NoThread { words: String },
    NoDevice { device: String, why: String },
    NoForeign { device: String, why: String },
    StreamBeforeFork,
    EventBeforeFork,
}

impl Transfer {
    /// What is not done in time.
    pub(crate) fn not_within(timeout: Duration) -> Transfer {
        Transfer::Timeout { nanoseconds: u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX) }
    }

    /// The kind, whose number is the C status code.
    pub const fn kind(&self) -> Kind {
        use Transfer::*;
        match self {
            Shapes { .. } | Dtypes { .. } | OwnThread => Kind::InvalidArgument,
            Device { .. }
            | NotHost { .. }
            | Overlap { .. }
            | SubByte { .. }
            | PartOfByte { .. }
            | SwapBytes { .. }
            | Scattered { .. }
            | NativeStream { .. } => Kind::Unsupported,
            Timeout { .. } => Kind::Timeout,
            NoThread { .. } | NoDevice { .. } | NoForeign { .. } | StreamBeforeFork | EventBeforeFork => {
                Kind::Unavailable
            }
        }
    }

    /// The words, in the names of this face.
    pub(super) fn say(&self, face: Face, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Transfer::*;
        match self {
            Shapes { source, destination, expands } => {
                write!(
                    f,
                    "the source has shape {source:?} and the destination {destination:?}; make the destination {source:?}"
                )?;
                match expands {
                    true => write!(f, ", or expand the source first ({})", face.expand()),
                    false => Ok(()),
                }
            }
            Dtypes { source, destination } => write!(
                f,
                "the source holds {source} and the destination {destination}; a copy does not convert, make the destination {source}, or cast on the host ({})",
                face.pick("dlb_cast()", "dlbridge.cast(x, dtype, out=out)", "copy::cast_into()")
            ),
            Device { what, device, stream } => write!(
                f,
                "the {what} is on {device}, which a stream of {stream} cannot reach; pass a tensor in host memory, or a stream of {device}"
            ),
            NotHost { what, device } => {
                let (remedy, python) = match *what {
                    "source" => ("copy it to the host first", "dlbridge.download(x).result()"),
                    _ => ("pass one on the host, and copy that to the device", "dlbridge.upload(x, device)"),
                };
                let call = face.pick("dlb_copy_async()", python, "device::copy_async()");
                write!(f, "the {what} is on {device}, and this is done in host memory; {remedy} ({call})")
            }
            Overlap { source, destination } => write!(
                f,
                "the source, from {:#x} to {:#x}, and the destination, from {:#x} to {:#x}, overlap or lie between each other; copy to a buffer of its own, and from there",
                source.0, source.1, destination.0, destination.1
            ),
            SubByte { dtype } => write!(
                f,
                "elements of {dtype} do not lie on bytes, so only packed row-major tensors of them are copied; make both contiguous"
            ),
            PartOfByte { dtype, bits } => write!(
                f,
                "the elements of {dtype} are {bits} bits, which a device cannot copy without the rest of the last byte; copy a number of them that fills bytes"
            ),
            SwapBytes { dtype } => write!(
                f,
                "the parts of {dtype} have no byte order that can be turned round; copy without swapping bytes"
            ),
            Scattered { calls, most } => write!(
                f,
                "between devices the elements lie so that the driver would be called {calls} times, more than {most}; copy to the host first, make the result contiguous, and copy that"
            ),
            NativeStream { device } => write!(
                f,
                "{device} has no native streams, its streams are threads of this library; make one with {}",
                face.pick("dlb_stream_create()", "dlbridge.Stream()", "Stream::new()")
            ),
            Timeout { nanoseconds } => write!(
                f,
                "it was not done within {} ms; wait again, or longer",
                *nanoseconds as f64 / 1e6
            ),
            OwnThread => f.write_str(
                "this is the stream's own thread, which would wait for itself; wait on another thread, and not in a release function",
            ),
            NoThread { words } => write!(
                f,
                "the thread of the stream could not be started ({words}); release streams that are no longer used"
            ),
            NoDevice { device, why } => {
                let host = face.pick("kDLCPU", "\"cpu\"", "DLDevice::CPU");
                write!(f, "{device} cannot be used here: {why}; pass {host}")
            }
            NoForeign { device, why } => write!(
                f,
                "there are no streams on {device} here: {why}; make one on the host, with {}",
                face.pick("dlb_stream_create()", "dlbridge.Stream()", "Stream::new()")
            ),
            StreamBeforeFork => f.write_str(
                "the stream was made before this process forked, and its thread stayed in the parent; create a new stream in the child",
            ),
            EventBeforeFork => f.write_str(
                "the copy was unfinished when this process forked, and its thread stayed in the parent; create a new stream in the child and copy again, into a new tensor",
            ),
        }
    }
}
