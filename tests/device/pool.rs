//! Memory of devices and pinned memory, and the pools over them.

use crate::given::*;
use crate::standin::{calls, fail, live, set_delay};
use dlbridge::device::{Stream, device_allocator, own_stream, pinned_allocator, zeros, zeros_with};
use dlbridge::dlpack::{DLDevice, DLDeviceType};
use dlbridge::memory::{Allocator, Block, Limits, Options, Pool};
use dlbridge::tensor::dtype;
use dlbridge::{Kind, Tensor};
use std::sync::Arc;

crate::tests!(
    what_is_asked_is_held_and_given_back_on_trim,
    a_warm_pool_does_not_ask_the_driver,
    memory_is_where_it_is_said_to_be,
    alignments_are_honoured,
    no_memory_left_is_told_with_the_drivers_name,
    a_full_device_gives_back_what_is_cached_first,
    a_pool_of_ones_own_has_a_limit,
    a_block_in_use_by_a_stream_is_not_given_out_again,
    zeros_are_there_at_return,
);

/// 20.4 MiB in tenths: what is 20.4 GiB on a real device.
fn what_is_asked_is_held_and_given_back_on_trim() {
    nothing_left(|| {
        for allocator in [device_allocator(FIRST).unwrap(), pinned_allocator(FIRST).unwrap()] {
            let pool = allocator.pool().unwrap();
            let asked = 204 << 20; // tenths of bytes
            let blocks: Vec<Block> =
                [asked / 10 / 4; 4].map(|bytes| Block::new(Some(&allocator), bytes, 0).unwrap()).into();
            let stats = pool.stats();
            assert!(stats.held >= stats.asked && stats.held - stats.asked <= 4 * 4096, "{stats:?}");
            assert_eq!(stats.asked, asked / 10 / 4 * 4);
            drop(blocks);
            assert_eq!((pool.stats().held, pool.stats().cached), (0, stats.held));
            assert_eq!(pool.trim(0), stats.held);
            assert_eq!((live(c"device blocks"), live(c"pinned blocks")), (0, 0));
        }
    });
}

fn a_warm_pool_does_not_ask_the_driver() {
    for device in [FIRST, SECOND] {
        drop(on(device, &[1000]));
        let before = (calls("cuMemAlloc"), calls("cuMemFree"));
        for _ in 0..100 {
            drop(on(device, &[1000]));
        }
        assert_eq!((calls("cuMemAlloc"), calls("cuMemFree")), before);
    }
}

fn memory_is_where_it_is_said_to_be() {
    for device in [FIRST, SECOND] {
        let there = on(device, &[7]);
        assert_eq!(there.device(), device);
        dlbridge::device::check_pointer(there.data(), device).unwrap();
    }
    let locked = pinned(&[7]);
    assert_eq!(locked.device(), DLDevice { device_type: DLDeviceType::CUDAHOST, device_id: 0 });
    fill(&locked, &pattern(7, 7));
    assert_eq!(elements(&locked).unwrap(), pattern(7, 7));
    assert_eq!(device_allocator(DLDevice::CPU).unwrap().device(), DLDevice::CPU);
    let error = pinned_allocator(DLDevice::CPU).map(drop).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let error = device_allocator(DLDevice::cuda(2)).map(drop).unwrap_err();
    assert!(error.kind() == Kind::Unavailable && error.to_string().contains("2 CUDA devices"), "{error}");
}

fn alignments_are_honoured() {
    nothing_left(|| {
        for allocator in [device_allocator(FIRST).unwrap(), pinned_allocator(FIRST).unwrap()] {
            for alignment in [1, 256, 1024, 4096] {
                let block = Block::new(Some(&allocator), 1000, alignment).unwrap();
                assert!((block.data() as usize).is_multiple_of(alignment));
            }
        }
    });
}

/// The stand-in's devices have 64 MiB.
fn no_memory_left_is_told_with_the_drivers_name() {
    nothing_left(|| {
        let error = Block::new(Some(&device_allocator(FIRST).unwrap()), 65 << 20, 0).map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::OutOfMemory);
        for part in ["CUDA_ERROR_OUT_OF_MEMORY", "on cuda:0", "trim()"] {
            assert!(error.to_string().contains(part), "{error}");
        }
    });
}

fn a_full_device_gives_back_what_is_cached_first() {
    nothing_left(|| {
        let allocator = device_allocator(FIRST).unwrap();
        drop(Block::new(Some(&allocator), 40 << 20, 0).unwrap());
        let large = Block::new(Some(&allocator), 50 << 20, 0).unwrap();
        assert_eq!(live(c"device bytes"), 50 << 20);
        drop(large);
    });
}

fn a_pool_of_ones_own_has_a_limit() {
    nothing_left(|| {
        let limits = Limits { held: 1 << 20, ..Limits::default() };
        let pool: Arc<dyn dlbridge::memory::Allocator> =
            Arc::new(Pool::new(device_allocator(FIRST).unwrap(), limits));
        let _half = Block::new(Some(&pool), 1 << 19, 0).unwrap();
        let error = Block::new(Some(&pool), 1 << 20, 0).map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::OutOfMemory);
    });
}

fn a_block_in_use_by_a_stream_is_not_given_out_again() {
    nothing_left(|| {
        set_delay(20_000);
        let stream = stream();
        let values = pattern(5000, 1);
        let mut backs = Vec::new();
        for _ in 0..10 {
            // Each is let go at once, and the next one asks for the same size.
            let (there, back) = (on(FIRST, &[5000]), Tensor::from_vec(vec![0_u32; 5000], &[5000]).unwrap());
            copy(&host(values.clone()), &there, &stream).unwrap();
            copy(&there, &back, &stream).unwrap();
            backs.push(back);
        }
        set_delay(200);
        backs.into_iter().for_each(|back| assert!(back.into_vec::<u32>().unwrap() == values));
    });
}

/// In memory that was used, by a stream that is late: nobody who reads it afterwards is told to wait.
fn zeros_are_there_at_return() {
    let own = [FIRST, SECOND].map(|device| own_stream(device).unwrap()); // which stay
    nothing_left(|| {
        let count = 70_000;
        for device in [FIRST, SECOND] {
            let other = Stream::new(device).unwrap();
            let used = on(device, &[count]);
            copy(&host(pattern(count as usize, 3)), &used, &other).unwrap().wait().unwrap();
            drop(used);
            set_delay(20_000);
            let there = zeros(&[7, 10_000], dtype::U32, device, false).unwrap();
            set_delay(0);
            assert_eq!((there.device(), there.is_read_only()), (device, false));
            assert!(download(&there, &other).unwrap().iter().all(|&value| value == 0), "{device:?}");
        }
        assert_eq!(zeros(&[0, 3], dtype::U32, FIRST, false).unwrap().nbytes(), 0);
        let pool: Arc<dyn Allocator> =
            Arc::new(Pool::new(device_allocator(FIRST).unwrap(), Limits::default()));
        let options = Options { alignment: 4096, allocator: Some(&pool) };
        let there = zeros_with(&[3], dtype::U8, options).unwrap();
        assert_eq!(there.data() as usize % 4096, 0);
        // What fails is told, and costs nothing.
        fail("cuMemsetD8Async", 1, 999, false);
        let error = zeros(&[3], dtype::U8, FIRST, false).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().contains("cuMemsetD8Async")),
            (Kind::Device, true),
            "{error}"
        );
        drop(zeros(&[3], dtype::U8, FIRST, false).unwrap());
        let _ = own.each_ref().map(Stream::synchronize);
    });
}
