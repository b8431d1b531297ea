//! Rows of elements: read into a wider type, then converted from there, each in one pass that notes whether anything
//! was lost.

use super::convert::{Bool, Load, To};
use super::scalar::{Kind, Scalar};
use super::small::{Bf16, E4M3, E5M2, F16};
#[cfg(target_arch = "x86_64")]
use super::{brain, byte, half, word};
use crate::copy::level::{Level, per_level};

/// Converts `count` elements that lie one after the other, at any alignment; whether what was to be noted happened.
///
/// # Safety
///
/// So many elements are at the first address and room for as many at the second, which share no memory. The machine has
/// the level.
pub(in crate::copy) type Row = unsafe fn(level: Level, from: *const u8, to: *mut u8, count: usize) -> bool;

/// What a conversion notes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::copy) enum Notes {
    Nothing,
    /// Values out of range.
    Misfits,
    /// Values that are not the same any more.
    Changes,
}

pub(super) const NOTHING: u8 = Notes::Nothing as u8;
pub(super) const MISFITS: u8 = Notes::Misfits as u8;
pub(super) const CHANGES: u8 = Notes::Changes as u8;

/// # Safety
///
/// As for [`Row`].
#[inline(always)]
pub(super) unsafe fn load_body<S: Load>(from: *const u8, to: *mut u8, count: usize) -> bool {
    let (from, to) = (from.cast::<S>(), to.cast::<S::Wide>());
    for index in 0..count {
        // SAFETY: promised by the caller.
        unsafe { to.add(index).write_unaligned(from.add(index).read_unaligned().load()) }
    }
    false
}

/// # Safety
///
/// As for [`Row`].
#[inline(always)]
unsafe fn convert_body<W: To<D>, D, const SATURATE: bool, const NOTES: u8>(
    from: *const u8,
    to: *mut u8,
    count: usize,
) -> bool
where
    D: Copy,
{
    let (from, to) = (from.cast::<W>(), to.cast::<D>());
    let mut noted = false;
    for index in 0..count {
        // SAFETY: promised by the caller.
        unsafe {
            let value = from.add(index).read_unaligned();
            let made = if SATURATE { value.saturate() } else { value.plain() };
            to.add(index).write_unaligned(made);
            noted |= match NOTES {
                CHANGES => !value.keeps(made),
                MISFITS => !value.fits(made),
                _ => false,
            };
        }
    }
    noted
}

per_level! {
    /// Reads a row into the wider type.
    unsafe fn load[S: Load](from: *const u8, to: *mut u8, count: usize) -> bool = load_body;
}
per_level! {
    /// Converts a row from the wider type.
    unsafe fn convert[W: To<D>, D: Copy, const SATURATE: bool, const NOTES: u8](
        from: *const u8, to: *mut u8, count: usize
    ) -> bool = convert_body;
}

/// Converts what a faster way has left of a row: it tells how many elements it has done, and what it noted.
///
/// # Safety
///
/// As for [`Row`], of the whole row.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn finish<W: To<D>, D: Copy, const SATURATE: bool, const NOTES: u8>(
    level: Level,
    from: *const u8,
    to: *mut u8,
    count: usize,
    (done, noted): (usize, bool),
) -> bool {
    let (from, to) = (from.wrapping_add(done * size_of::<W>()), to.wrapping_add(done * size_of::<D>()));
    // SAFETY: promised by the caller.
    noted | unsafe { convert::<W, D, SATURATE, NOTES>(level, from, to, count - done) }
}

impl Scalar {
    /// The type that a real one is read into.
    pub fn wide(self) -> Scalar {
        match self {
            Scalar::Bool | Scalar::I8 | Scalar::U8 | Scalar::I16 | Scalar::U16 | Scalar::I32 => Scalar::I32,
            Scalar::U32 | Scalar::I64 => Scalar::I64,
            Scalar::U64 => Scalar::U64,
            Scalar::F64 => Scalar::F64,
            _ => Scalar::F32,
        }
    }

    /// Reads rows of a real type into [`Self::wide`].
    pub fn load(self) -> Row {
        match self {
            Scalar::Bool => load::<Bool>,
            Scalar::I8 => load::<i8>,
            Scalar::I16 => load::<i16>,
            Scalar::I32 => load::<i32>,
            Scalar::I64 => load::<i64>,
            Scalar::U8 => load::<u8>,
            Scalar::U16 => load::<u16>,
            Scalar::U32 => load::<u32>,
            Scalar::U64 => load::<u64>,
            #[cfg(target_arch = "x86_64")]
            Scalar::F16 => half::load,
            #[cfg(not(target_arch = "x86_64"))]
            Scalar::F16 => load::<F16>,
            Scalar::Bf16 => load::<Bf16>,
            Scalar::F32 | Scalar::C64 => load::<f32>,
            Scalar::F64 | Scalar::C128 => load::<f64>,
            Scalar::E4M3 => load::<E4M3>,
            Scalar::E5M2 => load::<E5M2>,
        }
    }
}

