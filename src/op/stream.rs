//! Stream sockets: `ConnectEx`.

use std::net::SocketAddr;

use super::disconnect::Reuse;
use super::on::Stream;
use super::{Beside, Finish, Gone, HandleGuard, Keeps, Lend, Reusable, Sends, Starter, Submitted};
use crate::buffer::IoBuf;
use crate::error::{Error, Facts, FactsOn, STATUS_CONNECTION_ABORTED, UsageError, refusal};
use crate::operation::{Object, Operation};
use crate::sys::{self, Provider};

/// Connects a socket: `ConnectEx`.
///
/// Returns nothing, or the buffer that it was to [send](Self::with_data).
/// [`Iocp::initiate_connect`](crate::Iocp::initiate_connect), which starts this operation
/// without data, says more about connects.
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
pub struct Connect<D = (), R = ()> {
    to: Addresses,
    data: D,
    reusable: R,
}

/// From where to whom.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    peer: SocketAddr,
    local: Option<SocketAddr>,
}

impl Addresses {
    fn check(self) -> Result<(), &'static UsageError> {
        let is_other = |local| sys::family_of(local) != sys::family_of(self.peer);
        match self.local {
            Some(local) if is_other(local) => Err(&refusal::BOUND_TO_OTHER_FAMILY),
            _ => Ok(()),
        }
    }
}

impl Connect {
    /// Connects to `peer`.
    pub fn new(peer: SocketAddr) -> Self {
        Self { to: Addresses { peer, local: None }, data: (), reusable: () }
    }
}

impl<R> Connect<(), R> {
    /// Sends `data`, or as much of it as fits, with the connect. The completion's byte count
    /// says how much was sent.
    pub fn with_data<B: IoBuf>(self, data: B) -> Connect<Sends<B>, R> {
        Connect { to: self.to, data: Sends(data), reusable: self.reusable }
    }
}

impl<D> Connect<D> {
    /// Connects a socket that was disconnected [for reuse](super::Disconnect::for_reuse),
    /// from where it was connected before.
    ///
    /// The operation is refused with [`InvalidInput`](crate::ErrorKind::InvalidInput) on any
    /// other socket, and so is one without this on such a socket.
    ///
    /// ```
    /// use completion_port::{Associated, ErrorKind, Iocp, op};
    /// # use std::net::{SocketAddr, TcpStream};
    ///
    /// fn connect_again(
    ///     port: &Iocp,
    ///     stream: &Associated<TcpStream>,
    ///     peer: SocketAddr,
    /// ) -> completion_port::Result<()> {
    ///     port.initiate(stream, 1, op::Disconnect::new().for_reuse())?;
    ///     let mut completion = port.get_completion()?;
    ///     completion.error_status?;
    ///     let reusable: op::Reusable = completion.operation.output()?;
    ///     port.initiate(stream, 2, op::Connect::new(peer).reusing(reusable))?;
    ///     port.get_completion()?.error_status
    /// }
    /// ```
    pub fn reusing(self, reusable: Reusable) -> Connect<D, Reusable> {
        Connect { to: self.to, data: self.data, reusable }
    }
}

impl<D, R> Connect<D, R> {
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

/// Whether a socket was disconnected for reuse: `()` if it was not, or [`Reusable`].
pub trait Reuses: sealed::Reuses {}

impl<R: sealed::Reuses> Reuses for R {}

mod sealed {
    use super::{Error, HandleGuard, Object, Reusable, Reuse, refusal};

    type Checked = Result<Option<Reuse>, Error>;

    pub trait Reuses: Send {
        fn check(&self, on: &Object<'_>, guard: &HandleGuard) -> Checked;
    }

    impl Reuses for () {
        fn check(&self, _: &Object<'_>, guard: &HandleGuard) -> Checked {
            let awaits_reuse = guard.awaits_reuse();
            if awaits_reuse { Err(Error::usage(&refusal::NEEDS_REUSABLE)) } else { Ok(None) }
        }
    }

    impl Reuses for Reusable {
        fn check(&self, on: &Object<'_>, _: &HandleGuard) -> Checked {
            self.check(on.handle).map(Some).map_err(Error::usage)
        }
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

impl<D: Beside, R: Reuses> Operation for Connect<D, R> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::ConnectEx);
    const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> =
        Some(|(_, Keeps((socket, _)))| succeeded(socket));
    const FINISH: Finish<Self> =
        Finish::with(|(data, _): Self::Memory, _| Some(data.into_buffer()));
    type On = Stream;
    /// What is sent, the socket, and what was said of it.
    type Memory = (D, Keeps<(HandleGuard, R)>);
    /// From where to whom to connect, whose `ConnectEx` does it, and whether the socket is
    /// reused.
    type Arguments = (Addresses, Provider, Option<Reuse>);
    type Output = D::Buffer;

    fn split(
        self,
        on: &Object<'_>,
    ) -> Result<(Self::Arguments, Self::Memory), (Error, Self::Memory)> {
        let Self { to, data, reusable } = self;
        let guard = on.guard();
        let checked = on.check_connect().and_then(|()| to.check().map_err(Error::usage));
        let checked = checked.and_then(|()| reusable.check(on, &guard));
        let memory = (data, Keeps((guard, reusable)));
        match checked {
            Ok(reuse) => Ok(((to, on.provider(), reuse), memory)),
            Err(error) => Err((error, memory)),
        }
    }

    fn start(
        (Addresses { peer, local }, provider, reuse): Self::Arguments,
        (data, ()): <Self::Memory as Lend>::Lent,
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        let data = D::region(data);
        let socket = starter.handle();
        // "A specified socket must be bound", or ConnectEx fails.
        let bound = sys::bind(socket, sys::family_of(peer), local);
        match bound.and_then(|()| sys::ConnectEx::of(socket, provider)) {
            Ok(connect_ex) => starter.call_with(|socket, overlapped, _| {
                Reuse::by(reuse, || {
                    sys::connect(connect_ex, socket, peer, data.as_ref(), overlapped)
                })
            }),
            Err(cause) => starter.refuse(cause),
        }
    }
}
