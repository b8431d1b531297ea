//! Copies, as the driver's calls: what lies in one run or in rows by one call, the rest packed through pinned memory.

use super::context::{Current, Device};
use super::driver::{Handle, Rows, call};
use super::event::Event;
use super::host_copy::HostCopy;
use super::lane::Lane;
use super::mark::Kept;
use super::memory::{PINNED, pinned_pool};
use super::pin::{self, Known};
use super::pointer::Inquiry;
use crate::device::nest::{Axis, Nest, Side};
use crate::dlpack::DLDevice;
use crate::error::{Error, Result, Transfer};
use crate::memory::Block;
use crate::tensor::{Tensor, device};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::sync::Arc;

/// What is staged at once: large enough for full speed, small enough that the first piece is on its way soon.
const CHUNK: usize = 4 << 20;
/// How many pieces are on their way while the next is packed.
const RING: usize = 3;

/// Shorter rows are elements that lie apart, which the host packs faster than a device fetches them one by one.
const ROW: usize = 64;
/// More calls than this for one piece are worth a detour on the host.
const FEW: usize = 64;
/// More calls than this are refused where there is no such detour: they would hold up the stream, and who calls.
const MOST: usize = 1 << 16;

const HOST: u32 = 1;
const DEVICE: u32 = 2;

/// The stream that copies, with its device's context current, and the copy's place there.
pub(super) struct Target<'a> {
    pub device: &'static Device,
    pub stream: Handle,
    pub current: &'a Current<'a>,
    pub lane: &'a Arc<Lane>,
    pub place: u64,
}

/// From where to where the driver copies.
#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
    Within,
    Between { from: &'static Device, to: &'static Device },
}

/// Hands a copy to the driver. What it needs until the stream is there is put into `kept`, after a failure too.
///
/// # Safety
///
/// The stream is alive. The tensors were found fit for each other and for its device, whose context is current; it is ordered
/// behind what comes before. `source` stays until this returns where it is `staged`, and until the stream is there
/// otherwise; so does `destination`.
pub(super) unsafe fn issue(
    source: &Tensor,
    destination: &Tensor,
    staged: bool,
    target: &Target<'_>,
    kept: &mut Kept,
) -> Result<()> {
    let order = if device::is_host(source.device()) { Side::To } else { Side::From };
    let Some(nest) = Nest::new(source, destination, order) else { return Ok(()) };
    // SAFETY: promised by the caller.
    unsafe {
        match (device::is_host(source.device()), device::is_host(destination.device())) {
            (true, true) => on_the_host(nest, target, kept),
            (true, false) if staged || is_going(&nest) => upload(nest, target, kept),
            (true, false) => by_the_driver(&nest, Way::Up, target),
            (false, true) => download(nest, device::is_pinned(destination.device()), target, kept),
            (false, false) => {
                let way = between(source.device(), destination.device())?;
                by_the_driver(&nest, way, target)
            }
        }
    }
}

/// Hands over that all bytes of a row-major tensor of the stream's device are to be 0.
///
/// # Safety
///
/// The stream is alive, its device's context is current, and the tensor's memory stays until the stream is there.
pub(super) unsafe fn zero(tensor: &Tensor, target: &Target<'_>) -> Result<()> {
    let (driver, stream) = (target.device.driver, target.stream);
    // SAFETY: promised by the caller.
    unsafe { call!(driver, cuMemsetD8Async(tensor.data() as u64, 0, tensor.nbytes(), stream)) }
}

/// Whether the pin is gone, or going, that the source had when the copy was looked at.
fn is_going(nest: &Nest) -> bool {
    matches!(pin::known(nest.source()), Known::Beside)
}

/// How the driver copies from one device to another, or within one.
fn between(from: DLDevice, to: DLDevice) -> Result<Way> {
    if from.device_id == to.device_id {
        return Ok(Way::Within);
    }
    Ok(Way::Between { from: Device::get(from.device_id)?, to: Device::get(to.device_id)? })
}

