//! Operations that are over, and how a packet leads to them.

use std::any::{self, TypeId};
use std::fmt;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop};
use std::net::TcpStream;
use std::ptr;
use std::task::Waker;

use super::Fills;
use super::cell::state::Holder;
use super::cell::status_word::Taken;
use super::cell::{CellRef, Context, FILLED, VTable, WHOLE};
use super::cells::Cells;
use super::complete::CompletionPart;
use super::layout::take_context;
use super::lend::Lend;
use crate::error::{Error, OperationKind, Result, STATUS_CANCELLED, completion_error, is_end};
use crate::panics::FirstPanic;
use crate::sys::{Entry, Packet, RawDequeue, Transferred};

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
    /// The number of bytes that were read or written, and are valid, whatever `error_status`
    /// says. A successful read of 0 bytes means the end of the file, stream or pipe (or that
    /// a serial port, set to return at once, has received nothing); where messages may be
    /// empty, [`is_at_end`](Finished::is_at_end) tells.
    pub bytes_transferred: u32,
    /// Whether the operation succeeded.
    ///
    /// An operation that failed has transferred nothing: `bytes_transferred` is
    /// 0. The statuses that only warn have their bytes all the same:
    /// [`MoreData`](crate::ErrorKind::MoreData) and
    /// [`MessageTruncated`](crate::ErrorKind::MessageTruncated) the beginning of
    /// the message; any other whose [`ntstatus`](crate::Error::ntstatus) is below
    /// `0xC000_0000`, such as a device's warning, what `bytes_transferred` says.
    ///
    /// The time-out of a device, as set by `SetCommTimeouts`, is a success if
    /// it ended the operation with some of the bytes, and
    /// [`TimedOut`](crate::ErrorKind::TimedOut) if it ended it with none. On a
    /// socket it is always `TimedOut`.
    pub error_status: Result<()>,
    /// The operation itself, which has the buffer.
    pub operation: Finished,
}

impl<C> CompletionStatus<C> {
    /// Returns the number of bytes transferred, or the error:
    /// [`bytes_transferred`](Self::bytes_transferred) and
    /// [`error_status`](Self::error_status) in one.
    ///
    /// # Errors
    ///
    /// The [`error_status`](Self::error_status).
    pub fn result(&self) -> Result<u32> {
        self.error_status.clone().map(|()| self.bytes_transferred)
    }
}

/// An operation that is over. It has the buffer until that is taken, from here or from the
/// [`Pending`](crate::Pending).
pub struct Finished {
    /// `None` once it has been released.
    part: Option<CompletionPart>,
    vtable: &'static VTable,
    /// How many bytes a read has put into the buffer.
    bytes: u32,
    status: u32,
}

// SAFETY: Rule 9.
unsafe impl Send for Finished {}
// SAFETY: A shared reference gives access to the kind only.
unsafe impl Sync for Finished {}

impl Finished {
    /// Returns the kind of operation.
    #[must_use]
    pub fn kind(&self) -> OperationKind {
        self.vtable.facts.kind
    }

