//! The list of free cells: a stack without locks, which knows cells by number.
//!
//! A cell is taken and put back with one compare-and-swap each. The stack's
//! head carries a tag against reuse under a slow reader's eyes (the ABA
//! problem), and a bit that closes it for good. What stands behind a number is
//! the slab's affair, so that this file can be explored without any memory.

use super::atomic::{AtomicIsize, AtomicU32, AtomicU64, Ordering};

/// The number that is no cell's: it ends the list.
pub(super) const NONE: u32 = 0;

/// How wide the cells' numbers are.
pub(super) const INDEX_BITS: u32 = 24;
const INDEX_MASK: u64 = (1 << INDEX_BITS) - 1;
const CLOSED: u64 = 1 << INDEX_BITS;
/// One step of the tag, which fills the bits above; it wraps after 5 * 10^11
/// allocations.
const TAG: u64 = CLOSED << 1;

/// Free cells are linked by a number in each of them, which the list reaches
/// through the `link` that it is given.
#[derive(Debug)]
pub(super) struct FreeList {
    /// Number of the first free cell, closed bit, tag.
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
            let index = (head & INDEX_MASK) as u32;
            if index == NONE {
                return None;
            }
            // If another thread takes this cell first, what is read here may
            // be out of date, and the tag makes the exchange fail.
            let next = link(index).load(Ordering::Relaxed);
            let rest = (head & !INDEX_MASK).wrapping_add(TAG) | u64::from(next);
            match self.head.compare_exchange_weak(head, rest, Ordering::Acquire, Ordering::Acquire)
            {
                Ok(_) => return Some(index),
                Err(now) => head = now,
            }
        }
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
            link.store((head & INDEX_MASK) as u32, Ordering::Relaxed);
            let with = head & !INDEX_MASK | u64::from(index);
            match self.head.compare_exchange_weak(head, with, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return false,
                Err(now) => head = now,
            }
        }
    }

    #[cold]
    fn push_after_close(&self) -> bool {
        // While `close` is still counting, the number is 0 or less before this.
        self.held.fetch_sub(1, Ordering::AcqRel) == 1
    }

    /// Closes the list: of all `cells` that there are, those that are not on
    /// it are held by somebody and will be put back. Nobody takes any more.
    /// `true` if none is held: then all is the caller's.
    #[must_use]
    pub fn close<'a>(&self, cells: u32, link: impl Fn(u32) -> &'a AtomicU32) -> bool {
        let mut index = (self.head.fetch_or(CLOSED, Ordering::AcqRel) & INDEX_MASK) as u32;
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
