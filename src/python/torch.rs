//! PyTorch: the checks that its own hand-over does not make, and tensors made through its exchange table.

use super::api::Object;
use super::gil::{Gil, Owned};
use super::object;
use super::storage::Storages;
use super::trace::Traces;
use super::version;
use crate::dlpack::{DLDataType, DLDataTypeCode, DLDevice, DLPackExchangeAPI, DLTensor};
use crate::error::{Error, Refusal, Result};
use crate::guard::Foreign;
use crate::tensor::{Tensor, device, dtype};
use std::ffi::CStr;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// A torch tensor's memory: what it looks like, until Python code runs, and what keeps it alive.
///
/// That is the storage and not the tensor, which may be given another storage at any time (`x.data = y`, `x.set_()`,
/// `module.half()`). Nothing guards against `x.resize_()`, which moves the memory of the storage itself.
pub(super) struct Described<'gil> {
    pub view: DLTensor,
    pub storage: Owned<'gil>,
}

/// What is known of what torch is in the middle of, by who reads many tensors: whether nothing that changes them was found.
#[derive(Default)]
pub(super) struct Calm(bool);

/// The most dimensions a torch tensor has.
const MAX_NDIM: usize = 64;

/// What is looked up in torch once.
pub(super) struct Torch {
    tensor_type: Object,
    /// `torch.nn.Parameter`.
    parameter_type: Object,
    /// The exchange table, since 2.10.
    pub table: Option<&'static DLPackExchangeAPI>,
    pub from_dlpack: Object,
    traces: Traces,
    has_function_mode: Option<Object>,
    is_neg: Object,
    pub storages: Storages,
    /// `torch.uint8` and `torch.int8`.
    bytes: [Object; 2],
    requires_grad: Object,
    dtype: Object,
    /// `torch.autograd.graph.increment_version`.
    pub increment_version: Option<Object>,
}

static LOADED: AtomicPtr<Torch> = AtomicPtr::new(null_mut());

/// Where a type stands to `torch.Tensor`.
pub(super) enum Family {
    /// `torch.Tensor` or `torch.nn.Parameter`: what it shows is its memory.
    Plain,
    /// Another subclass: a fake, a distributed, a wrapped tensor may have other memory, or none.
    Subclass,
}

/// Whether a type is torch's; torch is not imported for this, and fails while somebody else is only half done importing it.
pub(super) fn family(gil: &Gil, python_type: Object) -> Result<Option<Family>> {
    // SAFETY: the GIL is held; both references are borrowed.
    let imported = unsafe {
        !(gil.api.PyDict_GetItemString)((gil.api.PyImport_GetModuleDict)(), c"torch".as_ptr()).is_null()
    };
    if !imported {
        return Ok(None);
    }
    let torch = Torch::get(gil)?;
    if python_type == torch.tensor_type {
        return Ok(Some(Family::Plain));
    }
    if !gil.is_subtype(python_type, torch.tensor_type) {
        return Ok(None);
    }
    Ok(Some(if python_type == torch.parameter_type { Family::Plain } else { Family::Subclass }))
}

