//! Datagram sockets: `WSARecvFrom` and `WSASendTo`.

use std::net::SocketAddr;

use super::on::Datagrams;
use super::transfer::{check_message, parts};
use super::{Address, AddressRegion, Fills, Finish, Region, RegionMut, Sends, Starter, Submitted};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Error, Facts, FactsOn, UsageError, refusal};
use crate::operation::{Object, Operation};
use crate::sys;

/// Receives a datagram and the address of its sender: `WSARecvFrom`.
///
/// Returns a [`Datagram`]. One that is longer than the buffer arrives cut, with
/// [`MessageTruncated`](crate::ErrorKind::MessageTruncated).
/// [`Iocp::initiate`](crate::Iocp::initiate) has an example.
///
/// # Errors
///
/// The operation is refused with [`Unsupported`](crate::ErrorKind::Unsupported) on what
/// is no datagram socket, and with [`InvalidInput`](crate::ErrorKind::InvalidInput) if
/// the buffer is a `Vec` without spare capacity.
#[derive(Clone, Debug)]
#[must_use]
pub struct ReceiveFrom<B> {
    buffer: B,
}

/// The output of [`ReceiveFrom`]: a datagram, or the buffer as it was if none was
/// received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Datagram<B> {
    /// The buffer, with the datagram.
    pub buffer: B,
    /// The address of the sender; `None` if none was received.
    pub from: Option<SocketAddr>,
}

impl<B: IoBufMut> ReceiveFrom<B> {
    /// Receives into `buffer`.
    pub fn new(buffer: B) -> Self {
        Self { buffer }
    }
}

impl<B: IoBufMut + Send> Operation for ReceiveFrom<B> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::WSARecvFrom);
    type On = Datagrams;
    type Memory = (Fills<B>, Address);
    type Arguments = ();
    type Output = Datagram<B>;

    fn split(self, on: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        parts((), (Fills(self.buffer), Address::default()), check_datagrams(on))
    }

    fn start(
        (): (),
        (region, from): (RegionMut, AddressRegion),
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        starter
            .call_with(|socket, overlapped, _| sys::receive_from(socket, &region, from, overlapped))
    }

    const FINISH: Finish<Self> = Finish::with(|(Fills(buffer), from): Self::Memory, outcome| {
        Some(Datagram { buffer, from: if outcome.is_ok() { from.get() } else { None } })
    });
}

/// Sends a datagram: `WSASendTo`.
///
/// Returns the buffer.
///
/// # Errors
///
/// The operation is refused with [`Unsupported`](crate::ErrorKind::Unsupported) on what
/// is no datagram socket, and with
/// [`MessageTruncated`](crate::ErrorKind::MessageTruncated) if the datagram is longer
/// than the socket can send.
///
/// ```
/// # use completion_port::{Iocp, op};
/// use std::net::UdpSocket;
///
/// let port = Iocp::new()?;
/// let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0")?, 1)?;
/// let receiver = UdpSocket::bind("127.0.0.1:0")?;
/// port.initiate(&socket, 2, op::SendTo::new("hello", receiver.local_addr()?))?;
/// port.get_completion()?.error_status?;
/// let mut buffer = [0; 64];
/// let (length, _) = receiver.recv_from(&mut buffer)?;
/// assert_eq!(&buffer[..length], b"hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SendTo<B> {
    buffer: B,
    to: SocketAddr,
}

impl<B: IoBuf> SendTo<B> {
    /// Sends the bytes of `buffer` to an address.
    pub fn new(buffer: B, to: SocketAddr) -> Self {
        Self { buffer, to }
    }
}

impl<B: IoBuf + Send> Operation for SendTo<B> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::WSASendTo);
    const FINISH: Finish<Self> = Finish::memory();
    type On = Datagrams;
    type Memory = Sends<B>;
    type Arguments = SocketAddr;
    type Output = B;

    fn split(self, on: &Object<'_>) -> Result<(SocketAddr, Sends<B>), (Error, Sends<B>)> {
        parts(self.to, Sends(self.buffer), check_datagrams(on))
    }

    fn start(to: SocketAddr, region: Region, starter: Starter<'_, Self>) -> Submitted<'_> {
        match check_message(&starter, region.length()) {
            Ok(()) => starter
                .call_with(|socket, overlapped, _| sys::send_to(socket, &region, to, overlapped)),
            Err(cause) => starter.refuse(cause),
        }
    }
}

pub(super) fn check_datagrams(on: &Object<'_>) -> Result<(), &'static UsageError> {
    if on.is_datagram_socket() { Ok(()) } else { Err(&refusal::NOT_DATAGRAMS) }
}
