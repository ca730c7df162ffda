//! Handles that are associated with a port.

mod adopt;
mod leave;
mod mode;
#[allow(unsafe_code)]
mod raw;

use std::fmt;
use std::fs::{File, Metadata};
use std::marker::PhantomData;
use std::net::TcpStream;
use std::os::windows::io::{
    AsHandle, AsRawHandle, AsRawSocket, AsSocket, BorrowedHandle, BorrowedSocket, RawHandle,
    RawSocket,
};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread;

pub use adopt::{Adoptable, Socket};
use mode::InlineRun;
pub use mode::{Inline, Mode, Queued};
pub use raw::{RawOverlapped, RawValue};

use windows_sys::Win32::Foundation::ERROR_INVALID_PARAMETER;

use crate::error::{Error, ErrorKind, Facts, Rejected, Result, UsageError, refusal};
use crate::operation::{Gone, HandleGuards, IdleGuards, Object, ObjectKind};
use crate::port::{Identity, Iocp, PortState};
use crate::sys::{self, Handle, HandleKind, SocketTraits};
use crate::trace;

/// A socket, file, pipe or device that is associated with a port.
///
/// It owns the handle, of type `H`. [`Iocp::add_handle`] creates it.
///
/// Dropping it cancels everything in flight on the handle and closes it; the completions
/// still arrive. That also cancels writes, so wait for the completion of what a peer has to
/// receive, and what this process does on duplicates of the handle, calls that block
/// included.
///
/// The handle stays associated for as long as the file, socket or pipe behind it is open,
/// also through duplicates. I/O of other code on a duplicate arrives as
/// [foreign packets](crate::Error::foreign_packet).
///
/// `M` says how completions arrive: [`Queued`], all through the port, unless
/// [`skip_on_success`](Self::skip_on_success) changes it to [`Inline`].
pub struct Associated<H, M = Queued> {
    // Dropped in this order.
    end: End,
    handle: H,
    raw: Handle,
    identity: Identity,
    key: usize,
    object: ObjectKind,
    /// The longest message that can be sent, in bytes.
    longest_message: u32,
    inline_run: InlineRun,
    /// Whether it is known to be a listening socket.
    listens: AtomicBool,
    mode: PhantomData<M>,
}

/// What has to happen before the handle is closed or given away.
struct End {
    handle: Handle,
    /// Whether it is closed, rather than given away.
    closes: bool,
    /// What accepts and connects know of the socket, once there has been one,
    /// and where it goes afterwards.
    guard: HandleGuards,
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some((guard, idle)) = self.guard.take() {
            guard.end(if self.closes { Gone::Closed } else { Gone::Released });
            idle.restore(guard);
        }
        if self.closes {
            self.cancel_all();
        }
    }
}

impl End {
    /// Cancels what is in flight, and sees that nothing is left: closing a
    /// socket under a pending receive may reset the connection, and the peer
    /// then loses what it has not read yet.
    fn cancel_all(&self) {
        // A driver may take its time to cancel, or not honour it at all.
        const TRIES: u32 = 100;
        for _ in 0..TRIES {
            match sys::cancel_all(self.handle) {
                Ok(true) => thread::yield_now(),
                // Nothing is left; or there is nobody to tell, and closing the
                // last handle cancels too.
                Ok(false) | Err(_) => return,
            }
        }
    }
}

