//! Where a worker sleeps, and so where it wakes.
//!
//! Linux wakes a thread on the processor where it ran last, if that idles. Else it looks for another that does, but not among
//! few of which one is busy (`SIS_UTIL` in its scheduler, from 5.19 on): a worker that is woken where the caller runs waits
//! for its turn there while the other processor of two idles, until the call is over. So who wakes it moves it away first.

#[cfg(target_os = "linux")]
mod linux {
    use std::mem::{size_of, zeroed};

    pub struct Bed {
        thread: libc::pid_t,
        processor: usize,
        /// Where else the thread may run, where it was moved.
        before: Option<libc::cpu_set_t>,
    }

    /// The processor that this thread is on.
    fn here() -> usize {
        // SAFETY: only tells a number, or -1, which is no processor.
        unsafe { libc::sched_getcpu() as usize }
    }

    impl Bed {
        /// Of this thread.
        pub fn new() -> Bed {
            // SAFETY: only tells a number.
            Bed { thread: unsafe { libc::gettid() }, processor: here(), before: None }
        }

        pub fn is_of_this_thread(&self) -> bool {
            // SAFETY: only tells a number.
            self.thread == unsafe { libc::gettid() }
        }

        /// The caller is going to wake the thread: it is not to wake where the caller is, if it may run elsewhere.
        pub fn leave_to_caller(&mut self) {
            if self.processor != here() || self.before.is_some() {
                return;
            }
            // SAFETY: a set of bits; it is read and written within its size, and the number is that of a processor of it.
            unsafe {
                let mut may = zeroed::<libc::cpu_set_t>();
                let known = libc::sched_getaffinity(self.thread, size_of::<libc::cpu_set_t>(), &mut may) == 0;
                if !known || self.processor >= libc::CPU_SETSIZE as usize || libc::CPU_COUNT(&may) < 2 {
                    return;
                }
                let mut elsewhere = may;
                libc::CPU_CLR(self.processor, &mut elsewhere);
                if libc::sched_setaffinity(self.thread, size_of::<libc::cpu_set_t>(), &elsewhere) == 0 {
                    self.before = Some(may);
                }
            }
        }

        /// The thread is awake, and may run wherever it could before.
        pub fn rise(self) {
            if let Some(may) = self.before {
                // SAFETY: reads a set of bits of this size.
                unsafe { libc::sched_setaffinity(self.thread, size_of::<libc::cpu_set_t>(), &may) };
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod linux {
    pub struct Bed;
}

pub(super) use linux::Bed;
