//! The C ABI. Bodies convert, call, convert: what a function does is written in the layers below.
//!
//! Every `#[no_mangle]` of the crate lives here, one file per noun, and the header is generated from these files:
//! their comments are the reference a C programmer reads.
#![allow(non_camel_case_types, reason = "these are the names of the C API")]
#![allow(
    clippy::missing_safety_doc,
    reason = "each comment is the C contract: who owns what, what may be NULL"
)]

pub mod batch;
pub mod cast;
pub mod compare;
pub mod copy;
pub mod device;
pub mod dtype;
pub mod event;
pub mod memory;
pub mod pin;
pub mod pool;
pub mod python;
pub mod slot;
pub mod stack;
pub mod staging;
pub mod status;
pub mod stream;
pub mod tensor;
pub mod transfer;
pub mod view;
