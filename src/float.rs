//! How a thread reckons with floating-point numbers. Programs have it take subnormal numbers for 0
//! (`torch.set_flush_denormal(True)`, libraries built with -ffast-math), round elsewhere, or raise a signal at a NaN; results
//! here depend on none of that, nor on the thread that happens to work out a part of them.

/// While it is there, this thread reckons as every thread does at first. Afterwards as it did before.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Usual {
    before: u32,
}

/// Nothing is treated specially, all exceptions are masked, and numbers are rounded to the nearest.
#[cfg(target_arch = "x86_64")]
pub(crate) const USUAL: u32 = 0x1f80;
/// What was noted of exceptions so far: it has no effect.
#[cfg(target_arch = "x86_64")]
pub(crate) const NOTED: u32 = 0x3f;

#[cfg(target_arch = "x86_64")]
impl Usual {
    pub fn here() -> Usual {
        let before = control();
        if before & !NOTED != USUAL {
            set_control(USUAL);
        }
        Usual { before }
    }
}

#[cfg(target_arch = "x86_64")]
impl Drop for Usual {
    fn drop(&mut self) {
        if self.before & !NOTED != USUAL {
            set_control(self.before);
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn control() -> u32 {
    let mut control = 0_u32;
    // SAFETY: writes the four bytes.
    unsafe { std::arch::asm!("stmxcsr [{}]", in(reg) &raw mut control, options(nostack, preserves_flags)) };
    control
}

#[cfg(target_arch = "x86_64")]
pub(crate) fn set_control(control: u32) {
    // SAFETY: reads the four bytes, which are what a thread has had, so that no reserved bit is set. What was noted of
    // exceptions counts as flags, which it does not preserve.
    unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &raw const control, options(nostack)) };
}

/// Elsewhere the thread is left as it is.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) struct Usual;

#[cfg(not(target_arch = "x86_64"))]
impl Usual {
    pub fn here() -> Usual {
        Usual
    }
}

/// What `body` gives where this thread reckons as every thread does at first: it is a call of its own, so the compiler, to
/// whom numbers depend on no such thing, works none of them out before or afterwards.
pub(crate) fn usually<T>(body: impl FnOnce() -> T) -> T {
    #[inline(never)]
    fn apart<T>(body: impl FnOnce() -> T) -> T {
        body()
    }
    let _usual = Usual::here();
    apart(body)
}
