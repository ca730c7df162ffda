//! What only sockets of datagrams do.

use std::ptr;

use windows_sys::Win32::Networking::WinSock as ws;

use super::Handle;
use super::last_winsock_error;
use super::socket::{set_option, socket_traits};
use crate::error::Facts;
use crate::error::{Error, ErrorKind, Result};

/// Says whether receives are to fail because something sent has not arrived: "an ICMP
/// port unreachable message" (`SIO_UDP_CONNRESET`), or one that says that its time to
/// live has expired (`SIO_UDP_NETRESET`)
/// (<https://learn.microsoft.com/windows/win32/winsock/winsock-ioctls>).
pub(crate) fn report_unreachable(socket: Handle, reports: bool) -> Result<()> {
    switch(socket, ws::SIO_UDP_CONNRESET, reports)?;
    match switch(socket, ws::SIO_UDP_NETRESET, reports) {
        // A system that does not know it does not report that either.
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        answer => answer,
    }
}

fn switch(socket: Handle, code: u32, on: bool) -> Result<()> {
    let (value, mut returned) = (i32::from(on), 0);
    // SAFETY: The input is a local of the given size, and there is no output. A null
    // OVERLAPPED makes the call synchronous, and no packet comes of it.
    let result = unsafe {
        ws::WSAIoctl(
            socket.0,
            code,
            (&raw const value).cast(),
            size_of_val(&value) as u32,
            ptr::null_mut(),
            0,
            &raw mut returned,
            ptr::null_mut(),
            None,
        )
    };
    if result == 0 { Ok(()) } else { Err(Error::os(Facts::WSAIoctl, last_winsock_error())) }
}

/// Says whether each datagram is to tell where it arrived.
pub(crate) fn tell_packet_info(socket: Handle, tells: bool) -> Result<()> {
    tell(socket, (ws::IP_PKTINFO, ws::IPV6_PKTINFO), tells)
}

/// Says whether each datagram is to tell its explicit congestion notification.
pub(crate) fn tell_ecn(socket: Handle, tells: bool) -> Result<()> {
    tell(socket, (ws::IP_RECVECN, ws::IPV6_RECVECN), tells)
}

/// Sets a socket's options of IPv4 and of IPv6, as far as it has those.
fn tell(socket: Handle, (v4, v6): (i32, i32), tells: bool) -> Result<()> {
    let value = u32::from(tells).to_ne_bytes();
    if socket_traits(socket).is_some_and(|socket| socket.family == ws::AF_INET6) {
        set_option(socket, ws::IPPROTO_IPV6, v6, &value)?;
        // Only one that is dual stack has these.
        let _ = set_option(socket, ws::IPPROTO_IP, v4, &value);
        Ok(())
    } else {
        set_option(socket, ws::IPPROTO_IP, v4, &value)
    }
}

/// Lets several datagrams arrive as one of up to so many bytes; 0 is none.
pub(crate) fn coalesce(socket: Handle, bytes: u32) -> Result<()> {
    set_option(socket, ws::IPPROTO_UDP, ws::UDP_RECV_MAX_COALESCED_SIZE, &bytes.to_ne_bytes())
}
