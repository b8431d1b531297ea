//! CUDA: the driver is found at run time, and its primary contexts are used, which PyTorch and CuPy use too.
//!
//! The entry points are declared by hand (`driver.rs`). Nothing of CUDA survives a fork: everything is `Unavailable` in
//! the child.

mod capture;
mod context;
mod copy;
mod driver;
mod event;
mod given;
mod host_copy;
mod idle;
mod lane;
mod mark;
mod memory;
mod pin;
mod pointer;
mod stream;
mod under_way;

pub(super) use context::why_not;
pub(super) use idle::keep_until_idle;
pub(super) use memory::{device_pool, pinned_pool, unavailable};
pub(super) use pin::{pin, unpin};
pub(super) use pointer::check_pointer;
pub(super) use stream::{PER_THREAD, Queued, check_capture, stands_apart};

/// How many devices there are.
pub(super) fn count() -> Option<i32> {
    driver::find().ok().map(|driver| driver.devices)
}
