//! Unfinished copies: a tensor knows the fences of what still reads or writes its memory, and access waits for them.
//!
//! The fences belong to the root, so every view and every export of it waits for the same ones. A tensor that was
//! never part of an asynchronous copy pays one load for this.

use super::{Fence, Tensor};
use crate::dlpack::DLDevice;
use crate::error::{Error, Result, Transfer};
use crate::fork::{Guarded, Lock};
use std::collections::VecDeque;
use std::ffi::c_void;
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::{Duration, Instant};

/// What somebody is about to do with the elements.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Waits for copies into the memory.
    Read,
    /// Waits for copies out of it as well.
    Write,
}

/// The fences on one buffer.
#[derive(Default)]
struct Fences {
    /// Whether one may be left; changed with the lock held.
    busy: AtomicBool,
    lists: Guarded<Lists>,
}

#[derive(Default)]
struct Lists {
    reading: Vec<Arc<dyn Fence>>,
    /// Those that failed stay: what they left behind is not to be read, whoever asks.
    writing: Vec<Arc<dyn Fence>>,
    /// Before the last copy into the memory, which is behind them all: what it does not say is whether they have let go.
    earlier: VecDeque<Arc<dyn Fence>>,
    /// How many were left when it was last looked which are over.
    left: usize,
}

/// As many fences may be noted of what is over, and as many again as were left before.
const FORGOTTEN_AT: usize = 16;

impl Lists {
    fn count(&self) -> usize {
        self.reading.len() + self.writing.len() + self.earlier.len()
    }
}

impl Fences {
    /// What is known to have failed of the copies into the memory. What is over is forgotten now and then: that asks about
    /// every fence, which costs as much as a copy where a driver answers.
    fn look_back(&self) -> Option<Error> {
        let writing = {
            let mut lock = Lock::take();
            let lists = self.lists.get(&mut lock);
            (lists.count() < FORGOTTEN_AT + 2 * lists.left).then(|| lists.writing.clone())
        };
        match writing {
            Some(writing) => writing.iter().find_map(|fence| fence.known_failure()),
            None => self.prune(),
        }
    }

    /// Forgets what is over, and says what of that failed. Fences are asked without the lock: that may take their own
    /// locks, a driver's, or run foreign code.
    fn prune(&self) -> Option<Error> {
        let (reading, writing, earlier) = {
            let mut lock = Lock::take();
            let lists = self.lists.get(&mut lock);
            (lists.reading.clone(), lists.writing.clone(), lists.earlier.clone())
        };
        let (written, _) = writing.into_iter().partition::<Vec<_>, _>(|fence| fence.done());
        let failure = written.iter().find_map(|fence| fence.failure());
        let mut over: Vec<Arc<dyn Fence>> = reading.into_iter().filter(|fence| fence.done()).collect();
        over.extend(written.into_iter().filter(|fence| fence.failure().is_none()));
        // They end in about this order, and there may be many.
        over.extend(earlier.into_iter().take_while(|fence| fence.done()));
        let mut lock = Lock::take();
        let lists = self.lists.get(&mut lock);
        let Lists { reading, writing, earlier, .. } = lists;
        let stays = |fence: &Arc<dyn Fence>| !over.iter().any(|gone| Arc::ptr_eq(fence, gone));
        reading.retain(stays);
        writing.retain(stays);
        while earlier.front().is_some_and(|fence| !stays(fence)) {
            earlier.pop_front();
        }
        lists.left = lists.count();
        self.busy.store(lists.left != 0, Ordering::Release);
        drop(lock);
        // Here, and not with the lock held, the last references go.
        drop(over);
        failure
    }
}

/// Where a tensor keeps its fences: made for the first copy, and there until the tensor goes.
#[derive(Default)]
pub(super) struct Slot(AtomicPtr<Fences>);

