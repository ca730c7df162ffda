//! The end of an operation: from its packet to the last who lets go of its cell.

use std::mem;
use std::thread;
use std::time::Duration;

use super::cell::state::Holder;
use super::cell::{CellRef, VTable};
use super::layout::{returned_payload_ptr, take_output};
use super::pool::Slab;
use crate::error::STATUS_CANCELLED;
use crate::panics::FirstPanic;
use crate::sys;

impl CellRef {
    /// A packet was dequeued that carries the cell's address: ends the operation,
    /// whoever else has a part in it. `None` if it is not in flight, or the
    /// packet is not its own.
    pub fn try_complete(self, packet_bytes: u32) -> Option<(u32, u32)> {
        let word = self.status_word();
        let mut taken = word.take_for_certain(|| self.state.is_in_flight())?;
        let mut has_ended = false;
        let may_have_ended = || self.vtable().facts.is_receive() && sys::is_wine();
        if !taken.is_status() && packet_bytes == 0 && may_have_ended() {
            word.restore(taken);
            self.wait_for_call();
            taken = word.take_for_certain(|| self.state.is_in_flight())?;
            has_ended = !taken.is_status() && self.has_ended_without_status();
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
        // SAFETY: Who has taken the status ends the operation, and a status is the
        // proof that the kernel has given the cell back. Without one, see
        // `has_ended_without_status`.
        let result = unsafe { self.completed(status, bytes) };
        self.state.complete();
        Some(result)
    }

    /// Waits until the call that starts the operation has returned. As long as its
    /// thread may have the `Pending`, nobody can tell; a tenth of a second is far
    /// more than a call takes. On Wine only.
    #[cold]
    fn wait_for_call(self) {
        for _ in 0..100 {
            if !self.state.is_tracked_in_flight() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether a packet without a status, and of no bytes, is that of a receive all
    /// the same. Wine queues one for a receive that ends together with the thread
    /// that started it: nothing has been transferred then. Asking cancels an
    /// operation that goes on, so it is not asked about other packets. Its call has
    /// returned, and the caller has taken its status word.
    #[cold]
    fn has_ended_without_status(self) -> bool {
        // "If this function cannot find a request to cancel, the return value is 0
        // (zero), and GetLastError returns ERROR_NOT_FOUND"
        // (https://learn.microsoft.com/windows/win32/fileio/cancelioex-func).
        sys::cancel(self.handle(), self.address()) == Ok(false)
            && self.status_word().is_still_taken()
    }

    /// Lets the payload see that the operation is over with this result, which
    /// may turn a success into an error, and notes the result.
    ///
    /// # Safety
    ///
    /// As for [`set_result`](set_result).
    #[inline]
    pub unsafe fn completed(self, mut status: u32, bytes: u32) -> (u32, u32) {
        // SAFETY: The kernel has given the cell back, and nobody else has it.
        unsafe {
            if let Some(completed) = self.vtable().completed {
                completed(self, &mut status);
            }
            self.set_result(status, bytes);
            self.result()
        }
    }

    /// Takes what the operation returns, which is its payload once `fill` has
    /// been called, if nobody else has, and lets the cell go. `fill` is none of
    /// the program's code, and does not panic.
    ///
    /// # Safety
    ///
    /// The kernel has given the cell back, which was filled with this table,
    /// after so many bytes; the context is gone, the completion's part ends
    /// here, and the payload is, in memory, a `T`.
    #[inline(always)]
    pub unsafe fn take_payload_and_release<T: 'static>(
        self,
        vtable: &VTable,
        bytes: u32,
        fill: impl FnOnce(&mut T),
    ) -> Option<T> {
        // SAFETY: The completion holds the cell; if it does so alone, it owns
        // it, and the payload is its to take.
        unsafe {
            let drops = mem::needs_drop::<T>();
            if !self.state.is_exclusively_held_by(Holder::Completion, drops) {
                return self.take_and_release(vtable, bytes);
            }
            let place = returned_payload_ptr::<T>(self);
            fill(&mut *place);
            let payload = place.read();
            self.free_without_shrinking();
            Some(payload)
        }
    }

    /// The same for all that an operation may return, which is a `T`.
    ///
    /// # Safety
    ///
    /// As for [`take_payload_and_release`](take_payload_and_release)
    /// otherwise.
    #[cold]
    #[inline(never)]
    pub unsafe fn take_and_release<T: 'static>(self, vtable: &VTable, bytes: u32) -> Option<T> {
        // SAFETY: The completion holds the cell until it leaves, and the
        // output is claimed before it is taken.
        unsafe {
            let is_ours = self.state.take();
            let output = if is_ours { take_output(self, vtable, bytes) } else { None };
            self.release(Holder::Completion);
            output
        }
    }

    /// Lets go of the cell.
    ///
    /// # Safety
    ///
    /// The holder's part ends here. If it is the last, the operation is over
    /// and its context gone.
    #[inline]
    pub unsafe fn release(self, holder: Holder) {
        // SAFETY: The holder holds the cell; the last one owns it alone.
        unsafe {
            if self.state.release(holder) {
                self.finish();
            }
        }
    }

    /// The same for the completion, which is most often the last.
    ///
    /// # Safety
    ///
    /// As for [`leave`](leave).
    #[inline]
    pub unsafe fn release_last(self) {
        // SAFETY: As for `leave`.
        unsafe {
            if self.state.is_exclusively_held_by(Holder::Completion, false) {
                self.free_without_shrinking();
            } else {
                self.release(Holder::Completion);
            }
        }
    }

    /// Drops what nobody has taken, and gives the cell back to its slab.
    ///
    /// # Safety
    ///
    /// The caller was the last holder, and the context is gone.
    #[cold]
    unsafe fn finish(self) {
        let mut panic = FirstPanic::none();
        // SAFETY: The last holder owns the cell alone.
        unsafe {
            if !self.state.is_taken() {
                panic.catch(|| self.vtable().drop_payload(self));
            }
            self.free();
        }
        panic.resume();
    }

    /// Gives an empty cell back to its slab.
    ///
    /// # Safety
    ///
    /// The caller owns the cell alone, and nothing is left in it.
    pub unsafe fn free(self) {
        // SAFETY: By the caller's promise.
        unsafe {
            self.overflow().shrink();
            self.free_without_shrinking();
        }
    }

    /// The same for a cell whose operation took the short way: it has no block
    /// that is too large to be kept.
    ///
    /// # Safety
    ///
    /// As for [`free`](free).
    #[inline]
    pub unsafe fn free_without_shrinking(self) {
        // SAFETY: By the caller's promise.
        unsafe { Slab::free(self) };
    }
}
