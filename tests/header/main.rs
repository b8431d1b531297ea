//! Prints `dlbridge.h` as the sources give it, which `make header` puts into `include/`. Its tests hold what is committed
//! there to that.

use std::io::{self, Write};
use std::path::Path;

/// One file per noun, in the order in which the header introduces them.
const NOUNS: [&str; 19] = [
    "status", "dtype", "device", "tensor", "view", "memory", "pool", "pin", "copy", "cast", "compare",
    "stack", "event", "stream", "transfer", "staging", "slot", "batch", "python",
];

fn main() -> io::Result<()> {
    io::stdout().write_all(&generate())
}

fn generate() -> Vec<u8> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(here.join("cbindgen.toml")).expect("cbindgen.toml is valid");
    config.after_includes = Some(format!(
        "\n/* The version of this header; `dlb_version()` has that of the library that is loaded. */\n\
         #define DLB_VERSION_MAJOR {}\n\
         #define DLB_VERSION_MINOR {}\n\
         #define DLB_VERSION_PATCH {}\n\
         #define DLB_VERSION \"{}\"",
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
        env!("CARGO_PKG_VERSION"),
    ));
    let sources = NOUNS.map(|noun| here.join(format!("../../src/capi/{noun}.rs")));
    let builder = sources.into_iter().fold(cbindgen::Builder::new(), cbindgen::Builder::with_src);
    let mut header = Vec::new();
    builder.with_config(config).generate().expect("src/capi can be described in C").write(&mut header);
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated() -> String {
        String::from_utf8(generate()).unwrap()
    }

    #[test]
    fn the_committed_header_is_up_to_date() {
        let generated = generated();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../include/dlbridge.h");
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        let differing =
            generated.lines().zip(committed.lines()).enumerate().find(|(_, (new, old))| new != old);
        let place = differing.map(|(index, (new, old))| format!("\n{}: {old}\n -> {new}", index + 1));
        assert!(
            generated == committed,
            "include/dlbridge.h is not what src/capi gives; run `make header`{}",
            place.unwrap_or_default()
        );
    }

    #[test]
    fn no_rust_in_the_header() {
        let generated = generated();
        for word in ["::", "Option<", "crate", "unsafe fn", "`Tensor"] {
            let found = generated.lines().find(|line| line.contains(word));
            assert!(found.is_none(), "{word:?} means nothing in C: {}", found.unwrap_or_default());
        }
    }
}
