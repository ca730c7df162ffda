//! Connections: `AcceptEx` and `ConnectEx`.

use std::net::{SocketAddr, TcpStream};
use std::os::windows::io::{AsRawSocket, OwnedSocket, RawHandle, RawSocket};

use super::on::{Listener, Stream};
use super::{
    Call, Called, Calls, Fills, Keeps, Operation, OperationKind, Outcome, Region, Sends, Starter,
};
use crate::buffer::IoBuf;
use crate::error::{Result, STATUS_CONNECTION_ABORTED};
use crate::handle::Object;
use crate::sys::{self, Handle};

/// Accepts a connection; see
/// [`Iocp::initiate_accept`](crate::Iocp::initiate_accept).
#[derive(Debug, Default)]
pub struct Accept {
    socket: Option<OwnedSocket>,
}

impl Accept {
    /// Whichever comes first.
    #[must_use]
    pub fn new() -> Self {
        Self { socket: None }
    }
}

impl Operation for Accept {
    const CALLS: Calls = Calls::socket(Call::AcceptEx);
    const KIND: OperationKind = OperationKind::Accept;
    const SEES_SUCCESS: bool = true;
    type On = Listener;
    /// The connection to be, and where its addresses go.
    type Memory = (Keeps<Option<OwnedSocket>>, Fills<[u8; 2 * sys::ADDRESS_SPACE]>);
    type Arguments = RawSocket;
    type Output = TcpStream;
    type Given = ();

    fn prepare(&mut self, on: &Object<'_>) -> Result<()> {
        self.socket = Some(sys::new_socket(on.check_listener()?)?);
        Ok(())
    }

    fn split(self) -> (RawSocket, Self::Memory) {
        let socket = self.socket.as_ref().map_or(0, AsRawSocket::as_raw_socket);
        (socket, (Keeps(self.socket), Fills([0; 2 * sys::ADDRESS_SPACE])))
    }

    fn start(accepted: RawSocket, lent: ((), Region), starter: Starter<'_, Self>) -> Called<'_> {
        let ((), addresses) = lent;
        starter.call_with(|listener, overlapped, _| {
            sys::accept(listener, Handle(accepted as usize), addresses, overlapped)
        })
    }

    fn succeeded(memory: &mut Self::Memory, listener: RawHandle) -> Result<(), u32> {
        let accepted = memory.0.0.as_ref().map_or(Handle::NONE, sys::handle_of);
        // The listener was closed in between, and has taken what it had accepted
        // with it.
        sys::update_accept_context(accepted, Handle(listener.addr()))
            .map_err(|_| STATUS_CONNECTION_ABORTED)
    }

    fn finish((Keeps(socket), _): Self::Memory, outcome: Outcome) -> Option<TcpStream> {
        socket.filter(|_| outcome.is_ok()).map(TcpStream::from)
    }

    fn give_back(_: Self::Memory) {}
}

/// Connects a socket; see
/// [`Iocp::initiate_connect`](crate::Iocp::initiate_connect).
#[derive(Clone, Debug)]
pub struct Connect<M = ()> {
    peer: SocketAddr,
    data: M,
}

impl Connect {
    /// To this address.
    #[must_use]
    pub fn new(peer: SocketAddr) -> Self {
        Self { peer, data: () }
    }

    /// And sends this as soon as it is connected, or as much of it as fits: the
    /// completion's byte count tells.
    pub fn with_data<B: IoBuf>(self, data: B) -> Connect<Sends<B>> {
        Connect { peer: self.peer, data: Sends(data) }
    }
}

fn prepare(on: &Object<'_>, peer: SocketAddr) -> Result<()> {
    // "A specified socket must be bound", or ConnectEx fails.
    sys::bind_to_any(on.value(), sys::family_of(peer))
}

fn succeeded(socket: RawHandle) -> Result<(), u32> {
    sys::update_connect_context(Handle(socket.addr())).map_err(|_| STATUS_CONNECTION_ABORTED)
}

impl Operation for Connect {
    const CALLS: Calls = Calls::socket(Call::ConnectEx);
    const KIND: OperationKind = OperationKind::Connect;
    const SEES_SUCCESS: bool = true;
    type On = Stream;
    type Memory = ();
    type Arguments = SocketAddr;
    type Output = ();
    type Given = ();

    fn prepare(&mut self, on: &Object<'_>) -> Result<()> {
        prepare(on, self.peer)
    }

    fn split(self) -> (SocketAddr, ()) {
        (self.peer, ())
    }

    fn start(peer: SocketAddr, (): (), starter: Starter<'_, Self>) -> Called<'_> {
        starter.call_with(|socket, overlapped, _| sys::connect(socket, peer, None, overlapped))
    }

    fn succeeded((): &mut (), socket: RawHandle) -> Result<(), u32> {
        succeeded(socket)
    }

    fn finish((): (), _: Outcome) -> Option<()> {
        Some(())
    }

    fn give_back((): ()) {}
}

impl<B: IoBuf + Send> Operation for Connect<Sends<B>> {
    const CALLS: Calls = Calls::socket(Call::ConnectEx);
    const KIND: OperationKind = OperationKind::Connect;
    const SEES_SUCCESS: bool = true;
    type On = Stream;
    type Memory = Sends<B>;
    type Arguments = SocketAddr;
    type Output = B;
    type Given = B;

    fn prepare(&mut self, on: &Object<'_>) -> Result<()> {
        prepare(on, self.peer)
    }

    fn split(self) -> (SocketAddr, Sends<B>) {
        (self.peer, self.data)
    }

    fn start(peer: SocketAddr, data: Region, starter: Starter<'_, Self>) -> Called<'_> {
        starter
            .call_with(|socket, overlapped, _| sys::connect(socket, peer, Some(data), overlapped))
    }

    fn succeeded(_: &mut Sends<B>, socket: RawHandle) -> Result<(), u32> {
        succeeded(socket)
    }

    fn finish(Sends(data): Sends<B>, _: Outcome) -> Option<B> {
        Some(data)
    }

    fn give_back(Sends(data): Sends<B>) -> B {
        data
    }
}
