//! Stream sockets: `DisconnectEx`.

use windows_sys::Win32::Foundation::ERROR_IO_PENDING;

use super::on::Stream;
use super::stream::check_stream;
use super::transfer::parts;
use super::{Finish, HandleGuard, Keeps, Starter, Submitted};
use crate::error::{Error, UsageError, refusal};
use crate::error::{Facts, FactsOn};
use crate::operation::{Object, Operation};
use crate::sys::{self, Answer, Handle, Provider};

/// Ends a connection in both directions: `DisconnectEx`.
///
/// It sends what was written, and then the end of the stream. Nothing else may be in flight
/// on the socket. It returns nothing, and the socket can only be closed; or, [for
/// reuse](Self::for_reuse), a [`Reusable`].
///
/// # Errors
///
/// The operation is refused with [`NotConnected`](crate::ErrorKind::NotConnected) on what
/// is not connected, and with [`Unsupported`](crate::ErrorKind::Unsupported) on handles
/// that [skip the port](crate::Associated::skip_on_success).
///
/// ```
/// use completion_port::{Iocp, op};
/// # use std::net::{TcpListener, TcpStream};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let client = TcpStream::connect(listener.local_addr()?)?;
/// # let (server, _) = listener.accept()?;
/// let port = Iocp::new()?;
/// let client = port.add_handle(client, 1)?;
/// port.initiate(&client, 2, op::Disconnect::new())?;
/// port.get_completion()?.error_status?;
/// # assert_eq!(std::io::Read::read(&mut &server, &mut [0; 8])?, 0);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Disconnect<R = ()>(R);

/// The kind of [`Disconnect`] that [`Disconnect::for_reuse`] returns.
#[derive(Clone, Debug)]
pub struct ForReuse(());

/// A socket that was disconnected for reuse: by an [`Accept`](super::Accept::reusing) or a
/// [`Connect`](super::Connect::reusing) that it is passed to.
///
/// No other call can use the socket before that. Without this, it can only be closed. If the
/// operation cannot be started, this comes back, and the socket can still be reused.
#[derive(Debug)]
pub struct Reusable(HandleGuard);

impl Disconnect {
    /// Disconnects the socket, which can then only be closed.
    pub fn new() -> Self {
        Self(())
    }

    /// Disconnects the socket so that it can be used again (`TF_REUSE_SOCKET`). It waits
    /// until the peer has ended the connection, too.
    pub fn for_reuse(self) -> Disconnect<ForReuse> {
        Disconnect(ForReuse(()))
    }
}

impl Reusable {
    /// Refuses any other socket than this.
    pub(super) fn check(&self, socket: Handle) -> Result<Reuse, &'static UsageError> {
        if self.0.socket().while_open(|handle| handle == socket) == Ok(true) {
            Ok(Reuse(self.0.clone()))
        } else {
            Err(&refusal::REUSES_ANOTHER)
        }
    }
}

/// The use that is to be made of a [`Reusable`] socket.
#[derive(Debug)]
pub struct Reuse(HandleGuard);

impl Reuse {
    /// Makes the call that uses the socket, if it is to be reused. If the call fails, it still
    /// is.
    pub(super) fn by(reuse: Option<Self>, call: impl FnOnce() -> Answer) -> Answer {
        let Some(Self(socket)) = reuse else { return call() };
        // Before the call: once that returns, another thread may have dequeued the packet, and
        // disconnected the socket again.
        socket.set_awaits_reuse(false);
        let answer = call();
        if matches!(answer, Answer::Code(code) if code != ERROR_IO_PENDING) {
            socket.set_awaits_reuse(true);
        }
        answer
    }
}

fn start<O>(provider: Provider, reuses: bool, starter: Starter<'_, O>) -> Submitted<'_> {
    match sys::DisconnectEx::of(starter.handle(), provider) {
        Ok(disconnect_ex) => starter.call_with(|socket, overlapped, _| {
            sys::disconnect(disconnect_ex, socket, reuses, overlapped)
        }),
        Err(cause) => starter.refuse(cause),
    }
}

impl Operation for Disconnect {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::DisconnectEx);
    const FINISH: Finish<Self> = Finish::with(|(), _| Some(()));
    type On = Stream;
    type Memory = ();
    type Arguments = Provider;
    type Output = ();

    fn split(self, on: &Object<'_>) -> Result<(Provider, ()), (Error, ())> {
        parts(on.provider(), (), check_stream(on))
    }

    fn start(provider: Provider, (): (), starter: Starter<'_, Self>) -> Submitted<'_> {
        start(provider, false, starter)
    }
}

impl Operation for Disconnect<ForReuse> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::DisconnectEx);
    const SUCCEEDED: Option<fn(&Self::Memory) -> Result<(), u32>> = Some(|Keeps(socket)| {
        socket.set_awaits_reuse(true);
        Ok(())
    });
    const FINISH: Finish<Self> = Finish::with(|Keeps(socket): Self::Memory, outcome| {
        outcome.is_ok().then_some(Reusable(socket))
    });
    type On = Stream;
    type Memory = Keeps<HandleGuard>;
    type Arguments = Provider;
    type Output = Reusable;

    fn split(self, on: &Object<'_>) -> Result<(Provider, Self::Memory), (Error, Self::Memory)> {
        parts(on.provider(), Keeps(on.guard()), check_stream(on))
    }

    fn start(provider: Provider, (): (), starter: Starter<'_, Self>) -> Submitted<'_> {
        start(provider, true, starter)
    }
}
