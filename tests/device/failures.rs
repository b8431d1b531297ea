//! What is said when the driver fails, to whom, and for how long. `every_call.rs` has each call fail in turn.

use crate::foreign::Gate;
use crate::given::*;
use crate::scenarios::{SCENARIOS, Streams};
use crate::standin::{fail, fail_late, failed, heal, set_delay};
use dlbridge::Kind;
use dlbridge::device::{Stream, own_stream};
use dlbridge::dlpack::DLDevice;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

crate::tests!(
    every_first_call_fails_in_turn,
    a_failure_is_told_to_all_who_wait_and_reported_once,
    what_fails_late_is_told_as_well,
    a_failure_of_one_stream_reaches_what_waits_for_it,
    a_failure_is_reported_once_while_others_record,
    a_failure_is_told_when_the_work_is_over,
    own_streams_carry_on,
    a_time_limit_that_passes_takes_no_report_away,
    who_only_asks_is_told_when_all_is_over,
);

/// What is called once in a process.
const FIRST_CALLS: [&str; 6] = [
    "cuInit",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDevicePrimaryCtxRetain",
    "cuEventCreate",
];

const CODE: i32 = 719;
const NAME: &str = "CUDA_ERROR_LAUNCH_FAILED";

fn every_first_call_fails_in_turn() {
    let codes = [
        ("2", "CUDA_ERROR_OUT_OF_MEMORY"),
        ("400", "CUDA_ERROR_INVALID_HANDLE"),
        ("719", "CUDA_ERROR_LAUNCH_FAILED"),
    ];
    for function in FIRST_CALLS {
        for (code, name) in codes {
            let program = std::env::current_exe().unwrap();
            let output = Command::new(program).args(["first call", function, code]).output().unwrap();
            let [said, complained] =
                [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            assert!(output.status.success() && said.contains(name), "{function}: {said}{complained}");
        }
    }
}

/// What `main` runs in a process of its own: says what failed, and is content where all goes well afterwards.
pub fn first_call(function: &str, code: i32) -> ExitCode {
    fail(function, 1, code, false);
    let everything =
        || SCENARIOS.iter().map(|(_, scenario)| scenario(&Streams::default())).find(|done| *done != Ok(true));
    let failure = everything();
    println!("{failure:?}");
    let told = failed() == Some(function) && matches!(failure, Some(Err(_)));
    heal();
    ExitCode::from(u8::from(!(told && everything().is_none())))
}

fn a_failure_is_told_to_all_who_wait_and_reported_once() {
    nothing_left(|| {
        let (stream, there) = (stream(), on(FIRST, &[100]));
        fail("cuMemcpyHtoDAsync", 1, CODE, false);
        let event = copy(&host(pattern(100, 1)), &there, &stream).unwrap();
        for _ in 0..2 {
            assert!(event.wait().unwrap_err().to_string().contains(NAME));
            // What is behind it is not carried out, and what it should have written is not to be read.
            assert!(stream.record().unwrap().wait().unwrap_err().to_string().contains(NAME));
            assert!(copy(&there, &host(vec![0; 100]), &stream).unwrap_err().to_string().contains(NAME));
        }
        assert!(stream.synchronize().unwrap_err().to_string().contains(NAME));
        stream.synchronize().unwrap();
        stream.record().unwrap().wait().unwrap();
        let fresh = on(FIRST, &[100]);
        copy(&host(pattern(100, 2)), &fresh, &stream).unwrap();
        assert_eq!(download(&fresh, &stream).unwrap(), pattern(100, 2));
    });
}

fn what_fails_late_is_told_as_well() {
    nothing_left(|| {
        let (stream, there, source) = (stream(), on(FIRST, &[100]), pinned(&[100]));
        fail_late(1, CODE);
        let event = copy(&source, &there, &stream).unwrap();
        let back = host(vec![0; 100]);
        let behind = copy(&there, &back, &stream);
        assert!(event.wait().unwrap_err().to_string().contains(NAME));
        assert!(behind.and_then(|event| event.wait()).unwrap_err().to_string().contains(NAME));
        assert!(stream.synchronize().unwrap_err().to_string().contains(NAME));
        heal();
        // The device is as good as new, which a real one would not be.
        stream.synchronize().unwrap();
        fill(&source, &pattern(100, 4));
        let fresh = on(FIRST, &[100]);
        copy(&source, &fresh, &stream).unwrap();
        assert_eq!(download(&fresh, &stream).unwrap(), pattern(100, 4));
    });
}

fn a_failure_of_one_stream_reaches_what_waits_for_it() {
    nothing_left(|| {
        let (one, other) = (stream(), stream());
        fail("cuMemcpyHtoDAsync", 1, CODE, false);
        let event = copy(&host(pattern(100, 1)), &on(FIRST, &[100]), &one).unwrap();
        other.wait_event(&event).unwrap();
        assert!(other.record().unwrap().wait().unwrap_err().to_string().contains(NAME));
        assert!(other.synchronize().unwrap_err().to_string().contains(NAME));
        other.synchronize().unwrap();
        let on_the_cpu = Stream::new(dlbridge::dlpack::DLDevice::CPU).unwrap();
        on_the_cpu.wait_event(&event).unwrap();
        assert!(on_the_cpu.synchronize().unwrap_err().to_string().contains(NAME));
        assert!(one.synchronize().is_err());
        one.synchronize().unwrap();
    });
}

fn a_failure_is_reported_once_while_others_record() {
    let (stream, stop, source) = (stream(), AtomicBool::new(false), host(pattern(16, 1)));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _ = stream.record().unwrap().wait();
                }
            });
        }
        let reports: Vec<usize> = (0..1000)
            .map(|_| {
                fail("cuMemcpyHtoDAsync", 1, CODE, false);
                copy(&source, &on(FIRST, &[16]), &stream).unwrap();
                (0..4).filter(|_| stream.synchronize().is_err()).count()
            })
            .collect();
        stop.store(true, Ordering::Relaxed);
        assert!(reports.iter().all(|times| *times == 1), "{reports:?}");
    });
}

