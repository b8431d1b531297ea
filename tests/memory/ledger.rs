//! An allocator that writes everything down, and fences that are done when told.

use dlbridge::memory::{Allocator, Host, Piece};
use dlbridge::tensor::Fence;
use dlbridge::{Error, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

/// The host's allocator with a book of what is out, by address.
#[derive(Default)]
pub struct Ledger {
    out: Mutex<HashMap<usize, (usize, usize)>>,
    /// Bytes it gives before memory is out; 0 for any number.
    pub most: AtomicUsize,
}

impl Ledger {
    pub fn new() -> Arc<Ledger> {
        Arc::default()
    }

    pub fn bytes(&self) -> usize {
        self.out.lock().unwrap().values().map(|(bytes, _)| bytes).sum()
    }

    pub fn blocks(&self) -> usize {
        self.out.lock().unwrap().len()
    }

    /// The size of the block at an address.
    pub fn size_at(&self, address: usize) -> usize {
        self.out.lock().unwrap()[&address].0
    }
}

// SAFETY: the host's allocator.
unsafe impl Allocator for Ledger {
    fn allocate(&self, bytes: usize, alignment: usize) -> Result<Piece> {
        let most = self.most.load(SeqCst);
        if most != 0 && self.bytes() + bytes > most {
            return Err(Error::OutOfMemory { bytes });
        }
        let piece = Host.allocate(bytes, alignment)?;
        let before = self.out.lock().unwrap().insert(piece.data.as_ptr() as usize, (bytes, alignment));
        assert_eq!(before, None, "given out twice");
        Ok(piece)
    }

    unsafe fn deallocate(&self, piece: Piece) {
        let entry = self.out.lock().unwrap().remove(&(piece.data.as_ptr() as usize));
        assert_eq!(entry, Some((piece.bytes, piece.alignment)), "freed as it was allocated, once");
        // SAFETY: it came from there.
        unsafe { Host.deallocate(piece) }
    }
}

/// Done when told.
#[derive(Default)]
pub struct Flag {
    done: AtomicBool,
    pub waits: AtomicUsize,
}

impl Flag {
    pub fn new() -> Arc<Flag> {
        Arc::default()
    }

    pub fn finish(&self) {
        self.done.store(true, SeqCst);
    }
}

impl Fence for Flag {
    fn done(&self) -> bool {
        self.done.load(SeqCst)
    }

    fn wait(&self) {
        self.waits.fetch_add(1, SeqCst);
        self.finish();
    }
}

/// Numbers that look random and are the same in every run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}
