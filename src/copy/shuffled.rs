//! Groups of a few bytes, as the pixels of a picture are, that lie one after the other in the destination: items in the
//! opposite order (BGR to RGB), some of them left out (RGBA to RGB), the groups in the opposite order (a flip), overlapping
//! ones. A register of them is shuffled at a time.

use super::level::per_level;
use super::plan::Axis;

/// Bytes of a register.
const REGISTER: usize = 16;

/// What a group is. In the destination it is packed, and so are the groups.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    /// Bytes of an item.
    item: usize,
    /// Items of a group.
    count: usize,
    /// Bytes from one item to the next in the source.
    step: isize,
    /// Bytes from one group to the next in the source.
    pitch: isize,
}

impl Group {
    /// `groups` of `items` of so many bytes; `None` where they are not packed in the destination, or where a register does not
    /// hold as many as are worth the shuffle, or all of them are less.
    pub fn new(item: usize, items: Axis<2>, groups: Axis<2>) -> Option<Group> {
        let group = Group { item, count: items.extent, step: items.steps[0], pitch: groups.steps[0] };
        let fits = |bytes: isize| (1..=REGISTER).contains(&bytes.unsigned_abs());
        let small = items.extent <= REGISTER && fits(group.step) && fits(group.pitch);
        let packed = items.steps[1] == item as isize && groups.steps[1] == (item * items.extent) as isize;
        let holds = || group.width() <= REGISTER && group.bytes() >= REGISTER / 2;
        (small && packed && holds() && group.fill(groups.extent)).then_some(group)
    }

    /// Whether so many groups are as long as a register on both sides.
    fn fill(&self, groups: usize) -> bool {
        groups != 0 && self.reach(groups) >= REGISTER && groups * self.run() >= REGISTER
    }

    /// Bytes from the lowest to the highest of so many groups, in the source.
    fn reach(&self, groups: usize) -> usize {
        (groups - 1) * self.pitch.unsigned_abs() + self.width()
    }

    /// Bytes of a group in the destination.
    fn run(&self) -> usize {
        self.item * self.count
    }

    /// Bytes of a group in the source, those between its items included.
    fn width(&self) -> usize {
        (self.count - 1) * self.step.unsigned_abs() + self.item
    }

    /// How many groups a register holds on either side.
    fn together(&self) -> usize {
        ((REGISTER - self.width()) / self.pitch.unsigned_abs() + 1).min(REGISTER / self.run())
    }

    /// Bytes of the destination that come from one register.
    fn bytes(&self) -> usize {
        self.together() * self.run()
    }

    /// Bytes from the lowest byte of a group to its first item, in the source.
    fn first(&self) -> usize {
        if self.step < 0 { self.width() - self.item } else { 0 }
    }

    /// Where the bytes of a group come from, from its lowest byte in the source on.
    fn places(&self) -> [u8; REGISTER] {
        let of = |byte: usize| {
            self.first().wrapping_add_signed((byte / self.item) as isize * self.step) + byte % self.item
        };
        std::array::from_fn(|byte| if byte < self.run() { of(byte) as u8 } else { NOTHING })
    }

    /// The bytes of the destination, as places in a register. That begins with the lowest byte of the groups, or with
    /// `ends`, it ends with the highest.
    #[cfg(target_arch = "x86_64")]
    fn order(&self, ends: bool) -> [u8; REGISTER] {
        let (pitch, last) = (self.pitch.unsigned_abs(), self.together() - 1);
        let start = if ends { REGISTER - self.width() - last * pitch } else { 0 };
        let places = self.places();
        std::array::from_fn(|byte| {
            let group = byte / self.run();
            let turn = if self.pitch < 0 { last.wrapping_sub(group) } else { group };
            if group > last { NOTHING } else { (start + turn * pitch) as u8 + places[byte % self.run()] }
        })
    }
}

/// The place of a byte that is none.
const NOTHING: u8 = 0x80;

per_level! {
    /// Copies `count` groups for every turn of `outer`, from where the first item of the first of them is.
    pub(super) unsafe fn groups[](from: *const u8, to: *mut u8, outer: Axis<2>, count: usize, group: Group)
        = plain, wide: registers;
}

