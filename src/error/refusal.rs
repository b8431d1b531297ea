//! Why a Python object is not handed over, in the words of the one who has it: what is wrong, then the Python call, also
//! where C code asked. What C code itself can get wrong, a device or an order, is said in its names.

use super::{Error, Face, Kind};
use std::fmt;

/// What Python callers are told beyond what DLPack itself can get wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each variant's words are right below")]
pub enum Refusal {
    // Arguments
    NotOurs {
        type_name: String,
    },
    NoConstructor,
    Signature {
        words: String,
    },
    /// What the cause says of an argument's value is so whatever value of that type it has.
    WrongType {
        cause: Box<Error>,
    },
    UnknownReadOnly {
        given: String,
    },
    DtypeForDevice {
        given: String,
        dtype: String,
    },
    UnknownDevice {
        given: String,
    },
    UnclearDtype {
        given: String,
        why: &'static str,
    },
    Stream {
        stream: String,
        why: &'static str,
    },
    NothingToPin,
    // Arrays whose memory does not show what they mean
    Torch {
        what: &'static str,
        call: &'static str,
    },
    TorchSubclass {
        type_name: String,
    },
    TorchStandIn {
        type_name: String,
    },
    TorchStorage {
        what: &'static str,
        call: &'static str,
    },
    PastStorage {
        reach: i64,
        nbytes: i64,
    },
    Masked {
        count: String,
    },
    Missing {
        what: String,
        call: &'static str,
    },
    // Layouts and dtypes that the other side has no way to say
    NegativeStride {
        axis: usize,
        stride: i64,
    },
    ReadOnlyTorch,
    ReadOnlyLegacy,
    TooManyAxes {
        ndim: usize,
        framework: &'static str,
    },
    ByteStride {
        axis: usize,
        stride: i64,
        item: usize,
    },
    ByteOrder {
        dtype: String,
    },
    PaddedNumpy {
        dtype: String,
    },
    NumpyDtype {
        dtype: String,
    },
    NoNumpyDtype {
        dtype: String,
        bits: u32,
        in_ml_dtypes: bool,
    },
    NoTorchDtype {
        dtype: String,
    },
    BufferFormat {
        format: String,
    },
    // What would need work that was not asked for
    NotHostNumpy {
        device: String,
    },
    /// Where there is a name, a copy can be made on the device of that name.
    OtherDevice {
        have: String,
        wanted: (i64, i64),
        name: Option<String>,
    },
    CopyForbidden,
    UnknownOrder {
        given: String,
    },
    TransferForbidden {
        device: String,
    },
}

impl Refusal {
    /// The kind, whose number is the C status code.
    pub const fn kind(&self) -> Kind {
        use Refusal::*;
        match self {
            NotOurs { .. }
            | NoConstructor
            | Signature { .. }
            | WrongType { .. }
            | UnknownReadOnly { .. }
            | UnknownOrder { .. }
            | DtypeForDevice { .. }
            | UnknownDevice { .. }
            | UnclearDtype { .. }
            | Stream { .. }
            | NothingToPin => Kind::InvalidArgument,
            ReadOnlyTorch | ReadOnlyLegacy => Kind::ReadOnly,
            CopyForbidden | TransferForbidden { .. } => Kind::CopyRequired,
            _ => Kind::Unsupported,
        }
    }

