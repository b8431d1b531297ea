//! Why memory was not allocated: what was asked for, what there is, then what to do.

use super::Kind;
use std::fmt;

/// What can go wrong with a request for memory, besides that there is none left.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are its Display, right below")]
pub enum Allocation {
    // Arguments
    Alignment { alignment: usize },
    NegativeSize { axis: usize, extent: i64 },
    TooLarge { shape: Vec<i64>, item_bits: u32 },
    OtherDevice { device: String, asked: String },
    PinnedDevice { device: String },
    StructSize { what: &'static str, size: usize, least: usize },
    SmallBlock { have: usize, need: usize },
    NotPooled,
    // What an allocator did
    Misplaced { address: usize, alignment: usize },
    Refused { bytes: usize },
    Full { bytes: usize, held: usize, cached: usize, limit: usize },
}

impl Allocation {
    /// The kind, whose number is the C status code.
    pub const fn kind(&self) -> Kind {
        use Allocation::*;
        match self {
            Alignment { .. }
            | NegativeSize { .. }
            | TooLarge { .. }
            | OtherDevice { .. }
            | PinnedDevice { .. }
            | StructSize { .. }
            | SmallBlock { .. }
            | NotPooled
            | Misplaced { .. } => Kind::InvalidArgument,
            Refused { .. } | Full { .. } => Kind::OutOfMemory,
        }
    }
}

impl fmt::Display for Allocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Allocation::*;
        match self {
            Alignment { alignment } => {
                write!(f, "alignment {alignment} is no power of two up to 1 GiB; pass 64, 256, 4096, or 0 for 256")
            }
            NegativeSize { axis, extent } => {
                write!(f, "dimension {axis} of the shape is {extent}; pass sizes of 0 or more")
            }
            TooLarge { shape, item_bits } => write!(
                f,
                "shape {shape:?} of {item_bits}-bit elements does not fit 63 bits of bytes; ask for a smaller one"
            ),
            OtherDevice { device, asked } => write!(
                f,
                "the allocator gives memory on {device} and {asked} is asked for; leave the device out, or pass an allocator of that device"
            ),
            PinnedDevice { device } => write!(
                f,
                "pinned memory is memory of the host, and {device} is asked for; leave out one of the two"
            ),
            StructSize { what, size, least } => write!(
                f,
                "struct_size of {what} is {size}, less than the {least} bytes of its first version; set it to sizeof({what})"
            ),
            SmallBlock { have, need } => {
                write!(f, "the block has {have} bytes and the shape needs {need}; allocate a larger one")
            }
            NotPooled => f.write_str(
                "the allocator is no pool, so it caches nothing and counts nothing; put a pool over it with dlb_allocator_pool",
            ),
            Misplaced { address, alignment } => write!(
                f,
                "the allocator answered {address:#x}, no multiple of the {alignment} it was asked for; it must honour its alignment argument"
            ),
            Refused { bytes } => write!(
                f,
                "{bytes} bytes could not be allocated: the allocator's function returned NULL; release tensors that are no longer used, or pass another allocator"
            ),
            Full { bytes, held, cached, limit } => write!(
                f,
                "{bytes} bytes could not be allocated: of the pool's limit of {limit}, {held} are in use, and what the {cached} that are cached can give is not enough; release tensors that are no longer used, or make the pool with a higher limit"
            ),
        }
    }
}
