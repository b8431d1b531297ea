//! The header that is committed is the one that the sources give.
#![cfg(feature = "header")]

/// What the build wrote.
const GENERATED: &str = include_str!(concat!(env!("OUT_DIR"), "/dlbridge.h"));

#[test]
fn the_committed_header_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/include/dlbridge.h");
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differing = GENERATED.lines().zip(committed.lines()).enumerate().find(|(_, (new, old))| new != old);
    let place = differing.map(|(index, (new, old))| format!("\n{}: {old}\n -> {new}", index + 1));
    assert!(
        GENERATED == committed,
        "include/dlbridge.h is not what src/capi gives; run `make header`{}",
        place.unwrap_or_default()
    );
}

#[test]
fn no_rust_in_the_header() {
    for word in ["::", "Option<", "crate", "unsafe fn", "`Tensor"] {
        let found = GENERATED.lines().find(|line| line.contains(word));
        assert!(found.is_none(), "{word:?} means nothing in C: {}", found.unwrap_or_default());
    }
}