impl<C: Send + 'static> Iocp<C> {
    /// Associates a handle with the port: the completions of its operations
    /// come to this port, with `context` as their
    /// [`handle_context`](crate::CompletionStatus::handle_context) (the
    /// completion key).
    ///
    /// It takes types that own an overlapped handle: `TcpStream`, `TcpListener` and
    /// `UdpSocket` (the standard library's sockets are overlapped), a `File` that was
    /// [opened for it](crate::fs::OpenOverlapped), `OwnedSocket`, `OwnedHandle`, and the
    /// pipes of a child process; with the feature `socket2`, its `Socket`. For bare values
    /// see [`add_raw_handle`](Self::add_raw_handle).
    ///
    /// A handle that is not overlapped is refused. The system answers questions about such
    /// a handle only between its calls, so while another thread reads from it, this call
    /// waits for that read.
    ///
    /// # Errors
    ///
    /// The handle comes back with one of
    /// - [`NotOverlapped`](crate::ErrorKind::NotOverlapped),
    ///   [`AlreadyAssociated`](crate::ErrorKind::AlreadyAssociated),
    ///   [`Console`](crate::ErrorKind::Console),
    ///   [`InvalidHandle`](crate::ErrorKind::InvalidHandle);
    /// - [`Unsupported`](crate::ErrorKind::Unsupported), if other code has made
    ///   it skip the port on success: its operations would never complete;
    /// - [`Closed`](crate::ErrorKind::Closed), if the port is.
    ///
    /// # Handles that have another port
    ///
    /// Another port of this crate gives a handle up by [`remove_handle`](Self::remove_handle),
    /// or passes it on by [`move_handle`](Self::move_handle). Where the system cannot do that,
    /// or other code has associated it, it stays there, its duplicates too. Open the file or
    /// the pipe's end anew, which makes another file object: connect another client to the
    /// server, open the file by its path. A socket cannot be had anew: read and write it by
    /// blocking calls on a thread, which [posts](Self::post) what it has read.
    ///
    /// ```
    /// use std::net::TcpListener;
    /// use completion_port::Iocp;
    ///
    /// let port = Iocp::new()?;
    /// let listener = port.add_handle(TcpListener::bind("127.0.0.1:0")?, 1)?;
    /// assert_eq!(listener.context(), 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn add_handle<H: Adoptable>(
        &self,
        handle: H,
        context: usize,
    ) -> Result<Associated<H>, Rejected<H>> {
        let raw = handle.handle();
        match self.associate(raw, context) {
            Ok(of_port) => Ok(Associated::new(handle, raw, true, context, of_port)),
            Err(error) => Err(Rejected { error, returned: handle }),
        }
    }

    pub(crate) fn associate(
        &self,
        handle: Handle,
        key: usize,
    ) -> Result<(Identity, ObjectKind, u32)> {
        if self.is_closed() {
            return Err(Error::usage(&refusal::CLOSED));
        }
        if !handle.is_plausible() {
            return Err(Error::usage(&refusal::INVALID_HANDLE));
        }
        // Before, so that a handle that is refused can be used elsewhere.
        if sys::skips_completion_port_on_success(handle) {
            return Err(Error::usage(&refusal::SKIPS_ALREADY));
        }
        let identity = self.attach(handle, key)?;
        let object = match sys::socket_traits(handle) {
            Some(SocketTraits { is_stream: true, family, has_kernel_handle, provider }) => {
                ObjectKind::Stream { family, has_kernel_handle, provider }
            }
            Some(SocketTraits { provider, .. }) => ObjectKind::Datagram { provider },
            None if sys::handle_kind(handle) == HandleKind::Disk => ObjectKind::Disk,
            None => ObjectKind::Other,
        };
        let longest_message = match object {
            ObjectKind::Datagram { .. } => sys::max_message_size(handle).unwrap_or(u32::MAX),
            _ => u32::MAX,
        };
        Ok((identity, object, longest_message))
    }

    /// Associates a handle of which nothing has to be asked.
    fn attach(&self, handle: Handle, key: usize) -> Result<Identity> {
        let shared = self.shared();
        if shared.state.is_closed() {
            return Err(Error::usage(&refusal::CLOSED));
        }
        shared.port.associate(handle, key).map_err(|code| explain(handle, code))?;
        Ok(shared.state.identity())
    }

    /// Associates a connection that was accepted into a socket of this crate's, and is what
    /// its listener is.
    pub(crate) fn add_accepted(
        &self,
        stream: TcpStream,
        context: usize,
        object: ObjectKind,
    ) -> Result<Associated<TcpStream>, Rejected<TcpStream>> {
        let raw = Handle(stream.as_raw_socket() as usize);
        match self.attach(raw, context) {
            Ok(identity) => {
                let of_port = (identity, object, u32::MAX);
                Ok(Associated::new(stream, raw, true, context, of_port))
            }
            Err(error) => Err(Rejected { error, returned: stream }),
        }
    }
}

impl<H> Associated<H> {
    pub(crate) fn new(
        handle: H,
        raw: Handle,
        owned: bool,
        key: usize,
        (identity, object, longest_message): (Identity, ObjectKind, u32),
    ) -> Self {
        Self {
            end: End { handle: raw, closes: owned, guard: HandleGuards::new() },
            handle,
            raw,
            identity,
            key,
            object,
            longest_message,
            inline_run: InlineRun::default(),
            listens: AtomicBool::new(false),
            mode: PhantomData,
        }
    }

