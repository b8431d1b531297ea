//! What kind of object a Python type makes: worked out once per type, then a look at a table.

use super::api::Object;
use super::exchange;
use super::gil::Gil;
use super::numpy::Numpy;
use super::object;
use super::torch;
use crate::dlpack::DLPackExchangeAPI;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// How the buffer of an object is got at.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// Our own `Tensor`.
    Tensor,
    /// `numpy.ndarray` or a subclass that shows its memory as it is.
    Numpy(&'static Numpy),
    /// `numpy.ma.MaskedArray`, whose mask would be lost.
    Masked,
    /// `torch.Tensor` or `Parameter`; the table where torch is new enough to have one.
    Torch(Option<&'static DLPackExchangeAPI>),
    /// Any other subclass of `torch.Tensor`, which may show something else than its memory.
    TorchSubclass,
    /// A type that offers the exchange table.
    Exchange(&'static DLPackExchangeAPI),
    /// A capsule.
    Capsule,
    /// Anything else: asked through `__dlpack__`, `__array_interface__` or the buffer protocol.
    Other,
}

struct Entry {
    /// A reference that is never given up, so that the address cannot come to mean another type.
    python_type: Object,
    kind: Kind,
}

const SLOTS: usize = 64;
/// Types seen, by address; a type that finds its place taken is worked out each time.
static SEEN: [AtomicPtr<Entry>; SLOTS] = [const { AtomicPtr::new(null_mut()) }; SLOTS];

/// The kind of an object.
pub(super) fn of(gil: &Gil, object: Object) -> Kind {
    let python_type = gil.type_of(object);
    let place = &SEEN[(python_type as usize >> 5) % SLOTS];
    // SAFETY: NULL or a leaked box.
    match unsafe { place.load(Ordering::Acquire).as_ref() } {
        Some(entry) if entry.python_type == python_type => entry.kind,
        taken => {
            // The questions run Python code, which may give the object another type and so let this one go.
            let kept = gil.share(python_type);
            let kind = work_out(gil, python_type);
            // Other types are many, and may be a program's own that come and go.
            if taken.is_none() && !matches!(kind, Kind::Other) && !gil.is_interrupted() {
                let entry = Entry { python_type: kept.into_raw(), kind };
                place.store(Box::into_raw(Box::new(entry)), Ordering::Release);
            }
            kind
        }
    }
}

fn work_out(gil: &Gil, python_type: Object) -> Kind {
    if python_type == object::tensor_type() {
        return Kind::Tensor;
    }
    if python_type == gil.api.PyCapsule_Type {
        return Kind::Capsule;
    }
    if let Some(numpy) = Numpy::if_imported(gil)
        && gil.is_subtype(python_type, numpy.array_type)
    {
        let masked = gil.attribute(python_type, c"harden_mask").is_ok();
        gil.clear();
        return if masked { Kind::Masked } else { Kind::Numpy(numpy) };
    }
    let Ok(family) = torch::family(gil, python_type) else {
        // Not known yet, so nothing is remembered: a table taken now would go round the checks for ever.
        gil.clear();
        return Kind::Other;
    };
    if let Some(family) = family {
        return match family {
            torch::Family::Plain => Kind::Torch(exchange::table(gil, python_type)),
            torch::Family::Subclass => Kind::TorchSubclass,
        };
    }
    exchange::table(gil, python_type).map_or(Kind::Other, Kind::Exchange)
}