impl Slot {
    #[inline]
    fn get(&self) -> Option<&Fences> {
        // SAFETY: NULL, or the box that `make` leaked, which lives as long as the slot.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    /// Frees the fences: the tensor goes. No destructor, which would cost tensors that have none.
    #[inline]
    pub fn clear(&mut self) {
        let fences = std::mem::replace(self.0.get_mut(), null_mut());
        if !fences.is_null() {
            // SAFETY: leaked by `make`, and the slot was all that led to it.
            unsafe { free(fences) }
        }
    }

    /// The fences, made where there are none. Whoever calls this holds the lock, so that they are made once.
    fn make(&self, _: &mut Lock) -> &Fences {
        if self.get().is_none() {
            self.0.store(Box::into_raw(Box::default()), Ordering::Release);
        }
        self.get().unwrap_or_else(|| unreachable!("stored above"))
    }
}

/// # Safety
///
/// `fences` was leaked by `Slot::make`, and nobody else has it.
#[cold]
#[inline(never)]
unsafe fn free(fences: *mut Fences) {
    // SAFETY: promised by the caller.
    drop(unsafe { Box::from_raw(fences) });
}

impl Tensor {
    /// The fences on the memory, where one may not be done yet.
    #[inline]
    fn unfinished(&self) -> Option<&Fences> {
        // Acquire pairs with the store in `prune`: who finds nothing left also sees what was copied.
        self.root().inner().fences.get().filter(|fences| fences.busy.load(Ordering::Acquire))
    }

    /// Whether there is nothing to wait for: what is asked first where an answer must cost nothing.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.unfinished().is_none()
    }

    /// Waits until the memory can be accessed. One load where no copy was ever started.
    ///
    /// Fails where a copy into it failed, and on the thread that does the copy itself.
    #[inline]
    pub(crate) fn settle(&self, access: Access) -> Result<()> {
        match self.unfinished() {
            None => Ok(()),
            Some(fences) => settle_slowly(fences, access, None).map(drop),
        }
    }

    /// [`Tensor::settle`] that gives up after `slice` where the copies are not done by then; whether they are. It only asks
    /// where that is no time at all.
    #[inline]
    pub(crate) fn settle_slice(&self, access: Access, slice: Duration) -> Result<bool> {
        match self.unfinished() {
            None => Ok(true),
            Some(fences) => settle_slowly(fences, access, Some(slice)),
        }
    }

    /// [`Tensor::settle`] for work on a stream of `device`, given by its native handle: it is the stream that waits, where
    /// it can, and not this thread.
    ///
    /// # Safety
    ///
    /// The handle is a stream of that device, and alive.
    pub(crate) unsafe fn settle_on_stream(
        &self,
        access: Access,
        device: DLDevice,
        native: *mut c_void,
    ) -> Result<()> {
        self.look_back()?;
        let mut after = Vec::new();
        self.pending(access, &mut Lock::take(), &mut after);
        for fence in after {
            // SAFETY: promised by the caller.
            unsafe { fence.wait_on_stream(device, native) }.unwrap_or_else(|| fence.wait_for_work())?;
        }
        Ok(())
    }

    /// Fails where it is known that a copy into the memory failed.
    pub(crate) fn look_back(&self) -> Result<()> {
        self.unfinished().and_then(Fences::look_back).map_or(Ok(()), Err)
    }

    /// Adds to `after` what has to be done before a copy may access the memory.
    pub(crate) fn pending(&self, access: Access, lock: &mut Lock, after: &mut Vec<Arc<dyn Fence>>) {
        let Some(fences) = self.unfinished() else { return };
        let lists = fences.lists.get(lock);
        after.extend(lists.writing.iter().cloned());
        if access == Access::Write {
            after.extend(lists.reading.iter().cloned());
        }
    }