/// Packs the source into pinned memory, piece by piece, and uploads those: the source was read when this returns.
///
/// # Safety
///
/// As for [`issue`].
unsafe fn upload(nest: Nest, target: &Target<'_>, kept: &mut Kept) -> Result<()> {
    let bytes = nest.bytes();
    let mut ring: VecDeque<(usize, Event)> = VecDeque::new();
    nest.tiles(CHUNK, &mut |tile| {
        let free = if ring.len() == RING { ring.pop_front() } else { None };
        let middle = match free {
            Some((middle, event)) => {
                event.wait()?;
                middle
            }
            None => {
                let block = Block::new(Some(pinned_pool()), bytes.min(CHUNK), 0)?;
                let middle = block.data() as usize;
                kept.blocks.push(block);
                middle
            }
        };
        let (pack, send) = tile.through(middle);
        // SAFETY: the block has room for the piece, and the device is done with what was in it; the rest is promised by
        // the caller.
        unsafe {
            pack.carry_out(PINNED)?;
            by_the_driver(&send, Way::Up, target)?;
        }
        if bytes > CHUNK {
            let event = Event::new(target.device, target.current)?;
            // SAFETY: promised by the caller.
            unsafe { event.record(target.stream, target.current) }?;
            ring.push_back((middle, event));
        }
        Ok(())
    })
}

/// Downloads, into the destination itself where the device reaches it in one call, and else by way of pinned memory, from
/// where the stream has it unpacked.
///
/// # Safety
///
/// As for [`issue`].
unsafe fn download(nest: Nest, pinned: bool, target: &Target<'_>, kept: &mut Kept) -> Result<()> {
    let inquiry = Inquiry::by(target.device);
    if calls(&nest, target.device) == 1 && inquiry.is_reachable(nest.destination(), pinned)? {
        // SAFETY: promised by the caller.
        return unsafe { by_the_driver(&nest, Way::Down, target) };
    }
    let span = |nest: &Nest| nest.source().1 - nest.source().0;
    let room = nest.bytes().max(span(&nest)).min(CHUNK);
    let block = Block::new(Some(pinned_pool()), room, 0)?;
    let middle = block.data() as usize;
    kept.blocks.push(block);
    // The stream keeps the order, so one block serves for all pieces.
    nest.tiles(CHUNK, &mut |tile| {
        let (mut fetch, mut unpack) = tile.through(middle);
        if calls(&fetch, target.device) > FEW && span(&tile) <= room {
            // With what lies between the elements, in one run.
            let (from, run) = (tile.source().0, span(&tile));
            fetch = Nest { from, to: middle, axes: Vec::new(), run };
            unpack = Nest { from: middle + (tile.from - from), ..tile };
        }
        // SAFETY: promised by the caller, and the block is kept.
        unsafe {
            by_the_driver(&fetch, Way::Down, target)?;
            on_the_host(unpack, target, kept)
        }
    })
}

/// Has the stream copy on the host.
///
/// # Safety
///
/// As for [`issue`].
unsafe fn on_the_host(nest: Nest, target: &Target<'_>, kept: &mut Kept) -> Result<()> {
    // SAFETY: promised by the caller, as long as the stream may come to it.
    let copy = move || unsafe { nest.carry_out(DLDevice::CPU) };
    // SAFETY: promised by the caller; `Kept` lets go of the copy before the memory.
    kept.copies.push(unsafe { HostCopy::queue(Box::new(copy), target) }?);
    Ok(())
}

/// Whether what is uploaded is better packed on the host: the driver then copies longer rows, or is called less often.
pub(super) fn is_scattered(nest: &Nest, device: &Device) -> bool {
    if nest.axes.is_empty() {
        return false;
    }
    let (_, send) = nest.through(0);
    calls(&send, device) < calls(nest, device) || (nest.run < ROW && nest.run < send.run)
}

/// In how many calls the driver copies it from and to one device.
fn calls(nest: &Nest, device: &Device) -> usize {
    let all: usize = nest.axes.iter().map(|axis| axis.extent).product();
    all / rows(nest, device).map_or(1, |at| nest.axes[at].extent)
}

/// The loop that the driver makes in each call, as rows: the longest that it can.
fn rows(nest: &Nest, device: &Device) -> Option<usize> {
    let loops = nest.axes.iter().enumerate().filter(|(_, axis)| are_rows(axis, nest.run, device));
    loops.max_by_key(|(_, axis)| axis.extent).map(|(at, _)| at)
}

