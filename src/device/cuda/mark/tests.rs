use super::super::driver::Driver;
use super::*;
use std::ptr::null_mut;
use std::thread;

/// Nobody says when the two threads meet, so they do again and again: with the two questions of `look` in the other
/// order most runs find dozens, where two processors are free for them.
#[test]
fn who_looks_just_when_work_is_handed_over_does_not_take_it_for_done() {
    static DRIVER: OnceLock<Driver> = OnceLock::new();
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let driver = DRIVER.get_or_init(Driver::never_ready);
    let (events, pool) = (Mutex::default(), OnceLock::new());
    let device =
        DEVICE.get_or_init(|| Device { driver, ordinal: 0, context: null_mut(), max_pitch: 0, events, pool });
    let lane = Arc::new(Lane::new(64, false, false));
    let marks: Vec<Mark> = (0..20_000).map(|place| Mark::reserved(lane.clone(), place, None, &[])).collect();
    let looked_at = AtomicUsize::new(0);
    let early = thread::scope(|scope| {
        scope.spawn(|| {
            for (at, mark) in marks.iter().enumerate() {
                while looked_at.load(Ordering::Relaxed) < at {
                    thread::yield_now();
                }
                mark.bind(Some(Event::of_no_driver(device)), Kept::default(), None);
            }
        });
        let look = |(at, mark): (usize, &Mark)| {
            looked_at.store(at, Ordering::Relaxed);
            while !mark.is_bound() {
                (0..1000).for_each(|_| _ = mark.look());
                thread::yield_now();
            }
            mark.look()
        };
        marks.iter().enumerate().map(look).filter(|early| *early).count()
    });
    assert_eq!(early, 0, "of {}", marks.len());
}
