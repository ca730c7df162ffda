//! The most common operations, each a line.

use std::net::{IpAddr, SocketAddr, TcpStream};

use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Rejected, Result};
use crate::handle::{Associated, Mode};
use crate::op;
use crate::port::Iocp;
use crate::sys;

/// Creates an unconnected stream socket for addresses like `peer`, for
/// [`Iocp::initiate_connect`].
///
/// For an IPv4 address in IPv6 form (`::ffff:127.0.0.1`) it is a dual-stack socket, which
/// reaches both kinds of addresses.
///
/// # Errors
///
/// If the system has no more sockets, or none for such addresses.
pub fn unconnected_stream(peer: SocketAddr) -> Result<TcpStream> {
    let socket = sys::new_socket(sys::family_of(peer))?;
    if matches!(peer.ip(), IpAddr::V6(ip) if ip.to_ipv4_mapped().is_some()) {
        sys::make_dual_stack(sys::handle_of(&socket))?;
    }
    Ok(socket.into())
}

impl<C: Send + 'static> Iocp<C> {
    /// Starts a read from a socket, pipe or device into `buffer`.
    ///
    /// The completion arrives with `context` and the buffer. A success
    /// transfers at least one byte, unless the stream or pipe has ended, the
    /// message is empty, the other end of a pipe has made an empty write, or a
    /// device's time-out has passed without data (if the device does not report
    /// that as [`TimedOut`](crate::ErrorKind::TimedOut)). A message that does
    /// not fit arrives cut, with [`MoreData`](crate::ErrorKind::MoreData) (pipes,
    /// which keep the rest) or
    /// [`MessageTruncated`](crate::ErrorKind::MessageTruncated) (datagrams,
    /// which lose it).
    ///
    /// A buffer without room for a single byte is refused, because its
    /// completion could not be told from the end of the stream.
    ///
    /// One read transfers 4 GiB - 1 at most, however large the buffer is.
    ///
    /// # The compiler says "`buffer` does not live long enough" (`E0597`)
    ///
    /// ```compile_fail,E0597
    /// # fn read(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) {
    /// let mut buffer = [0; 1024];
    /// port.initiate_read(stream, 456, &mut buffer);
    /// # }
    /// ```
    ///
    /// The kernel writes to the buffer after this call has returned, and nothing would keep
    /// `buffer` until then. Move it in instead, as a `Vec`, a `Box<[u8]>` or a small array,
    /// and take it from the completion; or borrow it in a [`scope`](Self::scope), which waits
    /// for the read:
    ///
    /// ```
    /// # fn read(port: &completion_port::Iocp, stream: &completion_port::Associated<std::net::TcpStream>) -> completion_port::Result<()> {
    /// port.initiate_read(stream, 456, Vec::with_capacity(1024))?;
    ///
    /// let mut buffer = [0; 1024];
    /// port.scope(|scope| {
    ///     scope.initiate_read(stream, 456, &mut buffer)?;
    ///     port.get_completion()?.result()
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # The compiler says "cannot move out of `connection` because it is borrowed" (`E0505`)
    ///
    /// ```compile_fail,E0505
    /// # use completion_port::{Associated, Iocp};
    /// # struct Connection { stream: Associated<std::net::TcpStream> }
    /// # fn read(port: &Iocp<Box<Connection>>, connection: Box<Connection>) {
    /// port.initiate_read(&connection.stream, connection, Vec::with_capacity(1024));
    /// # }
    /// ```
    ///
    /// The context owns the handle. Start the operation with
    /// [`initiate_with`](Self::initiate_with), which finds the handle in the context, or share
    /// the connection in an `Arc`, of which the context is a clone.
    ///
    /// # Errors
    ///
    /// Context and buffer come back if the read could not be started:
    /// - what the system answers, for example
    ///   [`ConnectionReset`](crate::ErrorKind::ConnectionReset);
    /// - [`InvalidInput`](crate::ErrorKind::InvalidInput): the buffer has no
    ///   room. A `Vec` that is full or was made by `Vec::new` has none, because
    ///   reads append to the spare capacity;
    /// - [`WrongPort`](crate::ErrorKind::WrongPort),
    ///   [`Closed`](crate::ErrorKind::Closed),
    ///   [`TooManyOperations`](crate::ErrorKind::TooManyOperations);
    /// - [`Unsupported`](crate::ErrorKind::Unsupported): files want
    ///   [`initiate_read_at`](Self::initiate_read_at).
    ///
    /// For an example see [`Iocp`].
    #[inline(always)]
    pub fn initiate_read<H, M: Mode, B: IoBufMut + Send + 'static>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        buffer: B,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        self.start(handle, context, op::Read::new(buffer))
            .map_err(|rejected| rejected.map(|(context, op::Fills(buffer))| (context, buffer)))
    }

    /// Starts a read from a file at `offset`, in bytes, like
    /// [`initiate_read`](Self::initiate_read). At the end of the file it transfers 0 bytes.
    ///
    /// With `FILE_FLAG_NO_BUFFERING`, offset, length and address of the buffer
    /// have to be multiples of the sector size. A file system that notices a
    /// read from behind the end of such a file only later may end it with
    /// `ERROR_INVALID_PARAMETER`.
    ///
    /// # Errors
    ///
    /// Those of [`initiate_read`](Self::initiate_read); sockets have no offsets.
    ///
    /// ```
    /// use std::fs::OpenOptions;
    /// use completion_port::Iocp;
    /// use completion_port::fs::OpenOverlapped;
    ///
    /// # let path = std::env::temp_dir().join(format!("read-at-doc-{}", std::process::id()));
    /// # std::fs::write(&path, "hello world")?;
    /// let file = OpenOptions::new().read(true).open_overlapped(&path)?;
    /// let port = Iocp::new()?;
    /// let file = port.add_handle(file, 1)?;
    /// port.initiate_read_at(&file, 2, Vec::with_capacity(512), 6)?;
    /// let mut completion = port.get_completion()?;
    /// assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"world");
    /// # drop(file);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline(always)]
    pub fn initiate_read_at<H, M: Mode, B: IoBufMut + Send + 'static>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        buffer: B,
        offset: u64,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        self.start(handle, context, op::Read::new(buffer).at(offset))
            .map_err(|rejected| rejected.map(|(context, op::Fills(buffer))| (context, buffer)))
    }

    /// Starts a write of `buffer` to a socket, pipe or device.
    ///
    /// The completion arrives with `context` and the buffer. That a write has
    /// completed means that the buffer can be used again, not that the other
    /// side has the data. To keep the bytes of a stream in order, have one
    /// write in flight on it at a time, or start them all from one thread.
    ///
    /// One write transfers 4 GiB - 1 at most, however large the buffer is, and
    /// less than was asked for where a device's time-out ends it. An empty one
    /// is a message on a message pipe or a datagram socket; on a pipe of bytes
    /// it may end a read of the other end with no bytes; elsewhere it is nothing.
    ///
    /// # Errors
    ///
    /// Context and buffer come back if the write could not be started: those of
    /// [`initiate_read`](Self::initiate_read), and
    /// [`MessageTruncated`](crate::ErrorKind::MessageTruncated) for a datagram
    /// that is too long to be sent.
    #[inline(always)]
    pub fn initiate_write<H, M: Mode, B: IoBuf + Send + 'static>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        buffer: B,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        self.start(handle, context, op::Write::new(buffer))
            .map_err(|rejected| rejected.map(|(context, op::Sends(buffer))| (context, buffer)))
    }

    /// Starts a write to a file at `offset`, in bytes, like
    /// [`initiate_write`](Self::initiate_write). The offset [`u64::MAX`] appends.
    ///
    /// # Errors
    ///
    /// Those of [`initiate_write`](Self::initiate_write); sockets have no
    /// offsets.
    #[inline(always)]
    pub fn initiate_write_at<H, M: Mode, B: IoBuf + Send + 'static>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        buffer: B,
        offset: u64,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        self.start(handle, context, op::Write::new(buffer).at(offset))
            .map_err(|rejected| rejected.map(|(context, op::Sends(buffer))| (context, buffer)))
    }

    /// Starts an accept on a listening socket.
    ///
    /// The completion has the connection, as a `TcpStream` like any other:
    /// [`Finished::take_accepted`](crate::Finished::take_accepted). Keep a few
    /// accepts in flight, so that connections need not wait for one.
    ///
    /// An accept that fails with
    /// [`ConnectionReset`](crate::ErrorKind::ConnectionReset) or
    /// [`ConnectionAborted`](crate::ErrorKind::ConnectionAborted), when it is
    /// started or later, means that one client went away; the listener is well.
    /// Start another.
    ///
    /// A connection that was accepted before the listener was dropped still arrives. It reads
    /// and writes; but on Windows its `local_addr`, `peer_addr` and `shutdown` fail, because
    /// there is no listener to inherit from.
    ///
    /// # Errors
    ///
    /// The context comes back if the accept could not be started. A server has
    /// one accept fewer in flight then, and with none it accepts nobody, so what
    /// it does depends on the kind:
    /// - [`ConnectionReset`](crate::ErrorKind::ConnectionReset),
    ///   [`ConnectionAborted`](crate::ErrorKind::ConnectionAborted): one client
    ///   went away. Start the accept again, at once;
    /// - [`ResourceExhausted`](crate::ErrorKind::ResourceExhausted),
    ///   [`TooManyOperations`](crate::ErrorKind::TooManyOperations): there are
    ///   no more sockets, buffers or places in the port. Start it again when a
    ///   connection has ended or a moment has passed (at once would be in
    ///   vain); clients wait in the listener's backlog meanwhile;
    /// - [`Unsupported`](crate::ErrorKind::Unsupported) on what is no socket,
    ///   [`InvalidInput`](crate::ErrorKind::InvalidInput) on one that does not
    ///   listen, and the others of [`initiate_read`](Self::initiate_read):
    ///   trying again does not help.
    ///
    /// ```
    /// use std::net::{TcpListener, TcpStream};
    /// use completion_port::Iocp;
    ///
    /// let port = Iocp::new()?;
    /// let listener = port.add_handle(TcpListener::bind("127.0.0.1:0")?, 1)?;
    /// port.initiate_accept(&listener, 2)?;
    /// let client = TcpStream::connect(listener.get_ref().local_addr()?)?;
    /// let mut completion = port.get_completion()?;
    /// completion.error_status?;
    /// let accepted = completion.operation.take_accepted().unwrap();
    /// assert_eq!(accepted.peer_addr()?, client.local_addr()?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn initiate_accept<H, M: Mode>(
        &self,
        listener: &Associated<H, M>,
        context: C,
    ) -> Result<M::Started<TcpStream, C>, Rejected<C>> {
        self.start(listener, context, op::Accept::new())
            .map_err(|rejected| rejected.map(|(context, _)| context))
    }

    /// Starts to connect a socket. Unless it is bound already, it is bound to an address of
    /// the system's choice first, and connections to different peers share local ports where
    /// the system can do that (`SO_REUSE_UNICASTPORT`, from Windows 10 on).
    ///
    /// After
    /// [`ConnectionRefused`](crate::ErrorKind::ConnectionRefused),
    /// [`NetworkUnreachable`](crate::ErrorKind::NetworkUnreachable) and
    /// [`TimedOut`](crate::ErrorKind::TimedOut) the same socket can be tried
    /// again. If the socket is dropped before the completion has been dequeued,
    /// the connect ends with [`Cancelled`](crate::ErrorKind::Cancelled) or
    /// [`ConnectionAborted`](crate::ErrorKind::ConnectionAborted). A duplicate
    /// that is still open may be connected all the same, and does not know its
    /// addresses then, as after [`into_inner`](Associated::into_inner).
    ///
    /// # Errors
    ///
    /// The context comes back if the connect could not be started:
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on what is no stream socket,
    /// [`AlreadyConnected`](crate::ErrorKind::AlreadyConnected), and otherwise
    /// as for [`initiate_read`](Self::initiate_read).
    ///
    /// ```
    /// use completion_port::{Iocp, unconnected_stream};
    ///
    /// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// # let peer = listener.local_addr()?;
    /// let port = Iocp::new()?;
    /// let stream = port.add_handle(unconnected_stream(peer)?, 1)?;
    /// port.initiate_connect(&stream, 2, peer)?;
    /// port.get_completion()?.error_status?;
    /// assert_eq!(stream.get_ref().peer_addr()?, peer);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn initiate_connect<H, M: Mode>(
        &self,
        socket: &Associated<H, M>,
        context: C,
        peer: SocketAddr,
    ) -> Result<M::Started<(), C>, Rejected<C>> {
        self.start(socket, context, op::Connect::new(peer))
            .map_err(|rejected| rejected.map(|(context, _)| context))
    }
}
