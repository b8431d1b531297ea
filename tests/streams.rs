//! Streams through the public API: copies between any two layouts against a naive loop, and many threads that copy,
//! view, write and check at once. `DLB_STRESS_SECONDS=60` makes the second one as long.

mod common;

use common::{Random, alone};
use dlbridge::device::{Event, Stream, copy_async, devices};
use dlbridge::dlpack::DLDevice;
use dlbridge::tensor::{Element, dtype};
use dlbridge::{Kind, Result, Tensor};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const THREADS: usize = 8;

fn copy(source: &Tensor, destination: &Tensor, stream: &Stream) -> Result<Event> {
    // SAFETY: these tests reach memory through tensors only.
    unsafe { copy_async(source, destination, stream) }
}

/// A tensor of this shape whose axes are permuted, reversed and cut out of larger ones as `random` has it, over elements
/// that count up from 1.
fn any_layout<T: Element + From<u8>>(random: &mut Random, shape: &[i64]) -> Tensor {
    let ndim = shape.len();
    let mut order: Vec<i64> = (0..ndim as i64).collect();
    (1..ndim).for_each(|last| order.swap(last, random.below(last as u64 + 1) as usize));
    let steps: Vec<i64> = shape.iter().map(|_| random.pick(&[1, 1, 1, -1, 2, -3])).collect();
    let room: Vec<i64> =
        order.iter().map(|&axis| (shape[axis as usize] * steps[axis as usize].abs()).max(1)).collect();
    let values =
        (0..room.iter().product::<i64>()).map(|value| T::from((value % 251) as u8)).collect::<Vec<T>>();
    let mut inverse = vec![0; ndim];
    order.iter().enumerate().for_each(|(place, &axis)| inverse[axis as usize] = place as i64);
    let mut tensor = Tensor::from_vec(values, &room).unwrap().permute(&inverse).unwrap();
    for (axis, (&extent, &step)) in shape.iter().zip(&steps).enumerate() {
        tensor = tensor.slice(axis as i64, None, None, step).unwrap();
        tensor = tensor.slice(axis as i64, None, Some(extent), 1).unwrap();
    }
    assert_eq!(tensor.shape(), shape);
    tensor
}

/// The elements in row-major order, one by one.
fn elements<T: Element + Copy>(tensor: &Tensor) -> Vec<T> {
    let first = tensor.data_as(T::DTYPE).unwrap().cast::<T>();
    let mut offsets = vec![0];
    for (&extent, &stride) in tensor.shape().iter().zip(tensor.strides()) {
        offsets = offsets.iter().flat_map(|&at| (0..extent).map(move |index| at + index * stride)).collect();
    }
    // SAFETY: each offset is that of an element; nobody writes once `data_as` has waited.
    offsets.into_iter().map(|offset| unsafe { first.offset(offset as isize).read() }).collect()
}

fn compare<T: Element + From<u8> + Copy + PartialEq + std::fmt::Debug>(rounds: usize) {
    let stream = Stream::new(DLDevice::CPU).unwrap();
    let mut random = Random::new(size_of::<T>() as u64);
    for _ in 0..rounds {
        let ndim = random.below(5) as usize;
        let shape: Vec<i64> = (0..ndim).map(|_| random.pick(&[0, 1, 2, 3, 5, 8, 17])).collect();
        let source = any_layout::<T>(&mut random, &shape);
        let destination = any_layout::<T>(&mut random, &shape);
        copy(&source, &destination, &stream).unwrap();
        assert_eq!(elements::<T>(&destination), elements::<T>(&source), "{source:?} to {destination:?}");
        if shape.iter().all(|&extent| extent > 0) && ndim > 0 {
            let one = source.slice(0, None, Some(1), 1).unwrap().expand(&shape).unwrap();
            copy(&one, &destination, &stream).unwrap();
            assert_eq!(elements::<T>(&destination), elements::<T>(&one), "{one:?} to {destination:?}");
        }
    }
}

#[test]
fn any_layout_is_copied_to_any_other_as_a_naive_loop_does() {
    let _alone = alone();
    compare::<u8>(300);
    compare::<i16>(300);
    compare::<f32>(300);
    compare::<f64>(300);
}

#[test]
fn what_lies_around_the_destination_is_left_alone() {
    let _alone = alone();
    let stream = Stream::new(DLDevice::CPU).unwrap();
    let whole = Tensor::from_vec(vec![0_u8; 100], &[10, 10]).unwrap();
    let middle = whole.slice(0, Some(2), Some(8), 2).unwrap().slice(1, Some(3), Some(7), 1).unwrap();
    copy(&Tensor::from_vec(vec![1_u8; 12], &[3, 4]).unwrap(), &middle, &stream).unwrap();
    assert_eq!(elements::<u8>(&whole).iter().filter(|&&value| value == 1).count(), 12);
    assert_eq!(elements::<u8>(&middle), [1; 12]);
}

