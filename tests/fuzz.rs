//! Noise thrown at import. Whatever it says, nothing panics, the deleter runs once, and what was accepted can be
//! exported and comes back as it was.
//!
//! `DLBRIDGE_FUZZ_ROUNDS=10000000 cargo test --release --test fuzz` fuzzes for longer; a failure names its seed.

mod common;

use common::{Abi, Exported, Random, Sample, alone};
use dlbridge::dlpack::{DLDevice, DLDeviceType, DLManagedTensor, DLManagedTensorVersioned};
use dlbridge::{Kind, Tensor};
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Sizes and strides where the arithmetic has its edges, most of them small.
fn number(random: &mut Random) -> i64 {
    match random.below(8) {
        0 => i64::MAX - random.below(3) as i64,
        1 => i64::MIN + random.below(3) as i64,
        2 => (1 << random.below(63)) - random.below(2) as i64,
        3 => -(1 << random.below(63)),
        4 => random.next() as i64,
        _ => random.below(6) as i64 - 1,
    }
}

fn numbers(random: &mut Random, ndim: i32) -> Option<Vec<i64>> {
    // Where ndim promises more values than anybody would give, import must refuse before it reads them.
    let length = ndim.clamp(0, 128) as usize;
    let tame = random.below(3) > 0;
    (random.below(16) > 0)
        .then(|| (0..length).map(|_| if tame { random.below(5) as i64 } else { number(random) }).collect())
}

fn sample(random: &mut Random) -> Sample {
    let ndim = match random.below(24) {
        0 => random.next() as i32,
        1 => random.pick(&[-1, 127, 128, 129, i32::MAX, i32::MIN]),
        _ => random.below(5) as i32,
    };
    let known = [(0, 8), (1, 4), (2, 32), (2, 64), (5, 128), (6, 8), (10, 8), (15, 6), (17, 4), (200, 24)];
    let (code, bits) = random.pick(&known);
    let wild = random.below(6) == 0;
    let address = random.next() as usize;
    let sample = Sample {
        data: random.pick(&[0, 1, 8, 0x7f00_0000_1000, 1 << 62, usize::MAX, address]) as *mut c_void,
        device: DLDevice {
            device_type: DLDeviceType(random.pick(&[1, 1, 1, 2, 3, 4, 8, 13, 0, 5, 77])),
            device_id: random.pick(&[0, 0, 0, 1, -1]),
        },
        ndim,
        shape: numbers(random, ndim),
        strides: numbers(random, ndim),
        byte_offset: random.pick(&[0, 0, 0, 4, 1 << 40, u64::MAX]),
        version: random.pick(&[(1, 0), (1, 3), (1, 3), (1, 9), (0, 8), (2, 0)]),
        flags: random.pick(&[0, 0, 1, 2, 4, u64::MAX]),
        deleter: random.below(10) > 0,
        ..Sample::of(&[])
    };
    match wild {
        true => sample.dtype(random.next() as u8, random.next() as u8, random.next() as u16),
        false => sample.dtype(code, bits, random.pick(&[1, 1, 1, 2, 4, 0])),
    }
}

/// One sample through one struct; whether it was accepted.
fn check<M: Abi>(sample: &Sample, random: &mut Random) -> bool {
    let produced = sample.produce::<M>();
    let accepted = match produced.import() {
        Ok(tensor) => {
            assert_eq!(produced.deletions(), 0);
            views(&tensor, random);
            round_trip::<DLManagedTensorVersioned>(&tensor);
            if !tensor.is_read_only() {
                round_trip::<DLManagedTensor>(&tensor);
            }
            true
        }
        Err(error) => {
            assert_ne!(error.kind(), Kind::Internal, "{error}");
            assert!(!error.to_string().is_empty());
            false
        }
    };
    assert_eq!(produced.deletions(), usize::from(sample.deleter));
    accepted
}

/// Views of whatever was accepted: answers of any kind, but answers.
fn views(tensor: &Tensor, random: &mut Random) {
    let axis = random.below(6) as i64 - 2;
    let (start, stop, step) = (number(random), number(random), number(random));
    let views = [
        tensor.slice(axis, Some(start), Some(stop), step),
        tensor.slice(axis, None, None, step),
        tensor.select(axis, start),
        tensor.unsqueeze(axis),
        tensor.squeeze(axis),
        tensor.reshape(&[-1]),
        tensor.reshape(&[start, stop]),
        tensor.expand(&[&[start][..], tensor.shape()].concat()),
        tensor.permute(&(0..tensor.ndim() as i64).rev().collect::<Vec<_>>()),
        tensor.reinterpret(common::dtype(1, random.pick(&[4, 8, 32]), 1)),
    ];
    for view in views.into_iter().flatten() {
        assert!(view.size() == 0 || !view.data().is_null());
        round_trip::<DLManagedTensorVersioned>(&view);
    }
}

fn round_trip<M: Abi>(tensor: &Tensor) {
    let export = Exported::<M>::of(tensor).unwrap();
    assert!(export.strides().len() == tensor.ndim());
    let back = export.import().unwrap();
    assert_eq!(back.shape(), tensor.shape());
    assert_eq!((back.dtype(), back.device(), back.data()), (tensor.dtype(), tensor.device(), tensor.data()));
    assert_eq!((back.size(), back.nbytes()), (tensor.size(), tensor.nbytes()));
    assert_eq!(back.view().byte_offset, tensor.view().byte_offset);
    let stepped = |tensor: &Tensor| -> Vec<i64> {
        let axes = tensor.shape().iter().zip(tensor.strides());
        axes.filter(|&(&extent, _)| extent > 1).map(|(_, &stride)| stride).collect()
    };
    assert!(tensor.size() == 0 || stepped(&back) == stepped(tensor), "{back:?} {tensor:?}");
    assert_eq!(back.is_row_major(), tensor.is_row_major());
}

#[test]
fn noise_is_refused_or_comes_back_as_it_was() {
    let _alone = alone();
    let rounds =
        std::env::var("DLBRIDGE_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let mut accepted = 0_u64;
    for seed in 0..rounds {
        let one = || {
            let mut random = Random::new(seed);
            let sample = sample(&mut random);
            let versioned = check::<DLManagedTensorVersioned>(&sample, &mut random);
            versioned | check::<DLManagedTensor>(&sample, &mut random)
        };
        accepted += u64::from(catch_unwind(AssertUnwindSafe(one)).unwrap_or_else(|_| panic!("seed {seed}")));
    }
    println!("{accepted} of {rounds} samples were accepted");
    assert!(accepted > rounds / 20 && accepted < rounds / 2, "both sides are tried: {accepted}");
}
