//! What code of somebody else does with the driver, beside the library: its streams, its work, contexts it has current.

use crate::standin::function;
use dlbridge::dlpack::{DLDevice, DLTensor};
use dlbridge::tensor::dtype;
use dlbridge::{DlpackFlags, Tensor};
use std::ffi::c_void;
use std::mem::transmute;
use std::ptr::null_mut;
use std::sync::{Arc, Condvar, Mutex};

/// Runs `body` with the context of a device current.
pub fn with_context<T>(device: i32, body: impl FnOnce() -> T) -> T {
    // The library has them for good, from its first call on.
    dlbridge::device::device_allocator(DLDevice::cuda(device)).unwrap();
    // SAFETY: the functions have these arguments.
    let (retain, push, pop, release) = unsafe {
        (
            transmute::<*mut c_void, extern "C" fn(*mut *mut c_void, i32) -> i32>(function(
                "cuDevicePrimaryCtxRetain",
            )),
            transmute::<*mut c_void, extern "C" fn(*mut c_void) -> i32>(function("cuCtxPushCurrent_v2")),
            transmute::<*mut c_void, extern "C" fn(*mut *mut c_void) -> i32>(function("cuCtxPopCurrent_v2")),
            transmute::<*mut c_void, extern "C" fn(i32) -> i32>(function("cuDevicePrimaryCtxRelease_v2")),
        )
    };
    let mut context = null_mut();
    assert_eq!((retain(&mut context, device), push(context)), (0, 0));
    let result = body();
    assert_eq!((pop(&mut context), release(device)), (0, 0));
    result
}

/// A stream that somebody else made, and destroys when this goes.
pub struct ForeignStream {
    device: i32,
    handle: *mut c_void,
}

impl ForeignStream {
    /// One that does not wait for the default stream; `None` where the driver refuses.
    pub fn new(device: i32) -> Option<Self> {
        Self::with_flags(device, 1)
    }

    /// One that waits for the default stream, and that for it.
    pub fn blocking(device: i32) -> Option<Self> {
        Self::with_flags(device, 0)
    }

    fn with_flags(device: i32, flags: u32) -> Option<Self> {
        let mut handle = null_mut();
        let code = with_context(device, || {
            // SAFETY: the function has these arguments, and a context is current.
            unsafe {
                transmute::<*mut c_void, extern "C" fn(*mut *mut c_void, u32) -> i32>(function(
                    "cuStreamCreate",
                ))(&mut handle, flags)
            }
        });
        (code == 0).then(|| ForeignStream { device, handle })
    }

    pub fn handle(&self) -> *mut c_void {
        self.handle
    }
}

impl Drop for ForeignStream {
    fn drop(&mut self) {
        let code = with_context(self.device, || {
            // SAFETY: the function has this argument, and the stream is used no more.
            unsafe {
                transmute::<*mut c_void, extern "C" fn(*mut c_void) -> i32>(function("cuStreamDestroy_v2"))(
                    self.handle,
                )
            }
        });
        assert_eq!(code, 0);
    }
}

/// A context beside the primary one, with a stream in it.
pub struct OtherContext {
    context: *mut c_void,
    pub stream: *mut c_void,
}

impl OtherContext {
    pub fn of(device: i32) -> Self {
        let (mut context, mut stream) = (null_mut(), null_mut());
        // SAFETY: the functions have these arguments.
        let codes = unsafe {
            let create: extern "C" fn(*mut *mut c_void, u32, i32) -> i32 =
                transmute::<*mut c_void, _>(function("cuCtxCreate_v2"));
            let push: extern "C" fn(*mut c_void) -> i32 =
                transmute::<*mut c_void, _>(function("cuCtxPushCurrent_v2"));
            let make: extern "C" fn(*mut *mut c_void, u32) -> i32 =
                transmute::<*mut c_void, _>(function("cuStreamCreate"));
            let pop: extern "C" fn(*mut *mut c_void) -> i32 =
                transmute::<*mut c_void, _>(function("cuCtxPopCurrent_v2"));
            [create(&mut context, 0, device), push(context), make(&mut stream, 1), pop(&mut null_mut())]
        };
        assert_eq!(codes, [0; 4]);
        OtherContext { context, stream }
    }
}

impl Drop for OtherContext {
    fn drop(&mut self) {
        let codes = with_context(0, || {
            // SAFETY: the functions have this argument, and neither is used any more.
            unsafe {
                let call = |name| transmute::<*mut c_void, extern "C" fn(*mut c_void) -> i32>(function(name));
                [call("cuStreamDestroy_v2")(self.stream), call("cuCtxDestroy_v2")(self.context)]
            }
        });
        assert_eq!(codes, [0; 2]);
    }
}

