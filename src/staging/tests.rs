use super::target::{Target, Upload};
use super::{Batch, Leaf, Options, Ring};
use crate::device::{Stream, copy_async, device_allocator};
use crate::dlpack::DLDevice;
use crate::error::{Error, Kind, Reason, Result, Staging};
use crate::memory::{Allocator, Host, Limits, Pool};
use crate::tensor::{Tensor, dtype};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

mod ahead;
mod checksums;
mod loops;

const SHORT: Option<Duration> = Some(Duration::from_millis(5));
const SOON: Option<Duration> = Some(Duration::ZERO);
const PATIENT: Option<Duration> = Some(Duration::from_secs(60));

fn ring(slots: usize, keep: usize) -> Ring {
    Ring::new(Options { slots, keep, ..Options::default() }).unwrap()
}

/// A ring whose batches are copied to buffers of their own by a stream, as for a device; the device is the CPU.
fn uploading(options: Options, careless: bool) -> Ring {
    uploading_on(Stream::new(DLDevice::CPU).unwrap(), options, careless)
}

fn uploading_on(stream: Stream, options: Options, careless: bool) -> Ring {
    let upload = Upload { allocator: device_allocator(DLDevice::CPU).unwrap(), stream, careless };
    Ring::on(Target { device: DLDevice::CPU, host: None, upload: Some(upload) }, options).unwrap()
}

fn put(ring: &Ring, values: &[i32]) -> Result<u64> {
    put_within(ring, values, SOON)
}

fn put_within(ring: &Ring, values: &[i32], timeout: Option<Duration>) -> Result<u64> {
    let mut slot = ring.acquire(&[Leaf::new("values", &[values.len() as i64], dtype::I32)], timeout)?;
    slot.get_mut::<i32>(0)?.copy_from_slice(values);
    let number = slot.number();
    slot.submit().map(|()| number)
}

fn values(batch: &Batch) -> Vec<i32> {
    batch.slice::<i32>(0).unwrap().to_vec()
}

fn kind<T>(result: Result<T>) -> Kind {
    result.err().expect("it fails").kind()
}

#[test]
fn the_memory_that_was_filled_is_the_batch_and_is_used_again() {
    let ring = ring(1, 0);
    let leaves =
        [Leaf::new("x", &[2, 3], dtype::F32), Leaf::new("", &[5], dtype::U8), Leaf::new("", &[0], dtype::U8)];
    let mut slot = ring.acquire(&leaves, SOON).unwrap();
    slot.get_mut::<f32>(0).unwrap().fill(1.5);
    slot.get_mut::<u8>(1).unwrap().fill(7);
    let place = slot.tensors()[0].data();
    slot.submit().unwrap();
    let batch = ring.next(None, SOON).unwrap();
    assert_eq!((batch.number(), batch.names()), (0, ["x", "1", "2"].map(String::from).as_slice()));
    assert_eq!((batch.get("x").unwrap().data(), batch.tensors()[0].shape()), (place, [2, 3].as_slice()));
    assert_eq!(batch.tensors()[2].size(), 0);
    assert_eq!(
        batch.get("y").unwrap_err().to_string(),
        "the batch has no tensor \"y\"; it has [\"x\", \"1\", \"2\"]"
    );
    assert_eq!(kind(ring.acquire(&leaves, SOON)), Kind::OutOfMemory, "this thread waits for itself");
    drop(batch);
    let again = ring.acquire(&leaves, SOON).unwrap();
    assert_eq!((again.number(), again.tensors()[0].data(), ring.totals().sets), (1, place, 1));
    let larger = [Leaf::new("x", &[20, 30], dtype::F32)];
    drop(again);
    assert_eq!(ring.acquire(&larger, SOON).unwrap().tensors()[0].nbytes(), 2400);
}

