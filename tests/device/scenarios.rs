//! What programs do with devices, in small: for tests in which the driver fails anywhere on the way.

use crate::given::*;
use dlbridge::device::{self, Stream, check_pointer, device_allocator, own_stream, pin, pinned_allocator};
use dlbridge::dlpack::DLDevice;
use dlbridge::memory::Block;
use dlbridge::tensor::dtype;
use dlbridge::{Result, Tensor};
use std::cell::{Ref, RefCell};
use std::ffi::c_void;
use std::sync::LazyLock;
use std::time::Duration;

/// Whether the elements came back right.
pub type Scenario = fn(&Streams) -> Result<bool>;

pub const SCENARIOS: &[(&str, Scenario)] = &[
    ("there and back again", there_and_back),
    ("pinned both ways", pinned_both_ways),
    ("staged in pieces", staged_in_pieces),
    ("rows", rows),
    ("any layout", any_layout),
    ("between two devices", between_devices),
    ("streams that wait for each other", streams_in_order),
    ("with a stream of the CPU", with_the_cpu),
    ("streams of others", streams_of_others),
    ("pinned in place", pinned_in_place),
    ("events", events),
    ("memory", memory),
    ("zeros", zeros_there),
    ("let go on the way", let_go),
    ("lent to others", lent),
];

const COUNT: usize = 500;

/// The streams that a scenario made, for whoever asks them afterwards what failed.
#[derive(Default)]
pub struct Streams(RefCell<Vec<Stream>>);

impl Streams {
    fn on(&self, device: DLDevice) -> Result<Stream> {
        Ok(self.keep(Stream::new(device)?))
    }

    fn keep(&self, stream: Stream) -> Stream {
        self.0.borrow_mut().push(stream.clone());
        stream
    }

    pub fn made(&self) -> Ref<'_, Vec<Stream>> {
        self.0.borrow()
    }
}

fn there(device: DLDevice, shape: &[i64]) -> Result<Tensor> {
    of(&device_allocator(device)?, shape)
}

fn locked(shape: &[i64]) -> Result<Tensor> {
    of(&pinned_allocator(FIRST)?, shape)
}

fn line(device: DLDevice) -> Result<Tensor> {
    there(device, &[COUNT as i64])
}

fn there_and_back(streams: &Streams) -> Result<bool> {
    let stream = streams.on(FIRST)?;
    let device = line(FIRST)?;
    copy(&host(pattern(COUNT, 1)), &device, &stream)?;
    Ok(download(&device, &stream)? == pattern(COUNT, 1))
}

fn pinned_both_ways(streams: &Streams) -> Result<bool> {
    let stream = streams.on(FIRST)?;
    let (source, device, back) = (locked(&[COUNT as i64])?, line(FIRST)?, locked(&[COUNT as i64])?);
    fill(&source, &pattern(COUNT, 2));
    copy(&source, &device, &stream)?;
    copy(&device, &back, &stream)?;
    // Waits until it was read.
    // SAFETY: nobody else has it.
    unsafe { source.as_mut_slice::<u32>() }?.fill(0);
    Ok(elements(&back)? == pattern(COUNT, 2))
}

/// Each of the staging buffers is used again.
fn staged_in_pieces(streams: &Streams) -> Result<bool> {
    static LARGE: LazyLock<Tensor> = LazyLock::new(|| host(pattern((13 << 18) + 5, 3)));
    let stream = streams.on(FIRST)?;
    let device = there(FIRST, LARGE.shape())?;
    copy(&LARGE, &device, &stream)?;
    // By way of pinned memory, in pieces as well.
    let back = Tensor::empty(LARGE.shape(), dtype::U32)?;
    copy(&device, &back, &stream)?;
    Ok(elements(&back)? == elements(&LARGE)?)
}

