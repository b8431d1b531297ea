//! Streams whose work is held up on purpose: what is not waited for shows as a wrong element.

mod failures;

use super::*;
use crate::dlpack::{DLDataType, DLDataTypeCode};
use crate::error::Kind;
use crate::tensor::dtype;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A fence that is late: done when the test says so.
#[derive(Default)]
struct Gate {
    open: Mutex<bool>,
    changed: Condvar,
    fails: AtomicBool,
}

impl Gate {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.changed.notify_all();
    }
}

impl Fence for Gate {
    fn done(&self) -> bool {
        *self.open.lock().unwrap()
    }

    fn wait(&self) {
        drop(self.changed.wait_while(self.open.lock().unwrap(), |open| !*open).unwrap());
    }

    fn failure(&self) -> Option<Error> {
        let failed = self.done() && self.fails.load(Ordering::Relaxed);
        failed.then(|| Error::Unavailable { what: "the gate fell down".into() })
    }
}

/// What is queued from now on waits for the gate.
fn held_up(stream: &Stream) -> Arc<Gate> {
    let gate = Arc::new(Gate::default());
    stream.wait_event(&Event(gate.clone())).unwrap();
    gate
}

fn opened_soon(gate: &Arc<Gate>) -> thread::JoinHandle<()> {
    let gate = gate.clone();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        gate.open();
    })
}

fn stream() -> Stream {
    Stream::new(DLDevice::CPU).unwrap()
}

fn zeros(count: usize) -> Tensor {
    Tensor::from_vec(vec![0_i32; count], &[count as i64]).unwrap()
}

fn numbers(count: usize) -> Tensor {
    Tensor::from_vec((1..=count as i32).collect(), &[count as i64]).unwrap()
}

/// Tests reach the memory through tensors only.
fn copy(source: &Tensor, destination: &Tensor, stream: &Stream) -> Result<Event> {
    // SAFETY: as said.
    unsafe { copy_async(source, destination, stream) }
}

fn elements(tensor: &Tensor) -> Result<Vec<i32>> {
    // SAFETY: nobody writes once the copies are done, for which this waits.
    Ok(unsafe { tensor.as_slice::<i32>() }?.to_vec())
}

#[test]
fn every_access_waits_for_a_copy_into_the_memory() {
    type Look = fn(&Tensor) -> i32;
    let first = |data: *const c_void| {
        // SAFETY: the address of an i32 that nobody writes any more, if it was waited for.
        unsafe { data.cast::<i32>().read() }
    };
    let looks: [Look; 6] = [
        |tensor| elements(tensor).unwrap()[0],
        |tensor| elements(&tensor.slice(0, None, None, 1).unwrap()).unwrap()[0],
        // SAFETY: as for `first`; nobody writes.
        |tensor| unsafe { tensor.share_writable().unwrap().data().cast::<i32>().read() },
        // SAFETY: as for `first`; nobody else writes.
        |tensor| unsafe { tensor.data_mut_as(dtype::I32).unwrap().cast::<i32>().read() },
        |tensor| {
            // SAFETY: a fresh export, deleted once.
            unsafe {
                let export = tensor.export().unwrap();
                let value = export.as_ref().dl_tensor.data.cast::<i32>().read();
                (export.as_ref().deleter.unwrap())(export.as_ptr());
                value
            }
        },
        |tensor| {
            // SAFETY: as above.
            unsafe {
                let export = tensor.export_legacy().unwrap();
                let value = export.as_ref().dl_tensor.data.cast::<i32>().read();
                (export.as_ref().deleter.unwrap())(export.as_ptr());
                value
            }
        },
    ];
    for look in looks {
        let (stream, source, destination) = (stream(), numbers(4), zeros(4));
        let gate = held_up(&stream);
        let event = copy(&source, &destination, &stream).unwrap();
        assert!(!event.done());
        assert_eq!(first(destination.data()), 0, "past the tensor's checks nothing waits");
        let opener = opened_soon(&gate);
        assert_eq!(look(&destination), 1);
        assert!(event.done());
        opener.join().unwrap();
    }
}

#[test]
fn reading_the_source_does_not_wait_and_writing_it_does() {
    let (stream, source, destination) = (stream(), numbers(4), zeros(4));
    let gate = held_up(&stream);
    copy(&source, &destination, &stream).unwrap();
    assert_eq!(elements(&source).unwrap(), [1, 2, 3, 4]);
    drop(source.export_legacy().map(|export| {
        // SAFETY: a fresh export.
        unsafe { Tensor::import_legacy(export) }
    }));
    let opener = opened_soon(&gate);
    // SAFETY: the copy is done, and nobody else writes.
    unsafe { source.as_mut_slice::<i32>() }.unwrap().fill(9);
    assert_eq!(elements(&destination).unwrap(), [1, 2, 3, 4]);
    opener.join().unwrap();
    // So does who is given it to write to without `unsafe`.
    let opener = opened_soon(&held_up(&stream));
    let event = copy(&source, &destination, &stream).unwrap();
    source.share_writable().unwrap();
    assert!(event.done());
    opener.join().unwrap();
}

