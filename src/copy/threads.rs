//! Threads that share the work of one call. They sleep between calls, claim chunk after chunk, and the caller works too,
//! so that a call is done whether or not any of them comes.

mod bed;

use crate::error::{Error, Result};
use crate::float::Usual;
use crate::fork::{self, Guarded, Lock};
use crate::guard::{guard, guard_silent};
use bed::{Thread, this_thread, wake_elsewhere};
use std::mem::MaybeUninit;
use std::ptr::null_mut;
use std::sync::Condvar;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// From so many bytes on a second thread is worth calling: asleep it takes tens of microseconds to come, but where one call
/// follows another it is there at once.
pub(super) const WORTHWHILE: usize = 512 << 10;
/// Bytes of a chunk: small enough that a late thread still finds some, large enough that claiming costs nothing.
const CHUNK: usize = 128 << 10;
/// More chunks than that for each thread do not balance anything better.
const CHUNKS_PER_THREAD: usize = 16;
/// How long a worker looks for another call before it sleeps: who calls again and again need not wake it each time. Short
/// beside any call that is shared.
const LINGERS: Duration = Duration::from_micros(20);
/// From so many workers on the system wakes them on idle processors by itself.
const FEW: usize = 4;
/// More threads than any machine has cores.
const MOST: usize = 1024;

/// What [`set_num_threads`] was told; 0: nothing.
static WANTED: AtomicUsize = AtomicUsize::new(0);

/// What `DLB_NUM_THREADS` says, else how many processors this process may use; 0: not asked yet. No lazy lock, which a
/// child would find taken for ever if the process forked meanwhile.
static DEFAULT: AtomicUsize = AtomicUsize::new(0);

#[cold]
fn find_default() -> usize {
    let variable = std::env::var("DLB_NUM_THREADS").ok();
    let count =
        default_threads(variable.as_deref(), || std::thread::available_parallelism().map_or(1, usize::from));
    DEFAULT.store(count, Ordering::Relaxed);
    count
}

fn default_threads(variable: Option<&str>, processors: impl FnOnce() -> usize) -> usize {
    let wanted = variable.and_then(|text| text.trim().parse().ok()).filter(|&count: &usize| count != 0);
    wanted.unwrap_or_else(processors).min(MOST)
}

/// How many threads share the work of one call, the caller among them.
pub fn num_threads() -> usize {
    match (WANTED.load(Ordering::Relaxed), DEFAULT.load(Ordering::Relaxed)) {
        (0, 0) => find_default(),
        (0, count) | (count, _) => count,
    }
}

/// Changes that, for the calls from now on; 0 for what `DLB_NUM_THREADS` or the machine says.
pub fn set_num_threads(count: usize) {
    WANTED.store(count.min(MOST), Ordering::Relaxed);
}

/// Into how many chunks work on so many bytes is best divided: 1 where other threads would not help.
pub(crate) fn chunks_for(bytes: usize) -> usize {
    if bytes < WORTHWHILE {
        return 1;
    }
    match num_threads() {
        1 => 1,
        threads => (bytes / CHUNK).min(threads * CHUNKS_PER_THREAD),
    }
}

/// One call of [`for_each`], on its caller's stack.
struct Job<'a> {
    body: &'a (dyn Fn(usize) + Sync),
    chunks: usize,
    /// The next chunk that nobody has claimed.
    next: AtomicUsize,
    /// How many workers may still come.
    wanted: AtomicUsize,
    /// How many are at it: the caller stays until there is none.
    helpers: AtomicUsize,
    /// A leaked box with what went wrong first.
    failure: AtomicPtr<Error>,
}

impl Job<'_> {
    /// Claims chunks until none is left.
    fn work(&self) {
        let _usual = Usual::here();
        loop {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            if index >= self.chunks {
                return;
            }
            let done = guard(|| {
                (self.body)(index);
                Ok(())
            });
            if let Err(error) = done {
                // The others need not go on.
                self.next.store(self.chunks, Ordering::Relaxed);
                let new = Box::into_raw(Box::new(error));
                if (self.failure.compare_exchange(null_mut(), new, Ordering::Release, Ordering::Relaxed))
                    .is_err()
                {
                    // SAFETY: leaked above, and nobody else has it.
                    drop(unsafe { Box::from_raw(new) });
                }
            }
        }
    }
}

/// The workers and what there is to do for them.
struct Pool {
    /// The process that the workers are in.
    generation: u64,
    workers: usize,
    /// Those of them that sleep until they are told of a job.
    asleep: Vec<Thread>,
    /// Calls that have chunks left, as addresses of their `Job`: on the stacks of callers that wait.
    jobs: Vec<*mut Job<'static>>,
}

// SAFETY: the addresses lead to jobs whose callers wait until they are out of the list and unused.
unsafe impl Send for Pool {}

impl Pool {
    /// Whether there is room for another worker to sleep: none of them allocates.
    fn makes_room(&mut self) -> bool {
        self.asleep.try_reserve(self.workers + 1 - self.asleep.len()).is_ok()
    }
}

static POOL: Guarded<Pool> =
    Guarded::new(Pool { generation: 0, workers: 0, asleep: Vec::new(), jobs: Vec::new() });
/// How many jobs there were so far, for who looks without the lock.
static PUBLISHED: AtomicUsize = AtomicUsize::new(0);
/// There is a job.
static WORK: Condvar = Condvar::new();
/// A helper has left its job.
static LEFT: Condvar = Condvar::new();

