//! Operations that are over.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::net::TcpStream;
use std::ptr::NonNull;

use super::cell::Cell;
use super::payload::OperationKind;
use super::state::Holder;
use crate::error::{Error, Result, completion_error};

/// A completed operation: what [`Iocp::get_completion`](crate::Iocp::get_completion)
/// returns.
///
/// The fields are independent: move out the ones of interest, in any order.
///
/// ```
/// # use completion_port::Iocp;
/// # let port = Iocp::new()?;
/// # port.post(456, 0, 0)?;
/// let mut completion = port.get_completion()?;
/// match completion.context {
///     456 => match completion.error_status {
///         Ok(()) => println!("{} bytes", completion.bytes_transferred),
///         Err(error) => println!("failed: {error}"),
///     },
///     _ => {}
/// }
/// let buffer = completion.operation.take_buffer::<Vec<u8>>();
/// # assert!(buffer.is_none()); // it was a posted packet
/// # Ok::<(), completion_port::Error>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct CompletionStatus<C = usize> {
    /// The operation's own context, as it was given to `initiate_...` or
    /// [`post`](crate::Iocp::post).
    pub context: C,
    /// The context of the handle, as it was given to
    /// [`add_handle`](crate::Iocp::add_handle) (the completion key).
    pub handle_context: usize,
    /// How many bytes were read or written. 0 of a read that had room means
    /// the end of the file, stream or pipe.
    pub bytes_transferred: u32,
    /// Whether the operation succeeded. With
    /// [`ErrorKind::MoreData`](crate::ErrorKind::MoreData) and
    /// [`ErrorKind::MessageTruncated`](crate::ErrorKind::MessageTruncated) the
    /// bytes are valid all the same.
    pub error_status: Result<()>,
    /// The operation itself, which has the buffer.
    pub operation: Finished,
}

impl<C> CompletionStatus<C> {
    /// The number of bytes transferred, or why the operation failed: both
    /// fields in one, as [`Pending::result`](crate::Pending::result) has them.
    ///
    /// # Errors
    ///
    /// The [`error_status`](Self::error_status).
    pub fn result(&self) -> Result<u32> {
        self.error_status.clone().map(|()| self.bytes_transferred)
    }
}

/// An operation that is over, and what it was given: the buffer, until it is
/// taken from here or from the [`Pending`](crate::Pending), whichever comes
/// first.
pub struct Finished {
    /// `None` once the cell has been let go.
    cell: Option<NonNull<Cell>>,
    kind: OperationKind,
}

// SAFETY: Payloads are `Send`: every operation is started with a buffer that
// is, and the protocol of the cell's state is made for several threads.
unsafe impl Send for Finished {}
// SAFETY: A shared reference gives access to the kind only.
unsafe impl Sync for Finished {}

impl Finished {
    /// What kind of operation it was.
    #[must_use]
    pub fn kind(&self) -> OperationKind {
        self.kind
    }

    /// The buffer, if it is a `B` and has not been taken yet. After a read it
    /// contains what was read.
    ///
    /// Operations of a [scope](crate::Iocp::scope) only borrow theirs, and
    /// return it from the `Pending` alone.
    #[inline]
    pub fn take_buffer<B: 'static>(&mut self) -> Option<B> {
        let cell = self.cell?;
        // SAFETY: While the completion holds the cell, it is filled.
        let output_type = unsafe { Cell::vtable(cell) }.output_type;
        if output_type() != TypeId::of::<B>() {
            return None;
        }
        self.cell = None;
        // SAFETY: The operation is over, its context has been moved out, and
        // its output is a `B`.
        unsafe { Cell::take_and_leave(cell, Holder::Completion) }
    }

    /// The accepted connection, after a successful
    /// [`initiate_accept`](crate::Iocp::initiate_accept), if it has not been
    /// taken yet.
    pub fn take_accepted(&mut self) -> Option<TcpStream> {
        self.take_buffer()
    }

    #[inline]
    fn release(&mut self) {
        if let Some(cell) = self.cell.take() {
            // SAFETY: The completion's part ends here; its context has been
            // moved out.
            unsafe {
                if cell.as_ref().state.leave(Holder::Completion) {
                    Cell::finish(cell);
                }
            }
        }
    }
}

impl Drop for Finished {
    #[inline]
    fn drop(&mut self) {
        self.release();
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finished").field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// An operation whose packet has been dequeued, and which nobody has looked at
/// yet. Dropping it drops its context, and its buffer unless a `Pending` is
/// there to take it.
#[derive(Debug)]
pub(crate) struct Dequeued<C> {
    cell: NonNull<Cell>,
    key: usize,
    context: PhantomData<C>,
}

// SAFETY: As for `Finished`, and the context inside is a `C`.
unsafe impl<C: Send> Send for Dequeued<C> {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl<C: Send> Sync for Dequeued<C> {}

impl<C> Dequeued<C> {
    /// `cell` was in flight, and its packet has been dequeued just now (or its
    /// call finished without one), with this key and count.
    #[inline]
    pub(super) fn new(cell: NonNull<Cell>, key: usize, bytes: u32) -> Self {
        // SAFETY: The packet is the proof that the kernel has given the cell
        // back.
        unsafe {
            Cell::completed(cell, bytes);
            cell.as_ref().state.complete();
        }
        Self { cell, key, context: PhantomData }
    }

    #[inline]
    pub fn complete(self) -> CompletionStatus<C> {
        let (cell, key) = (self.cell, self.key);
        mem::forget(self);
        // SAFETY: The kernel has given the cell back, contexts of this port
        // are `C`, and `self` is gone.
        let (context, (status, bytes), vtable) =
            unsafe { (Cell::take_context(cell), Cell::result(cell), Cell::vtable(cell)) };
        let mut completion = CompletionStatus {
            context,
            handle_context: key,
            bytes_transferred: bytes,
            error_status: Ok(()),
            operation: Finished { cell: Some(cell), kind: vtable.kind },
        };
        if status != 0 {
            completion.error_status = completion_error(status, vtable.call);
        }
        completion
    }
}

impl<C> Drop for Dequeued<C> {
    fn drop(&mut self) {
        let mut operation = Finished { cell: Some(self.cell), kind: OperationKind::Post };
        // SAFETY: The context has not been moved out, or `self` would be gone.
        unsafe { Cell::drop_context(self.cell) };
        operation.release();
    }
}

/// The result of a completed operation as a `Pending` sees it.
///
/// # Safety
///
/// The kernel has given the cell back, and the caller holds it.
pub(super) unsafe fn outcome(cell: NonNull<Cell>) -> Result<u32, Error> {
    // SAFETY: By the caller's promise.
    let ((status, bytes), call) = unsafe { (Cell::result(cell), Cell::vtable(cell).call) };
    if status != 0 {
        completion_error(status, call)?;
    }
    Ok(bytes)
}
