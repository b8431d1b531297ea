//! Copies in every direction, of every layout, and by which calls.

use crate::given::*;
use crate::standin::{calls, set_delay};
use dlbridge::device::{Stream, Transfers, check_pointer, devices, transfers};
use dlbridge::dlpack::{DLDevice, DLTensor};
use dlbridge::tensor::dtype;
use dlbridge::{DlpackFlags, Kind, Tensor};
use std::ptr::null_mut;

crate::tests!(
    there_are_two_devices,
    a_round_trip_is_right_and_counts_two,
    what_is_pinned_goes_directly,
    rows_go_as_rows,
    scattered_sources_are_packed_and_go_in_few_calls,
    the_longest_loop_goes_as_rows,
    any_layout_is_copied_to_any_other,
    what_lies_backward_goes_in_one_run,
    within_a_device_and_between_two,
    a_cuda_stream_copies_on_the_host_too,
    nothing_is_copied_where_there_is_nothing,
    what_cannot_be_copied_is_refused,
    pointers_are_checked,
);

fn there_are_two_devices() {
    assert_eq!(devices(), [DLDevice::CPU, FIRST, SECOND]);
}

/// What was copied while `body` ran.
fn counted(body: impl FnOnce()) -> [(u64, u64); 4] {
    let list = |Transfers { h2h, h2d, d2h, d2d }| [h2h, h2d, d2h, d2d].map(|each| (each.calls, each.bytes));
    let before = list(transfers());
    body();
    let mut counts = list(transfers());
    counts.iter_mut().zip(before).for_each(|(now, then)| *now = (now.0 - then.0, now.1 - then.1));
    counts
}

/// Small ones, ones that are staged in several pieces, and one that uses each staging buffer again.
fn a_round_trip_is_right_and_counts_two() {
    nothing_left(|| {
        let stream = stream();
        for count in [1, 3, 1024, (4 << 18) + 1, (19 << 18) + 7] {
            let values = pattern(count, 5);
            let bytes = count as u64 * 4;
            let counts = counted(|| {
                let there = on(FIRST, &[count as i64]);
                let source = host(values.clone());
                copy(&source, &there, &stream).unwrap();
                // A pageable source may be written again at once, by whatever means.
                // SAFETY: nobody reads it any more: it was staged.
                unsafe { source.data().cast::<u8>().write_bytes(0xEE, count * 4) };
                assert!(source.into_vec::<u32>().is_ok(), "and nobody holds it");
                assert!(download(&there, &stream).unwrap() == values, "{count} elements");
            });
            assert_eq!(counts, [(0, 0), (1, bytes), (1, bytes), (0, 0)]);
        }
    });
}

fn what_is_pinned_goes_directly() {
    nothing_left(|| {
        let (stream, count) = (stream(), 3 << 20);
        let values = pattern(count, 9);
        let (source, there, back) =
            (pinned(&[count as i64]), on(FIRST, &[count as i64]), pinned(&[count as i64]));
        fill(&source, &values);
        let before = (calls("cuMemcpyHtoDAsync"), calls("cuMemcpyDtoHAsync"), calls("cuLaunchHostFunc"));
        set_delay(20_000);
        copy(&source, &there, &stream).unwrap();
        copy(&there, &back, &stream).unwrap();
        fill(&source, &vec![0; count]); // waits: the source is read late
        assert!(elements(&back).unwrap() == values);
        set_delay(200);
        let after = (calls("cuMemcpyHtoDAsync"), calls("cuMemcpyDtoHAsync"), calls("cuLaunchHostFunc"));
        assert_eq!(after, (before.0 + 1, before.1 + 1, before.2));
    });
}