    /// Whether a read of a file or a pipe has found the end, where it transfers 0 bytes. A
    /// message of a pipe may be empty: it has 0 bytes, too, and is not the end.
    ///
    /// Of a socket it says nothing: there, 0 bytes are the end of a stream, or an empty
    /// datagram.
    ///
    /// ```
    /// # use completion_port::{Iocp, op, pipe};
    /// # let name = format!(r"\\.\pipe\completion-port-end-doc-{}", std::process::id());
    /// # let port = Iocp::new()?;
    /// # let server = pipe::ServerOptions::new().messages(true).create(&name)?;
    /// # let server = port.add_handle(server, 1)?;
    /// # port.initiate(&server, 2, op::ConnectPipe::new())?;
    /// # let client = port.add_handle(pipe::ClientOptions::new().open(&name)?, 3)?;
    /// # port.get_completion()?;
    /// port.initiate_write(&client, 4, "")?;
    /// # port.get_completion()?;
    /// port.initiate_read(&server, 5, Vec::with_capacity(64))?;
    /// let completion = port.get_completion()?;
    /// assert_eq!(completion.bytes_transferred, 0);
    /// assert!(!completion.operation.is_at_end());
    /// drop(client);
    /// port.initiate_read(&server, 5, Vec::with_capacity(64))?;
    /// assert!(port.get_completion()?.operation.is_at_end());
    /// # Ok::<(), completion_port::Error>(())
    /// ```
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        is_end(self.status, self.vtable.facts)
    }

    /// Whether somebody else can take the output: a [`Pending`](crate::Pending), or a
    /// future that was made of it. Once this is `false`, it stays so, and the output is
    /// here alone: of a read whose future was dropped, for instance.
    ///
    /// ```
    /// # let port = completion_port::Iocp::new()?;
    /// # let stream = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let client = std::net::TcpStream::connect(stream.local_addr()?)?;
    /// # let client = port.add_handle(client, 1)?;
    /// let pending = port.initiate_write(&client, 2, "hello")?;
    /// let completion = port.get_completion()?;
    /// assert!(completion.operation.is_tracked());
    /// drop(pending);
    /// assert!(!completion.operation.is_tracked());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn is_tracked(&self) -> bool {
        self.part.as_ref().is_some_and(|part| part.cell().state.is_held_by(Holder::Pending))
    }

    /// The function that it was started with.
    #[cfg(feature = "tracing")]
    pub(crate) fn call(&self) -> &'static str {
        self.vtable.facts.name
    }

    /// Where its `OVERLAPPED` is, or was.
    #[cfg(feature = "tracing")]
    pub(crate) fn address(&self) -> usize {
        self.part.as_ref().map_or(0, |part| part.cell().address())
    }

    /// Takes the operation's [output](crate::Operation::Output), if it is a `T` and has not
    /// been taken yet. After a read, the buffer contains what was read.
    ///
    /// Operations of a [scope](crate::Iocp::scope) only borrow their memory, and
    /// return it from the `Pending` alone.
    #[inline(always)]
    pub fn take<T: 'static>(&mut self) -> Option<T> {
        let (cell, vtable, bytes) = (self.part.as_ref()?.cell(), self.vtable, self.bytes);
        let is_vector = TypeId::of::<T>() == TypeId::of::<Vec<u8>>();
        // SAFETY: Rule 6: the context has been moved out. The operation returns a `T` of
        // this form.
        let output = unsafe {
            if is_vector && vtable.returns_as::<T, FILLED>() {
                // What most reads are into is filled without a call through
                // the table.
                cell.take_payload_and_release(bytes, |vector: &mut T| {
                    let memory = ptr::from_mut(vector).cast::<Fills<Vec<u8>>>();
                    (*memory).filled(Transferred::new(bytes));
                })
            } else if vtable.returns_as::<T, WHOLE>() {
                cell.take_payload_and_release(bytes, |_: &mut T| {})
            } else if vtable.returns::<T>() {
                cell.take_and_release(bytes)
            } else {
                return None;
            }
        };
        // Released above.
        mem::forget(self.part.take());
        output
    }

    /// Takes the operation's output, like [`take`](Self::take), or says why there is none.
    ///
    /// # Errors
    ///
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput), with a message that says what
    /// the operation returns, if that is not a `T`, or has been taken already.
    ///
    /// ```
    /// # let port = completion_port::Iocp::new()?;
    /// # let stream = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let client = std::net::TcpStream::connect(stream.local_addr()?)?;
    /// # let client = port.add_handle(client, 1)?;
    /// port.initiate_write(&client, 2, "hello".to_owned())?;
    /// let mut completion = port.get_completion()?;
    /// let error = completion.operation.output::<Vec<u8>>().unwrap_err();
    /// assert_eq!(
    ///     error.to_string(),
    ///     "the operation returns alloc::string::String, not alloc::vec::Vec<u8>",
    /// );
    /// assert_eq!(completion.operation.output::<String>()?, "hello");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn output<T: 'static>(&mut self) -> Result<T> {
        self.take().ok_or_else(|| Error::no_output(self.vtable.output_name, any::type_name::<T>))
    }

    /// Takes the buffer of a read or write: [`take`](Self::take) by another name.
    #[inline(always)]
    pub fn take_buffer<B: 'static>(&mut self) -> Option<B> {
        self.take()
    }

    /// Takes the connection of a successful
    /// [`initiate_accept`](crate::Iocp::initiate_accept), if it has not been taken yet.
    pub fn take_accepted(&mut self) -> Option<TcpStream> {
        self.take()
    }
}

