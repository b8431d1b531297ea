//! CUDA graphs that somebody captures: nothing that the library does spoils one, and nothing of it becomes a part.

use crate::foreign::{Capture, ForeignStream, Gate, Mode, OtherContext, finished, with_context};
use crate::given::*;
use crate::scenarios::{SCENARIOS, Streams};
use crate::standin::{calls, fail, function, set_delay};
use dlbridge::device::{Stream, device_allocator, own_stream};
use dlbridge::{Error, Kind, Result};
use std::ffi::c_void;
use std::mem::transmute;
use std::ptr::null_mut;
use std::thread;
use std::time::Duration;

crate::tests!(
    the_stand_in_knows_what_spoils_a_graph,
    everything_goes_on_while_a_graph_is_captured,
    what_the_library_does_by_itself_spoils_no_graph,
    nothing_is_queued_on_a_stream_that_is_captured,
    our_own_streams_are_captured_by_others_alone,
    the_default_stream_is_left_alone_while_one_that_waits_for_it_is_captured,
    memory_that_is_let_go_of_meanwhile_is_kept,
    a_driver_that_does_not_say_is_asked_again,
    a_stream_of_another_context_is_refused,
);

const MODES: [Mode; 3] = [Mode::Global, Mode::ThreadLocal, Mode::Relaxed];

fn theirs(stream: &ForeignStream) -> Stream {
    // SAFETY: each test drops it before the stream.
    unsafe { Stream::from_native(FIRST, stream.handle()) }.unwrap()
}

fn is_refused<T>(answer: Result<T>, what: &str) {
    let error = answer.err().unwrap_or_else(|| panic!("{what} was done"));
    assert_eq!(error.kind(), Kind::Unsupported, "{what}: {error}");
    let words = error.to_string();
    assert!(
        words.contains("captured into a CUDA graph") && words.contains("before the capture begins"),
        "{words}"
    );
}

/// Otherwise the tests below would prove nothing.
fn the_stand_in_knows_what_spoils_a_graph() {
    let stream = ForeignStream::new(0).unwrap();
    let call = |name: &str| {
        // SAFETY: the functions take a pointer, or nothing and do not look.
        let call = unsafe { transmute::<*mut c_void, extern "C" fn(*mut c_void) -> i32>(function(name)) };
        with_context(0, || call(stream.handle()))
    };
    for (name, modes, code) in [
        ("cuStreamGetFlags", 2, 900), // in the mode that the thread has
        ("cuCtxSynchronize", 3, 900), // in any
        ("cuStreamSynchronize", 3, 900),
    ] {
        for (at, mode) in MODES.into_iter().enumerate() {
            let capture = Capture::of(0, stream.handle(), mode);
            let mut flags = 0_u32;
            let answer = match name {
                // SAFETY: the function has these arguments.
                "cuStreamGetFlags" => with_context(0, || unsafe {
                    transmute::<*mut c_void, extern "C" fn(*mut c_void, *mut u32) -> i32>(function(name))(
                        stream.handle(),
                        &mut flags,
                    )
                }),
                _ => call(name),
            };
            let spoils = at < modes;
            assert_eq!(answer, if spoils { code } else { 0 }, "{name}, {mode:?}");
            assert_eq!(capture.end(), if spoils { Err(901) } else { Ok(0) }, "{name}, {mode:?}");
        }
    }
    // From another thread in one of them.
    for (mode, answer) in MODES.into_iter().zip([Err(901), Ok(0), Ok(0)]) {
        let capture = Capture::of(0, stream.handle(), mode);
        thread::scope(|scope| scope.spawn(|| drop(ForeignStream::new(0))).join().unwrap());
        assert_eq!(capture.end(), answer, "{mode:?}");
    }
}

/// All that programs do with devices, on the thread that captures and on others.
fn everything_goes_on_while_a_graph_is_captured() {
    let stream = ForeignStream::new(0).unwrap();
    let everything = || {
        for (name, scenario) in SCENARIOS {
            trim();
            assert!(
                scenario(&Streams::default()).unwrap_or_else(|error| panic!("{name}: {error}")),
                "{name}"
            );
        }
        trim();
    };
    for mode in MODES {
        let capture = Capture::of(0, stream.handle(), mode);
        everything();
        thread::scope(|scope| scope.spawn(everything).join().unwrap());
        assert_eq!(capture.end(), Ok(0), "{mode:?}");
    }
}

fn what_the_library_does_by_itself_spoils_no_graph() {
    nothing_left(|| {
        let (ours, graph) = (stream(), ForeignStream::new(0).unwrap());
        let work = Gate::on(0, ours.native().unwrap());
        let (source, there) = (pinned(&[1000]), on(FIRST, &[1000]));
        let event = copy(&source, &there, &ours).unwrap();
        drop((source, there));
        let capture = Capture::of(0, graph.handle(), Mode::Global);
        let before = calls("cuEventQuery");
        // A thread of the library asks, and lets go: of pinned memory and of memory of the device.
        while calls("cuEventQuery") < before + 3 {
            thread::sleep(Duration::from_millis(1));
        }
        work.open();
        event.wait().unwrap();
        trim();
        assert_eq!(capture.end(), Ok(0));
    });
}