fn rows(streams: &Streams) -> Result<bool> {
    let stream = streams.on(FIRST)?;
    let padded = locked(&[20, 32])?;
    fill(&padded, &pattern(20 * 32, 4));
    let rows = padded.slice(1, None, Some(24), 1)?;
    let device = there(FIRST, &[20, 24])?;
    copy(&rows, &device, &stream)?;
    let back = locked(&[20, 32])?;
    fill(&back, &[0; 20 * 32]);
    copy(&device, &back.slice(1, Some(8), None, 1)?, &stream)?;
    Ok(elements(&back.slice(1, Some(8), None, 1)?)? == elements(&rows)?)
}

/// Packed on the way up, turned around on the device by many calls, unpacked by the stream on the host.
fn any_layout(streams: &Streams) -> Result<bool> {
    let stream = streams.on(FIRST)?;
    let source = Tensor::from_vec(pattern(6 * 10, 5), &[6, 10])?.slice(1, None, None, 2)?;
    let (device, turned) = (there(FIRST, &[6, 5])?, there(FIRST, &[5, 6])?);
    copy(&source, &device, &stream)?;
    copy(&device, &turned.permute(&[1, 0])?, &stream)?;
    let back = Tensor::empty(&[6, 10], dtype::U32)?.slice(1, None, None, -2)?;
    copy(&turned.permute(&[1, 0])?, &back, &stream)?;
    Ok(elements(&back)? == elements(&source)?)
}

fn between_devices(streams: &Streams) -> Result<bool> {
    let (one, other) = (streams.on(FIRST)?, streams.on(SECOND)?);
    let (first, second, third) = (line(FIRST)?, line(SECOND)?, line(FIRST)?);
    copy(&host(pattern(COUNT, 6)), &first, &one)?;
    copy(&first, &second, &other)?;
    copy(&second, &third, &one)?;
    Ok(download(&third, &one)? == pattern(COUNT, 6))
}

/// Three streams, and nothing to go by but what the tensors know.
fn streams_in_order(streams: &Streams) -> Result<bool> {
    let [one, other, last] = [streams.on(FIRST)?, streams.on(FIRST)?, streams.on(FIRST)?];
    let (first, second) = (line(FIRST)?, line(FIRST)?);
    let mut right = true;
    for seed in 0..2 {
        copy(&host(pattern(COUNT, seed)), &first, &one)?;
        copy(&first, &second, &other)?;
        copy(&host(vec![0; COUNT]), &first, &one)?; // not before it was read
        right &= download(&second, &last)? == pattern(COUNT, seed);
    }
    last.wait_tensor(&second)?;
    last.writes(&second)?;
    Ok(right && download(&second, &one)? == pattern(COUNT, 1))
}

fn with_the_cpu(streams: &Streams) -> Result<bool> {
    let (cuda, cpu) = (streams.on(FIRST)?, streams.on(DLDevice::CPU)?);
    let (device, middle, end) = (line(FIRST)?, host(vec![0; COUNT]), host(vec![0; COUNT]));
    copy(&host(pattern(COUNT, 7)), &middle, &cpu)?;
    copy(&middle, &device, &cuda)?;
    copy(&device, &middle, &cuda)?;
    copy(&middle, &end, &cpu)?;
    cpu.wait_event(&cuda.record()?)?;
    cuda.wait_event(&cpu.record()?)?;
    Ok(elements(&end)? == pattern(COUNT, 7))
}

fn streams_of_others(streams: &Streams) -> Result<bool> {
    let device = line(FIRST)?;
    let ours = streams.on(FIRST)?;
    let handles = [ours.native().unwrap() as usize, 0, 1, 2];
    let mut right = true;
    for (seed, handle) in handles.into_iter().enumerate() {
        // SAFETY: `ours` lives as long, and the default streams always.
        let stream = streams.keep(unsafe { Stream::from_native(FIRST, handle as *mut c_void) }?);
        copy(&host(pattern(COUNT, seed as u32)), &device, &stream)?;
        right &= download(&device, &ours)? == pattern(COUNT, seed as u32);
    }
    Ok(right)
}

