//! Reading and writing: `WSARecv` and `WSASend` on sockets, `ReadFile` and
//! `WriteFile` on everything else.

use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Rejected, Result};
use crate::handle::{Associated, Calls, Mode};
use crate::operation::{Read, Target, Write};
use crate::port::Iocp;
use crate::sys::{self, Answer, LentOverlapped, LentRegion};

impl<C: Send + 'static> Iocp<C> {
    /// Starts a read from a socket, pipe or device into `buffer`.
    ///
    /// The completion arrives with `context` and the buffer. A success
    /// transfers at least one byte, unless the stream or pipe has ended, the
    /// message is empty, the other end of a pipe has made an empty write, or a
    /// device's time-out has passed without data (if the device does not report
    /// that as [`TimedOut`](crate::ErrorKind::TimedOut)). A message that does
    /// not fit arrives cut, with [`MoreData`](crate::ErrorKind::MoreData) (pipes,
    /// which keep the rest) or
    /// [`MessageTruncated`](crate::ErrorKind::MessageTruncated) (datagrams,
    /// which lose it).
    ///
    /// A buffer without room for a single byte is refused, because its
    /// completion could not be told from the end of the stream.
    ///
    /// One read transfers 4 GiB - 1 at most, however large the buffer is.
    ///
    /// # Errors
    ///
    /// Context and buffer come back if the read could not be started:
    /// - what the system answers, for example
    ///   [`ConnectionReset`](crate::ErrorKind::ConnectionReset);
    /// - [`InvalidInput`](crate::ErrorKind::InvalidInput): the buffer has no
    ///   room. A `Vec` that is full or was made by `Vec::new` has none, because
    ///   reads append to the spare capacity;
    /// - [`WrongPort`](crate::ErrorKind::WrongPort),
    ///   [`Closed`](crate::ErrorKind::Closed),
    ///   [`TooManyOperations`](crate::ErrorKind::TooManyOperations);
    /// - [`Unsupported`](crate::ErrorKind::Unsupported): files want
    ///   [`initiate_read_at`](Self::initiate_read_at).
    ///
    /// For an example see [`Iocp`].
    #[inline(always)]
    pub fn initiate_read<H, M: Mode, B: IoBufMut + Send + 'static>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        buffer: B,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        self.read(handle, context, buffer, None)
    }

    /// Starts a read from a file, from `offset` (in bytes) on. Otherwise as
    /// [`initiate_read`](Self::initiate_read); at the end of the file it
    /// transfers 0 bytes.
    ///
    /// With `FILE_FLAG_NO_BUFFERING`, offset, length and address of the buffer
    /// have to be multiples of the sector size. A file system that notices a
    /// read from behind the end of such a file only later may end it with
    /// `ERROR_INVALID_PARAMETER`.
    ///
    /// # Errors
    ///
    /// As for [`initiate_read`](Self::initiate_read); sockets have no offsets.
    ///
    /// ```
    /// use std::fs::OpenOptions;
    /// use std::os::windows::fs::OpenOptionsExt;
    /// use completion_port::Iocp;
    ///
    /// const FILE_FLAG_OVERLAPPED: u32 = 0x4000_0000;
    /// # let path = std::env::temp_dir().join(format!("read-at-doc-{}", std::process::id()));
    /// # std::fs::write(&path, "hello world")?;
    /// let file = OpenOptions::new().read(true).custom_flags(FILE_FLAG_OVERLAPPED).open(&path)?;
    /// let port = Iocp::new()?;
    /// let file = port.add_handle(file, 1)?;
    /// port.initiate_read_at(&file, 2, Vec::with_capacity(512), 6)?;
    /// let mut completion = port.get_completion()?;
    /// assert_eq!(completion.operation.take_buffer::<Vec<u8>>().unwrap(), b"world");
    /// # drop(file);
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline(always)]
    pub fn initiate_read_at<H, M: Mode, B: IoBufMut + Send + 'static>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        buffer: B,
        offset: u64,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        self.read(handle, context, buffer, Some(offset))
    }

    /// Starts a write of `buffer` to a socket, pipe or device.
    ///
    /// The completion arrives with `context` and the buffer. That a write has
    /// completed means that the buffer can be used again, not that the other
    /// side has the data. To keep the bytes of a stream in order, have one
    /// write in flight on it at a time, or start them all from one thread.
    ///
    /// One write transfers 4 GiB - 1 at most, however large the buffer is, and
    /// less than was asked for where a device's time-out ends it. An empty one
    /// is a message on a message pipe or a datagram socket; on a pipe of bytes
    /// it may end a read of the other end with no bytes; elsewhere it is nothing.
    ///
    /// # Errors
    ///
    /// Context and buffer come back if the write could not be started; as for
    /// [`initiate_read`](Self::initiate_read), and
    /// [`MessageTruncated`](crate::ErrorKind::MessageTruncated) for a datagram
    /// that is too long to be sent.
    #[inline(always)]
    pub fn initiate_write<H, M: Mode, B: IoBuf + Send + 'static>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        buffer: B,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        self.write(handle, context, buffer, None)
    }

    /// Starts a write to a file, from `offset` (in bytes) on; [`u64::MAX`]
    /// appends. Otherwise as [`initiate_write`](Self::initiate_write).
    ///
    /// # Errors
    ///
    /// As for [`initiate_write`](Self::initiate_write); sockets have no
    /// offsets.
    #[inline(always)]
    pub fn initiate_write_at<H, M: Mode, B: IoBuf + Send + 'static>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        buffer: B,
        offset: u64,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        self.write(handle, context, buffer, Some(offset))
    }

    #[inline(always)]
    fn read<H, M: Mode, B: IoBufMut + Send + 'static>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        buffer: B,
        offset: Option<u64>,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        let target = handle.target(offset);
        match handle.calls(offset) {
            Ok(Calls::Winsock) => {
                self.start(handle, target, context, Read::<B, true>(buffer), receive(target))
            }
            Ok(Calls::File) => {
                self.start(handle, target, context, Read::<B, false>(buffer), read_file(target))
            }
            Err(misuse) => {
                let error = handle.refusal(&self.shared().gate, misuse);
                Err(Rejected { error, returned: (context, buffer) })
            }
        }
    }

    #[inline(always)]
    fn write<H, M: Mode, B: IoBuf + Send + 'static>(
        &self,
        handle: &Associated<H, M>,
        context: C,
        buffer: B,
        offset: Option<u64>,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        let target = handle.target(offset);
        match handle.calls(offset) {
            Ok(Calls::Winsock) => {
                let call = send(target, handle.longest_message());
                self.start(handle, target, context, Write::<B, true>(buffer), call)
            }
            Ok(Calls::File) => {
                self.start(handle, target, context, Write::<B, false>(buffer), write_file(target))
            }
            Err(misuse) => {
                let error = handle.refusal(&self.shared().gate, misuse);
                Err(Rejected { error, returned: (context, buffer) })
            }
        }
    }
}

