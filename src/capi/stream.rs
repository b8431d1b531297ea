//! `dlb_stream_*`: ordered work on a device, and copies on it.

use super::event::{DLB_WAIT_FOREVER, dlb_event, give};
use super::status::{dlb_status, output, required, status};
use super::tensor::{borrowed, create, dlb_tensor};
use crate::device::{self, Event, Stream};
use crate::dlpack::{DLDevice, DLDeviceType, DLManagedTensorVersioned};
use crate::error::{Error, Result, Transfer};
use crate::tensor::device::Name;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::time::Duration;

/// An ordered queue of work on one device: what is queued is done in that order, while the caller goes on.
///
/// Opaque. Reference-counted: `dlb_stream_retain()` adds a reference, `dlb_stream_release()` drops one. Any thread may
/// use a stream while it holds a reference. On the CPU a stream is a thread of this library, started when first needed;
/// it runs release functions of tensors that a copy was the last to hold, and otherwise no code but this library's.
///
/// After something failed on a stream, what is queued behind it is not carried out and its events say the same error,
/// until `dlb_stream_synchronize()` has reported it. In a child of `fork()` the streams made before it answer
/// `DLB_ERROR_UNAVAILABLE`, and so do events that were not done; make a new stream there.
pub struct dlb_stream {
    _opaque: [u8; 0],
}

/// A stream argument, borrowed for the length of the call.
///
/// # Safety
///
/// `stream` is NULL or a live stream.
pub(super) unsafe fn borrowed_stream(stream: *const dlb_stream) -> Result<ManuallyDrop<Stream>> {
    let stream = required(stream, "stream")?;
    // SAFETY: not NULL, so a live stream; `ManuallyDrop` leaves the caller's reference alone.
    Ok(ManuallyDrop::new(unsafe { Stream::from_raw(stream.cast_mut().cast()) }))
}

/// Makes a stream on a device of `dlb_device_list()`. The host is one device, whatever its id: `{kDLCPU, 7}` is the
/// CPU.
///
/// `*out` is owned by the caller: `dlb_stream_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL),
/// `DLB_ERROR_INVALID_TENSOR` (no device of DLPack's) and `DLB_ERROR_UNAVAILABLE` (no such device here; the message says
/// why). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stream_create(device: DLDevice, out: *mut *mut dlb_stream) -> dlb_status {
    status(|| {
        let out = output(out)?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(Stream::new(device)?.into_raw().cast()) };
        Ok(())
    })
}

/// Makes a stream of one that somebody else made on the device, through its native handle: a `CUstream` or `cudaStream_t`,
/// which are the same. NULL or 1 is CUDA's legacy default stream, 2 the per-thread one.
///
/// The handle is borrowed and must outlive `*out`. What is queued on it by others and through `*out` is one order, and
/// waiting works both ways. `*out` is owned by the caller: `dlb_stream_release()`. Fails with
/// `DLB_ERROR_INVALID_ARGUMENT` (NULL `out`; a stream of another device, or of another context than the primary one of
/// its device, as the driver says), `DLB_ERROR_UNSUPPORTED` (the CPU, whose streams are threads of this library)
/// and `DLB_ERROR_UNAVAILABLE` (no such device here). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stream_from_native(
    device: DLDevice,
    handle: *mut c_void,
    out: *mut *mut dlb_stream,
) -> dlb_status {
    status(|| {
        let out = output(out)?;
        // SAFETY: the caller vouches for the handle, and `out` is not NULL.
        unsafe { out.write(Stream::from_native(device, handle)?.into_raw().cast()) };
        Ok(())
    })
}

/// The device a stream works on; all zero for NULL. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stream_device(stream: *const dlb_stream) -> DLDevice {
    // SAFETY: the caller gives NULL or a live stream.
    let device = unsafe { borrowed_stream(stream) }.map(|stream| stream.device());
    device.unwrap_or(DLDevice { device_type: DLDeviceType(0), device_id: 0 })
}

