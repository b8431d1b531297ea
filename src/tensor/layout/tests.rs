//! The arithmetic of layouts against brute force: every index of every small shape is visited.

use super::*;

/// Every list of `length` values out of `values`.
fn lists(values: &[i64], length: usize) -> Vec<Vec<i64>> {
    (0..length).fold(vec![vec![]], |shorter, _| {
        let longer = shorter.iter().flat_map(|list| {
            values.iter().map(move |&value| list.iter().copied().chain([value]).collect::<Vec<i64>>())
        });
        longer.collect()
    })
}

/// Every shape of up to three dimensions with sizes out of `sizes`.
fn shapes(sizes: &[i64]) -> impl Iterator<Item = Vec<i64>> {
    (0..=3).flat_map(|ndim| lists(sizes, ndim))
}

/// Every small shape with every small stride.
fn layouts(sizes: &[i64], strides: &[i64]) -> impl Iterator<Item = (Vec<i64>, Vec<i64>)> {
    shapes(sizes).flat_map(|shape| {
        let strides = lists(strides, shape.len());
        strides.into_iter().map(move |strides| (shape.clone(), strides))
    })
}

/// Where every element lies, in row-major order of the indices, in elements from the first.
fn offsets(shape: &[i64], strides: &[i64]) -> Vec<i64> {
    shape.iter().zip(strides).fold(vec![0], |outer, (&extent, &stride)| {
        outer.iter().flat_map(|offset| (0..extent).map(move |index| offset + index * stride)).collect()
    })
}

/// Whether the offsets count 0, 1, 2, ...
fn counts_up(offsets: &[i64]) -> bool {
    offsets.iter().zip(0..).all(|(&offset, expected)| offset == expected)
}

fn reversed(values: &[i64]) -> Vec<i64> {
    values.iter().rev().copied().collect()
}

#[test]
fn measure_agrees_with_a_walk_over_every_element() {
    for (shape, strides) in layouts(&[0, 1, 2, 3], &[-4, -1, 0, 1, 3]) {
        let offsets = offsets(&shape, &strides);
        for bits in [1, 4, 6, 8, 12, 32] {
            let extent = measure(&shape, Some(&strides), bits).unwrap();
            let size = offsets.len() as i64;
            assert_eq!((extent.size, extent.nbytes), (size, (size * i64::from(bits) + 7) / 8));
            let first_byte = |&offset: &i64| (offset * i64::from(bits)).div_euclid(8);
            let end_byte = |&offset: &i64| ((offset + 1) * i64::from(bits) - 1).div_euclid(8) + 1;
            let low = offsets.iter().map(first_byte).min().unwrap_or(0);
            let high = offsets.iter().map(end_byte).max().unwrap_or(0);
            assert_eq!((extent.low, extent.high), (low, high), "{shape:?} {strides:?} {bits}");
        }
    }
}

#[test]
fn row_major_strides_count_the_elements_up() {
    for shape in shapes(&[0, 1, 2, 3, 5]) {
        let mut strides = vec![i64::MIN; shape.len()];
        row_major(&shape, &mut strides);
        assert!(counts_up(&offsets(&shape, &strides)), "{shape:?} {strides:?}");
        assert!(is_row_major(&shape, &strides));
        assert_eq!(measure(&shape, None, 16), measure(&shape, Some(&strides), 16), "{shape:?}");
    }
    let mut strides = [0; 3];
    row_major(&[0, i64::MAX, i64::MAX], &mut strides);
    assert_eq!(strides, [i64::MAX, i64::MAX, 1], "what measure refuses saturates");
}

#[test]
fn packed_means_that_the_offsets_count_up() {
    for (shape, strides) in layouts(&[0, 1, 2, 3], &[-1, 0, 1, 2, 3, 4, 6, 9]) {
        let row = counts_up(&offsets(&shape, &strides));
        let column = counts_up(&offsets(&reversed(&shape), &reversed(&strides)));
        assert_eq!(is_row_major(&shape, &strides), row, "{shape:?} {strides:?}");
        assert_eq!(is_column_major(&shape, &strides), column, "{shape:?} {strides:?}");
    }
}

#[test]
fn canonicalise_moves_nothing_and_leaves_no_gap() {
    for (shape, strides) in layouts(&[0, 1, 2, 3], &[-7, -1, 0, 1, 2, 3, 6, i64::MAX]) {
        let steps = |strides: &[i64]| -> Vec<i64> {
            shape.iter().zip(strides).filter(|&(&extent, _)| extent > 1).map(|(_, &stride)| stride).collect()
        };
        let mut canonical = strides.clone();
        canonicalise(&shape, &mut canonical);
        if !shape.contains(&0) {
            assert_eq!(steps(&canonical), steps(&strides), "{shape:?} {strides:?}");
        }
        // A naive consumer compares every stride with the packed one, size 1 or not.
        let mut packed = vec![0; shape.len()];
        row_major(&shape, &mut packed);
        assert_eq!(canonical == packed, is_row_major(&shape, &strides), "{shape:?} {strides:?}");
        if is_column_major(&shape, &strides) && !is_row_major(&shape, &strides) {
            let mut packed = vec![0; shape.len()];
            row_major(&reversed(&shape), &mut packed);
            assert_eq!(canonical, reversed(&packed), "{shape:?} {strides:?}");
        }
    }
}

