//! What a program in Rust meets first: whose memory is lent without `unsafe`, what refusals say to do, what is printed.

mod common;

use common::{alone, not_exclusive, numbers};
use dlbridge::copy::{self, Casting, Order, StackOptions};
use dlbridge::device::{Event, Stream, copy_async};
use dlbridge::dlpack::{DLDevice, DLTensor};
use dlbridge::memory::{Allocator, Block, Host, Limits, Options, Pool};
use dlbridge::staging::{self, Batch, Leaf, Ring};
use dlbridge::tensor::{MAX_NDIM, TakeError, dtype};
use dlbridge::{DlpackFlags, Error, Kind, Result, Tensor};
use std::sync::{Arc, Barrier};

/// What the library made and wrote itself is lent: nobody else has it, and each byte has a value.
#[test]
fn results_of_copies_casts_and_stacks_are_lent() {
    let _alone = alone();
    let transposed = numbers().permute(&[1, 0]).unwrap();
    // SAFETY: nobody writes to the numbers.
    let made = unsafe {
        [
            copy::new(&transposed, Order::C),
            copy::cast(&transposed, dtype::I32, Casting::SameKind, None),
            copy::stack(&[&transposed], None, StackOptions::default()),
        ]
    };
    for made in made {
        let mut made = made.unwrap();
        assert_eq!(made.get_mut::<i32>().unwrap(), [1, 4, 2, 5, 3, 6]);
        let view = made.select(0, 0).unwrap();
        not_exclusive(made.get_mut::<i32>(), "still in use elsewhere");
        drop(made);
        not_exclusive(view.get::<i32>(), "call get_mut() or freeze() on the last reference");
    }
    // SAFETY: as above.
    let mut kept = unsafe { copy::new(&transposed, Order::K) }.unwrap().permute(&[1, 0]).unwrap();
    assert_eq!(kept.get_mut::<i32>().unwrap(), [1, 2, 3, 4, 5, 6]);
}

#[test]
fn memory_without_values_is_not_lent() {
    let _alone = alone();
    let mut tensor = Tensor::empty(&[2], dtype::I32).unwrap();
    not_exclusive(tensor.get_mut::<i32>(), "make it with Tensor::zeros()");
    not_exclusive(tensor.get::<i32>(), "make it with Tensor::zeros()");
    // Of packed elements those bytes are lent that they fill.
    let nibbles = Tensor::zeros(&[2], dtype::parse("int4").unwrap()).unwrap();
    // SAFETY: nobody writes to the nibbles.
    let copied = unsafe { copy::new(&nibbles, Order::C) }.unwrap();
    let mut byte = copied.reinterpret(dtype::U8).unwrap();
    drop(copied);
    assert_eq!(byte.get_mut::<u8>().unwrap(), [0]);
    for mut none in [Tensor::empty(&[0, 3], dtype::F32).unwrap(), Tensor::zeros(&[0], dtype::F32).unwrap()] {
        assert_eq!(none.get_mut::<f32>().unwrap(), []);
    }
}

#[test]
fn what_cannot_be_taken_names_what_can_be_done() {
    let _alone = alone();
    let table: Arc<[u8]> = vec![1, 2].into();
    let TakeError { error, tensor } = Tensor::from_owner(table, &[2]).unwrap().into_vec::<u8>().unwrap_err();
    not_exclusive::<()>(Err(error), "copy the elements: get()?.to_vec()");
    assert_eq!(tensor.get::<u8>().unwrap().to_vec(), [1, 2], "what the error says");
    // SAFETY: the vector lives longer than the tensor.
    let lent = unsafe { Tensor::import(tensor.export().unwrap()) }.unwrap();
    assert!(lent.get::<u8>().is_ok(), "an export of ours");
}