/// Part of what failed may still be under way.
fn a_failure_is_told_when_the_work_is_over() {
    let (stream, source) = (stream(), pinned(&[4]));
    let gate = Gate::on(0, stream.native().unwrap());
    fail("cuMemcpyHtoDAsync", 1, CODE, false);
    let event = copy(&source, &on(FIRST, &[4]), &stream).unwrap();
    assert_eq!(event.wait_timeout(Duration::from_millis(5)).unwrap_err().kind(), Kind::Timeout);
    assert!(!event.done());
    gate.open();
    assert!(event.wait().unwrap_err().to_string().contains(NAME));
    assert!(stream.synchronize().is_err());
}

/// Who shares a stream unknowingly is not told of another's failure.
fn own_streams_carry_on() {
    // They stay.
    let (cuda, cpu) = (own_stream(FIRST).unwrap(), own_stream(DLDevice::CPU).unwrap());
    nothing_left(|| {
        let source = host(pattern(100, 1));
        fail("cuMemcpyHtoDAsync", 1, CODE, false);
        let failed = on(FIRST, &[100]);
        let event = copy(&source, &failed, &cuda).unwrap();
        cpu.wait_event(&event).unwrap();
        let there = on(FIRST, &[100]);
        copy(&source, &there, &cuda).unwrap();
        assert_eq!(download(&there, &cuda).unwrap(), pattern(100, 1));
        let back = host(vec![0; 100]);
        copy(&source, &back, &cpu).unwrap();
        assert_eq!(elements(&back).unwrap(), pattern(100, 1));
        // What failed is told where it was to be read.
        assert!(event.wait().unwrap_err().to_string().contains(NAME));
        assert!(download(&failed, &cuda).unwrap_err().to_string().contains(NAME));
        for stream in [&cuda, &cpu] {
            assert!(stream.synchronize().unwrap_err().to_string().contains(NAME));
            stream.synchronize().unwrap();
        }
    });
}

fn a_time_limit_that_passes_takes_no_report_away() {
    let stream = stream();
    let gate = Gate::on(0, stream.native().unwrap());
    fail("cuMemcpyHtoDAsync", 1, CODE, false);
    copy(&pinned(&[4]), &on(FIRST, &[4]), &stream).unwrap();
    for _ in 0..2 {
        let error = stream.synchronize_timeout(Duration::from_millis(5)).unwrap_err();
        assert_eq!(error.kind(), Kind::Timeout, "{error}");
    }
    gate.open();
    let error = stream.synchronize_timeout(Duration::from_secs(600)).unwrap_err();
    assert!(error.to_string().contains(NAME), "{error}");
    stream.synchronize_timeout(Duration::from_secs(600)).unwrap();
}

/// Again and again, of a stream with nothing to do. On a busy machine the stand-in is late at times, and not always.
fn who_only_asks_is_told_when_all_is_over() {
    set_delay(0);
    let stream = stream();
    let is_over = |_: &i32| stream.synchronize_timeout(Duration::ZERO).is_ok();
    assert!((0..100).any(|_| (0..50).filter(is_over).count() >= 10));
    set_delay(200);
}
