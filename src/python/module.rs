//! What the Python package takes from the library: builtins and the `Tensor` type, made at run time.

use super::api::{MethodDef, Object};
use super::builtin::{Arguments, KEYWORDS, answer};
use super::cast;
use super::compare;
use super::convert;
use super::copy;
use super::error;
use super::gil::{Gil, Owned};
use super::memory;
use super::object;
use super::stack;
use super::staging;
use super::transfer;
use crate::error::{Cast, Error, LossReport, Refusal, Result};
use crate::guard::foreign;
use std::ffi::{CStr, c_void};
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::{AtomicPtr, Ordering};

/// The exception classes of the package: by status code, then `NotAnArrayError`, `OutOfRangeError` and `WrongTypeError`;
/// last the function that makes a `LossReport`. A tuple.
static EXCEPTIONS: AtomicPtr<c_void> = AtomicPtr::new(null_mut());
const NOT_AN_ARRAY: isize = 14;
const OUT_OF_RANGE: isize = 15;
const WRONG_TYPE: isize = 16;
const LOSS_REPORT: isize = 17;

/// The class that stands for an error.
pub(super) fn exception_class(gil: &Gil, error: &Error) -> Object {
    let index = match error.of_one_array() {
        Error::Refused(Refusal::Signature { .. } | Refusal::WrongType { .. } | Refusal::NoConstructor) => {
            WRONG_TYPE
        }
        Error::NotAnArray { .. } | Error::Refused(Refusal::NotOurs { .. }) => NOT_AN_ARRAY,
        Error::IndexOutOfRange { .. } | Error::AxisOutOfRange { .. } => OUT_OF_RANGE,
        error => error.kind() as isize,
    };
    // SAFETY: the GIL is held; the tuple was kept by `module`, and the class in it is borrowed from there.
    unsafe { (gil.api.PyTuple_GetItem)(EXCEPTIONS.load(Ordering::Acquire), index) }
}

/// A report as the package's `LossReport`.
pub(super) fn loss_report<'gil>(gil: &'gil Gil, report: &LossReport) -> Result<Owned<'gil>> {
    let [numbers, text] = cast::spell(gil, report).map(|object| gil.own(object));
    let (Some(numbers), Some(text)) = (numbers, text) else { return Err(gil.exception()) };
    // SAFETY: the GIL is held; the tuple was kept by `module`, the arguments are alive, and NULL ends them.
    let made = gil.own(unsafe {
        let make = (gil.api.PyTuple_GetItem)(EXCEPTIONS.load(Ordering::Acquire), LOSS_REPORT);
        let call = gil.api.PyObject_CallFunctionObjArgs;
        foreign(|| call(make, numbers.object, text.object, null_mut::<c_void>()))
    });
    made.ok_or_else(|| gil.exception())
}

/// Gives the exception that is set what belongs to it besides its words.
pub(super) fn complete(gil: &Gil, error: &Error, exception: Object) {
    let Error::Cast(Cast::Lossy { report, .. }) = error.of_one_array() else { return };
    if let Ok(report) = loss_report(gil, report) {
        // SAFETY: the GIL is held, and both are alive.
        unsafe { (gil.api.PyObject_SetAttrString)(exception, c"report".as_ptr(), report.object) };
    }
    gil.clear();
}

macro_rules! functions {
    ($($name:literal, $doc:literal => $function:path;)*) => {
        &[$(MethodDef {
            name: { const NAME: &CStr = $name; NAME.as_ptr() },
            function: {
                unsafe extern "C" fn call(_: Object, values: *const Object, count: isize, names: Object) -> Object {
                    answer(|gil| $function(gil, &Arguments { values, count, names }))
                }
                call as *const c_void
            },
            flags: KEYWORDS,
            doc: { const DOC: &CStr = $doc; DOC.as_ptr() },
        },)*]
    };
}

