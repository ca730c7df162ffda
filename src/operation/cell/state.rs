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

const KERNEL: u32 = Holder::Kernel as u32;
const PENDING: u32 = Holder::Pending as u32;
pub(crate) const COMPLETION: u32 = Holder::Completion as u32;
pub(crate) const SCOPE: u32 = Holder::Scope as u32;
const HOLDERS: u32 = KERNEL | PENDING | COMPLETION | SCOPE;

// What else there is to know of a cell. Of an operation in flight that is only the kernel's,
// the first eight bits tell whether it takes the short way.

/// What the operation returns has been moved out of the cell.
const TAKEN: u32 = 8;
/// The operation takes the long way: its payload has work to do when the packet is dequeued,
/// or its cell has a block to free. Given with the holders.
pub(crate) const SLOW_PATH: u32 = 16;
/// A waker is in the cell, of who waits for the operation. Whoever removes the bit
/// has the waker. Only the `Pending`'s side sets it, and only while the operation is in
/// flight; it is gone once that is over. So the call has returned.
const WAKER: u32 = 32;
/// Of a stale cell: it has not been emptied yet.
const NOT_EMPTIED: u32 = 64;
/// The scope that holds the cell is waiting for the operation.
const ENDING: u32 = 128;
/// The payload has to be dropped, or moved out. Given with the holders.
pub(crate) const DROPS: u32 = 512;
/// Nobody holds the cell, but a packet may still come for it.
const AWAITS_LATE_PACKET: u32 = 1024;
/// The port's timers have had an entry of the cell, and may have it still. Only the
/// `Pending`'s side sets it, and only while the operation is in flight, which takes the
/// long way then.
const TIMED: u32 = 2048;
/// Its deadline has passed, and it is being cancelled for that.
const EXPIRED: u32 = 4096;
/// The program has asked for it to be cancelled, before its deadline has passed.
const ASKED: u32 = 8192;

/// What a timer is begun with, in the place of [`note_timed`](State::note_timed).
pub(crate) const IS_TIMED: u32 = TIMED | SLOW_PATH;

#[derive(Debug, Default)]
pub(crate) struct State(AtomicU32);

/// What a state was, of an operation in flight that takes the short way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Simple(u32);

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

    /// The state, if the kernel holds the cell, and the operation takes the short way. For
    /// the thread that has taken its status.
    #[inline]
    pub fn simply_in_flight(&self) -> Option<Simple> {
        let state = self.0.load(Ordering::Acquire);
        (state & (KERNEL | SLOW_PATH) == KERNEL).then_some(Simple(state))
    }

    /// Hands the kernel's part on to the completion of an operation that is
    /// [alone](Self::is_exclusively_in_flight), and publishes what the thread wrote.
    #[inline]
    pub fn complete_exclusive(&self) {
        let state = self.0.load(Ordering::Relaxed);
        self.0.store(state ^ (KERNEL | COMPLETION), Ordering::Release);
    }

    /// Hands the kernel's part on to the completion, whoever else has a part. Whether a waker was in the cell, which the
    /// caller has now.
    #[inline]
    #[must_use]
    pub fn complete(&self) -> bool {
        let mut state = self.0.load(Ordering::Relaxed);
        loop {
            match self.complete_from(state) {
                Ok(has_waker) => return has_waker,
                Err(now) => state = now,
            }
        }
    }

    /// [`complete`](Self::complete) of an operation that takes the short way; `None` if that, or anything else,
    /// has changed meanwhile.
    #[inline]
    #[must_use]
    pub fn complete_simply(&self, Simple(state): Simple) -> Option<bool> {
        self.complete_from(state).ok()
    }

    #[inline]
    fn complete_from(&self, state: u32) -> Result<bool, u32> {
        // In one step: who sees that the operation is over finds no waker.
        let completed = (state ^ (KERNEL | COMPLETION)) & !WAKER;
        self.0.compare_exchange(state, completed, Ordering::AcqRel, Ordering::Relaxed)?;
        Ok(state & WAKER != 0)
    }

    /// The port's timers, which the caller has locked, have an entry of the cell. `false`
    /// if the operation is over: then nobody looks for the entry.
    #[must_use]
    pub fn note_timed(&self) -> bool {
        self.set_in_flight(|_| IS_TIMED)
    }

    /// Whether the port's timers may have an entry of the cell. Of an operation that is
    /// over, the answer is final.
    pub fn is_timed(&self) -> bool {
        self.0.load(Ordering::Acquire) & TIMED != 0
    }

    /// The program asks for the operation to be cancelled, which is remembered if it has a
    /// deadline. `false` if it is over.
    #[inline]
    #[must_use]
    pub fn admits_cancel(&self) -> bool {
        let is_untimed = self.0.load(Ordering::Acquire) & (KERNEL | TIMED) == KERNEL;
        is_untimed || self.ask()
    }

    #[cold]
    #[inline(never)]
    fn ask(&self) -> bool {
        self.set_in_flight(|_| ASKED)
    }

    /// The deadline has passed, which is why the operation is being cancelled, unless the
    /// program has asked for that. `false` if it is over.
    #[must_use]
    pub fn expire(&self) -> bool {
        self.set_in_flight(|state| if state & ASKED == 0 { EXPIRED } else { 0 })
    }

    /// The deadline has passed in vain: nothing could be cancelled.
    pub fn unexpire(&self) {
        self.0.fetch_and(!EXPIRED, Ordering::Relaxed);
    }

    /// Whether the operation was cancelled because its deadline has passed, if it was
    /// cancelled.
    pub fn is_expired(&self) -> bool {
        self.0.load(Ordering::Acquire) & EXPIRED != 0
    }

    #[inline]
    fn set_in_flight(&self, bits: impl Fn(u32) -> u32) -> bool {
        let mut state = self.0.load(Ordering::Acquire);
        while state & KERNEL != 0 {
            let set = state | bits(state);
            match self.0.compare_exchange(state, set, Ordering::Release, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    /// A waker has been put into the cell: leaves it to the thread that will end the
    /// operation. `false` if that is over: the waker stays the caller's.
    #[inline]
    #[must_use]
    pub fn offer_waker(&self) -> bool {
        self.set_in_flight(|_| WAKER)
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

    /// As [`is_exclusively_held_by`](Self::is_exclusively_held_by) the `Pending`, whether what it returns is to be dropped or not.
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
