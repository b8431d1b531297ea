//! The dtypes that are cast, what they are by NumPy's reckoning, and single elements of them.

use super::small::{self, Small};
use crate::dlpack::DLDataType;
use crate::tensor::dtype;
use std::fmt;

/// A dtype that can be cast.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(clippy::upper_case_acronyms, reason = "they are called so")]
pub(in crate::copy) enum Scalar {
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    F16,
    Bf16,
    F32,
    F64,
    E4M3,
    E5M2,
    C64,
    C128,
}
use Scalar::*;

/// NumPy's kinds, from the least general to the most.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::copy) enum Kind {
    Bool,
    Unsigned,
    Signed,
    Float,
    Complex,
}

impl Scalar {
    pub const ALL: [Scalar; 17] =
        [Bool, I8, I16, I32, I64, U8, U16, U32, U64, F16, Bf16, F32, F64, E4M3, E5M2, C64, C128];

    /// The name, as [`dtype::Name`] writes it.
    pub const fn name(self) -> &'static str {
        const NAMES: [&str; 17] = [
            "bool",
            "int8",
            "int16",
            "int32",
            "int64",
            "uint8",
            "uint16",
            "uint32",
            "uint64",
            "float16",
            "bfloat16",
            "float32",
            "float64",
            "float8_e4m3fn",
            "float8_e5m2",
            "complex64",
            "complex128",
        ];
        NAMES[self as usize]
    }

    /// The one that a dtype is; `None` where it is not cast.
    pub fn of(dtype: DLDataType) -> Option<Self> {
        let name = dtype::Name(dtype).to_string();
        Self::ALL.into_iter().find(|scalar| scalar.name() == name)
    }

    pub const fn bytes(self) -> usize {
        match self {
            Bool | I8 | U8 | E4M3 | E5M2 => 1,
            I16 | U16 | F16 | Bf16 => 2,
            I32 | U32 | F32 => 4,
            I64 | U64 | F64 | C64 => 8,
            C128 => 16,
        }
    }

    pub const fn kind(self) -> Kind {
        match self {
            Bool => Kind::Bool,
            U8 | U16 | U32 | U64 => Kind::Unsigned,
            I8 | I16 | I32 | I64 => Kind::Signed,
            F16 | Bf16 | F32 | F64 | E4M3 | E5M2 => Kind::Float,
            C64 | C128 => Kind::Complex,
        }
    }

    /// The type of the real and the imaginary part; of a real type itself.
    pub const fn part(self) -> Self {
        match self {
            C64 => F32,
            C128 => F64,
            real => real,
        }
    }

    pub const fn is_complex(self) -> bool {
        matches!(self, C64 | C128)
    }

    /// The bytes of an element that nobody takes for a result.
    pub fn mark(self) -> [u8; 16] {
        let mut mark = [0; 16];
        match self.kind() {
            Kind::Bool => mark[0] = 1,
            Kind::Unsigned => mark.fill(0xff),
            Kind::Signed => mark[self.bytes() - 1] = 0x80,
            // A NaN of every type, with every bit set.
            Kind::Float | Kind::Complex => mark.fill(0xff),
        }
        mark
    }

    /// Reads one element.
    ///
    /// # Safety
    ///
    /// One lies there.
    pub unsafe fn read(self, at: *const u8) -> Value {
        // SAFETY: promised by the caller; complex numbers are two of their parts.
        unsafe {
            macro_rules! integer {
                ($type:ty) => {
                    Value::Integer(at.cast::<$type>().read_unaligned().into())
                };
            }
            macro_rules! small {
                ($type:ident) => {
                    Value::real(at.cast::<small::$type>().read_unaligned().widen().into(), true)
                };
            }
            match self {
                Bool => Value::Bool(at.read() != 0),
                I8 => integer!(i8),
                I16 => integer!(i16),
                I32 => integer!(i32),
                I64 => integer!(i64),
                U8 => integer!(u8),
                U16 => integer!(u16),
                U32 => integer!(u32),
                U64 => integer!(u64),
                F16 => small!(F16),
                Bf16 => small!(Bf16),
                E4M3 => small!(E4M3),
                E5M2 => small!(E5M2),
                F32 => Value::real(at.cast::<f32>().read_unaligned().into(), true),
                F64 => Value::real(at.cast::<f64>().read_unaligned(), false),
                C64 | C128 => {
                    let parts = (self.part().read(at), self.part().read(at.add(self.part().bytes())));
                    Value::Complex {
                        real: parts.0.to_f64(),
                        imaginary: parts.1.to_f64(),
                        single: self == C64,
                    }
                }
            }
        }
    }
}

/// An element of any dtype.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(in crate::copy) enum Value {
    Bool(bool),
    Integer(i128),
    /// `single`: no more than float32 has.
    Real {
        value: f64,
        single: bool,
    },
    Complex {
        real: f64,
        imaginary: f64,
        single: bool,
    },
}

impl Value {
    fn real(value: f64, single: bool) -> Self {
        Value::Real { value, single }
    }

    /// The real part, rounded where it is an integer beyond 2^53.
    pub fn to_f64(self) -> f64 {
        match self {
            Value::Bool(value) => f64::from(u8::from(value)),
            Value::Integer(value) => value as f64,
            Value::Real { value, .. } | Value::Complex { real: value, .. } => value,
        }
    }

    pub fn imaginary(self) -> f64 {
        match self {
            Value::Complex { imaginary, .. } => imaginary,
            _ => 0.0,
        }
    }

    /// The real part, where it is an integer of any size.
    pub fn to_integer(self) -> Option<i128> {
        match self {
            Value::Bool(value) => Some(value.into()),
            Value::Integer(value) => Some(value),
            // Every float64 below 2^127 in size is a multiple of its last place, so this is exact where it is equal.
            Value::Real { value, .. } | Value::Complex { real: value, .. } => {
                (value.abs() < 1e38 && value.trunc() == value).then_some(value as i128)
            }
        }
    }
}

impl Value {
    /// What was made of `source`, as Python writes it: an integer in full, else with the digits of float64, in which two
    /// numbers that differ look different. float32 calls many numbers 0.1.
    pub fn text_beside(self, source: Value) -> String {
        self.text(if matches!(source, Value::Integer(_)) { Digits::All } else { Digits::Double })
    }

    fn text(self, digits: Digits) -> String {
        match self {
            Value::Bool(true) => "True".into(),
            Value::Bool(false) => "False".into(),
            Value::Integer(value) => value.to_string(),
            Value::Real { value, .. } => digits.of(value),
            Value::Complex { real, imaginary, .. } => {
                let part = |value| digits.of(value).trim_end_matches(".0").to_owned();
                let sign = if imaginary.is_sign_negative() && !imaginary.is_nan() { "" } else { "+" };
                format!("({}{sign}{}j)", part(real), part(imaginary))
            }
        }
    }
}

/// As Python writes it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let single = matches!(self, Value::Real { single: true, .. } | Value::Complex { single: true, .. });
        f.write_str(&self.text(if single { Digits::Single } else { Digits::Double }))
    }
}

/// With how many digits a floating-point number is written.
#[derive(Clone, Copy)]
enum Digits {
    /// As few as tell it from all others of float32, or of float64.
    Single,
    Double,
    /// Those of a whole number, every one.
    All,
}

impl Digits {
    fn of(self, value: f64) -> String {
        match self {
            _ if value.is_nan() => "nan".into(),
            Digits::Single => format!("{:?}", value as f32),
            Digits::Double => format!("{value:?}"),
            Digits::All => format!("{value:.1}"),
        }
    }
}