    /// The words, in the names of this face.
    pub(super) fn say(&self, face: Face, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use Refusal::*;
        match self {
            Missing { what, call } => write!(f, "{what}; {call}"),
            NotOurs { type_name } => write!(f, "a {type_name} is no dlbridge.Tensor; call dlbridge.from_dlpack(x)"),
            NoConstructor => f.write_str("Tensor() makes nothing; call dlbridge.from_dlpack(x), or dlbridge.empty(shape, dtype)"),
            Signature { words } => f.write_str(words),
            WrongType { cause } => write!(f, "{}", cause.words(face)),
            UnknownReadOnly { given } => write!(f, "readonly is {given}; pass \"error\", \"copy\" or \"alias\""),
            DtypeForDevice { given, dtype } => write!(
                f,
                "device is {given}, which is a dtype; call dlbridge.cast(x, {dtype:?}), or pass dtype={dtype:?}"
            ),
            UnknownDevice { given } if FRAMEWORKS.contains(&given.trim_matches('"')) => write!(
                f,
                "device is {given}, which is a framework; call dlbridge.to(x, {given}), or pass a device such as \"cpu\" or \"cuda:0\""
            ),
            UnknownDevice { given } if face == Face::Python => write!(
                f,
                "device is {given}, and dlbridge moves to the CPU and to CUDA devices only; pass a name such as \"cpu\" or \"cuda:0\", or DLPack's pair, such as (1, 0)"
            ),
            UnknownDevice { given } => write!(
                f,
                "device is {given}, which DLPack does not know; pass a type such as kDLCPU or kDLCUDA, and an id of 0 or more"
            ),
            UnclearDtype { given, why } => write!(f, "dtype is {given:?}, {why}"),
            Stream { stream, why } => write!(f, "stream {stream} cannot be used: {why}"),
            NothingToPin => f.write_str("the array has no elements, so there is no memory to pin; pin one that has some"),
            Torch { what, call } if call.starts_with("the") => write!(f, "the torch tensor {what}; make {call}"),
            Torch { what, call } => write!(f, "the torch tensor {what}; call {call} first"),
            TorchStorage { what, call } => write!(f, "the torch tensor {what}; make {call}"),
            PastStorage { reach, nbytes } => write!(
                f,
                "the torch tensor reaches up to byte {reach} of its storage, which has only {nbytes}; call x.untyped_storage().resize_({reach}) first, or convert a part that lies in it"
            ),
            TorchSubclass { type_name } => write!(
                f,
                "x is of type {type_name}, a subclass of torch.Tensor, and may mean something else than its memory; call x.as_subclass(torch.Tensor) if it does not"
            ),
            TorchStandIn { type_name } if type_name == "DTensor" => f.write_str(
                "x is of type DTensor, whose memory is spread over processes; call x.to_local() for the part that is here, or x.full_tensor()",
            ),
            TorchStandIn { type_name } => write!(
                f,
                "x is of type {type_name}, a subclass of torch.Tensor that stands for other tensors and has no memory of its own; make the conversion outside the function that torch.export or make_fx records, or pass the tensors that it stands for"
            ),
            Masked { count } => write!(
                f,
                "the array is masked (at {count} element{}), and the mask would be lost; call x.filled(value), or x.data to ignore the mask",
                if count == "1" { "" } else { "s" }
            ),
            NegativeStride { axis, stride } => write!(
                f,
                "axis {axis} has the negative stride {stride}, which torch cannot represent; pass copy=True, or numpy.ascontiguousarray(x)"
            ),
            TooManyAxes { ndim, framework } => {
                write!(
                    f,
                    "the tensor has {ndim} dimensions and {framework} takes 64; pass parts of fewer dimensions, such as x[0], or reshape it where it was made"
                )
            }
            ReadOnlyTorch => f.write_str(
                "the source is read-only and torch cannot tell its users; pass readonly=\"copy\" for memory of its own, or readonly=\"alias\" to share it and never write",
            ),
            ReadOnlyLegacy => f.write_str(
                "the tensor is read-only, and the consumer asked for the legacy DLPack struct (as JAX and TensorFlow do), which cannot say so; give it a copy, numpy.array(x), or call x.__dlpack__(max_version=(1, 3)) if it reads that",
            ),
            ByteStride { axis, stride, item } => write!(
                f,
                "axis {axis} steps {stride} bytes, no multiple of the {item} bytes of an element, which DLPack cannot say; pass dlbridge.copy(x), or numpy.ascontiguousarray(x)"
            ),
            ByteOrder { dtype } => write!(
                f,
                "dtype {dtype} is not in the byte order of this machine; pass dlbridge.copy(x), or x.astype(x.dtype.newbyteorder(\"=\"))"
            ),
            PaddedNumpy { dtype } => write!(
                f,
                "NumPy keeps each {dtype} in a byte of its own, where DLPack packs them; pass x.view(\"uint8\")"
            ),
            NumpyDtype { dtype } => write!(f, "dtype {dtype} has no DLPack type; {}", numbers_of(dtype)),
            NoNumpyDtype { dtype, bits, in_ml_dtypes } => {
                let install = if *in_ml_dtypes { "run pip install -U ml_dtypes, or " } else { "" };
                let bits = if matches!(bits, 16 | 32 | 64) { *bits } else { 8 };
                write!(
                    f,
                    "NumPy has no {dtype}; {install}take the bytes with dlbridge.to_numpy(dlbridge.from_dlpack(x).view(\"uint{bits}\"))"
                )
            }
            NoTorchDtype { dtype } => {
                write!(f, "torch has no {dtype}; take the bytes with dlbridge.from_dlpack(x).view(\"uint8\")")
            }
            BufferFormat { format } => {
                let call = match format.trim_start_matches(['@', '=', '<', '>', '!']).bytes().next() {
                    Some(b'&') => "a pointer does not tell a size: pass numpy.ctypeslib.as_array(x, shape)",
                    Some(b'P') => "an address tells no size: pass (ctypes.c_uint8 * size).from_address(x.value)",
                    Some(b'T') => "pass one of its fields, numpy.asarray(x)[\"field\"]",
                    _ => "pass numpy.asarray(x) converted to a numeric dtype",
                };
                write!(f, "the buffer has the format {format:?}, which has no DLPack type; {call}")
            }
            NotHostNumpy { device } => {
                write!(f, "the data is on {device} and NumPy reads host memory; call dlbridge.download(x).result() first")
            }
            OtherDevice { have, wanted, name: Some(name) } => write!(
                f,
                "the data is on {have}, and dl_device={wanted:?} asks for it on {name}; give the consumer x.to({name:?}), which is a copy there"
            ),
            OtherDevice { have, wanted, name: None } => write!(
                f,
                "the data is on {have}, and dl_device={wanted:?} asks for it elsewhere; leave dl_device out, and move it with the framework it came from"
            ),
            CopyForbidden => f.write_str(
                "readonly=\"copy\" would copy this read-only source, which copy=False forbids; drop one of the two",
            ),
            UnknownOrder { given } if face == Face::Python => {
                write!(f, "order is {given}; pass \"C\", \"F\", \"A\" or \"K\"")
            }
            UnknownOrder { given } => write!(
                f,
                "order is {given}; pass DLB_ORDER_C, DLB_ORDER_F, DLB_ORDER_A or DLB_ORDER_K"
            ),
            TransferForbidden { device } => write!(
                f,
                "the data is on {device}, so having it elsewhere is a copy, which copy=False forbids; drop one of the two"
            ),
        }
    }
}

