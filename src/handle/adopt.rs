//! What can be associated with a port.
#![allow(private_interfaces, reason = "the sealed trait is for this crate alone")]

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::{AsRawHandle, AsRawSocket, OwnedHandle, OwnedSocket};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::sys::Handle;

/// A type that owns a socket or a handle, which stays open while it is associated with a
/// port.
///
/// It is sealed. Types of other crates convert into
/// [`OwnedSocket`](std::os::windows::io::OwnedSocket) or
/// [`OwnedHandle`](std::os::windows::io::OwnedHandle). A reference owns nothing:
///
/// ```compile_fail,E0277
/// # fn add(port: &completion_port::Iocp, stream: std::net::TcpStream) {
/// port.add_handle(&stream, 123);
/// # }
/// ```
#[diagnostic::on_unimplemented(
    message = "a port cannot own a `{Self}`",
    label = "this has to own an overlapped socket or handle",
    note = "move in a `TcpStream`, `TcpListener`, `UdpSocket`, `File`, `OwnedSocket` or `OwnedHandle`, \
            not a reference to it",
    note = "types of other crates convert into `OwnedSocket` or `OwnedHandle`",
    note = "bare `RawHandle` and `RawSocket` values are for `unsafe` `add_raw_handle`"
)]
pub trait Adoptable: sealed::Adoptable {}

/// An [`Adoptable`] type that is a socket.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a type of sockets",
    note = "files and pipes are not borrowed from their `Associated`, because the standard \
            library's reads and writes do not work on them meanwhile: `into_inner` gives them back"
)]
pub trait Socket: Adoptable {}

mod sealed {
    use super::Handle;

    pub trait Adoptable {
        /// The handle, which dropping the value closes; the same each time.
        fn handle(&self) -> Handle;
    }
}

macro_rules! sockets {
    ($($type:ty),*) => {$(
        impl sealed::Adoptable for $type {
            fn handle(&self) -> Handle {
                Handle(self.as_raw_socket() as usize)
            }
        }

        impl Adoptable for $type {}
        impl Socket for $type {}
    )*};
}

macro_rules! handles {
    ($($type:ty),*) => {$(
        impl sealed::Adoptable for $type {
            fn handle(&self) -> Handle {
                Handle(self.as_raw_handle().addr())
            }
        }

        impl Adoptable for $type {}
    )*};
}

sockets!(TcpStream, TcpListener, UdpSocket, OwnedSocket);
#[cfg(feature = "socket2")]
sockets!(socket2::Socket);
handles!(File, OwnedHandle, ChildStdin, ChildStdout, ChildStderr);
