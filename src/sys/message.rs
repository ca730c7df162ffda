//! Datagrams with control data: `WSARecvMsg` and `WSASendMsg`.

use std::net::SocketAddr;
use std::{fmt, mem, ptr};

use windows_sys::Win32::Networking::WinSock as ws;

use super::control::{Control, Options, SENT};
use super::extension::{Extension, Provider};
use super::socket::{address_of, answer, sockaddr};
use super::{Answer, Handle, InPlace, LentOverlapped, Region, RegionMut};
use crate::error::Cause;

/// Address and control data of a datagram, in the memory of an operation.
pub struct MessageHeader<const N: usize> {
    call: Call,
    control: Control<N>,
    receives: bool,
}

/// What the call gets.
struct Call {
    message: ws::WSAMSG,
    buffer: ws::WSABUF,
    address: ws::SOCKADDR_IN6,
}

/// A `WSAMSG`, and room for the `WSABUF` that it points to, which the kernel may read and
/// write for as long as the operation is in flight.
#[derive(Debug)]
pub struct MessageRegion(*mut Call);

// SAFETY: Its pointers are for the kernel alone, and lead to memory that is lent.
unsafe impl<const N: usize> Send for MessageHeader<N> {}

impl MessageHeader<SENT> {
    /// Where a datagram is to go, and with what.
    pub(crate) fn to(address: SocketAddr, options: Options) -> Self {
        let (address, length) = sockaddr(address);
        let is_ipv4 = address_of(&address).is_some_and(|to| to.ip().to_canonical().is_ipv4());
        Self::new(address, length, options.control(is_ipv4), false)
    }
}

impl<const N: usize> MessageHeader<N> {
    /// Room for what is known of a datagram.
    pub(crate) fn empty() -> Self {
        let length = size_of::<ws::SOCKADDR_IN6>() as i32;
        Self::new(ws::SOCKADDR_IN6::default(), length, Control::new(), true)
    }

    fn new(address: ws::SOCKADDR_IN6, length: i32, control: Control<N>, receives: bool) -> Self {
        let message = ws::WSAMSG { namelen: length, dwBufferCount: 1, ..Default::default() };
        let buffer = ws::WSABUF { len: 0, buf: ptr::null_mut() };
        Self { call: Call { message, buffer, address }, control, receives }
    }

    /// Returns the address, if there is one.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        address_of(&self.call.address)
    }

    /// Returns the control data.
    #[must_use]
    pub fn control(&self) -> &Control<N> {
        &self.control
    }

    pub(crate) fn region(&mut self, _: &InPlace) -> MessageRegion {
        let (buf, len) = if self.receives { self.control.room() } else { self.control.used() };
        let call = &raw mut self.call;
        // SAFETY: Within the value, which is there.
        unsafe {
            (*call).message.Control = ws::WSABUF { len, buf };
            (*call).message.name = (&raw mut (*call).address).cast();
            (*call).message.lpBuffers = &raw mut (*call).buffer;
        }
        MessageRegion(call)
    }

    /// What was received, and its flags.
    pub(crate) fn received(mut self) -> (Option<SocketAddr>, Control<N>, u32) {
        self.control.set_length(self.call.message.Control.len);
        (self.address(), self.control, self.call.message.dwFlags)
    }
}

impl<const N: usize> fmt::Debug for MessageHeader<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MessageHeader")
            .field("address", &self.address())
            .field("control", &self.control)
            .finish_non_exhaustive()
    }
}

impl MessageRegion {
    /// The `WSAMSG`, with this buffer.
    fn with(self, len: u32, buf: *mut u8) -> *mut ws::WSAMSG {
        let Self(call) = self;
        // SAFETY: It is where it was lent, and not the kernel's yet.
        unsafe {
            (*call).buffer = ws::WSABUF { len, buf };
            &raw mut (*call).message
        }
    }
}

type RecvMsgFunction = unsafe extern "system" fn(
    ws::SOCKET,
    *mut ws::WSAMSG,
    *mut u32,
    *mut windows_sys::Win32::System::IO::OVERLAPPED,
    ws::LPWSAOVERLAPPED_COMPLETION_ROUTINE,
) -> i32;

/// The provider's `WSARecvMsg`.
#[derive(Clone, Copy)]
pub(crate) struct RecvMsg(RecvMsgFunction);

impl RecvMsg {
    pub fn of(socket: Handle, provider: Provider) -> Result<Self, Cause> {
        static EXTENSION: Extension = Extension::new(ws::WSAID_WSARECVMSG);
        let function = EXTENSION.of(socket, provider)?;
        // SAFETY: The provider gave this address for WSARecvMsg.
        Ok(Self(unsafe { mem::transmute::<*const (), RecvMsgFunction>(function) }))
    }
}

/// Starts a receive that also tells who has sent, and all else that is known.
pub(crate) fn receive_message(
    RecvMsg(recv_msg): RecvMsg,
    socket: Handle,
    region: &RegionMut,
    header: MessageRegion,
    overlapped: LentOverlapped,
) -> Answer {
    let message = header.with(region.length(), region.start());
    // SAFETY: Message, buffer and OVERLAPPED are lent for the operation's whole life.
    let result =
        unsafe { recv_msg(socket.0, message, ptr::null_mut(), overlapped.into_raw(), None) };
    answer(result == 0, 0)
}

/// Starts to send a datagram with control data.
pub(crate) fn send_message(
    socket: Handle,
    region: &Region,
    header: MessageRegion,
    overlapped: LentOverlapped,
) -> Answer {
    let message = header.with(region.length(), region.start().cast_mut());
    // SAFETY: Buffer, header and OVERLAPPED are lent for the operation's whole life.
    let result = unsafe {
        ws::WSASendMsg(socket.0, message, 0, ptr::null_mut(), overlapped.into_raw(), None)
    };
    answer(result == 0, 0)
}
