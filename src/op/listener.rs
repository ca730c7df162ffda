//! Listening sockets: `AcceptEx`.

use std::net::TcpStream;
use std::os::windows::io::{AsRawSocket, OwnedSocket, RawSocket};

use super::on::Listener;
use super::{Fills, Finish, HandleGuard, Keeps, RegionMut, Starter, Submitted};
use crate::error::{Error, Facts, FactsOn, STATUS_CONNECTION_ABORTED};
use crate::operation::{Object, Operation};
use crate::sys::{self, Handle};

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
    /// The connection to be, the listener that it inherits from, and where its
    /// addresses go.
    type Memory =
        (Keeps<Option<OwnedSocket>>, (Keeps<HandleGuard>, Fills<[u8; 2 * sys::ADDRESS_SPACE]>));
    type Arguments = RawSocket;
    type Output = TcpStream;

    fn split(self, on: &Object<'_>) -> Result<(RawSocket, Self::Memory), (Error, Self::Memory)> {
        let addresses = Fills([0; 2 * sys::ADDRESS_SPACE]);
        let memory = |socket| (Keeps(socket), (Keeps(on.guard()), addresses));
        match on.check_listener().and_then(sys::new_socket) {
            Ok(socket) => Ok((socket.as_raw_socket(), memory(Some(socket)))),
            Err(error) => Err((error, memory(None))),
        }
    }

    fn start(
        accepted: RawSocket,
        ((), ((), addresses)): ((), ((), RegionMut)),
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        match sys::AcceptEx::of(starter.handle()) {
            Ok(accept_ex) => starter.call_with(|listener, overlapped, _| {
                sys::accept(accept_ex, listener, Handle(accepted as usize), &addresses, overlapped)
            }),
            Err(cause) => starter.refuse(cause),
        }
    }

    const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> =
        Some(|(Keeps(accepted), (Keeps(listener), _))| {
            let accepted = accepted.as_ref().map_or(Handle::NONE, sys::handle_of);
            let inherit = |listener| sys::update_accept_context(accepted, listener);
            match listener.socket().while_open(inherit) {
                Ok(Err(_)) => Err(STATUS_CONNECTION_ABORTED),
                // A listener that is gone has nothing to pass on. The connection is
                // there all the same.
                Ok(Ok(())) | Err(_) => Ok(()),
            }
        });

    const FINISH: Finish<Self> = Finish::with(|(Keeps(socket), _): Self::Memory, outcome| {
        socket.filter(|_| outcome.is_ok()).map(TcpStream::from)
    });
}
