//! `dlb_equal` and `dlb_allclose`: two tensors compared in one pass.

use super::memory::check_size;
use super::status::{dlb_status, output, required, status};
use super::tensor::{borrowed, dlb_tensor};
use crate::copy::{CompareOptions, Comparison, Difference, Rule, Tolerance, Value, Worst};
use crate::error::Result;
use crate::tensor::Tensor;

/// How `dlb_equal()` and `dlb_allclose()` compare. Set `struct_size` to `sizeof(dlb_compare_options)` and the rest to
/// zero; every field counts as it is, a tolerance of 0 too.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_compare_options {
    /// `sizeof(dlb_compare_options)`.
    pub struct_size: usize,
    /// Not 0: NaN equals NaN.
    pub equal_nan: i32,
    /// Not 0: `dlb_equal()` asks for the same dtype too.
    pub strict: i32,
    /// What `dlb_allclose()` allows in proportion to `b`; NumPy's is 1e-5.
    pub rtol: f64,
    /// What it always allows; NumPy's is 1e-8.
    pub atol: f64,
}

/// Two elements with the same indices.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_difference {
    /// Their place in row-major order, in the shape that both tensors broadcast to; -1 where there are no such elements,
    /// and then the rest is 0.
    pub place: i64,
    /// `|a - b|` or `|a - b| / |b|`, whichever is the largest here.
    pub error: f64,
    /// Real and imaginary part of the element of `a`, as doubles: a 64-bit integer beyond 2^53 is rounded.
    pub a: [f64; 2],
    /// The same of `b`.
    pub b: [f64; 2],
}

/// What a comparison found. Set `struct_size` to `sizeof(dlb_comparison)` before the call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct dlb_comparison {
    /// `sizeof(dlb_comparison)`.
    pub struct_size: usize,
    /// Pairs of elements that were compared: none where the shapes of `dlb_equal()` differ.
    pub compared: u64,
    /// Those that do not count as one.
    pub differing: u64,
    /// The first of those, with its absolute error.
    pub first: dlb_difference,
    /// The largest absolute error of all pairs. NaN does not take part.
    pub absolute: dlb_difference,
    /// The largest relative error of all pairs.
    pub relative: dlb_difference,
}

/// Whether both tensors have the same shape and the same values: NumPy's `array_equal`, in one pass without a temporary.
///
/// They may have any dtypes of whole bytes and one lane, and any strides. Dtypes that differ are compared as NumPy promotes
/// them: integers exactly, a 64-bit integer beside a float as float64. Without a report the first difference ends it. From
/// 512 KiB on several threads share the work.
///
/// All are borrowed. `options` may be NULL: NaN differs from NaN, and dtypes may differ. `report` may be NULL; otherwise
/// every element is looked at. `*out` becomes 1 or 0. Fails with `DLB_ERROR_INVALID_ARGUMENT` (NULL `a`, `b` or `out`, a
/// `struct_size` that is too small), `DLB_ERROR_UNSUPPORTED` (memory that the host cannot read, sub-byte elements, several
/// lanes), and with the error of an asynchronous copy into either that failed. Waits for such copies. Thread-safe; nobody may
/// write to the elements meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_equal(
    a: *const dlb_tensor,
    b: *const dlb_tensor,
    options: *const dlb_compare_options,
    report: *mut dlb_comparison,
    out: *mut i32,
) -> dlb_status {
    // SAFETY: as `compare` asks for.
    unsafe { compare(a, b, options, report, out, |_| Rule::Equal) }
}