    /// Enables skip-on-success: an operation that completes immediately returns its
    /// completion from `initiate_*`, as a [`Started`], instead of queuing a packet.
    ///
    /// That saves packets, and often the system call to dequeue. A
    /// [`Batch`](crate::Batch::push) keeps the order fair.
    ///
    /// It lasts as long as the file, socket or pipe, also for duplicates. After
    /// [32](Self::INLINE_LIMIT) operations in a row that completed at once, the next one goes
    /// through the port, so that a loop over a handle that is always ready comes back to the
    /// port. A look at the port (by `get_completions`, or with a time-out) starts the count
    /// again.
    ///
    /// [`Started`]: crate::Started
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) where the system does not keep to it
    /// reliably: datagram sockets, message pipes, and sockets of layered Winsock providers.
    /// The handle comes back, and works as before.
    ///
    /// ```
    /// use completion_port::{Iocp, Started};
    ///
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let client = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let port = Iocp::new()?;
    /// let client = port.add_handle(client, 1)?.skip_on_success()?;
    /// let completion = match port.initiate_write(&client, 2, "hello")? {
    ///     Started::Completed(completion) => completion,
    ///     Started::Pending(_) => port.get_completion()?,
    /// };
    /// assert_eq!(completion.bytes_transferred, 5);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn skip_on_success(self) -> Result<Associated<H, Inline>, Rejected<Self>> {
        if let Err(error) = self.set_skip_on_success() {
            return Err(Rejected { error, returned: self });
        }
        Ok(Associated {
            end: self.end,
            handle: self.handle,
            raw: self.raw,
            identity: self.identity,
            key: self.key,
            object: self.object,
            longest_message: self.longest_message,
            inline_run: self.inline_run,
            listens: self.listens,
            mode: PhantomData,
        })
    }
}

/// The system answers `ERROR_INVALID_PARAMETER` to several mistakes; this
/// tells them apart.
fn explain(handle: Handle, code: u32) -> Error {
    let kind = match code {
        ERROR_INVALID_PARAMETER if sys::handle_kind(handle) == HandleKind::Console => {
            ErrorKind::Console
        }
        ERROR_INVALID_PARAMETER => match sys::is_synchronous(handle) {
            Some(true) => ErrorKind::NotOverlapped,
            Some(false) => ErrorKind::AlreadyAssociated,
            None => ErrorKind::InvalidInput,
        },
        _ if sys::handle_kind(handle) == HandleKind::Console => ErrorKind::Console,
        _ => return Error::os(Facts::CreateIoCompletionPort, code),
    };
    Error::os_as(Facts::CreateIoCompletionPort, kind, code)
}

impl<H, M> Associated<H, M> {
    /// Returns the context that the handle was [added](Iocp::add_handle) with.
    #[must_use]
    pub fn context(&self) -> usize {
        self.key
    }

    /// Requests cancellation of everything that is in flight on the handle, also what was
    /// started through duplicates in this process. Returns `true` if there was something.
    /// Each operation still completes, either as cancelled or normally if it finished
    /// first.
    ///
    /// # Errors
    ///
    /// Returns the error of `CancelIoEx`, except `ERROR_NOT_FOUND`, which is `Ok(false)`.
    pub fn cancel_all(&self) -> Result<bool> {
        let asked = sys::cancel_all(self.raw);
        trace::cancelling_all(self.raw, &asked);
        asked
    }

    /// Whether the handle's port is open, and this one.
    #[inline(always)]
    pub(crate) fn admit(&self, gate: &PortState) -> Result<(), &'static UsageError> {
        gate.check(&self.identity)
    }

    pub(crate) fn raw(&self) -> Handle {
        self.raw
    }

    pub(crate) fn kind(&self) -> ObjectKind {
        self.object
    }

    /// Which port the handle is of.
    #[inline]
    pub(crate) fn identity(&self) -> Identity {
        self.identity.clone()
    }

    /// How many operations in a row have completed without a packet.
    #[inline(always)]
    pub(crate) fn inline_run(&self) -> &InlineRun {
        &self.inline_run
    }

    /// What operations are started on.
    #[inline(always)]
    pub(crate) fn object<'a>(&'a self, idle: &'a Arc<IdleGuards>) -> Object<'a>
    where
        M: Mode,
    {
        Object {
            is_socket: matches!(
                self.object,
                ObjectKind::Stream { .. } | ObjectKind::Datagram { .. }
            ),
            what: self.object,
            longest_message: self.longest_message,
            handle: self.raw,
            listens: &self.listens,
            guards: (&self.end.guard, idle),
            skips: M::SKIPS,
        }
    }
}

