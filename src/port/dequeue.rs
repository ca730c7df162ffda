//! Dequeuing completions.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::{Batch, Iocp, Shared};
use crate::error::{Error, ForeignPacket, Result, refusal};
use crate::operation::{CompletionStatus, Dequeued, Taken};
use crate::sys::{INFINITE, Packet, RawDequeue};
use crate::trace;

/// What a packet is that completes nothing.
pub(super) enum Other {
    Foreign(ForeignPacket),
    /// The packet that wakes threads when the port closes.
    CloseMarker,
    /// One that should not have come, and is not to be seen.
    Stray,
}

/// What a look at the queue has found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<T> {
    /// `None`: nothing but packets that are not to be seen.
    pub found: Option<T>,
    /// The close marker was among it, and is to be queued again.
    pub marked: bool,
}

impl<T> Look<T> {
    pub const fn found(found: T) -> Self {
        Self { found: Some(found), marked: false }
    }

    pub const NOTHING: Self = Self { found: None, marked: false };
}

impl<C: Send + 'static> Iocp<C> {
    /// Waits for an operation to complete, and returns its completion.
    ///
    /// Any number of threads may wait; each completion goes to one of them.
    /// An operation that failed is a completion like any other, with the error
    /// in [`error_status`](CompletionStatus::error_status).
    ///
    /// # Errors
    ///
    /// - [`Closed`](crate::ErrorKind::Closed): the port was closed, and nothing is queued.
    /// - [`ForeignPacket`](crate::ErrorKind::ForeignPacket): a packet was dequeued that belongs to no
    ///   operation of this port; see [`Error::foreign_packet`]. Go on.
    ///
    /// # Panics
    ///
    /// If the waker of a task that awaits the operation panics. Then the completion is dropped; a
    /// [batch](Self::get_completions) keeps it.
    ///
    /// ```
    /// # let port = completion_port::Iocp::new()?;
    /// # port.post(1, 0, 0)?;
    /// # port.close();
    /// loop {
    ///     match port.get_completion() {
    ///         Ok(completion) => println!("{} is done", completion.context),
    ///         Err(error) if error.is_closed() => break,
    ///         Err(error) => eprintln!("{error}"),
    ///     }
    /// }
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    #[inline(always)]
    pub fn get_completion(&self) -> Result<CompletionStatus<C>> {
        self.shared().next(INFINITE)
    }

    /// Waits for an operation to complete, for at most `timeout`, and returns its
    /// completion; `None` if nothing completed in that time.
    ///
    /// The time is rounded up to whole milliseconds, and is 49 days at most.
    ///
    /// # Errors
    ///
    /// Those of [`get_completion`](Self::get_completion).
    pub fn get_completion_timeout(&self, timeout: Duration) -> Result<Option<CompletionStatus<C>>> {
        let shared = self.shared();
        shared.until(Some(timeout), |timeout| shared.next(timeout))
    }

    /// Returns the completion of an operation without waiting; `None` if nothing is queued.
    ///
    /// # Errors
    ///
    /// Those of [`get_completion`](Self::get_completion).
    pub fn try_get_completion(&self) -> Result<Option<CompletionStatus<C>>> {
        self.get_completion_timeout(Duration::ZERO)
    }

    /// Waits for at least one completion, then fills the batch with those available and
    /// returns how many it holds.
    ///
    /// The `timeout` `None` waits as long as it takes; [`Duration::ZERO`] does not wait. If
    /// nothing completes in time, the batch is empty. Completions that are left in the batch
    /// from before come first, and then this does not wait.
    ///
    /// One thread gets the whole batch, so where several threads share a port, keep it small
    /// enough that each gets work.
    ///
    /// # Errors
    ///
    /// - [`Closed`](crate::ErrorKind::Closed): the port was closed, and nothing is queued.
    /// - [`InvalidInput`](crate::ErrorKind::InvalidInput): the batch has no capacity.
    ///
    /// ```
    /// use completion_port::Batch;
    /// # let port = completion_port::Iocp::new()?;
    /// # port.post(1, 0, 0)?;
    /// let mut batch = Batch::with_capacity(64);
    /// port.get_completions(&mut batch, None)?;
    /// for completion in &mut batch {
    ///     println!("{} is done", completion?.context);
    /// }
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    pub fn get_completions(
        &self,
        batch: &mut Batch<C>,
        timeout: Option<Duration>,
    ) -> Result<usize> {
        let filled = self.shared().fill::<false>(batch, timeout);
        batch.wake();
        filled
    }
}

