//! What can be associated with a port.
#![allow(private_interfaces, reason = "the sealed trait is for this crate alone")]

use std::fs::File;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::{AsRawHandle, AsRawSocket, OwnedHandle, OwnedSocket};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::sys::Handle;

/// What owns a socket or a handle, so that it stays open while it is
/// associated with a port.
///
/// Implemented for the types that [`Iocp::add_handle`](crate::Iocp::add_handle)
/// lists. Types of other crates convert into
/// [`OwnedSocket`](std::os::windows::io::OwnedSocket) or
/// [`OwnedHandle`](std::os::windows::io::OwnedHandle).
pub trait Adoptable: sealed::Adoptable {}

impl<T: sealed::Adoptable> Adoptable for T {}

/// An [`Adoptable`] that is a socket.
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
    )*};
}

sockets!(TcpStream, TcpListener, UdpSocket, OwnedSocket);
handles!(File, OwnedHandle, ChildStdin, ChildStdout, ChildStderr);