/// Writes the native handle of a stream, a `cudaStream_t` on CUDA, for code that queues work of its own on it. It lives as
/// long as the stream. While such code has it captured into a CUDA graph, whatever would be queued on it through this library
/// answers `DLB_ERROR_UNSUPPORTED`: the graph may be replayed when the tensors are gone.
///
/// Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL) and `DLB_ERROR_UNSUPPORTED` (a stream of the CPU has none). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stream_native(stream: *const dlb_stream, out: *mut *mut c_void) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live stream.
        let (stream, out) = (unsafe { borrowed_stream(stream) }?, output(out)?);
        let device = || Name(stream.device()).to_string();
        let native =
            stream.native().ok_or_else(|| Error::Transfer(Transfer::NativeStream { device: device() }))?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(native) };
        Ok(())
    })
}

/// `dlb_tensor_export()` for a consumer that works on `stream`: what is queued there from now on waits for the copies into
/// the tensor's memory, and this call does not, but for a copy on a stream of the CPU, as in `dlb_stream_wait_event()`.
/// The memory is not used again before what was queued there when the deleter is called. Until then the export keeps
/// `stream`; one of `dlb_stream_from_native()` that does not wait for the default stream (`cudaStreamNonBlocking`) has to
/// live as long, and where it is captured into a CUDA graph then, until what the device was given before the end of the
/// capture has been done for 20 ms. Any other may be destroyed before.
///
/// `*out` is owned by the caller, as that of `dlb_tensor_export()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL),
/// `DLB_ERROR_OUT_OF_MEMORY`, with the error of a copy into the memory that failed, and as `dlb_stream_record()` does.
/// Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_export_on(
    tensor: *const dlb_tensor,
    stream: *mut dlb_stream,
    out: *mut *mut DLManagedTensorVersioned,
) -> dlb_status {
    status(|| {
        required(tensor, "tensor")?;
        // SAFETY: the caller gives NULL or live objects.
        let (tensor, stream, out) = unsafe { (borrowed(tensor)?, borrowed_stream(stream)?, output(out)?) };
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(stream.export(&tensor)?.as_ptr()) };
        Ok(())
    })
}

/// Adds a reference and returns `stream`. NULL gives NULL. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stream_retain(stream: *mut dlb_stream) -> *mut dlb_stream {
    // SAFETY: the caller gives NULL or a live stream.
    if let Ok(stream) = unsafe { borrowed_stream(stream) } {
        let _: ManuallyDrop<Stream> = stream.clone();
    }
    stream
}

/// Drops a reference. Never waits: with the last one the stream ends once everything queued is done. NULL is a no-op.
/// Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stream_release(stream: *mut dlb_stream) {
    if !stream.is_null() {
        // SAFETY: not NULL, so a reference that the caller gives back.
        crate::guard::guard_silent(|| drop(unsafe { Stream::from_raw(stream.cast()) }));
    }
}

/// Makes an event that is done when everything queued on the stream so far is.
///
/// `*out` is owned by the caller: `dlb_event_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL),
/// `DLB_ERROR_UNAVAILABLE` (a stream from before a fork; its thread could not be started) and `DLB_ERROR_UNSUPPORTED` (it is
/// being captured into a CUDA graph). Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stream_record(stream: *mut dlb_stream, out: *mut *mut dlb_event) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live stream.
        let (stream, out) = (unsafe { borrowed_stream(stream) }?, output(out)?);
        // SAFETY: not NULL, so a place to write to.
        unsafe { give(stream.record()?, out) };
        Ok(())
    })
}

/// Has everything queued on `stream` from now on wait until `event`, of any stream, is done. The caller does not wait, but
/// where `stream` is one of CUDA and the event one of the CPU, of which the driver knows nothing: then this returns when
/// the event is done.
///
/// Where what the event stands for failed, so does the stream. Fails as `dlb_stream_record()` does. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stream_wait_event(
    stream: *mut dlb_stream,
    event: *const dlb_event,
) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live stream, and NULL or a live event.
        let (stream, event) = unsafe { (borrowed_stream(stream)?, super::event::borrowed(event)?) };
        stream.wait_event(&event)
    })
}

/// Waits until everything queued on the stream so far is done.
///
/// Returns the error of what failed since the last such call, and the stream works again. Fails besides as
/// `dlb_stream_record()` does, and with `DLB_ERROR_INVALID_ARGUMENT` on the stream's own thread, in a release function.
/// Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stream_synchronize(stream: *mut dlb_stream) -> dlb_status {
    // SAFETY: the caller gives NULL or a live stream.
    status(|| unsafe { borrowed_stream(stream) }?.synchronize())
}

