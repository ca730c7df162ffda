//! Stream sockets: whether there is something to receive.

use super::on::Stream;
use super::stream::check_stream;
use super::transfer::parts;
use super::{Finish, Starter, Submitted};
use crate::error::Error;
use crate::error::{Facts, FactsOn};
use crate::operation::{Object, Operation};
use crate::sys::{self};

/// Waits until a stream has something to receive, and receives nothing: a `WSARecv` of no
/// bytes.
///
/// Returns nothing. While it waits it needs no buffer, which is good for many idle
/// connections. It also completes when the stream has ended, and may fail when it was reset:
/// the read that follows says so.
///
/// # Errors
///
/// The operation is refused with [`Unsupported`](crate::ErrorKind::Unsupported) on sockets
/// of datagrams, which lose one when nothing of it is received.
///
/// ```
/// use completion_port::{Iocp, op};
/// # use std::{io::Write, net::{TcpListener, TcpStream}};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut client = TcpStream::connect(listener.local_addr()?)?;
/// # let (stream, _) = listener.accept()?;
/// let port = Iocp::new()?;
/// let stream = port.add_handle(stream, 1)?;
/// port.initiate(&stream, 2, op::Readable::new())?;
/// # client.write_all(b"hello")?;
/// port.get_completion()?.error_status?;
/// port.initiate_read(&stream, 3, Vec::with_capacity(1024))?; // has its data at once
/// # assert_eq!(port.get_completion()?.bytes_transferred, 5);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Readable(());

impl Readable {
    /// Waits for anything that can be received.
    pub fn new() -> Self {
        Self(())
    }
}

impl Operation for Readable {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::WSARecvOfNothing);
    const FINISH: Finish<Self> = Finish::memory();
    type On = Stream;
    type Memory = ();
    type Arguments = ();
    type Output = ();

    fn split(self, on: &Object<'_>) -> Result<((), ()), (Error, ())> {
        parts((), (), check_stream(on))
    }

    fn start((): (), (): (), starter: Starter<'_, Self>) -> Submitted<'_> {
        starter.call_with(sys::receive_nothing)
    }
}