/// What is given as a device now and then, and names what `dlbridge.to` goes to.
const FRAMEWORKS: [&str; 10] =
    ["numpy", "np", "torch", "pytorch", "jax", "cupy", "tensorflow", "tf", "paddle", "mlx"];

/// What makes numbers of an array of this dtype of NumPy's.
fn numbers_of(dtype: &str) -> &'static str {
    let letters = dtype.trim_start_matches(['<', '>', '|', '=']);
    let is = |names: &[&str]| names.iter().any(|name| letters.starts_with(name));
    if is(&["datetime64", "timedelta64"]) {
        "pass x.view(\"int64\")"
    } else if is(&["M8", "m8"]) {
        "pass x.astype(x.dtype.newbyteorder(\"=\")).view(\"int64\")"
    } else if is(&["complex", "c"]) {
        "pass x.astype(\"complex128\")"
    } else if is(&["float", "f"]) {
        "pass x.astype(\"float64\")"
    } else if is(&["object"]) {
        "pass x.astype(\"float64\") where the objects are numbers"
    } else if is(&["U", "S", "str"]) {
        "strings stay where they are; pass x.astype(\"float64\") where they spell numbers"
    } else if letters.contains("[(") || letters.contains("'names'") {
        "pass one of its fields, x[\"field\"]"
    } else {
        "convert it to a numeric dtype, or pass its bytes, x.view(\"uint8\")"
    }
}
