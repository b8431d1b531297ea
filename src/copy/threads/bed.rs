//! Where a worker sleeps, and where it is not to wake: on the caller's processor, where it would wait for its turn until the
//! call is over.
//!
//! Linux wakes it there on machines of few processors. It looks for an idle one only among many (`SIS_UTIL` in its scheduler),
//! and in a virtual machine takes a processor that sleeps for one that the host has taken away.

#[cfg(target_os = "linux")]
pub(super) use libc::pid_t as Thread;
#[cfg(not(target_os = "linux"))]
pub(super) use std::thread::ThreadId as Thread;

#[cfg(target_os = "linux")]
pub(super) fn this_thread() -> Thread {
    // SAFETY: only tells a number.
    unsafe { libc::gettid() }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn this_thread() -> Thread {
    std::thread::current().id()
}

/// Calls `wake`, which is to wake these threads, and has the system choose any processors for them but the caller's.
#[cfg(target_os = "linux")]
pub(super) fn wake_elsewhere<const N: usize>(threads: [Option<Thread>; N], wake: impl FnOnce()) {
    static TURN: narrowed::Turn = narrowed::Turn::new();
    TURN.wake_elsewhere(threads, wake);
}

/// Elsewhere the system is left to choose.
#[cfg(not(target_os = "linux"))]
pub(super) fn wake_elsewhere<const N: usize>(_: [Option<Thread>; N], wake: impl FnOnce()) {
    wake();
}

#[cfg(target_os = "linux")]
mod narrowed {
    use super::Thread;
    use crate::fork;
    use libc::{CPU_CLR, CPU_ISSET, cpu_set_t};
    use std::mem::{size_of, transmute, zeroed};
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Callers narrow threads one at a time: else they would take what another one left for all that a thread may have. In
    /// which process one is at it, counted from 1.
    pub(super) struct Turn(AtomicU64);

    impl Turn {
        pub const fn new() -> Turn {
            Turn(AtomicU64::new(0))
        }

        /// Nobody waits for the turn: who has not got it just wakes.
        pub fn wake_elsewhere<const N: usize>(&self, threads: [Option<Thread>; N], wake: impl FnOnce()) {
            let here = fork::generation() + 1;
            if self.0.swap(here, Ordering::Acquire) == here {
                return wake();
            }
            let narrowed = threads.map(|thread| thread.and_then(Narrowed::off_caller));
            wake();
            drop(narrowed);
            self.0.store(0, Ordering::Release);
        }
    }

    /// A thread that may not run on the caller's processor, as long as this is there. The system looks at that where it wakes
    /// one, and lets it stay where it is afterwards.
    pub(super) struct Narrowed {
        thread: Thread,
        before: cpu_set_t,
        to: cpu_set_t,
    }

    impl Narrowed {
        /// `None` where the thread cannot be kept off, as where it may run nowhere else.
        pub fn off_caller(thread: Thread) -> Option<Narrowed> {
            // SAFETY: only tells a number; -1 is that of no processor.
            let here = unsafe { libc::sched_getcpu() } as usize;
            let before = allowed(thread).filter(|_| here < libc::CPU_SETSIZE as usize)?;
            let mut to = before;
            // SAFETY: `here` is within the set.
            unsafe { CPU_CLR(here, &mut to) };
            // The system refuses a set of none.
            allow(thread, &to).then_some(Narrowed { thread, before, to })
        }
    }

    impl Drop for Narrowed {
        fn drop(&mut self) {
            let Narrowed { thread, before, to } = self;
            let Some(now) = allowed(*thread) else { return };
            // Whoever moved it meanwhile has the last word.
            if lacks(&now, to) || lacks(to, &now) {
                return;
            }
            // The system keeps a set that was asked for, also where the machine or the container is given more processors. So
            // all are asked for, of which it gives what is there; a thread that had been given fewer of those gets them again.
            // SAFETY: all ones is a set.
            let all = unsafe { transmute::<[u8; size_of::<cpu_set_t>()], cpu_set_t>([0xff; _]) };
            let given = if allow(*thread, &all) { allowed(*thread) } else { None };
            if given.is_none_or(|given| lacks(before, &given) && !lacks(&given, before)) {
                allow(*thread, before);
            }
        }
    }

    /// Whether a set has not all processors of another one.
    fn lacks(some: &cpu_set_t, others: &cpu_set_t) -> bool {
        // SAFETY: the processors are within the sets.
        (0..libc::CPU_SETSIZE as usize)
            .any(|each| unsafe { CPU_ISSET(each, others) && !CPU_ISSET(each, some) })
    }

    /// Where a thread may run; `None` where that cannot be told, as of more processors than a set has room for.
    pub(super) fn allowed(thread: Thread) -> Option<cpu_set_t> {
        // SAFETY: all zeros is a set, and the function writes one of this size.
        unsafe {
            let mut set = zeroed::<cpu_set_t>();
            (libc::sched_getaffinity(thread, size_of::<cpu_set_t>(), &mut set) == 0).then_some(set)
        }
    }

    /// Has it run there; whether it may.
    pub(super) fn allow(thread: Thread, set: &cpu_set_t) -> bool {
        // SAFETY: reads a set of this size.
        unsafe { libc::sched_setaffinity(thread, size_of::<cpu_set_t>(), set) == 0 }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::narrowed::{Narrowed, Turn, allow, allowed};
    use super::*;
    use libc::{CPU_ISSET, CPU_SET, cpu_set_t};
    use std::sync::mpsc;

    fn processors(thread: Thread) -> Vec<usize> {
        let set = allowed(thread).unwrap();
        // SAFETY: within the set.
        (0..libc::CPU_SETSIZE as usize).filter(|&each| unsafe { CPU_ISSET(each, &set) }).collect()
    }

    fn only(processors: &[usize]) -> cpu_set_t {
        // SAFETY: all zeros is a set, and the processors are within it.
        unsafe {
            let mut set = std::mem::zeroed();
            processors.iter().for_each(|&each| CPU_SET(each, &mut set));
            set
        }
    }

    /// Calls `body` with a thread that sleeps.
    fn with_sleeper(body: impl FnOnce(Thread)) {
        let (give, thread) = mpsc::channel();
        let (wake, woken) = mpsc::channel::<()>();
        let sleeper = std::thread::spawn(move || {
            give.send(this_thread()).unwrap();
            woken.recv().unwrap();
        });
        body(thread.recv().unwrap());
        wake.send(()).unwrap();
        sleeper.join().unwrap();
    }

    #[test]
    fn who_is_woken_may_run_wherever_it_might_before() {
        let all = processors(0);
        with_sleeper(|thread| {
            let some = if all.len() > 2 { &all[1..] } else { &all };
            for allowed in [&all[..], some] {
                assert!(allow(thread, &only(allowed)));
                let narrowed = Narrowed::off_caller(thread);
                assert_eq!(narrowed.is_some(), all.len() > 1);
                drop(narrowed);
                assert_eq!(processors(thread), allowed);
            }
        });
    }

    #[test]
    fn who_moves_a_thread_that_is_woken_has_the_last_word() {
        let all = processors(0);
        with_sleeper(|thread| {
            let narrowed = Narrowed::off_caller(thread);
            let kept = processors(thread);
            let here: Vec<_> =
                all.iter().copied().filter(|each| all.len() == 1 || !kept.contains(each)).collect();
            assert!(allow(thread, &only(&here)));
            drop(narrowed);
            assert_eq!(processors(thread), here);
        });
    }

    #[test]
    fn callers_do_not_take_what_others_narrow_for_all_there_is() {
        let (all, turn) = (processors(0), Turn::new());
        with_sleeper(|thread| {
            turn.wake_elsewhere([Some(thread)], || {
                assert_eq!(processors(thread).len(), (all.len() - 1).max(1));
                with_sleeper(|other| {
                    let others = || assert_eq!(processors(other), all, "it is not this caller's turn");
                    turn.wake_elsewhere([Some(other)], others);
                });
                assert_eq!(processors(thread).len(), (all.len() - 1).max(1));
            });
            assert_eq!(processors(thread), all);
        });
    }
}
