//! The loops of both sides: each end is said and heard, so that nobody waits for what does not come.

use super::{PATIENT, SOON, kind, put, put_within, ring, values};
use crate::error::{Kind, Result};
use crate::staging::Ring;

/// What a loop over the batches is told after them: nothing where it ends, else the words of its last item.
fn heard(ring: &Ring) -> (Vec<i32>, Option<String>) {
    let mut batches = ring.batches(None);
    let (mut sums, mut last) = (Vec::new(), None);
    for batch in &mut batches {
        match batch {
            Ok(batch) => sums.push(values(&batch).iter().sum()),
            Err(error) => last = Some(error.to_string()),
        }
    }
    assert!(batches.next().is_none(), "what is over stays so");
    (sums, last)
}

#[test]
fn a_loop_ends_with_its_producer() {
    let ring = ring(2, 0);
    let produced = std::thread::scope(|scope| {
        let producer = scope.spawn(|| {
            ring.produce(|ring| (0..20).try_for_each(|value| put_within(ring, &[value], PATIENT).map(drop)))
        });
        assert_eq!(heard(&ring), ((0..20).collect(), None));
        producer.join().unwrap()
    });
    assert_eq!(produced, Ok(()));
    assert_eq!(kind(put(&ring, &[1])), Kind::Closed, "it was closed");
}

#[test]
fn a_producer_that_fails_or_panics_without_a_slot_tells_the_consumer() {
    let failing = ring(2, 0);
    let failed = failing.produce(|ring| -> std::result::Result<(), Box<dyn std::error::Error>> {
        put(ring, &[1])?;
        Err("the disk is gone".into())
    });
    assert_eq!(failed.unwrap_err().to_string(), "the disk is gone");
    let (sums, last) = heard(&failing);
    assert_eq!((sums, last.as_deref()), (vec![], Some("the ring was aborted: the disk is gone")));
    let panicking = ring(2, 0);
    let producer = panicking.clone();
    let produce = move || producer.produce(|_| -> Result<()> { panic!("as asked") });
    assert!(std::thread::spawn(produce).join().is_err());
    assert_eq!(heard(&panicking).1.as_deref(), Some("the ring was aborted: a producer panicked"));
}

struct Speechless;

impl std::fmt::Display for Speechless {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("as asked")
    }
}

#[test]
fn an_error_that_cannot_say_its_words_tells_the_consumer_too() {
    let ring = ring(2, 0);
    let produce = || ring.produce(|_| Err::<(), _>(Speechless)).is_err();
    std::thread::scope(|scope| assert!(scope.spawn(produce).join().is_err()));
    assert_eq!(kind(ring.next(None, SOON)), Kind::Closed);
}

/// Whoever closes a ring to stop its producer still wants what is in it.
#[test]
fn a_producer_that_is_stopped_leaves_what_it_has_submitted() {
    let ring = ring(2, 0);
    let stopped = ring.produce(|ring| {
        put(ring, &[1, 2])?;
        ring.close();
        put(ring, &[3])
    });
    assert_eq!(kind(stopped), Kind::Closed);
    assert_eq!(heard(&ring), (vec![3], None));
}