impl Torch {
    /// torch's functions; imports it if nobody has.
    pub fn get(gil: &Gil) -> Result<&'static Torch> {
        // SAFETY: NULL or a leaked box.
        if let Some(torch) = unsafe { LOADED.load(Ordering::Acquire).as_ref() } {
            return Ok(torch);
        }
        let torch = Box::leak(Box::new(Self::load(gil)?));
        LOADED.store(torch, Ordering::Release);
        Ok(torch)
    }

    fn load(gil: &Gil) -> Result<Torch> {
        // SAFETY: the GIL is held; a new reference or NULL comes back.
        let module = gil.own(unsafe { (gil.api.PyImport_ImportModule)(c"torch".as_ptr()) });
        let module = module.ok_or_else(|| gil.import_error("torch"))?;
        let tensor_type = gil.attribute(module.object, c"Tensor")?;
        let core = gil.attribute(module.object, c"_C")?;
        let modules = gil.attribute(module.object, c"nn")?;
        let traces = Traces::load(gil, core.object);
        let mode = gil.attribute(core.object, c"_is_torch_function_mode_enabled");
        let has_function_mode = mode.map(Owned::into_raw).ok();
        gil.clear();
        Ok(Torch {
            table: super::exchange::table(gil, tensor_type.object),
            from_dlpack: gil.attribute(module.object, c"from_dlpack")?.into_raw(),
            traces,
            has_function_mode,
            is_neg: gil.attribute(tensor_type.object, c"is_neg")?.into_raw(),
            storages: Storages::load(gil, module.object, tensor_type.object)?,
            bytes: [
                gil.attribute(module.object, c"uint8")?.into_raw(),
                gil.attribute(module.object, c"int8")?.into_raw(),
            ],
            requires_grad: gil.interned(c"requires_grad")?,
            dtype: gil.interned(c"dtype")?,
            increment_version: version::counter(gil, module.object),
            parameter_type: gil.attribute(modules.object, c"Parameter")?.into_raw(),
            tensor_type: tensor_type.into_raw(),
        })
    }

    /// Refuses a tensor whose memory does not show what it means: one that autograd follows, and a lazily negated one.
    fn check_values(&self, gil: &Gil, tensor: Object) -> Result<()> {
        // SAFETY: the GIL is held; `tensor` is a live torch.Tensor; a new reference or NULL comes back.
        let grad = gil.own(unsafe { (gil.api.PyObject_GetAttr)(tensor, self.requires_grad) });
        if grad.ok_or_else(|| gil.exception())?.object == gil.api._Py_TrueStruct {
            let detach = Refusal::Torch { what: "requires grad", call: "x.detach()" };
            return Err(Error::Refused(self.transformed(gil, tensor).unwrap_or(detach)));
        }
        let neg = gil.call_with(self.is_neg, tensor);
        if neg.ok_or_else(|| gil.exception())?.object == gil.api._Py_TrueStruct {
            return Err(Error::Refused(Refusal::Torch {
                what: "has its negative bit set",
                call: "x.resolve_neg()",
            }));
        }
        Ok(())
    }

    /// Refuses besides any tensor while a trace is recorded, which would keep the values of today for ever.
    pub fn check(&self, gil: &Gil, tensor: Object) -> Result<()> {
        self.check_values(gil, tensor)?;
        self.traces.check(gil)
    }

    /// Why torch would not describe a tensor: the kinds that have no plain memory, else torch's own exception.
    pub fn diagnose(&self, gil: &Gil, tensor: Object) -> Error {
        let raised = gil.set_aside();
        let cause = self.known_cause(gil, tensor);
        gil.put_back(raised);
        match cause {
            Some(error) => {
                gil.clear();
                error
            }
            None => gil.exception(),
        }
    }

    /// The kinds of tensor that have no plain memory to show.
    pub fn known_cause(&self, gil: &Gil, tensor: Object) -> Option<Error> {
        let layout = gil.attribute_text(tensor, c"layout");
        for (name, what) in [("sparse", "is sparse"), ("mkldnn", "is in oneDNN's own layout (mkldnn)")] {
            if layout.contains(name) {
                return Some(Error::Refused(Refusal::Torch { what, call: "x.to_dense()" }));
            }
        }
        let (meta, empty) = ("is on the meta device and has no data", "torch.empty_like(x, device=\"cpu\")");
        let kinds: [(&CStr, bool, &str, &str); 4] = [
            (c"is_nested", false, "is nested", "x.to_padded_tensor(0)"),
            (c"is_quantized", false, "is quantized", "x.dequantize()"),
            (c"is_meta", false, meta, empty),
            (c"_is_zerotensor", true, "stands for zeros and has no memory", "x.clone()"),
        ];
        for (flag, method, what, call) in kinds {
            if gil.flag(tensor, flag, method) {
                return Some(Error::Refused(Refusal::Torch { what, call }));
            }
        }
        self.transformed(gil, tensor).map(Error::Refused)
    }

    /// Why a tensor that a transform wraps is refused, if it is one.
    fn transformed(&self, gil: &Gil, tensor: Object) -> Option<Refusal> {
        let call = "the conversion outside the function that torch.vmap or torch.func transforms";
        let what = "stands for others inside a transform and has no memory of its own";
        self.is_wrapped(gil, tensor).then_some(Refusal::Torch { what, call })
    }

    /// Why a tensor of a subclass is refused: one that takes operations over (`__torch_dispatch__`) stands for others, and
    /// goes on doing so as a plain `torch.Tensor`.
    pub fn subclass(&self, gil: &Gil, tensor: Object) -> Refusal {
        let (type_name, name) = (gil.type_name(tensor), c"__torch_dispatch__");
        let [own, plain] = [gil.type_of(tensor), self.tensor_type].map(|each| gil.attribute(each, name).ok());
        gil.clear();
        match own.zip(plain) {
            Some((own, plain)) if own.object != plain.object => Refusal::TorchStandIn { type_name },
            _ => Refusal::TorchSubclass { type_name },
        }
    }

    /// Whether functorch (`vmap`, `grad`) wraps the tensor.
    fn is_wrapped(&self, gil: &Gil, tensor: Object) -> bool {
        // SAFETY: the GIL is held; a new reference or NULL comes back.
        let module = gil.own(unsafe { (gil.api.PyImport_ImportModule)(c"torch._C._functorch".as_ptr()) });
        let answer = module.and_then(|module| {
            let ask = gil.attribute(module.object, c"is_functorch_wrapped_tensor").ok()?;
            gil.call_with(ask.object, tensor)
        });
        gil.clear();
        answer.is_some_and(|answer| answer.object == gil.api._Py_TrueStruct)
    }

    /// Checks a tensor and describes its memory; one of several that are read without Python code between them.
    ///
    /// # Safety
    ///
    /// The GIL is held and `tensor` is a live `torch.Tensor`.
    pub unsafe fn describe<'gil>(
        &self,
        gil: &'gil Gil,
        table: &DLPackExchangeAPI,
        tensor: Object,
        calm: &mut Calm,
    ) -> Result<Described<'gil>> {
        self.check_values(gil, tensor)?;
        // Neither a trace nor a mode begins on this thread while no Python code runs on it, as the caller says.
        if !calm.0 {
            self.traces.check(gil)?;
            calm.0 = !self.runs_python(gil)?;
        }
        // Under a torch function mode (`torch.set_default_device` is one) every question runs Python code, and then perhaps
        // another thread: they come first, but for the storage, and the two views around that one show whether it is the
        // storage under both.
        let mut before = None;
        if !calm.0 {
            // SAFETY: promised by the caller.
            self.check_numbers(gil, tensor, unsafe { self.view(gil, table, tensor) }?.dtype)?;
            // SAFETY: as above.
            let view = unsafe { self.view(gil, table, tensor) }?;
            before = Some((view.data, view.dtype));
        }
        let storage = self.storages.of(gil, tensor).ok_or_else(|| self.diagnose(gil, tensor))?;
        // SAFETY: promised by the caller.
        let mut view = unsafe { self.view(gil, table, tensor) }?;
        match before {
            Some(before) if before != (view.data, view.dtype) => {
                let call = "the conversion again, once nobody changes the tensor";
                return Err(Error::Refused(Refusal::TorchStorage {
                    what: "was given other data meanwhile",
                    call,
                }));
            }
            Some(_) => {}
            None => {
                if self.check_numbers(gil, tensor, view.dtype)? {
                    // A question may collect garbage: only a view taken after it is good.
                    // SAFETY: promised by the caller.
                    view = unsafe { self.view(gil, table, tensor) }?;
                }
            }
        }
        self.storages.check(gil, storage.object, &view)?;
        Ok(Described { view, storage })
    }

    /// Whether asking torch something runs Python code first.
    fn runs_python(&self, gil: &Gil) -> Result<bool> {
        let Some(has_mode) = self.has_function_mode else { return Ok(true) };
        let answer = gil.call(has_mode).ok_or_else(|| gil.exception())?;
        Ok(answer.object == gil.api._Py_TrueStruct)
    }

    /// Refuses what a view of bytes or of complex numbers does not show: smaller integers, which torch exports as if they
    /// had 8 bits, and lazily conjugated numbers. Whether there was something to ask.
    fn check_numbers(&self, gil: &Gil, tensor: Object, shown: DLDataType) -> Result<bool> {
        let byte = matches!(shown.code, DLDataTypeCode::INT | DLDataTypeCode::UINT) && shown.bits == 8;
        let (wrong, what, call) = if byte {
            // SAFETY: the GIL is held; `tensor` is a live torch.Tensor; a new reference or NULL comes back.
            let dtype = gil.own(unsafe { (gil.api.PyObject_GetAttr)(tensor, self.dtype) });
            let dtype = dtype.ok_or_else(|| gil.exception())?;
            let wrong = !self.bytes.contains(&dtype.object);
            (
                wrong,
                "holds integers of less than 8 bits, which torch exports as if they had 8",
                "x.view(torch.uint8)",
            )
        } else if shown.code == DLDataTypeCode::COMPLEX {
            (gil.flag(tensor, c"is_conj", true), "has its conjugate bit set", "x.resolve_conj()")
        } else {
            return Ok(false);
        };
        if wrong { Err(Error::Refused(Refusal::Torch { what, call })) } else { Ok(true) }
    }

    /// What torch says of a tensor: valid until Python code runs.
    ///
    /// # Safety
    ///
    /// The GIL is held and `tensor` is a live `torch.Tensor`.
    pub(super) unsafe fn view(
        &self,
        gil: &Gil,
        table: &DLPackExchangeAPI,
        tensor: Object,
    ) -> Result<DLTensor> {
        let mut view = std::mem::MaybeUninit::<DLTensor>::uninit();
        let status = match table.dltensor_from_py_object_no_sync {
            // SAFETY: as promised by the caller.
            Some(describe) => unsafe { describe.call((tensor, view.as_mut_ptr())) },
            None => -1,
        };
        if status != 0 {
            return Err(self.diagnose(gil, tensor));
        }
        // SAFETY: the producer reported success, so it filled the description in.
        Ok(unsafe { view.assume_init() })
    }

    /// A new `torch.Tensor` on the tensor's memory, through the table, or `torch.from_dlpack` where there is none.
    ///
    /// What torch would refuse is refused before: it may leak or delete twice what it fails to adopt, and some
    /// versions abort the process on a negative stride.
    pub fn make(&self, gil: &Gil, tensor: Tensor) -> Result<Object> {
        check_dtype(tensor.dtype())?;
        check_layout(&tensor)?;
        let adopt = self.table.and_then(|table| table.managed_tensor_to_py_object_no_sync);
        let Some(adopt) = adopt.filter(|_| device::is_host(tensor.device())) else {
            return self.make_through_python(gil, tensor);
        };
        gil.settle_tensor(&tensor)?;
        let managed = tensor.into_export()?.as_ptr();
        let mut made: Object = null_mut();
        // SAFETY: the export is ours, header included, until it is given away, also on failure. torch knows no pinned
        // or managed memory as such, but all of it is memory that the host reads.
        let status = unsafe {
            (*managed).dl_tensor.device = DLDevice::CPU;
            adopt.call((managed, &raw mut made))
        };
        if status != 0 || made.is_null() { Err(gil.exception_of("torch")) } else { Ok(made) }
    }

    fn make_through_python(&self, gil: &Gil, tensor: Tensor) -> Result<Object> {
        let object = gil.own(object::wrap(gil, tensor)?).ok_or_else(|| gil.exception())?;
        let made = gil.call_with(self.from_dlpack, object.object);
        made.map(Owned::into_raw).ok_or_else(|| gil.exception_of("torch"))
    }
}