/// As of [`Tensor::empty`]: a copy reads the byte that it writes a part of.
#[test]
fn a_last_byte_that_elements_do_not_fill_has_a_value() {
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(Arc::new(Host), Limits::default()));
    let memory = crate::memory::Options { allocator: Some(&pool), ..Default::default() };
    let mut used = Tensor::zeros_with(&[512], dtype::U8, memory).unwrap();
    used.get_mut::<u8>().unwrap().fill(0xff);
    drop(used);
    let target = Target { device: DLDevice::CPU, host: Some(pool), upload: None };
    let ring = Ring::on(target, Options::default()).unwrap();
    let nibbles = Tensor::zeros(&[3], dtype::parse("int4").unwrap()).unwrap();
    let mut slot = ring.acquire(&[Leaf::new("x", nibbles.shape(), nibbles.dtype())], SOON).unwrap();
    // SAFETY: nobody writes to the nibbles.
    unsafe { slot.fill(0, &nibbles) }.unwrap();
    // SAFETY: two bytes, which nobody writes to.
    assert_eq!(unsafe { slot.bare(0).unwrap().data().cast::<u8>().add(1).read() }, 0);
}

#[test]
fn a_batch_that_is_kept_is_never_overwritten() {
    for upload in [false, true] {
        let options = Options { slots: 2, keep: 3, ..Options::default() };
        let ring = if upload { uploading(options, false) } else { Ring::new(options).unwrap() };
        let mut kept = Vec::new();
        for number in 0..5 {
            put_within(&ring, &[number; 100], PATIENT).unwrap();
            let batch = ring.next(None, SOON).unwrap();
            // A view and an export, as other frameworks have them.
            kept.push((batch.tensors()[0].select(0, 3).unwrap(), batch.tensors()[0].export().unwrap()));
        }
        let error = put_within(&ring, &[5; 100], PATIENT).unwrap_err();
        assert_eq!(error, Error::Staging(Staging::Held { batches: vec![0, 1, 2, 3, 4], most: 5, keep: 3 }));
        for (number, (view, export)) in kept.drain(..).enumerate() {
            // SAFETY: an export that is deleted once, and elements that nobody writes.
            unsafe {
                assert_eq!(view.data_as(dtype::I32).unwrap().cast::<i32>().read(), number as i32);
                drop(crate::Tensor::import(export).unwrap());
            }
        }
        put_within(&ring, &[6; 3], PATIENT).unwrap();
        put_within(&ring, &[7; 3], PATIENT).unwrap();
        assert_eq!(kind(put(&ring, &[8; 3])), Kind::Timeout, "as many as slots again");
        assert_eq!(values(&ring.next(None, SOON).unwrap()), [6; 3]);
    }
}

#[test]
fn nobody_waits_for_a_slot_that_was_given_up_though_a_tensor_of_it_lives() {
    let ring = ring(2, 0);
    let slot = ring.acquire(&[Leaf::new("", &[4], dtype::I32)], SOON).unwrap();
    let tensor = slot.tensors()[0].clone();
    put(&ring, &[7; 3]).unwrap();
    ring.close();
    drop(slot);
    assert_eq!(values(&ring.next(None, PATIENT).unwrap()), [7; 3], "the one behind it comes next");
    assert_eq!(kind(ring.next(None, PATIENT)), Kind::Closed);
    assert_eq!(ring.held(), [0], "its memory is not used again");
    drop(tensor);
    assert!(ring.held().is_empty());
}

#[test]
fn a_slot_that_was_given_up_is_not_said_to_be_with_consumers() {
    let ring = ring(2, 0);
    let slot = ring.acquire(&[Leaf::new("", &[4], dtype::I32)], SOON).unwrap();
    let _tensor = slot.tensors()[0].clone();
    drop(slot);
    let _filling = ring.acquire(&[Leaf::new("", &[4], dtype::I32)], SOON).unwrap();
    let error = ring.acquire(&[Leaf::new("", &[4], dtype::I32)], SHORT).unwrap_err();
    let words = "no slot was free within 5 ms; batches 0 are held, by consumers or by tensors that outlive";
    assert!(error.to_string().starts_with(words), "{error}");
}

