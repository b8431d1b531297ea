//! torch's version counters: autograd refuses to go back through values that were overwritten since it kept them.

use super::api::Object;
use super::gil::{Gil, Owned};
use super::kind::{self, Kind};
use super::torch::Torch;
use crate::error::{self, Result};

/// What counts a write; `None` where torch has no such function.
pub(super) fn counter(gil: &Gil, torch: Object) -> Option<Object> {
    let graph = gil.attribute(torch, c"autograd").and_then(|module| gil.attribute(module.object, c"graph"));
    let found = graph.and_then(|graph| gil.attribute(graph.object, c"increment_version"));
    gil.clear();
    found.map(Owned::into_raw).ok()
}

/// Tells torch that `out`, where that is its tensor, was written to: by what was done, or by what failed over values,
/// which leaves no result in it.
pub(super) fn wrote<T>(gil: &Gil, out: Object, done: Result<T>) -> Result<T> {
    let untouched = done.as_ref().is_err_and(|error| error.kind() != error::Kind::Lossy);
    if !untouched
        && let Kind::Torch(_) = kind::of(gil, out)
        && let Some(counter) = Torch::get(gil)?.increment_version
    {
        gil.call_with(counter, out).ok_or_else(|| gil.exception())?;
    }
    done
}
