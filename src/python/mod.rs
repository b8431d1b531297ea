//! The CPython door: arrays in, capsules out. The interpreter's C API is found in the running process, so this
//! library links to no Python and serves every one.

mod api;
mod capsule;
mod error;
mod import;

pub use capsule::capsule;
pub use import::import;