fn pinned_in_place(streams: &Streams) -> Result<bool> {
    let stream = streams.on(FIRST)?;
    let (source, back, device) = (host(pattern(COUNT, 8)), host(vec![0; COUNT]), line(FIRST)?);
    // SAFETY: the tensors live longer than the pins.
    let (outer, inner) =
        unsafe { (pin(source.data(), source.nbytes())?, pin(source.data(), source.nbytes() / 2)?) };
    copy(&source, &device, &stream)?;
    drop(inner);
    drop(outer); // waits for the copy
    // SAFETY: as above.
    let other = unsafe { pin(back.data(), back.nbytes()) }?;
    copy(&device, &back, &stream)?;
    drop(other);
    Ok(elements(&back)? == pattern(COUNT, 8))
}

fn events(streams: &Streams) -> Result<bool> {
    let (one, other) = (streams.on(FIRST)?, streams.on(SECOND)?);
    let device = line(FIRST)?;
    let event = copy(&host(pattern(COUNT, 9)), &device, &one)?;
    other.wait_event(&event)?;
    let behind = other.record()?;
    one.wait_event(&behind)?;
    behind.wait_timeout(Duration::from_secs(50))?;
    while !event.done() {
        std::thread::yield_now();
    }
    event.wait()?;
    one.synchronize()?;
    Ok(download(&device, &one)? == pattern(COUNT, 9))
}

fn memory(streams: &Streams) -> Result<bool> {
    let mut right = true;
    for allocator in [device_allocator(FIRST)?, device_allocator(SECOND)?, pinned_allocator(FIRST)?] {
        let blocks = [Block::new(Some(&allocator), 1000, 0)?, Block::new(Some(&allocator), 3000, 4096)?];
        check_pointer(blocks[1].data(), allocator.device())?;
        right &= (blocks[1].data() as usize).is_multiple_of(4096);
        drop(blocks);
        allocator.pool().unwrap().trim(0);
        let stream = streams.on(FIRST)?;
        Block::new(Some(&allocator), 1000, 0)?.release_after(vec![]);
        stream.synchronize()?;
    }
    Ok(right)
}

/// In memory that was used, behind a copy on the same stream of the library's, and a pinned one.
fn zeros_there(streams: &Streams) -> Result<bool> {
    let there = line(FIRST)?;
    copy(&host(pattern(COUNT, 12)), &there, &streams.keep(own_stream(FIRST)?))?;
    drop(there);
    let zeros = device::zeros(&[COUNT as i64], dtype::U32, FIRST, false)?;
    let pinned = device::zeros(&[3], dtype::U32, DLDevice::CPU, true)?;
    Ok(download(&zeros, &streams.on(FIRST)?)? == [0; COUNT] && elements(&pinned)? == [0; 3])
}

/// To a consumer that works on a stream of ours, and one that works on the default stream.
fn lent(streams: &Streams) -> Result<bool> {
    let device = line(FIRST)?;
    let ours = streams.on(FIRST)?;
    // SAFETY: the default stream always lives.
    let default = streams.keep(unsafe { Stream::from_native(FIRST, std::ptr::null_mut()) }?);
    copy(&host(pattern(COUNT, 11)), &device, &ours)?;
    for stream in [ours, default] {
        let export = stream.export(&device)?;
        // SAFETY: an export that nobody else has.
        unsafe { (export.as_ref().deleter.unwrap())(export.as_ptr()) };
    }
    Ok(download(&device, &streams.on(FIRST)?)? == pattern(COUNT, 11))
}

/// The stream and the tensors go before anything is done; a thread of the library sees to the rest.
fn let_go(_: &Streams) -> Result<bool> {
    let stream = Stream::new(FIRST)?;
    let (source, device, back) = (locked(&[COUNT as i64])?, line(FIRST)?, host(vec![0; COUNT]));
    fill(&source, &pattern(COUNT, 10));
    copy(&source, &device, &stream)?;
    drop(source);
    copy(&device, &back, &stream)?;
    drop((stream, device));
    Ok(elements(&back)? == pattern(COUNT, 10))
}
