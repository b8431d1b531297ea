//! Element types: which DLPack dtypes exist, how large they are, what they are called.
//!
//! Names follow NumPy and ml_dtypes (`float32`, `bfloat16`, `float8_e4m3fn`); more than one lane is written
//! `float32x4`, as apache-tvm-ffi does.
//!
//! ```
//! use dlbridge::tensor::dtype;
//!
//! let packed = dtype::parse("float4_e2m1fnx2")?;
//! assert_eq!((dtype::item_bits(packed), dtype::item_bytes(packed)), (8, Some(1)));
//! assert_eq!(dtype::item_bytes(dtype::parse("float4_e2m1fn")?), None); // two of them share a byte
//! assert_eq!((dtype::alignment(dtype::F64), dtype::is_known(dtype::F64)), (8, true));
//! assert_eq!(dtype::Name(dtype::BF16).to_string(), "bfloat16");
//! # Ok::<(), dlbridge::Error>(())
//! ```

use crate::dlpack::{DLDataType, DLDataTypeCode};
use crate::error::{Error, Result};
use std::fmt;
use std::str::FromStr;

const fn of(code: DLDataTypeCode, bits: u8) -> DLDataType {
    DLDataType { code, bits, lanes: 1 }
}

/// `int8`.
pub const I8: DLDataType = of(DLDataTypeCode::INT, 8);
/// `int16`.
pub const I16: DLDataType = of(DLDataTypeCode::INT, 16);
/// `int32`.
pub const I32: DLDataType = of(DLDataTypeCode::INT, 32);
/// `int64`.
pub const I64: DLDataType = of(DLDataTypeCode::INT, 64);
/// `uint8`.
pub const U8: DLDataType = of(DLDataTypeCode::UINT, 8);
/// `uint16`.
pub const U16: DLDataType = of(DLDataTypeCode::UINT, 16);
/// `uint32`.
pub const U32: DLDataType = of(DLDataTypeCode::UINT, 32);
/// `uint64`.
pub const U64: DLDataType = of(DLDataTypeCode::UINT, 64);
/// `float32`.
pub const F32: DLDataType = of(DLDataTypeCode::FLOAT, 32);
/// `float64`.
pub const F64: DLDataType = of(DLDataTypeCode::FLOAT, 64);
/// `float16`.
pub const F16: DLDataType = of(DLDataTypeCode::FLOAT, 16);
/// `bfloat16`.
pub const BF16: DLDataType = of(DLDataTypeCode::BFLOAT, 16);
/// `float8_e4m3fn`: no infinity, and up to 448.
pub const F8_E4M3FN: DLDataType = of(DLDataTypeCode::FLOAT8_E4M3FN, 8);
/// `float8_e5m2`: with infinities, and up to 57344.
pub const F8_E5M2: DLDataType = of(DLDataTypeCode::FLOAT8_E5M2, 8);
/// `complex64`: two `float32`.
pub const C64: DLDataType = of(DLDataTypeCode::COMPLEX, 64);
/// `complex128`: two `float64`.
pub const C128: DLDataType = of(DLDataTypeCode::COMPLEX, 128);
/// `bool`: one byte an element; any byte other than 0 counts as true, so it is read as `u8`.
pub const BOOL: DLDataType = of(DLDataTypeCode::BOOL, 8);

/// Every code of DLPack 1.3 with the stem of its name, in the order of the codes.
const STEMS: [&str; 18] = [
    "int",
    "uint",
    "float",
    "opaque",
    "bfloat",
    "complex",
    "bool",
    "float8_e3m4",
    "float8_e4m3",
    "float8_e4m3b11fnuz",
    "float8_e4m3fn",
    "float8_e4m3fnuz",
    "float8_e5m2",
    "float8_e5m2fnuz",
    "float8_e8m0fnu",
    "float6_e2m3fn",
    "float6_e3m2fn",
    "float4_e2m1fn",
];

/// Codes from bool (6) on have one width each, which their name says already.
const FIRST_FIXED: u8 = 6;

/// Whether the code is one that DLPack 1.3 defines.
pub const fn is_known(dtype: DLDataType) -> bool {
    (dtype.code.0 as usize) < STEMS.len()
}

