//! The end of an operation: from its packet to the last who lets go of its cell.

use std::mem;
use std::task::Waker;

use super::cell::state::{COMPLETION, Holder, SCOPE};
use super::cell::status_word::Taken;
use super::cell::{CellRef, EmptyCell, Payload};
use super::layout::{take_output, take_payload};
use super::pool::Pool;
use crate::error::{Result, STATUS_CANCELLED, STATUS_TIMEOUT};
use crate::panics::FirstPanic;
use crate::sys::{self, Handle};

impl CellRef {
    /// A packet was dequeued that carries the cell's address: ends the operation,
    /// whoever else has a part in it: its result, and who is to be woken. `None` if it
    /// is not in flight, or the packet is not its own. `taken`: from its status word.
    #[cold]
    #[inline(never)]
    pub fn try_complete(
        self,
        mut taken: Taken,
        packet_bytes: u32,
    ) -> Option<((u32, u32), Option<Waker>)> {
        let word = self.status_word();
        if !(taken.is_status() && self.state.is_in_flight()) {
            word.restore(taken);
            taken = word.take_for_certain(|| self.state.is_in_flight())?;
        }
        let mut has_ended = false;
        if !taken.is_status() && packet_bytes == 0 && self.may_end_without_status() {
            word.restore(taken);
            has_ended = word.end_without_status(|| self.is_gone());
            if !has_ended {
                taken = word.take_for_certain(|| self.state.is_in_flight())?;
            }
        }
        let (status, bytes) = if taken.is_status() {
            (taken.status(), self.bytes())
        } else if has_ended {
            (STATUS_CANCELLED, 0)
        } else {
            // "The status block [...] is not updated until the packet is
            // removed", and then it is: this is somebody else's packet, or of
            // an operation that had the cell before
            // (https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports).
            word.restore(taken);
            return None;
        };
        let (status, bytes) = match status {
            STATUS_CANCELLED if self.state.is_expired() && self.has_timed_out() => {
                (STATUS_TIMEOUT, 0)
            }
            _ => (status, bytes),
        };
        // SAFETY: Rule 3.
        let result = unsafe { self.completed(status, bytes) };
        Some((result, self.complete_timed()))
    }

    /// [`complete`](Self::complete) of an operation that may have a deadline, which it has
    /// no more.
    #[cold]
    #[inline(never)]
    pub fn complete_timed(self) -> Option<Waker> {
        let waker = self.complete();
        // Before the completion's part, which is the caller's, can end.
        if self.state.is_timed() {
            Pool::forget_deadline(self);
        }
        waker
    }

    /// Whether an operation that was cancelled was so by its deadline. Who is at it knows
    /// afterwards whether it was too late for that.
    #[cold]
    fn has_timed_out(self) -> bool {
        Pool::forget_deadline(self);
        self.state.is_expired()
    }

    /// Whether a packet without a status, and of no bytes, may be the operation's all
    /// the same. Wine queues one for a receive that ends together with the thread that
    /// started it: nothing has been transferred then.
    #[cold]
    fn may_end_without_status(self) -> bool {
        sys::is_wine() && self.vtable_of_somebody().facts.receives
    }

    /// Whether the system has a receive no more, of which the status word says that it is
    /// being asked about: by now, the cell may be being filled for another.
    #[cold]
    fn is_gone(self) -> bool {
        self.state.is_in_flight()
            // Of one that has had a deadline, the thread is not known any more.
            && (self.state.is_timed() || sys::has_ended(self.number.thread()))
            // "If this function cannot find a request to cancel, the return value is 0
            // (zero), and GetLastError returns ERROR_NOT_FOUND"
            // (https://learn.microsoft.com/windows/win32/fileio/cancelioex-func).
            // Asking cancels an operation that goes on.
            && self.cancel() == Ok(false)
    }

    /// Asks for the operation to be cancelled. Who holds the cell knows that no other
    /// operation has it, so that only this one can be cancelled.
    #[inline(always)]
    pub fn cancel(self) -> Result<bool> {
        match self.handle() {
            // A timer, what was posted, or is over already.
            Handle::NONE => Pool::cancel_timer(self),
            Handle::WAIT => Pool::cancel_wait(self),
            handle => sys::cancel(handle, self.address()),
        }
    }