impl fmt::Debug for Finished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finished").field("kind", &self.kind()).finish_non_exhaustive()
    }
}

/// An operation that was ended, and who waits for that. To be woken when the caller has
/// nothing more to do for others: it is foreign code, which may panic, wait or dequeue.
pub(crate) type Completed<C> = (Dequeued<C>, Option<Waker>);

/// A cell that a packet may be of.
pub(crate) struct Found<C> {
    cell: CellRef,
    contexts: PhantomData<fn() -> C>,
}

impl<C> Cells<C> {
    /// The cell that what was dequeued may be of, and its packet.
    #[inline(always)]
    pub fn find_dequeued(&self, landing: &RawDequeue) -> Option<(Found<C>, Packet)> {
        let found = self.find(landing.overlapped())?;
        // SAFETY: No rule of a cell's: no cell has the address that stands for no packet.
        Some((found, unsafe { landing.packet() }))
    }

    /// The cell that a dequeued packet with this address may be of.
    #[inline(always)]
    pub fn find(&self, overlapped: usize) -> Option<Found<C>> {
        Some(Found { cell: self.pool().find(overlapped)?, contexts: PhantomData })
    }

    /// The operation that a dequeued packet completes, if it is one of ours.
    /// Each packet is claimed once. `taken`: by [`Found::try_complete_exclusive`].
    #[cold]
    pub fn try_complete(&self, packet: Packet, taken: Taken) -> Option<Completed<C>> {
        self.find(packet.overlapped)?.try_complete(taken, packet.bytes)
    }
}

impl<C> Found<C> {
    /// The operation that its packet completes, if it has succeeded or was
    /// cancelled, and nobody has a part in it but the packet, and perhaps a
    /// scope. It goes to `then`, which is compiled for each of the two, with
    /// what is known of it. Otherwise, what was taken, for
    /// [`try_complete`](Self::try_complete).
    #[inline(always)]
    pub fn try_complete_exclusive<T>(
        &self,
        mut then: impl FnMut(Dequeued<C>) -> T,
    ) -> Result<T, Taken> {
        // SAFETY: Rule 3: who has taken the status ends the operation; its part is the
        // completion's then.
        unsafe {
            let state = &self.cell.state;
            let taken = self.cell.status_word().take();
            if !state.is_exclusively_in_flight() {
                return Err(taken);
            }
            if taken.is_success() {
                let bytes = self.cell.bytes();
                state.complete_exclusive();
                return Ok(then(Dequeued::new(self.cell, 0, bytes)));
            }
            if taken.status() != STATUS_CANCELLED {
                return Err(taken);
            }
            // The other way round, or the compiler makes one of the two ways.
            let result = then(Dequeued::new(self.cell, STATUS_CANCELLED, 0));
            state.complete_exclusive();
            Ok(result)
        }
    }

    /// The operation that its packet completes, whoever has a part in it; `None` if the packet is foreign, or stray.
    #[cold]
    #[inline(never)]
    pub fn try_complete(self, taken: Taken, packet_bytes: u32) -> Option<Completed<C>> {
        self.try_complete_shared(taken, packet_bytes)
    }

