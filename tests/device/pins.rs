//! Pinning memory where it is.

use crate::given::*;
use crate::standin::{calls, fail, live, set_delay};
use dlbridge::device::{Pin, pin};
use dlbridge::dlpack::{DLDevice, DLTensor};
use dlbridge::tensor::dtype;
use dlbridge::{DlpackFlags, Kind, Result, Tensor};

crate::tests!(
    pins_nest,
    what_is_pinned_is_copied_directly,
    a_neighbour_of_what_is_pinned_is_not,
    a_pin_waits_for_copies,
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

fn what_is_pinned_is_copied_directly() {
    nothing_left(|| {
        let (stream, there) = (stream(), on(FIRST, &[10_000]));
        let source = host(pattern(10_000, 4));
        // SAFETY: the tensor lives longer.
        let _pin = unsafe { pin(source.data(), source.nbytes()) }.unwrap();
        let before = calls("cuMemHostAlloc");
        copy(&source, &there, &stream).unwrap();
        let back = host(vec![0; 10_000]);
        // SAFETY: as above.
        let other = unsafe { pin(back.data(), back.nbytes()) }.unwrap();
        copy(&there, &back, &stream).unwrap();
        drop(other); // waits
        assert!(back.into_vec::<u32>().unwrap() == pattern(10_000, 4));
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