impl<C: Send + 'static> Shared<C> {
    /// [`Iocp::get_completions`], but for the wakers, which are left in the batch. If it `PARKS`,
    /// a procedure call for this thread ends the wait, with an [alert](Error::is_alert).
    #[inline(always)]
    pub(crate) fn fill<const PARKS: bool>(
        &self,
        batch: &mut Batch<C>,
        timeout: Option<Duration>,
    ) -> Result<usize> {
        if batch.capacity() == 0 {
            return Err(Error::usage(&refusal::EMPTY_BATCH));
        }
        // What is held already is not kept waiting.
        let waits = batch.is_empty() && !batch.has_pushed();
        let filled = self.until(if waits { timeout } else { Some(Duration::ZERO) }, |timeout| {
            batch.fill::<PARKS>(self, timeout)
        });
        batch.take_pushed();
        match filled {
            Err(error) if batch.is_empty() => Err(error),
            // The error will come again; the completions would not.
            _ => Ok(batch.len()),
        }
    }

    /// Takes a packet off the queue, and finds the operation that it completes.
    /// Once the port is closed, this does not wait: the close marker is there.
    #[inline(always)]
    fn next(&self, milliseconds: u32) -> Result<CompletionStatus<C>> {
        let mut landing = RawDequeue::empty();
        let succeeded = self.port.dequeue_to(&mut landing, milliseconds);
        let mut taken = Taken::NONE;
        if let Some((found, Packet { key, .. })) = self.cells.find_dequeued(&landing) {
            match found.try_complete_exclusive(|operation| operation.complete(key)) {
                Ok(completion) => {
                    trace::completed(&completion);
                    return Ok(completion);
                }
                Err(word) => taken = word,
            }
        }
        let (operation, key) = self.next_after(&landing, succeeded, taken, milliseconds)?;
        let completion = operation.complete(key);
        trace::completed(&completion);
        Ok(completion)
    }

    /// The same after a call that has dequeued nothing, or a packet that is not
    /// of the common kind.
    #[cold]
    #[inline(never)]
    fn next_after(
        &self,
        landing: &RawDequeue,
        succeeded: bool,
        taken: Taken,
        milliseconds: u32,
    ) -> Result<(Dequeued<C>, usize)> {
        if let Some((found, packet)) = self.cells.find_dequeued(landing) {
            if let Some((operation, waker)) = found.try_complete_shared(taken, packet.bytes) {
                if let Some(waker) = waker {
                    waker.wake();
                }
                return Ok((operation, packet.key));
            }
        }
        self.next_otherwise(landing, succeeded, milliseconds)
    }

    /// The same after anything but a packet of an operation.
    #[cold]
    #[inline(never)]
    fn next_otherwise(
        &self,
        landing: &RawDequeue,
        succeeded: bool,
        milliseconds: u32,
    ) -> Result<(Dequeued<C>, usize)> {
        let mut waits = None;
        let other = |packet| match self.other(packet) {
            Other::Foreign(packet) => Look::found(Err(Error::foreign(packet))),
            Other::CloseMarker => Look { found: None, marked: true },
            Other::Stray => Look::NOTHING,
        };
        let looked = landing.check(succeeded).map(other);
        let found = self.look_on(looked, milliseconds, |left| {
            let packet = self.port.dequeue(left)?;
            Ok(match self.cells.try_complete(packet, Taken::NONE) {
                Some((operation, waker)) => {
                    waits = waker;
                    Look::found(Ok((operation, packet.key)))
                }
                None => other(packet),
            })
        })?;
        // Nothing of others is in hand.
        if let Some(waker) = waits {
            waker.wake();
        }
        found
    }

    /// Goes on after a look that is not all: until something is found, the time
    /// is over, or the port is closed and nothing is queued any more. Then the
    /// close marker goes back to the end, for the other threads.
    #[cold]
    #[inline(never)]
    pub(super) fn look_on<T>(
        &self,
        mut looked: Result<Look<T>>,
        milliseconds: u32,
        mut look: impl FnMut(u32) -> Result<Look<T>>,
    ) -> Result<T> {
        let mut is_marked = false;
        // Once the port is closed: no scope has packets in hand meanwhile.
        let mut all_queued = None;
        let result = loop {
            match looked {
                Ok(Look { found, marked }) => {
                    is_marked |= marked;
                    if let Some(found) = found {
                        break Ok(found);
                    }
                }
                Err(error) if !error.is_dequeue_timeout() || !self.is_over(is_marked) => {
                    break Err(error);
                }
                Err(_) if all_queued.is_some() => break Err(Error::usage(&refusal::CLOSED)),
                Err(_) => {}
            }
            if self.is_over(is_marked) && all_queued.is_none() {
                all_queued = Some(self.in_hand.write().unwrap_or_else(PoisonError::into_inner));
            }
            // How much of its time is left is known to the caller, who asks
            // again.
            let waits = milliseconds == INFINITE && all_queued.is_none();
            looked = look(if waits { INFINITE } else { 0 });
        };
        drop(all_queued);
        if is_marked {
            self.post_close_marker();
        }
        result
    }

    /// Whether threads are told that the port is closed once nothing is queued: while it is
    /// being shut down, completions are still to come, until the close marker does.
    fn is_over(&self, is_marked: bool) -> bool {
        self.state.is_closed() && (is_marked || !self.is_shutting_down())
    }

    /// What a packet is that completes nothing.
    #[cold]
    pub(super) fn other(&self, packet: Packet) -> Other {
        // Before the port is closed, that address is as foreign as any.
        if self.state.is_closed() && packet.overlapped == self.cells.close_marker() {
            return Other::CloseMarker;
        }
        if self.cells.discard_late_packet(packet.overlapped) {
            return Other::Stray;
        }
        if self.turn_clock(packet) {
            return Other::Stray;
        }
        Other::Foreign(packet.into())
    }

    /// Calls `dequeue` until it has something, or the time is over, of which
    /// the system sometimes thinks a little early.
    fn until<T>(
        &self,
        timeout: Option<Duration>,
        mut dequeue: impl FnMut(u32) -> Result<T>,
    ) -> Result<Option<T>> {
        self.polls.add();
        let deadline = match timeout {
            // Reading the clock is for those who need it.
            None | Some(Duration::ZERO) => None,
            // What the system takes at most, so that there always is one.
            Some(timeout) => Instant::now().checked_add(timeout.min(LONGEST)),
        };
        let mut left = timeout;
        loop {
            match (dequeue(left.map_or(INFINITE, milliseconds)), deadline) {
                (Err(error), deadline) if error.is_dequeue_timeout() => match deadline {
                    Some(deadline) if deadline > Instant::now() => {
                        left = Some(deadline - Instant::now());
                    }
                    _ => return Ok(None),
                },
                (dequeued, _) => return dequeued.map(Some),
            }
        }
    }
}

