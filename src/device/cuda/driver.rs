//! The driver's functions, found at run time.

use crate::error::{Driver as Failure, Error, Result};
use crate::fork;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};

/// What every function answers.
pub(super) type Code = c_int;
/// A context, a stream or an event.
pub(super) type Handle = *mut c_void;
/// Where something is on a device.
pub(super) type Address = u64;
/// What a stream calls on the host.
pub(super) type HostFn = unsafe extern "C" fn(*mut c_void);

pub(super) const SUCCESS: Code = 0;
pub(super) const OUT_OF_MEMORY: Code = 2;
pub(super) const ALREADY_REGISTERED: Code = 712;
/// What is answered to what cannot be done while a graph is captured.
pub(super) const CAPTURES: std::ops::RangeInclusive<Code> = 900..=908;
/// A default stream would come after one that is captured.
pub(super) const CAPTURE_IMPLICIT: Code = 906;
const NOT_READY: Code = 600;

/// The oldest version of CUDA whose drivers have all that is called here.
const NEEDED: c_int = 11_040;

/// A copy of rows, as the driver has it described.
#[repr(C)]
pub(super) struct Rows {
    pub from_x: usize,
    pub from_y: usize,
    pub from_kind: c_uint,
    pub from_host: *const c_void,
    pub from_device: Address,
    pub from_array: *mut c_void,
    pub from_pitch: usize,
    pub to_x: usize,
    pub to_y: usize,
    pub to_kind: c_uint,
    pub to_host: *mut c_void,
    pub to_device: Address,
    pub to_array: *mut c_void,
    pub to_pitch: usize,
    pub width: usize,
    pub height: usize,
}

macro_rules! functions {
    ($($name:ident = $symbol:literal ($($argument:ty),*);)*) => {
        /// The functions of the driver, and what it was asked at the beginning.
        #[allow(non_snake_case, reason = "they are the driver's names")]
        pub(super) struct Driver {
            $(pub $name: unsafe extern "C" fn($($argument),*) -> Code,)*
            pub devices: i32,
            generation: u64,
        }

        impl Driver {
            /// One that has never come to anything, whatever it is asked: each function answers the same.
            #[cfg(test)]
            pub fn never_ready() -> Driver {
                Driver {
                    $($name: {
                        unsafe extern "C" fn never($(_: $argument),*) -> Code {
                            NOT_READY
                        }
                        never
                    },)*
                    devices: 1,
                    generation: fork::generation(),
                }
            }

            /// Looks every function up; the name of the first that is missing.
            unsafe fn look_up(library: *mut c_void) -> std::result::Result<Driver, &'static str> {
                // SAFETY: the names are terminated; a function of that name has these arguments.
                unsafe {
                    Ok(Driver {
                        $($name: std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($argument),*) -> Code>(
                            symbol(library, concat!($symbol, "\0")).ok_or($symbol)?,
                        ),)*
                        devices: 0,
                        generation: fork::generation(),
                    })
                }
            }
        }
    };
}

