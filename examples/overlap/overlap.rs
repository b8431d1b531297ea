//! overlap.c in Rust: a camera thread that fills slots, a consumer that takes batches, a slow side each way. No `unsafe`:
//! a slot is borrowed to be filled, and gone once it is submitted; nobody writes to a batch.
//!
//!     cargo run --example overlap

use dlbridge::staging::{Leaf, Options, Ring};
use dlbridge::tensor::dtype;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const FRAMES: u8 = 30;

fn record(ring: &Ring, each: Duration) -> dlbridge::Result<()> {
    for number in 0..FRAMES {
        // Waits while the consumer is behind: that is the back-pressure.
        let mut slot = ring.acquire(&[Leaf::new("frame", &[480, 640], dtype::U8)], None)?;
        sleep(each); // in place of this, a driver fills the pixels
        slot.get_mut::<u8>(0)?.fill(number);
        slot.submit()?;
        // slot.get_mut::<u8>(0) here is what the compiler refuses: the slot was moved.
    }
    Ok(())
}

fn run(load: Duration, compute: Duration) -> dlbridge::Result<()> {
    let ring = Ring::new(Options { slots: 2, keep: 4, ..Options::default() })?;
    let begin = Instant::now();
    let camera = thread::spawn({
        let ring = ring.clone();
        move || ring.produce(|ring| record(ring, load)) // whose end, good or bad, is the consumer's too
    });
    let mut seen = 0;
    for batch in ring.batches(None) {
        let batch = batch?;
        sleep(compute);
        let frame = batch.slice::<u8>("frame")?;
        assert!(frame.iter().all(|&pixel| pixel == seen));
        seen += 1;
    }
    camera.join().expect("the camera does not panic")?;
    let each = begin.elapsed() / u32::from(FRAMES);
    println!("camera {load:?}, consumer {compute:?}: {each:.1?} a frame; {seen} frames");
    assert_eq!(seen, FRAMES);
    Ok(())
}

fn main() -> dlbridge::Result<()> {
    run(Duration::from_millis(10), Duration::from_millis(2))?;
    run(Duration::from_millis(2), Duration::from_millis(10))
}
