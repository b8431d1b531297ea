//! `Tensor.__dlpack__`: what a consumer asks for, and its stream behind the copies that are under way.

use super::api::Object;
use super::builtin::Arguments;
use super::capsule;
use super::convert::is_true;
use super::copy::copied_tensor;
use super::gil::Gil;
use super::transfer::moved;
use crate::copy::{Options, Order};
use crate::device as driven;
use crate::dlpack::{DLDevice, DLDeviceType};
use crate::error::{Error, Refusal, Result};
use crate::tensor::{Access, LetGo, Tensor, device};
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// The last `max_version` found to be 1 or more, kept so that its address stands for it; or NULL.
static MODERN: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

/// What the driver calls the legacy default stream.
const LEGACY_STREAM: i64 = 1;
/// And the default stream of whichever thread calls, which waits for that one, as that for it.
const PER_THREAD_STREAM: i64 = 2;

/// `Tensor.__dlpack__`.
pub(super) fn dlpack(gil: &Gil, tensor: &Tensor, arguments: &Arguments) -> Result<Object> {
    let keywords = ["stream", "max_version", "dl_device", "copy"];
    let ([], [stream, max_version, dl_device, copy]) = arguments.parse(gil, "__dlpack__()", keywords)?;
    let copy = gil.given(copy).map(|copy| is_true(gil, copy)).transpose()?;
    let to = match gil.given(dl_device) {
        Some(wanted) => target(gil, tensor, wanted)?,
        None => tensor.device(),
    };
    let crosses = to == DLDevice::CPU && !device::is_host(tensor.device());
    if copy == Some(false) && crosses {
        let device = device::Name(tensor.device()).to_string();
        return Err(Error::Refused(Refusal::TransferForbidden { device }));
    }
    let legacy = match gil.given(max_version) {
        Some(max_version) => !is_modern(gil, max_version)?,
        None => true,
    };
    let stream = gil.given(stream);
    let let_go = order(gil, tensor, stream)?;
    if copy == Some(true) && !crosses {
        let copied = copied_tensor(gil, tensor, Order::C, Options::default())?;
        let let_go = order(gil, &copied, stream)?;
        return Ok(capsule::ordered(gil, &copied, legacy, true, let_go)?.as_ptr());
    }
    if to == tensor.device() {
        return Ok(capsule::ordered(gil, tensor, legacy, false, let_go)?.as_ptr());
    }
    let there = moved(gil, tensor, to)?;
    gil.settle_tensor(&there)?;
    Ok(capsule::ordered(gil, &there, legacy, crosses, None)?.as_ptr())
}

/// The device that `dl_device` asks for: the tensor's own, or the host where it can be had there.
fn target(gil: &Gil, tensor: &Tensor, wanted: Object) -> Result<DLDevice> {
    let own = tensor.device();
    let wanted = gil.pair(wanted, "dl_device")?;
    let host = wanted == (DLDeviceType::CPU.0.into(), 0);
    match () {
        _ if wanted == (own.device_type.0.into(), own.device_id.into()) => Ok(own),
        _ if host && (device::is_pinned(own) || own.device_type == DLDeviceType::CUDA) => Ok(DLDevice::CPU),
        _ => {
            let have = device::Name(own).to_string();
            // Where a copy can be made that is there.
            let driven = device::is_host(own) || own.device_type == DLDeviceType::CUDA;
            let cuda = wanted.0 == DLDeviceType::CUDA.0.into() && (0..=i32::MAX.into()).contains(&wanted.1);
            let name = (driven && cuda).then(|| format!("cuda:{}", wanted.1));
            Err(Error::Refused(Refusal::OtherDevice { have, wanted, name }))
        }
    }
}

/// Has the consumer's stream wait for the copies into the memory; on the host, this call. What is to be done when the
/// consumer lets go, who works on that stream.
fn order(gil: &Gil, tensor: &Tensor, stream: Option<Object>) -> Result<Option<LetGo>> {
    let device = tensor.device();
    let refuse = |why| {
        let stream = stream.map_or_else(|| "None".into(), |stream| gil.text(stream));
        Err(Error::Refused(Refusal::Stream { stream, why }))
    };
    if device::is_host(device) {
        return match stream {
            None => gil.settle_tensor(tensor).map(|()| None),
            Some(_) => refuse("host memory has no streams; pass None"),
        };
    }
    let handle = match stream {
        None => LEGACY_STREAM,
        Some(stream) => gil.index(stream)?,
    };
    match handle {
        -1 => Ok(None),
        0 => refuse("0 is ambiguous; pass 1 for the legacy default stream"),
        i64::MIN..0 => {
            refuse("there is no such stream; pass None, 1, 2, a handle, or -1 and order the streams yourself")
        }
        LEGACY_STREAM | PER_THREAD_STREAM if tensor.is_settled() && driven::drives_cuda() => Ok(None),
        _ if device.device_type == DLDeviceType::CUDA && driven::check_device(device).is_ok() => {
            let handle = handle as usize as *mut c_void;
            // SAFETY: the consumer gives a stream of its own, which lives during this call.
            gil.without(|| unsafe {
                let let_go = driven::on_native(device, handle)?;
                if !tensor.is_settled() {
                    driven::check_capture(device, handle)?;
                    tensor.settle_on_stream(Access::Read, device, handle)?;
                }
                Ok(let_go)
            })
        }
        _ if tensor.is_settled() && driven::drives_cuda() => Ok(None),
        // What nobody here drives, nothing here is under way on.
        LEGACY_STREAM => Ok(None),
        _ => refuse("it cannot be waited on; pass None or 1, or -1 and order the streams yourself"),
    }
}

/// Whether a consumer that names this `max_version` knows the versioned struct.
fn is_modern(gil: &Gil, max_version: Object) -> Result<bool> {
    // A tuple of integers never changes, and a consumer's code passes the same constant every time.
    if max_version == MODERN.load(Ordering::Relaxed) {
        return Ok(true);
    }
    let modern = gil.pair(max_version, "max_version")?.0 >= 1;
    if modern {
        let kept = gil.share(max_version).into_raw();
        drop(gil.own(MODERN.swap(kept, Ordering::Relaxed)));
    }
    Ok(modern)
}
