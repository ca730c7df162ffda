//! Datagram sockets, with control data: `WSARecvMsg` and `WSASendMsg`.

use std::net::{IpAddr, SocketAddr};

use windows_sys::Win32::Networking::WinSock as ws;

use super::datagram::check_datagrams;
use super::on::Datagrams;
use super::transfer::{check_message, parts};
use super::{Control, Ecn, MessageHeader, MessageRegion, PacketInfo};
use super::{Fills, Finish, Outcome, Region, RegionMut, Sends, Starter, Submitted};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Error, STATUS_BUFFER_OVERFLOW};
use crate::error::{Facts, FactsOn};
use crate::operation::{Object, Operation};
use crate::sys::{self, Provider, SENT};

/// Receives a datagram, its sender and its control data: `WSARecvMsg`.
///
/// Returns a [`Message`]. Options of the socket say what the system puts into the control
/// data; [`Control`] lists them.
///
/// A datagram that is longer than the buffer is a success: the buffer has its first part,
/// and [`Message::is_truncated`] says so.
///
/// # Errors
///
/// The operation is refused with [`Unsupported`](crate::ErrorKind::Unsupported) on what
/// is no datagram socket, and with [`InvalidInput`](crate::ErrorKind::InvalidInput) if
/// the buffer is a `Vec` without spare capacity.
///
/// ```
/// use completion_port::{Iocp, op};
/// use std::net::UdpSocket;
///
/// # let port = Iocp::new()?;
/// let socket = port.add_handle(UdpSocket::bind("0.0.0.0:0")?, 1)?;
/// socket.receive_packet_info(true)?;
/// port.initiate(&socket, 2, op::ReceiveMessage::new(Vec::with_capacity(1500)))?;
/// # let client = UdpSocket::bind("127.0.0.1:0")?;
/// # client.send_to(b"hello", ("127.0.0.1", socket.get_ref().local_addr()?.port()))?;
/// let mut completion = port.get_completion()?;
/// completion.error_status?;
/// let message: op::Message<Vec<u8>> = completion.operation.output()?;
/// let arrived_at = message.control.packet_info().map(|info| info.address);
/// println!("{:?} sent {} bytes to {arrived_at:?}", message.from, message.buffer.len());
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ReceiveMessage<B, const N: usize = 160> {
    buffer: B,
}

/// The output of [`ReceiveMessage`]: a datagram with its control data, or the buffer as it
/// was if none was received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message<B, const N: usize = 160> {
    /// The buffer, with the datagram.
    pub buffer: B,
    /// The address of the sender; `None` if none was received.
    pub from: Option<SocketAddr>,
    /// What else the system says of the datagram.
    pub control: Control<N>,
    flags: u32,
}

impl<B, const N: usize> Message<B, N> {
    /// Returns `true` if the datagram was longer than the buffer, and the rest of it is lost
    /// (`MSG_TRUNC`).
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.flags & ws::MSG_TRUNC != 0
    }

    /// Returns `true` if there was more control data than
    /// [room](ReceiveMessage::control_room) for it (`MSG_CTRUNC`). The datagram may be
    /// complete.
    #[must_use]
    pub fn is_control_truncated(&self) -> bool {
        self.flags & ws::MSG_CTRUNC != 0
    }
}

impl<B: IoBufMut> ReceiveMessage<B> {
    /// Receives into `buffer`, with room for 160 bytes of control data, which is enough for
    /// all that this crate knows of.
    pub fn new(buffer: B) -> Self {
        Self { buffer }
    }

    /// Makes room for `N` bytes of control data.
    pub fn control_room<const N: usize>(self) -> ReceiveMessage<B, N> {
        ReceiveMessage { buffer: self.buffer }
    }
}

impl<B: IoBufMut + Send, const N: usize> Operation for ReceiveMessage<B, N> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::WSARecvMsg);
    type On = Datagrams;
    type Memory = (Fills<B>, MessageHeader<N>);
    type Arguments = Provider;
    type Output = Message<B, N>;

    fn split(self, on: &Object<'_>) -> Result<(Provider, Self::Memory), (Error, Self::Memory)> {
        parts(on.provider(), (Fills(self.buffer), MessageHeader::empty()), check_datagrams(on))
    }

    fn start(
        provider: Provider,
        (region, header): (RegionMut, MessageRegion),
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        match sys::RecvMsg::of(starter.handle(), provider) {
            Ok(recv_msg) => starter.call_with(|socket, overlapped, _| {
                sys::receive_message(recv_msg, socket, &region, header, overlapped)
            }),
            Err(cause) => starter.refuse(cause),
        }
    }

    const FINISH: Finish<Self> = Finish::with(|(Fills(buffer), header), outcome| {
        let header = if outcome.is_ok() { header } else { MessageHeader::empty() };
        let (from, control, flags) = header.received();
        let flags = flags | cut(outcome, flags);
        Some(Message { buffer, from, control, flags })
    });
}