    /// [`try_complete`](Self::try_complete), compiled into its caller.
    #[inline(always)]
    pub fn try_complete_shared(self, taken: Taken, packet_bytes: u32) -> Option<Completed<C>> {
        if taken.is_success() {
            if let Some(state) = self.cell.state.simply_in_flight() {
                // SAFETY: Rule 3: the status was taken, and nothing else is to be seen to.
                let bytes = unsafe {
                    let bytes = self.cell.bytes();
                    self.cell.set_result(0, bytes);
                    bytes
                };
                let waker = self.cell.complete_simply(state, || self.cell.complete_timed());
                // SAFETY: Rule 3.
                return Some((unsafe { Dequeued::new(self.cell, 0, bytes) }, waker));
            }
        }
        let ((status, bytes), waker) = self.cell.try_complete(taken, packet_bytes)?;
        // SAFETY: Rule 3.
        Some((unsafe { Dequeued::new(self.cell, status, bytes) }, waker))
    }
}

/// An operation that is over, and which nobody has looked at yet. Dropping it
/// drops its context, and its buffer unless a `Pending` is there to take it.
#[derive(Debug)]
pub(crate) struct Dequeued<C> {
    cell: CellRef,
    status: u32,
    bytes: u32,
    context: PhantomData<C>,
}

// SAFETY: Rule 9: the context inside is a `C`.
unsafe impl<C: Send> Send for Dequeued<C> {}
// SAFETY: A shared reference gives access to nothing.
unsafe impl<C: Send> Sync for Dequeued<C> {}

impl<C> Dequeued<C> {
    /// # Safety
    ///
    /// Rules 3 and 5: the operation is over, with this result, and the completion holds
    /// its cell, whose context is a `C`.
    #[inline(always)]
    pub(super) unsafe fn new(cell: CellRef, status: u32, bytes: u32) -> Self {
        Self { cell, status, bytes, context: PhantomData }
    }

    /// Puts the operation down in the place of its packet, which is the new
    /// owner.
    #[inline(always)]
    pub(super) fn store_in(self, entry: &mut Entry) {
        let (cell, status, bytes) = self.into_parts();
        entry.note(cell.as_ptr().as_ptr().cast(), status, bytes);
    }

    #[inline(always)]
    fn into_parts(self) -> (CellRef, u32, u32) {
        let Self { cell, status, bytes, .. } = *ManuallyDrop::new(self);
        (cell, status, bytes)
    }

    /// The completion, with the completion key of the packet.
    #[inline(always)]
    pub fn complete(self, key: usize) -> CompletionStatus<C> {
        let (cell, status, bytes) = self.into_parts();
        // SAFETY: Rule 5: `self` had the context, and contexts of this port are `C`.
        let (context, part) =
            unsafe { (take_context::<C>(Context::new(cell)), CompletionPart::new(cell)) };
        let vtable = cell.vtable();
        CompletionStatus {
            context,
            handle_context: key,
            bytes_transferred: bytes,
            error_status: completion_error(status, bytes, vtable.facts),
            operation: Finished { part: Some(part), vtable, bytes, status },
        }
    }
}

impl<C> Drop for Dequeued<C> {
    fn drop(&mut self) {
        // SAFETY: Rule 5: the context has not been moved out, or `self` would be gone.
        let (context, part) = unsafe { (Context::new(self.cell), CompletionPart::new(self.cell)) };
        let mut panic = FirstPanic::none();
        panic.catch(|| context.drop_in_place());
        panic.catch(|| drop(part));
        panic.resume();
    }
}

/// The result of a completed operation as a `Pending` sees it.
pub(super) fn result_of(cell: CellRef) -> Result<u32> {
    let ((status, bytes), facts) = (cell.result(), cell.vtable().facts);
    completion_error(status, bytes, facts).map(|()| bytes)
}
