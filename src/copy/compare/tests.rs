//! The row kernels against single values, on every level, between guard pages.

use super::pass::{Loop, same};
use super::value::{self, is_comparable, nearest_float16};
use super::*;
use crate::copy::guarded::{Guarded, Random, Side};
use crate::copy::level::on_every_level;
use crate::dlpack::{DLDataType, DLDataTypeCode};

const fn of(code: u8, bits: u8) -> DLDataType {
    DLDataType { code: DLDataTypeCode(code), bits, lanes: 1 }
}

/// Every dtype whose elements have values.
fn dtypes() -> impl Iterator<Item = DLDataType> {
    (0..18_u8).flat_map(|code| [8, 16, 32, 64, 128].map(|bits| of(code, bits))).filter(|&dtype| {
        is_comparable(dtype) && crate::tensor::dtype::parse(&dtype::Name(dtype).to_string()).is_ok()
    })
}

/// Elements of few patterns, so that equal ones and special ones meet.
fn fill(bytes: &mut [u8], random: &mut Random) {
    for byte in bytes {
        *byte = random.pick(&[0, 0x80, 0x7f, 0xff, 0x7c, 0x01, 0x3c]);
    }
}

#[test]
fn rows_of_every_dtype_say_what_their_values_say() {
    assert_eq!(dtypes().count(), 8 + 3 + 1 + 3 + 1 + 8);
    on_every_level(|level| {
        for dtype in dtypes() {
            let item = dtype::item_bytes(dtype).unwrap();
            let mut random = Random::new(item as u64);
            for count in [0, 1, 2, 3, 7, 16, 33, 255, 256, 257, 600] {
                for side in [Side::Left, Side::Right] {
                    let [a, b] = [0, 1].map(|_| Guarded::new(item * count, side));
                    fill(a.bytes(), &mut random);
                    b.bytes().copy_from_slice(a.bytes());
                    if count > 0 && random.below(2) == 0 {
                        let at = item * random.below(count);
                        fill(&mut b.bytes()[at..at + item], &mut random);
                    }
                    for equal_nan in [false, true] {
                        let expected = (0..count).all(|index| {
                            // SAFETY: elements of both.
                            let [x, y] =
                                [&a, &b].map(|row| unsafe { value::read(dtype, row.at(item * index)) });
                            x.same(y, equal_nan)
                        });
                        // SAFETY: rows of `count`; the level is available.
                        let found = unsafe { same(dtype, equal_nan)(level, a.at(0), b.at(0), count) };
                        assert_eq!(found, expected, "{level:?} {} {count}", dtype::Name(dtype));
                    }
                }
            }
        }
    });
}

#[test]
fn closeness_of_rows_is_that_of_their_values() {
    on_every_level(|level| {
        for dtype in dtypes() {
            let item = dtype::item_bytes(dtype).unwrap();
            for tolerance in [Tolerance::default(), Tolerance { rtol: 1e-3, atol: 0.5 }] {
                let closeness = value::Closeness::new(dtype, dtype, tolerance, true);
                let Some(Loop::Close(row, rounded)) = pass::close(dtype, true, closeness) else { continue };
                let mut random = Random::new(u64::from(dtype.bits));
                for count in [1, 5, 300] {
                    let [a, b] = [0, 1].map(|_| Guarded::new(item * count, Side::Right));
                    fill(a.bytes(), &mut random);
                    b.bytes().copy_from_slice(a.bytes());
                    for _ in 0..200 {
                        let at = item * random.below(count);
                        fill(&mut b.bytes()[at..at + item], &mut random);
                        let expected = (0..count).all(|index| {
                            // SAFETY: elements of both.
                            let [x, y] =
                                [&a, &b].map(|row| unsafe { value::read(dtype, row.at(item * index)) });
                            closeness.holds(x, y)
                        });
                        // SAFETY: rows of `count`; the level is available.
                        let found = unsafe { row(level, a.at(0), b.at(0), count, rounded) };
                        assert_eq!(found, expected, "{level:?} {} {count}", dtype::Name(dtype));
                        b.bytes()[at..at + item].copy_from_slice(&a.bytes()[at..at + item]);
                    }
                }
            }
        }
    });
}

