//! Who ends an operation: whoever takes its status.
//!
//! The status word of the `OVERLAPPED` says that the operation is pending until
//! the kernel writes a status there. An operation is ended by the thread that has
//! dequeued its packet, or by the one that made its call and was told that no
//! packet will come. Should both think so, or should packets carry its address
//! that are not its own, one exchange of the word decides: it yields the status
//! once, and "taken" to everybody else.
//!
//! A free cell's word has no status that could be taken.

use super::atomic::{AtomicUsize, Ordering};
use super::yield_now;
use crate::error::STATUS_PENDING;

/// The low half of the word, as the kernel writes it.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct StatusWord(AtomicUsize);

/// What the word says while somebody has its status: no `NTSTATUS`, of which bit 28 is
/// reserved and never set
/// (<https://learn.microsoft.com/openspecs/windows_protocols/ms-erref/87fba13e-bf06-450e-83b1-9241dc81e781>).
const TAKEN: usize = 0xD000_0103;

/// What the word says while somebody asks the system whether it still has the operation.
/// No `NTSTATUS` either.
const ASKED: usize = 0xD000_0104;

/// What was taken from the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken(usize);

impl Taken {
    pub const NONE: Self = Self(TAKEN);

    /// Whether it is the status of a success, at a glance: it may be one though
    /// the answer is `false`.
    #[inline]
    pub fn is_success(self) -> bool {
        // The whole word, so that the compiler keeps this apart from all other
        // questions: a success is known to be one.
        self.0 == 0
    }

    #[inline]
    pub fn status(self) -> u32 {
        // The kernel writes no more than the low half.
        self.0 as u32
    }

    /// Whether it is an operation's status.
    pub fn is_status(self) -> bool {
        self != Self::NONE && self.0 != ASKED && self.status() != STATUS_PENDING
    }
}

/// Nothing to be taken.
impl Default for StatusWord {
    fn default() -> Self {
        Self(AtomicUsize::new(TAKEN))
    }
}

impl StatusWord {
    /// Makes the word ready for a call, as the system's own calls begin.
    #[inline]
    pub fn reset(&self) {
        self.0.store(STATUS_PENDING as usize, Ordering::Relaxed);
    }

    /// Writes a status in the kernel's place, after all that comes with it.
    #[inline]
    pub fn write(&self, status: u32) {
        self.0.store(status as usize, Ordering::Release);
    }

    /// Takes the status, and with it the operation, if it
    /// [is one](Taken::is_status). Otherwise, what was taken has to be
    /// [put back](Self::restore).
    #[inline]
    pub fn take(&self) -> Taken {
        Taken(self.0.swap(TAKEN, Ordering::AcqRel))
    }

    /// Puts back what was taken. A status goes back as it is, because nobody else has
    /// it; in place of none, the kernel may have written one meanwhile.
    pub fn restore(&self, taken: Taken) {
        if taken.is_status() {
            self.0.store(taken.0, Ordering::Release);
        } else {
            let _ = self.0.compare_exchange(TAKEN, taken.0, Ordering::Release, Ordering::Relaxed);
        }
    }

    /// Ends an operation that is pending, without a status: if `is_gone` says that the
    /// system has it no more, and nobody has written or taken anything meanwhile.
    pub fn end_without_status(&self, is_gone: impl FnOnce() -> bool) -> bool {
        const PENDING: usize = STATUS_PENDING as usize;
        let exchange = |from, to| {
            self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        // Not by way of "taken": a status that comes, and is taken by somebody else, could
        // not be told from that.
        exchange(PENDING, ASKED) && {
            let is_gone = is_gone();
            exchange(ASKED, if is_gone { TAKEN } else { PENDING }) && is_gone
        }
    }

    /// Takes the status, or that there is none yet, from whoever just looks at
    /// it. `None` if somebody else has ended the operation.
    pub fn take_for_certain(&self, is_in_flight: impl Fn() -> bool) -> Option<Taken> {
        while is_in_flight() {
            match self.take() {
                Taken::NONE => yield_now(),
                taken @ Taken(ASKED) => {
                    self.restore(taken);
                    yield_now();
                }
                taken => return Some(taken),
            }
        }
        None
    }
}
