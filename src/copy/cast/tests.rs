//! Every pair on every level gives the same bits as one element at a time without vectors, in memory between guards.

use super::*;
use crate::copy::guarded::{Guarded, Random, Side};
use crate::copy::level::on_every_level;
use crate::copy::set_num_threads;
use crate::error::Kind as ErrorKind;

/// Elements of any bits, with plenty of those at which something happens.
fn fill(random: &mut Random, scalar: Scalar, memory: &mut [u8]) {
    for element in memory.chunks_exact_mut(scalar.part().bytes()) {
        let number = match random.below(4) {
            0 => random.next() << 16 | random.next(),
            1 => random.next() % 300,
            2 => random
                .pick(&[0.0, -0.0, 1.0, -1.5, 255.0, 65_519.9, 3e9, 1e19, f64::NAN, f64::INFINITY])
                .to_bits(),
            _ => u64::from((random.next() as u32 as f32 / 65_536.0).to_bits()),
        };
        let number = match (scalar.part(), random.below(3)) {
            (Scalar::F32, 0) => u64::from((f64::from_bits(number) as f32).to_bits()),
            (Scalar::F64, 0) => f64::from(f32::from_bits(number as u32)).to_bits(),
            _ => number,
        };
        element.copy_from_slice(&number.to_le_bytes()[..element.len()]);
    }
}

/// What one block becomes, in guarded memory beside either guard.
fn block(
    level: Level,
    [from, to]: [Scalar; 2],
    (saturate, notes): (bool, Notes),
    source: &[u8],
    side: Side,
) -> (Vec<u8>, bool) {
    cast_guarded(Recipe::new(level, from, to, saturate, notes), [from, to], source, side)
}

/// The same with this recipe.
fn cast_guarded(recipe: Recipe, [from, to]: [Scalar; 2], source: &[u8], side: Side) -> (Vec<u8>, bool) {
    let count = source.len() / from.bytes();
    let [inputs, outputs] = [from, to].map(|scalar| Guarded::new(count * scalar.bytes(), side));
    inputs.bytes().copy_from_slice(source);
    outputs.bytes().fill(0x5a);
    let steps = [from.bytes() as isize, to.bytes() as isize];
    let size = recipe.block_size(steps);
    let (mut noted, mut buffers, mut at) = (false, Buffers::new(), 0);
    let mut next = recipe.first_size(outputs.at(0), size).min(count);
    while at < count {
        let places = [inputs.at(at * from.bytes()), outputs.at(at * to.bytes())];
        // SAFETY: elements of the guarded memory, no more than a block of them; the level is available.
        noted |= unsafe { recipe.block(places, steps, next, &mut buffers) };
        at += next;
        next = size.min(count - at);
    }
    (outputs.bytes().to_vec(), noted)
}

const WAYS: [(bool, Notes); 5] = [
    (false, Notes::Nothing),
    (false, Notes::Misfits),
    (false, Notes::Changes),
    (true, Notes::Nothing),
    (true, Notes::Changes),
];

#[test]
fn every_level_gives_the_bits_of_single_elements() {
    let mut random = Random::new(5);
    for from in Scalar::ALL {
        for to in Scalar::ALL {
            for count in [0, 1, 45, 601] {
                let mut source = vec![0; count * from.bytes()];
                fill(&mut random, from, &mut source);
                for way in WAYS {
                    let mut expected = (Vec::new(), false);
                    for element in source.chunks_exact(from.bytes()).take(45) {
                        let (bytes, noted) = block(Level::Portable, [from, to], way, element, Side::Right);
                        expected.0.extend(bytes);
                        expected.1 |= noted;
                    }
                    let known = expected.0.len();
                    on_every_level(|level| {
                        for side in [Side::Left, Side::Right] {
                            let (bytes, noted) = block(level, [from, to], way, &source, side);
                            let where_at =
                                format!("{from:?} to {to:?}, {way:?}, {count}, {level:?}, {side:?}");
                            assert_eq!(bytes[..known], expected.0, "{where_at}");
                            let portable = block(Level::Portable, [from, to], way, &source, side);
                            assert!((bytes, noted) == portable, "{where_at}");
                            assert!(
                                known < source.len() / from.bytes() * to.bytes() || noted == expected.1,
                                "{where_at}"
                            );
                        }
                    });
                }
            }
        }
    }
}

