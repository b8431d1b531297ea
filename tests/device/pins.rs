//! Pinning memory where it is.

use crate::foreign::{Gate, foreign_memory};
use crate::given::*;
use crate::standin::{calls, fail, held, live, set_delay};
use dlbridge::device::{Pin, Stream, pin};
use dlbridge::dlpack::{DLDevice, DLTensor};
use dlbridge::memory::Options;
use dlbridge::tensor::dtype;
use dlbridge::{DlpackFlags, Kind, Result, Tensor};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

crate::tests!(
    pins_nest,
    what_is_pinned_is_copied_directly,
    a_neighbour_of_what_is_pinned_is_not,
    a_pin_waits_for_copies,
    pins_come_and_go_while_others_copy,
    a_copy_that_was_looked_at_before_the_pin_went_is_staged,
    a_pin_that_came_again_is_waited_for_too,
    whoever_gives_the_last_pins_back_waits_until_they_are_unlocked,
    nobody_waits_while_the_driver_locks_other_pages,
    pins_of_one_memory_come_and_go_in_many_threads,
    what_cannot_be_pinned_is_refused_with_the_numbers,
    nothing_needs_no_pin,
);

const BYTES: usize = 40_000;

fn pinned_here(data: &[u8]) -> Result<Pin> {
    // SAFETY: the tests keep the memory longer than the pin.
    unsafe { pin(data.as_ptr().cast_mut().cast(), data.len()) }
}

fn pins_nest() {
    nothing_left(|| {
        let memory = vec![1_u8; BYTES];
        let outer = pinned_here(&memory).unwrap();
        assert_eq!((outer.bytes(), live(c"registered blocks")), (BYTES, 1));
        let again = pinned_here(&memory).unwrap();
        let inner = pinned_here(&memory[1000..2000]).unwrap();
        drop(outer);
        drop(again);
        assert_eq!(live(c"registered blocks"), 1);
        drop(inner);
        assert_eq!(live(c"registered blocks"), 0);
        drop(pinned_here(&memory).unwrap());
    });
}

/// Memory that shares no page with other memory.
fn on_own_pages(seed: u32) -> Tensor {
    let options = Options { alignment: 4096, ..Options::default() };
    let tensor = Tensor::empty_with(&[10_000], dtype::U32, options).unwrap();
    fill(&tensor, &pattern(10_000, seed));
    tensor
}

fn pinned_whole(tensor: &Tensor) -> Pin {
    // SAFETY: the tests keep the tensor longer than the pin.
    unsafe { pin(tensor.data(), tensor.nbytes()) }.unwrap()
}

/// Waits until a function was called once more than `before`.
fn until_called(function: &str, before: i64) {
    while calls(function) == before {
        thread::yield_now();
    }
}

fn what_is_pinned_is_copied_directly() {
    nothing_left(|| {
        let (stream, there) = (stream(), on(FIRST, &[10_000]));
        let (source, back) = (on_own_pages(4), on_own_pages(5));
        // SAFETY: the tensor lives longer.
        let _pin = unsafe { pin(source.data(), source.nbytes()) }.unwrap();
        let before = calls("cuMemHostAlloc");
        copy(&source, &there, &stream).unwrap();
        // SAFETY: as above.
        let other = unsafe { pin(back.data(), back.nbytes()) }.unwrap();
        copy(&there, &back, &stream).unwrap();
        drop(other); // waits
        assert!(elements(&back).unwrap() == pattern(10_000, 4));
        assert_eq!(calls("cuMemHostAlloc"), before, "nothing was staged");
    });
}

/// Memory that shares a page with a pin, or lies over two of them, may be written again when the call returns.
fn a_neighbour_of_what_is_pinned_is_not() {
    nothing_left(|| {
        set_delay(20_000);
        let mut memory = vec![0_u32; 5 * 1024];
        let page = memory.as_ptr().align_offset(4096);
        let (stream, pages) = (stream(), &mut memory[page..page + 4 * 1024]);
        let bytes = |pages: &[u32], from: usize, to: usize| {
            // SAFETY: the memory lives longer than the pin.
            unsafe { pin(pages[from..].as_ptr().cast_mut().cast(), (to - from) * 4) }.unwrap()
        };
        let _pins = [bytes(pages, 0, 64), bytes(pages, 512, 600), bytes(pages, 2048, 4096)];
        for (from, to) in [(64, 512), (100, 300), (0, 600), (512, 4096)] {
            for seed in 0..8 {
                pages[from..to].copy_from_slice(&pattern(to - from, seed));
                let mut shape = [(to - from) as i64];
                let description = DLTensor {
                    data: pages[from..].as_ptr().cast_mut().cast(),
                    device: DLDevice::CPU,
                    ndim: 1,
                    dtype: dtype::U32,
                    shape: shape.as_mut_ptr(),
                    strides: std::ptr::null_mut(),
                    byte_offset: 0,
                };
                // SAFETY: the memory lives longer than the copy, which is waited for.
                let source = unsafe { Tensor::wrap(&description, DlpackFlags::empty(), ()) };
                let there = on(FIRST, &shape);
                copy(&source.unwrap_or_else(|(error, ())| panic!("{error}")), &there, &stream).unwrap();
                pages[from..to].fill(0xEEEE_EEEE);
                assert!(download(&there, &stream).unwrap() == pattern(to - from, seed), "{from}..{to}");
            }
        }
        set_delay(200);
    });
}

