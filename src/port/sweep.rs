//! Dequeuing from a port that is closed.

use std::mem;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::Shared;
use super::dequeue::Other;
use crate::operation::{CompletionStatus, Taken};
use crate::panics::FirstPanic;
use crate::trace;

/// The end of a [`shut_down`](crate::Iocp::shut_down), whatever panics.
pub(crate) struct EndOfShutDown<'a, C: Send + 'static> {
    shared: &'a Shared<C>,
    closes: bool,
}

impl<C: Send + 'static> Drop for EndOfShutDown<'_, C> {
    fn drop(&mut self) {
        if self.closes {
            self.shared.post_close_marker();
        }
        self.shared.shutting_down.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<C: Send + 'static> Shared<C> {
    /// Lets nothing more be started; threads that wait are not told before the end.
    pub(crate) fn begin_shut_down(&self) -> EndOfShutDown<'_, C> {
        self.shutting_down.fetch_add(1, Ordering::SeqCst);
        EndOfShutDown { shared: self, closes: self.state.close() }
    }

    pub(crate) fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::SeqCst) > 0
    }

    /// Takes what is queued, without waiting, and cancels what is in flight if it
    /// `cancels`. How many it has taken, and how many are left.
    pub(crate) fn sweep(
        &self,
        cancels: bool,
        each: &mut impl FnMut(CompletionStatus<C>),
    ) -> (usize, usize) {
        let mut taken = 0;
        let mut is_marked = false;
        while let Ok(packet) = self.port.dequeue(0) {
            if let Some((operation, waker)) = self.cells.try_complete(packet, Taken::NONE) {
                taken += 1;
                let completion = operation.complete(packet.key);
                let mut panic = FirstPanic::none();
                panic.catch(|| trace::completed(&completion));
                panic.catch(|| each(completion));
                panic.catch(|| waker.into_iter().for_each(Waker::wake));
                panic.resume();
                continue;
            }
            match self.other(packet) {
                // It goes back before foreign code runs, which may wait for it. When it
                // comes again, all that was queued before it has been taken.
                Other::CloseMarker => {
                    self.post_close_marker();
                    if mem::replace(&mut is_marked, true) {
                        break;
                    }
                }
                Other::Foreign(_) | Other::Stray => {}
            }
        }
        (taken, if cancels { self.cells.cancel_all() } else { self.cells.in_flight() })
    }
}