#[test]
fn no_overlap_is_missed_and_nested_layouts_are_exact() {
    for (shape, strides) in layouts(&[0, 1, 2, 3, 4], &[-12, -4, -2, -1, 0, 1, 2, 3, 5, 12]) {
        let mut offsets = offsets(&shape, &strides);
        offsets.sort_unstable();
        let overlaps = offsets.windows(2).any(|pair| pair[0] == pair[1]);
        let answer = may_overlap(&shape, &strides);
        assert!(answer || !overlaps, "missed: {shape:?} {strides:?}");
        if is_nested(&shape, &strides) {
            assert_eq!(answer, overlaps, "{shape:?} {strides:?}");
        }
    }
}

/// Whether each step is a multiple of what the smaller ones span, as views of a packed buffer have it.
fn is_nested(shape: &[i64], strides: &[i64]) -> bool {
    let steps = shape.iter().zip(strides).filter(|&(&extent, _)| extent > 1);
    let mut steps: Vec<_> = steps.map(|(&extent, &stride)| (stride.abs(), extent)).collect();
    steps.sort_unstable();
    steps.windows(2).all(|pair| pair[1].0 >= pair[0].0 * pair[0].1)
}

#[test]
fn overlap_survives_the_largest_strides() {
    assert!(!may_overlap(&[2, 2], &[i64::MIN, 1]));
    assert!(may_overlap(&[2, 2], &[i64::MIN, i64::MIN]));
    assert!(may_overlap(&[i64::MAX, 2], &[2, i64::MAX]));
    assert!(!may_overlap(&[i64::MAX, 2], &[i64::MAX, i64::MAX - 1]));
    assert!(!may_overlap(&[1, 0], &[0, 0]));
}

#[test]
fn restride_finds_the_view_wherever_there_is_one() {
    let sizes: Vec<i64> = vec![1, 2, 3, 4, 6];
    for (shape, strides) in layouts(&[1, 2, 3], &[-6, -3, -1, 0, 1, 2, 3, 6]) {
        let offsets = offsets(&shape, &strides);
        for target in shapes(&sizes).filter(|target| target.iter().product::<i64>() == offsets.len() as i64) {
            let mut found = vec![0; target.len()];
            let answer = restride(&shape, &strides, &target, &mut found);
            let expected = only_candidate(&target, &offsets);
            assert_eq!(answer, expected.is_some(), "{shape:?} {strides:?} to {target:?}");
            if answer {
                assert_eq!(self::offsets(&target, &found), offsets, "{shape:?} {strides:?} to {target:?}");
            }
            if is_row_major(&shape, &strides) {
                let mut packed = vec![0; target.len()];
                row_major(&target, &mut packed);
                assert_eq!(found, packed, "dimensions of size 1 get the packed stride too");
            }
        }
    }
}

/// The strides that `offsets` force on a shape, where they make a view at all.
fn only_candidate(target: &[i64], offsets: &[i64]) -> Option<Vec<i64>> {
    let mut inner = offsets.len() as i64;
    let strides = target.iter().map(|&extent| {
        inner /= extent;
        if extent == 1 { 0 } else { offsets[inner as usize] - offsets[0] }
    });
    let strides: Vec<i64> = strides.collect();
    (self::offsets(target, &strides) == offsets).then_some(strides)
}

#[test]
fn restride_of_empty_layouts_is_row_major() {
    let mut strides = [9; 3];
    assert!(restride(&[0, 5], &[i64::MAX, i64::MIN], &[2, 0, 3], &mut strides));
    assert_eq!(strides, [3, 3, 1]);
}

#[test]
fn restride_survives_strides_that_saturate() {
    let mut strides = [0; 3];
    assert!(restride(&[2], &[i64::MAX], &[1, 2, 1], &mut strides));
    assert_eq!(strides[1], i64::MAX);
    assert!(!restride(&[2, 2], &[1, i64::MAX], &[4], &mut [0]));
}

#[test]
fn the_edges_of_63_bits() {
    let reach = |shape: &[i64], strides: &[i64], bits| measure(shape, Some(strides), bits);
    // The last byte that can be named, and the first that cannot.
    assert_eq!(measure(&[i64::MAX], None, 8).unwrap().nbytes, i64::MAX);
    assert!(measure(&[i64::MAX], None, 9).is_err());
    assert!(measure(&[1 << 31, 1 << 32], None, 1).is_err(), "2^63 elements");
    assert_eq!(measure(&[i64::MAX], None, 1).unwrap().nbytes, 1 << 60);
    // The same for the span, upwards, downwards and across.
    assert_eq!(reach(&[2], &[i64::MAX - 1], 8).unwrap().high, i64::MAX);
    assert!(reach(&[2], &[i64::MAX], 8).is_err());
    assert_eq!(reach(&[2], &[-i64::MAX + 1], 8).unwrap().low, -i64::MAX + 1);
    assert!(reach(&[2], &[-i64::MAX], 8).is_err(), "one more byte from end to end");
    assert!(reach(&[2], &[i64::MIN], 8).is_err());
    let half = 1 << 62;
    assert_eq!(reach(&[2, 2], &[half, -half + 2], 8).unwrap().high, half + 1);
    assert!(reach(&[2, 2], &[half, -half], 8).is_err());
    // A step that is never taken reaches nowhere.
    assert_eq!(reach(&[1, 2], &[i64::MIN, 1], 8).unwrap(), reach(&[2], &[1], 8).unwrap());
    assert_eq!(reach(&[0, 2], &[i64::MIN, i64::MAX], 8).unwrap().high, 0);
    // Wide elements: 65535 lanes of 255 bits.
    let widest = 255 * 65535;
    assert!(reach(&[i64::MAX], &[1], widest).is_err());
    assert!(reach(&[2], &[i64::MAX / 2], widest).is_err());
    assert!(measure(&[1 << 40], None, widest).unwrap().nbytes > 1 << 60);
}
