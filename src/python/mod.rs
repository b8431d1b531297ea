//! The CPython door: arrays in, capsules out. The interpreter's C API is found in the running process, so this
//! library links to no Python and serves every one.

mod api;
mod buffer;
mod builtin;
mod capsule;
mod cast;
mod clone;
mod compare;
mod convert;
mod copy;
mod error;
mod exchange;
mod export;
mod gil;
mod import;
mod kind;
mod memory;
mod missing;
mod module;
mod numpy;
mod object;
mod out;
mod release;
mod stack;
mod staging;
mod storage;
mod text;
mod torch;
mod trace;
mod transfer;
mod unfinished;
mod version;
mod wanted;

pub use capsule::capsule;
pub use import::import;
pub use module::module;
