//! What the crate pulls in: little by itself, and libtorch by no feature.

use std::collections::BTreeSet;
use std::process::Command;

/// The crates that are compiled into the library, without what only builds it.
fn tree(features: &str) -> BTreeSet<String> {
    let arguments =
        ["tree", "--locked", "--package=dlbridge", "--edges=normal,no-proc-macro", "--prefix=none"];
    let output = Command::new(env!("CARGO")).args(arguments).arg(features).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn without_features_there_are_five_crates() {
    let expected = ["bitflags", "dlbridge", "dlpark", "libc", "snafu"].map(str::to_owned);
    assert_eq!(tree("--no-default-features"), BTreeSet::from(expected));
    assert_eq!(tree("--features="), tree("--no-default-features"), "no feature is on by default");
}

#[test]
fn no_feature_pulls_in_libtorch() {
    let all = tree("--all-features");
    assert!(all.contains("ndarray") && all.contains("half"), "{all:?}");
    assert!(!all.iter().any(|name| name.contains("tch") || name.contains("torch")), "{all:?}");
}
