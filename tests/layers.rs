//! The layers: a file of `src/` names only what lies below it, and three things have one home each.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// The layers, lowest first. Those on one line do not know each other.
const LAYERS: [&[&str]; 10] = [
    &["float"],
    &["error"],
    &["guard", "fork"],
    &["tensor"],
    &["memory"],
    &["copy"],
    &["device"],
    &["staging"],
    &["interop", "python"],
    &["capi"],
];

/// What `lib.rs` hands on under another name, and the layer it comes from; `dlpack` comes from outside.
const ALIASES: [(&str, &str); 5] =
    [("Error", "error"), ("Kind", "error"), ("Result", "error"), ("Tensor", "tensor"), ("dlpack", "")];

/// Text that only one place may contain.
const HOMES: [(&str, &str); 4] = [
    ("catch_unwind", "guard"),
    ("no_mangle", "capi"),
    ("export_name", "capi"),
    ("pub unsafe extern \"C\"", "capi"),
];

fn level(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|layers| layers.contains(&layer))
}

/// Everything wrong with one file: `path` is relative to `src/`.
fn breaches(path: &str, source: &str) -> Vec<String> {
    let code = without_comments(source);
    let layer = path.split('/').next().unwrap_or_default().trim_end_matches(".rs");
    let Some(own) = level(layer) else {
        return vec![format!("src/{path} belongs to no layer; place it in tests/layers.rs")];
    };
    let names = names_used(&code, path.split('/').filter(|part| *part != "mod.rs").count());
    let imports = names.into_iter().filter_map(|name| {
        let used =
            ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name.as_str(), |(_, layer)| *layer);
        match level(used) {
            _ if used.is_empty() || used == layer => None,
            Some(level) if level < own => None,
            Some(_) => Some(format!("src/{path} ({layer}) uses {used}, which is no lower layer")),
            None => Some(format!("src/{path} uses crate::{used}, which belongs to no layer")),
        }
    });
    let homes = HOMES.iter().filter(|(text, home)| layer != *home && code.contains(text));
    imports.chain(homes.map(|(text, home)| format!("src/{path} has {text}, whose home is {home}"))).collect()
}

/// The source without comments, so that documentation may name what it likes.
fn without_comments(source: &str) -> String {
    let line = |line: &str| line.find("//").map_or(line.to_owned(), |comment| line[..comment].to_owned());
    source.lines().map(|text| line(text) + "\n").collect()
}

/// The modules of the crate that the code names: `crate::x`, `crate::{a, b::c}`, and `use super::x` where `depth`
/// modules up is the root of the crate.
fn names_used(code: &str, depth: usize) -> Vec<String> {
    let climb = format!("\nuse {}", "super::".repeat(depth));
    let roots = code.match_indices("crate::").filter(|(at, _)| !code[..*at].ends_with(is_word));
    let supers = code.match_indices(&climb);
    let tails = roots.chain(supers).map(|(at, root)| &code[at + root.len()..]);
    tails.flat_map(first_names).filter(|name| name != "super" && name != "self").collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `a` of `a::b`, and `a`, `c` of `{a::b, c::{d, e}}`.
fn first_names(path: &str) -> Vec<String> {
    let Some(group) = path.strip_prefix('{') else {
        return vec![path.chars().take_while(|c| is_word(*c)).collect()];
    };
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(String::new()),
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        items.last_mut().expect("never empty").push(c);
    }
    let name = |item: &String| -> String {
        let item = item.trim_start_matches([',', ' ', '\n']);
        item.chars().take_while(|c| is_word(*c)).collect()
    };
    items.iter().map(name).filter(|name| !name.is_empty()).collect()
}

/// Every file below `folder`, with its path relative to it.
fn files(folder: &Path, prefix: &str) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let found = entries.flat_map(|entry| {
        let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type().unwrap().is_dir() {
            true => files(&entry.path(), &(path + "/")),
            false if path.ends_with(".rs") => vec![(path, fs::read_to_string(entry.path()).unwrap())],
            false => vec![],
        }
    });
    found.collect()
}

#[test]
fn every_file_names_only_lower_layers() {
    let sources = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "");
    assert!(sources.len() > 20, "the sources were found");
    let mut found = String::new();
    for (path, source) in sources.iter().filter(|(path, _)| path != "lib.rs") {
        breaches(path, source).iter().for_each(|breach| writeln!(found, "{breach}").unwrap());
    }
    assert!(found.is_empty(), "\n{found}");
}

#[test]
fn files_stay_short() {
    let sources = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "");
    for (path, source) in sources {
        let lines = source.lines().count();
        assert!(lines <= 420, "src/{path} has {lines} lines; split it");
    }
}

#[test]
fn the_checker_sees_every_way_to_name_a_module() {
    let refused = [
        ("tensor/view.rs", "use crate::python::capsule;"),
        ("tensor/mod.rs", "use crate::{error::Error, capi};"),
        ("tensor/mod.rs", "use crate::{\n    error::{Error, Result},\n    memory::Pool,\n};"),
        ("tensor/view.rs", "fn f() { crate::capi::status::fail(); }"),
        ("tensor/view.rs", "fn f() -> Vec<crate::copy::Plan> { todo!() }"),
        ("tensor/mod.rs", "\nuse super::python::import;"),
        ("guard.rs", "use crate::Tensor;"),
        ("error.rs", "use crate::guard::guard;"),
        ("error.rs", "\nuse super::guard::guard;"),
        ("python/import.rs", "use crate::interop::dlpark;"),
        ("interop/dlpark.rs", "use crate::python;"),
        ("tensor/layout/tests.rs", "\nuse super::super::super::capi;"),
        ("tensor/view.rs", "use crate::nonsense;"),
        ("nonsense/mod.rs", ""),
        ("tensor/export.rs", "#[unsafe(no_mangle)]\nextern \"C\" fn f() {}"),
        ("python/api.rs", "pub unsafe extern \"C\" fn f() {}"),
        ("python/api.rs", "let _ = std::panic::catch_unwind(f);"),
    ];
    for (path, source) in refused {
        assert_eq!(breaches(path, source).len(), 1, "{path}: {source} {:?}", breaches(path, source));
    }
}

#[test]
fn the_checker_lets_the_rest_pass() {
    let fine = [
        ("error.rs", "use std::fmt;"),
        ("guard.rs", "use crate::error::{Error, Result};\nfn f() { catch_unwind(g) }"),
        ("tensor/view.rs", "use super::layout;\nuse crate::{dlpack::DLTensor, error::Error, tensor::dtype};"),
        ("tensor/view.rs", "// crate::python may say what it likes\n/// as [`crate::capi`] does"),
        ("tensor/layout/tests.rs", "\nuse super::super::dtype;\nuse super::*;"),
        ("tensor/mod.rs", "mod tests {\n    use super::device;\n}"),
        ("python/import.rs", "use crate::Tensor;\nuse krate::capi;\nuse mycrate::capi;"),
        (
            "capi/tensor.rs",
            "use crate::{python, interop, tensor};\n#[unsafe(no_mangle)]\npub unsafe extern \"C\" fn f() {}",
        ),
    ];
    for (path, source) in fine {
        assert_eq!(breaches(path, source), Vec::<String>::new(), "{path}: {source}");
    }
}
