//! Operations in flight, as their starter sees them.

use std::fmt;
#[cfg(doc)]
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::net::TcpStream;

use super::cell::CellRef;
use super::complete::PendingPart;
use super::completion::{CompletionStatus, result_of};
use super::layout::take_output;
use crate::error::{ErrorKind, Result, is_end};
use crate::trace;

/// An operation in flight, which returns a `B`, most often its buffer.
///
/// Dropping it lets the operation go on: its completion arrives all the same,
/// and has the buffer. Keep it to [cancel](Self::cancel) the operation, or to
/// take the buffer with its type known.
///
/// Await it, with a [time-out](Self::timeout) or without: that returns the number of bytes and
/// the output, or a [`Failed`](crate::Failed), which has the output, too. It is an
/// [`IntoFuture`]; where a [`Future`] is asked for, pass `pending.into_future()`.
///
/// The operation is over once its packet has been dequeued, by any thread, from
/// the port it was started on.
///
/// ```
/// # use completion_port::Iocp;
/// # use std::io::Write;
/// # use std::net::{TcpListener, TcpStream};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut client = TcpStream::connect(listener.local_addr()?)?;
/// # let (stream, _) = listener.accept()?;
/// let port = Iocp::new()?;
/// let stream = port.add_handle(stream, 1)?;
/// let mut pending = port.initiate_read(&stream, 456, Vec::with_capacity(1024))?;
/// assert!(pending.take_buffer().is_none()); // the kernel has it
/// client.write_all(b"hello")?;
/// port.get_completion()?;
/// assert_eq!(pending.take_buffer().unwrap(), b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// A buffer cannot be used while it is in flight, because it has been moved:
///
/// ```compile_fail,E0382
/// # fn read(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
/// let buffer = Vec::with_capacity(1024);
/// let pending = port.initiate_read(stream, 456, buffer);
/// println!("{}", buffer.len());
/// # }
/// ```
///
/// `S` is [`InScope`] for one that borrows its memory from a scope.
pub struct Pending<B, S = ()> {
    part: PendingPart,
    output: PhantomData<fn() -> (B, S)>,
}

/// Marks the [`Pending`] of an operation whose memory is borrowed for `'scope`.
#[derive(Debug)]
pub struct InScope<'scope>(PhantomData<&'scope ()>);

// SAFETY: Rule 9: the output moves between threads only if it is `Send`.
unsafe impl<B: Send, S> Send for Pending<B, S> {}
// SAFETY: A shared reference gives no access to the buffer.
unsafe impl<B: Send, S> Sync for Pending<B, S> {}

/// An operation started on a handle that [skips the
/// port](crate::Associated::skip_on_success) when it can.
#[derive(Debug)]
#[must_use = "dropping it drops the completion, if the operation is over already"]
pub enum Started<B, C = usize> {
    /// The operation is over: this is its completion, and no other will come.
    Completed(CompletionStatus<C>),
    /// The completion will come through the port.
    Pending(Pending<B>),
}

impl<B, C> Started<B, C> {
    /// Returns the completion, if the operation is over; otherwise it will come through the
    /// port.
    pub fn completed(self) -> Option<CompletionStatus<C>> {
        match self {
            Self::Completed(completion) => Some(completion),
            Self::Pending(_) => None,
        }
    }
}

impl<B, C> From<Pending<B>> for Started<B, C> {
    fn from(pending: Pending<B>) -> Self {
        Self::Pending(pending)
    }
}

impl<B, S> Pending<B, S> {
    /// The operation was started, and its output is a `B`.
    #[inline(always)]
    pub(super) fn new(part: PendingPart) -> Self {
        Self { part, output: PhantomData }
    }

    #[inline(always)]
    pub(super) fn cell(&self) -> CellRef {
        self.part.cell()
    }

    /// By which the crate `tracing` knows the operation.
    pub(crate) fn address(&self) -> usize {
        self.cell().address()
    }

    /// It borrows its memory from a scope.
    #[inline(always)]
    pub(super) fn in_scope<'scope>(self) -> Pending<B, InScope<'scope>> {
        Pending::new(self.part)
    }

    /// Returns `true` if the operation is over: its packet has been dequeued.
    #[must_use]
    pub fn is_completed(&self) -> bool {
        !self.cell().state.is_in_flight()
    }

