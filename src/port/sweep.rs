//! Dequeuing from a port that is closed.

use std::mem;
use std::sync::atomic::Ordering;
use std::task::Waker;

use super::Shared;
use super::dequeue::Other;
use crate::operation::{CompletionStatus, Taken};
use crate::panics::FirstPanic;
use crate::trace;

/// So many packets that complete nothing are taken at a time.
const MOST_OTHERS: usize = 1024;

/// The end of a [`shut_down`](crate::Iocp::shut_down), whatever panics.
pub(crate) struct EndOfShutDown<'a, C: Send + 'static> {
    shared: &'a Shared<C>,
    closes: bool,
}

impl<C: Send + 'static> Drop for EndOfShutDown<'_, C> {
    fn drop(&mut self) {
        if self.closes {
            self.shared.tell_of_close();
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
        let (mut taken, mut others) = (0, 0);
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
            // Others may post for ever, but the caller does not wait for ever.
            others += 1;
            if others == MOST_OTHERS {
                break;
            }
        }
        (taken, if cancels { self.cells.cancel_all() } else { self.cells.in_flight() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Iocp;

    #[test]
    fn who_looks_at_a_closed_port_goes_away_from_packets_of_others() {
        let port = Iocp::new().unwrap();
        for key in 0..2 * MOST_OTHERS {
            port.shared().port.post(key, 0, 0).unwrap();
        }
        port.post(7, 0, 0).unwrap();
        port.shared().state.close();
        let mut contexts = Vec::new();
        let mut sweep =
            || port.shared().sweep(false, &mut |completion| contexts.push(completion.context));
        assert_eq!([sweep(), sweep(), sweep()], [(0, 1), (0, 1), (1, 0)]);
        assert_eq!(contexts, [7]);
    }
}
