//! Listening sockets: `AcceptEx`.

use std::net::TcpStream;
use std::os::windows::io::{AsRawSocket, OwnedSocket, RawSocket};

use super::disconnect::Reuse;
use super::on::Listener;
use super::{Fills, Finish, HandleGuard, Keeps, Lend, RegionMut, Reusable, Starter, Submitted};
use crate::error::{Error, Facts, FactsOn, STATUS_CONNECTION_ABORTED};
use crate::handle::Associated;
use crate::operation::{Object, Operation};
use crate::sys::{self, Handle, Provider};

/// Accepts a connection: `AcceptEx`.
///
/// Returns the connection, a `TcpStream`.
/// [`Iocp::initiate_accept`](crate::Iocp::initiate_accept), which starts this operation, says
/// more about accepts. A [`Listener`](crate::listener::Listener) keeps several in flight.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Accept<S = ()>(S);

/// The kind of [`Accept`] that [`Accept::unix`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Unix(());

/// The kind of [`Accept`] that [`Accept::reusing`] returns.
#[derive(Debug)]
pub struct Reusing {
    stream: Associated<TcpStream>,
    reusable: Reusable,
}

impl Accept {
    /// Accepts the next connection.
    pub fn new() -> Self {
        Self(())
    }

    /// Accepts the next connection at a socket of the family `AF_UNIX`, one of [`unix::listen`](crate::unix::listen)
    /// for example.
    ///
    /// Returns an [`OwnedSocket`], if it has succeeded. The operation is refused with
    /// [`Unsupported`](crate::ErrorKind::Unsupported) on sockets of other families.
    pub fn unix() -> Accept<Unix> {
        Accept(Unix(()))
    }

    /// Accepts the next connection into a socket that was disconnected [for
    /// reuse](super::Disconnect::for_reuse), and that is associated with a port already.
    ///
    /// Returns that socket, whether it is connected or not.
    pub fn reusing(stream: Associated<TcpStream>, reusable: Reusable) -> Accept<Reusing> {
        Accept(Reusing { stream, reusable })
    }
}

/// The listener that a connection inherits from, and where its addresses go.
type Rest<const SPACE: usize = { 2 * sys::ADDRESS_SPACE }> =
    (Keeps<HandleGuard>, Fills<[u8; SPACE]>);

fn rest<const SPACE: usize>(on: &Object<'_>) -> Rest<SPACE> {
    (Keeps(on.guard()), Fills([0; SPACE]))
}

fn start<'l, O>(
    (accepted, provider): (RawSocket, Provider),
    reuse: Option<Reuse>,
    output: &RegionMut,
    space: usize,
    starter: Starter<'l, O>,
) -> Submitted<'l> {
    match sys::AcceptEx::of(starter.handle(), provider) {
        Ok(accept_ex) => starter.call_with(|listener, overlapped, _| {
            let accepted = Handle(accepted as usize);
            Reuse::by(reuse, || {
                sys::accept(accept_ex, listener, accepted, output, space, overlapped)
            })
        }),
        Err(cause) => starter.refuse(cause),
    }
}

/// What a connection has to inherit.
fn succeeded<const SPACE: usize>(
    accepted: Handle,
    (Keeps(listener), _): &Rest<SPACE>,
) -> Result<(), u32> {
    let inherit = |listener| sys::update_accept_context(accepted, listener);
    match listener.socket().while_open(inherit) {
        Ok(Err(_)) => Err(STATUS_CONNECTION_ABORTED),
        // A listener that is gone has nothing to pass on. The connection is there all
        // the same.
        Ok(Ok(())) | Err(_) => Ok(()),
    }
}