fn nothing_is_queued_on_a_stream_that_is_captured() {
    nothing_left(|| {
        let graph = ForeignStream::new(0).unwrap();
        let (named, ours) = (theirs(&graph), stream());
        let (source, there) = (pinned(&[100]), on(FIRST, &[100]));
        fill(&source, &pattern(100, 1));
        // What it was to wait for is under way.
        let work = Gate::on(0, ours.native().unwrap());
        let event = copy(&source, &there, &ours).unwrap();
        for mode in MODES {
            let capture = Capture::of(0, graph.handle(), mode);
            is_refused(copy(&host(pattern(100, 2)), &there, &named), "a copy");
            is_refused(named.record(), "an event");
            is_refused(named.wait_event(&event), "waiting");
            is_refused(named.wait_tensor(&there), "waiting for a tensor");
            is_refused(named.writes(&there), "writing");
            is_refused(named.export(&there), "an export");
            is_refused(named.synchronize(), "synchronising");
            named.wait_tensor(&on(FIRST, &[100])).unwrap(); // there is nothing to wait for
            assert_eq!(capture.end(), Ok(0), "{mode:?}");
        }
        work.open();
        named.wait_tensor(&there).unwrap();
        assert_eq!(download(&there, &named).unwrap(), pattern(100, 1));
        named.synchronize().unwrap(); // nothing failed there
    });
}

fn our_own_streams_are_captured_by_others_alone() {
    nothing_left(|| {
        let (ours, hidden, there) = (stream(), stream(), on(FIRST, &[100]));
        let handle = ours.native().unwrap();
        let capture = Capture::of(0, handle, Mode::Global);
        is_refused(copy(&host(pattern(100, 1)), &there, &ours), "a copy");
        copy(&host(pattern(100, 1)), &there, &hidden).unwrap();
        assert_eq!(download(&there, &hidden).unwrap(), pattern(100, 1));
        assert_eq!(capture.end(), Ok(0));
        assert_eq!(download(&there, &ours).unwrap(), pattern(100, 1));
    });
}

fn the_default_stream_is_left_alone_while_one_that_waits_for_it_is_captured() {
    nothing_left(|| {
        let (graph, ours) = (ForeignStream::blocking(0).unwrap(), stream());
        // SAFETY: the default stream always lives.
        let default = unsafe { Stream::from_native(FIRST, null_mut()) }.unwrap();
        let (there, lent) = (on(FIRST, &[100]), on(FIRST, &[200]));
        copy(&host(pattern(100, 1)), &there, &ours).unwrap();
        for mode in MODES {
            let capture = Capture::of(0, graph.handle(), mode);
            is_refused(default.record(), "an event");
            is_refused(copy(&host(pattern(100, 2)), &there, &default), "a copy");
            // Every consumer may have worked on the default stream.
            let export = lent.export().unwrap();
            // SAFETY: an export that nobody else has.
            unsafe { (export.as_ref().deleter.unwrap())(export.as_ptr()) };
            thread::sleep(Duration::from_millis(30));
            assert_eq!(capture.end(), Ok(0), "{mode:?}");
            // A thread of the library looks whether the default stream can be used, then uses it; a capture that begins in
            // between is spoilt, and nothing can be done about that.
            while lent.reference_count() > 1 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        assert_eq!(download(&there, &default).unwrap(), pattern(100, 1));
    });
}

/// Until the capture is over and the device is past what it was given, whatever stream its consumer named.
fn memory_that_is_let_go_of_meanwhile_is_kept() {
    // It stays.
    own_stream(FIRST).unwrap();
    nothing_left(|| {
        set_delay(2000);
        for blocking in [false, true] {
            trim();
            let graph = if blocking { ForeignStream::blocking(0) } else { ForeignStream::new(0) }.unwrap();
            let named = theirs(&graph);
            let tensor = on(FIRST, &[1 << 18]);
            let address = tensor.data();
            let export = named.export(&tensor).unwrap();
            drop(tensor);
            // The consumer has queued its kernels, then begins a graph, and lets go.
            let work = Gate::on(0, graph.handle());
            let capture = Capture::of(0, graph.handle(), Mode::Global);
            // SAFETY: an export that nobody else has.
            unsafe { (export.as_ref().deleter.unwrap())(export.as_ptr()) };
            thread::sleep(Duration::from_millis(30));
            assert_ne!(on(FIRST, &[1 << 18]).data(), address, "while it is captured");
            assert_eq!(capture.end(), Ok(0));
            thread::sleep(Duration::from_millis(30));
            assert_ne!(on(FIRST, &[1 << 18]).data(), address, "before the work is over");
            work.open();
            drop(named);
            // As above.
            let pool = device_allocator(FIRST).unwrap();
            while pool.pool().unwrap().stats().held != 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        set_delay(200);
    });
}

/// What is taken for an answer becomes part of the graph.
fn a_driver_that_does_not_say_is_asked_again() {
    const INVALID_CONTEXT: i32 = 201;
    let graph = ForeignStream::new(0).unwrap();
    let named = theirs(&graph);
    let capture = Capture::of(0, graph.handle(), Mode::Global);
    fail("cuStreamIsCapturing", 1, INVALID_CONTEXT, false);
    is_refused(named.record(), "an event");
    assert_eq!(capture.end(), Ok(0));
    named.synchronize().unwrap();
}

fn a_stream_of_another_context_is_refused() {
    let (second, other) = (ForeignStream::new(1).unwrap(), OtherContext::of(0));
    for (handle, found) in
        [(second.handle(), "it is on cuda:1;"), (other.stream, "it is on another context of cuda:0;")]
    {
        // SAFETY: it lives longer.
        let error: Error = unsafe { Stream::from_native(FIRST, handle) }.unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        let words = error.to_string();
        let said = format!("the stream {:#x} is said to be on cuda:0", handle as usize);
        assert!(words.contains(&said) && words.contains(found), "{words}");
    }
    // With its own device it is taken, whatever is current.
    let stream = with_context(0, || {
        // SAFETY: as above.
        unsafe { Stream::from_native(SECOND, second.handle()) }.unwrap()
    });
    finished(1, second.handle());
    stream.synchronize().unwrap();
}
