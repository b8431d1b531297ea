//! What the driver gave to the library, which it need not be asked about: a question costs as much as a small copy.

use crate::dlpack::DLDevice;
use std::sync::{PoisonError, RwLock};

/// A block of the driver, from its first byte to one past the last.
struct Given {
    bytes: (usize, usize),
    device: DLDevice,
}

/// By their addresses, of which a process has one space, whatever the device.
static GIVEN: RwLock<Vec<Given>> = RwLock::new(Vec::new());

/// Where the first block is that does not end before `address`.
fn position(given: &[Given], address: usize) -> usize {
    given.partition_point(|block| block.bytes.1 <= address)
}

/// Notes a block that the driver gave. Where there is no memory for the note, the driver is asked about the block.
pub(super) fn note(start: usize, bytes: usize, device: DLDevice) {
    let mut given = GIVEN.write().unwrap_or_else(PoisonError::into_inner);
    if given.try_reserve(1).is_ok() {
        let at = position(&given, start);
        given.insert(at, Given { bytes: (start, start + bytes), device });
    }
}

/// Forgets a block that is about to be given back.
pub(super) fn forget(start: usize) {
    let mut given = GIVEN.write().unwrap_or_else(PoisonError::into_inner);
    let at = position(&given, start);
    if given.get(at).is_some_and(|block| block.bytes.0 == start) {
        given.remove(at);
    }
}

/// Whether all of these bytes are of one block that the driver gave there, and that is there still.
pub(super) fn holds(bytes: (usize, usize), device: DLDevice) -> bool {
    let given = GIVEN.read().unwrap_or_else(PoisonError::into_inner);
    let block = given.get(position(&given, bytes.0));
    block.is_some_and(|block| block.device == device && block.bytes.0 <= bytes.0 && bytes.1 <= block.bytes.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_known_until_it_is_given_back() {
        // Addresses that no other test has.
        let (first, second) = (DLDevice::cuda(40), DLDevice::cuda(41));
        note(3000, 100, first);
        note(1000, 100, first);
        note(2000, 100, second);
        note(1100, 50, first);
        for (start, end, device, known) in [
            (1000, 1100, first, true),
            (1050, 1051, first, true),
            (1099, 1101, first, false), // of two blocks
            (1100, 1150, first, true),
            (1150, 1151, first, false),
            (999, 1001, first, false),
            (2000, 2100, first, false),
            (2000, 2100, second, true),
            (3099, 3100, first, true),
            (3100, 3101, first, false),
        ] {
            assert_eq!(holds((start, end), device), known, "{start}..{end}");
        }
        forget(1050); // no block begins there
        forget(1000);
        assert!(!holds((1000, 1001), first) && holds((1100, 1101), first));
        [1100, 2000, 3000].into_iter().for_each(forget);
        assert!(!holds((2000, 2001), second) && !holds((3000, 3001), first));
    }
}
