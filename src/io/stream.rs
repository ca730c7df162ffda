//! Making connections: `ConnectEx`.

use std::net::{IpAddr, SocketAddr, TcpStream};

use crate::error::{Rejected, Result};
use crate::handle::{Associated, Mode};
use crate::operation::Connect;
use crate::port::Iocp;
use crate::sys;

/// Creates a stream socket for addresses like `peer`, not connected yet: for
/// [`Iocp::initiate_connect`].
///
/// For an IPv4 address in IPv6 form (`::ffff:127.0.0.1`) it is a dual-stack
/// socket, which reaches IPv6 addresses and such ones.
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
    /// Starts to connect a socket, which is bound to an address of the
    /// system's choice first, unless it is bound already. Connections to
    /// different peers then share local ports, where the system can do that
    /// (`SO_REUSE_UNICASTPORT`, from Windows 10 on).
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
        let target = socket.target(None);
        let prepared = socket
            .check_connect(&self.shared().gate)
            // "A specified socket must be bound", or ConnectEx fails.
            .and_then(|()| sys::bind_to_any(target.handle, sys::family_of(peer)));
        if let Err(error) = prepared {
            return Err(Rejected { error, returned: context });
        }
        self.start(
            socket,
            target,
            context,
            Connect(socket.guard(&self.shared().guards)),
            |_, overlapped| sys::connect(target.handle, peer, overlapped),
        )
        .map_err(|rejected| rejected.map(|(context, ())| context))
    }
}
