//! The list of free cells: a stack without locks, which knows cells by their
//! indices.
//!
//! A cell is taken and put back with one compare-and-swap each. The stack's
//! head carries a tag against reuse under a slow reader's eyes (the ABA
//! problem), and a bit that closes it for good. What stands behind an index is
//! the pool's affair, so that this file can be explored without any memory.

use super::atomic::{AtomicIsize, AtomicU32, AtomicU64, Ordering};

/// The index that is no cell's: it ends the list.
pub(super) const NONE: u32 = 0;

/// Of the head's lower half, which is the index of the first free cell. Indices
/// are even.
const CLOSED: u64 = 1;
/// One step of the tag, the head's upper half. It counts what is put back: a
/// cell that was taken is not first again under the same tag.
const TAG: u64 = 1 << 32;

/// Free cells are linked by an index in each of them, which the list reaches
/// through the `link` that it is given.
#[derive(Debug)]
pub(super) struct FreeList {
    head: AtomicU64,
    /// Once closed: the cells that are still held, as far as they are counted.
    held: AtomicIsize,
}

impl FreeList {
    pub fn new() -> Self {
        Self { head: AtomicU64::new(u64::from(NONE)), held: AtomicIsize::new(0) }
    }

    /// Takes a cell, which is the caller's alone from then on.
    #[inline]
    pub fn pop<'a>(&self, link: impl Fn(u32) -> &'a AtomicU32) -> Option<u32> {
        let mut head = self.head.load(Ordering::Acquire);
        loop {
            let first = head as u32;
            if first == NONE {
                return None;
            }
            // If another thread takes this cell first, what is read here may
            // be out of date, and the tag makes the exchange fail.
            let next = link(first).load(Ordering::Relaxed);
            let rest = head - u64::from(first) + u64::from(next);
            match self.head.compare_exchange_weak(head, rest, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Some(first),
                Err(now) => head = now,
            }
        }
    }

    /// Differs from any earlier one after a cell has been put back, or taken.
    pub fn version(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    /// Puts a cell back that is the caller's alone. The cell, and the list
    /// itself, may be gone afterwards, unless the answer is `true`: then the
    /// list is closed, this was the last cell, and all is the caller's.
    #[inline]
    #[must_use]
    pub fn push(&self, index: u32, link: &AtomicU32) -> bool {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head & CLOSED != 0 {
                return self.push_after_close();
            }
            let first = head as u32;
            link.store(first, Ordering::Relaxed);
            let with = (head - u64::from(first)).wrapping_add(TAG + u64::from(index));
            match self.head.compare_exchange_weak(head, with, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return false,
                Err(now) => head = now,
            }
        }
    }

    #[cold]
    fn push_after_close(&self) -> bool {
        // While `close` is still counting, that is 0 or less before this.
        self.held.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Closes the list: of all `cells` that there are, those that are not on
    /// it are held by somebody and will be put back. Nobody takes any more.
    /// `true` if none is held: then all is the caller's.
    #[must_use]
    pub fn close<'a>(&self, cells: u32, link: impl Fn(u32) -> &'a AtomicU32) -> bool {
        let mut index = self.head.fetch_or(CLOSED, Ordering::AcqRel) as u32;
        let mut held = cells as isize;
        while index != NONE {
            held -= 1;
            // The list is closed: its cells stay as they are.
            index = link(index).load(Ordering::Relaxed);
        }
        // Cells that were put back since then have been counted below zero.
        self.held.fetch_add(held, Ordering::AcqRel) + held == 0
    }
}