#[test]
fn what_is_kept_beyond_the_cap_is_an_error_at_once_and_the_next_call_succeeds() {
    let ring = ring(1, 0);
    put(&ring, &[1]).unwrap();
    let batch = ring.next(None, SOON).unwrap();
    let kept = batch.tensors()[0].clone();
    let like = [Leaf::new("", &[1], dtype::I32)];
    // Another thread waits for a batch that is not released; whoever has it would wait for itself.
    let other = std::thread::scope(|s| s.spawn(|| kind(ring.acquire(&like, SHORT))).join().unwrap());
    assert_eq!([other, kind(ring.acquire(&like, SHORT))], [Kind::Timeout, Kind::OutOfMemory]);
    drop(batch);
    assert_eq!(kind(ring.acquire(&like, None)), Kind::OutOfMemory);
    drop(kept);
    ring.acquire(&like, None).unwrap();
}

#[test]
fn both_sides_wait_no_longer_than_they_are_told() {
    let ring = ring(1, 4);
    assert_eq!(
        ring.next(None, SHORT).unwrap_err().to_string(),
        "no batch was ready within 5 ms; wait again, or longer"
    );
    put(&ring, &[1]).unwrap();
    let error = ring.acquire(&[Leaf::new("", &[1], dtype::I32)], SHORT).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout, "{error}");
    ring.next(None, SOON).unwrap();
    put(&ring, &[1]).unwrap();
    assert!(
        ring.totals().slot_wait >= Duration::from_millis(5)
            && ring.totals().batch_wait >= Duration::from_millis(5)
    );
}

#[test]
fn closing_lets_consumers_have_the_rest_and_aborting_does_not() {
    let ring = ring(2, 0);
    let late = ring.acquire(&[Leaf::new("", &[1], dtype::I32)], SOON).unwrap();
    put(&ring, &[1]).unwrap();
    ring.close();
    assert_eq!(kind(put(&ring, &[2])), Kind::Closed);
    assert_eq!(kind(ring.next(None, SOON)), Kind::Timeout, "a batch before it is being filled");
    late.submit().unwrap();
    assert_eq!(ring.next(None, SOON).unwrap().number(), 0);
    assert_eq!(ring.next(None, SOON).unwrap().number(), 1);
    assert_eq!(ring.next(None, SOON).unwrap_err(), Error::Staging(Staging::Closed));

    let ring = self::ring(2, 0);
    put(&ring, &[1]).unwrap();
    let late = ring.acquire(&[Leaf::new("", &[1], dtype::I32)], SOON).unwrap();
    ring.abort("the disk is full");
    ring.abort("and something else");
    let aborted = Error::Staging(Staging::Aborted { reason: Reason::Said("the disk is full".into()) });
    assert_eq!(late.submit().unwrap_err(), aborted);
    assert_eq!(ring.next(None, None).unwrap_err(), aborted);
    assert_eq!(put(&ring, &[2]).unwrap_err(), aborted);
}

#[test]
fn after_its_end_a_ring_has_the_memory_of_batches_alone_though_handles_live_on() {
    for end in [Ring::close, |ring: &Ring| ring.abort("enough")] {
        let pool = Arc::new(Pool::new(Arc::new(Host), Limits::default()));
        let target = Target { device: DLDevice::CPU, host: Some(pool.clone()), upload: None };
        let ring = Ring::on(target, Options { slots: 3, ..Options::default() }).unwrap();
        (0..3).for_each(|value| _ = put(&ring, &[value; 1000]).unwrap());
        let [_, kept] = [(); 2].map(|()| ring.next(None, SOON).unwrap());
        assert_eq!(pool.stats().asked, 12000);
        end(&ring);
        let waits = usize::from(!ring.is_aborted());
        assert_eq!(pool.stats().asked, 4000 * (1 + waits), "what is kept, and what a consumer may ask for");
        assert_eq!(values(&kept), [1; 1000]);
        drop(kept);
        drop(ring.next(None, SOON));
        assert_eq!(pool.stats().asked, 0);
    }
}

