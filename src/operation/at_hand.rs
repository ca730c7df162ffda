//! The free cell that is kept at hand, before the list of all others.
//!
//! A thread that works completion by completion frees one cell and starts the
//! next operation at once. It finds that cell here, for an exchange each way
//! and without the list's bookkeeping.

use super::atomic::{AtomicUsize, Ordering};

/// No cell is at hand.
const NONE: usize = 0;
/// No cell is kept any more. No cell's address is odd.
const CLOSED: usize = 1;

#[derive(Debug)]
pub(super) struct AtHand(AtomicUsize);

impl AtHand {
    pub fn new() -> Self {
        Self(AtomicUsize::new(NONE))
    }

    /// The address of a cell that is the caller's alone from then on, or 0.
    /// Nobody takes once this is closed.
    #[inline]
    pub fn take(&self) -> usize {
        self.0.swap(NONE, Ordering::Acquire)
    }

    /// Keeps a cell that is the caller's alone. It, and what it belongs to, may
    /// be gone afterwards, unless the answer is `false`: then it is still the
    /// caller's.
    #[inline]
    #[must_use]
    pub fn keep(&self, address: usize) -> bool {
        self.0.compare_exchange(NONE, address, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Gives up the cell that is at hand, and keeps no other from now on.
    pub fn close(&self) -> Option<usize> {
        let address = self.0.swap(CLOSED, Ordering::Acquire);
        (address != NONE).then_some(address)
    }
}