/// Bits of one element: `bits * lanes`.
pub const fn item_bits(dtype: DLDataType) -> u32 {
    dtype.bits as u32 * dtype.lanes as u32
}

/// Bytes of one element where it fills whole bytes, else `None` (packed sub-byte types).
pub const fn item_bytes(dtype: DLDataType) -> Option<usize> {
    let bits = item_bits(dtype);
    if bits.is_multiple_of(8) { Some(bits as usize / 8) } else { None }
}

/// The alignment that typed access to one lane needs, in bytes; 1 for packed sub-byte types.
pub const fn alignment(dtype: DLDataType) -> usize {
    let lane = match dtype.code {
        DLDataTypeCode::COMPLEX => dtype.bits / 2,
        _ => dtype.bits,
    };
    if lane <= 8 { 1 } else { (lane as usize / 8).next_power_of_two() }
}

/// Refuses zero bits or lanes and widths that a known code cannot have (1-bit bool, 8-bit float4, 7-bit float).
/// An unknown code passes: it can be handed on, only typed access to it is refused.
pub(crate) fn check(dtype: DLDataType) -> Result<()> {
    if has_possible_bits(dtype) && dtype.lanes != 0 {
        Ok(())
    } else {
        Err(Error::ImpossibleDtype { dtype: Name(dtype).to_string() })
    }
}

/// Whether the code goes with the bits of one lane.
const fn has_possible_bits(DLDataType { code, bits, .. }: DLDataType) -> bool {
    match code.0 {
        0 | 1 => matches!(bits, 1..=8 | 16 | 32 | 64 | 128),
        2 => matches!(bits, 16 | 32 | 64 | 128),
        3 => bits != 0 && bits.is_multiple_of(8),
        4 => bits == 16,
        5 => matches!(bits, 32 | 64 | 128),
        6..=14 => bits == 8,
        15 | 16 => bits == 6,
        17 => bits == 4,
        _ => bits != 0,
    }
}

/// A dtype that displays as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name(pub DLDataType);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Name(DLDataType { code: DLDataTypeCode(code), bits, lanes }) = *self;
        match STEMS.get(usize::from(code)) {
            Some(stem) if has_possible_bits(self.0) && lanes != 0 => {
                write!(f, "{stem}")?;
                if code < FIRST_FIXED {
                    write!(f, "{bits}")?;
                }
                if lanes == 1 { Ok(()) } else { write!(f, "x{lanes}") }
            }
            _ => write!(f, "dtype(code={code}, bits={bits}, lanes={lanes})"),
        }
    }
}

/// Reads a name as [`Name`] writes it.
pub fn parse(name: &str) -> Result<DLDataType> {
    // The whole name comes first: "complex64" is not 64 lanes of "comple".
    let dtype = scalar(name).or_else(|| {
        let (base, lanes) = name.rsplit_once('x')?;
        Some(DLDataType { lanes: number(lanes)?, ..scalar(base)? })
    });
    let dtype = dtype.filter(|&dtype| check(dtype).is_ok());
    dtype.ok_or_else(|| Error::UnknownDtypeName { name: name.to_owned() })
}

/// A name without lanes; the bits are not checked.
fn scalar(name: &str) -> Option<DLDataType> {
    STEMS.iter().zip(0_u8..).find_map(|(stem, code)| {
        let bits = match (code, name.strip_prefix(stem)?) {
            (..FIRST_FIXED, digits) => number(digits)?,
            (6..=14, "") => 8,
            (15 | 16, "") => 6,
            (_, "") => 4,
            _ => return None,
        };
        Some(DLDataType { code: DLDataTypeCode(code), bits, lanes: 1 })
    })
}