// What is asked of a buffer's length is asked of what is lent: before it was
// moved to its place, the buffer may have had another.

#[inline]
pub(crate) fn receive(target: Target) -> impl FnOnce(&LentRegion, LentOverlapped) -> Answer {
    move |region, overlapped| {
        if region.length() == 0 {
            return Answer::NO_ROOM;
        }
        sys::receive(target.handle, region, overlapped, target.skips)
    }
}

/// Refuses a message longer than `longest`: what the system does with one
/// differs in whether a packet comes of it.
#[inline]
pub(crate) fn send(
    target: Target,
    longest: Option<u32>,
) -> impl FnOnce(&LentRegion, LentOverlapped) -> Answer {
    move |region, overlapped| {
        if longest.is_some_and(|longest| region.length() > longest) {
            return Answer::TOO_LONG;
        }
        sys::send(target.handle, region, overlapped, target.skips)
    }
}

#[inline]
pub(crate) fn read_file(target: Target) -> impl FnOnce(&LentRegion, LentOverlapped) -> Answer {
    move |region, overlapped| {
        if region.length() == 0 {
            return Answer::NO_ROOM;
        }
        sys::read_file(target.handle, target.offset, region, overlapped, target.skips)
    }
}

#[inline]
pub(crate) fn write_file(target: Target) -> impl FnOnce(&LentRegion, LentOverlapped) -> Answer {
    move |region, overlapped| sys::write_file(target.handle, region, overlapped, target.skips)
}