#[test]
fn whoever_panics_takes_the_other_side_along_instead_of_leaving_it_waiting() {
    for consumer in [false, true] {
        let ring = ring(1, 0);
        let other = ring.clone();
        let panics = std::thread::spawn(move || {
            let slot = other.acquire(&[Leaf::new("", &[1], dtype::I32)], None).unwrap();
            if consumer {
                slot.submit().unwrap();
                let _batch = other.next(None, None).unwrap();
                panic!("as asked");
            }
            let _slot = slot;
            panic!("as asked");
        });
        assert!(panics.join().is_err());
        let error = ring.next(None, None).unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        assert_eq!(kind(ring.acquire(&[Leaf::new("", &[1], dtype::I32)], None)), Kind::Closed);
    }
}

#[test]
fn what_cannot_be_is_refused_in_words() {
    let words = |options| Ring::new(options).unwrap_err().to_string();
    assert!(words(Options { slots: 0, ..Options::default() }).starts_with("0 slots"), "no slots");
    assert_eq!(
        kind(Ring::new(Options { device: DLDevice::cuda(0), ..Options::default() })),
        Kind::Unavailable
    );
    let ring = ring(1, 0);
    assert_eq!(kind(ring.acquire(&[], SOON)), Kind::InvalidArgument);
    assert_eq!(kind(ring.acquire(&[Leaf::new("", &[-1], dtype::I32)], SOON)), Kind::InvalidArgument);
    // A request that no memory serves leaves the slot for the next.
    assert_eq!(kind(ring.acquire(&[Leaf::new("", &[1 << 60], dtype::U8)], SOON)), Kind::OutOfMemory);
    let mut slot = ring.acquire(&[Leaf::new("", &[2], dtype::I32)], SOON).unwrap();
    assert_eq!(
        slot.get_mut::<i32>(1).unwrap_err().to_string(),
        "the batch has 1 tensors and no number 1; pass 0 to 0"
    );
    let other = crate::Tensor::from_vec(vec![1_i32, 2, 3], &[3]).unwrap();
    // SAFETY: nobody writes to it.
    assert_eq!(kind(unsafe { slot.fill(0, &other) }), Kind::InvalidArgument);
    // SAFETY: as above.
    unsafe { slot.fill(0, &other.slice(0, None, None, -2).unwrap()) }.unwrap();
    slot.submit().unwrap();
    assert_eq!(values(&ring.next(None, SOON).unwrap()), [3, 1]);
}

#[test]
fn a_copy_that_fails_reaches_the_consumer() {
    let ring = uploading(Options::default(), false);
    let Some(upload) = &ring.target().upload else { panic!("it uploads") };
    upload
        .stream
        .call(|| Err(Error::Staging(Staging::Aborted { reason: Reason::Said("device lost".into()) })))
        .unwrap();
    put(&ring, &[1]).unwrap();
    let stream = Stream::new(DLDevice::CPU).unwrap();
    let batch = ring.next(Some(&stream), PATIENT).unwrap();
    assert!(batch.tensors()[0].data_as(dtype::I32).unwrap_err().to_string().contains("device lost"));
    assert!(stream.synchronize().unwrap_err().to_string().contains("device lost"));
}

