//! Results and words do not depend on how the thread reckons.

use super::{self as copy, Casting, CompareOptions, StackOptions, Tolerance};
use crate::dlpack::DLDataType;
use crate::float::{NOTED, USUAL, control, set_control};
use crate::tensor::{Tensor, dtype};

/// What `body` gives on a thread that reckons like that, and has to do so afterwards.
fn under<T>(unusual: u32, body: impl FnOnce() -> T) -> T {
    let before = control();
    set_control(unusual);
    let made = body();
    let after = control();
    set_control(before);
    assert_eq!(after & !NOTED, unusual & !NOTED);
    made
}

/// The elements, or the words of the error.
fn cast(from: &Tensor, dtype: DLDataType, casting: Casting) -> Result<Vec<u8>, String> {
    // SAFETY: nobody writes to the tensors.
    let made = unsafe { copy::cast(from, dtype, casting, None) };
    // SAFETY: packed, and of this function alone.
    made.map(|made| unsafe { bytes(&made) }).map_err(|error| error.to_string())
}

/// # Safety
///
/// The tensor is packed, and nobody writes to it.
unsafe fn bytes(tensor: &Tensor) -> Vec<u8> {
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(tensor.data().cast::<u8>(), tensor.nbytes()) }.to_vec()
}

#[test]
fn results_do_not_depend_on_how_the_thread_reckons() {
    // Subnormal numbers, of which some have a bfloat16, then ties and NaN.
    let numbers = |index: u32| f32::from_bits(0x8000 * (index + 1));
    let narrow: Vec<f32> = (0..99).map(numbers).chain([1.0 + f32::EPSILON, -0.1, f32::NAN]).collect();
    let wide: Vec<f64> = narrow.iter().map(|&number| f64::from(number) * (1.0 + f64::EPSILON)).collect();
    let shape = [narrow.len() as i64];
    let narrow = Tensor::from_vec(narrow, &shape).unwrap();
    let wide = Tensor::from_vec(wide, &shape).unwrap();
    let zeros = Tensor::zeros(&shape, dtype::F32).unwrap();
    let tiny = Tensor::from_vec(vec![5e-324_f64, -1e-310], &[2]).unwrap();
    let all = || {
        let casts = [dtype::BF16, dtype::F16, dtype::F32, dtype::BOOL].map(|to| {
            [Casting::Unsafe, Casting::SameValue]
                .map(|casting| [&narrow, &wide, &tiny].map(|x| cast(x, to, casting)))
        });
        let options = StackOptions { scale: &[0.7], ..Default::default() };
        // SAFETY: nobody writes to the tensors.
        unsafe {
            let found = narrow.compare(&zeros, CompareOptions::default()).unwrap();
            let none = Tensor::zeros(&[2], dtype::F64).unwrap();
            let words = tiny.compare(&none, CompareOptions::default()).unwrap().to_string();
            let mut report = copy::LossReport::default();
            copy::cast(&tiny, dtype::F32, Casting::Unsafe, Some(&mut report)).unwrap();
            let (one, more) = (Tensor::from_vec(vec![1.0_f32], &[]), Tensor::from_vec(vec![1.7_f32], &[]));
            let tolerance = Tolerance { rtol: 0.7, atol: 0.0 };
            let close = more.unwrap().allclose(&one.unwrap(), tolerance, false).unwrap();
            let batch = copy::stack(&[&narrow], Some(dtype::F32), options).unwrap();
            // A number that float32 rounds to its largest, and one that it has no room for.
            let scaled = [1.0 + f64::EPSILON, 2.0].map(|factor| {
                let options = StackOptions { scale: &[f64::from(f32::MAX) * factor], ..options };
                copy::stack(&[&zeros], Some(dtype::F32), options).is_ok()
            });
            assert_eq!(scaled, [true, false]);
            (casts, found.differing, words, report.to_string(), close, bytes(&batch))
        }
    };
    let expected = all();
    const SUBNORMAL_AS_ZERO: u32 = USUAL | 0x8040;
    const UPWARDS: u32 = USUAL | 0x4000;
    const SIGNALS_AT_NAN: u32 = USUAL & !0x80;
    for unusual in [SUBNORMAL_AS_ZERO, UPWARDS, SIGNALS_AT_NAN] {
        assert!(under(unusual, all) == expected, "{unusual:#x}");
    }
}
