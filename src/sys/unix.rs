//! Sockets of the family `AF_UNIX`.

use std::os::windows::io::OwnedSocket;
use std::path::Path;

use windows_sys::Win32::Networking::WinSock as ws;

use super::{Handle, handle_of, last_winsock_error, new_socket};
use crate::error::{Error, ErrorKind, Facts, Result, refusal};

/// The bytes that `AcceptEx` needs for an address of this family.
pub(crate) const UNIX_ADDRESS_SPACE: usize = size_of::<ws::SOCKADDR_UN>() + 16;

/// As many connections as the system lets wait: "If set to SOMAXCONN, the underlying service
/// provider will set the backlog to a maximum reasonable value"
/// (<https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-listen>).
const BACKLOG: i32 = i32::MAX;

/// A path as an address.
pub(crate) struct UnixAddress(ws::SOCKADDR_UN);

impl UnixAddress {
    /// The path's text, as the system takes it: in UTF-8, with a zero behind it.
    pub fn new(path: &Path) -> Result<Self> {
        let mut address = ws::SOCKADDR_UN { sun_family: ws::AF_UNIX, ..ws::SOCKADDR_UN::default() };
        let text = path.to_str().unwrap_or("").as_bytes();
        if text.is_empty() || text.contains(&0) || text.len() >= address.sun_path.len() {
            return Err(Error::usage(&refusal::NO_UNIX_PATH));
        }
        for (place, byte) in address.sun_path.iter_mut().zip(text) {
            *place = *byte as i8;
        }
        Ok(Self(address))
    }

    fn parts(&self) -> (*const ws::SOCKADDR, i32) {
        ((&raw const self.0).cast(), size_of::<ws::SOCKADDR_UN>() as i32)
    }
}

/// A stream socket that is not connected yet.
pub(crate) fn new_unix_socket() -> Result<OwnedSocket> {
    new_socket(ws::AF_UNIX).map_err(|error| match error.kind() {
        // "WSAEAFNOSUPPORT: the specified address family is not supported."
        ErrorKind::Unsupported => Error::usage(&refusal::NO_UNIX),
        _ => error,
    })
}

/// Binds a socket, and lets it listen.
pub(crate) fn listen_at(socket: &OwnedSocket, address: &UnixAddress) -> Result<()> {
    let (Handle(socket), (name, length)) = (handle_of(socket), address.parts());
    // SAFETY: The address is read for its length before the call returns.
    check(unsafe { ws::bind(socket, name, length) }, Facts::Bind)?;
    // SAFETY: Writes no memory of this process.
    check(unsafe { ws::listen(socket, BACKLOG) }, Facts::Listen)
}

/// Connects a socket, which is over when it returns.
///
/// Not by `ConnectEx`, which writes past the end of its own memory if the address is of this
/// family (<https://github.com/libuv/libuv/pull/4636>).
pub(crate) fn connect_to(socket: &OwnedSocket, address: &UnixAddress) -> Result<()> {
    let (Handle(socket), (name, length)) = (handle_of(socket), address.parts());
    // SAFETY: The address is read for its length before the call returns.
    check(unsafe { ws::connect(socket, name, length) }, Facts::Connect)
}

fn check(result: i32, facts: &'static Facts) -> Result<()> {
    if result == 0 { Ok(()) } else { Err(Error::os(facts, last_winsock_error())) }
}