/// Pieces of usual numbers alone, for which there are faster ways, and with one odd one among them.
#[test]
fn short_floats_are_rounded_alike_on_every_level() {
    let mut random = Random::new(5);
    let mut usual = |exponents: u64| {
        let exponent = 127 - exponents / 2 + random.below(exponents as usize) as u64;
        f32::from_bits((random.next() << 31 | exponent << 23 | random.next() & 0x7f_ffff) as u32)
    };
    // Those that stay the same, alone and with one that does not.
    let mut rows: Vec<Vec<f32>> = vec![vec![1.5; 96]; 2];
    rows[1][80] = 1.0 + f32::EPSILON;
    let (nan, subnormal) =
        ([0x7fc0_0000, 0xffc0_0000, 0x7f80_0001].map(f32::from_bits), [1e-40, -1e-45, 6e-8]);
    let others = [0.0, -0.0, 1.0 + f32::EPSILON, f32::MIN_POSITIVE, 65_519.996, 65_520.0, 3.38e38, f32::MAX];
    for value in nan.into_iter().chain(subnormal).chain(others).chain([f32::INFINITY, f32::NEG_INFINITY]) {
        for at in [0, 15, 16, 31, 32, 1023, 1024, 2000] {
            // All of them fit into float16, or only some.
            let mut row: Vec<f32> = (0..2077).map(|_| usual(if at % 2 == 0 { 28 } else { 250 })).collect();
            row[at] = value;
            rows.push(row);
        }
    }
    // Ties of either type, and what rounds beyond the range.
    rows.push((0..4096_u32).map(|upper| f32::from_bits(upper << 20 | 0x8000)).collect());
    rows.push((0..4096_u32).map(|upper| f32::from_bits(0x3800_0000 + (upper << 13 | 0x1000))).collect());
    rows.extend(
        [0x7f7f_7fff, 0x7f7f_8000, 0xff7f_ffff, 0x477f_efff].map(|bits| vec![f32::from_bits(bits); 33]),
    );
    for row in rows {
        let row: Vec<u8> = row.iter().flat_map(|value| value.to_le_bytes()).collect();
        let short = block(Level::Portable, [Scalar::F32, Scalar::F16], WAYS[0], &row, Side::Left).0;
        for (source, pair) in [
            (&row, [Scalar::F32, Scalar::Bf16]),
            (&row, [Scalar::F32, Scalar::F16]),
            (&short, [Scalar::F16, Scalar::F32]),
        ] {
            for way in WAYS {
                let expected = block(Level::Portable, pair, way, source, Side::Right);
                on_every_level(|level| {
                    let made = block(level, pair, way, source, Side::Right);
                    assert!(made == expected, "{pair:?}, {way:?}, {level:?}");
                });
            }
        }
    }
}

#[test]
fn one_label_that_int32_has_no_room_for_is_noted_wherever_it_is() {
    let (least, most) = (i64::from(i32::MIN), i64::from(i32::MAX));
    for value in [0, -1, least, most, least - 1, most + 1, 1 << 32, i64::MIN, i64::MAX] {
        for at in [0, 7, 8, 15, 16, 40] {
            let mut labels: Vec<i64> = (-20..25).map(|label| label * 80_000_000).collect();
            labels[at] = value;
            let source: Vec<u8> = labels.iter().flat_map(|label| label.to_le_bytes()).collect();
            let made: Vec<u8> = labels.iter().flat_map(|label| (*label as i32).to_le_bytes()).collect();
            let fits = i32::try_from(value).is_ok();
            on_every_level(|level| {
                for (notes, noted) in
                    [(Notes::Nothing, false), (Notes::Misfits, !fits), (Notes::Changes, !fits)]
                {
                    let found = block(level, [Scalar::I64, Scalar::I32], (false, notes), &source, Side::Left);
                    assert!(found == (made.clone(), noted), "{value} at {at}, {notes:?}, {level:?}");
                }
            });
        }
    }
}

#[test]
fn past_the_caches_they_are_the_same() {
    let mut random = Random::new(7);
    for from in Scalar::ALL {
        for to in Scalar::ALL {
            let mut source = vec![0; 1301 * from.bytes()];
            fill(&mut random, from, &mut source);
            on_every_level(|level| {
                for (notes, side) in [(Notes::Nothing, Side::Left), (Notes::Changes, Side::Right)] {
                    let mut recipe = Recipe::new(level, from, to, false, notes);
                    recipe.streaming = true;
                    let made = cast_guarded(recipe, [from, to], &source, side);
                    let usual = block(level, [from, to], (false, notes), &source, side);
                    assert!(made == usual, "{from:?} to {to:?}, {notes:?}, {level:?}");
                }
            });
        }
    }
}