    /// From now on, access waits for `fence`, which stands for a copy out of the memory or into it that comes after
    /// everything [`Tensor::pending`] gave for the same access.
    pub(crate) fn busy_until(&self, fence: Arc<dyn Fence>, access: Access, lock: &mut Lock) {
        let fences = self.root().inner().fences.make(lock);
        let Lists { reading, writing, earlier, .. } = fences.lists.get(lock);
        // Who waits for this one need not wait for what comes before it in one queue. (What goes here is a fence of the
        // library's own, which holds nothing any more, or its device has it as well: no foreign code runs.)
        let place = fence.place();
        let stays = |before: &Arc<dyn Fence>| match (place, before.place()) {
            (Some((queue, place)), Some((same, before))) => queue != same || place < before,
            _ => true,
        };
        reading.retain(stays);
        match access {
            Access::Read => reading.push(fence),
            Access::Write => {
                // It is done after all that came before, and fails if that did.
                writing.retain(stays);
                earlier.retain(stays);
                earlier.extend(reading.drain(..).chain(writing.drain(..)));
                writing.push(fence);
            }
        }
        fences.busy.store(true, Ordering::Release);
    }
}

#[cold]
fn settle_slowly(fences: &Fences, access: Access, slice: Option<Duration>) -> Result<bool> {
    let deadline = slice.and_then(|slice| Instant::now().checked_add(slice));
    let (writing, others) = {
        let mut lock = Lock::take();
        let lists = fences.lists.get(&mut lock);
        let others = lists.reading.iter().chain(&lists.earlier).filter(|_| access == Access::Write);
        (lists.writing.clone(), others.cloned().collect::<Vec<_>>())
    };
    let wait = |fence: &Arc<dyn Fence>| {
        match deadline {
            None => fence.wait(),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    fence.wait_slice(left);
                }
            }
        }
        fence.done()
    };
    for (fence, writes) in
        writing.iter().map(|fence| (fence, true)).chain(others.iter().map(|fence| (fence, false)))
    {
        let done = wait(fence);
        // That a copy out of the memory failed is no matter here, unless it was not waited for.
        if let Some(error) = fence.failure().filter(|_| writes || !done) {
            return Err(error);
        }
        if !done && slice.is_none() {
            return Err(Error::Transfer(Transfer::OwnThread));
        }
        if !done {
            return Ok(false);
        }
    }
    fences.prune();
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A fence that is done, with its queue and its place there.
    struct Placed(usize, u64);

    impl Fence for Placed {
        fn done(&self) -> bool {
            true
        }

        fn wait(&self) {}

        fn place(&self) -> Option<(usize, u64)> {
            (self.0 != 0).then_some((self.0, self.1))
        }
    }

    #[test]
    fn of_each_queue_the_last_is_waited_for() {
        let tensor = Tensor::from_vec(vec![0_u8; 4], &[4]).unwrap();
        let note = |queue, place, access| {
            tensor.busy_until(Arc::new(Placed(queue, place)), access, &mut Lock::take());
        };
        let found = |access| {
            let mut after = Vec::new();
            tensor.pending(access, &mut Lock::take(), &mut after);
            let mut places: Vec<_> = after.iter().map(|fence| fence.place()).collect();
            places.sort();
            places
        };
        (0..100).for_each(|place| note(1, place, Access::Read));
        note(2, 7, Access::Read);
        (0..2).for_each(|place| note(0, place, Access::Read)); // these have no order
        assert_eq!(found(Access::Write), [None, None, Some((1, 99)), Some((2, 7))]);
        note(2, 8, Access::Write);
        assert_eq!(found(Access::Write), [Some((2, 8))]);
        let earlier = || tensor.unfinished().map(|fences| fences.lists.get(&mut Lock::take()).earlier.len());
        assert_eq!(earlier(), Some(3), "those of other queues, or of none, may hold the memory");
        note(1, 100, Access::Write);
        assert_eq!((found(Access::Read), earlier()), (vec![Some((1, 100))], Some(3)));
        tensor.settle(Access::Write).unwrap();
        assert!(tensor.is_settled());
    }
}
