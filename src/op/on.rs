//! What operations can be started on, as far as the types of handles tell.
//!
//! A type that could be anything ([`OwnedSocket`], [`OwnedHandle`], [`RawOverlapped`], the
//! `Socket` of the crate `socket2`) supports all that it could be; the rest is looked at when the
//! operation is started.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::{OwnedHandle, OwnedSocket};
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use crate::handle::{Adoptable, RawOverlapped};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident: $($handle:ty),*;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            pub enum $name {}
            $(impl Supports<$name> for $handle {})*
        )*
    };
}

/// A type of handle that operations for `On` can be started on.
///
/// Implement it for no type: handles are those that
/// [`add_handle`](crate::Iocp::add_handle) takes.
#[diagnostic::on_unimplemented(
    message = "a `{Self}` has no operation for `{On}`",
    label = "this operation is for `{On}`",
    note = "the page of `completion_port::op` says which operation is for which object",
    note = "an `OwnedSocket` or `OwnedHandle` has all operations of sockets or of other handles, and is \
            looked at when one is started"
)]
pub trait Supports<On> {}

impl<H: Adoptable> Supports<Anything> for H {}
impl Supports<Anything> for RawOverlapped {}

/// Anything that is associated with a port.
#[derive(Debug)]
pub enum Anything {}

kinds! {
    /// A connected socket, or one to be connected.
    Stream: TcpStream, OwnedSocket, RawOverlapped;
    /// A socket that listens.
    Listener: TcpListener, OwnedSocket, RawOverlapped;
    /// A socket of datagrams.
    Datagrams: UdpSocket, OwnedSocket, RawOverlapped;
    /// Any socket.
    Socket: TcpStream, TcpListener, UdpSocket, OwnedSocket, RawOverlapped;
    /// A file, which has offsets.
    File: self::std_file::File, OwnedHandle, RawOverlapped;
    /// A directory.
    Directory: self::std_file::File, OwnedHandle, RawOverlapped;
    /// A named pipe: `File` and `OwnedHandle` are what std has for them.
    Pipe: self::std_file::File, OwnedHandle, ChildStdin, ChildStdout, ChildStderr, RawOverlapped;
    /// A handle that is no socket.
    Handle: self::std_file::File, OwnedHandle, ChildStdin, ChildStdout, ChildStderr, RawOverlapped;
}

#[cfg(feature = "socket2")]
mod socket2 {
    use socket2::Socket as AnySocket;

    use super::{Datagrams, Listener, Socket, Stream, Supports};

    impl Supports<Stream> for AnySocket {}
    impl Supports<Listener> for AnySocket {}
    impl Supports<Datagrams> for AnySocket {}
    impl Supports<Socket> for AnySocket {}
}

mod std_file {
    pub use std::fs::File;
}