#[test]
fn the_last_reference_is_the_last_one_when_the_copy_is_done() {
    let (stream, source, mut destination) = (stream(), numbers(3), zeros(3));
    let opener = opened_soon(&held_up(&stream));
    copy(&source, &destination, &stream).unwrap();
    assert_eq!(destination.get_mut::<i32>().unwrap(), [1, 2, 3]);
    assert_eq!(source.into_vec::<i32>().unwrap(), [1, 2, 3]);
    opener.join().unwrap();
}

#[test]
fn copies_of_two_streams_that_touch_the_same_memory_are_ordered() {
    let (one, other) = (stream(), stream());
    let (first, second, last) = (numbers(4), zeros(4), zeros(4));
    let gate = held_up(&one);
    copy(&first, &second, &one).unwrap();
    let read = copy(&second, &last, &other).unwrap(); // after the first has written
    let again = copy(&zeros(4), &second, &other).unwrap(); // after it was read
    thread::sleep(Duration::from_millis(10));
    assert!(!read.done() && !again.done());
    gate.open();
    assert_eq!(elements(&last).unwrap(), [1, 2, 3, 4]);
    assert_eq!(elements(&second).unwrap(), [0; 4]);
}

#[test]
fn copies_there_and_back_from_many_threads_never_wait_for_each_other_in_a_ring() {
    let (streams, here, there) = ([stream(), stream()], numbers(8), numbers(8));
    thread::scope(|scope| {
        for turn in 0..4 {
            let (streams, here, there) = (&streams, &here, &there);
            scope.spawn(move || {
                for round in 0..200 {
                    let pair = if (turn + round) % 2 == 0 { (here, there) } else { (there, here) };
                    copy(pair.0, pair.1, &streams[turn % 2]).unwrap();
                }
            });
        }
    });
    streams.iter().for_each(|stream| stream.synchronize().unwrap());
    assert_eq!(elements(&here).unwrap(), elements(&there).unwrap());
}

#[test]
fn waiting_with_a_timeout_answers_in_time() {
    let stream = stream();
    let gate = held_up(&stream);
    let event = stream.record().unwrap();
    let start = Instant::now();
    let error = event.wait_timeout(Duration::from_millis(20)).unwrap_err();
    assert_eq!(error.kind(), Kind::Timeout);
    assert!(error.to_string().contains("20 ms"), "{error}");
    assert!((20..5000).contains(&start.elapsed().as_millis()));
    assert_eq!(event.wait_timeout(Duration::ZERO).unwrap_err().kind(), Kind::Timeout);
    let opener = opened_soon(&gate);
    event.wait_timeout(Duration::MAX).unwrap();
    opener.join().unwrap();
    event.wait_timeout(Duration::ZERO).unwrap();
}

#[test]
fn an_event_of_an_idle_stream_is_done_and_starts_no_thread() {
    let stream = stream();
    assert!(stream.record().unwrap().done());
    stream.synchronize().unwrap();
}

#[test]
fn a_stream_that_is_dropped_finishes_its_work_and_keeps_nothing() {
    let before = Arc::new(());
    let (stream, source, destination) = (stream(), numbers(4), zeros(4));
    let gate = held_up(&stream);
    let kept = before.clone();
    stream
        .call(move || {
            drop(kept);
            Ok(())
        })
        .unwrap();
    let event = copy(&source, &destination, &stream).unwrap();
    drop(stream);
    assert!(!event.done());
    gate.open();
    event.wait().unwrap();
    assert_eq!(Arc::strong_count(&before), 1);
    assert_eq!((source.reference_count(), destination.reference_count()), (1, 1));
}

#[test]
fn a_copy_of_packed_elements_leaves_the_rest_of_the_last_byte_alone() {
    let (stream, int4) = (stream(), DLDataType { code: DLDataTypeCode::INT, bits: 4, lanes: 1 });
    let packed = |bytes: Vec<u8>| {
        let count = bytes.len() as i64;
        Tensor::from_vec(bytes, &[count]).unwrap().reinterpret(int4).unwrap()
    };
    let (source, destination) = (packed(vec![0x21, 0x43]), packed(vec![0xfe, 0xdc]));
    let first = |tensor: &Tensor| tensor.slice(0, None, Some(3), 1).unwrap();
    copy(&first(&source), &first(&destination), &stream).unwrap().wait().unwrap();
    let bytes = destination.reinterpret(dtype::U8).unwrap();
    // SAFETY: the copy is done, and nobody else writes.
    assert_eq!(unsafe { bytes.as_slice::<u8>() }.unwrap(), [0x21, 0xd3], "the fourth element was not copied");
}