fn rows_go_as_rows() {
    nothing_left(|| {
        let stream = stream();
        let padded = pinned(&[50, 64]);
        fill(&padded, &pattern(50 * 64, 1));
        let rows = padded.slice(1, None, Some(48), 1).unwrap();
        let there = on(FIRST, &[50, 48]);
        let before = (calls("cuMemcpy2DAsync"), calls("cuMemcpyHtoDAsync"));
        copy(&rows, &there, &stream).unwrap();
        assert_eq!((calls("cuMemcpy2DAsync"), calls("cuMemcpyHtoDAsync")), (before.0 + 1, before.1));
        assert_eq!(download(&there, &stream).unwrap(), elements(&rows).unwrap());
        fill(&padded, &vec![0; 50 * 64]);
        copy(&there, &rows, &stream).unwrap();
        assert_eq!(calls("cuMemcpy2DAsync"), before.0 + 2);
        assert_eq!(elements(&rows).unwrap(), download(&there, &stream).unwrap());
        assert_eq!(elements(&padded.slice(1, Some(48), None, 1).unwrap()).unwrap(), vec![0; 50 * 16]);
    });
}

/// How often the driver was told to copy from the host.
fn uploads() -> (i64, i64) {
    (calls("cuMemcpyHtoDAsync"), calls("cuMemcpy2DAsync"))
}

/// By one pass of the host, in two pieces of 4 MiB at most, whether they are pinned or not.
fn scattered_sources_are_packed_and_go_in_few_calls() {
    nothing_left(|| {
        set_delay(0);
        let stream = stream();
        for is_pinned in [false, true] {
            let make = |shape: &[i64]| {
                let tensor =
                    if is_pinned { pinned(shape) } else { Tensor::empty(shape, dtype::U32).unwrap() };
                fill(&tensor, &pattern(tensor.size(), is_pinned.into()));
                tensor
            };
            let cut =
                |tensor: &Tensor, axis, start, stop, step| tensor.slice(axis, start, stop, step).unwrap();
            let whole = make(&[40, 200, 260]);
            let sources = [
                cut(&cut(&whole, 1, Some(20), Some(180), 1), 2, Some(5), Some(255), 1),
                make(&[250, 160, 40]).permute(&[2, 1, 0]).unwrap(),
                make(&[160, 40, 250]).permute(&[1, 0, 2]).unwrap(),
                cut(&make(&[40, 160, 250]), 1, None, None, -1),
                cut(&make(&[40, 160, 500]), 2, None, None, 2),
                make(&[40, 1, 250]).expand(&[40, 160, 250]).unwrap(),
            ];
            for source in &sources {
                let there = on(FIRST, &[40, 160, 250]);
                let before = uploads();
                copy(source, &there, &stream).unwrap();
                assert_eq!(uploads(), (before.0 + 2, before.1), "{source:?}");
                assert!(download(&there, &stream).unwrap() == elements(source).unwrap(), "{source:?}");
            }
        }
        set_delay(200);
    });
}

/// Where the destination has gaps of two kinds.
fn the_longest_loop_goes_as_rows() {
    nothing_left(|| {
        let stream = stream();
        for shape in [[300, 3, 8], [3, 300, 8]] {
            let whole = on(FIRST, &[shape[0], shape[1] + 1, shape[2] + 2]);
            let there = whole.slice(1, None, Some(shape[1]), 1).unwrap();
            let there = there.slice(2, Some(2), None, 1).unwrap();
            let source = Tensor::from_vec(pattern(7200, 3), &shape).unwrap();
            let before = uploads();
            copy(&source, &there, &stream).unwrap();
            assert_eq!(uploads(), (before.0, before.1 + 3));
            let other = on(FIRST, &shape);
            copy(&there, &other, &stream).unwrap();
            assert_eq!(uploads(), (before.0, before.1 + 6));
            assert_eq!(download(&other, &stream).unwrap(), pattern(7200, 3));
        }
    });
}

/// Views of a tensor with every kind of stride; all have the shape [6, 5, 4].
fn views(whole: impl Fn(&[i64]) -> Tensor) -> Vec<Tensor> {
    let cut = |tensor: Tensor, axis, start, stop, step| tensor.slice(axis, start, stop, step).unwrap();
    vec![
        whole(&[6, 5, 4]),
        whole(&[4, 5, 6]).permute(&[2, 1, 0]).unwrap(),
        whole(&[5, 6, 4]).permute(&[1, 0, 2]).unwrap(),
        cut(whole(&[6, 5, 9]), 2, Some(1), Some(9), 2),
        cut(whole(&[6, 5, 4]), 0, None, None, -1),
        cut(cut(whole(&[12, 5, 7]), 0, None, None, -2), 2, Some(3), None, 1),
        cut(whole(&[4, 10, 6]), 1, None, None, 2).permute(&[2, 1, 0]).unwrap(),
    ]
}

