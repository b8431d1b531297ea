//! Batches on every level, between guard pages.

use super::affine::{Affine, scale_row};
use super::*;
use crate::copy::Order;
use crate::copy::guarded::{Guarded, Random, Side};
use crate::copy::level::on_every_level;
use crate::tensor::dtype::{F16, F32, F64, I8, U8};

fn pictures(count: usize, shape: &[i64], seed: u64) -> Vec<Tensor> {
    let mut random = Random::new(seed);
    let size = shape.iter().product::<i64>() as usize;
    let bytes = |random: &mut Random| (0..size).map(|_| random.next() as u8).collect();
    (0..count).map(|_| Tensor::from_vec(bytes(&mut random), shape).unwrap()).collect()
}

fn values<T: crate::tensor::Element>(tensor: &Tensor) -> Vec<T> {
    // SAFETY: one test has the tensor.
    unsafe { tensor.as_slice::<T>() }.unwrap().to_vec()
}

#[test]
fn scaling_a_row_is_the_same_on_every_level_and_stays_within_it() {
    on_every_level(|level| {
        for count in (0..70).chain([511, 512]) {
            for side in [Side::Left, Side::Right] {
                let mut random = Random::new(count as u64);
                let rows: [Guarded; 3] = std::array::from_fn(|_| Guarded::new(4 * count, side));
                for row in &rows {
                    for value in row.bytes().chunks_exact_mut(4) {
                        value.copy_from_slice(&(random.next() as f32 / 1e9 - 0.3).to_ne_bytes());
                    }
                }
                let [before, scale, bias] = [0, 1, 2].map(|row: usize| {
                    let value = |bytes: &[u8]| f32::from_ne_bytes(bytes.try_into().unwrap());
                    rows[row].bytes().chunks_exact(4).map(value).collect::<Vec<_>>()
                });
                let [values, scales, biases] = [0, 1, 2].map(|row: usize| rows[row].at(0).cast::<f32>());
                // SAFETY: three rows of `count`; the level is available.
                unsafe { scale_row::<f32>(level, values, scales, biases, count) };
                for index in 0..count {
                    let product = std::hint::black_box(before[index] * scale[index]);
                    let made = rows[0].bytes()[4 * index..][..4].try_into().unwrap();
                    assert_eq!(
                        f32::from_ne_bytes(made).to_bits(),
                        (product + bias[index]).to_bits(),
                        "{level:?}"
                    );
                }
            }
        }
    });
}

#[test]
fn a_batch_is_cast_turned_and_scaled() {
    for (height, width, channels) in [(1, 1, 1), (2, 3, 3), (5, 17, 4), (3, 4, 5), (600, 700, 3)] {
        let arrays = pictures(3, &[height, width, channels], 7);
        let references: Vec<&Tensor> = arrays.iter().collect();
        let scale: Vec<f64> = (0..channels).map(|channel| 0.5 + channel as f64).collect();
        let options =
            StackOptions { layout: Layout::Chw, scale: &scale, bias: &[-1.0], ..StackOptions::default() };
        for dtype in [F32, F64] {
            // SAFETY: this test has the memory.
            let made = unsafe { stack(&references, Some(dtype), options) }.unwrap();
            assert_eq!(made.shape(), [3, channels, height, width]);
            let found: Vec<f64> = match dtype {
                F32 => values::<f32>(&made).into_iter().map(f64::from).collect(),
                _ => values::<f64>(&made),
            };
            let mut at = 0;
            for array in &arrays {
                let bytes = values::<u8>(array);
                for (channel, scale) in scale.iter().enumerate() {
                    for pixel in 0..(height * width) as usize {
                        let value = f64::from(bytes[pixel * channels as usize + channel]);
                        assert_eq!(found[at], value * scale - 1.0);
                        at += 1;
                    }
                }
            }
        }
    }
}