/// Refuses what lies so that the driver is called for a few bytes each, where both tensors are on a device.
pub(super) fn check(source: &Tensor, destination: &Tensor, device: &Device) -> Result<()> {
    let Some(nest) = Nest::new(source, destination, Side::From) else { return Ok(()) };
    let within = source.device() == destination.device();
    let calls = match within {
        true => calls(&nest, device),
        false => nest.axes.iter().map(|axis| axis.extent).product(),
    };
    match calls > MOST {
        true => Err(Error::Transfer(Transfer::Scattered { calls, most: MOST })),
        false => Ok(()),
    }
}

fn are_rows(Axis { from, to, .. }: &Axis, width: usize, device: &Device) -> bool {
    let fits = |step: isize| (width..=device.max_pitch).contains(&usize::try_from(step).unwrap_or(0));
    fits(*from) && fits(*to)
}

/// Hands over a nest, in as few calls as it takes.
///
/// # Safety
///
/// Both sides are there until the stream is past this, and are what `way` says.
unsafe fn by_the_driver(nest: &Nest, way: Way, target: &Target<'_>) -> Result<()> {
    let mut outer = nest.axes.clone();
    let rows = match way {
        Way::Between { .. } => None,
        _ => rows(nest, target.device).map(|at| outer.remove(at)),
    };
    // SAFETY: promised by the caller.
    unsafe { walk(nest.from, nest.to, &outer, (rows.as_ref(), nest.run), way, target) }
}

/// # Safety
///
/// As for [`by_the_driver`].
unsafe fn walk(
    from: usize,
    to: usize,
    outer: &[Axis],
    (rows, width): (Option<&Axis>, usize),
    way: Way,
    target: &Target<'_>,
) -> Result<()> {
    if let Some((axis, inner)) = outer.split_first() {
        for index in 0..axis.extent as isize {
            let from = from.wrapping_add_signed(index * axis.from);
            let to = to.wrapping_add_signed(index * axis.to);
            // SAFETY: promised by the caller.
            unsafe { walk(from, to, inner, (rows, width), way, target) }?;
        }
        return Ok(());
    }
    let Some(rows) = rows else {
        // SAFETY: promised by the caller.
        return unsafe { run(from, to, width, way, target) };
    };
    let kind = |device: bool| if device { DEVICE } else { HOST };
    let (from_device, to_device) = (!matches!(way, Way::Up), !matches!(way, Way::Down));
    let description = Rows {
        from_x: 0,
        from_y: 0,
        from_kind: kind(from_device),
        from_host: from as *const c_void,
        from_device: from as u64,
        from_array: std::ptr::null_mut(),
        from_pitch: rows.from as usize,
        to_x: 0,
        to_y: 0,
        to_kind: kind(to_device),
        to_host: to as *mut c_void,
        to_device: to as u64,
        to_array: std::ptr::null_mut(),
        to_pitch: rows.to as usize,
        width,
        height: rows.extent,
    };
    // SAFETY: promised by the caller; the description is read at once.
    unsafe { call!(target.device.driver, cuMemcpy2DAsync(&description, target.stream)) }
}

/// # Safety
///
/// As for [`by_the_driver`].
unsafe fn run(from: usize, to: usize, bytes: usize, way: Way, target: &Target<'_>) -> Result<()> {
    let (driver, stream) = (target.device.driver, target.stream);
    let (host_from, host_to) = (from as *const c_void, to as *mut c_void);
    let (from_address, to_address) = (from as u64, to as u64);
    // SAFETY: promised by the caller.
    unsafe {
        match way {
            Way::Up => call!(driver, cuMemcpyHtoDAsync(to_address, host_from, bytes, stream)),
            Way::Down => call!(driver, cuMemcpyDtoHAsync(host_to, from_address, bytes, stream)),
            Way::Within => call!(driver, cuMemcpyDtoDAsync(to_address, from_address, bytes, stream)),
            Way::Between { from, to } => {
                let (from, to) = (from.context, to.context);
                call!(driver, cuMemcpyPeerAsync(to_address, to, from_address, from, bytes, stream))
            }
        }
    }
}
