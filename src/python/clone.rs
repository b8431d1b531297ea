//! Copies of torch's tensors: what `clone()` makes, and torch's own `clone()` for what has more to it than its memory.

use super::api::Object;
use super::copy::copied_tensor;
use super::gil::{Gil, Owned};
use super::import::tensor_from;
use super::kind::{self, Kind};
use super::storage::values;
use super::torch::Torch;
use crate::copy::{Options, Order};
use crate::dlpack::DLPackExchangeAPI;
use crate::error::{Error, Refusal, Result};
use crate::tensor::device;

/// A copy of a torch tensor, in its own order.
pub(super) fn torch_copy<'gil>(gil: &'gil Gil, torch: &Torch, source: Object) -> Result<Owned<'gil>> {
    match tensor_from(gil, source) {
        Ok(tensor) if device::is_host(tensor.device()) => {
            let copied = torch.make(gil, copied_tensor(gil, &tensor, Order::Torch, Options::default())?)?;
            return gil.own(copied).ok_or_else(|| gil.exception());
        }
        Ok(_) => {}
        Err(error) if is_torchs(gil, source, &error) => {
            gil.clear();
            // torch reads what lies behind a storage without a word.
            if let Kind::Torch(Some(table)) = kind::of(gil, source) {
                check_memory(gil, torch, table, source)?;
            }
        }
        Err(error) => return Err(error),
    }
    gil.call_method(source, c"clone")
}

/// Whether a tensor that is refused for this can be copied by torch: gradients, traces, layouts, dtypes and devices of its
/// own are its business; memory that is not there is not.
fn is_torchs(gil: &Gil, source: Object, error: &Error) -> bool {
    match error {
        Error::Refused(
            Refusal::Torch { .. } | Refusal::TorchSubclass { .. } | Refusal::TorchStandIn { .. },
        )
        | Error::Python { .. } => true,
        Error::Refused(Refusal::TorchStorage { .. } | Refusal::PastStorage { .. }) => false,
        _ => !gil.flag(source, c"is_cpu", false),
    }
}

/// Refuses a torch tensor that reaches past its storage. One that torch does not describe, or that has a reason to have no
/// memory, has none to reach past.
fn check_memory(gil: &Gil, torch: &Torch, table: &DLPackExchangeAPI, tensor: Object) -> Result<()> {
    let storage = torch.storages.of(gil, tensor);
    gil.clear();
    let Some(storage) = storage else { return Ok(()) };
    // SAFETY: the GIL is held; the table is that of the type of `tensor`, which is torch's.
    let view = unsafe { torch.view(gil, table, tensor) };
    gil.clear();
    let Ok(view) = view else { return Ok(()) };
    if !device::is_host(view.device) {
        return Ok(());
    }
    if view.data.is_null() {
        // SAFETY: torch gave `ndim` sizes with the view; no Python code has run since.
        let shape = unsafe { values(view.shape, view.ndim as usize) }.to_vec();
        let stands_in = shape.contains(&0) || torch.known_cause(gil, tensor).is_some();
        return if stands_in { Ok(()) } else { Err(Error::NullData { shape }) };
    }
    torch.storages.check(gil, storage.object, &view)
}
