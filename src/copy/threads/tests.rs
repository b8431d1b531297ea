use super::*;
use std::sync::atomic::AtomicBool;
use std::sync::{Mutex, PoisonError};

/// The number of threads is one for all tests.
static TURN: Mutex<()> = Mutex::new(());

fn with_threads(count: usize, test: impl FnOnce()) {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    set_num_threads(count);
    test();
    set_num_threads(0);
}

#[test]
fn every_chunk_is_done_once_whatever_the_number_of_threads() {
    for threads in [1, 2, 5] {
        with_threads(threads, || {
            for chunks in [0, 1, 2, 3, 100] {
                let done: Vec<AtomicUsize> = (0..chunks).map(|_| AtomicUsize::new(0)).collect();
                for_each(chunks, &|index| _ = done[index].fetch_add(1, Ordering::Relaxed)).unwrap();
                assert!(done.iter().all(|count| count.load(Ordering::Relaxed) == 1), "{threads} {chunks}");
            }
        });
    }
}

#[test]
fn other_threads_come_to_help() {
    with_threads(3, || {
        let came = AtomicUsize::new(0);
        // Each waits for the other two.
        for_each(3, &|_| {
            came.fetch_add(1, Ordering::Relaxed);
            while came.load(Ordering::Relaxed) < 3 {
                std::thread::yield_now();
            }
        })
        .unwrap();
    });
}

#[test]
fn a_panic_is_the_callers_error_and_the_pool_goes_on() {
    with_threads(2, || {
        let error = for_each(10, &|index| assert_ne!(index, 3, "chunk three")).unwrap_err();
        assert!(error.to_string().contains("chunk three"), "{error}");
        for_each(10, &|_| ()).unwrap();
    });
}

#[test]
fn calls_may_nest_and_run_beside_each_other() {
    with_threads(2, || {
        let sum = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        for_each(4, &|_| {
                            for_each(4, &|index| _ = sum.fetch_add(index, Ordering::Relaxed)).unwrap()
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 4 * 50 * 4 * 6);
    });
}

#[test]
fn a_child_of_a_fork_starts_its_own_threads() {
    // SAFETY: a question.
    if !unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__asan_init".as_ptr()) }.is_null() {
        // Its allocator has locks that other tests' threads may hold: the child would hang in there.
        return eprintln!("UNAVAILABLE under AddressSanitizer: forks amid other threads");
    }
    with_threads(2, || {
        for_each(2, &|_| ()).unwrap();
        // SAFETY: the child calls what it may, and ends at once.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let both = AtomicUsize::new(0);
            let all = for_each(2, &|_| {
                both.fetch_add(1, Ordering::Relaxed);
                while both.load(Ordering::Relaxed) < 2 {
                    std::hint::spin_loop();
                }
            });
            // SAFETY: ends the child without running anything of its parent's.
            unsafe { libc::_exit(i32::from(all.is_err())) }
        }
        let mut status = -1;
        // SAFETY: our child, and a place for its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
    });
}

#[test]
fn the_number_of_threads_comes_from_the_api_else_the_environment_else_the_machine() {
    assert_eq!(default_threads(None, || 7), 7);
    for (text, count) in [("3", 3), (" 2 ", 2), ("0", 7), ("many", 7), ("-1", 7), ("999999", MOST)] {
        assert_eq!(default_threads(Some(text), || 7), count, "{text}");
    }
    with_threads(3, || {
        assert_eq!(num_threads(), 3);
        assert_eq!(chunks_for(WORTHWHILE - 1), 1);
        assert_eq!(chunks_for(WORTHWHILE), 4);
        assert_eq!(chunks_for(1 << 40), 3 * CHUNKS_PER_THREAD);
    });
    with_threads(1, || assert_eq!(chunks_for(1 << 40), 1));
}

#[test]
fn a_new_thread_blocks_the_signals_of_the_program() {
    static BLOCKED: AtomicBool = AtomicBool::new(false);
    static SEEN: AtomicBool = AtomicBool::new(false);
    spawn("test", || {
        let mut mask = MaybeUninit::uninit();
        // SAFETY: only asks for the mask, which it fills in.
        let blocked = unsafe {
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), mask.as_mut_ptr());
            libc::sigismember(mask.as_ptr(), libc::SIGINT) == 1
                && libc::sigismember(mask.as_ptr(), libc::SIGSEGV) == 0
        };
        BLOCKED.store(blocked, Ordering::Relaxed);
        SEEN.store(true, Ordering::Release);
    })
    .unwrap();
    while !SEEN.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    assert!(BLOCKED.load(Ordering::Relaxed));
}
