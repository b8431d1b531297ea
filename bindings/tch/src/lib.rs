//! One buffer as a [`dlbridge::Tensor`] and as a [`tch::Tensor`], in both directions, without a copy.
//!
//! ```
//! use dlbridge::Tensor;
//!
//! let samples = Tensor::from_vec(vec![1.0_f32, 2.0, 3.0, 4.0], &[2, 2])?;
//! let mut theirs = dlbridge_tch::to_torch(&samples)?; // the same memory; the vector lives as long as either
//! let _ = theirs.g_mul_scalar_(10.0);
//! drop(theirs);
//! assert_eq!(samples.into_vec::<f32>()?, [10.0, 20.0, 30.0, 40.0]);
//!
//! let x = tch::Tensor::arange(6, (tch::Kind::Int64, tch::Device::Cpu)).view([2, 3]);
//! let ours = dlbridge_tch::from_torch(&x.transpose(0, 1))?; // keeps the storage of `x` alive
//! drop(x);
//! assert_eq!((ours.shape(), ours.strides()), (&[3, 2][..], &[1, 3][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What cannot be shared is refused with an [`Error`] that names the call that mends it, before torch sees it: torch
//! would abort the process, or show other values. An exception of libtorch comes back as its words.
//!
//! The elements are plain shared memory, as they are between two `tch` tensors on one storage: what one side writes the
//! other reads, and writing from two threads at once is for the program to avoid.

mod error;
mod ffi;

pub use error::Error;

use dlbridge::DlpackFlags;
use dlbridge::dlpack::{DLDevice, DLDeviceType, DLTensor};
use dlbridge::tensor::{device, dtype};
use ffi::Keeper;
use tch::Kind;

/// The most dimensions that torch handles.
const MAX_NDIM: usize = 64;

/// A tensor on the memory of `source`, whose storage it keeps alive. What torch has from [`to_torch`] comes back as the
/// tensor it was, or a view that shares its owner.
///
/// From then on `source`'s storage cannot be resized (`resize_` fails, as it does after `x.numpy()` in Python), which
/// would move its elements. Nor may its memory be swapped by torch's private `internal_lazy_clone`: no check can see that,
/// and the elements may then be freed too early.
///
/// Refused: tensors that require grad, are conjugated or negated lazily, sparse, nested, quantized, on meta, undefined,
/// or reach beyond their storage; devices other than cpu and cuda; dtypes that DLPack does not have.
///
/// ```
/// let x = tch::Tensor::from_slice(&[1.0_f32, 2.0]).set_requires_grad(true);
/// let error = dlbridge_tch::from_torch(&x).unwrap_err();
/// assert!(error.to_string().contains("call .detach() first"));
/// let tensor = dlbridge_tch::from_torch(&x.detach())?;
/// assert_eq!(tensor.data(), x.data_ptr());
/// # Ok::<(), dlbridge_tch::Error>(())
/// ```
pub fn from_torch(source: &tch::Tensor) -> Result<dlbridge::Tensor, Error> {
    let (description, keeper) = ffi::describe(source)?;
    match keeper {
        Keeper::Storage(storage) => {
            // SAFETY: torch describes the elements of its tensor, which lie in the storage, and they are writable;
            // shape and strides are those of `source`, which is borrowed.
            let tensor = unsafe { dlbridge::Tensor::wrap(&description, DlpackFlags::empty(), storage) };
            tensor.map_err(|(error, _)| error.into())
        }
        // SAFETY: as above; the elements lie in what the lender lent.
        Keeper::Lender(lender) => unsafe { give_back(&description, lender) },
    }
}

/// The lender itself, where torch still shows what was lent, or another view of its memory.
///
/// # Safety
///
/// As for [`dlbridge::Tensor::wrap_shared`].
unsafe fn give_back(description: &DLTensor, lender: dlbridge::Tensor) -> Result<dlbridge::Tensor, Error> {
    // SAFETY: promised by the caller.
    let tensor = unsafe { dlbridge::Tensor::wrap_shared(description, DlpackFlags::empty(), &lender) }?;
    let place = |tensor: &dlbridge::Tensor| (tensor.data(), tensor.dtype(), tensor.device());
    let layout = |tensor: &dlbridge::Tensor| (tensor.shape().to_vec(), tensor.strides().to_vec());
    let same = place(&tensor) == place(&lender) && layout(&tensor) == layout(&lender);
    Ok(if same { lender } else { tensor })
}