/// The status alone says that something was cut. "`MSG_TRUNC`: The datagram was
/// truncated", "`MSG_CTRUNC`: The control (ancillary) data was truncated"
/// (<https://learn.microsoft.com/windows/win32/api/ws2def/ns-ws2def-wsamsg>), but Wine
/// sets neither.
fn cut(outcome: Outcome, flags: u32) -> u32 {
    let is_told = flags & (ws::MSG_TRUNC | ws::MSG_CTRUNC) != 0;
    if outcome.status() == STATUS_BUFFER_OVERFLOW && !is_told { ws::MSG_TRUNC } else { 0 }
}

/// Sends a datagram with control data: `WSASendMsg`.
///
/// Returns the buffer.
///
/// # Errors
///
/// The operation is refused with [`Unsupported`](crate::ErrorKind::Unsupported) on what
/// is no datagram socket, and with
/// [`MessageTruncated`](crate::ErrorKind::MessageTruncated) if the datagram is longer
/// than the socket can send. What the system knows none of, it refuses or ignores.
///
/// ```
/// use completion_port::{Iocp, op};
/// use std::net::UdpSocket;
///
/// # let port = Iocp::new()?;
/// let socket = port.add_handle(UdpSocket::bind("127.0.0.1:0")?, 1)?;
/// let receiver = UdpSocket::bind("127.0.0.1:0")?;
/// let message = op::SendMessage::new("hello", receiver.local_addr()?);
/// port.initiate(&socket, 2, message.ecn(op::Ecn::Capable0))?;
/// # let result = port.get_completion()?.error_status;
/// # if result.is_ok() {
/// let mut buffer = [0; 64];
/// let (length, _) = receiver.recv_from(&mut buffer)?;
/// assert_eq!(&buffer[..length], b"hello");
/// # }
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SendMessage<B> {
    buffer: B,
    to: SocketAddr,
    options: sys::Options,
}

impl<B: IoBuf> SendMessage<B> {
    /// Sends the bytes of `buffer` to an address.
    pub fn new(buffer: B, to: SocketAddr) -> Self {
        Self { buffer, to, options: sys::Options::default() }
    }

    /// Sends from `address`, which this machine has and which is of the destination's family,
    /// instead of an address of the system's choice. `interface` is the index of a network
    /// interface, or 0.
    pub fn from(self, address: IpAddr, interface: u32) -> Self {
        let source = Some(PacketInfo { address, interface });
        Self { options: sys::Options { source, ..self.options }, ..self }
    }

    /// Marks the datagram for explicit congestion notification.
    pub fn ecn(self, ecn: Ecn) -> Self {
        Self { options: sys::Options { ecn: Some(ecn), ..self.options }, ..self }
    }

    /// Sends the bytes as several datagrams of `bytes` bytes each; the last may be shorter.
    pub fn segment_size(self, bytes: u32) -> Self {
        let segment_size = Some(bytes);
        Self { options: sys::Options { segment_size, ..self.options }, ..self }
    }
}

impl<B: IoBuf + Send> Operation for SendMessage<B> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::WSASendMsg);
    const FINISH: Finish<Self> = Finish::with(|(Sends(buffer), _): Self::Memory, _| Some(buffer));
    type On = Datagrams;
    type Memory = (Sends<B>, MessageHeader<SENT>);
    type Arguments = ();
    type Output = B;

    fn split(self, on: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        let header = MessageHeader::to(self.to, self.options);
        parts((), (Sends(self.buffer), header), check_datagrams(on))
    }

    fn start(
        (): (),
        (region, header): (Region, MessageRegion),
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        match check_message(&starter, region.length()) {
            Ok(()) => starter.call_with(|socket, overlapped, _| {
                sys::send_message(socket, &region, header, overlapped)
            }),
            Err(cause) => starter.refuse(cause),
        }
    }
}