fn any_layout_is_copied_to_any_other() {
    nothing_left(|| {
        set_delay(0);
        let stream = stream();
        let pageable = |shape: &[i64]| {
            let count = shape.iter().product::<i64>() as usize;
            Tensor::from_vec(pattern(count, 77), shape).unwrap()
        };
        let locked = |shape: &[i64]| {
            let tensor = pinned(shape);
            fill(&tensor, &pattern(tensor.size(), 78));
            tensor
        };
        let mut sources = views(pageable);
        sources.extend(views(locked));
        sources.push(pageable(&[6, 1, 4]).expand(&[6, 5, 4]).unwrap());
        for source in &sources {
            for there in views(|shape| on(FIRST, shape)) {
                for other in views(|shape| on(FIRST, shape)) {
                    copy(source, &there, &stream).unwrap();
                    copy(&there, &other, &stream).unwrap();
                    let found = download(&other, &stream).unwrap();
                    assert_eq!(found, elements(source).unwrap(), "{source:?} to {there:?} to {other:?}");
                }
                for back in views(pageable).iter().chain(&views(locked)) {
                    copy(&there, back, &stream).unwrap();
                    assert_eq!(elements(back).unwrap(), elements(source).unwrap(), "{there:?} to {back:?}");
                }
            }
        }
        set_delay(200);
    });
}

fn what_lies_backward_goes_in_one_run() {
    nothing_left(|| {
        let (stream, count) = (stream(), 100_000);
        let there = on(FIRST, &[count as i64]);
        let backward = there.slice(0, None, None, -1).unwrap();
        let (values, before) = (pattern(count, 1), calls("cuMemcpyHtoDAsync") + calls("cuMemcpyDtoHAsync"));
        copy(&host(values.clone()), &backward, &stream).unwrap();
        assert!(download(&backward, &stream).unwrap() == values);
        let repeated = there.slice(0, None, Some(1), 1).unwrap().expand(&[count as i64]).unwrap();
        assert!(download(&repeated, &stream).unwrap() == vec![values[count - 1]; count]);
        assert_eq!(calls("cuMemcpyHtoDAsync") + calls("cuMemcpyDtoHAsync"), before + 3);
        // Within a device there is nobody to turn it.
        let other = on(FIRST, &[count as i64]);
        let error = copy(&backward, &other, &stream).map(drop).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(
            error.to_string().contains("100000 times")
                && error.to_string().contains("copy to the host first")
        );
        copy(&backward, &other.slice(0, None, None, -1).unwrap(), &stream).unwrap();
        assert!(
            download(&other, &stream).unwrap()
                == elements(&host(values.iter().rev().copied().collect())).unwrap()
        );
    });
}

fn within_a_device_and_between_two() {
    nothing_left(|| {
        let (one, other) = (stream(), Stream::new(SECOND).unwrap());
        let values = pattern(6 * 5 * 4, 3);
        for there in views(|shape| on(FIRST, shape)) {
            copy(&Tensor::from_vec(values.clone(), &[6, 5, 4]).unwrap(), &there, &one).unwrap();
            for beyond in views(|shape| on(SECOND, shape)) {
                // By a stream of either.
                copy(&there, &beyond, &one).unwrap();
                copy(&beyond, &there, &other).unwrap();
                copy(&there, &beyond, &other).unwrap();
                assert_eq!(download(&beyond, &other).unwrap(), values);
            }
        }
        assert!(calls("cuMemcpyPeerAsync") > 0);
    });
}

