//! The stream itself.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use completion_port::{Associated, Awaited, Iocp, unconnected_stream};

use crate::transport::Transport;

/// How many reads in a row may be ready, and how many writes.
const RUN: u32 = 32;

/// A connection or a pipe of bytes, on a port.
///
/// It implements the traits of the features; the methods `poll_...` are what these have in
/// common. One task may read while another writes.
///
/// What is written may be in a buffer of the stream's for a while, where an error of it is
/// told by the next write, flush or shutdown. Dropping the stream cancels what is in flight
/// and closes the handle: flush or shut down before.
///
/// Somebody has to dequeue from the port meanwhile: a thread in
/// [`block_on`](Iocp::block_on), for one, or a [`Driver`](completion_port::Driver). Without one,
/// or once the driver has been dropped, a task that waits for a stream waits for ever.
///
/// A stream keeps its port open. A task that waits for a stream is in the port, by its waker;
/// if nothing but that keeps the task, stream and port keep each other for ever. An executor
/// that drops its tasks when it ends does not let that happen.
///
/// After 32 reads in a row that were ready at once, the next one lets other tasks run first. So
/// does a write after 32 writes.
pub struct Stream<S: Transport = TcpStream> {
    // Dropped in this order: what is in flight is cancelled, and the handle closed.
    wait: Option<Awaited<S::Memory>>,
    write: Option<Awaited<Vec<u8>>>,
    handle: Associated<S>,
    port: Iocp<()>,
    ahead: S::Ahead,
    /// Memory for the next write that does not go through at once.
    spare: Vec<u8>,
    reads: Run,
    writes: Run,
}

impl<S: Transport> Stream<S> {
    /// How many bytes one write takes, at most. Without a limit, no peer would be too slow for a
    /// connection: "If necessary, Winsock can buffer more than the `SO_SNDBUF` buffer size"
    /// (<https://learn.microsoft.com/en-us/troubleshoot/windows/win32/data-segment-tcp-winsock>).
    pub const BUFFER: usize = 64 * 1024;

    /// Associates a connection or pipe with the port. A socket is told not to block, which holds
    /// for its duplicates, too.
    ///
    /// # Errors
    ///
    /// Those of [`add_handle`](Iocp::add_handle); the handle is closed. To keep it, associate
    /// it before, and use [`from_associated`](Self::from_associated).
    pub fn new(port: &Iocp<()>, handle: S) -> io::Result<Self> {
        Self::from_associated(port, port.add_handle(handle, 0)?)
    }

    /// Makes a stream of what is associated with the port already. A socket is told not to
    /// block, which holds for its duplicates, too.
    ///
    /// # Errors
    ///
    /// What the system answers to that. A handle of another port is refused by the first read
    /// or write that has to wait.
    pub fn from_associated(port: &Iocp<()>, handle: Associated<S>) -> io::Result<Self> {
        S::prepare(&handle)?;
        Ok(Self {
            wait: None,
            write: None,
            handle,
            port: port.clone(),
            ahead: S::Ahead::default(),
            spare: Vec::new(),
            reads: Run::default(),
            writes: Run::default(),
        })
    }

    /// Returns the handle. What is read or written through it bypasses the stream.
    #[must_use]
    pub fn get_ref(&self) -> &Associated<S> {
        &self.handle
    }