/// The stand-in notices when memory is unpinned that a stream still reads.
fn a_pin_waits_for_copies() {
    nothing_left(|| {
        set_delay(20_000);
        let (stream, there) = (stream(), on(FIRST, &[10_000]));
        for _ in 0..10 {
            let source = host(pattern(10_000, 4));
            // SAFETY: the tensor lives longer.
            let pinned = unsafe { pin(source.data(), source.nbytes()) }.unwrap();
            let nested = pinned_here(&[]).unwrap();
            let event = copy(&source, &there, &stream).unwrap();
            drop((nested, pinned));
            assert!(event.done());
        }
        set_delay(200);
    });
}

/// As above, where copies begin while the last pin goes.
fn pins_come_and_go_while_others_copy() {
    nothing_left(|| {
        set_delay(3000);
        let (source, pinning) = (host(pattern(10_000, 4)), AtomicBool::new(true));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let (stream, there) = (stream(), on(FIRST, &[10_000]));
                    while pinning.load(Ordering::Relaxed) {
                        (0..8).for_each(|_| drop(copy(&source, &there, &stream).unwrap()));
                        assert!(download(&there, &stream).unwrap() == pattern(10_000, 4));
                    }
                });
            }
            for _ in 0..150 {
                // SAFETY: the tensor lives longer.
                let pinned = unsafe { pin(source.data(), source.nbytes()) }.unwrap();
                thread::sleep(Duration::from_micros(500));
                drop(pinned);
            }
            pinning.store(false, Ordering::Relaxed);
        });
        set_delay(200);
    });
}

fn a_copy_that_was_looked_at_before_the_pin_went_is_staged() {
    nothing_left(|| {
        // The driver is asked about memory that the library did not give, and gets the chance to be late.
        let (source, there, stream) = (on_own_pages(3), foreign_memory(0, 10_000), stream());
        let pinned = pinned_whole(&source);
        let gate = Gate::on(0, stream.native().unwrap());
        let (pops, unlocks) = (calls("cuCtxPopCurrent"), calls("cuMemHostUnregister"));
        thread::scope(|scope| {
            held("cuMemHostUnregister", || {
                let copying = held("cuCtxPopCurrent", || {
                    let copying = scope.spawn(|| copy(&source, &there, &stream).unwrap());
                    until_called("cuCtxPopCurrent", pops);
                    scope.spawn(|| drop(pinned));
                    until_called("cuMemHostUnregister", unlocks);
                    copying
                });
                copying.join().unwrap();
            });
        });
        assert_eq!(live(c"registered blocks"), 0);
        gate.open();
        assert!(download(&there, &stream).unwrap() == pattern(10_000, 3));
    });
}

/// Two give the last pin back one after the other, and the first to find its copy done does not unlock for both.
fn a_pin_that_came_again_is_waited_for_too() {
    nothing_left(|| {
        let (source, [one, other]) = (on_own_pages(3), [stream(), stream()]);
        let (first, second) = (on(FIRST, &[10_000]), on(FIRST, &[10_000]));
        let gates = [&one, &other].map(|stream| Gate::on(0, stream.native().unwrap()));
        thread::scope(|scope| {
            let give_back = |to: &Tensor, stream: &Stream| {
                let pinned = pinned_whole(&source);
                copy(&source, to, stream).unwrap();
                scope.spawn(|| drop(pinned));
                // Should it not be waiting by then the test sees less.
                thread::sleep(Duration::from_millis(20));
            };
            give_back(&first, &one);
            give_back(&second, &other);
            gates[0].open();
            thread::sleep(Duration::from_millis(50));
            let locked = live(c"registered blocks");
            gates[1].open();
            assert_eq!(locked, 1);
        });
        assert_eq!(live(c"registered blocks"), 0);
        assert!(download(&second, &other).unwrap() == pattern(10_000, 3));
    });
}

