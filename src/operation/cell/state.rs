//! Who holds an operation's cell: the protocol that decides who may touch what
//! is in it, and who gives it back.
//!
//! A cell has up to four holders at a time, a bit each. The kernel's bit is
//! set before the call that starts the operation, and turns into the
//! completion's when the operation is ended, by whoever has taken its
//! [status](super::status_word). Whoever removes the last bit owns the cell alone
//! and frees it.

use super::atomic::{AtomicU32, Ordering};

/// The holders of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Holder {
    /// The kernel, or the packet in the port's queue.
    Kernel = 1,
    /// The [`Pending`](crate::Pending) that the program got.
    Pending = 2,
    /// The [`Finished`](crate::Finished) half of a dequeued completion.
    Completion = 4,
    /// The scope whose borrowed buffer the operation uses.
    Scope = 256,
}

const HOLDERS: u32 = 256 | 7;
/// What the operation returns has been moved out of the cell.
const TAKEN: u32 = 8;
/// Nobody holds the cell, but a packet may still come for it.
const AWAITS_LATE_PACKET: u32 = 1024;
/// A waker is in the cell, of who waits for the operation. Whoever removes the bit
/// has the waker. Only the `Pending`'s side sets it, and only while the operation is in
/// flight; it is gone once that is over. So the call has returned.
const WAKER: u32 = 32;
/// Of a stale cell: it has not been emptied yet.
const NOT_EMPTIED: u32 = 64;
/// The scope that holds the cell is waiting for the operation.
const ENDING: u32 = 128;
/// Not a holder, but given with them: the operation takes the long way. Its
/// payload has work to do when the packet is dequeued, or its cell has a block
/// to free.
pub(crate) const SLOW_PATH: u32 = 16;
/// Not a holder either: the payload has to be dropped, or moved out.
pub(crate) const DROPS: u32 = 512;

const KERNEL: u32 = Holder::Kernel as u32;
const PENDING: u32 = Holder::Pending as u32;
pub(crate) const COMPLETION: u32 = Holder::Completion as u32;
pub(crate) const SCOPE: u32 = Holder::Scope as u32;

#[derive(Debug, Default)]
pub(crate) struct State(AtomicU32);

impl State {
    /// Gives a free cell to the kernel and to `others` (and says whether the
    /// operation takes the [`SLOW_PATH`], and whether its payload [`DROPS`]),
    /// before the call.
    #[inline]
    pub fn begin(&self, others: u32) {
        // Release: whoever finds the kernel's bit also finds the cell filled.
        self.0.store(KERNEL | others, Ordering::Release);
    }

    /// Whether the kernel still holds the cell. `false` also makes all that
    /// the dequeuing thread wrote into it visible.
    #[inline]
    pub fn is_in_flight(&self) -> bool {
        self.0.load(Ordering::Acquire) & KERNEL != 0
    }

    /// Whether the kernel holds the cell, nobody else has a part that could
    /// change meanwhile, and the operation takes the short way. For the thread
    /// that has taken its status.
    #[inline]
    pub fn is_exclusively_in_flight(&self) -> bool {
        // Without its `Pending` the call has returned, nobody joins, and a scope, which
        // is not among the low bits, stays until the operation is over.
        self.0.load(Ordering::Acquire) as u8 == KERNEL as u8
    }

    /// Whether the kernel holds the cell, and the operation takes the short way. For the
    /// thread that has taken its status.
    #[inline]
    pub fn is_simply_in_flight(&self) -> bool {
        self.0.load(Ordering::Acquire) & (KERNEL | SLOW_PATH) == KERNEL
    }

    /// Hands the kernel's part on to the completion of an operation that is
    /// [alone](Self::is_exclusively_in_flight), and publishes what the thread wrote.
    #[inline]
    pub fn complete_exclusive(&self) {
        let state = self.0.load(Ordering::Relaxed);
        self.0.store(state ^ (KERNEL | COMPLETION), Ordering::Release);
    }

