//! Completions by the batch, in storage of the caller's.

use std::collections::VecDeque;
use std::fmt;

use super::Shared;
use super::dequeue::Other;
use crate::error::{Error, ForeignPacket, Result, refusal};
use crate::operation::{CompletionStatus, Dequeued, Started};
use crate::sys::{Entry, Packet};

/// Storage for [`Iocp::get_completions`](crate::Iocp::get_completions), and the
/// completions that wait in it. It is an iterator that takes them out in order.
///
/// It also makes *breadth first* the easy order on handles that
/// [skip the port](crate::Associated::skip_on_success): a completion that is
/// [pushed](Self::push) while the batch is worked through comes out after the
/// next look at the port, behind all that is ready there, so that a connection
/// that is always ready does not starve the others.
pub struct Batch<C = usize> {
    entries: Box<[Entry]>,
    /// From the port; the last one comes first.
    dequeued: Vec<Waiting<C>>,
    /// From operations that completed at once; they come after `dequeued`.
    inline: VecDeque<CompletionStatus<C>>,
    /// The same, since the port was last looked at.
    pushed: VecDeque<CompletionStatus<C>>,
}

/// What has been dequeued, and nobody has looked at yet.
enum Waiting<C> {
    /// With its completion key.
    Completion(Dequeued<C>, usize),
    Foreign(ForeignPacket),
}

impl<C> Batch<C> {
    /// Room for `capacity` packets at a time. Not 0.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            entries: (0..capacity).map(|_| Entry::EMPTY).collect(),
            dequeued: Vec::with_capacity(capacity),
            inline: VecDeque::new(),
            pushed: VecDeque::new(),
        }
    }

    /// How many packets can be dequeued at a time.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.entries.len()
    }

    /// How many completions are waiting here to be taken out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.dequeued.len() + self.inline.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Keeps the completion of an operation that completed at once for after
    /// the next [`get_completions`](crate::Iocp::get_completions), which then
    /// does not wait; of one that is pending it will come through the port.
    ///
    /// ```no_run
    /// # use completion_port::{Associated, Batch, Inline, Iocp};
    /// # fn read(port: &Iocp, stream: &Associated<std::net::TcpStream, Inline>, batch: &mut Batch)
    /// # -> Result<(), completion_port::Error> {
    /// batch.push(port.initiate_read(stream, 456, Vec::with_capacity(1024))?);
    /// # Ok(())
    /// # }
    /// ```
    pub fn push<B>(&mut self, started: Started<B, C>) {
        if let Started::Completed(completion) = started {
            self.pushed.push_back(completion);
        }
    }
}

impl<C: Send + 'static> Batch<C> {
    /// Dequeues into the storage.
    pub(super) fn fill(&mut self, shared: &Shared<C>, milliseconds: u32) -> Result<()> {
        if self.dequeue(shared, milliseconds)? {
            if self.is_empty() {
                // What is queued behind the close marker comes before it.
                let _ = self.dequeue(shared, 0);
            }
            shared.post_close_marker();
            if self.is_empty() {
                return Err(Error::misuse(&refusal::CLOSED));
            }
        }
        Ok(())
    }

    /// Takes at least one packet that counts; `true` if the close marker was
    /// among them.
    fn dequeue(&mut self, shared: &Shared<C>, milliseconds: u32) -> Result<bool> {
        let kept = self.dequeued.len();
        let mut marked = false;
        while self.dequeued.len() == kept && !marked {
            let count = shared.port.dequeue_batch(&mut self.entries, milliseconds)?;
            for entry in self.entries[..count].iter().rev() {
                let packet = entry.packet();
                let Packet { overlapped, key, .. } = packet;
                if let Some(found) = shared.cells.find(overlapped) {
                    if let Some(operation) = found.claim_success() {
                        self.dequeued.push(Waiting::Completion(operation, key));
                        continue;
                    }
                    if let Some(operation) = found.claim() {
                        self.dequeued.push(Waiting::Completion(operation, key));
                        continue;
                    }
                }
                match shared.other(packet) {
                    Other::Foreign(packet) => self.dequeued.push(Waiting::Foreign(packet)),
                    Other::CloseMarker => marked = true,
                    Other::Stray => {}
                }
            }
        }
        // What was there before comes first.
        self.dequeued.rotate_left(kept);
        Ok(marked)
    }

    /// Whether completions have been pushed that come out after the next look
    /// at the port.
    pub(super) fn has_pushed(&self) -> bool {
        !self.pushed.is_empty()
    }

    pub(super) fn take_pushed(&mut self) {
        self.inline.append(&mut self.pushed);
    }
}

impl<C> Iterator for Batch<C> {
    type Item = Result<CompletionStatus<C>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.dequeued.pop() {
            Some(Waiting::Completion(operation, key)) => Some(Ok(operation.complete(key))),
            Some(Waiting::Foreign(packet)) => Some(Err(Error::foreign(packet))),
            None => self.inline.pop_front().map(Ok),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<C> fmt::Debug for Batch<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch")
            .field("capacity", &self.capacity())
            .field("len", &self.len())
            .finish()
    }
}
