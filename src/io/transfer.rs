//! Reading and writing: `WSARecv` and `WSASend` on sockets, `ReadFile` and
//! `WriteFile` on everything else.

use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Error, Rejected, Result, refusal};
use crate::handle::{Associated, Calls, Mode};
use crate::operation::{Read, Target, Write};
use crate::port::Iocp;
use crate::sys::{self, Answer, LentOverlapped, LentRegion};

impl<C: Send + 'static> Iocp<C> {
    /// Starts a read from a socket, pipe or device into `buffer`.
    ///
    /// The completion arrives with `context` and the buffer. It transfers at
    /// least one byte, unless the stream or pipe has ended or the buffer has
    /// no room. On a stream, a read with no room waits until there is something
    /// to read, and pins no memory meanwhile; on a datagram socket it discards
    /// a datagram. A message that does not fit arrives cut,
    /// with [`MoreData`](crate::ErrorKind::MoreData) (pipes, which keep the
    /// rest) or [`MessageTruncated`](crate::ErrorKind::MessageTruncated)
    /// (datagrams, which lose it).
    ///
    /// One read transfers 4 GiB - 1 at most, however large the buffer is.
    ///
    /// # Errors
    ///
    /// Context and buffer come back if the read could not be started:
    /// - what the system answers, for example
    ///   [`ConnectionReset`](crate::ErrorKind::ConnectionReset);
    /// - [`InvalidInput`](crate::ErrorKind::InvalidInput): the buffer is a
    ///   `Vec` that is full (reads append to the spare capacity);
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
    /// One write transfers 4 GiB - 1 at most, however large the buffer is. An
    /// empty one is a message on a message pipe or a datagram socket, and
    /// nothing elsewhere.
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
        mut buffer: B,
        offset: Option<u64>,
    ) -> Result<M::Started<B, C>, Rejected<(C, B)>> {
        let checked = match handle.calls(offset) {
            Ok(_) if buffer.is_full() => Err(&refusal::FULL_VECTOR),
            checked => checked,
        };
        let target = handle.target(offset);
        match checked {
            Ok(Calls::Winsock) => {
                self.start(handle, target, context, Read::<B, true>(buffer), receive(target))
            }
            Ok(Calls::File) => {
                self.start(handle, target, context, Read::<B, false>(buffer), read_file(target))
            }
            Err(misuse) => {
                // That the port is closed, or another, comes before all else.
                let misuse = handle.admit(&self.shared().gate).err().unwrap_or(misuse);
                Err(Rejected { error: Error::misuse(misuse), returned: (context, buffer) })
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
        match handle.calls_for_write(offset, buffer.initialized().1) {
            Ok(Calls::Winsock) => {
                self.start(handle, target, context, Write::<B, true>(buffer), send(target))
            }
            Ok(Calls::File) => {
                self.start(handle, target, context, Write::<B, false>(buffer), write_file(target))
            }
            Err(misuse) => {
                // That the port is closed, or another, comes before all else.
                let misuse = handle.admit(&self.shared().gate).err().unwrap_or(misuse);
                Err(Rejected { error: Error::misuse(misuse), returned: (context, buffer) })
            }
        }
    }
}

#[inline]
pub(crate) fn receive(target: Target) -> impl FnOnce(&LentRegion, LentOverlapped) -> Answer {
    move |region, overlapped| sys::receive(target.handle, region, overlapped, target.skips)
}

#[inline]
pub(crate) fn send(target: Target) -> impl FnOnce(&LentRegion, LentOverlapped) -> Answer {
    move |region, overlapped| sys::send(target.handle, region, overlapped, target.skips)
}

#[inline]
pub(crate) fn read_file(target: Target) -> impl FnOnce(&LentRegion, LentOverlapped) -> Answer {
    move |region, overlapped| sys::read_file(target.handle, region, overlapped, target.skips)
}

#[inline]
pub(crate) fn write_file(target: Target) -> impl FnOnce(&LentRegion, LentOverlapped) -> Answer {
    move |region, overlapped| sys::write_file(target.handle, region, overlapped, target.skips)
}