/// Whether `|a - b| <= atol + rtol * |b|` everywhere: NumPy's `allclose`, in one pass without a temporary.
///
/// The shapes broadcast as NumPy's do. Each step is rounded as there: to the promoted dtype for the difference, to that of
/// `b` for what is allowed; integers, bfloat16 and float8 are reckoned in float64. Infinities are close to themselves only,
/// NaN to nothing, or with `equal_nan` to NaN.
///
/// As `dlb_equal()`, but for `options`: NULL stands for rtol 1e-5 and atol 1e-8. Fails besides with
/// `DLB_ERROR_INVALID_ARGUMENT` (shapes that do not broadcast, or to 2^63 pairs and more; a tolerance that is NaN).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dlb_allclose(
    a: *const dlb_tensor,
    b: *const dlb_tensor,
    options: *const dlb_compare_options,
    report: *mut dlb_comparison,
    out: *mut i32,
) -> dlb_status {
    let rule = |options: Option<dlb_compare_options>| {
        let given = options.map(|options| Tolerance { rtol: options.rtol, atol: options.atol });
        Rule::Close(given.unwrap_or_default())
    };
    // SAFETY: as `compare` asks for.
    unsafe { compare(a, b, options, report, out, rule) }
}

/// # Safety
///
/// The tensors are NULL or alive, the structs NULL or what they say they are, `out` NULL or a place to write to.
unsafe fn compare(
    a: *const dlb_tensor,
    b: *const dlb_tensor,
    options: *const dlb_compare_options,
    report: *mut dlb_comparison,
    out: *mut i32,
    rule: impl FnOnce(Option<dlb_compare_options>) -> Rule,
) -> dlb_status {
    status(|| {
        required(a, "a")?;
        required(b, "b")?;
        let out = output(out)?;
        // SAFETY: not NULL, so live tensors.
        let (a, b) = unsafe { (borrowed(a)?, borrowed(b)?) };
        let given = match options.is_null() {
            true => None,
            // SAFETY: not NULL, so a struct that begins with its size.
            false => Some(unsafe { *check_size(options, "dlb_compare_options")? }),
        };
        let flag =
            |field: fn(&dlb_compare_options) -> i32| given.as_ref().is_some_and(|given| field(given) != 0);
        let (equal_nan, strict) = (flag(|given| given.equal_nan), flag(|given| given.strict));
        let options = CompareOptions { rule: rule(given), equal_nan, strict };
        // SAFETY: promised by the caller.
        let equal = unsafe { answer(&a, &b, options, report) }?;
        // SAFETY: not NULL, so a place to write to.
        unsafe { out.write(equal.into()) };
        Ok(())
    })
}

/// # Safety
///
/// `report` is NULL or begins with its size; nobody writes to the elements.
unsafe fn answer(
    a: &Tensor,
    b: &Tensor,
    options: CompareOptions,
    report: *mut dlb_comparison,
) -> Result<bool> {
    if report.is_null() {
        // SAFETY: promised by the caller.
        return unsafe { a.equal(b, options) };
    }
    // SAFETY: not NULL, so a struct that begins with its size.
    let struct_size = unsafe { (*check_size(report, "dlb_comparison")?).struct_size };
    // SAFETY: as above.
    let found = unsafe { a.compare(b, options) }?;
    // SAFETY: as large as it says, which is at least this struct; its size stays what it is.
    unsafe { report.write(describe(&found, struct_size)) };
    Ok(found.equal)
}

fn describe(found: &Comparison, struct_size: usize) -> dlb_comparison {
    let worst =
        |worst: &Option<Worst>| worst.as_ref().map_or(NOWHERE, |worst| difference(&worst.at, worst.error));
    let first = found.first.as_ref();
    dlb_comparison {
        struct_size,
        compared: found.compared as u64,
        differing: found.differing as u64,
        first: first.map_or(NOWHERE, |first| difference(first, first.values[0].distance(first.values[1]))),
        absolute: worst(&found.absolute),
        relative: worst(&found.relative),
    }
}

const NOWHERE: dlb_difference = dlb_difference { place: -1, error: 0.0, a: [0.0; 2], b: [0.0; 2] };

fn difference(at: &Difference, error: f64) -> dlb_difference {
    let [a, b] = at.values.map(Value::parts);
    dlb_difference { place: at.place as i64, error, a, b }
}