functions! {
    cuInit = "cuInit" (c_uint);
    cuGetErrorName = "cuGetErrorName" (Code, *mut *const c_char);
    cuGetErrorString = "cuGetErrorString" (Code, *mut *const c_char);
    cuDeviceGetCount = "cuDeviceGetCount" (*mut c_int);
    cuDeviceGet = "cuDeviceGet" (*mut c_int, c_int);
    cuDeviceGetAttribute = "cuDeviceGetAttribute" (*mut c_int, c_int, c_int);
    cuDevicePrimaryCtxRetain = "cuDevicePrimaryCtxRetain" (*mut Handle, c_int);
    cuDevicePrimaryCtxRelease = "cuDevicePrimaryCtxRelease_v2" (c_int);
    cuCtxPushCurrent = "cuCtxPushCurrent_v2" (Handle);
    cuCtxPopCurrent = "cuCtxPopCurrent_v2" (*mut Handle);
    cuCtxGetDevice = "cuCtxGetDevice" (*mut c_int);
    cuCtxSynchronize = "cuCtxSynchronize" ();
    cuThreadExchangeStreamCaptureMode = "cuThreadExchangeStreamCaptureMode" (*mut c_uint);
    cuStreamCreate = "cuStreamCreate" (*mut Handle, c_uint);
    cuStreamDestroy = "cuStreamDestroy_v2" (Handle);
    cuStreamGetFlags = "cuStreamGetFlags" (Handle, *mut c_uint);
    cuStreamGetCtx = "cuStreamGetCtx" (Handle, *mut Handle);
    cuStreamIsCapturing = "cuStreamIsCapturing" (Handle, *mut c_int);
    cuStreamSynchronize = "cuStreamSynchronize" (Handle);
    cuStreamWaitEvent = "cuStreamWaitEvent" (Handle, Handle, c_uint);
    cuLaunchHostFunc = "cuLaunchHostFunc" (Handle, HostFn, *mut c_void);
    cuEventCreate = "cuEventCreate" (*mut Handle, c_uint);
    cuEventDestroy = "cuEventDestroy_v2" (Handle);
    cuEventRecord = "cuEventRecord" (Handle, Handle);
    cuEventQuery = "cuEventQuery" (Handle);
    cuMemAlloc = "cuMemAlloc_v2" (*mut Address, usize);
    cuMemFree = "cuMemFree_v2" (Address);
    cuMemHostAlloc = "cuMemHostAlloc" (*mut *mut c_void, usize, c_uint);
    cuMemFreeHost = "cuMemFreeHost" (*mut c_void);
    cuMemHostRegister = "cuMemHostRegister_v2" (*mut c_void, usize, c_uint);
    cuMemHostUnregister = "cuMemHostUnregister" (*mut c_void);
    cuPointerGetAttribute = "cuPointerGetAttribute" (*mut c_void, c_int, Address);
    cuMemcpyHtoDAsync = "cuMemcpyHtoDAsync_v2" (Address, *const c_void, usize, Handle);
    cuMemcpyDtoHAsync = "cuMemcpyDtoHAsync_v2" (*mut c_void, Address, usize, Handle);
    cuMemcpyDtoDAsync = "cuMemcpyDtoDAsync_v2" (Address, Address, usize, Handle);
    cuMemcpyPeerAsync = "cuMemcpyPeerAsync" (Address, Handle, Address, Handle, usize, Handle);
    cuMemsetD8Async = "cuMemsetD8Async" (Address, u8, usize, Handle);
    cuMemcpy2DAsync = "cuMemcpy2DAsync_v2" (*const Rows, Handle);
}

/// Calls a function of the driver by its name; what it answers but for success is an error.
macro_rules! call {
    ($driver:expr, $name:ident ( $($argument:expr),* $(,)? )) => {{
        let driver: &$crate::device::cuda::driver::Driver = $driver;
        driver.check(stringify!($name), (driver.$name)($($argument),*))
    }};
}
pub(super) use call;

/// The driver, or why there is none.
pub(super) fn find() -> std::result::Result<&'static Driver, String> {
    static DRIVER: AtomicPtr<Driver> = AtomicPtr::new(null_mut());
    let mut driver = DRIVER.load(Ordering::Acquire);
    if driver.is_null() {
        fork::watch();
        let new = Box::into_raw(Box::new(load()?));
        driver = match DRIVER.compare_exchange(null_mut(), new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                crate::device::lend::watch();
                new
            }
            Err(first) => {
                // SAFETY: just made, and nobody has seen it.
                drop(unsafe { Box::from_raw(new) });
                first
            }
        };
    }
    // SAFETY: made above by some thread, and never freed.
    let driver = unsafe { &*driver };
    match driver.is_ours() {
        true => Ok(driver),
        false => Err("CUDA was in use when this process forked, and does not survive that; start processes with the spawn method (multiprocessing.get_context(\"spawn\"))".to_owned()),
    }
}