#[test]
fn what_is_noted_is_what_the_tally_finds() {
    let mut random = Random::new(6);
    for from in Scalar::ALL {
        for to in Scalar::ALL {
            let mut source = vec![0; 60 * from.bytes()];
            fill(&mut random, from, &mut source);
            for element in source.chunks_exact(from.bytes()) {
                for saturate in [false, true] {
                    let way = (saturate, Notes::Changes);
                    let (made, noted) = block(level(), [from, to], way, element, Side::Right);
                    // SAFETY: one element each.
                    let (value, made) = unsafe { (from.read(element.as_ptr()), to.read(made.as_ptr())) };
                    let change = tally::change(value, made, to);
                    assert_eq!(
                        noted,
                        change.is_some(),
                        "{from:?} {value} to {to:?} {made}, saturate {saturate}"
                    );
                    if from.kind() <= to.kind() && !saturate {
                        let (_, misfits) =
                            block(level(), [from, to], (false, Notes::Misfits), element, Side::Left);
                        let expected = change.is_some_and(|change| change >= Change::Overflow);
                        assert_eq!(misfits, expected, "{from:?} {value} to {to:?} {made}");
                    }
                }
            }
        }
    }
}

fn of<T: crate::tensor::Element>(values: Vec<T>, shape: &[i64]) -> Tensor {
    Tensor::from_vec(values, shape).unwrap()
}

#[test]
fn reports_are_the_same_with_any_number_of_threads() {
    let mut random = Random::new(7);
    let values: Vec<f64> = (0..1_000_000).map(|_| random.next() as f64 / 7.0 - 1e13).collect();
    let source = of(values, &[1000, 1000]).permute(&[1, 0]).unwrap().slice(0, None, None, -1).unwrap();
    let mut reports = Vec::new();
    for threads in [1, 2, 5] {
        set_num_threads(threads);
        let mut report = LossReport::default();
        // SAFETY: the vector is ours.
        unsafe { cast(&source, dtype::F32, Casting::Unsafe, Some(&mut report)) }.unwrap();
        // SAFETY: as above.
        let error = unsafe { cast(&source, dtype::F16, Casting::SameKind, None) }.unwrap_err();
        reports.push((report, error.to_string()));
    }
    set_num_threads(0);
    assert!(reports[0].0.inexact > 900_000 && reports[0].0.first.is_some());
    assert!(reports.iter().all(|report| *report == reports[0]));
}

#[test]
fn a_destination_in_any_layout_knows_where_its_elements_are() {
    let source = of((0..24).map(|n| if n == 13 { 1e300 } else { f64::from(n) }).collect(), &[2, 3, 4]);
    let memory = of(vec![0_f32; 48], &[4, 2, 6]);
    let destination = memory.permute(&[1, 2, 0]).unwrap().slice(1, None, None, -2).unwrap();
    let destination = destination.slice(2, None, None, -1).unwrap();
    // SAFETY: both are ours.
    let error = unsafe { cast_into(&source, &destination, Casting::SameKind, None) }.unwrap_err();
    let Error::Cast(Cast::Lossy { report, .. }) = error else { panic!("{error}") };
    let first = report.first.unwrap();
    assert_eq!((report.overflow, first.flat, &first.index[..]), (1, 13, &[1, 0, 1][..]));
    let values = memory.into_vec::<f32>();
    drop(destination);
    // Views were alive; the memory was spoilt where they see it.
    assert!(values.is_err());
}

/// A broadcast may have more elements than memory has room for bytes.
#[test]
fn a_plan_refuses_what_no_memory_has_room_for() {
    let vast = of(vec![1_u8], &[1]).expand(&[1 << 62]).unwrap();
    assert_eq!(plan_cast(&vast, dtype::U8, Casting::Unsafe).unwrap().bytes, 1 << 62);
    let refused = plan_cast(&vast, dtype::F64, Casting::Unsafe).unwrap_err();
    // SAFETY: nobody writes to the vector.
    assert_eq!(refused, unsafe { cast(&vast, dtype::F64, Casting::Unsafe, None) }.unwrap_err());
}

#[test]
fn what_is_refused_leaves_the_destination_alone() {
    let source = of(vec![1.0_f64, 2.5], &[2]);
    let destination = of(vec![7_i32, 7], &[2]);
    let kinds = |error: Error| error.kind();
    // SAFETY: both are ours.
    unsafe {
        let refuse =
            |source: &Tensor, to: &Tensor, casting| kinds(cast_into(source, to, casting, None).unwrap_err());
        assert_eq!(refuse(&source, &destination, Casting::SameKind), ErrorKind::InvalidArgument);
        assert_eq!(
            refuse(&source, &destination.slice(0, None, Some(1), 1).unwrap(), Casting::Unsafe),
            ErrorKind::InvalidArgument
        );
        assert_eq!(refuse(&destination, &destination, Casting::Unsafe), ErrorKind::Unsupported);
        assert_eq!(destination.as_slice::<i32>().unwrap(), [7, 7]);
        assert_eq!(refuse(&source, &destination, Casting::SameValue), ErrorKind::Lossy);
        assert_eq!(destination.as_slice::<i32>().unwrap(), [i32::MIN; 2]);
        cast_into(&source, &destination, Casting::Saturate, None).unwrap();
        assert_eq!(destination.as_slice::<i32>().unwrap(), [1, 2]);
    }
}

