//! What is said where the driver is missing, old, incomplete, or finds nothing: each in a process of its own.

use crate::standin::folder_without_a_function;
use dlbridge::Result;
use dlbridge::device::{Stream, check_device, device_allocator, devices, pin, pinned_allocator};
use dlbridge::dlpack::DLDevice;
use std::process::Command;

crate::tests!(
    without_a_driver,
    an_old_driver,
    no_device,
    a_driver_that_lacks_a_function,
    a_driver_that_does_not_start,
    a_device_that_is_not_there,
);

/// Prints what everything answers: `main` calls it in the processes that the tests start.
pub fn say() {
    let mut room = [0_u64; 8];
    // SAFETY: the memory lives longer than the pin.
    let pinned = unsafe { pin(room.as_mut_ptr().cast(), 64) };
    let say = |what: Result<()>| match what {
        Ok(()) => println!("fine"),
        Err(error) => println!("{:?}: {error}", error.kind()),
    };
    say(check_device(DLDevice::cuda(0)));
    say(Stream::new(DLDevice::cuda(0)).map(drop));
    say(device_allocator(DLDevice::cuda(0)).map(drop));
    say(pinned_allocator(DLDevice::cuda(0)).map(drop));
    say(pinned.map(drop));
    println!("{} devices", devices().len());
    say(Stream::new(DLDevice::CPU).map(drop));
}

/// What a process says that finds this driver.
fn said(variables: &[(&str, &str)]) -> Vec<String> {
    let mut process = Command::new(std::env::current_exe().unwrap());
    let output = process.arg("say").envs(variables.iter().copied()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), 7, "{lines:?}");
    lines
}

/// Everything says why, the CPU works, and there is a way out.
fn all_say(variables: &[(&str, &str)], why: &str) {
    let lines = said(variables);
    for line in &lines[..5] {
        assert!(line.starts_with("Unavailable: ") && line.contains(why), "{line}");
    }
    assert!(lines[3].contains("call Tensor::empty()"), "{}", lines[3]);
    assert_eq!(lines[5..], ["1 devices", "fine"]);
}

fn without_a_driver() {
    all_say(&[("LD_LIBRARY_PATH", "/nowhere")], "libcuda.so.1 cannot be loaded");
}

fn an_old_driver() {
    all_say(&[("STANDIN_VERSION", "11020")], "one of CUDA 11.2, and 11.4 is needed; update the driver");
}

fn no_device() {
    all_say(&[("STANDIN_DEVICES", "0")], "CUDA_ERROR_NO_DEVICE (no CUDA-capable device is detected)");
}

fn a_driver_that_lacks_a_function() {
    let folder = folder_without_a_function();
    all_say(&[("LD_LIBRARY_PATH", folder.to_str().unwrap())], "libcuda.so.1 has no cuMemcpyPeerAsync");
}

fn a_driver_that_does_not_start() {
    all_say(&[("STANDIN_INIT", "719")], "cuInit failed with CUDA_ERROR_LAUNCH_FAILED");
}

fn a_device_that_is_not_there() {
    let lines = said(&[("STANDIN_DEVICES", "1")]);
    assert_eq!(lines, ["fine", "fine", "fine", "fine", "fine", "2 devices", "fine"]);
    let error = Stream::new(DLDevice::cuda(2)).unwrap_err();
    assert!(error.to_string().contains("there are 2 CUDA devices, numbered from 0"), "{error}");
}