/// What was filled by one is read by many: through clones, views and exports, which all know that nobody may write.
#[test]
fn what_is_frozen_is_lent_to_readers_for_good() {
    let _alone = alone();
    let turned = numbers().permute(&[1, 0]).unwrap();
    // SAFETY: nobody writes to the numbers.
    let made = unsafe { copy::new(&turned, Order::C) }.unwrap();
    let frozen = made.freeze().unwrap();
    let row = frozen.select(0, 1).unwrap();
    // SAFETY: an export that nobody else takes.
    let back = unsafe { Tensor::import(frozen.export().unwrap()) }.unwrap();
    for tensor in [&frozen, &frozen.clone(), &back] {
        assert_eq!(tensor.get::<i32>().unwrap(), [1, 4, 2, 5, 3, 6]);
        assert_eq!(tensor.share_writable().unwrap_err().kind(), Kind::ReadOnly);
        assert_eq!(tensor.data_mut_as(dtype::I32).unwrap_err().kind(), Kind::ReadOnly);
    }
    drop((frozen, back));
    assert_eq!(row.get::<i32>().unwrap(), [2, 5], "a view is lent after the tensor is gone");
    let TakeError { error, tensor: mut row } = row.into_vec::<i32>().unwrap_err();
    not_exclusive::<()>(Err(error), "others may read the memory");
    not_exclusive(row.get_mut::<i32>(), "others may read the memory");
    assert!(row.freeze().is_ok(), "it is so already");
}

/// Who might still write, or has not written, is in the way, and the tensor comes back as it was.
#[test]
fn what_others_may_write_to_is_not_frozen() {
    let _alone = alone();
    let tensor = numbers();
    let view = tensor.select(0, 1).unwrap();
    let TakeError { error, mut tensor } = tensor.freeze().unwrap_err();
    not_exclusive::<()>(Err(error), "still in use elsewhere");
    drop(view);
    assert_eq!(tensor.get_mut::<i32>().unwrap().len(), 6, "nothing was frozen");
    let unwritten = Tensor::empty(&[2], dtype::I32).unwrap().freeze().unwrap_err();
    not_exclusive::<()>(Err(unwritten.error), "make it with Tensor::zeros()");
    // What was only marked is no dead end: the last reference may be read, too.
    let marked = tensor.read_only().unwrap();
    drop(tensor);
    not_exclusive(marked.get::<i32>(), "freeze() on the last reference");
    assert_eq!(marked.freeze().unwrap().get::<i32>().unwrap(), [1, 2, 3, 4, 5, 6]);
}

/// A copy that is on its way into the memory is over before it is read.
#[test]
fn freezing_waits_for_copies() {
    let _alone = alone();
    let (source, target) = (numbers(), Tensor::zeros(&[2, 3], dtype::I32).unwrap());
    let stream = Stream::new(DLDevice::CPU).unwrap();
    // SAFETY: both are reached through tensors only.
    unsafe { copy_async(&source, &target, &stream) }.unwrap();
    let frozen = target.freeze().unwrap();
    assert_eq!(frozen.get::<i32>().unwrap(), [1, 2, 3, 4, 5, 6]);
    // SAFETY: as above.
    let refused = unsafe { copy_async(&source, &frozen, &stream) }.map(drop);
    assert_eq!(refused.unwrap_err().kind(), Kind::ReadOnly);
}

/// Who unwraps an error, or returns it from `main`, reads what mends it; who wraps memory and does not want it back needs
/// no words for that.
#[test]
fn errors_are_printed_with_their_words() {
    let _alone = alone();
    let error = numbers().slice(2, None, None, 1).unwrap_err();
    assert_eq!(format!("{error:?}"), format!("InvalidArgument: {error}"));
    let refused = numbers().freeze().unwrap().into_vec::<i32>().unwrap_err();
    assert!(format!("{refused:?}").contains(&refused.error.to_string()), "{refused:?}");
    fn wrap() -> Result<Tensor> {
        let malformed = DLTensor { ndim: -1, ..*numbers().view() };
        // SAFETY: refused before anything is read through it.
        Ok(unsafe { Tensor::wrap(&malformed, DlpackFlags::empty(), "the owner") }?)
    }
    assert_eq!(wrap().unwrap_err(), Error::Ndim { ndim: -1, limit: MAX_NDIM });
}