    /// Reads into `buffer` what is there, or waits for it. 0 bytes are the end, unless the
    /// buffer has no room.
    ///
    /// # Errors
    ///
    /// What the system answers. A read that waits, or has to, fails when the port is closed.
    pub fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.reads.poll_next(context));
        let mut failed = None;
        loop {
            if let Some(wait) = self.wait.take() {
                let mut wait = wait.into_pending();
                if wait.poll_completed(context).is_pending() {
                    self.wait = Some(wait.into_future());
                    return self.reads.pending();
                }
                let is_at_end = wait.is_at_end();
                let ended = ready!(Pin::new(&mut wait.into_future()).poll(context));
                failed = S::arrived(&mut self.ahead, ended, is_at_end).err();
            }
            match S::read(&self.handle, &mut self.ahead, buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
            if let Some(error) = failed {
                return Poll::Ready(Err(error));
            }
            self.wait = Some(S::wait(&self.handle, &mut self.ahead, &self.port)?.into_future());
        }
    }

    /// Writes `buffer`, or a part of it: see
    /// [`poll_write_vectored`](Self::poll_write_vectored).
    ///
    /// # Errors
    ///
    /// What the system answers, to this write or to the one before.
    pub fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(buffer)])
    }

    /// Writes the buffers one after the other, or a part of them, and returns how many bytes.
    ///
    /// It waits while bytes of an earlier write are in the stream's buffer.
    ///
    /// # Errors
    ///
    /// What the system answers, to this write or to the one before.
    pub fn poll_write_vectored(
        &mut self,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(context))?;
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        ready!(self.writes.poll_next(context));
        let cut;
        let (fit, bytes) = Self::fitting(buffers);
        let fitting = if bytes == 0 {
            cut = [IoSlice::new(&buffers[fit][..Self::BUFFER])];
            &cut
        } else {
            &buffers[..fit]
        };
        match S::write(&self.handle, fitting) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            written => return Poll::Ready(written),
        }
        let mut taken = std::mem::take(&mut self.spare);
        taken.clear();
        for buffer in buffers {
            let room = Self::BUFFER - taken.len();
            taken.extend_from_slice(&buffer[..room.min(buffer.len())]);
        }
        let bytes = taken.len();
        self.start_write(taken)?;
        Poll::Ready(Ok(bytes))
    }

    /// Waits until the stream's buffer has been written.
    ///
    /// # Errors
    ///
    /// What the system answered to that. The bytes of the buffer are lost then.
    pub fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(write) = &mut self.write {
            let Poll::Ready(ended) = Pin::new(write).poll(context) else {
                return self.writes.pending();
            };
            self.write = None;
            let (bytes, mut buffer) = ended?;
            match bytes as usize {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes if bytes < buffer.len() => {
                    buffer.drain(..bytes);
                    self.start_write(buffer)?;
                }
                _ => self.spare = buffer,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Flushes, and ends what is written. Of a connection this closes one half: the peer reads
    /// the end, and can still write. A pipe has no halves: its reader sees the end when the
    /// stream is dropped.
    ///
    /// # Errors
    ///
    /// Those of [`poll_flush`](Self::poll_flush), and what the system answers.
    pub fn poll_shutdown(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(context))?;
        Poll::Ready(S::shut_down(&self.handle))
    }

    /// How many buffers have no more than [`BUFFER`](Self::BUFFER) bytes together, and how many
    /// bytes that is.
    fn fitting(buffers: &[IoSlice<'_>]) -> (usize, usize) {
        let mut bytes = 0;
        for (at, buffer) in buffers.iter().enumerate() {
            if buffer.len() > Self::BUFFER - bytes {
                return (at, bytes);
            }
            bytes += buffer.len();
        }
        (buffers.len(), bytes)
    }

    fn start_write(&mut self, buffer: Vec<u8>) -> io::Result<()> {
        let write = self.port.initiate_write(&self.handle, (), buffer)?;
        self.write = Some(write.into_future());
        Ok(())
    }
}

/// How many reads, or writes, in a row were ready. Each direction has its own: one that waits
/// says nothing of whether the other lets the task go.
#[derive(Default)]
struct Run(u32);

impl Run {
    /// Lets others run first, after so many that did not.
    fn poll_next(&mut self, context: &Context<'_>) -> Poll<()> {
        if self.0 == RUN {
            context.waker().wake_by_ref();
            return self.pending();
        }
        self.0 += 1;
        Poll::Ready(())
    }

    fn pending<T>(&mut self) -> Poll<T> {
        self.0 = 0;
        Poll::Pending
    }
}

impl Stream<TcpStream> {
    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// [`ConnectionRefused`](io::ErrorKind::ConnectionRefused), for one, and if the port is
    /// closed.
    pub async fn connect(port: &Iocp<()>, peer: SocketAddr) -> io::Result<Self> {
        let socket = port.add_handle(unconnected_stream(peer)?, 0)?;
        port.initiate_connect(&socket, (), peer)?.await?;
        Self::from_associated(port, socket)
    }
}

/// Nothing of it is ever pinned.
impl<S: Transport> Unpin for Stream<S> {}

impl<S: Transport> fmt::Debug for Stream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("handle", &self.handle)
            .field("writes", &self.write.is_some())
            .finish_non_exhaustive()
    }
}
