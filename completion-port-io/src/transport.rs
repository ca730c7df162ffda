//! What can be a stream, and how it is read and written.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::windows::io::OwnedHandle;
use std::process::{ChildStderr, ChildStdin, ChildStdout};

use completion_port::{Adoptable, Associated, ErrorKind, Failed, Iocp, Pending, op};

/// How much is read ahead from a pipe, in bytes.
const AHEAD: usize = 16 * 1024;

/// A handle that a [`Stream`](crate::Stream) can be made of: a connection, or a pipe of
/// bytes.
///
/// It is sealed. `OwnedHandle` and `File` are what std has for named pipes. Those in the mode
/// `PIPE_NOWAIT` cannot be waited for: reads fail with
/// [`Unsupported`](io::ErrorKind::Unsupported).
#[diagnostic::on_unimplemented(
    message = "a `{Self}` is no stream",
    note = "a `TcpStream` is one, and so are pipes: `OwnedHandle`, `File`, `ChildStdin`, \
            `ChildStdout`, `ChildStderr`"
)]
pub trait Transport: sealed::Transport {}

impl<H: sealed::Transport> Transport for H {}

/// What a wait for data has come to.
type Ended<M> = Result<(u32, M), Failed<M>>;

pub(crate) mod sealed {
    use super::{Adoptable, Associated, Ended, IoSlice, Iocp, Pending, io};

    pub trait Transport: Adoptable + Sized {
        /// What was read before the caller asked for it.
        type Ahead: Default;
        /// The memory of a wait for data.
        type Memory;

        /// Readies the handle.
        fn prepare(on: &Associated<Self>) -> io::Result<()>;

        /// Reads what is there. `WouldBlock` if that is nothing.
        fn read(
            on: &Associated<Self>,
            ahead: &mut Self::Ahead,
            into: &mut [u8],
        ) -> io::Result<usize>;

        /// Starts to wait for something to read.
        fn wait(
            on: &Associated<Self>,
            ahead: &mut Self::Ahead,
            port: &Iocp<()>,
        ) -> io::Result<Pending<Self::Memory>>;

        /// Takes what such a wait has brought, and whether a pipe's has found the end.
        fn arrived(
            ahead: &mut Self::Ahead,
            ended: Ended<Self::Memory>,
            is_at_end: bool,
        ) -> io::Result<()>;

        /// Writes what there is room for. `WouldBlock` if there is none.
        fn write(on: &Associated<Self>, buffers: &[IoSlice<'_>]) -> io::Result<usize>;

        /// Ends what is written.
        fn shut_down(on: &Associated<Self>) -> io::Result<()>;
    }
}

impl sealed::Transport for TcpStream {
    type Ahead = ();
    type Memory = ();

    /// "Since overlapped I/O operations do not block, the blocking mode of a socket is
    /// irrelevant for these operations":
    /// <https://learn.microsoft.com/en-us/windows/win32/winsock/overlapped-i-o-and-event-objects-2>.
    fn prepare(on: &Associated<Self>) -> io::Result<()> {
        on.get_ref().set_nonblocking(true)
    }

    fn read(on: &Associated<Self>, (): &mut (), into: &mut [u8]) -> io::Result<usize> {
        on.get_ref().read(into)
    }

    fn wait(on: &Associated<Self>, (): &mut (), port: &Iocp<()>) -> io::Result<Pending<()>> {
        Ok(port.initiate(on, (), op::Readable::new())?)
    }

    fn arrived((): &mut (), ended: Ended<()>, _: bool) -> io::Result<()> {
        ended?;
        Ok(())
    }

    fn write(on: &Associated<Self>, buffers: &[IoSlice<'_>]) -> io::Result<usize> {
        on.get_ref().write_vectored(buffers)
    }

    fn shut_down(on: &Associated<Self>) -> io::Result<()> {
        match on.get_ref().shutdown(Shutdown::Write) {
            // The peer has ended it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            ended => ended,
        }
    }
}

/// What was read ahead from a pipe.
#[derive(Debug, Default)]
pub struct Ahead {
    bytes: VecDeque<u8>,
    /// Whether the end was found, and the caller has not been told yet.
    ends: bool,
}

impl Ahead {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && !std::mem::take(&mut self.ends) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.bytes.read(into)
    }

    /// An empty message has no bytes to read, and is no end.
    fn arrived(&mut self, ended: Ended<Vec<u8>>, is_at_end: bool) -> io::Result<()> {
        let buffer = match ended {
            Ok((_, buffer)) => buffer,
            // Of a pipe of messages: the rest of this one comes by the next read.
            Err(Failed { error, returned: Some(buffer), .. })
                if error.kind() == ErrorKind::MoreData =>
            {
                buffer
            }
            Err(failed) => return Err(unless_waits(failed.into())),
        };
        self.ends = is_at_end;
        self.bytes = buffer.into();
        Ok(())
    }

    /// The memory for the next read, once all has been taken.
    fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = Vec::from(std::mem::take(&mut self.bytes));
        buffer.reserve(AHEAD);
        buffer
    }
}

/// The error of a pipe that does not wait for data. Its own, `WouldBlock`, would be taken for a
/// promise to wake the task.
///
/// "Using a nonblocking-wait handle, the function returns zero immediately, and the `GetLastError`
/// function returns `ERROR_NO_DATA`"
/// (<https://learn.microsoft.com/windows/win32/ipc/named-pipe-type-read-and-wait-modes>).
fn unless_waits(error: io::Error) -> io::Error {
    const NO_WAIT: &str = "the pipe is in the mode PIPE_NOWAIT, which a stream cannot wait for; use \
                           PIPE_WAIT";
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::Unsupported, NO_WAIT),
        _ => error,
    }
}

macro_rules! pipes {
    ($($type:ty),*) => {$(
        impl sealed::Transport for $type {
            type Ahead = Ahead;
            type Memory = Vec<u8>;

            fn prepare(_: &Associated<Self>) -> io::Result<()> {
                Ok(())
            }

            fn read(_: &Associated<Self>, ahead: &mut Ahead, into: &mut [u8]) -> io::Result<usize> {
                ahead.read(into)
            }

            fn wait(
                on: &Associated<Self>,
                ahead: &mut Ahead,
                port: &Iocp<()>,
            ) -> io::Result<Pending<Vec<u8>>> {
                let read = port.initiate_read(on, (), ahead.take_buffer());
                read.map_err(|refused| unless_waits(refused.into()))
            }

            fn arrived(
                ahead: &mut Ahead,
                ended: Ended<Vec<u8>>,
                is_at_end: bool,
            ) -> io::Result<()> {
                ahead.arrived(ended, is_at_end)
            }

            fn write(_: &Associated<Self>, _: &[IoSlice<'_>]) -> io::Result<usize> {
                Err(io::ErrorKind::WouldBlock.into())
            }

            /// A pipe has no half to shut down: its reader sees the end when it is closed.
            fn shut_down(_: &Associated<Self>) -> io::Result<()> {
                Ok(())
            }
        }
    )*};
}

pipes!(File, OwnedHandle, ChildStdin, ChildStdout, ChildStderr);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pipe_that_does_not_wait_is_unsupported() {
        let kind = |kind: io::ErrorKind| unless_waits(kind.into()).kind();
        assert_eq!(kind(io::ErrorKind::WouldBlock), io::ErrorKind::Unsupported);
        assert_eq!(kind(io::ErrorKind::BrokenPipe), io::ErrorKind::BrokenPipe);
    }
}