#[test]
fn only_the_signals_of_the_thread_itself_reach_it() {
    let done = stream().call(|| {
        let mut blocked = MaybeUninit::uninit();
        // SAFETY: no new mask is given; `blocked` is filled in with the present one before it is asked.
        let is_blocked = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), blocked.as_mut_ptr());
            |signal| libc::sigismember(blocked.as_ptr(), signal) == 1
        };
        assert!([libc::SIGINT, libc::SIGTERM, libc::SIGPROF].into_iter().all(is_blocked));
        assert!(![libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE].into_iter().any(is_blocked));
        Ok(())
    });
    done.unwrap().wait().unwrap();
}

#[test]
fn what_cannot_be_copied_is_refused_and_nothing_is_queued() {
    let (stream, line) = (stream(), numbers(6));
    let table = line.reshape(&[2, 3]).unwrap();
    let bytes = Tensor::from_vec(vec![0_u8; 6], &[6]).unwrap();
    let one = zeros(1);
    let kind = |source: &Tensor, destination: &Tensor| {
        let refused = copy(source, destination, &stream).map(drop).unwrap_err();
        (refused.kind(), refused.to_string())
    };
    let refused = [
        (kind(&line, &table), Kind::InvalidArgument, "shape [6]"),
        (kind(&line, &bytes), Kind::InvalidArgument, "int32"),
        (kind(&line, &zeros(6).read_only().unwrap()), Kind::ReadOnly, "read-only"),
        (kind(&line, &one.expand(&[6]).unwrap()), Kind::ReadOnly, "read-only"),
        (
            kind(&line.slice(0, None, Some(3), 1).unwrap(), &line.slice(0, Some(2), Some(5), 1).unwrap()),
            Kind::Unsupported,
            "lie between each other",
        ),
        (kind(&line, &line), Kind::Unsupported, "lie between each other"),
    ];
    for ((kind, words), expected, part) in refused {
        assert_eq!(kind, expected, "{words}");
        assert!(words.contains(part), "{words}");
    }
    assert_eq!(line.reference_count(), 2, "the table's");
    for device in [DLDevice::cuda(0), DLDevice { device_type: DLDeviceType::VULKAN, device_id: 0 }] {
        assert_eq!(Stream::new(device).map(drop).unwrap_err().kind(), Kind::Unavailable);
    }
    // SAFETY: refused.
    let native = unsafe { Stream::from_native(DLDevice::CPU, std::ptr::null_mut()) };
    assert_eq!(native.map(drop).unwrap_err().kind(), Kind::Unsupported);
}

#[test]
fn the_librarys_own_stream_is_one() {
    let (one, other) = (own_stream(DLDevice::CPU).unwrap(), own_stream(DLDevice::CPU).unwrap());
    let gate = held_up(&one);
    assert!(!other.record().unwrap().done());
    gate.open();
    other.synchronize().unwrap();
    assert_eq!(own_stream(DLDevice::cuda(63)).unwrap_err().kind(), Kind::Unavailable);
}

#[test]
fn a_stream_waits_for_the_copies_into_a_tensor() {
    let (copies, consumer) = (stream(), stream());
    let (source, destination) = (numbers(1000), zeros(1000));
    consumer.wait_tensor(&destination).unwrap(); // nothing to wait for
    let gate = held_up(&copies);
    copy(&source, &destination, &copies).unwrap();
    consumer.wait_tensor(&destination).unwrap();
    consumer.wait_tensor(&source).unwrap(); // which is only read
    let reached = consumer.record().unwrap();
    assert!(!reached.done());
    gate.open();
    reached.wait().unwrap();
}

#[test]
fn what_somebody_writes_on_a_stream_is_waited_for() {
    let (theirs, tensor) = (stream(), numbers(3));
    let gate = held_up(&theirs);
    theirs.writes(&tensor).unwrap();
    assert!(!tensor.is_settled());
    opened_soon(&gate).join().unwrap();
    assert_eq!(elements(&tensor).unwrap(), [1, 2, 3]);
}

#[test]
fn pinned_memory_is_the_hosts_too() {
    let mut data = [1_i32, 2, 3];
    let mut shape = [3];
    let mut description = *zeros(3).view();
    description.data = data.as_mut_ptr().cast();
    description.shape = shape.as_mut_ptr();
    description.strides = std::ptr::null_mut();
    description.device.device_type = DLDeviceType::CUDAHOST;
    // SAFETY: the array outlives the tensors.
    let pinned = unsafe { Tensor::wrap(&description, dlpark::DlpackFlags::READ_ONLY, ()) };
    let pinned = pinned.map_err(|(error, ())| error).unwrap();
    let plain = pinned.on_host().unwrap();
    assert_eq!((plain.device(), plain.data(), plain.is_read_only()), (DLDevice::CPU, pinned.data(), true));
    description.device = DLDevice::cuda(0);
    // SAFETY: as above; nobody reads it.
    let device = unsafe { Tensor::wrap(&description, dlpark::DlpackFlags::empty(), ()) };
    let device = device.map_err(|(error, ())| error).unwrap();
    assert_eq!(device.on_host().unwrap_err().kind(), Kind::Unsupported);
}
