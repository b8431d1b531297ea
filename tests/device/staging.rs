//! Rings of batches onto the device, whose streams are late: what a consumer has queued on a batch finds it whole, though
//! the consumer let go of it long before. `DLB_STRESS_BATCHES=100000` sends as many.

use crate::foreign::with_context;
use crate::given::*;
use crate::standin::{function, ignore_waits, set_delay, violations};
use crate::stress::Random;
use dlbridge::device::{Event, Stream};
use dlbridge::staging::{Batch, Leaf, Options, Ring};
use dlbridge::tensor::dtype;
use dlbridge::{Kind, Tensor};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::mem::transmute;
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicU64, Ordering};

crate::tests!(batches_are_whole_when_late_streams_come_to_them, without_the_waits_they_are_not,);

/// Batches of each ring.
const EACH: u64 = 500;

/// Has a stream read a batch into pinned memory, as a kernel of somebody else's does: nothing of ours keeps the batch.
fn read(batch: &Batch, out: &Tensor, stream: &Stream) {
    let (from, to) = (batch.tensors()[0].data() as u64, out.data());
    let code = with_context(0, || {
        // SAFETY: the function has these arguments; both sides have so many bytes until the stream is past this.
        unsafe {
            transmute::<*mut c_void, extern "C" fn(*mut c_void, u64, usize, *mut c_void) -> i32>(function(
                "cuMemcpyDtoHAsync_v2",
            ))(to, from, out.nbytes(), stream.native().unwrap())
        }
    });
    assert_eq!(code, 0);
}

fn produce(ring: &Ring, random: &mut Random) {
    let values = pattern(1 + random.below(3000) as usize, random.below(1 << 32) as u32);
    let mut slot = ring.acquire(&[Leaf::new("", &[values.len() as i64], dtype::U32)], None).unwrap();
    slot.get_mut::<u32>(0).unwrap().copy_from_slice(&values);
    slot.submit().unwrap();
}

/// Takes batches until there are no more; how many there were, and how many were wrong.
fn consume(ring: &Ring, random: &mut Random) -> (u64, u64) {
    let (stream, mut kept, mut read_later) = (stream(), VecDeque::new(), VecDeque::new());
    let (mut seen, mut wrong) = (0, 0);
    let check = |(event, out): (Event, Tensor)| {
        event.wait().unwrap();
        let values = elements(&out).unwrap();
        u64::from(values != pattern(values.len(), values[0]))
    };
    loop {
        let batch = match ring.next(Some(&stream), None) {
            Ok(batch) => batch,
            Err(error) if error.kind() == Kind::Closed => break,
            Err(error) => panic!("{error}"),
        };
        seen += 1;
        assert_eq!(batch.slice::<u32>(0).unwrap_err().kind(), Kind::Unsupported, "the host cannot read it");
        let out = pinned(batch.tensors()[0].shape());
        read(&batch, &out, &stream);
        if random.below(8) == 0 {
            kept.push_back(batch.tensors()[0].slice(0, None, Some(1), 1).unwrap());
        }
        drop(batch);
        if kept.len() > 2 {
            kept.pop_front();
        }
        read_later.push_back((stream.record().unwrap(), out));
        if read_later.len() > 6 {
            wrong += read_later.pop_front().map_or(0, check);
        }
    }
    (seen, wrong + read_later.into_iter().map(check).sum::<u64>())
}

/// [`EACH`] batches through a ring of any kind; how many were wrong.
fn run(random: &mut Random) -> u64 {
    let (device, slots) = (FIRST, 1 + random.below(5) as usize);
    let ring = Ring::new(Options { device, slots, keep: 32, ..Options::default() }).unwrap();
    let [producers, consumers] = [0; 2].map(|_| 1 + random.below(4));
    let (left, seeds) = (AtomicU64::new(EACH), AtomicU64::new(random.below(1 << 30)));
    let new = || Random(seeds.fetch_add(1, Ordering::Relaxed));
    let mut totals = (0, 0);
    std::thread::scope(|scope| {
        let producers: Vec<_> = (0..producers)
            .map(|_| {
                scope.spawn(|| {
                    let mut random = new();
                    let one_more = |left: u64| left.checked_sub(1);
                    while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok() {
                        produce(&ring, &mut random);
                    }
                })
            })
            .collect();
        let consumers: Vec<_> = (0..consumers).map(|_| scope.spawn(|| consume(&ring, &mut new()))).collect();
        producers.into_iter().for_each(|producer| producer.join().unwrap());
        ring.close();
        for (seen, wrong) in consumers.into_iter().map(|consumer| consumer.join().unwrap()) {
            totals = (totals.0 + seen, totals.1 + wrong);
        }
    });
    assert_eq!(totals.0, EACH, "each batch came once");
    totals.1
}

fn batches_are_whole_when_late_streams_come_to_them() {
    let wanted = std::env::var("DLB_STRESS_BATCHES").ok().and_then(|text| text.parse().ok()).unwrap_or(3000);
    nothing_left(|| {
        let (mut random, mut sent, mut wrong) = (Random(2026), 0, 0);
        while sent < wanted {
            set_delay(20 + random.below(400) as u32);
            wrong += run(&mut random);
            sent += EACH;
        }
        println!("staging: {sent} batches, {wrong} wrong");
        assert_eq!(wrong, 0);
    });
}

/// What `main` runs in a process of its own, whose streams wait for nothing.
pub fn without_waits() -> ExitCode {
    ignore_waits();
    set_delay(1000);
    let wrong: u64 = (0..3).map(|seed| run(&mut Random(seed))).sum();
    println!("{wrong} wrong, {} violations", violations());
    ExitCode::from(u8::from(wrong > 0))
}

fn without_the_waits_they_are_not() {
    let output =
        Command::new(std::env::current_exe().unwrap()).arg("staging without waits").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