static FUNCTIONS: &[MethodDef] = functions! {
    c"from_dlpack", c"from_dlpack(x, /, *, device=None, copy=None, dtype=None, casting='same_kind', report=False)\n--\n\n\
The buffer of any DLPack producer (NumPy, PyTorch, JAX, ...) or DLPack capsule, as a Tensor.\n\n\
The owner stays alive as long as the tensor or anything made from it. Never copies, unless copy=True asks for it, the same\n\
as dlbridge.copy(x); or `dtype` is another one, which is a cast into memory of its own, with `casting` and `report` as for\n\
cast(); or `device` ('cpu', 'cuda:0', a torch.device, a DLPack pair) is another one than the data is on: then the result is\n\
a copy under way there, which whoever reaches its elements waits for (see upload). With copy=False either is a\n\
CopyRequiredError. A producer on a CUDA device is asked to have the library's stream wait for its work; nothing waits on\n\
the host. Negative strides are kept, as below: hand such a tensor to torch with .torch(), which refuses it;\n\
torch.from_dlpack(t) itself aborts the process.\n\n\
The cost does not depend on the size: `make bench-handoff` measures it.\n\n\
>>> t = dlbridge.from_dlpack(numpy.zeros((480, 640, 3), 'uint8'))\n\
>>> t[..., ::-1].strides\n\
(1920, 3, -1)" => convert::from_dlpack;
    c"cast", c"cast(x, /, dtype=None, *, casting='same_kind', out=None, report=False)\n--\n\n\
The elements of any array as another dtype: a new row-major Tensor, or `out`, a writable array of that shape and dtype,\n\
which is then the dtype where none is given.\n\
`dtype` in any spelling of NumPy's and torch's: bool, int8 to int64, uint8 to uint64, float16 to float64, bfloat16,\n\
float8_e4m3fn, float8_e5m2, complex64, complex128.\n\n\
casting='same_kind' keeps to NumPy's kinds; it rounds, and refuses values out of range. 'same_value' takes any dtypes\n\
and refuses every value that would change. 'unsafe' gives NumPy's results. 'saturate' clamps, and makes NaN the\n\
integer 0. What is refused is a LossyError; its `report` is a LossReport. Then `out` is filled with NaN, with the\n\
smallest of the signed or the largest of the unsigned integers, or with True; after any other error it is as before, but for\n\
an InternalError, which is a bug of dlbridge's.\n\n\
report=True gives a pair, with the LossReport of what changed. The check costs no second pass: about nothing beyond the\n\
cache. `out` must not share memory with `x`; nobody may write to `x` or use `out` meanwhile.\n\n\
>>> print(dlbridge.cast(numpy.array([1.5, 16777217.0]), 'float32', report=True)[1].inexact)\n\
1" => cast::cast;
    c"to_numpy", c"to_numpy(x, /, *, copy=None, dtype=None, casting='same_kind', report=False)\n--\n\n\
A numpy.ndarray on the buffer of `x`; copy=True gives it memory of its own, row-major as x.copy() is. An ndarray comes\n\
back itself.\n\n\
A read-only source gives a read-only array. Refused, with the call that mends it: memory that the host cannot\n\
read, dtypes that NumPy and ml_dtypes have no type for, and torch tensors whose memory does not show what they mean.\n\
Another `dtype`, in the usual spellings of NumPy and torch ('float32', 'f4', numpy.float32, torch.float32, float), is a\n\
cast into memory of its own, with `casting` and `report` as for cast(), which keeps the order that the dimensions have in\n\
memory, as x.astype() does (order='K'). Costs less than t.numpy(), whatever the size; of a torch tensor the storage is\n\
kept, so it may be given other data meanwhile, but must not be resized.\n\n\
>>> dlbridge.to_numpy(torch.ones(2, 3)).sum()\n\
np.float32(6.0)" => convert::to_numpy;
    c"to_torch", c"to_torch(x, /, *, copy=None, readonly='error', dtype=None, device=None, casting='same_kind', report=False)\n--\n\n\
A torch.Tensor on the buffer of `x`; copy=True gives it memory of its own. A torch.Tensor of any kind comes back itself;\n\
with copy=True as x.clone(): in its own order (channels_last stays), and with autograd's graph where it requires grad. Of\n\
anything else the copy is row-major, as torch.tensor(x) is.\n\n\
torch cannot represent read-only memory: a read-only source is refused (readonly='error'), copied ('copy'), or\n\
shared knowingly ('alias': writing to the result is then undefined). torch has no negative strides either.\n\
Another `dtype` is a cast into memory of its own, with `casting` and `report` as for cast(), which keeps the order that\n\
the dimensions have in memory, as x.to(dtype) does, but is no operation of autograd's: what requires grad is refused, pass\n\
x.detach(). Where `device` is another one than the data is on, the result is a row-major copy there, as from upload() or\n\
download(), for which torch's current stream waits; with both, the cast goes straight into pinned memory. copy=False\n\
raises CopyRequiredError instead of either. Without a copy, a cast or\n\
a transfer the cost does not depend on the size; most of it is torch's own.\n\n\
>>> dlbridge.to_torch(numpy.ones((2, 3))).sum()\n\
tensor(6., dtype=torch.float64)" => convert::to_torch;
    c"empty", c"empty(shape, dtype, *, device='cpu', pinned=False)\n--\n\n\
A row-major Tensor on memory of its own: writable, its values anything. `shape` is an integer or a sequence of them,\n\
`dtype` any spelling of one.\n\n\
The memory lies at a multiple of 256 bytes, from 2 MiB on in huge pages. From 1 MiB on it comes from a pool and goes\n\
back there when the last tensor, array or export on it is gone, so that the next one of about its size costs no page\n\
faults: see memory_stats() and trim(). On another device, as 'cuda:0', and with pinned=True, which is memory of the host\n\
that CUDA devices copy from and to without help of the CPU, it comes from pools of their own; without a driver both raise\n\
UnavailableError, saying why.\n\
Costs about 300 ns from a warm pool, whatever the size; `make bench-memory` measures.\n\n\
>>> batch = dlbridge.empty((32, 480, 640, 3), 'uint8').numpy()\n\
>>> batch.nbytes, batch.ctypes.data % 256\n\
(29491200, 0)" => memory::empty;
    c"zeros", c"zeros(shape, dtype, *, device='cpu', pinned=False)\n--\n\n\
empty() with every byte 0.\n\n\
Pages that come fresh from the system (2 MiB and more that the pool has no block for) are 0 already and are not touched;\n\
all other memory, pinned memory too, is written once. Memory of a CUDA device is written there, and this waits for\n\
that: whatever reaches it afterwards, on any stream, finds zeros.\n\n\
>>> sums = dlbridge.zeros((480, 640), dtype='float32').numpy()\n\
>>> sums += frame" => memory::zeros;
    c"copy", c"copy(x, /, *, out=None, order='C')\n--\n\n\
A Tensor of its own with the elements of `x`, any producer; or `out`, any writable array of the same shape and dtype,\n\
with the elements of `x` in it.\n\n\
`order` is that of the new tensor, as in NumPy: 'C' row-major, 'F' column-major, 'A' and 'K' like `x`. Strides may be\n\
anything; of NumPy's arrays also those that are no multiple of an element, and the other byte order, which becomes\n\
this machine's. Where `x` and `out` share memory, the result is as if they did not. From 1 MiB on the memory comes from\n\
the pool of dlbridge.empty, and the threads of set_num_threads() share the work; from 256 KiB on the GIL is released.\n\n\
>>> image = dlbridge.copy(frame.transpose(2, 0, 1))        # HWC to CHW, packed\n\
>>> image.copied\n\
True" => copy::copy;
    c"_plan", c"_plan(x, dtype, casting, /)\n--\n\nKernel, bytes, passes, threads and bytes of a temporary of copy(x), or of the cast that dtype= asks for." => copy::plan;
    c"stack", c"stack(arrays, /, *, out=None, dtype=None, casting='same_kind', layout=None, scale=None, bias=None, as_=None)\n--\n\n\
Arrays of one shape, of any mix of frameworks, as one batch with a new first axis: a Tensor, or with as_='numpy',\n\
as_='torch' or any framework that to() takes theirs, on memory from the pool; or `out`, an array of the right shape, and any\n\
strides.\n\n\
In the same pass values are cast to `dtype`, which is needed where the arrays differ in it or from `out`, as `casting`\n\
allows (see cast); pictures are turned from height, width, channels with layout='CHW', or to them with layout='HWC' (two axes are\n\
one channel); and become x * scale + bias, one number or one for each channel (without a layout the last axis),\n\
multiplied, then added, in float64 where that is the dtype, else in float32.\n\n\
Everything is checked before anything is written. An array that is refused is named by its index; where a value is\n\
refused all of `out` is set to what nobody takes for a result: NaN, or the largest or smallest integer.\n\n\
>>> pictures = [numpy.asarray(PIL.Image.open(name)) for name in names]\n\
>>> dlbridge.stack(pictures, layout='CHW', dtype='float32', scale=1 / 255, as_='torch').shape\n\
torch.Size([64, 3, 224, 224])" => stack::stack;
    c"equal", c"equal(a, b, /, *, equal_nan=False, strict=False, report=False)\n--\n\n\
Whether two arrays, of any frameworks and dtypes, have one shape and the same values: numpy.array_equal, in one pass,\n\
without a temporary array, ended by the first difference.\n\n\
With equal_nan=True NaN equals NaN; with strict=True the dtypes must be the same too. Dtypes that differ are compared as\n\
NumPy promotes them: integers exactly, 64-bit integers beside floats as float64. report=True gives a Comparison: true\n\
where equal, with the first difference, the worst, and how many; that looks at everything.\n\n\
>>> dlbridge.equal(numpy.arange(3), torch.arange(3))\n\
True\n\
>>> print(dlbridge.equal(numpy.arange(3), torch.tensor([0, 1, 5]), report=True))\n\
1 of 3 elements differ, the first at [2]: 2 and 5; largest absolute error 3.0 at [2]; largest relative error 0.6 at [2]"
        => compare::equal;
    c"allclose", c"allclose(a, b, /, *, rtol=1e-05, atol=1e-08, equal_nan=False, report=False)\n--\n\n\
Whether |a - b| <= atol + rtol * |b| everywhere, for two arrays of any frameworks and dtypes whose shapes broadcast:\n\
numpy.allclose, the rounding of each step included, in one pass, without a temporary array, ended by the first failure.\n\n\
b is the reference. Infinities are close to themselves only, NaN to nothing, or with equal_nan=True to NaN. float16 is\n\
reckoned in float16 as NumPy does, bfloat16 and float8 in float64. report=True gives a Comparison, see equal().\n\n\
>>> dlbridge.allclose(numpy.float32([1, 2]), torch.tensor([1, 2.00001]))\n\
True" => compare::allclose;
    c"_device", c"_device(device, /)\n--\n\nDLPack's device type and id, of a device in any spelling." => transfer::device;
    c"_words", c"_words()\n--\n\nWhy the last failing call of the C API on this thread failed." => error::words;
    c"_span", c"_span(tensor, /)\n--\n\nThe address and the number of bytes to pin." => memory::span;
    c"_upload", c"_upload(x, device, stream, /)\n--\n\nA new tensor on a device into which `x` is copied on a stream." => transfer::upload;
    c"_download", c"_download(x, stream, /)\n--\n\nA new tensor in host memory into which `x` is copied, and the event." => transfer::download;
    c"_wait", c"_wait(event, /)\n--\n\nWaits for an event, for as long as it takes." => transfer::wait;
    c"_staging_create", c"_staging_create(device, slots, keep, first_come, /)\n--\n\nA ring's handle." => staging::create;
    c"_staging_end", c"_staging_end(ring, reason, /)\n--\n\nCloses a ring, or with a reason aborts it." => staging::end;
    c"_staging_check", c"_staging_check(ring, /)\n--\n\nRaises what a ring was aborted for, if it was." => staging::check;
    c"_staging_drop", c"_staging_drop(ring, /)\n--\n\nGives a ring's handle back." => staging::drop_ring;
    c"_staging_totals", c"_staging_totals(ring, /)\n--\n\nWhat a ring has done." => staging::totals;
    c"_staging_producer", c"_staging_producer(ring, /)\n--\n\nThe handle of a producer." => staging::producer;
    c"_staging_leave", c"_staging_leave(producer, /)\n--\n\nGives a producer's handle back." => staging::leave;
    c"_staging_widen", c"_staging_widen(ring, likes, /)\n--\n\nMore slots for small batches like these." => staging::widen;
    c"_staging_acquire", c"_staging_acquire(producer, tensors, /)\n--\n\nWaits for a slot for tensors like these." => staging::acquire;
    c"_staging_tensor", c"_staging_tensor(producer, index, /)\n--\n\nA tensor of the slot." => staging::tensor;
    c"_staging_submit", c"_staging_submit(producer, tensors, /)\n--\n\nFills the slot and submits it." => staging::submit;
    c"_staging_give_up", c"_staging_give_up(producer, /)\n--\n\nGives the slot back." => staging::give_up;
    c"_staging_next", c"_staging_next(ring, timeout, stream, /)\n--\n\nThe next batch." => staging::next;
};