    /// Lets the payload see that the operation is over with this result, which
    /// may turn a success into an error, and notes the result.
    ///
    /// # Safety
    ///
    /// Rule 3: the caller has taken the status, and nobody knows that the operation is
    /// over yet.
    #[inline]
    pub unsafe fn completed(self, mut status: u32, bytes: u32) -> (u32, u32) {
        // SAFETY: Rules 3 and 5, by the caller's promise.
        unsafe {
            if let Some(completed) = self.vtable().completed {
                completed(&Payload::new(self), &mut status, bytes);
            }
            self.set_result(status, bytes);
        }
        self.result()
    }

    /// The payload of an operation that is over, for the first who asks.
    pub fn claim_payload(self) -> Option<Payload> {
        // SAFETY: Rule 5.
        self.state.take().then(|| unsafe { Payload::new(self) })
    }

    /// Takes what the completion's operation returns, which is its payload once `fill`
    /// has been called, if nobody else has, and releases the completion's part. `fill`
    /// is none of the program's code, and does not panic.
    ///
    /// # Safety
    ///
    /// Rule 6: the completion's part ends here, and its context is gone. The payload is, in
    /// memory, a `T`, after so many bytes.
    #[inline(always)]
    pub unsafe fn take_payload_and_release<T: 'static>(
        self,
        bytes: u32,
        fill: impl FnOnce(&mut T),
    ) -> Option<T> {
        // SAFETY: Rule 6: who holds a cell exclusively owns it, payload included.
        unsafe {
            if !self.state.is_exclusively_held_by(Holder::Completion, mem::needs_drop::<T>()) {
                return self.take_and_release(bytes);
            }
            let output = take_payload(Payload::new(self), fill);
            Pool::free(EmptyCell::new(self));
            Some(output)
        }
    }

    /// Takes what the completion's operation returns, if nobody else has, and releases the
    /// completion's part.
    ///
    /// # Safety
    ///
    /// Rule 6: the completion's part ends here, and its context is gone. The operation
    /// returns a `T`, after so many bytes.
    #[cold]
    #[inline(never)]
    pub unsafe fn take_and_release<T: 'static>(self, bytes: u32) -> Option<T> {
        // SAFETY: Rule 5, by the caller's promise.
        let output =
            self.claim_payload().and_then(|payload| unsafe { take_output(payload, bytes) });
        self.release(Holder::Completion);
        output
    }

    /// Removes a holder (rule 6). The last one drops what nobody has taken, and frees
    /// the cell.
    #[inline]
    fn release(self, holder: Holder) {
        if self.state.release(holder) {
            self.finish();
        }
    }

    #[cold]
    fn finish(self) {
        let mut panic = FirstPanic::none();
        if !self.state.is_taken() {
            // SAFETY: Rules 5 and 6: the last holder owns the cell.
            panic.catch(|| unsafe { Payload::new(self) }.drop_in_place());
        }
        // SAFETY: Rule 6, and the context went with the completion.
        let mut cell = unsafe { EmptyCell::new(self) };
        cell.overflow().shrink();
        Pool::free(cell);
        panic.resume();
    }
}

/// The part that one holder has in a filled cell, which stays until all are released
/// (rule 6).
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct Part<const HOLDER: u32>(CellRef);

pub(super) type PendingPart = Part<{ Holder::Pending as u32 }>;
pub(super) type CompletionPart = Part<{ Holder::Completion as u32 }>;
pub(super) type ScopePart = Part<{ Holder::Scope as u32 }>;

impl<const HOLDER: u32> Part<HOLDER> {
    /// # Safety
    ///
    /// Rule 6: the cell is held for this.
    #[inline(always)]
    pub unsafe fn new(cell: CellRef) -> Self {
        Self(cell)
    }

    #[inline(always)]
    pub fn cell(&self) -> CellRef {
        self.0
    }
}

impl<const HOLDER: u32> Drop for Part<HOLDER> {
    #[inline(always)]
    fn drop(&mut self) {
        let Self(cell) = *self;
        match HOLDER {
            // Which is most often the last.
            COMPLETION if cell.state.is_exclusively_held_by(Holder::Completion, false) => {
                // SAFETY: Rule 6; the context is gone.
                Pool::free(unsafe { EmptyCell::new(cell) });
            }
            COMPLETION => cell.release(Holder::Completion),
            SCOPE => cell.release(Holder::Scope),
            _ => cell.release(Holder::Pending),
        }
    }
}