/// Calls `body` once with each number below `chunks`, from as many threads as [`num_threads`] says, and returns when all
/// are done. A panic in one of them is the error; then some chunks may not have been done.
pub(crate) fn for_each(chunks: usize, body: &(dyn Fn(usize) + Sync)) -> Result<()> {
    let helpers = num_threads().min(chunks).saturating_sub(1);
    let job = Job {
        body,
        chunks,
        next: AtomicUsize::new(0),
        wanted: AtomicUsize::new(helpers),
        helpers: AtomicUsize::new(0),
        failure: AtomicPtr::new(null_mut()),
    };
    let shared = helpers != 0 && publish(&job, helpers);
    job.work();
    if shared {
        withdraw(&job);
    }
    match job.failure.load(Ordering::Acquire) {
        failure if failure.is_null() => Ok(()),
        // SAFETY: leaked by `work`, and everybody who worked has left.
        failure => Err(*unsafe { Box::from_raw(failure) }),
    }
}

fn address(job: &Job) -> *mut Job<'static> {
    std::ptr::from_ref(job).cast_mut().cast()
}

/// Offers the job to the workers, which are started where there are too few; whether there is anybody to take it.
fn publish(job: &Job, helpers: usize) -> bool {
    let mut lock = Lock::take();
    let pool = POOL.get(&mut lock);
    if pool.generation != fork::generation() {
        // The workers stayed in the parent, and the jobs are those of its threads.
        *pool = Pool {
            generation: fork::generation(),
            workers: 0,
            asleep: std::mem::take(&mut pool.asleep),
            jobs: std::mem::take(&mut pool.jobs),
        };
        pool.jobs.clear();
        pool.asleep.clear();
    }
    let generation = pool.generation;
    while pool.workers < helpers
        && pool.makes_room()
        && spawn("dlbridge worker", move || serve(generation)).is_ok()
    {
        pool.workers += 1;
    }
    if pool.workers == 0 || pool.jobs.try_reserve(1).is_err() {
        return false;
    }
    pool.jobs.push(address(job));
    PUBLISHED.fetch_add(1, Ordering::Release);
    let few = pool.workers < FEW;
    let asleep: [_; FEW] = std::array::from_fn(|at| pool.asleep.get(at).copied().filter(|_| few));
    let woken = pool.asleep.len().min(helpers);
    drop(lock);
    let wake = || (0..woken).for_each(|_| WORK.notify_one());
    if few {
        wake_elsewhere(asleep, wake)
    } else {
        wake()
    }
    true
}

/// Takes the job back, and waits for who is still at it.
fn withdraw(job: &Job) {
    let mut lock = Lock::take();
    POOL.get(&mut lock).jobs.retain(|&other| other != address(job));
    drop(lock);
    // They are at their last chunk: most often that is sooner over than a sleep.
    for _ in 0..20_000 {
        if job.helpers.load(Ordering::Acquire) == 0 {
            return;
        }
        std::hint::spin_loop();
    }
    let mut lock = Lock::take();
    while job.helpers.load(Ordering::Acquire) != 0 {
        lock = lock.wait(&LEFT, None);
    }
}

/// What a worker does as long as the process lives.
fn serve(generation: u64) {
    let (mut lock, mut worked, this) = (Lock::take(), false, this_thread());
    while generation == fork::generation() {
        if let Some(job) = take(&mut lock) {
            drop(lock);
            job.work();
            lock = Lock::take();
            // The last that is known of the job: its caller may return from here on.
            job.helpers.fetch_sub(1, Ordering::Release);
            LEFT.notify_all();
            worked = true;
        } else if std::mem::take(&mut worked) {
            let seen = PUBLISHED.load(Ordering::Relaxed);
            drop(lock);
            linger(seen);
            lock = Lock::take();
        } else {
            lock = sleep(lock, this);
        }
    }
}

/// Waits until there is a job, or for no reason.
fn sleep(mut lock: Lock, this: Thread) -> Lock {
    POOL.get(&mut lock).asleep.push(this);
    lock = lock.wait(&WORK, None);
    let asleep = &mut POOL.get(&mut lock).asleep;
    if let Some(at) = asleep.iter().position(|&thread| thread == this) {
        asleep.swap_remove(at);
    }
    lock
}

/// Waits a while for another job than those that were `seen`; other threads may have the processor meanwhile.
fn linger(seen: usize) {
    let start = Instant::now();
    while PUBLISHED.load(Ordering::Relaxed) == seen && start.elapsed() < LINGERS {
        std::thread::yield_now();
    }
}

/// Joins a job that wants somebody.
fn take(lock: &mut Lock) -> Option<&'static Job<'static>> {
    POOL.get(lock).jobs.iter().find_map(|&job| {
        // SAFETY: the job is in the list, so its caller has not taken it back; from the count on it waits for us.
        let job = unsafe { &*job };
        let open = job.next.load(Ordering::Relaxed) < job.chunks;
        let wanted = job.wanted.load(Ordering::Relaxed);
        (open && wanted != 0).then(|| {
            job.wanted.store(wanted - 1, Ordering::Relaxed);
            job.helpers.fetch_add(1, Ordering::Relaxed);
            job
        })
    })
}

/// Starts a thread that nobody joins: it ends by itself, or with the process.
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<()> {
    let named = std::thread::Builder::new().name(name.into());
    // Signals are for the threads of the program; a new thread inherits what is blocked. Those that say what the thread
    // itself did stay open: where they are blocked they kill the process instead of reaching its handler.
    let mut before = MaybeUninit::uninit();
    let mut all = MaybeUninit::uninit();
    // SAFETY: `all` is filled in before it is read, and `before` is where the mask is to be kept.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        for own in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS] {
            libc::sigdelset(all.as_mut_ptr(), own);
        }
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
    }
    let started = named.spawn(move || guard_silent(body));
    // SAFETY: `before` was filled in above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), null_mut()) };
    started.map(drop)
}

#[cfg(test)]
mod tests;
