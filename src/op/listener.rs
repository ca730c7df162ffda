//! Listening sockets: `AcceptEx`.

use std::net::TcpStream;
use std::os::windows::io::{AsRawSocket, OwnedSocket, RawSocket};

use super::on::Listener;
use super::{Fills, Finish, Keeps, RegionMut, StartedOn, Starter, Submitted};
use crate::error::{Error, STATUS_CONNECTION_ABORTED};
use crate::operation::{Object, Operation};
use crate::sys::{self, Handle};
use crate::sys::{Facts, FactsOn};

/// Accepts a connection: `AcceptEx`.
///
/// Returns the `TcpStream`, if it has succeeded.
/// [`Iocp::initiate_accept`](crate::Iocp::initiate_accept) says what there is to know
/// of accepts; it starts this operation.
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Accept(());

impl Accept {
    /// Accepts the connection that comes first.
    pub fn new() -> Self {
        Self(())
    }
}

impl Operation for Accept {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::AcceptEx);
    type On = Listener;
    /// The connection to be, and where its addresses go.
    type Memory = (Keeps<Option<OwnedSocket>>, Fills<[u8; 2 * sys::ADDRESS_SPACE]>);
    type Arguments = RawSocket;
    type Output = TcpStream;

    fn split(self, on: &Object<'_>) -> Result<(RawSocket, Self::Memory), (Error, Self::Memory)> {
        let memory = |socket| (Keeps(socket), Fills([0; 2 * sys::ADDRESS_SPACE]));
        match on.check_listener().and_then(sys::new_socket) {
            Ok(socket) => Ok((socket.as_raw_socket(), memory(Some(socket)))),
            Err(error) => Err((error, memory(None))),
        }
    }

    fn start(
        accepted: RawSocket,
        ((), addresses): ((), RegionMut),
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        match sys::AcceptEx::of(starter.handle()) {
            Ok(accept_ex) => starter.call_with(|listener, overlapped, _| {
                sys::accept(accept_ex, listener, Handle(accepted as usize), &addresses, overlapped)
            }),
            Err(cause) => starter.refuse(cause),
        }
    }

    const SUCCEEDED: Option<fn(&Self::Memory, StartedOn) -> Result<(), u32>> =
        Some(|(Keeps(accepted), _), listener| {
            let accepted = accepted.as_ref().map_or(Handle::NONE, sys::handle_of);
            // The listener was closed in between, and has taken what it had accepted
            // with it.
            sys::update_accept_context(accepted, listener.handle())
                .map_err(|_| STATUS_CONNECTION_ABORTED)
        });

    const FINISH: Finish<Self> = Finish::with(|(Keeps(socket), _): Self::Memory, outcome| {
        socket.filter(|_| outcome.is_ok()).map(TcpStream::from)
    });
}