fn load() -> std::result::Result<Driver, String> {
    // SAFETY: the name is terminated. Loading the driver starts nothing, and it stays loaded, as its users want it.
    let library = unsafe { libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    if library.is_null() {
        // SAFETY: after a failure `dlerror` gives this thread's words, or NULL.
        let words = unsafe { libc::dlerror().as_ref() }.map(|words| {
            // SAFETY: a terminated string, valid until this thread's next call of that kind.
            unsafe { CStr::from_ptr(words) }.to_string_lossy().into_owned()
        });
        return Err(format!("libcuda.so.1 cannot be loaded ({})", words.unwrap_or_default()));
    }
    let missing = |name| format!("libcuda.so.1 has no {name}; update the driver");
    let mut version = 0;
    // SAFETY: the library stays; the function of this name takes a place for an int, and may be called at any time.
    unsafe {
        let ask = symbol(library, "cuDriverGetVersion\0").ok_or_else(|| missing("cuDriverGetVersion"))?;
        std::mem::transmute::<*mut c_void, unsafe extern "C" fn(*mut c_int) -> Code>(ask)(&mut version);
    }
    if version < NEEDED {
        let name = |version: c_int| format!("{}.{}", version / 1000, version % 1000 / 10);
        let (have, needed) = (name(version), name(NEEDED));
        return Err(format!("the driver is one of CUDA {have}, and {needed} is needed; update the driver"));
    }
    // SAFETY: a library that stays loaded.
    let mut driver = unsafe { Driver::look_up(library) }.map_err(missing)?;
    let mut count = 0;
    // SAFETY: the first call, and one that writes an int.
    let started =
        unsafe { call!(&driver, cuInit(0)).and_then(|()| call!(&driver, cuDeviceGetCount(&mut count))) };
    started.map_err(|error| error.to_string())?;
    if count < 1 {
        return Err("the driver of CUDA finds no device".to_owned());
    }
    driver.devices = count;
    Ok(driver)
}

/// # Safety
///
/// `library` is open, and `name` ends with NUL.
unsafe fn symbol(library: *mut c_void, name: &str) -> Option<*mut c_void> {
    // SAFETY: promised by the caller.
    let found = unsafe { libc::dlsym(library, name.as_ptr().cast()) };
    (!found.is_null()).then_some(found)
}

impl Driver {
    /// Whether it was started in this process.
    pub fn is_ours(&self) -> bool {
        self.generation == fork::generation()
    }

    /// An error with the driver's name for it, unless all is well.
    pub fn check(&self, call: &'static str, code: Code) -> Result<()> {
        if code == SUCCESS {
            return Ok(());
        }
        let (name, words) = (self.text(self.cuGetErrorName, code), self.text(self.cuGetErrorString, code));
        Err(Error::Driver(Failure::Failed { call, name, words }))
    }

    /// [`Driver::check`] for a function that says whether something is ready.
    pub fn check_ready(&self, call: &'static str, code: Code) -> Result<bool> {
        if code == NOT_READY { Ok(false) } else { self.check(call, code).map(|()| true) }
    }

    /// [`Driver::check`] for a function that allocates.
    pub fn check_memory(&self, call: &'static str, code: Code, bytes: usize, device: String) -> Result<()> {
        match code {
            OUT_OF_MEMORY => {
                let name = self.text(self.cuGetErrorName, code);
                Err(Error::Driver(Failure::OutOfMemory { bytes, device, name }))
            }
            _ => self.check(call, code),
        }
    }

    /// What the driver says of a code.
    fn text(&self, ask: unsafe extern "C" fn(Code, *mut *const c_char) -> Code, code: Code) -> String {
        let mut text = std::ptr::null();
        // SAFETY: the function writes a terminated string that lives as long as the library, or NULL, or nothing.
        unsafe {
            ask(code, &mut text);
            match text.is_null() {
                true => format!("error {code}"),
                false => CStr::from_ptr(text).to_string_lossy().into_owned(),
            }
        }
    }
}
