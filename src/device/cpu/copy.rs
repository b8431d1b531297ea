//! Moving elements between two layouts on the host: one loop nest, whose innermost runs are copied whole where they can.

use crate::tensor::{Tensor, dtype};

/// Copies so many bits from the low end of each byte on. The rest of the last byte belongs to other elements.
///
/// # Safety
///
/// Both addresses have so many bits, and share none.
unsafe fn copy_packed(from: *const u8, to: *mut u8, bits: usize) {
    let (bytes, rest) = (bits / 8, bits % 8);
    // SAFETY: promised by the caller; a last byte that is not full is there too.
    unsafe {
        to.copy_from_nonoverlapping(from, bytes);
        if rest != 0 {
            let (from, to, mask) = (from.add(bytes), to.add(bytes), (1_u8 << rest) - 1);
            to.write((to.read() & !mask) | (from.read() & mask));
        }
    }
}

/// One dimension of the nest: how often, and the steps in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Axis {
    extent: usize,
    from: isize,
    to: isize,
}

/// Copies the elements of `source` to where `destination` has those of the same indices.
///
/// # Safety
///
/// Both lie in host memory and have the same shape and dtype; where its elements do not fill bytes, both are packed
/// in row-major order. They share no memory, no two indices of the destination share an element, and nobody else
/// accesses either.
pub(in crate::device) unsafe fn copy(source: &Tensor, destination: &Tensor) {
    if source.size() == 0 {
        return;
    }
    let (from, to) = (source.data().cast::<u8>().cast_const(), destination.data().cast::<u8>());
    let Some(item) = dtype::item_bytes(source.dtype()) else {
        // SAFETY: both are packed, says the caller.
        return unsafe { copy_packed(from, to, source.size() * dtype::item_bits(source.dtype()) as usize) };
    };
    let mut axes = nest(source, destination, item as isize);
    let run = match axes.last() {
        Some(last) if last.from == item as isize && last.to == item as isize => {
            axes.pop().map_or(item, |last| last.extent * item)
        }
        _ => item,
    };
    // The innermost loop is written for each size: a copy of so many bytes is then one load and one store.
    // SAFETY: all offsets are those of elements, or of runs of them that lie packed in both.
    unsafe {
        match run {
            1 => walk(&axes, from, to, |from, to| to.write(from.read())),
            2 => walk(&axes, from, to, |from, to| to.cast::<[u8; 2]>().write(from.cast::<[u8; 2]>().read())),
            4 => walk(&axes, from, to, |from, to| to.cast::<[u8; 4]>().write(from.cast::<[u8; 4]>().read())),
            8 => walk(&axes, from, to, |from, to| to.cast::<[u8; 8]>().write(from.cast::<[u8; 8]>().read())),
            16 => {
                walk(&axes, from, to, |from, to| to.cast::<[u8; 16]>().write(from.cast::<[u8; 16]>().read()))
            }
            _ => walk(&axes, from, to, |from, to| to.copy_from_nonoverlapping(from, run)),
        }
    }
}

/// The loops, outermost first: those with the largest steps in the destination, which is thus written in order.
/// Neighbours that are one run in both layouts are one loop.
fn nest(source: &Tensor, destination: &Tensor, item: isize) -> Vec<Axis> {
    let steps = source.strides().iter().zip(destination.strides());
    let mut axes: Vec<Axis> = (source.shape().iter().zip(steps))
        .filter(|&(&extent, _)| extent > 1)
        .map(|(&extent, (&from, &to))| Axis {
            extent: extent as usize,
            from: from as isize * item,
            to: to as isize * item,
        })
        .collect();
    axes.sort_by_key(|axis| std::cmp::Reverse(axis.to.unsigned_abs()));
    let mut nest: Vec<Axis> = Vec::with_capacity(axes.len());
    for inner in axes {
        let run = inner.extent as isize;
        match nest.last_mut() {
            Some(outer) if outer.from == inner.from * run && outer.to == inner.to * run => {
                *outer = Axis { extent: outer.extent * inner.extent, ..inner };
            }
            _ => nest.push(inner),
        }
    }
    nest
}

/// Calls `each` with the addresses of every index of the nest.
///
/// # Safety
///
/// `each` may be called with them.
unsafe fn walk(axes: &[Axis], from: *const u8, to: *mut u8, each: impl Fn(*const u8, *mut u8) + Copy) {
    match axes {
        [] => each(from, to),
        [inner] => {
            for index in 0..inner.extent as isize {
                each(from.wrapping_offset(index * inner.from), to.wrapping_offset(index * inner.to));
            }
        }
        [outer, rest @ ..] => {
            for index in 0..outer.extent as isize {
                let (from, to) =
                    (from.wrapping_offset(index * outer.from), to.wrapping_offset(index * outer.to));
                // SAFETY: as for this call. It nests as deep as a tensor has dimensions.
                unsafe { walk(rest, from, to, each) };
            }
        }
    }
}