/// A shape that does not fit is a mistake of the caller's, not of a producer of DLPack structs.
#[test]
fn impossible_shapes_are_wrong_arguments() {
    for shape in [&[-1, 3][..], &[i64::MAX, i64::MAX], &[1; 200], &[2, 2]] {
        let owned = Tensor::from_vec(vec![1_u8, 2, 3], shape).unwrap_err();
        let shared = Tensor::from_owner(vec![1_u8, 2, 3], shape).unwrap_err();
        assert_eq!((owned.kind(), &owned), (Kind::InvalidArgument, &shared), "{owned}");
    }
}

/// What a service asks of the types that it keeps: to print them, and to have them where a panic is caught.
#[test]
fn types_are_printed_and_caught() {
    fn caught<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    caught::<(Tensor, TakeError, Error, Stream, Event, Ring)>();
    let pool: Arc<dyn Allocator> = Arc::new(Pool::new(Arc::new(Host), Limits { held: 4096, cached: 0 }));
    let options = Options { allocator: Some(&pool), ..Default::default() };
    let block = Block::new(Some(&pool), 100, 64).unwrap();
    let printed = format!("{options:?} {block:?} {:?}", pool.pool().unwrap());
    for word in ["on cpu", "bytes: 100", "held: 4096", "asked: 100"] {
        assert!(printed.contains(word), "{word} is missing in: {printed}");
    }
}

fn batch(ring: &Ring) -> Batch {
    let mut slot = ring.acquire(&[Leaf::new("x", &[2], dtype::I32)], None).unwrap();
    slot.get_mut::<i32>(0).unwrap().copy_from_slice(&[1, 2]);
    slot.submit().unwrap();
    ring.next(None, None).unwrap()
}

/// A framework that computes in place writes without `unsafe`, so its tensor and a slice are not there together.
#[test]
fn a_batch_is_lent_to_readers_or_to_a_writer() {
    let _alone = alone();
    let ring = Ring::new(staging::Options::default()).unwrap();
    let read = batch(&ring);
    assert_eq!(read.slice::<i32>(0).unwrap(), [1, 2]);
    let view = read.tensors()[0].select(0, 1).unwrap();
    for tensor in [&view, &read.tensors()[0]] {
        not_exclusive(tensor.share_writable(), "hand on a copy: copy::new()");
    }
    assert_eq!(read.slice::<i32>(0).unwrap(), [1, 2], "views of what was lent are only read");
    drop((view, read));

    let written = batch(&ring);
    let theirs = written.tensors()[0].select(0, 1).unwrap().share_writable().unwrap();
    not_exclusive(written.slice::<i32>(0), "still in use elsewhere");
    drop(theirs);
    assert_eq!(written.slice::<i32>(0).unwrap(), [1, 2]);
}

#[test]
fn a_slot_is_filled_by_one_at_a_time() {
    let _alone = alone();
    let ring = Ring::new(staging::Options::default()).unwrap();
    let mut slot = ring.acquire(&[Leaf::new("x", &[2], dtype::I32)], None).unwrap();
    let theirs = slot.tensors()[0].share_writable().unwrap();
    not_exclusive(slot.get_mut::<i32>(0), "still in use elsewhere");
    drop(theirs);
    slot.get_mut::<i32>(0).unwrap().fill(3);
    let kept = slot.tensors()[0].clone();
    slot.submit().unwrap();
    let batch = ring.next(None, None).unwrap();
    not_exclusive(batch.slice::<i32>(0), "still in use elsewhere");
    drop(kept);
    assert_eq!(batch.slice::<i32>(0).unwrap(), [3, 3]);
}

/// Each thread has a go at the same batch: a reader who was lent it never sees a writer.
#[test]
fn readers_and_writers_that_race_exclude_each_other() {
    let _alone = alone();
    let ring = Ring::new(staging::Options::default()).unwrap();
    for _ in 0..2000 {
        let batch = batch(&ring);
        let start = Barrier::new(2);
        let (read, written) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                start.wait();
                batch.slice::<i32>(0).is_ok()
            });
            start.wait();
            let writer = batch.tensors()[0].share_writable();
            (reader.join().unwrap(), writer)
        });
        assert!(!(read && written.is_ok()));
    }
}
