//! Sets the soname and, with the feature `header`, generates the C header.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "header")]
    header::generate();
    set_soname();
}

/// Who builds the library takes the header that is committed, and needs no cbindgen.
#[cfg(feature = "header")]
mod header {
    use std::env;
    use std::path::PathBuf;

    /// The sections of the header, in the order in which somebody reads it: a heading, and the files that it is made of. A
    /// type stands in the section of its noun, so a section names only types of itself and of those above it.
    const SECTIONS: &[(&str, &[&str])] = &[
        ("Status: how every function reports, and the words of the last error", &["status"]),
        ("Dtypes: names of element types", &["dtype"]),
        ("Devices: names of devices, and which of them work", &["device"]),
        ("Tensors: wrapping, importing, exporting, asking, views", &["tensor", "view"]),
        (
            "Memory: tensors on memory of their own, allocators, pools, page-locking",
            &["memory", "pool", "pin"],
        ),
        ("Streams: ordered work on a device, events, asynchronous copies", &["event", "stream", "transfer"]),
        ("Copying: elements moved from one layout to another, now", &["copy"]),
        ("Casting: elements as another dtype, and what was lost", &["cast"]),
        ("Comparing: two tensors, in one pass", &["compare"]),
        ("Stacking: many tensors become one batch", &["stack"]),
        ("Staging: batches in flight between producers and consumers", &["staging", "slot", "batch"]),
        ("Python: the door to the interpreter of this process", &["python"]),
    ];

    /// Writes `dlbridge.h` to OUT_DIR; `make header` copies it to `include/`, and a test compares the two.
    pub fn generate() {
        println!("cargo:rerun-if-changed=src/capi");
        println!("cargo:rerun-if-changed=cbindgen.toml");
        let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
        let mut config =
            cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml is valid");
        let [major, minor, patch] = ["MAJOR", "MINOR", "PATCH"].map(super::package_version);
        let top = config.header.take().expect("cbindgen.toml has the comment at the top");
        let mut header = format!(
            "{}\n\n#ifndef DLBRIDGE_H\n#define DLBRIDGE_H\n\n\
             #include <stdbool.h>\n#include <stddef.h>\n#include <stdint.h>\n#include \"dlbridge/dlpack_abi.h\"\n\n\
             /* The version of this header; `dlb_version()` has that of the library that is loaded. */\n\
             #define DLB_VERSION_MAJOR {major}\n\
             #define DLB_VERSION_MINOR {minor}\n\
             #define DLB_VERSION_PATCH {patch}\n\
             #define DLB_VERSION \"{major}.{minor}.{patch}\"\n\n\
             #ifdef __cplusplus\nextern \"C\" {{\n#endif\n",
            top.trim()
        );
        for (heading, nouns) in SECTIONS {
            let sources = nouns.iter().map(|noun| root.join(format!("src/capi/{noun}.rs")));
            let builder = sources.fold(cbindgen::Builder::new(), cbindgen::Builder::with_src);
            let mut section = Vec::new();
            let bindings =
                builder.with_config(config.clone()).generate().expect("src/capi can be described in C");
            bindings.write(&mut section);
            let section = String::from_utf8(section).expect("cbindgen writes UTF-8");
            header += &format!("\n/* === {heading} {}*/\n\n{}\n", rule(heading), section.trim());
        }
        header += "\n#ifdef __cplusplus\n}  /* extern \"C\" */\n#endif\n\n#endif  /* DLBRIDGE_H */\n";
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("dlbridge.h");
        std::fs::write(out, header).expect("OUT_DIR can be written");
    }

    /// What fills the line of a heading.
    fn rule(heading: &str) -> String {
        "=".repeat(108_usize.saturating_sub(heading.len())) + " "
    }
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