#[test]
fn channels_may_be_in_any_order_and_some_left_out_of_any_part_of_a_picture() {
    for (height, width, channels) in [(1, 1, 4), (5, 17, 3), (5, 17, 4), (30, 41, 4), (7, 600, 5)] {
        let array = pictures(1, &[height, width, channels], 9).remove(0);
        let ways = [(None, None, -1), (None, Some(3), 1), (Some(2), None, -1), (Some(1), None, 1)];
        let mut views = ways.map(|(start, stop, step)| array.slice(2, start, stop, step).unwrap()).to_vec();
        // Planes of which every third column is taken: as far apart as pixels of three channels, which they are not.
        let planes = pictures(1, &[3, height, 3 * width], 10).remove(0);
        views.push(planes.slice(2, None, None, 3).unwrap().permute(&[1, 2, 0]).unwrap());
        views.push(array.slice(1, None, None, -1).unwrap());
        views.push(array.slice(0, None, None, -1).unwrap().slice(1, Some(width / 3), None, 1).unwrap());
        for (view, layout) in views.iter().flat_map(|view| [(view, Layout::Chw), (view, Layout::Same)]) {
            let scale: Vec<f64> = (0..view.shape()[2]).map(|channel| 0.5 + channel as f64 / 4.0).collect();
            let options = StackOptions { layout, scale: &scale, bias: &[-1.0], ..StackOptions::default() };
            // SAFETY: this test has the memory.
            let plain = unsafe { crate::copy::new(view, Order::C) }.unwrap();
            let expected = values::<u8>(&plain).into_iter().zip(scale.iter().cycle());
            let expected: Vec<f64> = expected.map(|(value, scale)| f64::from(value) * scale - 1.0).collect();
            for dtype in [F64, F32, F16] {
                // SAFETY: as above.
                let made = unsafe { stack(&[view, view], Some(dtype), options) }.unwrap();
                let axes: &[i64] = if layout == Layout::Chw { &[0, 2, 3, 1] } else { &[0, 1, 2, 3] };
                let made = made.permute(axes).unwrap();
                // SAFETY: as above.
                let made = unsafe { crate::copy::cast(&made, F64, Casting::Unsafe, None) }.unwrap();
                assert_eq!(
                    values::<f64>(&made),
                    [&expected[..], &expected].concat(),
                    "{:?} {:?} {dtype:?}",
                    view.shape(),
                    view.strides()
                );
            }
        }
    }
}

#[test]
fn every_array_is_checked_before_anything_is_written() {
    let arrays = pictures(3, &[2, 3], 1);
    let other = Tensor::from_vec(vec![1_u8; 4], &[2, 2]).unwrap();
    let out = Tensor::from_vec(vec![9_u8; 18], &[3, 2, 3]).unwrap();
    // SAFETY: this test has the memory.
    let error = unsafe { stack_into(&[&arrays[0], &arrays[1], &other], &out, StackOptions::default()) };
    assert!(matches!(error, Err(Error::Stack(Stack::Array { index: 2, .. }))), "{error:?}");
    assert_eq!(values::<u8>(&out), [9; 18]);
    // SAFETY: as above.
    let error =
        unsafe { stack_into(&[&arrays[0], &out.select(0, 0).unwrap()], &out, StackOptions::default()) };
    assert!(error.is_err(), "three places for two arrays");
    // SAFETY: as above.
    let error = unsafe { stack(&[], None, StackOptions::default()) };
    assert_eq!(error.unwrap_err(), Error::Stack(Stack::Empty));
    let float = Tensor::from_vec(vec![1.0_f32; 6], &[2, 3]).unwrap();
    // SAFETY: as above.
    let error = unsafe { stack(&[&arrays[0], &float], None, StackOptions::default()) }.unwrap_err();
    assert!(matches!(error, Error::Stack(Stack::Dtypes { index: 1, .. })), "{error}");
}

#[test]
fn the_first_refused_value_is_named_and_the_batch_is_spoilt() {
    let arrays: Vec<Tensor> = (0..9)
        .map(|index| Tensor::from_vec(vec![if index >= 4 { 300_i64 } else { index }; 5], &[5]).unwrap())
        .collect();
    let references: Vec<&Tensor> = arrays.iter().collect();
    let out = Tensor::empty(&[9, 5], I8).unwrap();
    let options = StackOptions { casting: Casting::SameValue, ..StackOptions::default() };
    // SAFETY: this test has the memory.
    let error = unsafe { stack_into(&references, &out, options) }.unwrap_err();
    assert!(matches!(error, Error::Stack(Stack::Array { index: 4, .. })), "{error}");
    assert_eq!(error.kind(), crate::Kind::Lossy);
    assert_eq!(values::<i8>(&out), [i8::MIN; 45]);
}

#[test]
fn scale_and_bias_are_for_real_floats_and_as_many_as_channels() {
    let new = |scale: &[f64], dtype| Affine::new(scale, &[], Layout::Chw, &[3, 4, 5], dtype).map(drop);
    assert_eq!(new(&[1.0, 2.0, 3.0], F16), Ok(()));
    assert!(matches!(new(&[1.0], U8), Err(Error::Stack(Stack::NoFloat { .. }))));
    assert!(matches!(new(&[1.0; 5], F32), Err(Error::Stack(Stack::Channels { given: 5, channels: 3, .. }))));
    for (scale, bias) in [(&[1.0, 1e39, 1.0][..], &[][..]), (&[], &[-1e39])] {
        let new = |dtype| Affine::new(scale, bias, Layout::Chw, &[3, 4, 5], dtype).map(drop);
        for dtype in [F16, F32] {
            let error = new(dtype).unwrap_err();
            assert!(matches!(error, Error::Stack(Stack::Beyond { .. })), "{error}");
            assert!(error.to_string().contains("1e39, which is infinite in float32"), "{error}");
        }
        assert_eq!(new(F64), Ok(()));
    }
    // What was infinite before is meant so.
    assert_eq!(new(&[f64::INFINITY], F32), Ok(()));
}
