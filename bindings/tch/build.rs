//! Compiles the shim against the libtorch that torch-sys found, and tells whoever links where that is.

use std::env;
use std::path::PathBuf;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=src/shim.cpp");
    println!("cargo:rerun-if-env-changed=LIBTORCH_INCLUDE");
    if cfg!(feature = "doc-only") {
        return;
    }
    let lib =
        env::var_os("DEP_TCH_LIBTORCH_LIB").map(PathBuf::from).expect("torch-sys says where libtorch is");
    let root = env::var_os("LIBTORCH_INCLUDE").map_or_else(|| lib.join(".."), PathBuf::from);
    let mut build = cc::Build::new();
    if lib.join("libtorch_hip.so").exists() {
        build.define("USE_ROCM", None);
    }
    build
        .cpp(true)
        .std("c++17")
        .flag("-isystem")
        .flag(root.join("include"))
        .warnings_into_errors(true)
        .extra_warnings(true)
        .file("src/shim.cpp")
        .compile("dlbridge_tch_shim");
    // For the tests and examples here; and for dependents, as DEP_DLBRIDGE_TCH_LIBTORCH_LIB.
    println!("cargo:rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo:libtorch_lib={}", lib.display());
}
