//! The two ends of each link, and starting operations on them.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::windows::io::{AsRawHandle, AsRawSocket, OwnedHandle, RawHandle, RawSocket};

use completion_port::{Associated, Inline, Iocp, Rejected, unconnected_stream};

use crate::operation::Ticket;
use crate::program::{Closing, Link, Object};
use crate::support::{self, TempFile};

pub type Port = Iocp<Ticket>;

pub enum End {
    Stream(Associated<TcpStream>),
    SkippingStream(Associated<TcpStream, Inline>),
    Pipe(Associated<OwnedHandle>),
    SkippingPipe(Associated<OwnedHandle, Inline>),
    File(Associated<File>),
    SkippingFile(Associated<File, Inline>),
    Datagrams(Associated<UdpSocket>),
    Listener(Associated<TcpListener>),
    SkippingListener(Associated<TcpListener, Inline>),
}

/// Runs an expression with the handle of an end.
macro_rules! on {
    ($end:expr, $handle:ident => $run:expr) => {
        match $end {
            End::Stream($handle) => $run,
            End::SkippingStream($handle) => $run,
            End::Pipe($handle) => $run,
            End::SkippingPipe($handle) => $run,
            End::File($handle) => $run,
            End::SkippingFile($handle) => $run,
            End::Datagrams($handle) => $run,
            End::Listener($handle) => $run,
            End::SkippingListener($handle) => $run,
        }
    };
}
pub(crate) use on;

/// The same for ends that scopes take; `$none` for others.
macro_rules! on_queued {
    ($end:expr, $handle:ident => $run:expr, $none:expr) => {
        match $end {
            End::Stream($handle) => $run,
            End::Pipe($handle) => $run,
            End::File($handle) => $run,
            End::Datagrams($handle) => $run,
            End::SkippingStream(_) | End::SkippingPipe(_) | End::SkippingFile(_) => $none,
            End::Listener(_) | End::SkippingListener(_) => $none,
        }
    };
}
pub(crate) use on_queued;

/// The same for sockets that transfer, which no other end is here.
macro_rules! on_socket {
    ($end:expr, $handle:ident => $run:expr) => {
        match $end {
            End::Stream($handle) => $run,
            End::SkippingStream($handle) => $run,
            End::Datagrams($handle) => $run,
            _ => unreachable!("not for sockets"),
        }
    };
}
pub(crate) use on_socket;

/// The same for sockets of datagrams.
macro_rules! on_datagrams {
    ($end:expr, $handle:ident => $run:expr) => {
        match $end {
            End::Datagrams($handle) => $run,
            _ => unreachable!("not for datagrams"),
        }
    };
}
pub(crate) use on_datagrams;

/// How long the files are.
pub const FILE_LENGTH: usize = 256;

/// The context of an end.
pub const fn key(end: usize) -> usize {
    1000 + end
}

/// Opens both ends of a link, and the file between them.
pub fn open(port: &Port, link: Link, first: usize) -> ([End; 2], Option<TempFile>) {
    let mut keys = [key(first), key(first + 1)].into_iter().zip(link.skips);
    let mut next = || keys.next().expect("there are two ends");
    macro_rules! add {
        ($ends:expr, $queued:ident, $skipping:ident) => {
            <[_; 2]>::from($ends).map(|end| {
                let (key, skips) = next();
                let end = port.add_handle(end, key).expect("a new handle");
                if skips {
                    End::$skipping(end.skip_on_success().expect("a handle of its own"))
                } else {
                    End::$queued(end)
                }
            })
        };
    }
    let ends = match link.object {
        Object::Stream => add!(support::stream_pair(), Stream, SkippingStream),
        Object::BytePipe => add!(support::pipe_pair(false), Pipe, SkippingPipe),
        Object::MessagePipe => <[_; 2]>::from(support::pipe_pair(true))
            .map(|end| End::Pipe(port.add_handle(end, next().0).expect("a new handle"))),
        Object::Datagrams => <[_; 2]>::from(support::datagram_pair())
            .map(|end| End::Datagrams(port.add_handle(end, next().0).expect("a new handle"))),
        Object::File => {
            let file = support::temp_file("random", [0; FILE_LENGTH]);
            let open = || support::overlapped_file(file.path(), true, true);
            return (add!([open(), open()], File, SkippingFile), Some(file));
        }
        Object::Listener => {
            let listen = || TcpListener::bind("127.0.0.1:0").expect("loopback");
            add!([listen(), listen()], Listener, SkippingListener)
        }
    };
    (ends, None)
}

/// A socket that can be connected to a listener.
pub fn connector(
    port: &Port,
    listener: SocketAddr,
    key: usize,
    skips: bool,
) -> Result<End, Rejected<TcpStream>> {
    let socket = port.add_handle(unconnected_stream(listener).expect("a socket"), key)?;
    if skips {
        Ok(End::SkippingStream(socket.skip_on_success().expect("a handle of its own")))
    } else {
        Ok(End::Stream(socket))
    }
}

impl End {
    /// Where it listens, if it does.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Listener(listener) => listener.get_ref().local_addr().ok(),
            Self::SkippingListener(listener) => listener.get_ref().local_addr().ok(),
            _ => None,
        }
    }

    /// Its port, if it has been connected, or is going to be.
    pub fn client(&self) -> Option<u16> {
        Some(self.stream()?.local_addr().ok()?.port())
    }

    pub fn stream(&self) -> Option<&TcpStream> {
        match self {
            Self::Stream(stream) => Some(stream.get_ref()),
            Self::SkippingStream(stream) => Some(stream.get_ref()),
            _ => None,
        }
    }

    pub fn close(self, how: Closing) {
        match (how, self) {
            (Closing::IntoInner, end) => on!(end, handle => drop(handle.into_inner())),
            (Closing::Reset, Self::Stream(handle)) => support::reset(handle.into_inner()),
            (Closing::Reset, Self::SkippingStream(handle)) => support::reset(handle.into_inner()),
            (_, end) => drop(end),
        }
    }
}

/// A handle whose owner was forgotten.
#[derive(Clone, Copy)]
pub enum Raw {
    Socket(RawSocket),
    Handle(RawHandle),
}

// SAFETY: A handle is a number, good in every thread.
unsafe impl Send for Raw {}

impl Raw {
    pub fn of(end: &End) -> Self {
        match end {
            End::Stream(handle) => Self::Socket(handle.as_raw_socket()),
            End::SkippingStream(handle) => Self::Socket(handle.as_raw_socket()),
            End::Datagrams(handle) => Self::Socket(handle.as_raw_socket()),
            End::Pipe(handle) => Self::Handle(handle.as_raw_handle()),
            End::SkippingPipe(handle) => Self::Handle(handle.as_raw_handle()),
            End::File(handle) => Self::Handle(handle.as_raw_handle()),
            End::SkippingFile(handle) => Self::Handle(handle.as_raw_handle()),
            End::Listener(handle) => Self::Socket(handle.as_raw_socket()),
            End::SkippingListener(handle) => Self::Socket(handle.as_raw_socket()),
        }
    }

    pub fn close(self) {
        match self {
            Self::Socket(socket) => support::close_raw_socket(socket),
            Self::Handle(handle) => support::close_raw(handle),
        }
    }
}