    /// The same whoever else has a part. Whether a waker was in the cell, which the
    /// caller has now.
    #[inline]
    #[must_use]
    pub fn complete(&self) -> bool {
        // In one step: who sees that the operation is over finds no waker.
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            let completed = (state ^ (KERNEL | COMPLETION)) & !WAKER;
            match self.0.compare_exchange(state, completed, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return state & WAKER != 0,
                Err(now) => state = now,
            }
        }
    }

    /// A waker has been put into the cell: leaves it to the thread that will end the
    /// operation. `false` if that is over: the waker stays the caller's.
    #[inline]
    #[must_use]
    pub fn offer_waker(&self) -> bool {
        let mut state = self.0.load(Ordering::Acquire);
        while state & KERNEL != 0 {
            let offered = state | WAKER;
            match self.0.compare_exchange(state, offered, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// Takes the place for a waker, for the one who has the `Pending`: whether one is in
    /// it. `None` if the operation is over.
    #[inline]
    pub fn take_waker(&self) -> Option<bool> {
        // In one look: where it finds no waker of an operation that is in flight, none
        // has been there that somebody else could have.
        let state = self.0.load(Ordering::Acquire);
        if state & KERNEL == 0 {
            None
        } else if state & WAKER == 0 {
            Some(false)
        } else {
            (self.0.fetch_and(!WAKER, Ordering::AcqRel) & WAKER != 0).then_some(true)
        }
    }

    /// The call finished without a packet: the cell is the completion's, and
    /// nobody else's.
    #[inline]
    pub fn complete_at_once(&self) {
        let state = self.0.load(Ordering::Relaxed);
        self.0.store(COMPLETION | state & (SLOW_PATH | DROPS), Ordering::Relaxed);
    }

    /// The call said that no packet will come, and its thread has taken the
    /// status: takes the cell back from all holders, and returns what it has
    /// [begun](Self::begin) with. From now on, its packets are late.
    pub fn withdraw(&self) -> u32 {
        // The other holders are this thread's own, not given out yet.
        self.0.swap(AWAITS_LATE_PACKET | NOT_EMPTIED, Ordering::AcqRel) & !KERNEL
    }

    /// A withdrawn cell is empty, but a packet may still come for it.
    pub fn quarantine(&self) {
        self.0.store(AWAITS_LATE_PACKET, Ordering::Release);
    }

    /// Whether a packet that has come for this cell comes too late.
    pub fn awaits_late_packet(&self) -> bool {
        self.0.load(Ordering::Acquire) & AWAITS_LATE_PACKET != 0
    }

    /// No packet will come any more for an [abandoned](Self::quarantine) cell:
    /// whether it was one, which is the caller's alone now.
    pub fn reclaim(&self) -> bool {
        self.0.compare_exchange(AWAITS_LATE_PACKET, 0, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// The scope that holds the cell is ending: whoever dequeues the operation's
    /// packet for a scope may drop its completion.
    pub fn mark_ending(&self) {
        self.0.fetch_or(ENDING, Ordering::Relaxed);
    }

    /// Whether the operation's scope is ending.
    pub fn is_ending(&self) -> bool {
        self.0.load(Ordering::Relaxed) & ENDING != 0
    }

    /// Removes a holder. `true` if it was the last one, who owns the cell now.
    #[inline]
    pub fn release(&self, holder: Holder) -> bool {
        let bit = holder as u32;
        self.0.fetch_sub(bit, Ordering::AcqRel) & (HOLDERS ^ bit) == 0
    }

    /// Whether this holder is the only one left, what the operation returns has
    /// not been claimed and is to be dropped or not, as it [`drops`](DROPS), and
    /// the operation takes the short way. Nobody can join the holder, so it owns
    /// the cell alone.
    #[inline]
    pub fn is_exclusively_held_by(&self, holder: Holder, drops: bool) -> bool {
        let drops = if drops { DROPS } else { 0 };
        self.0.load(Ordering::Acquire) == holder as u32 | drops
    }

    /// The same of the `Pending`, whether what it returns is to be dropped or not.
    #[inline]
    pub fn is_exclusively_pendings(&self) -> bool {
        self.0.load(Ordering::Acquire) & !DROPS == PENDING
    }

    /// Whether this holder is the only one left. Nobody can join it.
    pub fn is_held_only_by(&self, holder: Holder) -> bool {
        self.0.load(Ordering::Acquire) & HOLDERS == holder as u32
    }

    /// Whether this is among the holders.
    pub fn is_held_by(&self, holder: Holder) -> bool {
        self.0.load(Ordering::Acquire) & holder as u32 != 0
    }

    /// Claims what the operation returns for one of the holders.
    #[inline]
    pub fn take(&self) -> bool {
        self.0.fetch_or(TAKEN, Ordering::AcqRel) & TAKEN == 0
    }

    /// Whether what the operation returns has been claimed. Only the last
    /// holder may rely on a `false`.
    #[inline]
    pub fn is_taken(&self) -> bool {
        self.0.load(Ordering::Acquire) & TAKEN != 0
    }

    /// Nobody holds the cell any more: one whose call failed. (After an
    /// operation the kernel's bit is gone already, and nobody looks at the
    /// others.)
    pub fn clear(&self) {
        self.0.store(0, Ordering::Release);
    }
}
