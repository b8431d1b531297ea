use super::*;
use crate::error::{Cast, Compare, Driver, LossReport, Reason, Refusal, Stack, Staging, Transfer};

fn words(error: &Error) -> [String; 3] {
    [Face::C, Face::Python, Face::Rust].map(|face| error.words(face).to_string())
}

/// One of each whose remedy is another call on each face.
fn errors() -> Vec<Error> {
    let some = || "float64".to_owned();
    let lossy = Cast::Lossy {
        from: some(),
        to: "int8".into(),
        casting: "same_value",
        report: Box::new(LossReport { elements: 2, overflow: 1, ..LossReport::default() }),
    };
    vec![
        Error::AxisOutOfRange { axis: 0, ndim: 0 },
        Error::DtypeMismatch { have: some(), asked: some() },
        Error::UnknownDtype { dtype: some() },
        Error::Version { major: 2, minor: 0 },
        Error::NotHost { device: "cuda:0".into() },
        Error::ReinterpretScalar { from: some(), to: some() },
        Error::ReinterpretCopies { from: some(), to: some(), why: "" },
        Error::ReadOnly { what: "destination" },
        Error::ReadOnlyPin,
        Error::ReadOnlyLegacy,
        Error::Overlapping { shape: vec![], strides: vec![] },
        Error::NotContiguous { shape: vec![], strides: vec![] },
        Error::Misaligned { address: 1, alignment: 4, dtype: some() },
        Error::ReshapeCopies { shape: vec![], strides: vec![], target: vec![] },
        Error::Cast(lossy),
        Error::Cast(Cast::Kinds { from: some(), to: some() }),
        Error::Cast(Cast::Casting { given: "9".into() }),
        Error::Compare(Compare::Dtype { dtype: some() }),
        Error::Driver(Driver::NoPinned { why: String::new() }),
        Error::Driver(Driver::NoMemory { device: "cuda:0".into(), why: String::new() }),
        Error::Driver(Driver::OutOfMemory { bytes: 1, device: "cuda:0".into(), name: String::new() }),
        Error::Driver(Driver::BeforeFork { what: "it" }),
        Error::Driver(Driver::NoZeros { device: "cuda:0".into() }),
        Error::Refused(Refusal::UnknownOrder { given: "9".into() }),
        Error::Refused(Refusal::WrongType {
            cause: Box::new(Error::Refused(Refusal::UnknownOrder { given: "9".into() })),
        }),
        Error::Refused(Refusal::UnknownDevice { given: "9".into() }),
        Error::Staging(Staging::Aborted {
            reason: Reason::Failed(Box::new(Error::NotHost { device: "cuda:0".into() })),
        }),
        Error::Stack(Stack::Dtypes { index: 1, dtype: some(), first: some() }),
        Error::Stack(Stack::UnknownLayout { given: "9".into() }),
        Error::Stack(Stack::Destination { have: vec![], need: vec![], layout: Some("CHW") }),
        Error::Stack(Stack::NoFloat { dtype: some() }),
        Error::Stack(Stack::Beyond { what: "scale", value: "1e39".into() }),
        Error::Stack(Stack::Values { from: some(), to: some(), casting: "same_kind" }),
        Error::Stack(Stack::Array { index: 1, cause: Box::new(Error::ReadOnlyLegacy) }),
        Error::Transfer(Transfer::Shapes { source: vec![], destination: vec![], expands: true }),
        Error::Transfer(Transfer::Dtypes { source: some(), destination: some() }),
        Error::Transfer(Transfer::NativeStream { device: "cpu".into() }),
        Error::Transfer(Transfer::NoDevice { device: "cuda:0".into(), why: String::new() }),
        Error::Transfer(Transfer::NoForeign { device: "cuda:0".into(), why: String::new() }),
    ]
}

#[test]
fn each_face_has_its_own_names() {
    let c = ["dlb_", "DLB_", "kDL"];
    let python = ["dlbridge.", "=\"", "x.", "x[", "dtype=", "multiprocessing"];
    for error in errors() {
        let [in_c, in_python, in_rust] = words(&error);
        let free = |words: &str, names: &[&str]| !names.iter().any(|name| words.contains(name));
        assert!(free(&in_c, &python) && free(&in_c, &["::"]), "{in_c}");
        assert!(free(&in_python, &c) && free(&in_python, &["::"]), "{in_python}");
        assert!(
            free(&in_rust, &c[..2]) && free(&in_rust, &python) || in_rust.contains("DLB_ORDER_C"),
            "{in_rust}"
        );
        assert_ne!(in_c, in_python);
        assert_eq!(in_rust, error.to_string());
    }
}

#[test]
fn a_casting_is_named_as_it_is_passed() {
    let names = [Face::C, Face::Python, Face::Rust].map(|face| face.casting("same_kind"));
    assert_eq!(names, ["DLB_CASTING_SAME_KIND", "casting=\"same_kind\"", "Casting::SameKind"]);
}

#[test]
fn memory_that_no_machine_has_is_a_shape_that_is_wrong() {
    let said = |bytes| Error::OutOfMemory { bytes }.to_string();
    assert!(said(1 << 46).ends_with("release tensors that are no longer used, or ask for less"));
    assert!(said(1 << 62).ends_with("no process can have so many; check the shape"));
}

#[test]
fn a_reshape_says_what_is_wrong_with_the_sizes() {
    let said = |shape: &[i64], target: &[i64]| {
        let words = Error::ReshapeSize { shape: shape.into(), target: target.into() }.to_string();
        words.split(": ").nth(1).unwrap_or_default().to_owned()
    };
    assert_eq!(said(&[2, 3], &[4]), "it has 6 elements, not 4; pass sizes whose product is 6, or -1 for one");
    assert_eq!(said(&[2, 3], &[4, -1]), "6 elements are no multiple of 4; pass other sizes beside -1");
    assert_eq!(said(&[2, 3], &[-1, -1]), "2 sizes are left open; pass -1 for one of them");
    assert_eq!(said(&[0, 3], &[-1, 0]), "beside a 0 any size would do; pass all sizes");
    assert!(said(&[6], &[-2, 3]).starts_with("there are negative sizes"));
    assert!(said(&[6], &[i64::MAX, 3]).starts_with("it has 6 elements; pass"));
}

#[test]
fn a_name_of_no_device_says_what_names_are_like() {
    let error = Error::UnknownDeviceName { name: "gpu".into() };
    assert!(error.to_string().starts_with("\"gpu\" names no device; write"), "{error}");
    assert_eq!(error.kind(), crate::error::Kind::InvalidArgument);
}

#[test]
fn a_name_that_others_have_for_a_dtype_is_understood() {
    let said = |name: &str| Error::UnknownDtypeName { name: name.into() }.to_string();
    assert_eq!(said("f4"), "\"f4\" names no dtype; write float32");
    for name in ["float7", "i8", "f16", "U4"] {
        assert!(said(name).contains("as NumPy does"), "{name}");
    }
}