    /// Returns the number of bytes transferred, or the error; `None` while the operation is
    /// in flight.
    #[must_use]
    pub fn result(&self) -> Option<Result<u32>> {
        self.is_completed().then(|| result_of(self.cell()))
    }

    /// Whether a read of a file or a pipe is over, and has found the end: see
    /// [`Finished::is_at_end`](crate::Finished::is_at_end).
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        self.is_completed() && is_end(self.cell().result().0, self.cell().vtable().facts)
    }

    /// Takes the buffer, with what was read into it; `None` while the operation is in flight,
    /// and after the buffer has been taken, here or from the
    /// [completion](CompletionStatus::operation).
    pub fn take_buffer(&mut self) -> Option<B> {
        self.take()
    }

    /// Takes the operation's [output](crate::Operation::Output): the buffer, buffer and
    /// sender, the connection. `None` while the operation is in flight, and after it has been
    /// taken.
    pub fn take(&mut self) -> Option<B> {
        if !self.is_completed() {
            return None;
        }
        let (_, bytes) = self.cell().result();
        // SAFETY: Rule 5: the output is a `B`, after so many bytes.
        unsafe { take_output(self.cell().claim_payload()?, bytes) }
    }

    /// Requests cancellation. Returns `true` if a request was made. The operation still
    /// completes, either as [cancelled](crate::Error::is_cancelled) or normally if it
    /// finished first.
    ///
    /// # Strict handle checks
    ///
    /// Once the handle has been closed, the request is made all the same, on its value: there,
    /// it finds nothing. But a process can have [strict handle checks] (by
    /// `SetProcessMitigationPolicy`, or from a tool such as Application Verifier): then "an
    /// exception is raised if an invalid handle to a kernel object is used", which ends the
    /// process unless it is handled. In such a process, between the close of a handle and the
    /// dequeue of the completions of what was in flight on it,
    /// - do not cancel these operations, and do not drop futures that were made of their
    ///   `Pending`s by value, which does;
    /// - let none of them have a [deadline](Self::set_deadline);
    /// - neither [shut down](crate::Iocp::shut_down) nor drop the port, and end no scope that
    ///   they are of: all of these cancel what is in flight.
    ///
    /// So cancel first, dequeue, and close the handle last.
    ///
    /// [strict handle checks]: https://learn.microsoft.com/windows/win32/api/winnt/ns-winnt-process_mitigation_strict_handle_check_policy
    ///
    /// # Errors
    ///
    /// Returns the error of `CancelIoEx`, except `ERROR_NOT_FOUND`, which is `Ok(false)`.
    #[inline]
    pub fn cancel(&self) -> Result<bool> {
        if !self.cell().state.admits_cancel() {
            return Ok(false);
        }
        let asked = match self.cell().cancel() {
            // The handle is closed. That has cancelled the operation, unless a
            // duplicate is open: then nothing is left to cancel it with.
            Err(error) if error.kind() == ErrorKind::InvalidHandle => Ok(false),
            asked => asked,
        };
        trace::cancelling(self.cell().address(), &asked);
        asked
    }
}

impl<'scope> Pending<&'scope mut [u8], InScope<'scope>> {
    /// What it returns cannot outlive the scope, so that the `Pending` need not
    /// say so.
    #[inline(always)]
    pub(crate) fn unmarked_mut(self) -> Pending<&'scope mut [u8]> {
        Pending::new(self.part)
    }
}

impl<'scope> Pending<&'scope [u8], InScope<'scope>> {
    /// As [`unmarked_mut`](Pending::unmarked_mut).
    #[inline(always)]
    pub(crate) fn unmarked(self) -> Pending<&'scope [u8]> {
        Pending::new(self.part)
    }
}

impl<S> Pending<TcpStream, S> {
    /// Takes the accepted connection, once the [accept](crate::Iocp::initiate_accept) has
    /// succeeded, unless it has been taken already, here or from the completion.
    pub fn take_accepted(&mut self) -> Option<TcpStream> {
        self.take()
    }
}

impl<B, S> fmt::Debug for Pending<B, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("completed", &self.is_completed()).finish_non_exhaustive()
    }
}
