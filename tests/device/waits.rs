//! A test of the tests: where a stream does not wait for an event that it was told to wait for, data is wrong. All waits
//! are dropped in `stress.rs`; here one at a time is, by the stand-in.

use crate::foreign::Gate;
use crate::given::*;
use crate::standin::{calls, heal, ignore_wait};
use std::time::Duration;

crate::tests!(each_wait_that_is_dropped_shows);

const COUNT: usize = 5000;

/// Up on one stream, within the device on another, overwritten on the first, down on a third: each waits once for another.
/// One of the first two is late, and the `dropped`th wait does not happen. Whether the elements came back right, and how
/// many waits there were.
fn run(late: usize, dropped: Option<i64>) -> (bool, i64) {
    trim();
    let streams = [stream(), stream(), stream()];
    let [one, other, last] = &streams;
    let locked = |values: &[u32]| {
        let tensor = pinned(&[COUNT as i64]);
        fill(&tensor, values);
        tensor
    };
    let (values, nothing) = (locked(&pattern(COUNT, 6)), locked(&[0; COUNT]));
    let (first, second) = (on(FIRST, &[COUNT as i64]), on(FIRST, &[COUNT as i64]));
    let back = locked(&[0; COUNT]);
    let gates = [one, other].map(|stream| Gate::on(0, stream.native().unwrap()));
    let before = calls("cuStreamWaitEvent");
    dropped.iter().for_each(|nth| ignore_wait(*nth));
    copy(&values, &first, one).unwrap();
    copy(&first, &second, other).unwrap();
    copy(&nothing, &first, one).unwrap();
    copy(&second, &back, last).unwrap();
    let waits = calls("cuStreamWaitEvent") - before;
    gates[1 - late].open();
    // Whoever does not wait runs ahead.
    std::thread::sleep(Duration::from_millis(50));
    gates[late].open();
    streams.iter().for_each(|stream| stream.synchronize().unwrap());
    heal();
    (elements(&back).unwrap() == pattern(COUNT, 6), waits)
}

fn each_wait_that_is_dropped_shows() {
    nothing_left(|| {
        for late in [0, 1] {
            assert_eq!(run(late, None), (true, 3), "nothing is dropped");
        }
        for nth in 1..=3 {
            let shows = [0, 1].map(|late| !run(late, Some(nth)).0);
            assert!(shows.contains(&true), "wait {nth} was dropped, and the elements are right all the same");
        }
    });
}
