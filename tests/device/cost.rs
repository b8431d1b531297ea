//! What calls cost: how often each asks the driver, which is a test, and how long each takes, which is only shown.

use crate::foreign::{Gate, foreign_memory, with_context};
use crate::given::*;
use crate::standin::{calls, function, set_delay};
use dlbridge::Tensor;
use dlbridge::device::Stream;
use std::ffi::c_void;
use std::hint::black_box;
use std::mem::transmute;
use std::ptr::null_mut;
use std::time::Instant;

crate::tests!(a_copy_asks_the_driver_for_what_it_needs);

/// Beside these a copy makes no call. Queries are left out: a thread of the library asks what is over.
const COUNTED: [&str; 9] = [
    "cuCtxPushCurrent",
    "cuCtxPopCurrent",
    "cuPointerGetAttribute",
    "cuMemcpyHtoDAsync",
    "cuMemcpyDtoHAsync",
    "cuEventRecord",
    "cuStreamWaitEvent",
    "cuStreamIsCapturing",
    "cuThreadExchangeStreamCaptureMode",
];

/// How often each was called in `body`.
fn counted(body: impl FnOnce()) -> [i64; COUNTED.len()] {
    let before = COUNTED.map(calls);
    body();
    let after = COUNTED.map(calls);
    std::array::from_fn(|at| after[at] - before[at])
}

fn a_copy_asks_the_driver_for_what_it_needs() {
    nothing_left(|| {
        let (stream, other) = (stream(), crate::given::stream());
        let (source, there, back) = (pinned(&[1000]), on(FIRST, &[1000]), pinned(&[1000]));
        let theirs = foreign_memory(0, 1000);
        fill(&source, &pattern(1000, 1));
        // The events that the copies need are there.
        (0..4).for_each(|_| drop(stream.record().unwrap()));
        stream.synchronize().unwrap();
        let up = |to: &Tensor| counted(|| drop(copy(&source, to, &stream).unwrap()));
        assert_eq!(up(&there), [1, 1, 0, 1, 0, 1, 0, 0, 0]);
        assert_eq!(up(&there), [1, 1, 0, 1, 0, 1, 0, 0, 0], "while the first may be under way");
        let down = |stream: &Stream| counted(|| drop(copy(&there, &back, stream).unwrap()));
        assert_eq!(down(&stream), [1, 1, 0, 0, 1, 1, 0, 0, 0]);
        stream.synchronize().unwrap();
        // Another stream that has to wait is told so with the same context.
        let gate = Gate::on(0, stream.native().unwrap());
        copy(&source, &there, &stream).unwrap();
        assert_eq!(down(&other), [1, 1, 0, 0, 1, 1, 1, 0, 0]);
        gate.open();
        other.synchronize().unwrap();
        assert_eq!(elements(&back).unwrap(), pattern(1000, 1));
        // Somebody has the handle by now, who may have the stream captured. Where the library did not give the memory the
        // driver is asked, within one context.
        assert_eq!(up(&there), [1, 1, 0, 1, 0, 1, 0, 1, 0]);
        assert_eq!(up(&theirs), [2, 2, 2, 1, 0, 1, 0, 1, 0]);
        // Memory of a warm pool is no business of the driver's.
        drop((on(FIRST, &[5000]), pinned(&[5000])));
        assert_eq!(counted(|| drop((on(FIRST, &[5000]), pinned(&[5000])))), [0; COUNTED.len()]);
    });
}

const ROUNDS: usize = 101;
/// How many calls in a burst.
const BURSTS: [usize; 3] = [1, 4, 100];