/// The longest time-out that the system takes.
const LONGEST: Duration = Duration::from_millis(INFINITE as u64 - 1);

/// A time-out for the system: rounded up, so that a short one is not none at
/// all, and never the value that means forever.
pub(crate) fn milliseconds(timeout: Duration) -> u32 {
    let rounded_up = timeout.as_nanos().div_ceil(1_000_000);
    u32::try_from(rounded_up).unwrap_or(INFINITE).min(INFINITE - 1)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use windows_sys::Win32::Foundation::WAIT_TIMEOUT;

    use super::*;
    use crate::error::Facts;

    /// The system's idea of the time may be ahead of ours.
    #[test]
    fn what_is_left_of_a_timeout_that_was_over_early_is_waited_for_and_no_more() {
        const PAUSE: Duration = Duration::from_millis(20);
        let port = Iocp::new().unwrap();
        let mut waits = Vec::new();
        let dequeued = port.shared().until(Some(Duration::from_secs(100)), |milliseconds| {
            waits.push(milliseconds);
            thread::sleep(PAUSE);
            match waits.len() {
                3 => Ok(()),
                _ => Err(Error::os(Facts::GetQueuedCompletionStatus, WAIT_TIMEOUT)),
            }
        });
        assert_eq!(dequeued, Ok(Some(())));
        assert_eq!((waits.len(), waits[0]), (3, 100_000));
        // Clocks are coarse, so half of the pause will do.
        assert!(waits.windows(2).all(|pair| pair[1] <= pair[0] - 10), "{waits:?}");
    }

    #[test]
    fn what_is_not_to_be_seen_gives_a_wait_no_more_time() {
        let port = Iocp::new().unwrap();
        for (timeout, left) in [(0, 0), (100_000, 0), (INFINITE, INFINITE)] {
            let mut looks = vec![Look::NOTHING; 3];
            looks.push(Look::found(7));
            let mut looks = looks.into_iter();
            let found = port.shared().look_on(Ok(looks.next().unwrap()), timeout, |milliseconds| {
                assert_eq!(milliseconds, left);
                Ok(looks.next().unwrap())
            });
            assert_eq!(found, Ok(7));
        }
    }

    #[test]
    fn the_longest_timeout_goes_on_too_after_it_was_over_early() {
        let port = Iocp::new().unwrap();
        let mut waits = 0;
        let dequeued = port.shared().until(Some(Duration::MAX), |_| {
            waits += 1;
            match waits {
                2 => Ok(()),
                _ => Err(Error::os(Facts::GetQueuedCompletionStatus, WAIT_TIMEOUT)),
            }
        });
        assert_eq!(dequeued, Ok(Some(())));
    }

    #[test]
    fn a_timeout_is_rounded_up_and_never_infinite() {
        assert_eq!(milliseconds(Duration::ZERO), 0);
        assert_eq!(milliseconds(Duration::from_nanos(1)), 1);
        assert_eq!(milliseconds(Duration::from_millis(7)), 7);
        assert_eq!(milliseconds(Duration::from_micros(7001)), 8);
        assert_eq!(milliseconds(Duration::from_millis(u64::from(u32::MAX))), u32::MAX - 1);
        assert_eq!(milliseconds(Duration::MAX), u32::MAX - 1);
    }
}
