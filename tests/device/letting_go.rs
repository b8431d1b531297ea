//! Who lets go of what work held, and when: who waits for all of it, and the library's thread; never who only asks, nor who
//! has a turn on a stream. And memory that a consumer lets go of while the device is at work.

use crate::foreign::{ForeignStream, Gate, finished};
use crate::given::*;
use crate::standin::{calls, fail, live, set_delay, use_again};
use dlbridge::device::{Event, Stream, own_stream};
use dlbridge::dlpack::{DLDevice, DLManagedTensorVersioned};
use dlbridge::{Error, Tensor, Transfer};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{self, ThreadId};
use std::time::Duration;

crate::tests!(
    a_copy_within_the_host_holds_its_source,
    asking_lets_go_of_nothing,
    a_time_limit_holds_while_a_release_function_runs,
    a_release_function_may_use_the_stream_that_waits_for_it,
    a_stream_of_the_cpu_waits_for_the_work_only,
    nothing_is_held_after_a_wait,
    waiting_asks_the_driver_for_little,
    a_handle_is_not_ours_once_its_stream_is_gone,
    exported_memory_stays_until_the_consumer_is_done,
    a_consumers_stream_that_waits_for_the_default_one_may_go_first,
);

const COUNT: usize = 5000;

/// Memory of the host that does something when it is let go of. It is overwritten then, and kept: whoever reads it late sees
/// that, and nothing worse.
struct Watched(Vec<u32>, Option<Box<dyn FnOnce() + Send>>);

static GONE: Mutex<Vec<Vec<u32>>> = Mutex::new(Vec::new());

impl AsRef<[u32]> for Watched {
    fn as_ref(&self) -> &[u32] {
        &self.0
    }
}

impl AsMut<[u32]> for Watched {
    fn as_mut(&mut self) -> &mut [u32] {
        &mut self.0
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let mut values = std::mem::take(&mut self.0);
        values.fill(0xEEEE_EEEE);
        GONE.lock().unwrap().push(values);
        self.1.take().into_iter().for_each(|body| body());
    }
}

fn watched(seed: u32, body: impl FnOnce() + Send + 'static) -> Tensor {
    Tensor::from_owner(Watched(pattern(COUNT, seed), Some(Box::new(body))), &[COUNT as i64]).unwrap()
}

/// Queues a copy of memory that is let go of when it is done; where it goes.
fn released(stream: &Stream, body: impl FnOnce() + Send + 'static) -> (Tensor, Event) {
    let to = host(vec![0; COUNT]);
    let event = copy(&watched(1, body), &to, stream).unwrap();
    (to, event)
}

fn a_copy_within_the_host_holds_its_source() {
    set_delay(20_000);
    let stream = stream();
    for seed in 0..20 {
        let to = host(vec![0; COUNT]);
        copy(&watched(seed, || {}), &to, &stream).unwrap();
        assert!(elements(&to).unwrap() == pattern(COUNT, seed));
    }
    set_delay(200);
}

fn asking_lets_go_of_nothing() {
    let by: Arc<Mutex<Option<ThreadId>>> = Arc::default();
    let stream = stream();
    for _ in 0..20 {
        let noted = by.clone();
        let (_to, event) = released(&stream, move || *noted.lock().unwrap() = Some(thread::current().id()));
        while !event.done() {
            thread::yield_now();
        }
        let by = by.lock().unwrap().take();
        assert!(by.is_some_and(|by| by != thread::current().id()), "{by:?}");
    }
}

fn a_time_limit_holds_while_a_release_function_runs() {
    let stream = stream();
    let (open, gate) = mpsc::channel();
    let (say, hear) = mpsc::channel();
    let (_to, event) = released(&stream, move || {
        say.send(gate.recv_timeout(Duration::from_secs(20)).is_ok()).unwrap();
    });
    let error = event.wait_timeout(Duration::from_millis(50)).unwrap_err();
    assert_eq!(error, Error::Transfer(Transfer::Timeout { nanoseconds: 50_000_000 }));
    assert!(!event.done());
    open.send(()).unwrap();
    event.wait().unwrap();
    assert!(hear.recv().unwrap(), "the one who waited ran it");
}

fn a_release_function_may_use_the_stream_that_waits_for_it() {
    let (one, other) = (stream(), Arc::new(stream()));
    for _ in 0..10 {
        let again = other.clone();
        let (_to, event) = released(&one, move || again.record().unwrap().wait().unwrap());
        // The stream cannot wait, so the host does.
        fail("cuStreamWaitEvent", 1, 719, false);
        other.wait_event(&event).unwrap();
        other.synchronize().unwrap();
        event.wait().unwrap();
    }
}

fn a_stream_of_the_cpu_waits_for_the_work_only() {
    set_delay(5000);
    let (first, second) = (Stream::new(DLDevice::CPU).unwrap(), Stream::new(DLDevice::CPU).unwrap());
    let cuda = stream();
    for _ in 0..10 {
        let last: Arc<OnceLock<Event>> = Arc::default();
        let awaited = last.clone();
        let (_to, event) = released(&cuda, move || {
            while awaited.get().is_none() {
                thread::yield_now();
            }
            awaited.get().unwrap().wait().unwrap();
        });
        first.wait_event(&event).unwrap();
        second.wait_event(&first.record().unwrap()).unwrap();
        last.set(second.record().unwrap()).unwrap();
        last.get().unwrap().wait().unwrap();
        event.wait().unwrap();
    }
    set_delay(200);
}

