//! Elements that do not fill bytes: one run of bits.

/// Copies so many bits from the low end of each byte on. The rest of the last byte belongs to other elements.
///
/// # Safety
///
/// Both addresses have so many bits, and share none.
pub(super) unsafe fn copy(from: *const u8, to: *mut u8, bits: usize) {
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
