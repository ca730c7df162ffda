//! Completions by the batch, in storage of the caller's.

use std::collections::VecDeque;
use std::fmt;
use std::iter;

use super::Shared;
use super::dequeue::{Look, Other};
use crate::error::{Error, Result};
use crate::operation::{CompletionEntries, CompletionStatus, Started};
use crate::panics;
use crate::trace;

/// The completions that [`Iocp::get_completions`](crate::Iocp::get_completions) has dequeued.
/// It is an iterator that takes them out in order.
///
/// On handles that [skip the port](crate::Associated::skip_on_success), operations return
/// their completions to their starter. Completions added with [`push`](Self::push) are
/// returned after the next `get_completions`, behind everything already queued, so a busy
/// connection cannot starve the others.
pub struct Batch<C = usize> {
    /// From the port.
    arrivals: CompletionEntries<C>,
    /// From operations that completed at once; they come after the others.
    inline: VecDeque<CompletionStatus<C>>,
    /// From operations that completed at once since the port was last looked at.
    pushed: VecDeque<CompletionStatus<C>>,
}

impl<C> Batch<C> {
    /// Creates a batch with room for `capacity` completions from the port. Not 0.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            arrivals: CompletionEntries::with_capacity(capacity),
            inline: VecDeque::new(),
            pushed: VecDeque::new(),
        }
    }

    /// Returns the number of completions from the port that it can hold, and so gets at a
    /// time.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.arrivals.capacity()
    }

    /// Returns the number of completions that are left in the batch.
    #[must_use]
    pub fn len(&self) -> usize {
        self.arrivals.len() + self.inline.len()
    }

    /// Returns `true` if no completion is left in the batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds the completion of an operation that completed immediately, to be returned after
    /// the next [`get_completions`](crate::Iocp::get_completions), which then does not wait.
    /// The completion of one that is pending will come through the port.
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

impl<C: Send + 'static> Batch<C> {
    /// Wakes who waits for what was dequeued. Nothing of others is in hand.
    #[inline]
    pub(crate) fn wake(&mut self) {
        self.arrivals.wake();
    }

    /// Dequeues into the storage.
    #[inline]
    pub(super) fn fill<const PARKS: bool>(
        &mut self,
        shared: &Shared<C>,
        milliseconds: u32,
    ) -> Result<()> {
        match self.look::<PARKS>(shared, milliseconds) {
            Ok(Look { found: Some(()), marked: false }) => Ok(()),
            looked => shared.look_on(looked, milliseconds, |left| self.look::<PARKS>(shared, left)),
        }
    }

    /// Dequeues once. It has found something if at least one packet counts, or there is no
    /// room.
    #[inline(always)]
    fn look<const PARKS: bool>(
        &mut self,
        shared: &Shared<C>,
        milliseconds: u32,
    ) -> Result<Look<()>> {
        let kept = self.arrivals.len();
        let mut marked = false;
        let has_room = self.arrivals.fill(
            &shared.cells,
            |entries| shared.port.dequeue_batch(entries, milliseconds, PARKS),
            |packet| {
                match shared.other(packet) {
                    Other::Foreign(_) => return true,
                    Other::CloseMarker => marked = true,
                    Other::Stray => {}
                }
                false
            },
        )?;
        let found = !has_room || self.arrivals.len() > kept;
        Ok(Look { found: found.then_some(()), marked })
    }
}

impl<C> Iterator for Batch<C> {
    type Item = Result<CompletionStatus<C>>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self.arrivals.next() {
            Some(Ok(completion)) => {
                trace::completed(&completion);
                Some(Ok(completion))
            }
            Some(Err(packet)) => Some(Err(Error::foreign(packet.into()))),
            None => self.inline.pop_front().map(Ok),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

impl<C> Drop for Batch<C> {
    fn drop(&mut self) {
        self.take_pushed();
        // Not as the iterator does, which tells of each.
        let arrivals = iter::from_fn(|| self.arrivals.next());
        panics::drop_all(arrivals.map(Result::ok).chain(self.inline.drain(..).map(Some)));
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
