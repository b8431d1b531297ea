//! Where all memory is held: somebody is told, and nobody waits for ever.

use super::{Model, Over, check};
use crate::staging::Order;
use loom::thread;

#[test]
fn a_consumer_that_keeps_its_batches_gets_more_of_them_and_then_an_error() {
    for release in [true, false] {
        check(move || {
            let model = Model::new(1, 1, Order::Kept);
            let producer = model.clone();
            let thread = thread::spawn(move || while producer.produce(1).is_ok() {});
            let place = |number: u64| model.inner.lock().unwrap().place[number as usize];
            assert_eq!(model.next(2, release), Ok(0));
            assert_eq!(model.next(2, release), Ok(1));
            assert_eq!(model.next(2, release), Err(Over::Held(vec![0, 1])));
            model.read(0, place(0));
            model.give_back(1);
            assert_eq!(model.next(2, release), Ok(2));
            model.read(0, place(0));
            model.change(|inner| inner.state.abort());
            thread.join().unwrap();
        });
    }
}

#[test]
fn a_producer_that_has_all_batches_itself_is_told_so_though_a_consumer_waits() {
    check(|| {
        let model = Model::new(1, 0, Order::Kept);
        assert_eq!(model.produce(1), Ok(0));
        assert_eq!(model.next(1, false), Ok(0));
        let other = model.clone();
        let thread = thread::spawn(move || other.next(2, false));
        assert_eq!(model.produce(1), Err(Over::Held(vec![0])));
        model.close();
        assert_eq!(thread.join().unwrap(), Err(Over::Closed));
    });
}

#[test]
fn of_two_producers_that_have_all_batches_one_is_told_so() {
    check(|| {
        let model = Model::new(2, 0, Order::Kept);
        for who in [1, 2] {
            assert!(model.produce(who).is_ok());
            assert!(model.next(who, false).is_ok());
        }
        let threads = [1, 2].map(|who| {
            let model = model.clone();
            thread::spawn(move || {
                let told = model.produce(who) == Err(Over::Held(vec![0, 1]));
                if told {
                    model.give_back(who - 1);
                }
                told
            })
        });
        let told = threads.map(|thread| thread.join().unwrap());
        assert!(told.contains(&true));
    });
}

#[test]
fn a_consumer_that_gives_up_leaves_no_producer_waiting_for_what_is_kept() {
    check(|| {
        let model = Model::new(1, 0, Order::Kept);
        assert_eq!(model.produce(1), Ok(0));
        assert_eq!(model.next(2, false), Ok(0));
        let other = model.clone();
        let thread = thread::spawn(move || {
            // One of the two is told that the batch is kept, whoever comes first.
            let asked = other.next_within(2, true, false);
            assert!(matches!(asked, Ok(None) | Err(Over::Held(_))), "{asked:?}");
            if asked.is_err() {
                other.give_back(0);
            }
        });
        let made = model.produce(1);
        assert!(matches!(made, Ok(1) | Err(Over::Held(_))), "{made:?}");
        thread.join().unwrap();
    });
}

#[test]
fn of_two_producers_the_one_that_has_a_batch_is_told_so() {
    check(|| {
        let model = Model::new(2, 0, Order::Kept);
        for (number, who) in [(0, 1), (1, 3)] {
            assert_eq!(model.produce(who), Ok(number));
            assert_eq!(model.next(who, false), Ok(number));
        }
        let threads = [1, 2].map(|who| {
            let model = model.clone();
            thread::spawn(move || match model.produce(who) {
                Err(Over::Held(held)) => {
                    assert_eq!((who, held), (1, vec![0, 1]));
                    model.give_back(0);
                }
                made => assert_eq!((who, made), (2, Ok(2))),
            })
        });
        // It is done with its batch, and keeps it.
        model.change(|inner| inner.state.release(1));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_patient_producer_leaves_it_to_a_consumer_to_be_told() {
    check(|| {
        let model = Model::new(1, 0, Order::Kept);
        assert_eq!(model.produce(1), Ok(0));
        assert_eq!(model.next(2, false), Ok(0));
        let producer = model.clone();
        let thread = thread::spawn(move || {
            let slot = producer.acquire_for(1, true).unwrap();
            assert_eq!(producer.fill(slot), Ok(1));
        });
        // It is done with the batch, which it keeps, and gives up; the producer may come before or after.
        let asked = model.next_within(2, true, false);
        assert!(matches!(asked, Ok(None) | Err(Over::Held(_))), "{asked:?}");
        assert_eq!(model.next(2, true), Err(Over::Held(vec![0])));
        model.give_back(0);
        assert_eq!(model.next(2, true), Ok(1));
        model.give_back(1);
        thread.join().unwrap();
    });
}
