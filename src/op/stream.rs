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
#[derive(Clone, Debug)]
#[must_use]
pub struct Connect<D = ()> {
    peer: SocketAddr,
    data: D,
}

impl Connect {
    /// Connects to `peer`.
    pub fn new(peer: SocketAddr) -> Self {
        Self { peer, data: () }
    }

    /// Sends `data`, or as much of it as fits, as soon as it is connected: the
    /// completion's byte count says how much.
    pub fn with_data<B: IoBuf>(self, data: B) -> Connect<Sends<B>> {
        Connect { peer: self.peer, data: Sends(data) }
    }
}

/// Refuses sockets of datagrams.
pub(super) fn check_stream(on: &Object<'_>) -> Result<(), &'static UsageError> {
    if on.is_datagram_socket() { Err(&refusal::NOT_A_STREAM) } else { Ok(()) }
}

fn split<M>(peer: SocketAddr, memory: M, on: &Object<'_>) -> Result<(To, M), (Error, M)> {
    match on.check_connect() {
        Ok(()) => Ok(((peer, on.provider()), memory)),
        Err(error) => Err((error, memory)),
    }
}

/// Whom to connect to, and whose `ConnectEx` does it.
type To = (SocketAddr, Provider);

fn start<'l, O>(
    (peer, provider): To,
    data: Option<&Region>,
    starter: Starter<'l, O>,
) -> Submitted<'l> {
    let socket = starter.handle();
    // "A specified socket must be bound", or ConnectEx fails.
    let bound = sys::bind_to_any(socket, sys::family_of(peer));
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
        split(self.peer, Keeps(on.guard()), on)
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
        split(self.peer, (self.data, Keeps(on.guard())), on)
    }

    fn start(to: To, (data, ()): (Region, ()), starter: Starter<'_, Self>) -> Submitted<'_> {
        start(to, Some(&data), starter)
    }
}
