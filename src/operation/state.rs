//! Who holds an operation's cell: the protocol that decides who may touch what
//! is in it, and who gives it back.
//!
//! A cell has up to four holders at a time, a bit each. The kernel's bit is
//! set before the call that starts the operation, and turns into the
//! completion's when the packet is dequeued. Whoever removes the last bit owns
//! the cell alone and frees it.

use std::sync::atomic::{AtomicU32, Ordering};

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
    Scope = 8,
}

const HOLDERS: u32 = 15;
/// What the operation returns has been moved out of the cell.
const TAKEN: u32 = 16;

#[derive(Debug)]
pub(crate) struct State(AtomicU32);

impl State {
    /// Gives a free cell to the kernel and to `others`, before the call.
    #[inline]
    pub fn begin(&self, others: u32) {
        // Release: whoever finds the kernel's bit also finds the cell filled.
        self.0.store(Holder::Kernel as u32 | others, Ordering::Release);
    }

    /// Whether the kernel still holds the cell. `false` also makes all that
    /// the dequeuing thread wrote into it visible.
    #[inline]
    pub fn is_in_flight(&self) -> bool {
        self.0.load(Ordering::Acquire) & Holder::Kernel as u32 != 0
    }

    /// The packet was dequeued: hands the kernel's part on to the completion,
    /// and publishes what the dequeuing thread wrote.
    #[inline]
    pub fn complete(&self) {
        const KERNEL: u32 = Holder::Kernel as u32;
        const COMPLETION: u32 = Holder::Completion as u32;
        // Bits are only ever removed, so nobody can join a sole holder: an
        // ordinary store will do for it.
        if self.0.load(Ordering::Acquire) == KERNEL {
            self.0.store(COMPLETION, Ordering::Relaxed);
        } else {
            self.0.fetch_xor(KERNEL | COMPLETION, Ordering::AcqRel);
        }
    }

    /// Removes a holder. `true` if it was the last one, who owns the cell now.
    #[inline]
    pub fn leave(&self, holder: Holder) -> bool {
        let bit = holder as u32;
        self.0.load(Ordering::Acquire) & HOLDERS == bit
            || self.0.fetch_and(!bit, Ordering::AcqRel) & HOLDERS == bit
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

    /// Marks a cell that its last holder has emptied.
    #[inline]
    pub fn free(&self) {
        self.0.store(0, Ordering::Release);
    }
}