/// Decimal digits and nothing else, no sign either.
fn number<T: FromStr>(digits: &str) -> Option<T> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Rust types that can view the elements of a tensor.
///
/// `bool` is missing on purpose: a foreign bool may hold any byte, which would be undefined behaviour in Rust.
/// Read it as `u8`. With the feature `half` there are `half::f16` and `half::bf16`.
///
/// ```
/// use dlbridge::tensor::{Element, dtype};
///
/// assert_eq!(<f32 as Element>::DTYPE, dtype::F32);
/// ```
///
/// # Safety
///
/// Every bit pattern must be a valid value, and the type must have the size and representation of [`Self::DTYPE`],
/// no padding, and no stricter alignment than [`alignment`] says.
pub unsafe trait Element: Copy + Send + Sync + 'static {
    /// The dtype this type reads and writes.
    const DTYPE: DLDataType;
}

macro_rules! element {
    ($($rust:ty => $dtype:ident),*) => {$(
        // SAFETY: a number: every bit pattern is a value, and its size is that of the dtype.
        unsafe impl Element for $rust {
            const DTYPE: DLDataType = $dtype;
        }
    )*};
}
element!(i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u16 => U16, u32 => U32, u64 => U64, f32 => F32, f64 => F64);
#[cfg(feature = "half")]
element!(half::f16 => F16, half::bf16 => BF16);

#[cfg(test)]
mod tests {
    use super::*;

    fn dtype(code: u8, bits: u8, lanes: u16) -> DLDataType {
        DLDataType { code: DLDataTypeCode(code), bits, lanes }
    }

    #[test]
    fn every_code_has_a_name_that_parses_back() {
        let widths = [8, 8, 32, 64, 16, 64, 8, 8, 8, 8, 8, 8, 8, 8, 8, 6, 6, 4];
        for (code, bits) in (0_u8..).zip(widths) {
            for lanes in [1, 2, 16] {
                let one = dtype(code, bits, lanes);
                check(one).unwrap();
                assert_eq!(parse(&Name(one).to_string()).unwrap(), one, "{}", Name(one));
            }
        }
        assert_eq!(Name(dtype(10, 8, 1)).to_string(), "float8_e4m3fn");
        assert_eq!(Name(dtype(17, 4, 2)).to_string(), "float4_e2m1fnx2");
        assert_eq!(Name(dtype(42, 8, 1)).to_string(), "dtype(code=42, bits=8, lanes=1)");
        assert_eq!(Name(dtype(6, 1, 1)).to_string(), "dtype(code=6, bits=1, lanes=1)");
    }

    #[test]
    fn constants_are_what_their_names_say() {
        let constants = [
            (F16, "float16"),
            (BF16, "bfloat16"),
            (F8_E4M3FN, "float8_e4m3fn"),
            (F8_E5M2, "float8_e5m2"),
            (C64, "complex64"),
            (C128, "complex128"),
            (BOOL, "bool"),
        ];
        for (constant, name) in constants {
            assert_eq!(parse(name), Ok(constant));
        }
    }

    #[test]
    fn names_that_mean_nothing_are_refused() {
        for name in [
            "",
            "float",
            "float7",
            "int",
            "bool8",
            "float32x",
            "float32x0",
            "int9",
            "float32x99999",
            "x2",
            "uint+8",
        ] {
            assert!(parse(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn r54_zero_bits_or_lanes_are_refused() {
        assert!(check(dtype(2, 0, 1)).is_err());
        assert!(check(dtype(2, 32, 0)).is_err());
        assert!(check(dtype(42, 0, 1)).is_err());
    }

    #[test]
    fn r55_impossible_widths_are_refused() {
        for (code, bits) in
            [(6, 1), (17, 8), (2, 7), (2, 8), (4, 32), (5, 16), (10, 16), (15, 8), (0, 9), (3, 7)]
        {
            assert!(check(dtype(code, bits, 1)).is_err(), "code {code} bits {bits}");
        }
    }

    #[test]
    fn alignment_is_that_of_one_lane() {
        assert_eq!(alignment(F64), 8);
        assert_eq!(alignment(dtype(5, 128, 1)), 8);
        assert_eq!(alignment(dtype(2, 32, 4)), 4);
        assert_eq!(alignment(dtype(17, 4, 1)), 1);
        assert_eq!(item_bytes(dtype(17, 4, 1)), None);
        assert_eq!(item_bytes(dtype(17, 4, 2)), Some(1));
    }
}