fn a_cuda_stream_copies_on_the_host_too() {
    nothing_left(|| {
        let stream = stream();
        for source in views(|shape| {
            Tensor::from_vec(pattern(shape.iter().product::<i64>() as usize, 4), shape).unwrap()
        }) {
            let there = on(FIRST, &[6, 5, 4]);
            let out = Tensor::empty(&[6, 5, 4], dtype::U32).unwrap();
            copy(&source, &there, &stream).unwrap();
            let between = Tensor::empty(&[6, 5, 4], dtype::U32).unwrap();
            copy(&there, &between, &stream).unwrap();
            copy(&between, &out, &stream).unwrap();
            assert_eq!(elements(&out).unwrap(), elements(&source).unwrap());
        }
    });
}

fn nothing_is_copied_where_there_is_nothing() {
    let stream = stream();
    let (empty, there) = (host(vec![]), on(FIRST, &[0]));
    let before = calls("cuMemcpyHtoDAsync");
    copy(&empty, &there, &stream).unwrap().wait().unwrap();
    assert_eq!(download(&there, &stream).unwrap(), []);
    assert_eq!(calls("cuMemcpyHtoDAsync"), before);
}

/// A tensor whose address is somebody's claim.
fn claimed(data: *mut std::ffi::c_void, device: DLDevice) -> Tensor {
    let mut shape = [4_i64];
    let description = DLTensor {
        data,
        device,
        ndim: 1,
        dtype: dtype::U32,
        shape: shape.as_mut_ptr(),
        strides: null_mut(),
        byte_offset: 0,
    };
    // SAFETY: nothing is read through it that is not there.
    unsafe { Tensor::wrap(&description, DlpackFlags::empty(), ()) }.unwrap()
}

fn what_cannot_be_copied_is_refused() {
    let (stream, line, there) = (stream(), host(pattern(4, 0)), on(FIRST, &[4]));
    let cpu = Stream::new(DLDevice::CPU).unwrap();
    let refused = |source: &Tensor, destination: &Tensor, stream: &Stream| {
        let error = copy(source, destination, stream).unwrap_err();
        (error.kind(), error.to_string())
    };
    let (kind, words) = refused(&line, &there, &cpu);
    assert!(kind == Kind::Unsupported && words.contains("a stream of cuda:0"), "{words}");
    let (kind, words) = refused(&line, &on(SECOND, &[4]), &stream);
    assert!(kind == Kind::Unsupported && words.contains("cuda:1"), "{words}");
    let (kind, words) = refused(&line, &there.expand(&[1, 4]).unwrap(), &stream);
    assert!(kind == Kind::InvalidArgument && words.contains("shape"), "{words}");
    let (kind, words) = refused(&there, &there, &stream);
    assert!(kind == Kind::Unsupported && words.contains("lie between each other"), "{words}");
    let (kind, words) = refused(&line, &claimed(host(pattern(4, 0)).data(), FIRST), &stream);
    assert!(kind == Kind::InvalidArgument && words.contains("knows no such memory"), "{words}");
    let int4 = dtype::parse("int4").unwrap();
    let packed = Tensor::from_vec(vec![1_u8, 2], &[2]).unwrap().reinterpret(int4).unwrap();
    let three = packed.slice(0, None, Some(3), 1).unwrap();
    let options = dlbridge::memory::Options {
        allocator: Some(&dlbridge::device::device_allocator(FIRST).unwrap()),
        ..Default::default()
    };
    let room = Tensor::empty_with(&[3], int4, options).unwrap();
    let (kind, words) = refused(&three, &room, &stream);
    assert!(kind == Kind::Unsupported && words.contains("12 bits"), "{words}");
    stream.synchronize().unwrap();
}

fn pointers_are_checked() {
    let (there, locked, line) = (on(SECOND, &[4]), pinned(&[4]), host(pattern(4, 0)));
    check_pointer(there.data(), SECOND).unwrap();
    check_pointer(line.data(), DLDevice::CPU).unwrap();
    for (data, words) in [
        (there.data(), "it is on cuda:1"),
        (locked.data(), "pinned memory of the host"),
        (line.data(), "no such memory"),
        (std::ptr::without_provenance_mut(usize::MAX), "no such memory"),
    ] {
        let error = check_pointer(data, FIRST).unwrap_err();
        assert_eq!(error.kind(), Kind::InvalidArgument);
        assert!(error.to_string().contains(words) && error.to_string().contains("cuda:0"), "{error}");
    }
}