#[test]
fn rounding_to_float16_is_exact_for_every_float16_and_ties_go_to_even() {
    for bits in 0..0x7c00_u16 {
        // SAFETY: two bytes.
        let Value::Float(number) = (unsafe { value::read(of(2, 16), (&raw const bits).cast()) }) else {
            panic!("a float16 is a float")
        };
        let next = bits + 1;
        // SAFETY: as above.
        let Value::Float(above) = (unsafe { value::read(of(2, 16), (&raw const next).cast()) }) else {
            panic!("a float16 is a float")
        };
        assert_eq!(nearest_float16(number), number);
        assert_eq!(close::round_to_float16(number as f32), number as f32);
        let above = if above.is_infinite() { 65536.0 } else { above };
        let middle = (number + above) / 2.0;
        let even = if bits & 1 == 0 { number } else { above };
        let even = if even == 65536.0 { f64::INFINITY } else { even };
        for (value, expected) in [(middle, even), (-middle, -even)] {
            assert_eq!(nearest_float16(value), expected, "{bits:#x}");
            assert_eq!(close::round_to_float16(value as f32), expected as f32, "{bits:#x}");
        }
    }
}

#[test]
fn a_comparison_speaks() {
    let a = Tensor::from_vec(vec![1.0_f64, 2.0, f64::NAN, 4.0], &[2, 2]).unwrap();
    let b = Tensor::from_vec(vec![1.0_f32, 2.5, f32::NAN, 4.0], &[2, 2]).unwrap();
    // SAFETY: this test has the vectors.
    let found = unsafe { a.compare(&b, CompareOptions { equal_nan: true, ..Default::default() }) }.unwrap();
    let words = "1 of 4 elements differ, the first at [0, 1]: 2.0 and 2.5; largest absolute error 0.5 at [0, 1]; largest relative error 0.2 at [0, 1]";
    assert_eq!(found.to_string(), words);
    // SAFETY: as above.
    let error = unsafe { a.allclose(&b, Tolerance { rtol: f64::NAN, atol: 0.0 }, false) }.unwrap_err();
    assert_eq!(error.to_string(), "rtol is NaN; pass a number, for example 1e-5");
    let long = Tensor::from_vec(vec![0.0_f64; 3], &[3]).unwrap();
    // SAFETY: as above.
    let error = unsafe { a.allclose(&long, Tolerance::default(), false) }.unwrap_err();
    assert!(error.to_string().contains("[2, 2] and [3] do not broadcast"), "{error}");
    // SAFETY: as above.
    assert!(!unsafe { a.equal(&long, CompareOptions::default()) }.unwrap());
}

#[test]
fn more_pairs_than_can_be_counted_are_refused() {
    let column = Tensor::from_vec(vec![0.0_f32], &[1, 1]).unwrap().expand(&[1 << 32, 1]).unwrap();
    let row = |extent| Tensor::from_vec(vec![1.0_f32], &[1, 1]).unwrap().expand(&[1, extent]).unwrap();
    let close = |row: &Tensor| {
        // SAFETY: this test has the vectors.
        unsafe { column.allclose(row, Tolerance::default(), false) }
    };
    for extent in [1 << 31, 1 << 32, (1 << 32) + 1] {
        let error = close(&row(extent)).unwrap_err();
        assert_eq!(error.kind(), crate::Kind::InvalidArgument);
        assert!(error.to_string().contains(&format!("[4294967296, {extent}]")), "{error}");
    }
    assert_eq!(close(&row(1 << 30)), Ok(false));
    assert_eq!(close(&row(0)), Ok(true));
}

/// The extents have no product, and there is nothing to compare.
#[test]
fn broadcasts_without_elements_are_compared() {
    let wide = |shape: &[i64]| Tensor::from_vec(Vec::<u8>::new(), shape).unwrap();
    let (a, b) = (wide(&[1 << 40, 1, 0]), wide(&[1, 1 << 40, 0]));
    let close = CompareOptions { rule: Rule::Close(Tolerance::default()), ..Default::default() };
    // SAFETY: there are no elements.
    let found = unsafe { a.compare(&b, close) }.unwrap();
    assert_eq!((found.equal, found.compared), (true, 0));
}
