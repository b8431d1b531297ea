//! Moving elements between two layouts on the host: one loop nest, whose innermost runs are copied whole where they can.

use crate::device::nest::{Axis, Nest, Side};
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

/// Copies the elements of `source` to where `destination` has those of the same indices.
///
/// # Safety
///
/// Both lie in host memory and have the same shape and dtype; where its elements do not fill bytes, both are packed
/// in row-major order. They share no memory, no two indices of the destination share an element, and nobody else
/// accesses either.
pub(super) unsafe fn copy(source: &Tensor, destination: &Tensor) {
    let Some(nest) = Nest::new(source, destination, Side::To) else { return };
    if dtype::item_bytes(source.dtype()).is_none() {
        let bits = source.size() * dtype::item_bits(source.dtype()) as usize;
        // SAFETY: both are packed, says the caller.
        return unsafe { copy_packed(nest.from as *const u8, nest.to as *mut u8, bits) };
    }
    // SAFETY: promised by the caller.
    unsafe { copy_nest(&nest) }
}

/// Copies the runs of a nest.
///
/// # Safety
///
/// Both sides of the nest lie in host memory and share none; nobody else accesses either.
pub(in crate::device) unsafe fn copy_nest(Nest { from, to, axes, run }: &Nest) {
    let (from, to, run) = (*from as *const u8, *to as *mut u8, *run);
    // The innermost loop is written for each size: a copy of so many bytes is then one load and one store.
    // SAFETY: all offsets are those of elements, or of runs of them that lie packed in both.
    unsafe {
        match run {
            1 => walk(axes, from, to, |from, to| to.write(from.read())),
            2 => walk(axes, from, to, |from, to| to.cast::<[u8; 2]>().write(from.cast::<[u8; 2]>().read())),
            4 => walk(axes, from, to, |from, to| to.cast::<[u8; 4]>().write(from.cast::<[u8; 4]>().read())),
            8 => walk(axes, from, to, |from, to| to.cast::<[u8; 8]>().write(from.cast::<[u8; 8]>().read())),
            16 => {
                walk(axes, from, to, |from, to| to.cast::<[u8; 16]>().write(from.cast::<[u8; 16]>().read()))
            }
            _ => walk(axes, from, to, |from, to| to.copy_from_nonoverlapping(from, run)),
        }
    }
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
