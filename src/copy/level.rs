//! Which instructions the kernels use. Found out once; `DLB_SIMD` asks for less.

use std::sync::OnceLock;

/// Instruction sets, each with all of those before it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Level {
    /// What every machine of the architecture has (SSE2 on x86-64).
    Portable,
    /// AVX2, BMI1, BMI2 and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Level {
    pub const ALL: [Level; 3] = [Level::Portable, Level::Avx2, Level::Avx512];

    /// The name, as `DLB_SIMD` takes it.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Portable => "portable",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        }
    }

    /// Whether this machine has it.
    #[cfg(test)]
    pub fn is_available(self) -> bool {
        self <= best()
    }
}

/// The level in use, and what is wrong with the one that `DLB_SIMD` asks for.
struct Choice {
    level: Level,
    complaint: Option<String>,
}

/// The level that kernels are called with.
#[inline]
pub(crate) fn level() -> Level {
    choice().level
}

/// The name of the instruction set that kernels use: "portable", "avx2" or "avx512".
pub fn simd_level() -> &'static str {
    level().name()
}

/// Why `DLB_SIMD` is not heeded, where it is not.
pub fn complaint() -> Option<&'static str> {
    choice().complaint.as_deref()
}

#[inline]
fn choice() -> &'static Choice {
    static CHOICE: OnceLock<Choice> = OnceLock::new();
    CHOICE.get_or_init(|| choose(std::env::var("DLB_SIMD").ok().as_deref(), best()))
}

/// The best of this machine.
fn best() -> Level {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! has { ($($feature:tt),*) => { true $(&& std::arch::is_x86_feature_detected!($feature))* } }
        if has!("avx2", "bmi1", "bmi2", "f16c") {
            let wide = has!("avx512f", "avx512bw", "avx512dq", "avx512vl");
            return if wide { Level::Avx512 } else { Level::Avx2 };
        }
    }
    Level::Portable
}

fn choose(wanted: Option<&str>, best: Level) -> Choice {
    let Some(wanted) = wanted.filter(|wanted| !wanted.is_empty()) else {
        return Choice { level: best, complaint: None };
    };
    let used = best.name();
    let complaint = match Level::ALL.into_iter().find(|level| level.name() == wanted) {
        Some(level) if level <= best => return Choice { level, complaint: None },
        Some(_) => format!("DLB_SIMD={wanted} is ignored: this processor does not have it; {used} is used"),
        None => {
            format!("DLB_SIMD={wanted} is ignored: it is none of portable, avx2 and avx512; {used} is used")
        }
    };
    Choice { level: best, complaint: Some(complaint) }
}

