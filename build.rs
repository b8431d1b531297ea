//! Sets the soname.

use std::env;

/// The one place that knows the soname: libdlbridge.so.0.MINOR while the major version is 0, then
/// libdlbridge.so.MAJOR. `make` reads it back from the library to lay the link beside it.
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_OS").as_deref() != Ok("linux") {
        return;
    }
    let (major, minor) = (package_version("MAJOR"), package_version("MINOR"));
    let abi = if major == "0" { format!("0.{minor}") } else { major };
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libdlbridge.so.{abi}");
}

fn package_version(part: &str) -> String {
    env::var(format!("CARGO_PKG_VERSION_{part}")).expect("cargo sets it")
}
