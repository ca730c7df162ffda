//! What the port does for scopes that wait for their operations.

use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use super::Shared;
use super::dequeue::milliseconds;
use crate::operation::Taken;
use crate::panics::{self, FirstPanic};

impl<C: Send + 'static> Shared<C> {
    /// Waits a little for the packets of scopes that are ending, which other
    /// threads may dequeue as well, and drops their completions.
    ///
    /// Only if all that is queued is taken off, what is others' keeps its order
    /// when it is put back. After that it is left to them for a while, so that
    /// this neither keeps them waiting nor spins, however much there is.
    pub(crate) fn wait_for_scopes(&self) {
        const GLANCE: Duration = Duration::from_millis(5);
        /// Somebody who posts without end must not keep the others waiting.
        const ENOUGH: usize = 1 << 16;
        let in_hand = self.in_hand.read().unwrap_or_else(PoisonError::into_inner);
        let Ok(mut packet) = self.port.dequeue(milliseconds(GLANCE)) else { return };
        let start = Instant::now();
        // A few need no allocation.
        let mut first = [const { None }; 8];
        let (mut further, mut others) = (Vec::new(), Vec::new());
        let mut wakers = Vec::new();
        let mut completed = 0;
        loop {
            let is_awaited = self.cells.is_awaited_by_scope(packet.overlapped);
            let operation =
                is_awaited.then(|| self.cells.try_complete(packet, Taken::NONE)).flatten();
            if let Some((operation, waker)) = operation {
                wakers.extend(waker);
                match first.get_mut(completed) {
                    Some(place) => *place = Some(operation),
                    None => further.push(operation),
                }
                completed += 1;
            } else if !self.cells.is_late_packet(packet.overlapped) && !self.turn_clock(packet) {
                // A late packet that was put back would be behind the marker that is
                // queued behind it.
                others.push(packet);
            }
            if others.len() == ENOUGH {
                break;
            }
            match self.port.dequeue(0) {
                Ok(next) => packet = next,
                Err(_) => break,
            }
        }
        for packet in &others {
            self.requeue(*packet);
        }
        // What panics, waits or dequeues below has nothing of others.
        drop(in_hand);
        let mut panic = FirstPanic::none();
        panic.catch(|| panics::wake_all(&mut wakers));
        panic.catch(|| panics::drop_all(first.into_iter().flatten().chain(further)));
        panic.resume();
        if completed == 0 {
            thread::sleep(GLANCE.max(4 * start.elapsed()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Iocp;

    /// Otherwise a scope whose operations take their time would spin.
    #[test]
    fn a_look_that_finds_nothing_of_the_scopes_is_followed_by_a_pause() {
        const LOOKS: u32 = 5;
        let port = Iocp::new().unwrap();
        (0..3).for_each(|i| port.post(i, 0, 0).unwrap());
        let start = Instant::now();
        (0..LOOKS).for_each(|_| port.shared().wait_for_scopes());
        // Clocks are coarse.
        assert!(start.elapsed() >= LOOKS * Duration::from_millis(3), "{:?}", start.elapsed());
        (0..3).for_each(|i| assert_eq!(port.get_completion().unwrap().context, i));
    }
}
