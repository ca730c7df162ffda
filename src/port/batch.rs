//! Completions by the batch, in storage of the caller's.

use std::collections::VecDeque;
use std::fmt;

use super::Shared;
use super::dequeue::Other;
use crate::error::{Error, Result, refusal};
use crate::operation::{Arrivals, CompletionStatus, Started};

/// Storage for [`Iocp::get_completions`](crate::Iocp::get_completions), and the
/// completions that wait in it. It is an iterator that takes them out in order.
///
/// It also makes *breadth first* the easy order on handles that
/// [skip the port](crate::Associated::skip_on_success): a completion that is
/// [pushed](Self::push) while the batch is worked through comes out after the
/// next look at the port, behind all that is ready there, so that a connection
/// that is always ready does not starve the others.
pub struct Batch<C = usize> {
    /// From the port.
    arrivals: Arrivals<C>,
    /// From operations that completed at once; they come after the others.
    inline: VecDeque<CompletionStatus<C>>,
    /// The same, since the port was last looked at.
    pushed: VecDeque<CompletionStatus<C>>,
}

impl<C> Batch<C> {
    /// Room for `capacity` completions from the port. Not 0.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            arrivals: Arrivals::with_capacity(capacity),
            inline: VecDeque::new(),
            pushed: VecDeque::new(),
        }
    }

    /// How many completions from the port it can hold, and so, how many it gets
    /// at a time.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.arrivals.capacity()
    }

    /// How many completions are waiting here to be taken out.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arrivals.len() + self.inline.len()
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
    #[inline]
    pub(super) fn fill(&mut self, shared: &Shared<C>, milliseconds: u32) -> Result<()> {
        if self.dequeue(shared, milliseconds)? {
            return self.fill_after_close_marker(shared);
        }
        Ok(())
    }

    /// The same after the close marker: what is queued behind it comes before
    /// it.
    #[cold]
    #[inline(never)]
    fn fill_after_close_marker(&mut self, shared: &Shared<C>) -> Result<()> {
        if self.is_empty() {
            let _ = self.dequeue(shared, 0);
        }
        shared.post_close_marker();
        if self.is_empty() {
            return Err(Error::misuse(&refusal::CLOSED));
        }
        Ok(())
    }

    /// Takes at least one packet that counts, if there is room; `true` if the
    /// close marker was among them.
    #[inline(always)]
    fn dequeue(&mut self, shared: &Shared<C>, milliseconds: u32) -> Result<bool> {
        let kept = self.arrivals.len();
        let (mut has_room, mut marked) = (true, false);
        while has_room && !marked && self.arrivals.len() == kept {
            has_room = self.arrivals.fill(
                &shared.cells,
                |entries| shared.port.dequeue_batch(entries, milliseconds),
                |packet| {
                    let other = shared.other(packet);
                    marked |= matches!(other, Other::CloseMarker);
                    matches!(other, Other::Foreign(_))
                },
            )?;
        }
        Ok(marked)
    }

    /// Whether completions have been pushed that come out after the next look
    /// at the port.
    pub(super) fn has_pushed(&self) -> bool {
        !self.pushed.is_empty()
    }

    pub(super) fn take_pushed(&mut self) {
        if self.has_pushed() {
            self.inline.append(&mut self.pushed);
        }
    }
}

impl<C> Iterator for Batch<C> {
    type Item = Result<CompletionStatus<C>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.arrivals.next() {
            Some(arrival) => Some(arrival.map_err(|packet| Error::foreign(packet.into()))),
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
