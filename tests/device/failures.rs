//! Every call of the driver fails in turn: nothing leaks, nothing hangs, and what failed is said, once.

use crate::given::*;
use crate::standin::{fail, fail_late, has_failed, heal, left, set_delay};
use dlbridge::device::{Stream, own_stream, pin};
use dlbridge::dlpack::DLDevice;
use dlbridge::tensor::dtype;
use dlbridge::{Kind, Result, Tensor};
use std::process::{Command, ExitCode};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

crate::tests!(
    every_call_fails_in_turn,
    every_first_call_fails_in_turn,
    a_device_is_lost_at_every_call,
    a_failure_is_told_to_all_who_wait_and_reported_once,
    what_fails_late_is_told_as_well,
    a_failure_of_one_stream_reaches_what_waits_for_it,
    a_failure_is_reported_once_while_others_record,
    a_failure_is_told_when_the_work_is_over,
    own_streams_carry_on,
);

/// What may fail without anybody noticing, since it is made up for: the host waits where the stream cannot, the event is
/// asked again, what was to be freed is freed, whether memory is pinned does not matter.
const MADE_UP_FOR: [&str; 11] = [
    "cuCtxPushCurrent",
    "cuCtxPopCurrent",
    "cuStreamWaitEvent",
    "cuEventQuery",
    "cuEventSynchronize",
    "cuStreamDestroy",
    "cuEventDestroy",
    "cuMemFree",
    "cuMemFreeHost",
    "cuMemHostUnregister",
    "cuStreamSynchronize",
];

/// What has to be reported.
const REPORTED: [&str; 12] = [
    "cuStreamCreate",
    "cuLaunchHostFunc",
    "cuEventRecord",
    "cuMemAlloc",
    "cuMemHostAlloc",
    "cuMemHostRegister",
    "cuPointerGetAttribute",
    "cuMemcpyHtoDAsync",
    "cuMemcpyDtoHAsync",
    "cuMemcpyDtoDAsync",
    "cuMemcpyPeerAsync",
    "cuMemcpy2DAsync",
];

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

/// A bit of everything; whether what came back is right.
fn everything() -> Result<bool> {
    let (stream, other) = (Stream::new(FIRST)?, Stream::new(SECOND)?);
    let [first, second] = [FIRST, SECOND].map(dlbridge::device::device_allocator);
    let (first, second) = (first?, second?);
    let locked = dlbridge::device::pinned_allocator(FIRST)?;
    // Through the staging buffers, each used again.
    static LARGE: LazyLock<Tensor> = LazyLock::new(|| host(pattern((13 << 18) + 5, 3)));
    let there = of(&first, LARGE.shape())?;
    copy(&LARGE, &there, &stream)?;
    let mut right = download(&there, &stream)? == elements(&LARGE)?;
    // Rows of pinned memory, on to the other device, and back by way of what has every second column.
    let padded = of(&locked, &[40, 64])?;
    fill(&padded, &pattern(40 * 64, 8));
    let rows = padded.slice(1, None, Some(48), 1)?;
    let (here, beyond) = (of(&first, &[40, 48])?, of(&second, &[40, 48])?);
    copy(&rows, &here, &stream)?;
    copy(&here, &beyond, &other)?;
    let again = of(&second, &[40, 48])?;
    copy(&beyond, &again, &other)?;
    let wide = Tensor::empty(&[40, 96], dtype::U32)?.slice(1, None, None, 2)?;
    let done = copy(&again, &wide, &other)?;
    done.wait()?;
    right &= elements(&wide)? == elements(&rows)?;
    // Memory that is pinned where it is.
    let (source, back) = (host(pattern(5000, 1)), of(&first, &[5000])?);
    // SAFETY: the tensor lives longer.
    let pinned = unsafe { pin(source.data(), source.nbytes()) }?;
    copy(&source, &back, &other).map(drop).unwrap_err(); // of the first device
    copy(&source, &back, &stream)?;
    drop(pinned);
    stream.wait_event(&other.record()?)?;
    right &= download(&back, &stream)? == pattern(5000, 1);
    stream.synchronize()?;
    other.synchronize()?;
    drop((there, padded, rows, here, beyond, again, wide, back));
    trim();
    Ok(right)
}

/// Has one call fail; whether it was made.
fn one_failure(function: &str, nth: i64, lost: bool) -> bool {
    trim();
    let before = left();
    fail(function, nth, CODE, lost);
    let outcome = everything();
    let failed = has_failed();
    heal();
    match outcome {
        Ok(right) => {
            assert!(right, "{function}, call {nth}: wrong elements");
            let reported = !failed || !REPORTED.contains(&function);
            assert!(reported, "{function}, call {nth}: it failed and nobody was told");
        }
        Err(error) => {
            assert!(failed, "{function}, call {nth}: {error}");
            assert_eq!(error.kind(), Kind::Device, "{function}, call {nth}: {error}");
            assert!(error.to_string().contains(NAME), "{function}, call {nth}: {error}");
        }
    }
    nothing_but(before, &format!("{function}, call {nth}"));
    failed
}

/// All calls of a function where there are few, and fewer and fewer of many.
fn in_turn(function: &str, lost: bool) -> i64 {
    let mut nth = 1;
    while one_failure(function, nth, lost) {
        nth += 1 + nth / 12;
    }
    nth - 1
}

fn every_call_fails_in_turn() {
    set_delay(50);
    assert!(everything().unwrap());
    for function in REPORTED.iter().chain(&MADE_UP_FOR) {
        let calls = in_turn(function, false);
        // It drops what is left over, waits where events fail, and destroys events that are too many: not here.
        let here = !["cuEventDestroy", "cuStreamSynchronize"].contains(function);
        assert!(calls > 0 || !here, "{function} was never called");
        assert!(everything().unwrap(), "after {function} failed");
    }
    set_delay(200);
}

fn a_device_is_lost_at_every_call() {
    set_delay(50);
    for function in [
        "cuMemcpyHtoDAsync",
        "cuEventRecord",
        "cuStreamWaitEvent",
        "cuEventQuery",
        "cuMemcpyPeerAsync",
        "cuMemFree",
    ] {
        in_turn(function, true);
        assert!(everything().unwrap(), "after {function} failed");
    }
    set_delay(200);
}

fn every_first_call_fails_in_turn() {
    for function in FIRST_CALLS {
        let program = std::env::current_exe().unwrap();
        let output = Command::new(program).args(["first call", function]).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains(NAME), "{function}: {said}");
    }
}

/// What `main` runs in a process of its own.
pub fn first_call(function: &str) -> ExitCode {
    fail(function, 1, CODE, false);
    let error = everything().unwrap_err();
    println!("{error}");
    let told = has_failed() && error.to_string().contains(NAME);
    heal();
    let works = everything().is_ok_and(|right| right);
    ExitCode::from(u8::from(!(told && works)))
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
    set_delay(50_000);
    let (stream, source, there) = (stream(), pinned(&[4]), on(FIRST, &[4]));
    (0..20).for_each(|_| drop(copy(&source, &there, &stream).unwrap()));
    fail("cuMemcpyHtoDAsync", 1, CODE, false);
    let event = copy(&source, &on(FIRST, &[4]), &stream).unwrap();
    let mut early = 0;
    while !event.done() {
        let outcome = event.wait_timeout(Duration::from_millis(1));
        if !event.done() {
            assert_eq!(outcome.unwrap_err().kind(), Kind::Timeout);
            early += 1;
        }
    }
    assert!(early > 0);
    assert!(event.wait().unwrap_err().to_string().contains(NAME));
    assert!(stream.synchronize().is_err());
    set_delay(200);
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