#[test]
fn a_batch_is_read_without_unsafe_and_what_it_is_not_is_refused() {
    let ring = ring(1, 0);
    let leaves = [Leaf::new("pixels", &[2, 2], dtype::U8), Leaf::new("untouched", &[3], dtype::F32)];
    let mut slot = ring.acquire(&leaves, SOON).unwrap();
    slot.get_mut::<u8>("pixels").unwrap().copy_from_slice(&[1, 2, 3, 4]);
    assert_eq!(kind(slot.get_mut::<u8>(2)), Kind::InvalidArgument);
    slot.submit().unwrap();
    let batch = ring.next(None, SOON).unwrap();
    assert_eq!(batch.slice::<u8>("pixels").unwrap(), [1, 2, 3, 4]);
    assert_eq!(batch.slice::<u8>(batch.position("pixels").unwrap()).unwrap(), [1, 2, 3, 4]);
    assert_eq!(batch.slice::<f32>(1).unwrap(), [0.0; 3]);
    let words = |error: Error| error.to_string();
    assert!(words(batch.slice::<i8>(0).unwrap_err()).starts_with("the tensor holds uint8, not int8"));
    assert_eq!(kind(batch.slice::<u8>(2)), Kind::InvalidArgument);
    assert_eq!(kind(batch.position("labels")), Kind::InvalidArgument);
    let names: Vec<String> = batch.names().to_vec();
    for (index, name) in names.iter().enumerate() {
        let [by_name, by_number] =
            [batch.tensor(name), batch.tensor(index)].map(|tensor| tensor.unwrap().data());
        assert_eq!(by_name, by_number);
    }
    assert!(words(batch.tensor("labels").unwrap_err()).contains("it has [\"pixels\", \"untouched\"]"));
}

#[test]
fn what_was_copied_into_a_slot_is_there_for_who_goes_on_to_write_it() {
    let ring = ring(1, 0);
    let source = Tensor::from_vec(vec![1, 2, 3], &[3]).unwrap();
    let mut slot = ring.acquire(&[Leaf::new("", &[3], dtype::I32)], SOON).unwrap();
    // SAFETY: nobody writes to the source.
    unsafe { slot.fill(0, &source) }.unwrap();
    slot.get_mut::<i32>(0).unwrap()[0] += 6;
    assert_eq!(slot.tensor(0).unwrap().size(), 3);
    slot.submit().unwrap();
    assert_eq!(values(&ring.next(None, SOON).unwrap()), [7, 2, 3]);
}

/// Nobody says which thread is first: without care one goes on to write zeros when the other has its tensor.
#[test]
fn threads_that_share_a_slot_are_given_tensors_that_nobody_goes_on_to_write() {
    const BYTES: usize = 8 << 20;
    for _ in 0..8 {
        let (ring, both) = (ring(1, 0), Barrier::new(2));
        let slot = ring.acquire(&[Leaf::new("", &[BYTES as i64], dtype::U8)], SOON).unwrap();
        let write = |place: usize| {
            both.wait();
            let data = slot.tensor(0).unwrap().data_mut_as(dtype::U8).unwrap().cast::<u8>();
            // SAFETY: a byte of the slot, which no other thread writes.
            unsafe { data.add(place).write(7) };
        };
        let write = &write;
        thread::scope(|scope| {
            [BYTES - 1, BYTES - 2].into_iter().for_each(|place| _ = scope.spawn(move || write(place)));
        });
        slot.submit().unwrap();
        let batch = ring.next(None, SOON).unwrap();
        assert_eq!(batch.slice::<u8>(0).unwrap()[BYTES - 2..], [7, 7]);
    }
}

/// The threads of two streams let go of what waits for the other one: neither waits, or both would for ever.
#[test]
fn streams_that_let_go_of_each_others_batches_do_not_wait_for_each_other() {
    let streams = [(); 2].map(|()| Stream::new(DLDevice::CPU).unwrap());
    let rings = [ring(1, 0), ring(1, 0)];
    let gate = Arc::new(Barrier::new(3));
    let mut events = Vec::new();
    for (number, ring) in rings.iter().enumerate() {
        put(ring, &[7, 8, 9]).unwrap();
        let batch = ring.next(Some(&streams[number]), SOON).unwrap();
        let other = &streams[1 - number];
        let gate = gate.clone();
        other.call(move || Ok(_ = gate.wait())).unwrap();
        let copy = Tensor::zeros(&[3], dtype::I32).unwrap();
        // SAFETY: the memory is reached through tensors only.
        events.push(unsafe { copy_async(&batch.tensors()[0], &copy, other) }.unwrap());
        drop(batch);
        ring.close(); // memory that comes back is not kept
    }
    gate.wait();
    events.iter().for_each(|event| event.wait_timeout(PATIENT.unwrap()).unwrap());
}
