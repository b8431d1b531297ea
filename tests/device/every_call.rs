//! Over each scenario, every single call of the driver fails in turn, with each kind of failure. Nothing leaks, nothing hangs, no element is wrong, and whoever should be told is told, with the driver's name for it, once.

use crate::foreign::Gate;
use crate::given::*;
use crate::scenarios::{SCENARIOS, Scenario, Streams};
use crate::standin::{calls, fail, failed, heal, left, live, set_delay};
use crate::watchdog::watched;
use dlbridge::device::{Stream, own_stream};
use dlbridge::{Error, Kind};
use std::collections::BTreeSet;
use std::time::Duration;

crate::tests!(with_out_of_memory, with_an_invalid_handle, with_a_lost_device, events_are_counted_to_the_last,);

struct Failure {
    code: i32,
    name: &'static str,
    lost: bool,
}

/// What is called again and again; what is called once in a process is in `failures.rs`.
const ALL: [&str; 25] = [
    "cuCtxPushCurrent",
    "cuCtxPopCurrent",
    "cuStreamCreate",
    "cuStreamDestroy",
    "cuStreamGetFlags",
    "cuStreamGetCtx",
    "cuStreamIsCapturing",
    "cuThreadExchangeStreamCaptureMode",
    "cuStreamWaitEvent",
    "cuLaunchHostFunc",
    "cuEventRecord",
    "cuEventQuery",
    "cuMemAlloc",
    "cuMemFree",
    "cuMemHostAlloc",
    "cuMemFreeHost",
    "cuMemHostRegister",
    "cuMemHostUnregister",
    "cuPointerGetAttribute",
    "cuMemcpyHtoDAsync",
    "cuMemcpyDtoHAsync",
    "cuMemcpyDtoDAsync",
    "cuMemcpyPeerAsync",
    "cuMemcpy2DAsync",
    "cuMemsetD8Async",
];

/// What may fail without anybody noticing, since it is made up for: the host waits where the stream cannot, the event is
/// asked again, what was to be freed is freed.
const MADE_UP_FOR: [&str; 10] = [
    "cuCtxPushCurrent",
    "cuCtxPopCurrent",
    "cuStreamDestroy",
    "cuStreamWaitEvent",
    "cuStreamIsCapturing",
    "cuEventQuery",
    "cuMemFree",
    "cuMemFreeHost",
    "cuMemHostUnregister",
    "cuThreadExchangeStreamCaptureMode",
];

fn with_out_of_memory() {
    each_scenario(&Failure { code: 2, name: "CUDA_ERROR_OUT_OF_MEMORY", lost: false });
}

fn with_an_invalid_handle() {
    each_scenario(&Failure { code: 400, name: "CUDA_ERROR_INVALID_HANDLE", lost: false });
}

fn with_a_lost_device() {
    each_scenario(&Failure { code: 719, name: "CUDA_ERROR_LAUNCH_FAILED", lost: true });
}

fn each_scenario(failure: &Failure) {
    set_delay(50);
    own_stream(FIRST).unwrap(); // it stays
    let mut seen = BTreeSet::new();
    for (name, scenario) in SCENARIOS {
        let before = left();
        let called = ALL.map(calls);
        assert_eq!(scenario(&Streams::default()), Ok(true), "{name}, where nothing fails");
        nothing_but(before, name);
        let functions = ALL.iter().zip(called).filter(|(function, before)| calls(function) > *before);
        let mut failures = 0;
        for (function, _) in functions {
            let mut nth = 1;
            while one_failure(name, *scenario, function, nth, failure) {
                seen.insert(*function);
                nth += 1;
            }
            failures += nth - 1;
        }
        assert_eq!(leaked_events(), 0, "{name}: events of the driver");
        if std::env::var_os("DLB_VERBOSE").is_some() {
            println!("    {name}: {failures} calls failed in turn");
        }
    }
    assert_eq!(ALL.iter().find(|function| !seen.contains(*function)), None, "it never failed");
    set_delay(200);
}