/// Prints nanoseconds of a call to return, alone and in bursts, medians, beside the driver's own calls that it cannot do
/// without: run by hand, as `cargo test --release --test device -- "what calls cost"`.
pub fn show() {
    set_delay(0);
    let stream = stream();
    let (source, there, back) = (pinned(&[1024]), on(FIRST, &[1024]), pinned(&[1024]));
    let host = host(pattern(1024, 1));
    let bare = Bare::new(&stream);
    type Row<'a> = (&'a str, Box<dyn FnMut() + 'a>);
    let mut rows: Vec<Row<'_>> = vec![
        ("the driver's part of a copy", Box::new(|| bare.copy(there.data(), source.data()))),
        ("upload of 4 KiB from pinned memory", Box::new(|| drop(copy(&source, &there, &stream)))),
        ("the same into new memory", Box::new(|| drop(copy(&source, &on(FIRST, &[1024]), &stream)))),
        ("upload of 4 KiB from pageable memory", Box::new(|| drop(copy(&host, &there, &stream)))),
        ("download of 4 KiB to pinned memory", Box::new(|| drop(copy(&there, &back, &stream)))),
        ("memory of a warm pool", Box::new(|| drop(black_box(on(FIRST, &[1 << 20]))))),
        ("pinned memory of a warm pool", Box::new(|| drop(black_box(pinned(&[1 << 20]))))),
        ("an event", Box::new(|| drop(stream.record()))),
    ];
    let mut took = vec![[const { Vec::new() }; BURSTS.len()]; rows.len()];
    for _ in 0..ROUNDS {
        for ((_, call), took) in rows.iter_mut().zip(&mut took) {
            for (burst, took) in BURSTS.iter().zip(took) {
                stream.synchronize().unwrap();
                let start = Instant::now();
                (0..*burst).for_each(|_| call());
                took.push(start.elapsed().as_nanos() / *burst as u128);
            }
        }
    }
    println!("ns of a call: alone, in bursts of {} and {}", BURSTS[1], BURSTS[2]);
    for ((name, _), took) in rows.iter().zip(&mut took) {
        let medians = took.each_mut().map(|took| *took.select_nth_unstable(ROUNDS / 2).1);
        println!("{:>8} {:>8} {:>8}  {name}", medians[0], medians[1], medians[2]);
    }
}

/// The driver, called by somebody who has nothing to look after.
struct Bare {
    push: extern "C" fn(*mut c_void) -> i32,
    pop: extern "C" fn(*mut *mut c_void) -> i32,
    copy: extern "C" fn(u64, *const c_void, usize, *mut c_void) -> i32,
    record: extern "C" fn(*mut c_void, *mut c_void) -> i32,
    context: *mut c_void,
    event: *mut c_void,
    stream: *mut c_void,
}

impl Bare {
    #[allow(clippy::missing_transmute_annotations, reason = "the fields say what the functions take")]
    fn new(stream: &Stream) -> Self {
        let (mut context, mut event) = (null_mut(), null_mut());
        // SAFETY: the functions have these arguments.
        unsafe {
            let retain: extern "C" fn(*mut *mut c_void, i32) -> i32 =
                transmute::<*mut c_void, _>(function("cuDevicePrimaryCtxRetain"));
            let create: extern "C" fn(*mut *mut c_void, u32) -> i32 =
                transmute::<*mut c_void, _>(function("cuEventCreate"));
            assert_eq!(retain(&mut context, 0), 0);
            with_context(0, || assert_eq!(create(&mut event, 2), 0));
            Bare {
                push: transmute::<*mut c_void, _>(function("cuCtxPushCurrent_v2")),
                pop: transmute::<*mut c_void, _>(function("cuCtxPopCurrent_v2")),
                copy: transmute::<*mut c_void, _>(function("cuMemcpyHtoDAsync_v2")),
                record: transmute::<*mut c_void, _>(function("cuEventRecord")),
                context,
                event,
                stream: stream.native().unwrap(),
            }
        }
    }

    fn copy(&self, to: *mut c_void, from: *mut c_void) {
        let mut popped = null_mut();
        (self.push)(self.context);
        (self.copy)(to as u64, from, 4096, self.stream);
        (self.record)(self.event, self.stream);
        (self.pop)(&mut popped);
    }
}