/// An accept into a new socket, of a listener that passes the check.
macro_rules! into_new_socket {
    ($accept:ty, $check:ident, $space:expr, $output:ty) => {
        impl Operation for $accept {
            const FACTS: FactsOn = FactsOn::Sockets(Facts::AcceptEx);
            const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> =
                Some(|(accepted, rest)| {
                    succeeded(accepted.0.as_ref().map_or(Handle::NONE, sys::handle_of), rest)
                });
            const FINISH: Finish<Self> =
                Finish::with(|(Keeps(socket), _): Self::Memory, outcome| {
                    socket.filter(|_| outcome.is_ok()).map(<$output>::from)
                });
            type On = Listener;
            /// The connection to be, and the rest.
            type Memory = (Keeps<Option<OwnedSocket>>, Rest<{ 2 * $space }>);
            type Arguments = (RawSocket, Provider);
            type Output = $output;

            fn split(
                self,
                on: &Object<'_>,
            ) -> Result<(Self::Arguments, Self::Memory), (Error, Self::Memory)> {
                match on.$check().and_then(sys::new_socket) {
                    Ok(socket) => {
                        let accepted = (socket.as_raw_socket(), on.provider());
                        Ok((accepted, (Keeps(Some(socket)), rest(on))))
                    }
                    Err(error) => Err((error, (Keeps(None), rest(on)))),
                }
            }

            fn start(
                accepted: Self::Arguments,
                ((), ((), addresses)): <Self::Memory as Lend>::Lent,
                starter: Starter<'_, Self>,
            ) -> Submitted<'_> {
                start(accepted, None, &addresses, $space, starter)
            }
        }
    };
}

into_new_socket!(Accept, check_listener, sys::ADDRESS_SPACE, TcpStream);
into_new_socket!(Accept<Unix>, check_unix_listener, sys::UNIX_ADDRESS_SPACE, OwnedSocket);

impl Operation for Accept<Reusing> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::AcceptEx);
    const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> =
        Some(|(Keeps(accepted), rest)| {
            succeeded(Handle(accepted.stream.as_raw_socket() as usize), rest)
        });
    const FINISH: Finish<Self> =
        Finish::with(|(Keeps(accepted), _): Self::Memory, _| Some(accepted.stream));
    type On = Listener;
    type Memory = (Keeps<Reusing>, Rest);
    type Arguments = ((RawSocket, Provider), Reuse);
    type Output = Associated<TcpStream>;

    fn split(
        self,
        on: &Object<'_>,
    ) -> Result<(Self::Arguments, Self::Memory), (Error, Self::Memory)> {
        let Self(accepted) = self;
        let checked = accepted.reusable.check(accepted.stream.raw()).map_err(Error::usage);
        match checked.and_then(|reuse| on.check_listener().map(|_| reuse)) {
            Ok(reuse) => {
                let socket = (accepted.stream.as_raw_socket(), on.provider());
                Ok(((socket, reuse), (Keeps(accepted), rest(on))))
            }
            Err(error) => Err((error, (Keeps(accepted), rest(on)))),
        }
    }

    fn start(
        (accepted, reuse): Self::Arguments,
        ((), ((), addresses)): <Self::Memory as Lend>::Lent,
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        start(accepted, Some(reuse), &addresses, sys::ADDRESS_SPACE, starter)
    }
}

impl Reusing {
    /// Returns what [`Accept::reusing`] was given, if the accept could not be started.
    #[must_use]
    pub fn into_parts(self) -> (Associated<TcpStream>, Reusable) {
        (self.stream, self.reusable)
    }
}

/// An accept of a [`Listener`](crate::listener::Listener), which has the socket, and sees to
/// what it has to inherit.
#[derive(Debug)]
pub(crate) struct AcceptInto<K> {
    /// The connection to be.
    pub accepted: RawSocket,
    /// Room for the first data, and for two addresses.
    pub output: Box<[u8]>,
    pub keeps: K,
}

/// What comes of an [`AcceptInto`], whatever has become of it.
#[derive(Debug)]
pub(crate) struct AcceptedInto<K> {
    pub output: Box<[u8]>,
    pub keeps: K,
}

impl<K: Send> Operation for AcceptInto<K> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::AcceptEx);
    const FINISH: Finish<Self> =
        Finish::with(|(Keeps(keeps), Fills(output)), _| Some(AcceptedInto { output, keeps }));
    type On = Listener;
    type Memory = (Keeps<K>, Fills<Box<[u8]>>);
    type Arguments = (RawSocket, Provider);
    type Output = AcceptedInto<K>;

    fn split(
        self,
        on: &Object<'_>,
    ) -> Result<(Self::Arguments, Self::Memory), (Error, Self::Memory)> {
        let Self { accepted, output, keeps } = self;
        Ok(((accepted, on.provider()), (Keeps(keeps), Fills(output))))
    }

    fn start(
        accepted: Self::Arguments,
        ((), output): ((), RegionMut),
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        start(accepted, None, &output, sys::ADDRESS_SPACE, starter)
    }
}
