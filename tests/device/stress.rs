//! Many threads on few streams: checksums are right, and nothing is left. And a test of that test: where streams do not wait
//! for events it fails.

use crate::given::*;
use crate::standin::{ignore_waits, left, set_delay, violations};
use dlbridge::Tensor;
use dlbridge::device::Stream;
use dlbridge::dlpack::DLDevice;
use dlbridge::tensor::{dtype, live_tensors};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

crate::tests!(eight_threads_on_four_streams, and_on_streams_of_the_cpu, without_the_waits_it_fails);

const THREADS: u64 = 8;

/// Numbers that are random enough.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Round trips by streams of these devices until the time is over; how many there were, and how many came back wrong.
fn stress(devices: [DLDevice; 4], time: Duration) -> (usize, usize) {
    let streams: Vec<Stream> = devices.map(|device| Stream::new(device).unwrap()).into();
    let (end, trips, wrong) = (Instant::now() + time, AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (streams, trips, wrong) = (&streams, &trips, &wrong);
            scope.spawn(move || {
                let mut random = Random(thread + 1);
                while Instant::now() < end {
                    let right = round_trip(&mut random, streams);
                    trips.fetch_add(1, Ordering::Relaxed);
                    wrong.fetch_add(usize::from(!right), Ordering::Relaxed);
                }
            });
        }
    });
    streams.iter().for_each(|stream| stream.synchronize().unwrap());
    (trips.into_inner(), wrong.into_inner())
}

/// Up on one stream, on to another tensor or device on a second one, down on a third: with nothing to wait by but tensors.
fn round_trip(random: &mut Random, streams: &[Stream]) -> bool {
    let (rows, columns) = (1 + random.below(60) as i64, 1 + random.below(500) as i64);
    let shape = [rows, columns];
    let mut values = pattern((rows * columns) as usize, random.below(1 << 32) as u32);
    let up = &streams[random.below(4) as usize];
    let down = &streams[random.below(4) as usize];
    let (first, second) = (on(up.device(), &shape), on(down.device(), &shape));
    let source =
        if random.below(2) == 0 { pinned(&shape) } else { Tensor::empty(&shape, dtype::U32).unwrap() };
    fill(&source, &values);
    copy(&source, &first, up).unwrap();
    if random.below(2) == 0 {
        fill(&source, &vec![7; values.len()]); // waits as long as it must
    }
    let across = if random.below(2) == 0 { up } else { down };
    if random.below(3) == 0 && rows * columns < 2000 {
        // Turned around on the way, which takes many calls.
        let turned = on(down.device(), &[columns, rows]);
        copy(&first, &turned.permute(&[1, 0]).unwrap(), across).unwrap();
        copy(&turned.permute(&[1, 0]).unwrap(), &second, down).unwrap();
    } else {
        copy(&first, &second, across).unwrap();
    }
    if random.below(2) == 0 {
        copy(&Tensor::zeros(&shape, dtype::U32).unwrap(), &first, up).unwrap();
    }
    let back = if random.below(2) == 0 { pinned(&shape) } else { Tensor::empty(&shape, dtype::U32).unwrap() };
    let event = copy(&second, &back, down).unwrap();
    if random.below(4) == 0 {
        event.wait_timeout(Duration::from_secs(120)).unwrap();
    }
    drop((first, second, source));
    let found = elements(&back).unwrap();
    let right = found == values;
    values.clear();
    right
}

fn eight_threads_on_four_streams() {
    with_nothing_left("two devices", [FIRST, FIRST, SECOND, SECOND]);
}

fn and_on_streams_of_the_cpu() {
    with_nothing_left("the CPU", [DLDevice::CPU; 4]);
}

fn with_nothing_left(name: &str, devices: [DLDevice; 4]) {
    let seconds = std::env::var("DLB_STRESS_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let before = live_tensors();
    nothing_left(|| {
        let (trips, wrong) = stress(devices, Duration::from_secs(seconds));
        println!(
            "stress on {name}: {THREADS} threads, 4 streams, {trips} round trips in {seconds} s, {wrong} wrong"
        );
        assert!(wrong == 0 && trips > 100);
    });
    let [device, pinned, registered, _] = left();
    println!(
        "stress on {name}: {device} device, {pinned} pinned, {registered} registered blocks live at the end"
    );
    assert_eq!([device, pinned, registered], [0; 3]);
    // What a test before has left may have been let go of meanwhile.
    assert!(live_tensors() <= before, "{} tensors, {before} before", live_tensors());
}

/// What `main` runs in a process of its own, whose streams wait for nothing.
pub fn without_waits() -> ExitCode {
    ignore_waits();
    set_delay(1000);
    let (trips, wrong) = stress([FIRST, FIRST, SECOND, SECOND], Duration::from_secs(1));
    println!("{trips} round trips, {wrong} wrong, {} violations", violations());
    ExitCode::from(u8::from(wrong > 0 || violations() > 0))
}

fn without_the_waits_it_fails() {
    let output = Command::new(std::env::current_exe().unwrap()).arg("stress without waits").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
