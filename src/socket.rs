//! What sockets can do without an operation.

use std::net::{Shutdown, TcpStream};

use crate::error::{Error, Result, refusal};
use crate::handle::Associated;
use crate::op::on::{Datagrams, Supports};
use crate::operation::ObjectKind;
use crate::sys;

impl<M> Associated<TcpStream, M> {
    /// Shuts down one side of the connection, or both: `shutdown`.
    ///
    /// Shutting down the writing side sends the end of the stream behind what has been
    /// written, and the peer's reads find it. It does not wait for that. Writes that are
    /// started afterwards fail with [`BrokenPipe`](crate::ErrorKind::BrokenPipe).
    ///
    /// Shutting down the reading side does not end reads in flight: cancel those.
    ///
    /// # Errors
    ///
    /// Those of [`TcpStream::shutdown`].
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # use std::net::{Shutdown, TcpListener, TcpStream};
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?)?;
    /// # let (server, _) = listener.accept()?;
    /// let port = Iocp::new()?;
    /// let client = port.add_handle(client, 1)?;
    /// # let server = port.add_handle(server, 2)?;
    /// port.initiate_write(&client, 3, "the last words")?;
    /// port.get_completion()?.error_status?;
    /// client.shutdown(Shutdown::Write)?;
    /// // The answer can still be read.
    /// port.initiate_read(&client, 4, Vec::with_capacity(1024))?;
    /// # port.initiate_write(&server, 5, "the answer")?;
    /// # for _ in 0..2 { port.get_completion()?.error_status?; }
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> std::io::Result<()> {
        self.get_ref().shutdown(how)
    }
}

impl<H: Supports<Datagrams>, M> Associated<H, M> {
    /// Turns off that a receive fails because an earlier send did not arrive
    /// (`SIO_UDP_CONNRESET` and `SIO_UDP_NETRESET`).
    ///
    /// By default, when nobody receives a datagram that the socket has sent, an ICMP message
    /// says so, and the socket's next receive fails with
    /// [`ConnectionReset`](crate::ErrorKind::ConnectionReset): a server's receive fails
    /// because one of its clients is gone.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on what is no datagram socket, and
    /// what `WSAIoctl` answers.
    ///
    /// ```
    /// # use completion_port::Iocp;
    /// # use std::net::UdpSocket;
    /// # let port = Iocp::new()?;
    /// let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0")?, 1)?;
    /// socket.ignore_unreachable()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn ignore_unreachable(&self) -> Result<()> {
        self.check_datagrams()?;
        sys::report_unreachable(self.raw(), false)
    }

    /// Sets whether the [control data](crate::op::Control::packet_info) of
    /// [`ReceiveMessage`](crate::op::ReceiveMessage) says where a datagram arrived
    /// (`IP_PKTINFO`, `IPV6_PKTINFO`).
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on what is no datagram socket, or
    /// where the system does not know it.
    pub fn receive_packet_info(&self, tells: bool) -> Result<()> {
        self.check_datagrams()?;
        sys::tell_packet_info(self.raw(), tells)
    }

    /// Sets whether the [control data](crate::op::Control::ecn) of
    /// [`ReceiveMessage`](crate::op::ReceiveMessage) has the bits for explicit congestion
    /// notification (`IP_RECVECN`, `IPV6_RECVECN`).
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on what is no datagram socket, or
    /// where the system does not know it.
    pub fn receive_ecn(&self, tells: bool) -> Result<()> {
        self.check_datagrams()?;
        sys::tell_ecn(self.raw(), tells)
    }

    /// Lets datagrams of one sender arrive together, as one of up to `bytes` bytes
    /// (`UDP_RECV_MAX_COALESCED_SIZE`). 0, the default, lets each arrive by itself.
    ///
    /// Then receive with [`ReceiveMessage`](crate::op::ReceiveMessage) into buffers of that
    /// size. Its [`coalesced_size`](crate::op::Control::coalesced_size) says how to take the
    /// datagrams apart; other receives do not say it.
    ///
    /// # Errors
    ///
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on what is no datagram socket, or
    /// where the system does not know it (before Windows 10, version 2004).
    pub fn receive_coalesced(&self, bytes: u32) -> Result<()> {
        self.check_datagrams()?;
        sys::coalesce(self.raw(), bytes)
    }

    fn check_datagrams(&self) -> Result<()> {
        match self.kind() {
            ObjectKind::Datagram { .. } => Ok(()),
            _ => Err(Error::usage(&refusal::NOT_DATAGRAMS)),
        }
    }
}
