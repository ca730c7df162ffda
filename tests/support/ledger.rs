//! Counts how often each of a number of values is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One count for each [`Entry`].
#[derive(Clone, Debug)]
pub struct Ledger(Arc<[AtomicU32]>);

impl Ledger {
    pub fn new(entries: usize) -> Self {
        Self((0..entries).map(|_| AtomicU32::new(0)).collect())
    }

    /// The value whose drops are counted under `index`. Make one of each.
    pub fn entry(&self, index: usize) -> Entry {
        Entry { index, ledger: self.clone() }
    }

    /// How often each entry was dropped.
    pub fn drops(&self) -> Vec<u32> {
        self.0.iter().map(|count| count.load(Ordering::SeqCst)).collect()
    }

    #[track_caller]
    pub fn assert_each_dropped_once(&self) {
        assert_eq!(self.drops(), vec![1; self.0.len()]);
    }

    #[track_caller]
    pub fn assert_none_dropped(&self) {
        assert_eq!(self.drops(), vec![0; self.0.len()]);
    }
}

/// A value that reports when it is dropped.
#[derive(Debug)]
pub struct Entry {
    pub index: usize,
    ledger: Ledger,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.ledger.0[self.index].fetch_add(1, Ordering::SeqCst);
    }
}
