//! Whether a thread is parked, and whether it has to be woken.
//!
//! Who unparks a thread that is parked queues a procedure call for it, and one at a time. What
//! the call says is in this state: it only ends the wait.

use super::atomic::{AtomicU32, Ordering};

/// The thread waits, or is about to.
const PARKED: u32 = 1;
/// It has been unparked, and does not know yet.
const NOTIFIED: u32 = 2;
/// A procedure call is queued for it, or will be.
const QUEUED: u32 = 4;

#[derive(Debug, Default)]
pub(crate) struct ParkState(AtomicU32);

/// What a thread does that begins to park.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Park {
    /// It waits.
    Wait,
    /// It does not wait, because it has been unparked.
    Pass,
    /// It does not wait, and lets in the call that is left from before.
    Drain,
}

impl ParkState {
    /// Begins to park.
    pub fn begin(&self) -> Park {
        match self.0.fetch_or(PARKED, Ordering::AcqRel) {
            before if before & QUEUED != 0 => Park::Drain,
            before if before & NOTIFIED != 0 => Park::Pass,
            _ => Park::Wait,
        }
    }

    /// All calls that were queued have been made.
    pub fn drained(&self) {
        self.0.fetch_and(!QUEUED, Ordering::AcqRel);
    }

    /// Ends it: the thread knows that it was unparked, if it was.
    pub fn end(&self) {
        self.0.fetch_and(!(PARKED | NOTIFIED), Ordering::AcqRel);
    }

    /// Whether a call is to be queued, so that the thread wakes.
    pub fn unpark(&self) -> bool {
        let mut state = self.0.load(Ordering::Acquire);
        loop {
            let wakes = state & (PARKED | QUEUED) == PARKED;
            let notified = state | NOTIFIED | if wakes { QUEUED } else { 0 };
            match self.0.compare_exchange(state, notified, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return wakes,
                Err(now) => state = now,
            }
        }
    }

    /// Whether a call is left, or on its way.
    pub fn is_queued(&self) -> bool {
        self.0.load(Ordering::Acquire) & QUEUED != 0
    }
}
