//! What a DLPack library must satisfy. The name of each test begins with the number of its rule: `p` as a producer,
//! `a` as a consumer that accepts, `r` as a consumer that refuses.

mod accept;
#[path = "../common/mod.rs"]
mod common;
mod produce;
mod refuse;
