//! The cache of free cells: a chain of those that were freed last, before the list of
//! all others.
//!
//! Whoever takes a cell or puts one back locks the cache for a few instructions. Nobody
//! waits for it: who finds it locked goes to the [list](super::free_list).

use super::atomic::{AtomicUsize, Ordering};
use super::yield_now;

/// Stands for the first cell where there is none. No cell's address is as small,
/// or odd.
pub(super) const NONE: usize = 0;
/// Somebody has locked it.
pub(super) const BUSY: usize = 1;
/// No cell is kept here any more.
const CLOSED: usize = 3;

/// The address of the first cell, if there is one. Each cell has the address of
/// the one behind it, which belongs to whoever has locked the cache.
#[derive(Debug)]
pub(super) struct Cache(AtomicUsize);

/// Whether this is the address of a cell.
#[inline]
pub(super) fn is_cell(first: usize) -> bool {
    first > CLOSED
}

/// Whether this is the address of a cell, or none, before which another one can
/// be put.
#[inline]
pub(super) fn is_open(first: usize) -> bool {
    first & BUSY == 0
}

impl Cache {
    pub fn new() -> Self {
        Self(AtomicUsize::new(NONE))
    }

    /// Locks the cache, and returns its first cell, unless the answer is [`BUSY`]: then
    /// somebody else has locked it. Otherwise it has to be [unlocked](Self::unlock) at
    /// once.
    #[inline]
    pub fn try_lock(&self) -> usize {
        self.0.swap(BUSY, Ordering::Acquire)
    }

    /// [`try_lock`](Self::try_lock), some time after somebody else had locked it. Looks first, so that
    /// who waits does not get in the way of who is to unlock it.
    pub fn try_lock_again(&self) -> usize {
        yield_now();
        if self.0.load(Ordering::Relaxed) == BUSY { BUSY } else { self.try_lock() }
    }

    /// Unlocks the cache, with this cell as its first, or none. The cells in it, and what
    /// they belong to, may be gone afterwards.
    #[inline]
    pub fn unlock(&self, first: usize) {
        self.0.store(first, Ordering::Release);
    }

    /// Unlocks it if this was the answer of a lock: with no cell in it.
    pub fn unlock_unless_busy(&self, first: usize) {
        if first != BUSY {
            self.unlock(first);
        }
    }

    /// Keeps no cells from now on. The address of the first one that was in it, or
    /// [`NONE`].
    pub fn close(&self) -> usize {
        let mut first = self.try_lock();
        while first == BUSY {
            first = self.try_lock_again();
        }
        self.unlock(CLOSED);
        first
    }
}