/// `dlb_stream_synchronize()` for at most `timeout_ns` nanoseconds: 0 only asks, `DLB_WAIT_FOREVER` has no limit. Fails
/// besides with `DLB_ERROR_TIMEOUT`; what failed on the stream is reported by a later call then. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_stream_synchronize_for(stream: *mut dlb_stream, timeout_ns: u64) -> dlb_status {
    status(|| {
        // SAFETY: the caller gives NULL or a live stream.
        let stream = unsafe { borrowed_stream(stream) }?;
        match timeout_ns {
            DLB_WAIT_FOREVER => stream.synchronize(),
            nanoseconds => stream.synchronize_timeout(Duration::from_nanos(nanoseconds)),
        }
    })
}

/// Makes a row-major tensor on a device, of the shape and the dtype of `source`, for a copy of it: as `dlb_tensor_empty()`
/// does, but for the host and a source on a CUDA device in pinned memory, so that the driver writes it directly. It does not
/// wait for copies into `source`.
///
/// `*out` is owned by the caller: `dlb_tensor_release()`. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL) and as
/// `dlb_tensor_empty()` does. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_tensor_empty_for(
    source: *const dlb_tensor,
    device: DLDevice,
    out: *mut *mut dlb_tensor,
) -> dlb_status {
    // SAFETY: the caller gives NULL or a live tensor, and NULL or a place to write to.
    unsafe {
        create(out, || {
            required(source, "source")?;
            device::empty_for(&*borrowed(source)?, device)
        })
    }
}

/// Queues a copy of the elements of `source` to `destination` and returns; a stream of CUDA that has to come after
/// a copy on a stream of the CPU first waits for that one, as in `dlb_stream_wait_event()`. Both have the same
/// shape and dtype; any strides will do. A stream of the CPU copies within the host's memory, one of CUDA also from
/// and to its device, within it, and from or to another one.
///
/// Everything is checked before anything is queued. Both tensors are retained until the copy is done. Until then
/// `dlb_tensor_data()`, `dlb_tensor_view()` and the exports of `destination`, of its views and of other tensors
/// that stem from the same one wait for it, and so does `dlb_tensor_mutable_data()` of `source`: a copy cannot be
/// read too early, nor its source be written too early, through a tensor. Other copies, on any stream, are ordered
/// behind this one where their tensors stem from the same ones. Two tensors that were wrapped or imported
/// separately know nothing of each other, even on one buffer: wrap it once and make views, or order them with
/// `dlb_stream_wait_event()`.
///
/// Memory that is reached otherwise (the pointer that was wrapped, one that was got before; for writing also that of a view
/// or an export, which wait for copies into the memory only) may be written again, where it is the source's, and read,
/// where it is the destination's, once the event is done. A byte that sub-byte elements of the destination fill in part is the
/// copy's as a whole until then, as for `dlb_copy()`. One source may be written sooner: what a CUDA stream uploads from
/// memory that is not pinned has been packed into pinned memory when this returns, in one pass. A process that exits does not
/// wait for what is queued.
///
/// `out_done` may be NULL; otherwise `*out_done` is owned by the caller: `dlb_event_release()`. Fails with
/// `DLB_ERROR_INVALID_ARGUMENT` (NULL, other shapes or dtypes), `DLB_ERROR_READ_ONLY`, `DLB_ERROR_UNSUPPORTED` (indices
/// of the destination may share an element; source and destination overlap, or lie between each other; sub-byte elements that
/// are not packed row-major; memory that the stream cannot reach), `DLB_ERROR_UNAVAILABLE` (as `dlb_stream_record()`),
/// `DLB_ERROR_DEVICE` (the driver failed), and with the error of an earlier copy into either that failed. Thread-safe.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_copy_async(
    source: *const dlb_tensor,
    destination: *mut dlb_tensor,
    stream: *mut dlb_stream,
    out_done: *mut *mut dlb_event,
) -> dlb_status {
    status(|| {
        required(source, "source")?;
        required(destination, "destination")?;
        // SAFETY: the caller gives live objects, and access past the tensors is ordered by the caller.
        let event: Event = unsafe {
            let (source, destination) = (borrowed(source)?, borrowed(destination)?);
            device::copy_async(&source, &destination, &*borrowed_stream(stream)?)?
        };
        if !out_done.is_null() {
            // SAFETY: not NULL, so a place to write to.
            unsafe { give(event, out_done) };
        }
        Ok(())
    })
}