/// Both of two: afterwards the memory may be freed.
fn whoever_gives_the_last_pins_back_waits_until_they_are_unlocked() {
    nothing_left(|| {
        let (whole, there, stream) = (on_own_pages(3), on(FIRST, &[4096]), stream());
        let source = whole.slice(0, None, Some(4096), 1).unwrap();
        let pins = [pinned_whole(&source), pinned_whole(&source)];
        let gate = Gate::on(0, stream.native().unwrap());
        copy(&source, &there, &stream).unwrap();
        // What is pinned is counted where more than that is asked for, and refused.
        // SAFETY: the tensor lives longer.
        let refusal = || unsafe { pin(whole.data(), whole.nbytes()) }.map(drop).unwrap_err().to_string();
        thread::scope(|scope| {
            let (unlocks, threads) =
                (calls("cuMemHostUnregister"), pins.map(|pin| scope.spawn(|| drop(pin))));
            while !refusal().contains("(0 pinned so far") {
                thread::yield_now();
            }
            let are_finished = held("cuMemHostUnregister", || {
                gate.open();
                until_called("cuMemHostUnregister", unlocks);
                // Should the other one not be there by then the test sees less.
                thread::sleep(Duration::from_millis(50));
                threads.iter().any(|thread| thread.is_finished())
            });
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            assert!(!are_finished);
        });
        assert_eq!(live(c"registered blocks"), 0);
    });
}

/// And who pins the same pages waits until they are locked, or free.
fn nobody_waits_while_the_driver_locks_other_pages() {
    nothing_left(|| {
        let memory = vec![1_u8; 40 * 4096];
        let (here, elsewhere) = (&memory[..4 * 4096], &memory[20 * 4096..24 * 4096]);
        let _locked = pinned_here(elsewhere).unwrap();
        let others_go_on = || {
            let (say, hear) = mpsc::channel();
            let inner = elsewhere.as_ptr() as usize;
            thread::spawn(move || {
                // SAFETY: the outer pin's memory, which outlives this unless the test has failed.
                drop(unsafe { pin(inner as *mut _, 100) }.unwrap());
                let (stream, there) = (stream(), on(FIRST, &[1000]));
                copy(&host(pattern(1000, 7)), &there, &stream).unwrap();
                say.send(download(&there, &stream).unwrap() == pattern(1000, 7)).unwrap();
            });
            // Far more than it takes: where it waits for the driver nothing comes at all.
            hear.recv_timeout(Duration::from_secs(30))
        };
        for (function, first) in [("cuMemHostRegister", None), ("cuMemHostUnregister", Some(()))] {
            let pinned = first.map(|()| pinned_here(here).unwrap());
            thread::scope(|scope| {
                let (went_on, one, other) = held(function, || {
                    let before = calls(function);
                    let one = scope.spawn(|| match pinned {
                        Some(pinned) => drop(pinned),
                        None => drop(pinned_here(here).unwrap()),
                    });
                    until_called(function, before);
                    let other = scope.spawn(|| drop(pinned_here(here).unwrap()));
                    (others_go_on(), one, other)
                });
                one.join().unwrap();
                other.join().unwrap();
                assert_eq!(went_on, Ok(true), "{function}");
            });
            assert_eq!(live(c"registered blocks"), 1);
        }
    });
}

/// The stand-in notices what is locked or unlocked twice.
fn pins_of_one_memory_come_and_go_in_many_threads() {
    nothing_left(|| {
        let memory = vec![1_u8; BYTES];
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..200 {
                        let outer = pinned_here(&memory).unwrap();
                        let inner = pinned_here(&memory[round..2 * round + 1]).unwrap();
                        drop(outer);
                        assert!(live(c"registered blocks") == 1);
                        drop(inner);
                    }
                });
            }
        });
    });
}

fn what_cannot_be_pinned_is_refused_with_the_numbers() {
    nothing_left(|| {
        let memory = vec![1_u8; 8 * 4096];
        let held = pinned_here(&memory[..4 * 4096]).unwrap();
        let error = pinned_here(&memory).map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        let words = error.to_string();
        assert!(
            words.contains("could not pin 32768 bytes (") && words.contains(" pinned so far; limit "),
            "{words}"
        );
        assert!(words.contains("a part of it"), "{words}");
        drop(held);
        fail("cuMemHostRegister", 1, 2, false);
        let error = pinned_here(&memory).map(drop).unwrap_err();
        let words = error.to_string();
        assert_eq!(error.kind(), Kind::OutOfMemory);
        assert!(words.contains("CUDA_ERROR_OUT_OF_MEMORY") && words.contains("(0 pinned so far"), "{words}");
        // What the pool gave is pinned, and not by us.
        let locked: Tensor = pinned(&[5000]);
        // SAFETY: the tensor lives longer.
        let words = unsafe { pin(locked.data(), 20_000) }.map(drop).unwrap_err().to_string();
        assert!(words.contains("by somebody else") && !words.contains("(0 pinned"), "{words}");
        drop(pinned_here(&memory).unwrap());
    });
}

fn nothing_needs_no_pin() {
    drop(pinned_here(&[]).unwrap());
    // SAFETY: refused.
    assert_eq!(unsafe { pin(std::ptr::null_mut(), 1) }.map(drop).unwrap_err().kind(), Kind::InvalidArgument);
}
