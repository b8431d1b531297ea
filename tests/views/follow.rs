//! Any view of any view shows what the model shows.

use crate::common::{Random, alone};
use crate::model::{Grid, counting};
use dlbridge::{Kind, Tensor};

fn bases() -> Vec<Tensor> {
    vec![
        counting(&[2, 3, 4], &[12, 4, 1], 0),
        counting(&[4, 3, 2], &[1, 4, 12], 7),
        counting(&[3, 4], &[-40, 7], 200),
        counting(&[5], &[-3], 100),
        counting(&[3, 1, 4], &[4, i64::MIN, -1], 50),
        counting(&[1, 6, 1], &[i64::MAX, 2, i64::MAX], 0),
        counting(&[2, 0, 3], &[i64::MAX, i64::MIN, i64::MAX], 0),
        counting(&[], &[], 9),
    ]
}

#[test]
fn slices_follow_python() {
    let _alone = alone();
    let bounds: Vec<Option<i64>> =
        (-7..=7).map(Some).chain([None, Some(i64::MAX), Some(-i64::MAX)]).collect();
    for extent in 0..=5 {
        let tensor = counting(&[extent], &[3], 5);
        let grid = Grid::read(&tensor);
        for (&start, &stop) in bounds.iter().flat_map(|start| bounds.iter().map(move |stop| (start, stop))) {
            for step in [1, 2, 3, 9, i64::MAX, -1, -2, -3, -9, -i64::MAX, i64::MIN] {
                let view = tensor.slice(0, start, stop, step).unwrap();
                assert_eq!(
                    Grid::read(&view),
                    grid.slice(0, start, stop, step),
                    "{extent} {start:?} {stop:?} {step}"
                );
            }
        }
        assert_eq!(tensor.slice(0, None, None, 0).unwrap_err().kind(), Kind::InvalidArgument);
    }
}

/// Any view of any view shows what the model shows.
#[test]
fn chains_of_random_views_follow_the_model() {
    let _alone = alone();
    let bases: Vec<(Tensor, Grid)> = bases().into_iter().map(|t| (t.clone(), Grid::read(&t))).collect();
    let mut random = Random::new(1);
    let mut refusals = 0;
    for round in 0..20_000 {
        let (mut tensor, mut grid) = bases[random.below(bases.len() as u64) as usize].clone();
        for _ in 0..6 {
            match step(&tensor, &grid, &mut random) {
                Some((view, shown)) => {
                    assert_eq!(Grid::read(&view), shown, "round {round}: {view:?} of {tensor:?}");
                    assert!(view.is_read_only() || !tensor.is_read_only(), "a view inherits read-only");
                    (tensor, grid) = (view, shown);
                }
                None => refusals += 1,
            }
        }
    }
    assert!(refusals < 40_000, "most steps are views: {refusals} were not");
}

/// One random view, with what the model makes of it; `None` where there is none.
fn step(tensor: &Tensor, grid: &Grid, random: &mut Random) -> Option<(Tensor, Grid)> {
    let ndim = tensor.ndim();
    let from_end =
        |axis: usize, ndim: usize, random: &mut Random| axis as i64 - random.pick(&[0, ndim as i64]);
    let axis = (ndim > 0).then(|| random.below(ndim as u64) as usize);
    match random.below(7) {
        0 | 1 => {
            let axis = axis?;
            let bound = |random: &mut Random| Some(random.below(13) as i64 - 6).filter(|at| at.abs() < 5);
            let (start, stop, by) = (bound(random), bound(random), random.pick(&[1, 1, 2, 3, -1, -1, -2]));
            let view = tensor.slice(from_end(axis, ndim, random), start, stop, by).unwrap();
            Some((view, grid.slice(axis, start, stop, by)))
        }
        2 => {
            let axis = axis.filter(|&axis| grid.shape[axis] > 0)?;
            let at = random.below(grid.shape[axis] as u64) as i64;
            let index = at - random.pick(&[0, grid.shape[axis]]);
            Some((tensor.select(from_end(axis, ndim, random), index).unwrap(), grid.select(axis, at)))
        }
        3 => {
            let mut axes: Vec<usize> = (0..ndim).collect();
            (0..ndim).for_each(|i| axes.swap(i, random.below(ndim as u64) as usize));
            let named: Vec<i64> = axes.iter().map(|&axis| from_end(axis, ndim, random)).collect();
            Some((tensor.permute(&named).unwrap(), grid.permute(&axes)))
        }
        4 => {
            let grown = grid.shape.iter().map(|&e| if e == 1 { random.below(4) as i64 } else { e }).collect();
            let extra = if ndim < 4 { random.pick(&[&[][..], &[1], &[2]]) } else { &[] };
            let target = [extra.to_vec(), grown].concat();
            (target.iter().product::<i64>() <= 256)
                .then(|| (tensor.expand(&target).unwrap(), grid.expand(&target)))
        }
        5 => {
            let at = random.below(ndim as u64 + 1) as usize;
            let mut target = grid.shape.clone();
            match axis.filter(|&axis| grid.shape[axis] == 1 && ndim > 3) {
                Some(axis) => {
                    target.remove(axis);
                    Some((tensor.squeeze(axis as i64).unwrap(), grid.reshape(&target)))
                }
                None => {
                    target.insert(at, 1);
                    let view = tensor.unsqueeze(from_end(at, ndim + 1, random)).unwrap();
                    Some((view, grid.reshape(&target)))
                }
            }
        }
        _ => {
            let target = factors(grid.cells.len() as i64, random);
            match tensor.reshape(&target) {
                Ok(view) => Some((view, grid.reshape(&target))),
                Err(error) => {
                    assert_eq!(error.kind(), Kind::CopyRequired, "{error}");
                    assert!(!tensor.is_row_major(), "packed tensors take every shape");
                    None
                }
            }
        }
    }
}

/// A random shape of `size` elements.
fn factors(size: i64, random: &mut Random) -> Vec<i64> {
    if size == 0 {
        return random.pick(&[&[0][..], &[3, 0], &[0, 2, 1]]).to_vec();
    }
    let (mut rest, mut shape) = (size, vec![]);
    for _ in 0..3 {
        let divisors: Vec<i64> = (1..=rest).filter(|divisor| rest % divisor == 0).collect();
        let factor = random.pick(&divisors);
        (rest, shape) = (rest / factor, [shape, vec![factor]].concat());
    }
    [shape, vec![rest]].concat()
}
