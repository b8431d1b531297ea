//! Recordings that torch makes of a program: `torch.jit.trace`, and `make_fx`, which records in a dispatch mode.

use super::api::Object;
use super::gil::{Gil, Owned};
use crate::error::{Error, Refusal, Result};

/// What is asked whether one is under way.
pub(super) struct Traces {
    /// `torch._C._is_tracing`.
    is_tracing: Option<Object>,
    modes: Option<Modes>,
}

/// torch's dispatch modes.
struct Modes {
    count: Object,
    get: Object,
    recorder: Object,
}

impl Traces {
    /// From `torch._C`; what a torch does not have is not asked.
    pub fn load(gil: &Gil, core: Object) -> Traces {
        let is_tracing = gil.attribute(core, c"_is_tracing").map(Owned::into_raw).ok();
        gil.clear();
        let modes = Modes::load(gil, core).ok();
        gil.clear();
        Traces { is_tracing, modes }
    }

    /// Refuses while `torch.jit.trace` or `make_fx` records. With `pre_dispatch=True` and real tensors the latter goes
    /// unnoticed: its modes are then a Python list, and looking there costs more than the rest.
    pub fn check(&self, gil: &Gil) -> Result<()> {
        let answer = |function| gil.call(function).ok_or_else(|| gil.exception());
        let mut traced = false;
        if let Some(is_tracing) = self.is_tracing {
            traced = answer(is_tracing)?.object == gil.api._Py_TrueStruct;
        }
        if let Some(modes) = &self.modes
            && gil.truth(answer(modes.count)?.object)?
        {
            let recorder = gil.call_with(modes.get, modes.recorder);
            traced |= recorder.ok_or_else(|| gil.exception())?.object != gil.api._Py_NoneStruct;
        }
        if !traced {
            return Ok(());
        }
        let call = "the conversion outside the function that torch.jit.trace or make_fx records";
        Err(Error::Refused(Refusal::Torch {
            what: "is being traced, and the trace would keep its present values",
            call,
        }))
    }
}

impl Modes {
    fn load(gil: &Gil, core: Object) -> Result<Modes> {
        let keys = gil.attribute(core, c"_TorchDispatchModeKey")?;
        Ok(Modes {
            count: gil.attribute(core, c"_len_torch_dispatch_stack")?.into_raw(),
            get: gil.attribute(core, c"_get_dispatch_mode")?.into_raw(),
            recorder: gil.attribute(keys.object, c"PROXY")?.into_raw(),
        })
    }
}
