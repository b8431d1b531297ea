//! Page-locking memory where it is, and what is locked so far.

use super::context::Device;
use super::driver::{ALREADY_REGISTERED, OUT_OF_MEMORY};
use super::memory::pinned_by_the_pool;
use super::under_way;
use crate::error::{Driver as Failure, Error, Kind, Result};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::{Mutex, MutexGuard, PoisonError};

const PORTABLE: u32 = 1;

/// Pages that are locked: where they end, and the bytes that each pin of them asked for.
struct Locked {
    end: usize,
    pins: Vec<(usize, usize)>,
}

type Table = BTreeMap<usize, Locked>;

fn table() -> MutexGuard<'static, Table> {
    static TABLE: Mutex<Table> = Mutex::new(BTreeMap::new());
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks the pages of these bytes, or notes another pin of pages that are locked; the bytes, from the first to one past the
/// last.
///
/// # Safety
///
/// The memory is there until [`unpin`].
pub(in crate::device) unsafe fn pin(start: usize, bytes: usize) -> Result<(usize, usize)> {
    let device = Device::get(0)?;
    let page = page_size();
    let first = start - start % page;
    let end = start.checked_add(bytes).and_then(|end| end.checked_next_multiple_of(page));
    let Some(end) = end else {
        return Err(refused(bytes, &table(), "no memory is that large".to_owned(), Kind::InvalidArgument));
    };
    let mut table = table();
    let asked = (start, start + bytes);
    if let Some((_, locked)) = table.range_mut(..=first).next_back()
        && end <= locked.end
    {
        locked.pins.push(asked);
        return Ok(asked);
    }
    if let Some((begin, locked)) = table.range(..end).next_back().filter(|(_, locked)| first < locked.end) {
        let why = format!("a part of it, from {begin:#x} to {:#x}, is pinned already", locked.end);
        return Err(refused(bytes, &table, why, Kind::InvalidArgument));
    }
    let current = device.enter()?;
    let driver = current.device.driver;
    // SAFETY: pages that are there, says the caller.
    let code = unsafe { (driver.cuMemHostRegister)(first as *mut c_void, end - first, PORTABLE) };
    if let Err(error) = driver.check("cuMemHostRegister", code) {
        return Err(match code {
            ALREADY_REGISTERED => {
                let why = format!("it is pinned already, by somebody else; {error}");
                refused(bytes, &table, why, Kind::InvalidArgument)
            }
            OUT_OF_MEMORY => refused(bytes, &table, error.to_string(), Kind::OutOfMemory),
            _ => refused(bytes, &table, error.to_string(), Kind::Device),
        });
    }
    table.insert(first, Locked { end, pins: vec![asked] });
    Ok(asked)
}

/// What is known of bytes of the host, from the first to one past the last.
pub(super) enum Known {
    /// All of them are among those that one pin asked for.
    Pinned,
    /// Some share a page with what was pinned, which the driver takes for pinned as well; whoever has them does not.
    Beside,
    Nothing,
}

/// What the pins say of these bytes.
pub(super) fn known((first, end): (usize, usize)) -> Known {
    let table = table();
    let touched = table.range(..end).next_back().filter(|(_, locked)| first < locked.end);
    let Some((_, locked)) = touched else { return Known::Nothing };
    match locked.pins.iter().any(|pin| pin.0 <= first && end <= pin.1) {
        true => Known::Pinned,
        false => Known::Beside,
    }
}

/// Gives a pin back. The last one waits for the copies that use the pages, and unlocks them.
pub(in crate::device) fn unpin(asked: (usize, usize)) {
    // In a child of a fork they are the parent's, and the table may be locked for ever.
    let Ok(device) = Device::get(0) else { return };
    let pages = table().range(..=asked.0).next_back().map(|(&begin, locked)| (begin, locked.end));
    let Some((begin, end)) = pages else { return };
    under_way::wait_for_memory((begin, end));
    let mut table = table();
    let Some(locked) = table.get_mut(&begin) else { return };
    if let Some(at) = locked.pins.iter().position(|pin| *pin == asked) {
        locked.pins.swap_remove(at);
    }
    if locked.pins.is_empty()
        && let Some(current) = device.enter_to_free()
    {
        table.remove(&begin);
        // SAFETY: registered by `pin`. There is nobody to tell of a failure.
        unsafe { (current.device.driver.cuMemHostUnregister)(begin as *mut c_void) };
    }
}

fn refused(bytes: usize, table: &Table, why: String, kind: Kind) -> Error {
    let pinned = table.iter().map(|(begin, locked)| locked.end - begin).sum::<usize>() + pinned_by_the_pool();
    Error::Driver(Failure::CannotPin { bytes, pinned, limit: limit(), why, kind })
}

/// What the system lets a process lock.
fn limit() -> String {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: writes the limit, unless it fails.
    let known = unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, limit.as_mut_ptr()) } == 0;
    // SAFETY: written, as it did not fail.
    match known.then(|| unsafe { limit.assume_init() }.rlim_cur) {
        None => "unknown".to_owned(),
        Some(libc::RLIM_INFINITY) => "none".to_owned(),
        Some(bytes) => bytes.to_string(),
    }
}

fn page_size() -> usize {
    // SAFETY: a question.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}
