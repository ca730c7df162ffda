//! Whether a thread is parked in a port, and what wakes it.
//!
//! A packet is posted only where the thread is parked, and one at a time. What it says is
//! in this state: whoever dequeues the packet, it only makes the thread look here.

use super::atomic::{AtomicU32, Ordering};

/// The thread waits in the port, or is about to.
const PARKED: u32 = 1;
/// It does so as any thread does, because the port is closed.
const OUTSIDE: u32 = 2;
/// It has been unparked, and does not know yet.
const NOTIFIED: u32 = 4;
/// A packet that unparks it is queued, or will be.
const POSTED: u32 = 8;
/// Nobody parks here any more.
const GONE: u32 = 16;

#[derive(Debug, Default)]
pub(crate) struct ParkState(AtomicU32);

/// What wakes the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wakes {
    /// It is awake, or will be.
    Nothing,
    /// A packet, which is to be posted.
    Packet,
    /// What wakes any thread.
    Outside,
}

impl ParkState {
    /// Begins to park. `false` if it was unparked before, and need not wait.
    pub fn begin(&self, outside: bool) -> bool {
        let parked = PARKED | if outside { OUTSIDE } else { 0 };
        self.0.fetch_or(parked, Ordering::AcqRel) & NOTIFIED == 0
    }

    /// Ends it: the thread knows that it was unparked, if it was.
    pub fn end(&self) {
        self.0.fetch_and(!(PARKED | OUTSIDE | NOTIFIED), Ordering::AcqRel);
    }

    /// `is_own`: whether the thread that asks is the one that parks, and so is awake.
    pub fn unpark(&self, is_own: impl Fn() -> bool) -> Wakes {
        let mut state = self.0.load(Ordering::Acquire);
        loop {
            let wakes = match state & (PARKED | OUTSIDE | NOTIFIED | POSTED) {
                PARKED if !is_own() => Wakes::Packet,
                parked if parked & OUTSIDE != 0 => Wakes::Outside,
                _ => Wakes::Nothing,
            };
            let posted = if wakes == Wakes::Packet { POSTED } else { 0 };
            let notified = state | NOTIFIED | posted;
            match self.0.compare_exchange(state, notified, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return wakes,
                Err(now) => state = now,
            }
        }
    }

    /// Its packet was dequeued, and there is none any more. Whether nobody parks here.
    pub fn packet_came(&self) -> bool {
        self.0.fetch_and(!POSTED, Ordering::AcqRel) & GONE != 0
    }

    /// Its packet was dequeued by somebody else: whether the thread has to get it. If it is
    /// awake, or gone, it needs none, and there is none any more.
    pub fn needs_packet(&self) -> bool {
        let mut state = self.0.load(Ordering::Acquire);
        while state & (PARKED | GONE) != PARKED {
            let without = state & !POSTED;
            match self.0.compare_exchange(state, without, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return false,
                Err(now) => state = now,
            }
        }
        true
    }

    /// Whether the thread parks, and its packet has not come yet.
    pub fn waits_for_packet(&self) -> bool {
        self.0.load(Ordering::Acquire) & (PARKED | POSTED) == PARKED | POSTED
    }

    /// Whether the thread has been unparked, and does not know yet.
    pub fn is_notified(&self) -> bool {
        self.0.load(Ordering::Acquire) & NOTIFIED != 0
    }

    /// Nobody parks here any more. Whether a packet is queued, or will be.
    pub fn leave(&self) -> bool {
        self.0.fetch_or(GONE, Ordering::AcqRel) & POSTED != 0
    }

    /// Whether nobody parks here any more.
    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire) & GONE != 0
    }
}
