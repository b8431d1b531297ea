//! Where a worker sleeps, and where it is not to wake: on the caller's processor, where it would wait for its turn until the
//! call is over.
//!
//! Linux wakes it there on machines of few processors. It looks for an idle one only among many (`SIS_UTIL` in its scheduler),
//! and in a virtual machine takes a processor that sleeps for one that the host has taken away.

#[cfg(target_os = "linux")]
pub(super) use libc::pid_t as Thread;
#[cfg(target_os = "linux")]
use libc::{CPU_CLR, CPU_ISSET, cpu_set_t};
#[cfg(target_os = "linux")]
use std::mem::{size_of, zeroed};
#[cfg(not(target_os = "linux"))]
pub(super) use std::thread::ThreadId as Thread;

/// A thread that sleeps.
pub(super) struct Bed {
    thread: Thread,
    #[cfg(target_os = "linux")]
    narrowed: Option<Narrowed>,
}

/// Where a thread might run, and where it may instead.
#[cfg(target_os = "linux")]
struct Narrowed {
    before: cpu_set_t,
    to: cpu_set_t,
}

impl Bed {
    pub fn of(thread: Thread) -> Bed {
        Bed {
            thread,
            #[cfg(target_os = "linux")]
            narrowed: None,
        }
    }

    pub fn is_of(&self, thread: Thread) -> bool {
        self.thread == thread
    }
}

#[cfg(target_os = "linux")]
impl Bed {
    /// The caller is going to wake the thread, which may run on any processor but the caller's then, if there is another.
    pub fn keep_off_caller(&mut self) {
        // SAFETY: only tells a number; -1 is that of no processor.
        let here = unsafe { libc::sched_getcpu() } as usize;
        if self.narrowed.is_some() || here >= libc::CPU_SETSIZE as usize {
            return;
        }
        let Some(before) = allowed(self.thread) else { return };
        let mut to = before;
        // SAFETY: `here` is within the set.
        unsafe { CPU_CLR(here, &mut to) };
        // The system refuses a set of none.
        if allow(self.thread, &to) {
            self.narrowed = Some(Narrowed { before, to });
        }
    }

    pub fn is_narrowed(&self) -> bool {
        self.narrowed.is_some()
    }

    /// The thread is awake, and may run again wherever it might before.
    pub fn rise(self) {
        let Some(Narrowed { before, to }) = self.narrowed else { return };
        let Some(now) = allowed(self.thread) else { return };
        // Whoever moved it meanwhile has the last word.
        if lacks(&now, &to) || lacks(&to, &now) {
            return;
        }
        // The system keeps a set that was asked for, also where the machine or the container is given more processors. So all
        // are asked for, of which it gives what is there; a thread that had been given fewer of those gets them again.
        // SAFETY: all ones is a set.
        let all = unsafe {
            std::mem::transmute::<[u8; size_of::<cpu_set_t>()], cpu_set_t>([0xff; size_of::<cpu_set_t>()])
        };
        let given = if allow(self.thread, &all) { allowed(self.thread) } else { None };
        if given.is_none_or(|given| lacks(&before, &given) && !lacks(&given, &before)) {
            allow(self.thread, &before);
        }
    }
}

/// Whether a set has not all processors of another one.
#[cfg(target_os = "linux")]
fn lacks(some: &cpu_set_t, others: &cpu_set_t) -> bool {
    // SAFETY: the processors are within the sets.
    (0..libc::CPU_SETSIZE as usize).any(|each| unsafe { CPU_ISSET(each, others) && !CPU_ISSET(each, some) })
}

/// Where a thread may run; `None` where that cannot be told, as of more processors than a set has room for.
#[cfg(target_os = "linux")]
fn allowed(thread: Thread) -> Option<cpu_set_t> {
    // SAFETY: all zeros is a set, and the function writes one of this size.
    unsafe {
        let mut set = zeroed::<cpu_set_t>();
        (libc::sched_getaffinity(thread, size_of::<cpu_set_t>(), &mut set) == 0).then_some(set)
    }
}

/// Has it run there; whether it may.
#[cfg(target_os = "linux")]
fn allow(thread: Thread, set: &cpu_set_t) -> bool {
    // SAFETY: reads a set of this size.
    unsafe { libc::sched_setaffinity(thread, size_of::<cpu_set_t>(), set) == 0 }
}

#[cfg(target_os = "linux")]
pub(super) fn this_thread() -> Thread {
    // SAFETY: only tells a number.
    unsafe { libc::gettid() }
}

/// Elsewhere the system is left to choose.
#[cfg(not(target_os = "linux"))]
impl Bed {
    pub fn keep_off_caller(&mut self) {}

    pub fn is_narrowed(&self) -> bool {
        false
    }

    pub fn rise(self) {}
}

#[cfg(not(target_os = "linux"))]
pub(super) fn this_thread() -> Thread {
    std::thread::current().id()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn processors(thread: Thread) -> Vec<usize> {
        let set = allowed(thread).unwrap();
        // SAFETY: within the set.
        (0..libc::CPU_SETSIZE as usize).filter(|&each| unsafe { CPU_ISSET(each, &set) }).collect()
    }

    fn only(processors: &[usize]) -> cpu_set_t {
        // SAFETY: all zeros is a set, and the processors are within it.
        unsafe {
            let mut set = zeroed();
            processors.iter().for_each(|&each| libc::CPU_SET(each, &mut set));
            set
        }
    }

    /// Where a thread may run that was put to bed, and rose after `meanwhile`.
    fn after_a_night(meanwhile: impl FnOnce(&mut Bed)) -> Vec<usize> {
        let (give, bed) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<Bed>();
        let worker = std::thread::spawn(move || {
            give.send(Bed::of(this_thread())).unwrap();
            let bed = woken.recv().unwrap();
            assert!(bed.is_of(this_thread()));
            bed.rise();
            processors(this_thread())
        });
        let mut bed = bed.recv().unwrap();
        assert!(!bed.is_of(this_thread()));
        meanwhile(&mut bed);
        wake.send(bed).unwrap();
        worker.join().unwrap()
    }

    #[test]
    fn a_thread_that_was_woken_may_run_wherever_it_might_before() {
        let all = processors(0);
        let after = after_a_night(|bed| {
            for _ in 0..2 {
                bed.keep_off_caller();
                assert_eq!(processors(bed.thread).len(), (all.len() - 1).max(1));
                assert_eq!(bed.is_narrowed(), all.len() > 1);
            }
        });
        assert_eq!(after, all);
        // And where it was given fewer than there are.
        if let [some @ .., _] = &all[..]
            && some.len() > 1
        {
            let after = after_a_night(|bed| {
                assert!(allow(bed.thread, &only(some)));
                bed.keep_off_caller();
            });
            assert_eq!(after, some);
        }
    }

    #[test]
    fn who_moves_a_thread_that_is_woken_has_the_last_word() {
        let all = processors(0);
        let mut here = Vec::new();
        let after = after_a_night(|bed| {
            bed.keep_off_caller();
            let kept = processors(bed.thread);
            here = all.iter().copied().filter(|each| all.len() == 1 || !kept.contains(each)).collect();
            assert!(allow(bed.thread, &only(&here)));
        });
        assert_eq!(after, here);
    }
}