/// The words of a loss, without those that all of them have.
fn lost<T: crate::tensor::Element>(value: T, to: &str) -> String {
    let to = dtype::parse(to).unwrap();
    // SAFETY: the vector is ours.
    let error = unsafe { cast(&of(vec![value], &[1]), to, Casting::SameValue, None) }.unwrap_err();
    let words = error.to_string();
    words.replace("; the first, at index 0,", "; it").replace("1 of 1 elements ", "")
}

#[test]
fn each_kind_of_loss_has_words_of_its_own() {
    assert_eq!(
        lost(0.1, "float32"),
        "changes its value on the way from float64 to float32; it is 0.1 and became 0.10000000149011612; \
         the largest absolute error is 1.49012e-9, the largest relative error 1.49012e-8; \
         Casting::SameValue does not allow that, pass Casting::SameKind to round them"
    );
    assert_eq!(
        lost(5_i32, "bool"),
        "is neither 0 nor 1 on the way from int32 to bool, which has no other values; it is 5 and became True; \
         Casting::SameValue does not allow that, pass Casting::Unsafe, which makes everything but 0 true"
    );
    assert!(lost(f64::NAN, "bool").starts_with("is neither 0 nor 1 on the way from float64 to bool, which"));
    assert_eq!(
        lost(f32::NAN, "int8"),
        "is NaN on the way from float32 to int8, which has none; it is nan and became 0; Casting::SameValue \
         does not allow that, pass Casting::Saturate, which makes it 0, or Casting::Unsafe for what NumPy makes of it"
    );
    assert_eq!(
        lost(300_i64, "uint8"),
        "is out of range on the way from int64 to uint8; it is 300 and became 44; \
         the largest absolute error is 256, the largest relative error 0.853333; Casting::SameValue does not \
         allow that, pass Casting::Saturate to clamp them, or Casting::Unsafe for what NumPy makes of them"
    );
    let has = |words: String, parts: &[&str]| {
        for part in parts {
            assert!(words.contains(part), "{part}: {words}");
        }
    };
    has(lost(2.5, "int32"), &["is 2.5 and became 2;", "Casting::Unsafe to cut off the fraction"]);
    has(
        lost(i64::MAX, "float32"),
        &["is 9223372036854775807 and became 9223372036854775808.0;", "round them"],
    );
    has(lost(123_456_789, "float32"), &["is 123456789 and became 123456792.0;", "absolute error is 3,"]);
    has(lost(1e300, "float32"), &["is out of range", "is 1e300 and became inf; no error is finite;"]);
    has(lost(500.0, "float8_e4m3fn"), &["is out of range", "became nan;", "Casting::Saturate to clamp them"]);
    has(lost(0.3, "float8_e5m2"), &["is 0.3 and became 0.3125;"]);
}

#[test]
fn complex_numbers_are_lost_in_words_of_their_own() {
    let complex = |real: f64, imaginary: f64, to: &str| {
        let both = of(vec![real, imaginary], &[2]).reinterpret(dtype::parse("complex128").unwrap()).unwrap();
        // SAFETY: the vector is ours.
        unsafe { cast(&both, dtype::parse(to).unwrap(), Casting::SameValue, None) }.unwrap_err().to_string()
    };
    for (words, parts) in [
        (
            complex(1.0, -2.5, "float64"),
            ["is (1-2.5j) and became 1.0", "Casting::Unsafe to keep the real part only"],
        ),
        (complex(1.0, f64::NAN, "float64"), ["is (1+nanj) and became 1.0", "no error is finite"]),
        (
            complex(2.0, 1.0, "int8"),
            ["became 2;", "Casting::Unsafe to drop the imaginary part and the fraction"],
        ),
        (
            complex(0.1, 10.0, "complex64"),
            ["is (0.1+10j) and became (0.10000000149011612+10j)", "round them"],
        ),
        (complex(0.0, 1.0, "bool"), ["is (0+1j) and became True", "makes everything but 0 true"]),
    ] {
        assert!(parts.iter().all(|part| words.contains(part)), "{words}");
    }
}

#[test]
fn what_changed_never_looks_the_same() {
    let mut random = Random::new(8);
    for from in Scalar::ALL {
        for to in Scalar::ALL {
            let mut source = vec![0; 200 * from.bytes()];
            fill(&mut random, from, &mut source);
            for element in source.chunks_exact(from.bytes()) {
                let way = (false, Notes::Nothing);
                let (made, _) = block(level(), [from, to], way, element, Side::Right);
                // SAFETY: one element each.
                let (value, made) = unsafe { (from.read(element.as_ptr()), to.read(made.as_ptr())) };
                if tally::change(value, made, to).is_some() {
                    assert_ne!(value.to_string(), made.text_beside(value), "{from:?} to {to:?}");
                }
            }
        }
    }
}
