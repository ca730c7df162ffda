//! The list of free cells: a stack without locks, which knows cells by their
//! places.
//!
//! A cell is taken and put back with one compare-and-swap each. The stack's
//! head carries a tag against reuse under a slow reader's eyes (the ABA
//! problem), and a bit that closes it for good. ObjectKind stands behind a place is
//! the slab's affair, so that this file can be explored without any memory.

use super::atomic::{AtomicIsize, AtomicU32, AtomicU64, Ordering};

/// The place that is no cell's: it ends the list.
pub(super) const NONE: u32 = 0;

/// Of the head's lower half, which is the place of the first free cell. Places
/// are even.
const CLOSED: u64 = 1;
/// One step of the tag, the head's upper half. It counts what is put back: a
/// cell that was taken is not first again under the same tag.
const TAG: u64 = 1 << 32;

/// Free cells are linked by a place in each of them, which the list reaches
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

    /// Puts a cell back that is the caller's alone. The cell, and the list
    /// itself, may be gone afterwards, unless the answer is `true`: then the
    /// list is closed, this was the last cell, and all is the caller's.
    #[inline]
    #[must_use]
    pub fn push(&self, place: u32, link: &AtomicU32) -> bool {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head & CLOSED != 0 {
                return self.push_after_close();
            }
            let first = head as u32;
            link.store(first, Ordering::Relaxed);
            let with = (head - u64::from(first)).wrapping_add(TAG + u64::from(place));
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
        let mut place = self.head.fetch_or(CLOSED, Ordering::AcqRel) as u32;
        let mut held = cells as isize;
        while place != NONE {
            held -= 1;
            // The list is closed: its cells stay as they are.
            place = link(place).load(Ordering::Relaxed);
        }
        // Cells that were put back since then have been counted below zero.
        self.held.fetch_add(held, Ordering::AcqRel) + held == 0
    }
}