/// Refuses dtypes that torch has no type for.
fn check_dtype(dtype: DLDataType) -> Result<()> {
    let known = match (dtype.code, dtype.lanes) {
        (DLDataTypeCode::INT | DLDataTypeCode::UINT, 1) => matches!(dtype.bits, 8 | 16 | 32 | 64),
        (DLDataTypeCode::FLOAT, 1) => matches!(dtype.bits, 16 | 32 | 64),
        (DLDataTypeCode::COMPLEX, 1) => matches!(dtype.bits, 32 | 64 | 128),
        (
            DLDataTypeCode::BOOL
            | DLDataTypeCode::BFLOAT
            | DLDataTypeCode::FLOAT8_E4M3FN
            | DLDataTypeCode::FLOAT8_E4M3FNUZ
            | DLDataTypeCode::FLOAT8_E5M2
            | DLDataTypeCode::FLOAT8_E5M2FNUZ
            | DLDataTypeCode::FLOAT8_E8M0FNU,
            1,
        ) => true,
        (DLDataTypeCode::FLOAT4_E2M1FN, 2) => true,
        _ => false,
    };
    if known {
        return Ok(());
    }
    Err(Error::Refused(Refusal::NoTorchDtype { dtype: dtype::Name(dtype).to_string() }))
}

/// Refuses layouts that torch cannot represent.
fn check_layout(tensor: &Tensor) -> Result<()> {
    let steps = tensor.shape().iter().zip(tensor.strides()).enumerate();
    for (axis, (&extent, &stride)) in steps {
        if stride < 0 && extent > 1 && tensor.size() > 0 {
            return Err(Error::Refused(Refusal::NegativeStride { axis, stride }));
        }
    }
    let ndim = tensor.ndim();
    if ndim > MAX_NDIM {
        return Err(Error::Refused(Refusal::TooManyAxes { ndim, framework: "torch" }));
    }
    Ok(())
}
