//! What is said when the driver fails, to whom, and for how long. `every_call.rs` has each call fail in turn.

use crate::given::*;
use crate::scenarios::{SCENARIOS, Streams};
use crate::standin::{fail, fail_late, failed, heal};
use dlbridge::device::Stream;
use std::process::{Command, ExitCode};

crate::tests!(
    every_first_call_fails_in_turn,
    a_failure_is_told_to_all_who_wait_and_reported_once,
    what_fails_late_is_told_as_well,
    a_failure_of_one_stream_reaches_what_waits_for_it,
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
