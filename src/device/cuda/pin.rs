//! Page-locking memory where it is, and what is locked so far.

use super::capture::Relaxed;
use super::context::Device;
use super::driver::{ALREADY_REGISTERED, OUT_OF_MEMORY};
use super::memory::pinned_by_the_pool;
use super::under_way;
use crate::error::{Driver as Failure, Error, Kind, Result};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

const PORTABLE: u32 = 1;

/// Pages that are locked, or being locked or unlocked.
struct Pages {
    end: usize,
    /// The bytes that each pin asked for. Without any, nobody is to begin to use the pages as locked ones.
    pins: Vec<(usize, usize)>,
    /// Whether a thread is having them locked or unlocked, which the table is not held for.
    changing: bool,
}

type Table = BTreeMap<usize, Pages>;

static TABLE: Mutex<Table> = Mutex::new(BTreeMap::new());
/// Some pages are locked or unlocked by now.
static CHANGED: Condvar = Condvar::new();

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The last pages of the table that have a part of a range.
fn touched(table: &mut Table, (first, end): (usize, usize)) -> Option<(usize, &mut Pages)> {
    let (&begin, pages) = table.range_mut(..end).next_back()?;
    (first < pages.end).then_some((begin, pages))
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
        return Err(refused(bytes, "no memory is that large".to_owned(), Kind::InvalidArgument));
    };
    let asked = (start, start + bytes);
    let mut table = table();
    while let Some((begin, pages)) = touched(&mut table, (first, end)) {
        if pages.changing {
            table = CHANGED.wait(table).unwrap_or_else(PoisonError::into_inner);
        } else if begin <= first && end <= pages.end {
            pages.pins.push(asked);
            return Ok(asked);
        } else {
            let why = format!("a part of it, from {begin:#x} to {:#x}, is pinned already", pages.end);
            drop(table);
            return Err(refused(bytes, why, Kind::InvalidArgument));
        }
    }
    table.insert(first, Pages { end, pins: Vec::new(), changing: true });
    drop(table);
    // SAFETY: promised by the caller.
    let locked = unsafe { lock(device, first, end, bytes) };
    changed(first, locked.is_ok().then(|| vec![asked]));
    locked.map(|()| asked)
}

/// Has the driver lock pages.
///
/// # Safety
///
/// They are there until they are unlocked.
unsafe fn lock(device: &Device, first: usize, end: usize, bytes: usize) -> Result<()> {
    let current = device.enter()?;
    let driver = current.device.driver;
    let _relaxed = Relaxed::with(driver);
    // SAFETY: promised by the caller.
    let code = unsafe { (driver.cuMemHostRegister)(first as *mut c_void, end - first, PORTABLE) };
    driver.check("cuMemHostRegister", code).map_err(|error| match code {
        ALREADY_REGISTERED => {
            let why = format!("it is pinned already, by somebody else; {error}");
            refused(bytes, why, Kind::InvalidArgument)
        }
        OUT_OF_MEMORY => refused(bytes, error.to_string(), Kind::OutOfMemory),
        _ => refused(bytes, error.to_string(), Kind::Device),
    })
}

/// The driver is done with pages: they are locked, with these pins, or not any more.
fn changed(begin: usize, locked: Option<Vec<(usize, usize)>>) {
    let mut table = table();
    match (locked, table.get_mut(&begin)) {
        (Some(pins), Some(pages)) => (pages.pins, pages.changing) = (pins, false),
        _ => _ = table.remove(&begin),
    }
    CHANGED.notify_all();
}

/// What is known of bytes of the host, from the first to one past the last.
pub(super) enum Known {
    /// All of them are among those that one pin asked for.
    Pinned,
    /// Some share a page with what was pinned, or is being unlocked, which the driver takes for pinned as well; whoever has
    /// them does not.
    Beside,
    Nothing,
}

/// What the pins say of these bytes. A copy is to ask when others can see that it is under way: then it does not find what
/// [`unpin`] is about to unlock, or that finds the copy.
pub(super) fn known(bytes: (usize, usize)) -> Known {
    let mut table = table();
    let Some((_, pages)) = touched(&mut table, bytes) else { return Known::Nothing };
    match pages.pins.iter().any(|pin| pin.0 <= bytes.0 && bytes.1 <= pin.1) {
        true => Known::Pinned,
        false => Known::Beside,
    }
}

/// Gives a pin back, when the copies that use its pages are done. The last one unlocks them, and whoever gave one back with
/// it waits for that.
pub(in crate::device) fn unpin(asked: (usize, usize)) {
    // In a child of a fork they are the parent's, and the table may be locked for ever.
    let Ok(device) = Device::get(0) else { return };
    let Some((begin, mut end)) = give_back(asked) else { return };
    loop {
        under_way::wait_for_memory((begin, end));
        // Another thread may be at it: until it is through the memory must not be freed.
        let is_changing = |table: &mut Table| {
            table.get(&begin).is_some_and(|pages| pages.pins.is_empty() && pages.changing)
        };
        let table = CHANGED.wait_while(table(), is_changing);
        let mut table = table.unwrap_or_else(PoisonError::into_inner);
        let Some(pages) = table.get_mut(&begin).filter(|pages| pages.pins.is_empty()) else {
            return; // they are unlocked, or there are other pins
        };
        end = pages.end;
        // Somebody may have pinned them again meanwhile, begun to copy, and given that pin back as well.
        if !under_way::is_used((begin, end)) {
            pages.changing = true;
            break;
        }
    }
    let current = device.enter_to_free();
    if let Some(current) = &current {
        let _relaxed = Relaxed::with(current.device.driver);
        // SAFETY: registered by `pin`, and no copy uses it. There is nobody to tell of a failure.
        unsafe { (current.device.driver.cuMemHostUnregister)(begin as *mut c_void) };
    }
    changed(begin, if current.is_some() { None } else { Some(Vec::new()) });
}

/// Takes a pin out of the table; the pages that it is of.
fn give_back(asked: (usize, usize)) -> Option<(usize, usize)> {
    let mut table = table();
    let (begin, pages) = touched(&mut table, asked)?;
    let at = pages.pins.iter().position(|pin| *pin == asked)?;
    pages.pins.swap_remove(at);
    Some((begin, pages.end))
}

fn refused(bytes: usize, why: String, kind: Kind) -> Error {
    let of_pages = |(begin, pages): (&usize, &Pages)| pages.end - begin;
    let pinned = table().iter().filter(|(_, pages)| !pages.pins.is_empty()).map(of_pages).sum::<usize>();
    let pinned = pinned + pinned_by_the_pool();
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
