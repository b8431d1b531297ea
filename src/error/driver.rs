//! What a device driver cannot do, or could not: its own name for it, then what helps.

use super::{Face, Kind};
use std::fmt;

/// What went wrong with the driver of a device, with the memory it gives, or with memory that was to be pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are right below")]
pub enum Driver {
    // Not here
    NoPinned { why: String },
    NoMemory { device: String, why: String },
    NoPin { why: String },
    BeforeFork { what: &'static str },
    // Not written by the host
    NoZeros { device: String },
    // What the driver answered
    Failed { call: &'static str, name: String, words: String },
    OutOfMemory { bytes: usize, device: String, name: String },
    CannotPin { bytes: usize, pinned: usize, limit: String, why: String, kind: Kind },
    // What is not where it is said to be
    Elsewhere { address: usize, device: String, found: String },
    OtherContext { stream: usize, device: String, found: String },
    // What cannot be part of a graph
    Captured { stream: usize, device: String },
}

impl Driver {
    /// The kind, whose number is the C status code.
    pub const fn kind(&self) -> Kind {
        use Driver::*;
        match self {
            NoPinned { .. } | NoMemory { .. } | NoPin { .. } | BeforeFork { .. } => Kind::Unavailable,
            NoZeros { .. } => Kind::Unsupported,
            Failed { .. } => Kind::Device,
            OutOfMemory { .. } => Kind::OutOfMemory,
            CannotPin { kind, .. } => *kind,
            Elsewhere { .. } | OtherContext { .. } => Kind::InvalidArgument,
            Captured { .. } => Kind::Unsupported,
        }
    }

    /// The words, in the names of this face.
    pub(super) fn say(&self, face: Face, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Driver::*;
        match self {
            NoPinned { why } => write!(
                f,
                "pinned memory cannot be allocated: {why}; call {}, for pageable host memory",
                face.pick(
                    "dlb_tensor_empty() without pinned",
                    "dlbridge.empty(shape, dtype) without pinned",
                    "Tensor::empty()"
                )
            ),
            NoMemory { device, why } => write!(
                f,
                "memory on {device} cannot be allocated: {why}; call {} for host memory",
                face.pick(
                    "dlb_tensor_empty() without a device",
                    "dlbridge.empty(shape, dtype)",
                    "Tensor::empty()"
                )
            ),
            NoPin { why } => write!(f, "memory cannot be pinned: {why}; use it as it is"),
            BeforeFork { what } => write!(
                f,
                "{what} was made before this process forked, and CUDA does not survive a fork; {}, or fork before CUDA is used",
                face.pick(
                    "start the child by exec",
                    "start the child with the spawn method (multiprocessing.get_context(\"spawn\"))",
                    "start the child by exec"
                )
            ),
            NoZeros { device } => write!(
                f,
                "the host writes these zeros, and {device} is asked for; call {}",
                face.pick(
                    "dlb_tensor_zeros()",
                    "dlbridge.zeros(shape, dtype, device=device)",
                    "device::zeros_with()"
                )
            ),
            Failed { call, name, words } => write!(
                f,
                "{call} failed with {name} ({words}); if it does so again, the device has to be used from a new process"
            ),
            OutOfMemory { bytes, device, name } => write!(
                f,
                "{bytes} bytes could not be allocated on {device} ({name}); release tensors that are no longer used, or give back what is cached ({})",
                face.pick("dlb_allocator_trim()", "dlbridge.trim()", "Pool::trim()")
            ),
            CannotPin { bytes, pinned, limit, why, .. } => write!(
                f,
                "could not pin {bytes} bytes ({pinned} pinned so far; limit {limit}): {why}; unpin what is no longer used, or use the memory as it is"
            ),
            Elsewhere { address, device, found } => write!(
                f,
                "address {address:#x} is said to be on {device} and the driver says {found}; whoever described the memory must name its device"
            ),
            OtherContext { stream, device, found } => write!(
                f,
                "the stream {stream:#x} is said to be on {device} and the driver says it is on {found}; name the device of the stream, and make streams in its primary context, as PyTorch and CuPy do"
            ),
            Captured { stream, device } => {
                let what = match stream {
                    0 | 1 => format!("the default stream of {device} would wait for a stream that is"),
                    _ => format!("the stream {stream:#x} of {device} is"),
                };
                write!(
                    f,
                    "{what} being captured into a CUDA graph, which may be replayed when the tensors are gone; do this before the capture begins or when it has ended, or on another stream, one made with cudaStreamNonBlocking"
                )
            }
        }
    }
}
