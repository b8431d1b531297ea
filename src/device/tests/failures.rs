//! Failures and owners' code on the threads of streams: each is told to who waits, once.

use super::*;
use crate::tensor::Access;

#[test]
fn a_failure_reaches_everybody_behind_it_until_it_is_reported() {
    let (stream, source, destination) = (stream(), numbers(2), zeros(2));
    let words = "the gate fell down";
    let gate = held_up(&stream);
    gate.fails.store(true, Ordering::Relaxed);
    let event = copy(&source, &destination, &stream).unwrap();
    gate.open();
    for _ in 0..2 {
        assert_eq!(event.wait().unwrap_err().to_string(), words);
        assert_eq!(stream.record().unwrap().wait().unwrap_err().to_string(), words);
        assert_eq!(elements(&destination).unwrap_err().to_string(), words);
        assert_eq!(destination.export().unwrap_err().to_string(), words);
    }
    let other = super::Stream::new(DLDevice::CPU).unwrap();
    other.wait_event(&event).unwrap();
    assert_eq!(other.synchronize().unwrap_err().to_string(), words);
    assert_eq!(stream.synchronize().unwrap_err().to_string(), words);
    stream.synchronize().unwrap();
    // What the copy should have written stays unreadable; the source and other tensors are as good as before.
    assert_eq!(copy(&destination, &zeros(2), &stream).unwrap_err().to_string(), words);
    let fresh = zeros(2);
    copy(&source, &fresh, &stream).unwrap();
    assert_eq!(elements(&fresh).unwrap(), [1, 2]);
}

#[test]
fn a_panic_on_the_stream_is_an_error_of_its_event() {
    let stream = stream();
    let error = stream.call(|| panic!("split in two")).unwrap().wait().unwrap_err();
    assert_eq!(error.kind(), Kind::Internal);
    assert!(error.to_string().contains("split in two"), "{error}");
    assert!(stream.synchronize().is_err());
    stream.call(|| Ok(())).unwrap().wait().unwrap();
}

#[test]
fn the_streams_own_thread_is_told_instead_of_waiting_for_itself() {
    let (stream, source, destination) = (stream(), numbers(2), zeros(2));
    let gate = held_up(&stream);
    let (inner_stream, inner) = (stream.clone(), destination.clone());
    let answer = Arc::new(Mutex::new(Vec::new()));
    let answers = answer.clone();
    let done = stream.call(move || {
        let mut answers = answers.lock().unwrap();
        answers.push(inner_stream.record()?.wait().unwrap_err());
        answers.push(inner_stream.record()?.wait_timeout(Duration::from_secs(5)).unwrap_err());
        answers.push(inner_stream.record()?.wait_slice(Duration::from_millis(20)).unwrap_err());
        answers.push(elements(&inner).unwrap_err());
        answers.push(inner.settle_slice(Access::Read, Duration::from_millis(20)).unwrap_err());
        Ok(())
    });
    copy(&source, &destination, &stream).unwrap();
    gate.open();
    done.unwrap().wait().unwrap();
    for error in answer.lock().unwrap().iter() {
        assert_eq!(*error, Error::Transfer(Transfer::OwnThread));
    }
    assert_eq!(answer.lock().unwrap().len(), 5);
    assert_eq!(elements(&destination).unwrap(), [1, 2]);
}

#[test]
fn an_owner_that_is_let_go_on_the_stream_may_look_at_what_was_copied() {
    let (stream, destination, seen) = (stream(), zeros(3), Arc::new(AtomicUsize::new(0)));
    let owner = Reader(vec![1, 2, 3].into(), destination.clone(), seen.clone());
    let source = Tensor::from_owner_mut::<i32, _>(owner, &[3]).unwrap();
    let event = copy(&source, &destination, &stream).unwrap();
    drop(source);
    event.wait().unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 6);
}

/// Reads a tensor when it is dropped, which is on a stream's thread.
struct Reader(Box<[i32]>, Tensor, Arc<AtomicUsize>);

impl AsMut<[i32]> for Reader {
    fn as_mut(&mut self) -> &mut [i32] {
        &mut self.0
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let sum = elements(&self.1).unwrap().iter().sum::<i32>();
        self.2.store(sum as usize, Ordering::SeqCst);
    }
}

#[test]
fn an_owner_that_is_let_go_on_a_stream_may_wait_for_another_one_that_is_behind_it() {
    let (one, other, middle, last) = (stream(), stream(), zeros(3), zeros(3));
    let seen = Arc::new(AtomicUsize::new(0));
    let owner = Reader(vec![1, 2, 3].into(), last.clone(), seen.clone());
    let source = Tensor::from_owner_mut::<i32, _>(owner, &[3]).unwrap();
    let gate = held_up(&one);
    let first = copy(&source, &middle, &one).unwrap();
    copy(&middle, &last, &other).unwrap(); // which is what the owner reads
    drop(source);
    gate.open();
    first.wait_timeout(Duration::from_secs(20)).unwrap();
    assert_eq!(seen.load(Ordering::SeqCst), 6);
}

#[test]
fn each_failure_is_reported_once_whoever_synchronises() {
    let stream = stream();
    let gate = held_up(&stream);
    let fails =
        |words: &'static str| stream.call(move || Err(Error::Unavailable { what: words.into() })).unwrap();
    let synchronise = || {
        let stream = stream.clone();
        let thread = thread::spawn(move || stream.synchronize().unwrap_err().to_string());
        thread::sleep(Duration::from_millis(30)); // until it waits
        thread
    };
    fails("the first");
    let first = synchronise();
    fails("the second");
    let second = synchronise();
    gate.open();
    assert_eq!((first.join().unwrap(), second.join().unwrap()), ("the first".into(), "the second".into()));
    stream.synchronize().unwrap();
}

#[test]
fn a_time_limit_that_passes_takes_no_report_away() {
    let stream = stream();
    let gate = held_up(&stream);
    stream.call(|| Err(Error::Unavailable { what: "no luck".into() })).unwrap();
    for _ in 0..2 {
        let error = stream.synchronize_timeout(Duration::from_millis(5)).unwrap_err();
        assert_eq!(error, Error::Transfer(Transfer::Timeout { nanoseconds: 5_000_000 }));
    }
    gate.open();
    let error = stream.synchronize_timeout(Duration::from_secs(600)).unwrap_err();
    assert_eq!(error.to_string(), "no luck");
    stream.synchronize_timeout(Duration::from_secs(600)).unwrap();
    stream.synchronize_timeout(Duration::ZERO).unwrap();
    // Also to who only asks, when all is over and the thread asleep.
    for _ in 0..10 {
        stream.call(|| Err(Error::Unavailable { what: "no luck".into() })).unwrap().wait().unwrap_err();
        thread::sleep(Duration::from_millis(2));
        assert_eq!(stream.synchronize_timeout(Duration::ZERO).unwrap_err().to_string(), "no luck");
        stream.synchronize_timeout(Duration::ZERO).unwrap();
    }
}
