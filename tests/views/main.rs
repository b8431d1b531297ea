//! Views: against a model that knows no strides, and at the edges.

#[path = "../common/mod.rs"]
mod common;
mod edges;
mod follow;
mod model;