#[test]
fn elements_of_less_than_a_byte_are_copied_packed_and_refused_otherwise() {
    let _alone = alone();
    let stream = Stream::new(DLDevice::CPU).unwrap();
    let float4 = dtype::parse("float4_e2m1fn").unwrap();
    let packed = |values: Vec<u8>| Tensor::from_vec(values, &[2, 2]).unwrap().reinterpret(float4).unwrap();
    let (source, destination) = (packed(vec![0x12, 0x34, 0x56, 0x78]), packed(vec![0; 4]));
    copy(&source, &destination, &stream).unwrap();
    assert_eq!(elements::<u8>(&destination.reinterpret(dtype::U8).unwrap()), [0x12, 0x34, 0x56, 0x78]);
    let turned = destination.reshape(&[4, 2]).unwrap();
    let refused = copy(&source.permute(&[1, 0]).unwrap(), &turned, &stream).unwrap_err();
    assert_eq!(refused.kind(), Kind::Unsupported);
    assert!(refused.to_string().contains("float4_e2m1fn"), "{refused}");
}

#[test]
fn the_cpu_is_a_device_and_the_others_say_why_not() {
    assert_eq!(devices(), [DLDevice::CPU]);
    let error = Stream::new(DLDevice::cuda(0)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    assert!(error.to_string().contains("cuda:0 cannot be used here: "), "{error}");
}

/// Each thread copies a counted pattern through two streams and back, with nothing but the tensors to wait by, and now
/// and then writes where a copy may still read. What is not waited for breaks the pattern.
#[test]
fn eight_threads_on_four_streams_never_see_half_a_copy() {
    let _alone = alone();
    let seconds = std::env::var("DLB_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds);
    let streams: Vec<Stream> = (0..4).map(|_| Stream::new(DLDevice::CPU).unwrap()).collect();
    let copies = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (streams, copies) = (&streams, &copies);
            scope.spawn(move || {
                let mut random = Random::new(thread as u64 + 1);
                while Instant::now() < end {
                    copies.fetch_add(round_trip(&mut random, streams), Ordering::Relaxed);
                }
            });
        }
    });
    for stream in &streams {
        stream.synchronize().unwrap(); // then they hold nothing
    }
    let copies = copies.into_inner();
    println!("{copies} copies in {seconds} s");
    assert!(copies > 100);
}

fn round_trip(random: &mut Random, streams: &[Stream]) -> usize {
    let any = |random: &mut Random| &streams[random.below(4) as usize];
    let (rows, columns) = (1 + random.below(64) as i64, 1 + random.below(1024) as i64);
    let count = (rows * columns) as usize;
    let seed = random.next() as u32;
    let pattern: Vec<u32> =
        (0..count as u32).map(|at| seed.wrapping_add(at.wrapping_mul(2_654_435_761))).collect();
    let start = Tensor::from_vec(pattern.clone(), &[rows, columns]).unwrap();
    let middle = Tensor::from_vec(vec![0_u32; count], &[columns, rows]).unwrap();
    let mut end = Tensor::from_vec(vec![0_u32; count], &[rows, columns]).unwrap();
    copy(&start, &middle.permute(&[1, 0]).unwrap(), any(random)).unwrap();
    let event = copy(&middle.permute(&[1, 0]).unwrap(), &end, any(random)).unwrap();
    match random.below(4) {
        // The source may be written as soon as this answers, and not before.
        0 => {
            // SAFETY: nobody else has the tensor.
            unsafe { start.as_mut_slice::<u32>() }.unwrap().fill(0);
            assert_eq!(end.get_mut::<u32>().unwrap(), pattern);
        }
        1 => {
            event.wait_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!(end.into_vec::<u32>().unwrap(), pattern);
        }
        2 => {
            copy(&Tensor::from_vec(vec![0_u32; count], &[columns, rows]).unwrap(), &middle, any(random))
                .unwrap();
            assert_eq!(end.get_mut::<u32>().unwrap(), pattern);
            assert_eq!(middle.into_vec::<u32>().unwrap(), vec![0; count]);
            return 3;
        }
        _ => {
            drop((start, middle));
            // SAFETY: nobody else has the tensor.
            assert_eq!(unsafe { end.as_slice::<u32>() }.unwrap(), pattern);
        }
    }
    2
}
