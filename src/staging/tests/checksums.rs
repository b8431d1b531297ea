//! Many batches with checksums, from several producers to several consumers, through delays on all sides.

use super::uploading;
use crate::device::Stream;
use crate::dlpack::DLDevice;
use crate::error::Kind;
use crate::staging::{Leaf, Options, Order, Ring};
use crate::tensor::dtype;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % limit
    }

    /// Mostly nothing, now and then a while.
    fn delay(&mut self) {
        match self.below(64) {
            0 => std::thread::sleep(Duration::from_micros(self.below(200))),
            1..8 => std::thread::yield_now(),
            _ => {}
        }
    }
}

fn mix(seed: u64, at: u64) -> u64 {
    (seed ^ at.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// The first element is the seed of the rest; how many are wrong.
///
/// # Safety
///
/// `data` has `length` elements.
unsafe fn wrong(data: *const u64, length: usize) -> usize {
    // SAFETY: promised by the caller. Volatile, since a ring that does not wait writes here meanwhile.
    let at = |index: usize| unsafe { data.add(index).read_volatile() };
    (1..length).filter(|&index| at(index) != mix(at(0), index as u64)).count()
}

struct Run {
    ring: Ring,
    producers: usize,
    consumers: usize,
    batches: u64,
    largest: u64,
}

impl Run {
    /// Every batch through the ring; how many had a wrong element when the consumer's stream came to look.
    fn run(&self, seed: u64) -> usize {
        let (next, wrongs, seen) = (AtomicU64::new(0), Arc::new(AtomicUsize::new(0)), AtomicU64::new(0));
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for number in 0..self.producers {
                let mut random = Random(seed + 1 + number as u64);
                let (next, ring) = (&next, &self.ring);
                scope.spawn(move || {
                    while next.fetch_add(1, Ordering::Relaxed) < self.batches {
                        self.produce(&mut random, ring);
                    }
                    if next.fetch_add(1, Ordering::Relaxed) == self.batches + 2 * self.producers as u64 - 1 {
                        ring.close();
                    }
                });
            }
            for number in 0..self.consumers {
                let mut random = Random(seed + 100 + number as u64);
                let (seen, order, wrongs) = (&seen, &order, &wrongs);
                scope.spawn(move || {
                    let stream = Stream::new(DLDevice::CPU).unwrap();
                    let mut kept = std::collections::VecDeque::new();
                    loop {
                        let batch = match self.ring.next(Some(&stream), None) {
                            Ok(batch) => batch,
                            Err(error) if error.kind() == Kind::Closed => break,
                            Err(error) => panic!("{error}"),
                        };
                        seen.fetch_add(1, Ordering::Relaxed);
                        if self.consumers == 1 {
                            order.lock().unwrap().push(batch.number());
                        }
                        let late =
                            Duration::from_micros(if random.below(32) == 0 { random.below(300) } else { 0 });
                        let (place, length) = (batch.tensors()[0].data().addr(), batch.tensors()[0].size());
                        let wrongs = wrongs.clone();
                        stream
                            .call(move || {
                                std::thread::sleep(late);
                                // SAFETY: the batch is not given back before what is on this stream is done.
                                wrongs.fetch_add(
                                    unsafe { wrong(place as *const u64, length) },
                                    Ordering::Relaxed,
                                );
                                Ok(())
                            })
                            .unwrap();
                        random.delay();
                        if random.below(8) == 0 {
                            kept.push_back(batch.tensors()[0].slice(0, Some(0), Some(1), 1).unwrap());
                        }
                        if kept.len() > 3 {
                            kept.pop_front();
                        }
                    }
                    stream.synchronize().unwrap();
                });
            }
        });
        assert_eq!(seen.into_inner(), self.batches, "each batch came once");
        let order = order.into_inner().unwrap();
        assert!(order.is_sorted(), "in order");
        wrongs.load(Ordering::Relaxed)
    }

    fn produce(&self, random: &mut Random, ring: &Ring) {
        random.delay();
        let length = 1 + random.below(self.largest) as i64;
        let mut slot = ring.acquire(&[Leaf::new("", &[length], dtype::U64)], None).unwrap();
        let seed = random.below(1 << 40);
        for (index, value) in slot.get_mut::<u64>(0).unwrap().iter_mut().enumerate() {
            *value = if index == 0 { seed } else { mix(seed, index as u64) };
        }
        random.delay();
        slot.submit().unwrap();
    }
}

/// 100,000 batches with a checksum each, through late streams, on the CPU and with copies to buffers of their own.
#[test]
fn a_hundred_thousand_batches_arrive_as_they_were_sent() {
    let (mut total, mut random) = (0, Random(2026));
    while total < 100_000 {
        let options = Options { slots: 1 + random.below(5) as usize, keep: 64, ..Options::default() };
        let ring = if random.below(2) == 0 { uploading(options, false) } else { Ring::new(options).unwrap() };
        let [producers, consumers] = [0; 2].map(|_| 1 + random.below(4) as usize);
        let run = Run { ring, producers, consumers, batches: 5_000, largest: 1 + random.below(512) };
        assert_eq!(
            run.run(random.below(1 << 30)),
            0,
            "{options:?}, {producers} producers, {consumers} consumers"
        );
        total += run.batches;
    }
}

/// The test of the test: where copies do not wait for the batch before, it finds wrong elements.
#[test]
fn a_ring_that_does_not_wait_is_found_out() {
    let wrong: usize = (0..20)
        .map(|seed| {
            let ring =
                uploading(Options { slots: 2, keep: 64, order: Order::Kept, ..Options::default() }, true);
            Run { ring, producers: 2, consumers: 1, batches: 500, largest: 512 }.run(seed * 1000 + 7)
        })
        .sum();
    assert!(wrong > 0, "nothing was overwritten although nothing waits");
}