/// How the driver takes what else is done while a graph is captured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Mode {
    Global,
    ThreadLocal,
    Relaxed,
}

/// A graph that is captured of what is queued on a stream, until it is ended by the thread that began.
pub struct Capture {
    device: i32,
    stream: *mut c_void,
}

impl Capture {
    pub fn of(device: i32, stream: *mut c_void, mode: Mode) -> Self {
        let code = with_context(device, || {
            // SAFETY: the function has these arguments.
            unsafe {
                transmute::<*mut c_void, extern "C" fn(*mut c_void, u32) -> i32>(function(
                    "cuStreamBeginCapture_v2",
                ))(stream, mode as u32)
            }
        });
        assert_eq!(code, 0);
        Capture { device, stream }
    }

    /// How many parts the graph has; the driver's code where it was spoilt.
    pub fn end(self) -> Result<usize, i32> {
        let mut parts = null_mut();
        let code = with_context(self.device, || {
            // SAFETY: the function has these arguments.
            unsafe {
                transmute::<*mut c_void, extern "C" fn(*mut c_void, *mut *mut c_void) -> i32>(function(
                    "cuStreamEndCapture",
                ))(self.stream, &mut parts)
            }
        });
        if code == 0 { Ok(parts as usize) } else { Err(code) }
    }
}

/// Work on a stream that takes until somebody says that it is over.
#[derive(Default)]
pub struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    /// Holds up a stream of a device from here on.
    pub fn on(device: i32, stream: *mut c_void) -> Arc<Gate> {
        extern "C" fn pass(gate: *mut c_void) {
            // SAFETY: the reference that was given up below, which the stream comes to once.
            let gate = unsafe { Arc::from_raw(gate.cast::<Gate>()) };
            let open = gate.open.lock().unwrap();
            drop(gate.opened.wait_while(open, |open| !*open).unwrap());
        }
        let gate = Arc::<Gate>::default();
        let code = with_context(device, || {
            // SAFETY: the function has these arguments, and the stream has a reference to the gate.
            unsafe {
                transmute::<
                    *mut c_void,
                    extern "C" fn(*mut c_void, extern "C" fn(*mut c_void), *mut c_void) -> i32,
                >(function("cuLaunchHostFunc"))(
                    stream, pass, Arc::into_raw(gate.clone()).cast_mut().cast()
                )
            }
        });
        assert_eq!(code, 0);
        gate
    }

    pub fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }
}

/// Memory of a device that the library did not give, and has to ask about.
struct ForeignMemory {
    device: i32,
    address: u64,
}

impl Drop for ForeignMemory {
    fn drop(&mut self) {
        let code = with_context(self.device, || {
            // SAFETY: the function has this argument, and the memory is used no more.
            unsafe {
                transmute::<*mut c_void, extern "C" fn(u64) -> i32>(function("cuMemFree_v2"))(self.address)
            }
        });
        assert_eq!(code, 0);
    }
}

/// So many elements in such memory.
pub fn foreign_memory(device: i32, count: i64) -> Tensor {
    let mut address = 0;
    let code = with_context(device, || {
        // SAFETY: the function has these arguments.
        unsafe {
            transmute::<*mut c_void, extern "C" fn(*mut u64, usize) -> i32>(function("cuMemAlloc_v2"))(
                &mut address,
                count as usize * 4,
            )
        }
    });
    assert_eq!(code, 0);
    let mut shape = [count];
    let description = DLTensor {
        data: address as *mut c_void,
        device: DLDevice::cuda(device),
        ndim: 1,
        dtype: dtype::U32,
        shape: shape.as_mut_ptr(),
        strides: null_mut(),
        byte_offset: 0,
    };
    // SAFETY: the memory is there until its owner goes.
    let made = unsafe { Tensor::wrap(&description, DlpackFlags::empty(), ForeignMemory { device, address }) };
    made.map_err(|(error, _)| error).unwrap()
}

/// Waits until a stream has done what it was given, which the library does not hear of.
pub fn finished(device: i32, stream: *mut c_void) {
    let code = with_context(device, || {
        // SAFETY: the function has this argument.
        unsafe {
            transmute::<*mut c_void, extern "C" fn(*mut c_void) -> i32>(function("cuStreamSynchronize"))(
                stream,
            )
        }
    });
    assert_eq!(code, 0);
}