/// # Safety
///
/// Both sides have the groups, and share no memory.
#[inline(always)]
unsafe fn plain(from: *const u8, to: *mut u8, outer: Axis<2>, count: usize, group: Group) {
    let places = group.places();
    for turn in 0..outer.extent as isize {
        let (from, to) =
            (from.wrapping_offset(turn * outer.steps[0]), to.wrapping_offset(turn * outer.steps[1]));
        // SAFETY: promised by the caller.
        unsafe { one_by_one(from, to, 0..count, group, &places) }
    }
}

/// # Safety
///
/// As for [`plain`], for one turn; the places are those of the group.
#[inline(always)]
unsafe fn one_by_one(
    from: *const u8,
    to: *mut u8,
    which: std::ops::Range<usize>,
    group: Group,
    places: &[u8; REGISTER],
) {
    let (lowest, run) = (from.wrapping_sub(group.first()), group.run());
    for index in which {
        let from = lowest.wrapping_offset(index as isize * group.pitch);
        for (byte, &place) in places[..run].iter().enumerate() {
            // SAFETY: promised by the caller.
            unsafe { to.add(index * run + byte).write(from.add(place.into()).read()) }
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
use plain as registers;

/// As many groups at a time as a register holds. What is too much is overwritten by the next; the last come from a register
/// that overlaps the one before, and no byte of it is too much.
///
/// # Safety
///
/// As for [`plain`]; the machine has AVX2.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn registers(from: *const u8, to: *mut u8, outer: Axis<2>, count: usize, group: Group) {
    use std::arch::x86_64::{_mm_loadu_si128, _mm_shuffle_epi8, _mm_storel_epi64, _mm_storeu_si128};
    let (width, run, together, bytes) = (group.width(), group.run(), group.together(), group.bytes());
    let (pitch, reach) = (group.pitch.unsigned_abs(), group.reach(count));
    if !group.fill(count) {
        // SAFETY: promised by the caller.
        return unsafe { plain(from, to, outer, count, group) };
    }
    // Registers that lie within the groups on both sides, and groups that neither these nor the last one hold.
    let whole = ((reach - REGISTER) / (together * pitch)).min((count * run - REGISTER) / bytes) + 1;
    let between = together * whole..count - together;
    // Where the source runs backwards the first register ends with the first group, and the last begins with the last.
    let backwards = group.pitch < 0;
    let (first, last, places) = (group.order(backwards), group.order(!backwards), group.places());
    // Bytes 8 to 15 of the last are those before the end, whose first may be among bytes 0 to 7.
    let ending: [u8; REGISTER] =
        std::array::from_fn(|byte| if byte < 8 { last[bytes - 8 + byte] } else { NOTHING });
    // SAFETY: promised by the caller. Register `index` holds the groups from `together * index` on, and 16 bytes from there
    // are within the source, or up to there where it runs backwards; 16 are within the destination. So are the 16 that end
    // the source, of `together` groups, and the last `bytes` of the destination, which are 8 to 16. Bytes of the source that
    // are no item's lie between two that are, within a page of both, and are dropped whatever they are.
    unsafe {
        let [first, last, ending] = [first, last, ending].map(|order| _mm_loadu_si128(order.as_ptr().cast()));
        for turn in 0..outer.extent as isize {
            let from = from.wrapping_offset(turn * outer.steps[0]);
            let to = to.wrapping_offset(turn * outer.steps[1]);
            let lowest = from.wrapping_sub(group.first());
            let (begin, end) = match backwards {
                false => (lowest, lowest.wrapping_add(reach - REGISTER)),
                true => (
                    lowest.wrapping_add(width).wrapping_sub(REGISTER),
                    lowest.wrapping_add(width).wrapping_sub(reach),
                ),
            };
            // Addresses that go on: the compiler multiplies otherwise, which takes as long as all the rest.
            let (mut begin, mut at) = (begin, to);
            for _ in 0..whole {
                let groups = _mm_loadu_si128(begin.cast());
                _mm_storeu_si128(at.cast(), _mm_shuffle_epi8(groups, first));
                begin = begin.wrapping_offset(together as isize * group.pitch);
                at = at.wrapping_add(bytes);
            }
            one_by_one(from, to, between.clone(), group, &places);
            let (groups, to) = (_mm_loadu_si128(end.cast()), to.add((count - together) * run));
            _mm_storel_epi64(to.cast(), _mm_shuffle_epi8(groups, last));
            _mm_storel_epi64(to.add(bytes - 8).cast(), _mm_shuffle_epi8(groups, ending));
        }
    }
}