fn nothing_is_held_after_a_wait() {
    let (stream, source) = (stream(), host(pattern(COUNT, 1)));
    for _ in 0..10 {
        let gone = Arc::new(AtomicUsize::new(0));
        let (say, hear) = mpsc::channel();
        for _ in 0..4 {
            let (gone, say) = (gone.clone(), say.clone());
            let body = move || {
                say.send(()).unwrap();
                thread::sleep(Duration::from_millis(10));
                gone.fetch_add(1, Ordering::Relaxed);
            };
            let to = Watched(vec![0; COUNT], Some(Box::new(body)));
            copy(&source, &Tensor::from_owner_mut(to, &[COUNT as i64]).unwrap(), &stream).unwrap();
        }
        // The library's thread is at it, in the middle of a release function.
        hear.recv().unwrap();
        stream.record().unwrap().wait().unwrap();
        assert_eq!(gone.load(Ordering::Relaxed), 4);
    }
}

fn waiting_asks_the_driver_for_little() {
    let (stream, count) = (stream(), 1000);
    let events: Vec<Event> = (0..count).map(|_| stream.record().unwrap()).collect();
    finished(0, stream.native().unwrap());
    let before = calls("cuEventQuery");
    events.iter().for_each(|event| event.wait().unwrap());
    assert!(calls("cuEventQuery") - before < 10 * count, "{}", calls("cuEventQuery") - before);
}

fn a_handle_is_not_ours_once_its_stream_is_gone() {
    let gone = stream();
    let handle = gone.native().unwrap();
    let work = Gate::on(0, handle);
    let event = gone.record().unwrap();
    drop(gone);
    // The driver may give a new stream this handle, while the old one is at work.
    use_again(handle);
    let theirs = ForeignStream::new(0).unwrap();
    assert_eq!(theirs.handle(), handle);
    // SAFETY: it is dropped first.
    let next = unsafe { Stream::from_native(FIRST, handle) }.unwrap();
    let before = calls("cuStreamWaitEvent");
    next.wait_event(&event).unwrap();
    let behind = next.record().unwrap();
    assert_eq!(calls("cuStreamWaitEvent"), before + 1);
    thread::sleep(Duration::from_millis(20));
    assert!(!behind.done());
    work.open();
    behind.wait().unwrap();
    event.wait().unwrap();
}

fn exported_memory_stays_until_the_consumer_is_done() {
    // SAFETY: the default stream always lives.
    let default = unsafe { Stream::from_native(FIRST, null_mut()) }.unwrap();
    let named = stream();
    type Export = fn(&Tensor, &Stream) -> NonNull<DLManagedTensorVersioned>;
    let plain: Export = |tensor, _| tensor.export().unwrap();
    let on_the_stream: Export = |tensor, stream| stream.export(tensor).unwrap();
    let own = own_stream(FIRST).unwrap();
    let cases = [(plain, &default), (plain, &own), (on_the_stream, &named), (on_the_stream, &default)];
    for (export, works_on) in cases {
        for fails in ["", "cuCtxPushCurrent", "cuEventRecord"] {
            trim();
            set_delay(20_000);
            let tensor = on(FIRST, &[1 << 18]);
            let address = tensor.data();
            let export = export(&tensor, works_on);
            drop(tensor);
            // The consumer queues its kernels, and lets go.
            let mut done = works_on.record().unwrap();
            for _ in 1..40 {
                done = works_on.record().unwrap();
            }
            if !fails.is_empty() {
                fail(fails, 1, 719, false);
            }
            // SAFETY: an export that nobody else has.
            unsafe { (export.as_ref().deleter.unwrap())(export.as_ptr()) };
            crate::standin::heal();
            let again = on(FIRST, &[1 << 18]);
            assert!(again.data() != address || done.done(), "{fails}: it is used again");
            done.wait().unwrap();
            let _ = works_on.synchronize();
        }
    }
    set_delay(200);
}

fn a_consumers_stream_that_waits_for_the_default_one_may_go_first() {
    nothing_left(|| {
        trim();
        let tensor = on(FIRST, &[1 << 18]);
        let address = tensor.data();
        let theirs = ForeignStream::blocking(0).unwrap();
        let uses = live(c"uses of streams that are gone");
        // SAFETY: it is dropped first.
        let named = unsafe { Stream::from_native(FIRST, theirs.handle()) }.unwrap();
        let export = named.export(&tensor).unwrap();
        let work = Gate::on(0, theirs.handle());
        drop((tensor, named, theirs));
        // SAFETY: an export that nobody else has.
        unsafe { (export.as_ref().deleter.unwrap())(export.as_ptr()) };
        assert_eq!(live(c"uses of streams that are gone"), uses);
        thread::sleep(Duration::from_millis(20));
        let again = on(FIRST, &[1 << 18]);
        let is_used_again = again.data() == address;
        work.open();
        assert!(!is_used_again);
    });
}
