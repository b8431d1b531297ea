//! The order of things: between streams, ours and others', between devices and the CPU; waiting; forks.

use crate::foreign::{ForeignStream, Gate, with_context};
use crate::given::*;
use crate::standin::{live, set_delay};
use dlbridge::device::{Stream, devices};
use dlbridge::dlpack::DLDevice;
use dlbridge::{Error, Kind, Tensor, Transfer};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

crate::tests!(
    copies_of_two_streams_are_ordered_by_events,
    streams_of_others_take_part,
    the_default_streams_are_streams,
    a_cuda_stream_and_one_of_the_cpu_wait_for_each_other,
    waiting_has_a_time_limit,
    tensors_live_until_the_copy_is_done_and_no_longer,
    a_context_of_somebody_else_stays_current,
    a_dropped_stream_finishes_its_work,
    a_child_of_a_fork_is_told_to_be_spawned,
);

const COUNT: usize = 40_000;

fn copies_of_two_streams_are_ordered_by_events() {
    nothing_left(|| {
        set_delay(3000);
        let (one, other) = (stream(), stream());
        let (first, second) = (on(FIRST, &[COUNT as i64]), on(FIRST, &[COUNT as i64]));
        for round in 0..40 {
            let values = pattern(COUNT, round);
            copy(&host(values.clone()), &first, &one).unwrap();
            copy(&first, &second, &other).unwrap();
            copy(&host(vec![0; COUNT]), &first, &one).unwrap(); // not before it was read
            assert!(download(&second, &one).unwrap() == values);
        }
        set_delay(200);
    });
}

fn streams_of_others_take_part() {
    nothing_left(|| {
        set_delay(3000);
        let theirs = ForeignStream::new(0).unwrap();
        let handle = theirs.handle();
        {
            // SAFETY: it is destroyed at the end, when the stream is gone.
            let theirs = unsafe { Stream::from_native(FIRST, handle) }.unwrap();
            assert_eq!(theirs.native(), Some(handle));
            let ours = stream();
            // SAFETY: as above; `ours` lives longer.
            let alias = unsafe { Stream::from_native(FIRST, ours.native().unwrap()) }.unwrap();
            let there = on(FIRST, &[COUNT as i64]);
            for round in 0..20 {
                let values = pattern(COUNT, round);
                copy(&host(values.clone()), &there, &theirs).unwrap();
                assert!(download(&there, &alias).unwrap() == values);
            }
            theirs.synchronize().unwrap();
        }
        set_delay(200);
    });
}

fn the_default_streams_are_streams() {
    nothing_left(|| {
        // SAFETY: the default streams live as long as the process.
        let stream_of = |handle: usize| unsafe { Stream::from_native(FIRST, handle as *mut c_void) }.unwrap();
        let there = on(FIRST, &[COUNT as i64]);
        for handle in [0, 1, 2] {
            let stream = stream_of(handle);
            assert_eq!(stream.native().unwrap() as usize, handle.max(1));
            let values = pattern(COUNT, handle as u32);
            copy(&host(values.clone()), &there, &stream).unwrap();
            assert!(download(&there, &stream).unwrap() == values);
        }
        // One handle, as many streams as threads.
        let shared = stream_of(2);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let shared = &shared;
                scope.spawn(move || {
                    let there = on(FIRST, &[COUNT as i64]);
                    for round in 0..10 {
                        let values = pattern(COUNT, thread * 100 + round);
                        copy(&host(values.clone()), &there, shared).unwrap();
                        assert!(download(&there, shared).unwrap() == values);
                    }
                });
            }
        });
    });
}

fn a_cuda_stream_and_one_of_the_cpu_wait_for_each_other() {
    nothing_left(|| {
        set_delay(3000);
        let (cuda, cpu) = (stream(), Stream::new(DLDevice::CPU).unwrap());
        let (there, middle) = (on(FIRST, &[COUNT as i64]), host(vec![0; COUNT]));
        for round in 0..20 {
            let (values, mut end) = (pattern(COUNT, round), host(vec![0; COUNT]));
            copy(&host(values.clone()), &middle, &cpu).unwrap();
            copy(&middle, &there, &cuda).unwrap();
            copy(&there, &middle, &cuda).unwrap();
            copy(&middle, &end, &cpu).unwrap();
            assert!(end.get_mut::<u32>().unwrap() == values);
        }
        let event = cuda.record().unwrap();
        cpu.wait_event(&event).unwrap();
        cuda.wait_event(&cpu.record().unwrap()).unwrap();
        cuda.synchronize().unwrap();
        cpu.synchronize().unwrap();
        assert!(event.done());
        set_delay(200);
    });
}

