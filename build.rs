//! Generates the C header and sets the soname.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=src/capi");
    println!("cargo:rerun-if-changed=cbindgen.toml");
    generate_header();
    set_soname();
}

/// Writes `dlbridge.h` to OUT_DIR; `make header` copies it to `include/`, and a test compares the two.
fn generate_header() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    let [major, minor, patch] = ["MAJOR", "MINOR", "PATCH"].map(package_version);
    config.after_includes = Some(format!(
        "\n/* The version of this header; `dlb_version()` has that of the library that is loaded. */\n\
         #define DLB_VERSION_MAJOR {major}\n\
         #define DLB_VERSION_MINOR {minor}\n\
         #define DLB_VERSION_PATCH {patch}\n\
         #define DLB_VERSION \"{major}.{minor}.{patch}\""
    ));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("dlbridge.h");
    // One file per noun, in the order in which the header introduces them.
    let nouns = [
        "status", "dtype", "device", "tensor", "view", "memory", "pool", "pin", "copy", "cast", "compare",
        "stack", "event", "stream", "transfer", "staging", "slot", "batch", "python",
    ];
    let sources = nouns.map(|noun| root.join(format!("src/capi/{noun}.rs")));
    let builder = sources.into_iter().fold(cbindgen::Builder::new(), cbindgen::Builder::with_src);
    builder.with_config(config).generate().expect("src/capi can be described in C").write_to_file(out);
}

/// The one place that knows the soname: libdlbridge.so.0.MINOR while the major version is 0, then
/// libdlbridge.so.MAJOR. `make` reads it back from the library to lay the link beside it.
fn set_soname() {
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