/// A kernel that is compiled once for each level from one generic body, which is `#[inline(always)]`:
///
/// ```text
/// per_level! {
///     /// Fills with ones.
///     pub(super) unsafe fn fill[T: Item](to: *mut T, count: usize) = body;
/// }
/// ```
///
/// gives `unsafe fn fill<T: Item>(level: Level, to: *mut T, count: usize)`, which calls `body::<T>(to, count)`, an
/// `unsafe fn`. The brackets hold the generic parameters: types with one bound, or `const N: usize`. It is as safe as the
/// body is, on a machine that has the level ([`Level::is_available`]; [`level`] gives no other). Where the body is written
/// with AVX2's own instructions, `= body, wide: avx2_body;` names both; AVX-512 is then the second one compiled for it.
///
/// The compiler never fuses a multiplication with an addition by itself, so every level gives the same bits.
macro_rules! per_level {
    (
        $(#[$meta:meta])*
        $visible:vis unsafe fn $name:ident [$($generics:tt)*] ($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?
            = $body:ident;
    ) => {
        $crate::copy::level::per_level! {
            @names [$($generics)*] -> [] {
                $(#[$meta])* $visible $name [$($generics)*] ($($arg: $type),*) [$($result)?] $body $body
            }
        }
    };
    (
        $(#[$meta:meta])*
        $visible:vis unsafe fn $name:ident [$($generics:tt)*] ($($arg:ident: $type:ty),* $(,)?) $(-> $result:ty)?
            = $body:ident, wide: $wide:ident;
    ) => {
        $crate::copy::level::per_level! {
            @names [$($generics)*] -> [] {
                $(#[$meta])* $visible $name [$($generics)*] ($($arg: $type),*) [$($result)?] $body $wide
            }
        }
    };
    // The names of the generic parameters, to hand them on.
    (@names [const $c:ident: $t:ty $(, $($more:tt)*)?] -> [$($seen:ident)*] $rest:tt) => {
        $crate::copy::level::per_level! { @names [$($($more)*)?] -> [$($seen)* $c] $rest }
    };
    (@names [$g:ident $(: $bound:path)? $(, $($more:tt)*)?] -> [$($seen:ident)*] $rest:tt) => {
        $crate::copy::level::per_level! { @names [$($($more)*)?] -> [$($seen)* $g] $rest }
    };
    (@names [] -> [$($g:ident)*] {
        $(#[$meta:meta])* $visible:vis $name:ident [$($generics:tt)*] $args:tt [$($result:ty)?] $body:ident $wide:ident
    }) => {
        $crate::copy::level::per_level! { @make [$($g),*] $args [$($generics)*] {
            $(#[$meta])* $visible $name [$($result)?] $body $wide
        } }
    };
    (@make [$($g:ident),*] ($($arg:ident: $type:ty),*) [$($generics:tt)*] {
        $(#[$meta:meta])* $visible:vis $name:ident [$($result:ty)?] $body:ident $wide:ident
    }) => {
        $(#[$meta])*
        ///
        /// # Safety
        ///
        /// As for the body; the machine has the level.
        #[allow(clippy::too_many_arguments)]
        $visible unsafe fn $name<$($generics)*>(level: $crate::copy::level::Level, $($arg: $type),*) $(-> $result)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,bmi1,bmi2,f16c")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx2<$($generics)*>($($arg: $type),*) $(-> $result)? {
                // SAFETY: promised by the caller.
                unsafe { $wide::<$($g),*>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,bmi1,bmi2,f16c,avx512f,avx512bw,avx512dq,avx512vl")]
            #[allow(clippy::too_many_arguments)]
            unsafe fn avx512<$($generics)*>($($arg: $type),*) $(-> $result)? {
                // SAFETY: promised by the caller.
                unsafe { $wide::<$($g),*>($($arg),*) }
            }
            // SAFETY: promised by the caller, for each.
            unsafe {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    $crate::copy::level::Level::Avx2 => avx2::<$($g),*>($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::copy::level::Level::Avx512 => avx512::<$($g),*>($($arg),*),
                    _ => $body::<$($g),*>($($arg),*),
                }
            }
        }
    };
}
pub(crate) use per_level;

/// For tests: calls `each` with every level that this machine has, and says which it lacks.
#[cfg(test)]
pub(crate) fn on_every_level(mut each: impl FnMut(Level)) {
    for level in Level::ALL {
        match level.is_available() {
            true => each(level),
            false => eprintln!("UNAVAILABLE: this processor has no {}", level.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_level_can_be_asked_for_and_a_higher_one_cannot() {
        for (wanted, best, level, complains) in [
            (None, Level::Avx512, Level::Avx512, false),
            (Some(""), Level::Avx2, Level::Avx2, false),
            (Some("portable"), Level::Avx512, Level::Portable, false),
            (Some("avx2"), Level::Avx2, Level::Avx2, false),
            (Some("avx512"), Level::Avx2, Level::Avx2, true),
            (Some("avx2"), Level::Portable, Level::Portable, true),
            (Some("AVX9"), Level::Avx2, Level::Avx2, true),
        ] {
            let choice = choose(wanted, best);
            assert_eq!((choice.level, choice.complaint.is_some()), (level, complains), "{wanted:?}");
            let names = choice.complaint.is_none_or(|words| words.contains(wanted.unwrap()));
            assert!(names, "{wanted:?}");
        }
    }

    trait Item: Copy {
        const ONE: Self;
    }
    impl Item for u8 {
        const ONE: u8 = 1;
    }

    /// # Safety
    ///
    /// `to` has room for `count` items.
    #[inline(always)]
    unsafe fn body<T: Item, const N: usize>(to: *mut T, count: usize) -> usize {
        for index in 0..count {
            // SAFETY: promised by the caller.
            unsafe { to.add(index).write(T::ONE) }
        }
        N
    }

    /// # Safety
    ///
    /// None.
    #[inline(always)]
    unsafe fn plain(a: usize) -> usize {
        a + 1
    }

    per_level! {
        /// Ones.
        unsafe fn fill[T: Item, const N: usize](to: *mut T, count: usize) -> usize = body;
    }
    per_level! {
        unsafe fn more[](a: usize) -> usize = plain;
    }

    #[test]
    fn a_kernel_does_the_same_on_every_level() {
        on_every_level(|level| {
            let mut bytes = [0_u8; 100];
            // SAFETY: 99 of 100; the level is available.
            let (seven, two) = unsafe { (fill::<u8, 7>(level, bytes.as_mut_ptr(), 99), more(level, 1)) };
            assert_eq!((seven, two, bytes[98], bytes[99]), (7, 2, 1, 0), "{level:?}");
        });
    }
}
