//! The free cells that are kept at hand, before the list of all others.
//!
//! A thread that works completion by completion frees a cell and starts the
//! next operation at once, or one read and one write. It finds their cells
//! here, for an exchange each way and without the list's bookkeeping.

use super::atomic::{AtomicUsize, Ordering};

/// No cell is here.
const NONE: usize = 0;
/// No cell is kept here any more. No cell's address is odd.
const CLOSED: usize = 1;

#[derive(Debug)]
pub(super) struct AtHand([AtomicUsize; 2]);

impl AtHand {
    pub fn new() -> Self {
        Self([AtomicUsize::new(NONE), AtomicUsize::new(NONE)])
    }

    /// The address of a cell that is the caller's alone from then on, or 0.
    /// Nobody takes once this is closed.
    #[inline]
    pub fn take(&self) -> usize {
        match self.0[0].swap(NONE, Ordering::Acquire) {
            NONE => self.0[1].swap(NONE, Ordering::Acquire),
            address => address,
        }
    }

    /// Keeps a cell that is the caller's alone. It, and what it belongs to, may
    /// be gone afterwards, unless the answer is `false`: then it is still the
    /// caller's.
    #[inline]
    #[must_use]
    pub fn keep(&self, address: usize) -> bool {
        self.0.iter().any(|place| {
            place.compare_exchange(NONE, address, Ordering::Release, Ordering::Relaxed).is_ok()
        })
    }

    /// Gives up the cells that are at hand, and keeps no others from now on.
    pub fn close(&self) -> impl Iterator<Item = usize> {
        self.0
            .iter()
            .map(|place| place.swap(CLOSED, Ordering::Acquire))
            .filter(|address| *address != NONE)
    }
}
