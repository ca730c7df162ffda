//! Stream sockets: `ConnectEx`.

use std::net::SocketAddr;

use super::on::Stream;
use super::{Finish, Gone, HandleGuard, Keeps, Region, Sends, Starter, Submitted};
use crate::buffer::IoBuf;
use crate::error::{Error, Facts, FactsOn, STATUS_CONNECTION_ABORTED, UsageError, refusal};
use crate::operation::{Object, Operation};
use crate::sys::{self, Provider};

/// Connects a socket: `ConnectEx`.
///
/// Returns nothing, or the buffer of what it was to [send](Self::with_data).
/// [`Iocp::initiate_connect`](crate::Iocp::initiate_connect) says what there is to know
/// of connects; it starts this operation without data.
///
/// ```
/// use completion_port::{Iocp, op, unconnected_stream};
///
/// # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
/// # let peer = listener.local_addr()?;
/// let port = Iocp::new()?;
/// let stream = port.add_handle(unconnected_stream(peer)?, 1)?;
/// let local = "127.0.0.1:0".parse().unwrap(); // any port of this address
/// let connect = op::Connect::new(peer).bound_to(local).with_data("hello");
/// port.initiate(&stream, 2, connect)?;
/// let completion = port.get_completion()?;
/// completion.error_status?;
/// assert_eq!(completion.bytes_transferred, 5);
/// # let (mut server, from) = listener.accept()?;
/// # assert_eq!(from, stream.get_ref().local_addr()?);
/// # let mut received = [0; 5];
/// # std::io::Read::read_exact(&mut server, &mut received)?;
/// # assert_eq!(&received, b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Connect<D = ()> {
    to: Addresses,
    data: D,
}

/// From where to whom.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    peer: SocketAddr,
    local: Option<SocketAddr>,
}

impl Connect {
    /// Connects to `peer`.
    pub fn new(peer: SocketAddr) -> Self {
        Self { to: Addresses { peer, local: None }, data: () }
    }

    /// Sends `data`, or as much of it as fits, with the connect. The completion's byte count
    /// says how much was sent.
    pub fn with_data<B: IoBuf>(self, data: B) -> Connect<Sends<B>> {
        Connect { to: self.to, data: Sends(data) }
    }
}

impl<D> Connect<D> {
    /// Connects from `local` rather than from an address of the system's choice. Port 0
    /// stands for any.
    ///
    /// It has the form of the peer's address: IPv4, or IPv6, or IPv4 in IPv6 form
    /// (`::ffff:127.0.0.1`).
    ///
    /// The operation is refused with [`InvalidInput`](crate::ErrorKind::InvalidInput) if it
    /// has not, or if the socket is bound already, to another address.
    pub fn bound_to(self, local: SocketAddr) -> Self {
        Self { to: Addresses { local: Some(local), ..self.to }, ..self }
    }
}

/// Refuses sockets of datagrams.
pub(super) fn check_stream(on: &Object<'_>) -> Result<(), &'static UsageError> {
    if on.is_datagram_socket() { Err(&refusal::NOT_A_STREAM) } else { Ok(()) }
}

fn split<M>(to: Addresses, memory: M, on: &Object<'_>) -> Result<(To, M), (Error, M)> {
    let is_other = |local| sys::family_of(local) != sys::family_of(to.peer);
    match on.check_connect() {
        Ok(()) if to.local.is_some_and(is_other) => {
            Err((Error::usage(&refusal::BOUND_TO_OTHER_FAMILY), memory))
        }
        Ok(()) => Ok(((to, on.provider()), memory)),
        Err(error) => Err((error, memory)),
    }
}

/// From where to whom to connect, and whose `ConnectEx` does it.
type To = (Addresses, Provider);

fn start<'l, O>(
    (Addresses { peer, local }, provider): To,
    data: Option<&Region>,
    starter: Starter<'l, O>,
) -> Submitted<'l> {
    let socket = starter.handle();
    // "A specified socket must be bound", or ConnectEx fails.
    let bound = sys::bind(socket, sys::family_of(peer), local);
    match bound.and_then(|()| sys::ConnectEx::of(socket, provider)) {
        Ok(connect_ex) => starter.call_with(|socket, overlapped, _| {
            sys::connect(connect_ex, socket, peer, data, overlapped)
        }),
        Err(cause) => starter.refuse(cause),
    }
}

/// What is known of the socket afterwards.
fn succeeded(socket: &HandleGuard) -> Result<(), u32> {
    match socket.socket().while_open(sys::update_connect_context) {
        Ok(Ok(())) | Err(Gone::Released) => Ok(()),
        // The connection has gone with its socket.
        Ok(Err(_)) | Err(Gone::Closed) => Err(STATUS_CONNECTION_ABORTED),
    }
}

impl Operation for Connect {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::ConnectEx);
    const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> =
        Some(|Keeps(socket)| succeeded(socket));
    const FINISH: Finish<Self> = Finish::with(|_, _| Some(()));
    type On = Stream;
    type Memory = Keeps<HandleGuard>;
    type Arguments = To;
    type Output = ();

    fn split(self, on: &Object<'_>) -> Result<(To, Self::Memory), (Error, Self::Memory)> {
        split(self.to, Keeps(on.guard()), on)
    }

    fn start(to: To, (): (), starter: Starter<'_, Self>) -> Submitted<'_> {
        start(to, None, starter)
    }
}

impl<B: IoBuf + Send> Operation for Connect<Sends<B>> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::ConnectEx);
    const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> =
        Some(|(_, Keeps(socket))| succeeded(socket));
    const FINISH: Finish<Self> = Finish::with(|(Sends(data), _): Self::Memory, _| Some(data));
    type On = Stream;
    type Memory = (Sends<B>, Keeps<HandleGuard>);
    type Arguments = To;
    type Output = B;

    fn split(self, on: &Object<'_>) -> Result<(To, Self::Memory), (Error, Self::Memory)> {
        split(self.to, (self.data, Keeps(on.guard())), on)
    }

    fn start(to: To, (data, ()): (Region, ()), starter: Starter<'_, Self>) -> Submitted<'_> {
        start(to, Some(&data), starter)
    }
}