/// The conversion from one type to another, in each of the ways.
fn ways<W: To<D>, D: Copy>(saturate: bool, notes: Notes) -> Row {
    match (saturate, notes) {
        (false, Notes::Nothing) => convert::<W, D, false, NOTHING>,
        (false, Notes::Misfits) => convert::<W, D, false, MISFITS>,
        (false, Notes::Changes) => convert::<W, D, false, CHANGES>,
        (true, Notes::Nothing) => convert::<W, D, true, NOTHING>,
        (true, _) => convert::<W, D, true, CHANGES>,
    }
}

/// Those that cannot leave the range, and so saturate by themselves.
fn tame<W: To<D>, D: Copy>(notes: Notes) -> Row {
    match notes {
        Notes::Changes => convert::<W, D, false, CHANGES>,
        _ => convert::<W, D, false, NOTHING>,
    }
}

/// Converts rows from a type that others are read into to another real type; `None` where the two are the same.
///
/// Misfits are noted only where the kind of `to` is that of `wide` or a more general one: otherwise they are changes.
pub(super) fn convert_row(wide: Scalar, to: Scalar, saturate: bool, notes: Notes) -> Option<Row> {
    let notes = match notes {
        Notes::Misfits if wide.kind() == Kind::Float && to.kind() != Kind::Float => Notes::Changes,
        notes => notes,
    };
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! clamping {
            ($module:ident) => {
                return Some(match (saturate, notes) {
                    (false, Notes::Nothing) => $module::convert::<false, NOTHING>,
                    (false, Notes::Misfits) => $module::convert::<false, MISFITS>,
                    (false, Notes::Changes) => $module::convert::<false, CHANGES>,
                    (true, Notes::Nothing) => $module::convert::<true, NOTHING>,
                    (true, _) => $module::convert::<true, CHANGES>,
                })
            };
        }
        macro_rules! plain {
            ($module:ident) => {
                return Some(match notes {
                    Notes::Nothing => $module::convert::<NOTHING>,
                    Notes::Misfits => $module::convert::<MISFITS>,
                    Notes::Changes => $module::convert::<CHANGES>,
                })
            };
        }
        match (wide, to) {
            (Scalar::F32, Scalar::F16) => clamping!(half),
            (Scalar::F32, Scalar::U8) => clamping!(byte),
            (Scalar::F32, Scalar::Bf16) if !saturate => plain!(brain),
            (Scalar::I64, Scalar::I32) if !saturate => plain!(word),
            _ => {}
        }
    }
    macro_rules! row {
        ($($wide:ident($from:ty): {$($wild:ident($to:ty))*} {$($safe:ident($tame:ty))*};)*) => {
            match (wide, to) {
                $(
                    $((Scalar::$wide, Scalar::$wild) => ways::<$from, $to>(saturate, notes),)*
                    $((Scalar::$wide, Scalar::$safe) => tame::<$from, $tame>(notes),)*
                )*
                _ => return None,
            }
        };
    }
    Some(row! {
        I32(i32): {I8(i8) U8(u8) I16(i16) U16(u16) U32(u32) U64(u64) F16(F16) E4M3(E4M3) E5M2(E5M2)}
            {Bool(Bool) I64(i64) Bf16(Bf16) F32(f32) F64(f64)};
        I64(i64): {I8(i8) U8(u8) I16(i16) U16(u16) I32(i32) U32(u32) U64(u64) F16(F16) E4M3(E4M3) E5M2(E5M2)}
            {Bool(Bool) Bf16(Bf16) F32(f32) F64(f64)};
        U64(u64): {I8(i8) U8(u8) I16(i16) U16(u16) I32(i32) U32(u32) I64(i64) F16(F16) E4M3(E4M3) E5M2(E5M2)}
            {Bool(Bool) Bf16(Bf16) F32(f32) F64(f64)};
        F32(f32): {I8(i8) U8(u8) I16(i16) U16(u16) I32(i32) U32(u32) I64(i64) U64(u64)
            F16(F16) Bf16(Bf16) E4M3(E4M3) E5M2(E5M2)} {Bool(Bool) F64(f64)};
        F64(f64): {I8(i8) U8(u8) I16(i16) U16(u16) I32(i32) U32(u32) I64(i64) U64(u64)
            F16(F16) Bf16(Bf16) F32(f32) E4M3(E4M3) E5M2(E5M2)} {Bool(Bool)};
    })
}
