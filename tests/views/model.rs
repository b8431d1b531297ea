//! A tensor as a grid of cells, each with the number of its element.

use dlbridge::Tensor;
use dlbridge::dlpack::{DLDevice, DLTensor};
use dlbridge::tensor::{Element, dtype};
use dlpark::DlpackFlags;

/// The cells of a tensor in row-major order of their indices.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    pub shape: Vec<i64>,
    pub cells: Vec<i32>,
}

impl Grid {
    /// What a tensor shows when it is walked by its strides.
    pub fn read(tensor: &Tensor) -> Grid {
        Grid { shape: tensor.shape().to_vec(), cells: elements(tensor) }
    }

    /// A grid of another shape whose cell at an index is that of `self` at `from(index)`.
    pub fn gather(&self, shape: Vec<i64>, from: impl Fn(&[i64]) -> Vec<i64>) -> Grid {
        let cells = indices(&shape).iter().map(|index| self.at(&from(index))).collect();
        Grid { shape, cells }
    }

    pub fn at(&self, index: &[i64]) -> i32 {
        let position = index.iter().zip(&self.shape).fold(0, |position, (i, extent)| position * extent + i);
        self.cells[position as usize]
    }

    pub fn slice(&self, axis: usize, start: Option<i64>, stop: Option<i64>, step: i64) -> Grid {
        let positions = python_range(self.shape[axis], start, stop, step);
        let mut shape = self.shape.clone();
        shape[axis] = positions.len() as i64;
        self.gather(shape, |index| {
            let mut index = index.to_vec();
            index[axis] = positions[index[axis] as usize];
            index
        })
    }

    pub fn select(&self, axis: usize, at: i64) -> Grid {
        let mut shape = self.shape.clone();
        shape.remove(axis);
        self.gather(shape, |index| [&index[..axis], &[at], &index[axis..]].concat())
    }

    pub fn permute(&self, axes: &[usize]) -> Grid {
        self.gather(axes.iter().map(|&axis| self.shape[axis]).collect(), |index| {
            let mut source = vec![0; index.len()];
            axes.iter().zip(index).for_each(|(&axis, &at)| source[axis] = at);
            source
        })
    }

    pub fn expand(&self, target: &[i64]) -> Grid {
        let missing = target.len() - self.shape.len();
        self.gather(target.to_vec(), |index| {
            index[missing..]
                .iter()
                .zip(&self.shape)
                .map(|(&at, &own)| if own == 1 { 0 } else { at })
                .collect()
        })
    }

    pub fn reshape(&self, shape: &[i64]) -> Grid {
        Grid { shape: shape.to_vec(), cells: self.cells.clone() }
    }
}

/// Every index of a shape, in row-major order.
pub fn indices(shape: &[i64]) -> Vec<Vec<i64>> {
    shape.iter().fold(vec![vec![]], |outer, &extent| {
        outer.iter().flat_map(|index| (0..extent).map(move |at| [&index[..], &[at]].concat())).collect()
    })
}

/// The positions that `range(extent)[start:stop:step]` has, found one by one.
pub fn python_range(extent: i64, start: Option<i64>, stop: Option<i64>, step: i64) -> Vec<i64> {
    let wrap = |bound: i64| if bound < 0 { bound + extent } else { bound };
    let inside = |position: i64| match (start.map(wrap), stop.map(wrap), step > 0) {
        (start, stop, true) => start.is_none_or(|s| position >= s) && stop.is_none_or(|s| position < s),
        (start, stop, false) => start.is_none_or(|s| position <= s) && stop.is_none_or(|s| position > s),
    };
    let mut positions: Vec<i64> = (0..extent).filter(|&position| inside(position)).collect();
    if step < 0 {
        positions.reverse();
    }
    positions.into_iter().step_by(step.unsigned_abs() as usize).collect()
}

/// The elements of a host tensor in row-major order of their indices.
pub fn elements<T: Element>(tensor: &Tensor) -> Vec<T> {
    let data = tensor.data_as(T::DTYPE).unwrap().cast::<T>();
    let offset =
        |index: Vec<i64>| index.iter().zip(tensor.strides()).map(|(at, stride)| at * stride).sum::<i64>();
    indices(tensor.shape())
        .into_iter()
        // SAFETY: every index lies inside the shape, so its element lies inside the buffer.
        .map(|index| unsafe { data.offset(offset(index) as isize).read() })
        .collect()
}

/// A tensor over 0, 1, 2, ... with any strides, its first element `first` elements into the buffer.
pub fn counting(shape: &[i64], strides: &[i64], first: usize) -> Tensor {
    let mut values: Vec<i32> = (0..4096).collect();
    let description = DLTensor {
        data: values[first..].as_mut_ptr().cast(),
        device: DLDevice::CPU,
        ndim: shape.len() as i32,
        dtype: dtype::I32,
        shape: shape.as_ptr().cast_mut(),
        strides: strides.as_ptr().cast_mut(),
        byte_offset: 0,
    };
    // SAFETY: the callers stay inside the vector, which moves into the owner.
    unsafe { Tensor::wrap(&description, DlpackFlags::empty(), values) }.map_err(|(error, _)| error).unwrap()
}
