//! Dequeuing completions.

use std::time::{Duration, Instant};

use super::{Batch, Iocp, Shared};
use crate::error::{Error, ForeignPacket, Result, refusal};
use crate::operation::{CompletionStatus, Dequeued};
use crate::sys::{DequeueFailure, INFINITE, Packet};

/// What a packet turns out to be.
pub(super) enum Received<C> {
    Completion(Dequeued<C>),
    Foreign(ForeignPacket),
    /// The packet that wakes threads when the port closes.
    CloseMarker,
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
    #[inline]
    pub fn get_completion(&self) -> Result<CompletionStatus<C>> {
        let shared = self.shared();
        match shared.dequeue(INFINITE) {
            Ok(received) => shared.completion_of(received),
            Err(DequeueFailure::Failed(error)) => Err(error),
            // Only a closed port does not wait.
            Err(DequeueFailure::TimedOut) => Err(Error::misuse(&refusal::CLOSED)),
        }
    }

    /// The same, for at most `timeout`; `None` if nothing completed in that
    /// time. It is rounded up to whole milliseconds, and 49 days at most.
    ///
    /// # Errors
    ///
    /// As for [`get_completion`](Self::get_completion).
    pub fn get_completion_timeout(&self, timeout: Duration) -> Result<Option<CompletionStatus<C>>> {
        let shared = self.shared();
        let received = shared.until(Some(timeout), |timeout| shared.dequeue(timeout))?;
        received.map(|received| shared.completion_of(received)).transpose()
    }

    /// The same without waiting; `None` if nothing is queued.
    ///
    /// # Errors
    ///
    /// As for [`get_completion`](Self::get_completion).
    pub fn try_get_completion(&self) -> Result<Option<CompletionStatus<C>>> {
        self.get_completion_timeout(Duration::ZERO)
    }

    /// Waits for operations to complete, and takes as many completions as
    /// there are and as fit into the batch; returns how many the batch now
    /// holds.
    ///
    /// `timeout`: `None` waits as long as it takes; [`Duration::ZERO`] does not
    /// wait. If nothing completes in time, the batch is empty. What the batch
    /// still held from before is kept, and comes first.
    ///
    /// One thread gets the whole batch, so where several share a port, keep it
    /// small enough that none has nothing to do.
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
        if batch.capacity() == 0 {
            return Err(Error::misuse(&refusal::EMPTY_BATCH));
        }
        let shared = self.shared();
        // What is held already is not kept waiting.
        let waits = batch.is_empty() && !batch.has_pushed();
        let filled = shared.until(if waits { timeout } else { Some(Duration::ZERO) }, |timeout| {
            batch.fill(shared, timeout)
        });
        batch.take_pushed();
        match filled {
            Err(error) if batch.is_empty() => Err(error),
            // The error will come again; the completions would not.
            _ => Ok(batch.len()),
        }
    }
}

impl<C: Send + 'static> Shared<C> {
    /// Takes a packet off the queue, and finds out whose it is. Once the port
    /// is closed, this does not wait.
    #[inline]
    fn dequeue(&self, milliseconds: u32) -> Result<Received<C>, DequeueFailure> {
        let milliseconds = if self.identity.is_closed() { 0 } else { milliseconds };
        loop {
            let packet = self.port.dequeue(milliseconds)?;
            if let Some(received) = self.receive(&packet) {
                return Ok(received);
            }
        }
    }

    /// Finds out whose a packet is; `None` if it is not to be seen. Each packet
    /// is received once.
    #[inline]
    pub(super) fn receive(&self, packet: &Packet) -> Option<Received<C>> {
        match self.cells.claim(packet) {
            Some(dequeued) => Some(Received::Completion(dequeued)),
            None => self.receive_other(packet),
        }
    }

    #[cold]
    fn receive_other(&self, packet: &Packet) -> Option<Received<C>> {
        // Before the port is closed, that address is as foreign as any.
        if self.identity.is_closed() && self.cells.is_close_marker(packet) {
            return Some(Received::CloseMarker);
        }
        (!self.cells.swallow(packet)).then(|| {
            Received::Foreign(ForeignPacket {
                completion_key: packet.key(),
                bytes_transferred: packet.bytes(),
                overlapped: packet.overlapped(),
            })
        })
    }

    #[inline]
    fn completion_of(&self, received: Received<C>) -> Result<CompletionStatus<C>> {
        match received {
            Received::Completion(dequeued) => Ok(dequeued.complete()),
            Received::Foreign(packet) => Err(Error::foreign(packet)),
            Received::CloseMarker => self.after_close_marker(),
        }
    }

    /// A thread has taken the close marker: what is queued behind it comes
    /// first, and the marker goes back to the end for the other threads.
    #[cold]
    fn after_close_marker(&self) -> Result<CompletionStatus<C>> {
        let behind = self.dequeue(0);
        self.post_close_marker();
        match behind {
            Ok(Received::Completion(dequeued)) => Ok(dequeued.complete()),
            Ok(Received::Foreign(packet)) => Err(Error::foreign(packet)),
            Ok(Received::CloseMarker) | Err(DequeueFailure::TimedOut) => {
                Err(Error::misuse(&refusal::CLOSED))
            }
            Err(DequeueFailure::Failed(error)) => Err(error),
        }
    }

    /// Calls `dequeue` until it has something, or the time is over, of which
    /// the system sometimes thinks a little early.
    fn until<T>(
        &self,
        timeout: Option<Duration>,
        mut dequeue: impl FnMut(u32) -> Result<T, DequeueFailure>,
    ) -> Result<Option<T>> {
        let deadline = match timeout {
            // Reading the clock is for those who need it.
            None | Some(Duration::ZERO) => None,
            Some(timeout) => Instant::now().checked_add(timeout),
        };
        let mut left = timeout;
        loop {
            let failure = match dequeue(left.map_or(INFINITE, milliseconds)) {
                Ok(received) => return Ok(Some(received)),
                Err(failure) => failure,
            };
            match (failure, deadline) {
                (DequeueFailure::Failed(error), _) => return Err(error),
                (DequeueFailure::TimedOut, _) if self.identity.is_closed() => {
                    return Err(Error::misuse(&refusal::CLOSED));
                }
                (DequeueFailure::TimedOut, Some(deadline)) if deadline > Instant::now() => {
                    left = Some(deadline - Instant::now());
                }
                (DequeueFailure::TimedOut, _) => return Ok(None),
            }
        }
    }
}

/// A time-out for the system: rounded up, so that a short one is not none at
/// all, and never the value that means forever.
fn milliseconds(timeout: Duration) -> u32 {
    let rounded_up = timeout.as_nanos().div_ceil(1_000_000);
    u32::try_from(rounded_up).unwrap_or(INFINITE).min(INFINITE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

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
