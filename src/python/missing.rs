//! What shows no buffer for a reason that is known: Arrow's nulls, pandas' NA and object columns, a device's memory.

use super::api::Object;
use super::gil::Gil;
use crate::error::{Error, Refusal};
use std::ffi::CStr;

/// Why an object was not handed over, where that is known. The exception that is set stays set.
pub(super) fn explain(gil: &Gil, object: Object) -> Option<Error> {
    let raised = gil.set_aside();
    let (what, call) = arrow(gil, object).or_else(|| pandas(gil, object)).unzip();
    gil.put_back(raised);
    Some(Error::Refused(Refusal::Missing { what: what?, call: call? }))
}

fn arrow(gil: &Gil, object: Object) -> Option<(String, &'static str)> {
    let module = module_of(gil, object);
    if !module.starts_with("pyarrow") {
        return None;
    }
    let name = gil.type_name(object);
    match number(gil, object, c"null_count") {
        Some(nulls) if nulls != "0" => Some((
            format!("the Arrow {name} has {nulls} nulls, which a buffer cannot show"),
            "call x.fill_null(value) first",
        )),
        _ if name == "ChunkedArray" => {
            // Whether it is in one piece depends on the data, so it is for the caller to say.
            let chunks = number(gil, object, c"num_chunks")?;
            let call = if chunks == "1" { "pass x.chunk(0)" } else { "pass x.combine_chunks()" };
            Some((format!("an Arrow ChunkedArray is memory in any number of pieces (here {chunks})"), call))
        }
        _ => {
            let element = gil.attribute_text(object, c"type");
            let call = numbers_of(&element)?;
            Some((format!("the Arrow {name} of type {element} has no DLPack type"), call))
        }
    }
}

/// What makes an array of numbers of Arrow's, which a buffer can show, of one that has another type.
fn numbers_of(element: &str) -> Option<&'static str> {
    let kinds: [(&[&str], &str); 8] = [
        (&["bool"], "pass x.cast(\"uint8\"), or x.to_numpy(zero_copy_only=False)"),
        (&["date32", "time32"], "pass x.view(\"int32\")"),
        (&["date64", "time64", "timestamp", "duration"], "pass x.view(\"int64\")"),
        (
            &["string", "large_string", "string_view"],
            "strings stay where they are; pass x.cast(\"float64\") where they spell numbers",
        ),
        (&["decimal"], "pass x.cast(\"float64\")"),
        (&["dictionary"], "pass x.indices, or x.dictionary_decode()"),
        (&["list", "large_list", "fixed_size_list"], "pass its values, x.flatten()"),
        (&["struct"], "pass one of its fields, x.field(0)"),
    ];
    let is = |name: &&str| {
        element.strip_prefix(*name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_ascii_alphabetic()))
    };
    kinds.iter().find(|(names, _)| names.iter().any(is)).map(|&(_, call)| call)
}

fn pandas(gil: &Gil, object: Object) -> Option<(String, &'static str)> {
    if !module_of(gil, object).starts_with("pandas") {
        return None;
    }
    let name = gil.type_name(object);
    let dtype = gil.attribute_text(object, c"dtype");
    let missing = chain(gil, object, &[c"isna", c"sum"]);
    Some(match missing {
        _ if dtype == "object" || dtype == "str" => (
            format!("the pandas {name} holds Python objects (dtype {dtype})"),
            "convert it, for example x.astype(\"float64\").to_numpy()",
        ),
        Some(count) if count != "0" && name != "DataFrame" => (
            format!("the pandas {name} of dtype {dtype} has {count} missing values"),
            "pass x.to_numpy(dtype=..., na_value=...)",
        ),
        _ => (format!("a pandas {name} is no array"), "pass x.to_numpy()"),
    })
}

/// What to do with memory of a device that its owner does not show by DLPack: an array of Numba, of PyCUDA.
pub(super) fn on_device(gil: &Gil, object: Object) -> Option<Error> {
    let shown = gil.attribute(object, c"__cuda_array_interface__").is_ok();
    gil.clear();
    let name = gil.type_name(object);
    shown.then(|| {
        Error::Refused(Refusal::Missing {
            what: format!("a {name} shows its memory by __cuda_array_interface__, and not by DLPack"),
            call: "pass torch.as_tensor(x, device=\"cuda\"), or cupy.asarray(x)",
        })
    })
}

/// The module that an object's type comes from.
fn module_of(gil: &Gil, object: Object) -> String {
    gil.attribute_text(gil.type_of(object), c"__module__")
}

fn number(gil: &Gil, object: Object, name: &CStr) -> Option<String> {
    let value = gil.attribute(object, name).ok();
    gil.clear();
    value.map(|value| gil.text(value.object))
}

/// `object.first().second()` as text.
fn chain(gil: &Gil, object: Object, methods: &[&CStr]) -> Option<String> {
    let mut value = gil.share(object);
    for method in methods {
        let called = gil.call_method(value.object, method);
        gil.clear();
        value = called.ok()?;
    }
    Some(gil.text(value.object))
}
