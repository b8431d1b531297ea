//! Where a worker sleeps, and where it is not to wake: on the caller's processor, where it would wait for its turn until the
//! call is over.
//!
//! Linux wakes it there on machines of few processors. It looks for an idle one only among many (`SIS_UTIL` in its scheduler),
//! and in a virtual machine takes a processor that sleeps for one that the host has taken away.

#[cfg(target_os = "linux")]
use std::mem::{size_of, zeroed};

/// A thread that sleeps.
#[cfg(target_os = "linux")]
pub(super) struct Bed {
    thread: libc::pid_t,
    /// Where it may run, where that was narrowed.
    before: Option<libc::cpu_set_t>,
}

#[cfg(target_os = "linux")]
impl Bed {
    /// Of this thread.
    pub fn new() -> Bed {
        Bed { thread: this_thread(), before: None }
    }

    pub fn is_of_this_thread(&self) -> bool {
        self.thread == this_thread()
    }

    /// The caller is going to wake the thread, which may run on any processor but the caller's then, if there is another.
    pub fn keep_off_caller(&mut self) {
        // SAFETY: only tells a number; -1 is that of no processor.
        let here = unsafe { libc::sched_getcpu() } as usize;
        if self.before.is_some() || here >= libc::CPU_SETSIZE as usize {
            return;
        }
        // SAFETY: all zeros is a set; the functions read and write one of this size, and `here` is within it.
        unsafe {
            let mut all = zeroed::<libc::cpu_set_t>();
            if libc::sched_getaffinity(self.thread, size_of::<libc::cpu_set_t>(), &mut all) != 0 {
                return;
            }
            let mut others = all;
            libc::CPU_CLR(here, &mut others);
            // The system refuses a set of none.
            if libc::sched_setaffinity(self.thread, size_of::<libc::cpu_set_t>(), &others) == 0 {
                self.before = Some(all);
            }
        }
    }

    /// The thread is awake, and may run again wherever it might before.
    pub fn rise(self) {
        if let Some(all) = self.before {
            // SAFETY: reads a set of this size.
            unsafe { libc::sched_setaffinity(self.thread, size_of::<libc::cpu_set_t>(), &all) };
        }
    }
}

#[cfg(target_os = "linux")]
fn this_thread() -> libc::pid_t {
    // SAFETY: only tells a number.
    unsafe { libc::gettid() }
}

/// Elsewhere the system is left to choose.
#[cfg(not(target_os = "linux"))]
pub(super) struct Bed(std::thread::ThreadId);

#[cfg(not(target_os = "linux"))]
impl Bed {
    pub fn new() -> Bed {
        Bed(std::thread::current().id())
    }

    pub fn is_of_this_thread(&self) -> bool {
        self.0 == std::thread::current().id()
    }

    pub fn keep_off_caller(&mut self) {}

    pub fn rise(self) {}
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn processors(thread: libc::pid_t) -> i32 {
        // SAFETY: as above.
        unsafe {
            let mut set = zeroed::<libc::cpu_set_t>();
            assert_eq!(libc::sched_getaffinity(thread, size_of::<libc::cpu_set_t>(), &mut set), 0);
            libc::CPU_COUNT(&set)
        }
    }

    #[test]
    fn a_thread_that_was_woken_may_run_wherever_it_might_before() {
        let (give, bed) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<Bed>();
        let worker = std::thread::spawn(move || {
            give.send(Bed::new()).unwrap();
            let bed = woken.recv().unwrap();
            assert!(bed.is_of_this_thread());
            bed.rise();
            processors(this_thread())
        });
        let mut bed = bed.recv().unwrap();
        let all = processors(bed.thread);
        for _ in 0..2 {
            bed.keep_off_caller();
            assert_eq!(processors(bed.thread), (all - 1).max(1));
        }
        assert!(!bed.is_of_this_thread());
        wake.send(bed).unwrap();
        assert_eq!(worker.join().unwrap(), all);
    }
}