fn waiting_has_a_time_limit() {
    let stream = stream();
    let gate = Gate::on(0, stream.native().unwrap());
    let event = stream.record().unwrap();
    let start = Instant::now();
    let error = event.wait_timeout(Duration::from_millis(5)).unwrap_err();
    assert_eq!(error, Error::Transfer(Transfer::Timeout { nanoseconds: 5_000_000 }));
    assert!(!event.done() && start.elapsed() >= Duration::from_millis(5));
    gate.open();
    event.wait_timeout(Duration::from_secs(600)).unwrap();
}

fn tensors_live_until_the_copy_is_done_and_no_longer() {
    nothing_left(|| {
        set_delay(20_000);
        let stream = stream();
        for seed in 0..5 {
            let (source, there, back) =
                (pinned(&[COUNT as i64]), on(FIRST, &[COUNT as i64]), host(vec![0; COUNT]));
            fill(&source, &pattern(COUNT, seed));
            copy(&source, &there, &stream).unwrap();
            drop(source);
            copy(&there, &back, &stream).unwrap();
            drop(there);
            trim();
            // The last reference is the last one when the copy is done.
            assert!(back.into_vec::<u32>().unwrap() == pattern(COUNT, seed));
        }
        // And where nobody waits the library's own thread lets go: `nothing_left` sees to it.
        copy(&pinned(&[COUNT as i64]), &on(FIRST, &[COUNT as i64]), &stream).unwrap();
        set_delay(200);
    });
}

fn a_context_of_somebody_else_stays_current() {
    with_context(1, || {
        let stream = stream();
        let there = on(FIRST, &[100]);
        copy(&host(pattern(100, 1)), &there, &stream).unwrap();
        assert_eq!(download(&there, &stream).unwrap(), pattern(100, 1));
        assert!(copy(&host(pattern(4, 0)), &on(SECOND, &[4]), &stream).is_err());
        stream.synchronize().unwrap();
        assert_eq!(live(c"contexts pushed here"), 1);
    });
}

fn a_dropped_stream_finishes_its_work() {
    nothing_left(|| {
        set_delay(10_000);
        let there = on(FIRST, &[COUNT as i64]);
        let event = {
            let stream = stream();
            copy(&host(pattern(COUNT, 8)), &there, &stream).unwrap()
        };
        event.wait().unwrap();
        assert!(download(&there, &stream()).unwrap() == pattern(COUNT, 8));
        set_delay(200);
    });
}

fn a_child_of_a_fork_is_told_to_be_spawned() {
    let (stream, there) = (stream(), on(FIRST, &[COUNT as i64]));
    let source = host(pattern(COUNT, 1));
    let gate = Gate::on(0, stream.native().unwrap());
    let event = copy(&source, &there, &stream).unwrap();
    // The stand-in ends a child that calls it.
    // SAFETY: the child asks and ends; other threads of this program hold none of the locks that it takes.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let right = catch_unwind(AssertUnwindSafe(move || {
            let words =
                |error: Error| error.kind() == Kind::Unavailable && error.to_string().contains("fork");
            let answers = [
                words(Stream::new(FIRST).map(drop).unwrap_err()),
                words(copy(&source, &there, &stream).map(drop).unwrap_err()),
                words(stream.synchronize().unwrap_err()),
                words(stream.record().map(drop).unwrap_err()),
                event.done() && words(event.wait().unwrap_err()),
                words(dlbridge::device::device_allocator(FIRST).map(drop).unwrap_err()),
                words(dlbridge::device::pinned_allocator(FIRST).map(drop).unwrap_err()),
                devices() == [DLDevice::CPU],
            ];
            drop((stream, there, source, event));
            let mut cpu_works = Tensor::from_vec(vec![0_u32; 2], &[2]).unwrap();
            let on_the_cpu = Stream::new(DLDevice::CPU).unwrap();
            copy(&host(vec![1, 2]), &cpu_works, &on_the_cpu).unwrap();
            answers == [true; 8] && cpu_works.get_mut::<u32>().unwrap() == [1, 2]
        }));
        // SAFETY: without what the parent would do at its end.
        unsafe { libc::_exit(if right.unwrap_or(false) { 0 } else { 1 }) };
    }
    let mut status = -1;
    // SAFETY: waits for the child from above.
    unsafe { libc::waitpid(child, &mut status, 0) };
    gate.open();
    assert_eq!(status, 0, "in the child something was answered otherwise");
    assert!(download(&there, &stream).unwrap() == pattern(COUNT, 1));
}
