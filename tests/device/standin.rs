//! The stand-in driver: built where make has not, found by the loader's path, asked and told things by its own functions.

use std::env;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_void};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the stand-in lies, for this process and those it starts.
const FOLDER: &str = "STANDIN_FOLDER";

/// Starts this program again with the stand-in in the loader's path, which is read when a program starts.
pub fn load() {
    if env::var_os("STANDIN_LOADED").is_some() {
        return;
    }
    let folder = env::var_os(FOLDER).map_or_else(build, PathBuf::from);
    let program = env::current_exe().unwrap();
    let mut again = Command::new(program);
    again.args(env::args_os().skip(1)).env(FOLDER, &folder).env("STANDIN_LOADED", "1");
    panic!("it cannot be started again: {}", again.env("LD_LIBRARY_PATH", folder).exec());
}

fn build() -> PathBuf {
    let (root, folder) =
        (Path::new(env!("CARGO_MANIFEST_DIR")), Path::new(env!("CARGO_TARGET_TMPDIR")).join("driver"));
    let make = Command::new("make")
        .current_dir(root)
        .args(["-s", "-f", "tests/driver/driver.mk", "standin"])
        .arg(format!("STANDIN={}", folder.display()))
        .status();
    assert!(
        make.is_ok_and(|status| status.success()),
        "the stand-in driver was not built; make and cc are needed"
    );
    folder
}

/// The folder of a stand-in that lacks a function.
pub fn folder_without_a_function() -> PathBuf {
    PathBuf::from(env::var_os(FOLDER).unwrap()).join("incomplete")
}

/// A function of the stand-in.
pub fn function(name: &str) -> *mut c_void {
    let name = CString::new(name).unwrap();
    // SAFETY: both names are terminated, and the library stays loaded.
    let found = unsafe { libc::dlsym(libc::dlopen(c"libcuda.so.1".as_ptr(), libc::RTLD_NOW), name.as_ptr()) };
    assert!(!found.is_null(), "{name:?} is no function of the stand-in");
    found
}

macro_rules! control {
    ($(fn $name:ident($($argument:ident: $kind:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name($($argument: $kind),*) $(-> $result)? {
            // SAFETY: the function of this name has these arguments.
            unsafe {
                let call: extern "C" fn($($kind),*) $(-> $result)? = std::mem::transmute(function(stringify!($name)));
                call($($argument),*)
            }
        })*
    };
}

control! {
    fn standin_fail(function: *const c_char, nth: c_long, code: c_int, lost: c_int);
    fn standin_hold(function: *const c_char, on: c_int);
    fn standin_fail_late(nth: c_long, code: c_int);
    fn standin_reset();
    fn standin_ignore_waits(which: c_long);
    fn standin_use_again(handle: *mut c_void);
    fn standin_set_delay(microseconds: c_uint);
    fn standin_calls(function: *const c_char) -> c_long;
    fn standin_live(what: *const c_char) -> c_long;
    fn standin_violations() -> c_long;
    fn standin_failed() -> *const c_char;
}

/// Has the `nth` call of a function from now on fail; with `lost`, everything after it as well.
pub fn fail(function: &str, nth: i64, code: i32, lost: bool) {
    standin_fail(CString::new(function).unwrap().as_ptr(), nth, code, lost.into());
}

/// The function that was to fail and did.
pub fn failed() -> Option<&'static str> {
    let name = standin_failed();
    // SAFETY: a name in the library, or NULL.
    (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_str().unwrap())
}

/// Has the `nth` copy from now on fail when a stream comes to it, and everything after it.
pub fn fail_late(nth: i64, code: i32) {
    standin_fail_late(nth, code);
}

/// Has calls of a function not go on while `body` runs.
pub fn held<T>(function: &str, body: impl FnOnce() -> T) -> T {
    struct Release(CString);
    impl Drop for Release {
        fn drop(&mut self) {
            standin_hold(self.0.as_ptr(), 0);
        }
    }
    let function = Release(CString::new(function).unwrap());
    standin_hold(function.0.as_ptr(), 1);
    body()
}

/// Nothing fails any more.
pub fn heal() {
    standin_reset();
}

/// Streams do not wait for events from now on, which is what a bug would look like.
pub fn ignore_waits() {
    standin_ignore_waits(1);
}

/// The same, for the `nth` time from now on that a stream is told to wait.
pub fn ignore_wait(nth: i64) {
    standin_ignore_waits(-nth);
}

/// The next stream has the handle of this one, which is destroyed, as may happen.
pub fn use_again(handle: *mut c_void) {
    standin_use_again(handle);
}

/// How late streams are at most, most of the time.
pub fn set_delay(microseconds: u32) {
    standin_set_delay(microseconds);
}

/// How often a function was called.
pub fn calls(function: &str) -> i64 {
    standin_calls(CString::new(function).unwrap().as_ptr())
}

/// How many of something there are: "device blocks", "device bytes", "pinned blocks", "registered blocks", "streams",
/// "events", "contexts pushed here"; and "abandoned blocks", which the others leave out: those given back to a lost device.
pub fn live(what: &CStr) -> i64 {
    standin_live(what.as_ptr())
}

/// What was done that a driver does not forgive.
pub fn violations() -> i64 {
    standin_violations()
}

/// What a test leaves behind is compared with what was there before.
pub fn left() -> [i64; 4] {
    [c"device blocks", c"pinned blocks", c"registered blocks", c"streams"].map(live)
}