impl<H: Adoptable, M> Associated<H, M> {
    /// Returns the handle. It is still associated with the port, and what is in flight on it
    /// goes on.
    ///
    /// Closing the handle cancels what is in flight, unless a duplicate is open: then the
    /// operations go on and can no longer be cancelled, and a [`scope`](Iocp::scope) waits
    /// for them.
    ///
    /// Use the standard library's blocking reads and writes on a file or pipe only when
    /// nothing is in flight on it. They wait until any operation on the handle completes, and
    /// abort the process if that was not their own ("operation failed to complete
    /// synchronously").
    ///
    /// The connection of an accept or connect that completes afterwards does not know its
    /// addresses: on Windows, `peer_addr`, `local_addr` and `shutdown` fail until
    /// `SO_UPDATE_ACCEPT_CONTEXT` or `SO_UPDATE_CONNECT_CONTEXT` is set.
    pub fn into_inner(mut self) -> H {
        self.end.closes = false;
        self.handle
    }
}

/// Borrows the socket, to read its addresses and set options. Do not read or write through
/// it: such calls block, and bypass the port. Files and pipes cannot be borrowed, because
/// the standard library's blocking reads and writes on an overlapped handle may wait for
/// another operation.
impl<H: Socket, M> Associated<H, M> {
    /// Returns a reference to the socket.
    ///
    /// ```
    /// # use std::net::TcpListener;
    /// # let port = completion_port::Iocp::new()?;
    /// let listener = port.add_handle(TcpListener::bind("127.0.0.1:0")?, 1)?;
    /// println!("listening on {}", listener.get_ref().local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn get_ref(&self) -> &H {
        &self.handle
    }
}

/// Calls that have no overlapped form, and do not disturb operations in flight.
impl<M> Associated<File, M> {
    /// Queries metadata about the file; see [`File::metadata`].
    ///
    /// # Errors
    ///
    /// Those of [`File::metadata`].
    pub fn metadata(&self) -> std::io::Result<Metadata> {
        self.handle.metadata()
    }

    /// Truncates or extends the file; see [`File::set_len`].
    ///
    /// # Errors
    ///
    /// Those of [`File::set_len`].
    pub fn set_len(&self, length: u64) -> std::io::Result<()> {
        self.handle.set_len(length)
    }

    /// Flushes to disk what has been written by operations that have completed; see
    /// [`File::sync_all`].
    ///
    /// # Errors
    ///
    /// Those of [`File::sync_all`].
    pub fn sync_all(&self) -> std::io::Result<()> {
        self.handle.sync_all()
    }
}

/// Borrows the handle for calls that are not I/O. What is read or written through it, or
/// through a duplicate, bypasses the port: it may block, and the standard library ends the
/// process where a read or write of its own does not complete at once.
impl<H: AsHandle, M> AsHandle for Associated<H, M> {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.handle.as_handle()
    }
}

/// Borrows the socket for calls that are not I/O. What is received or sent through it, or
/// through a duplicate, bypasses the port, and may block.
impl<H: AsSocket, M> AsSocket for Associated<H, M> {
    fn as_socket(&self) -> BorrowedSocket<'_> {
        self.handle.as_socket()
    }
}

impl<H: AsRawHandle, M> AsRawHandle for Associated<H, M> {
    fn as_raw_handle(&self) -> RawHandle {
        self.handle.as_raw_handle()
    }
}

impl<H: AsRawSocket, M> AsRawSocket for Associated<H, M> {
    fn as_raw_socket(&self) -> RawSocket {
        self.handle.as_raw_socket()
    }
}

impl<H, M> fmt::Debug for Associated<H, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Associated")
            .field("handle", &self.raw)
            .field("context", &self.key)
            .field("kind", &self.object.name())
            .finish_non_exhaustive()
    }
}