/// A torch tensor on the memory of `source`, which it keeps alive; pinned memory as that of the cpu. Waits for copies into the
/// memory and out of it.
///
/// Refused: read-only tensors; what a batch of `dlbridge::staging` has lent as a slice; negative strides; more than 64
/// dimensions; devices other than cpu and cuda; dtypes that tch has no `Kind` for (unsigned integers but uint8, sub-byte
/// types, lanes).
///
/// ```
/// use dlbridge::Tensor;
///
/// let line = Tensor::from_vec(vec![1_i64, 2, 3], &[3])?;
/// let backwards = line.slice(0, None, None, -1)?;
/// let error = dlbridge_tch::to_torch(&backwards).unwrap_err();
/// assert!(error.to_string().contains("stride -1 of axis 0"));
/// assert_eq!(i64::try_from(dlbridge_tch::to_torch(&line)?.flip([0]).get(0))?, 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn to_torch(source: &dlbridge::Tensor) -> Result<tch::Tensor, Error> {
    if source.is_read_only() {
        return Err(Error::ReadOnly);
    }
    share(source.share_writable()?)
}

/// [`to_torch`] for memory that may be read-only, or lent as a slice: torch has no read-only tensors.
///
/// ```
/// use dlbridge::Tensor;
///
/// let weights = Tensor::from_owner(&[0.5_f32, 0.25], &[2])?;
/// assert_eq!(dlbridge_tch::to_torch(&weights).unwrap_err(), dlbridge_tch::Error::ReadOnly);
/// // SAFETY: the sum only reads.
/// let sum = unsafe { dlbridge_tch::to_torch_alias(&weights) }?.sum(tch::Kind::Float);
/// assert_eq!(f32::try_from(sum)?, 0.75);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Safety
///
/// If `source` is read-only, or of a batch that lent it as a slice, nobody writes to the result, nor to what shares its
/// storage. No copy into the memory is under way.
pub unsafe fn to_torch_alias(source: &dlbridge::Tensor) -> Result<tch::Tensor, Error> {
    share(source.clone())
}

fn share(source: dlbridge::Tensor) -> Result<tch::Tensor, Error> {
    if source.ndim() > MAX_NDIM {
        let words = format!("{} dimensions are more than the 64 of torch; reshape it first", source.ndim());
        return Err(Error::Refused(words));
    }
    // Torch numbers its devices with 8 bits. ROCm is what torch calls cuda where it is built for that. What is page-locked or
    // managed is to it plain memory of the host.
    let own = source.device();
    let place = if device::is_host(own) { DLDevice::CPU } else { own };
    let known = matches!(place.device_type, DLDeviceType::CPU | DLDeviceType::CUDA | DLDeviceType::ROCM);
    if !known || place.device_id > i32::from(i8::MAX) {
        let name = device::Name(place);
        let words = format!("torch shares memory on cpu and cuda, not on {name}; copy it there first");
        return Err(Error::Refused(words));
    }
    if kind(&source).is_none() {
        let name = dtype::Name(source.dtype());
        let words = format!("tch has no Kind for {name}; share the bytes: tensor.reinterpret(dtype::U8)?");
        return Err(Error::Refused(words));
    }
    let strides = torch_strides(&source)?;
    let description = DLTensor { strides: strides.as_ptr().cast_mut(), device: place, ..*source.view() };
    // SAFETY: the tensor's own description, but for strides that are never taken.
    unsafe { ffi::lend(&description, source) }
}

/// The strides as torch takes them: where nothing is ever stepped along, a negative one becomes 1.
fn torch_strides(source: &dlbridge::Tensor) -> Result<Vec<i64>, Error> {
    let axes = source.shape().iter().zip(source.strides()).enumerate();
    let stride = |(axis, (&extent, &stride)): (usize, (&i64, &i64))| match stride {
        0.. => Ok(stride),
        _ if source.size() == 0 || extent == 1 => Ok(1),
        _ => Err(Error::Refused(format!(
            "stride {stride} of axis {axis} is negative, which torch cannot have; share slice({axis}, None, None, -1) \
             and call .flip([{axis}]) there"
        ))),
    };
    axes.map(stride).collect()
}

/// The element type as tch names it.
fn kind(source: &dlbridge::Tensor) -> Option<Kind> {
    Some(match dtype::Name(source.dtype()).to_string().as_str() {
        "uint8" => Kind::Uint8,
        "int8" => Kind::Int8,
        "int16" => Kind::Int16,
        "int32" => Kind::Int,
        "int64" => Kind::Int64,
        "float16" => Kind::Half,
        "float32" => Kind::Float,
        "float64" => Kind::Double,
        "bfloat16" => Kind::BFloat16,
        "complex32" => Kind::ComplexHalf,
        "complex64" => Kind::ComplexFloat,
        "complex128" => Kind::ComplexDouble,
        "bool" => Kind::Bool,
        "float8_e5m2" => Kind::Float8e5m2,
        "float8_e4m3fn" => Kind::Float8e4m3fn,
        "float8_e5m2fnuz" => Kind::Float8e5m2fnuz,
        "float8_e4m3fnuz" => Kind::Float8e4m3fnuz,
        _ => return None,
    })
}