/// A new module object with the functions and the `Tensor` type. `exceptions` is the tuple of exception classes.
///
/// # Safety
///
/// `exceptions` is a live tuple of 17 exception classes and a function.
pub unsafe fn module(exceptions: NonNull<c_void>) -> Result<NonNull<c_void>> {
    let gil = Gil::take()?;
    let api = gil.api;
    // SAFETY: the GIL is held.
    if unsafe { (api.PyInterpreterState_Get)() != (api.PyInterpreterState_Main)() } {
        let what = "dlbridge serves the main interpreter only; import it there, not in a sub-interpreter";
        return Err(Error::Unavailable { what: what.into() });
    }
    EXCEPTIONS.store(gil.share(exceptions.as_ptr()).into_raw(), Ordering::Release);
    // SAFETY: the GIL is held; a new reference or NULL comes back.
    let module = gil.own(unsafe { (api.PyModule_New)(c"dlbridge._native".as_ptr()) });
    let module = module.ok_or_else(|| gil.exception())?;
    let set = |name: *const std::ffi::c_char, value: Object| {
        let value = gil.own(value).ok_or_else(|| gil.exception())?;
        // SAFETY: the GIL is held; the module takes a reference of its own.
        if unsafe { (api.PyObject_SetAttrString)(module.object, name, value.object) } != 0 {
            return Err(gil.exception());
        }
        Ok(())
    };
    let ready = object::tensor_type();
    let tensor_type = if ready.is_null() { object::make_type(&gil)? } else { ready };
    // One reference for the module; the one that `make_type` gave is kept for ever.
    set(c"Tensor".as_ptr(), gil.share(tensor_type).into_raw())?;
    let package = gil.string("dlbridge");
    let package = gil.own(package).ok_or_else(|| gil.exception())?;
    for function in FUNCTIONS {
        // SAFETY: the GIL is held; the definition is static.
        set(function.name, unsafe { (api.PyCMethod_New)(function, null_mut(), package.object, null_mut()) })?;
    }
    NonNull::new(module.into_raw()).ok_or(Error::Null { what: "module" })
}