/// Has the nth call of a function fail; whether it was made.
fn one_failure(name: &str, scenario: Scenario, function: &str, nth: i64, failure: &Failure) -> bool {
    let what = format!("{name}; {function}, call {nth}: {}", failure.name);
    trim();
    let before = left();
    let streams = Streams::default();
    fail(function, nth, failure.code, failure.lost);
    let (outcome, reports) = watched(&what, 60, || {
        let outcome = (scenario(&streams), reported(&streams, failure, &what));
        // A lost device gives nothing back, but everything is to be tried, once: the stand-in counts what was apart, and
        // notices what is given back twice.
        drop(streams);
        nothing_but(before, &what);
        outcome
    });
    let was_made = failed().is_some();
    heal();
    assert_eq!(live(c"abandoned blocks"), 0);
    assert_eq!(live(c"contexts pushed here"), 0, "{what}: a context is left current");
    if let Ok(right) = outcome {
        assert!(right, "{what}: wrong elements");
        // Short of memory, a pool frees what it has cached, and asks again.
        let asks_again = failure.code == 2 && ["cuMemAlloc", "cuMemHostAlloc"].contains(&function);
        // A deleter can tell nobody: where it cannot have the memory kept until an event it waits itself.
        let by_a_deleter = name == "lent to others" && function == "cuEventRecord";
        let made_up_for = !was_made || asks_again || by_a_deleter || MADE_UP_FOR.contains(&function);
        assert!(made_up_for || !reports.is_empty(), "{what}: nobody was told");
    }
    for error in outcome.as_ref().err().into_iter().chain(&reports) {
        assert!(was_made && error.to_string().contains(failure.name), "{what}: {error}");
        assert!([Kind::Device, Kind::OutOfMemory].contains(&error.kind()), "{what}: {error}");
    }
    was_made
}

/// What the streams report: each at most once, and then they work again. On a lost device they go on saying so.
fn reported(streams: &Streams, failure: &Failure, what: &str) -> Vec<Error> {
    let mut all = Vec::new();
    for stream in streams.made().iter() {
        let mut reports: Vec<Error> = (0..3).filter_map(|_| stream.synchronize().err()).collect();
        if !failure.lost {
            assert!(reports.len() <= 1, "{what}: reported again and again: {reports:?}");
        }
        all.append(&mut reports);
    }
    all
}

/// How many of the driver's events are neither in use nor kept to be used again. What is kept is found by taking events
/// until a new one has to be made, while the streams are held up.
fn leaked_events() -> i64 {
    let count = || {
        let mut taken = 0;
        let mut held = Vec::new();
        for device in [FIRST, SECOND] {
            let stream = Stream::new(device).unwrap();
            let gate = Gate::on(device.device_id, stream.native().unwrap());
            let before = calls("cuEventCreate");
            while calls("cuEventCreate") == before {
                stream.record().unwrap();
                taken += 1;
            }
            held.push((stream, gate));
        }
        let leaked = live(c"events") - taken;
        for (stream, gate) in held {
            gate.open();
            stream.synchronize().unwrap();
        }
        leaked
    };
    // What nobody waited for is let go of a little later.
    let until_settled = |_: &i32| {
        std::thread::sleep(Duration::from_millis(10));
        true
    };
    (0..100).filter(until_settled).map(|_| count()).find(|leaked| *leaked == 0).unwrap_or_else(count)
}

/// The count above sees a single event that is in use.
fn events_are_counted_to_the_last() {
    assert_eq!(leaked_events(), 0);
    let stream = stream();
    let gate = Gate::on(0, stream.native().unwrap());
    let event = stream.record().unwrap();
    assert_eq!(leaked_events(), 1);
    gate.open();
    event.wait().unwrap();
    assert_eq!(leaked_events(), 0);
}
