//! Reading and writing, of whatever object: `WSARecv` and `WSASend` on sockets,
//! `ReadFile` and `WriteFile` on everything else.

use super::on::{Anything, Socket};
use super::{Fills, Finish, Region, RegionMut, Sends, Starter, Submitted};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Cause, Error, Facts, FactsOn, UsageError, refusal};
use crate::operation::{Object, Operation};
use crate::sys::{self};

/// Reads from a socket, file, pipe or device: `WSARecv` or `ReadFile`.
///
/// Returns the buffer. [`Iocp::initiate_read`](crate::Iocp::initiate_read) says what
/// there is to know of reads; it starts this operation.
///
/// ```
/// # use completion_port::{Iocp, op};
/// # use std::{fs::OpenOptions, os::windows::fs::OpenOptionsExt};
/// # let path = std::env::temp_dir().join(format!("op-read-{}", std::process::id()));
/// # std::fs::write(&path, "hello world")?;
/// # let file = OpenOptions::new().read(true).custom_flags(0x4000_0000).open(&path)?;
/// let port = Iocp::new()?;
/// let file = port.add_handle(file, 1)?; // opened with FILE_FLAG_OVERLAPPED
/// port.initiate(&file, 2, op::Read::new(Vec::with_capacity(512)).at(6))?;
/// let mut completion = port.get_completion()?;
/// completion.error_status?;
/// assert_eq!(completion.operation.output::<Vec<u8>>()?, b"world");
/// # drop(file);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Read<B> {
    buffer: B,
    offset: Option<u64>,
}

/// Writes to a socket, file, pipe or device: `WSASend` or `WriteFile`.
///
/// Returns the buffer. [`Iocp::initiate_write`](crate::Iocp::initiate_write) says what
/// there is to know of writes; it starts this operation.
#[derive(Clone, Debug)]
#[must_use]
pub struct Write<B> {
    buffer: B,
    offset: Option<u64>,
}

/// Receives into several buffers: `WSARecv`.
///
/// Each is filled before the next gets anything. Returns all of them; the completion's
/// byte count is that of all together. It is refused if none has room.
///
/// ```
/// # use completion_port::{Iocp, op};
/// # use std::{io::Write, net::{TcpListener, TcpStream}};
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let mut client = TcpStream::connect(listener.local_addr()?)?;
/// # let (stream, _) = listener.accept()?;
/// let port = Iocp::new()?;
/// let stream = port.add_handle(stream, 1)?;
/// client.write_all(b"head, and body")?;
/// let buffers = [Vec::with_capacity(4), Vec::with_capacity(1024)];
/// port.initiate(&stream, 2, op::ReadVectored::new(buffers))?;
/// let [head, body] = port.get_completion()?.operation.output::<[Vec<u8>; 2]>()?;
/// assert_eq!((&head[..], &body[..]), (&b"head"[..], &b", and body"[..]));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ReadVectored<B, const N: usize> {
    buffers: [B; N],
}

/// Sends several buffers, in order: `WSASend`.
///
/// On a datagram socket they are one datagram. Returns all of them; the completion's
/// byte count is that of all together.
#[derive(Clone, Debug)]
#[must_use]
pub struct WriteVectored<B, const N: usize> {
    buffers: [B; N],
}

impl<B: IoBufMut> Read<B> {
    /// Reads into `buffer`.
    #[inline(always)]
    pub fn new(buffer: B) -> Self {
        Self { buffer, offset: None }
    }

    /// Reads from `offset` on, in bytes. Files need this; sockets have no offsets.
    #[inline(always)]
    pub fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }
}

impl<B: IoBuf> Write<B> {
    /// Writes the bytes of `buffer`.
    #[inline(always)]
    pub fn new(buffer: B) -> Self {
        Self { buffer, offset: None }
    }

    /// Writes from `offset` on, in bytes. Files need this, or [`append`](Self::append);
    /// sockets have no offsets.
    #[inline(always)]
    pub fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    /// Writes to where the file ends at the moment of the write, which is what the
    /// offset [`u64::MAX`] stands for.
    ///
    /// So writes of several handles and processes go behind each other, each of them
    /// whole. (Wine finds the end first and writes then: there, two processes can write
    /// to one place.)
    ///
    /// ```
    /// # use completion_port::{Iocp, fs::OpenOverlapped, op};
    /// # let path = std::env::temp_dir().join(format!("completion-port-append-{}", std::process::id()));
    /// # std::fs::write(&path, "first\n")?;
    /// # let port = Iocp::new()?;
    /// # let log = std::fs::OpenOptions::new().write(true).open_overlapped(&path)?;
    /// let log = port.add_handle(log, 1)?;
    /// port.initiate(&log, 2, op::Write::new("second\n").append())?;
    /// port.get_completion()?.error_status?;
    /// # drop(log);
    /// assert_eq!(std::fs::read_to_string(&path)?, "first\nsecond\n");
    /// # std::fs::remove_file(path)?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[inline(always)]
    pub fn append(self) -> Self {
        self.at(u64::MAX)
    }
}

impl<B: IoBufMut, const N: usize> ReadVectored<B, N> {
    /// Receives into `buffers`.
    pub fn new(buffers: [B; N]) -> Self {
        Self { buffers }
    }
}

impl<B: IoBuf, const N: usize> WriteVectored<B, N> {
    /// Sends the bytes of `buffers`.
    pub fn new(buffers: [B; N]) -> Self {
        Self { buffers }
    }
}

/// Files have no current position, and nothing else has any.
#[inline(always)]
pub(super) fn check_offset(
    on: &Object<'_>,
    offset: Option<u64>,
) -> Result<(), &'static UsageError> {
    match offset {
        None if on.is_file() => Err(&refusal::NEEDS_OFFSET),
        Some(_) if on.is_socket() => Err(&refusal::NO_OFFSET),
        _ => Ok(()),
    }
}

/// What `split` returns, if `checked` says so.
#[inline(always)]
pub(super) fn parts<A, M>(
    arguments: A,
    memory: M,
    checked: Result<(), &'static UsageError>,
) -> Result<(A, M), (Error, M)> {
    match checked {
        Ok(()) => Ok((arguments, memory)),
        Err(usage) => Err((Error::usage(usage), memory)),
    }
}

/// A message that is too long is refused where its length is that of the memory
/// which is sent: what the system does with one differs in whether a packet comes.
#[inline(always)]
pub(super) fn check_message<O>(starter: &Starter<'_, O>, length: u32) -> Result<(), Cause> {
    if starter.can_send(length) {
        Ok(())
    } else {
        Err(Cause::UsageError(&refusal::MESSAGE_TOO_LONG))
    }
}

impl<B: IoBufMut + Send> Operation for Read<B> {
    const FACTS: FactsOn = FactsOn::Either { sockets: Facts::WSARecv, handles: Facts::ReadFile };
    const FINISH: Finish<Self> = Finish::memory();
    type On = Anything;
    type Memory = Fills<B>;
    type Arguments = u64;
    type Output = B;

    #[inline(always)]
    fn split(self, on: &Object<'_>) -> Result<(u64, Fills<B>), (Error, Fills<B>)> {
        let Self { buffer, offset } = self;
        parts(offset.unwrap_or(0), Fills(buffer), check_offset(on, offset))
    }

    #[inline(always)]
    fn start(offset: u64, region: RegionMut, starter: Starter<'_, Self>) -> Submitted<'_> {
        if starter.is_socket() {
            starter.call_with(|socket, overlapped, counts| {
                sys::receive(socket, [region], overlapped, counts)
            })
        } else {
            starter.at(offset).call_with(|file, overlapped, counts| {
                sys::read_file(file, offset, &region, overlapped, counts)
            })
        }
    }
}

impl<B: IoBuf + Send> Operation for Write<B> {
    const FACTS: FactsOn = FactsOn::Either { sockets: Facts::WSASend, handles: Facts::WriteFile };
    const FINISH: Finish<Self> = Finish::memory();
    type On = Anything;
    type Memory = Sends<B>;
    type Arguments = u64;
    type Output = B;

    #[inline(always)]
    fn split(self, on: &Object<'_>) -> Result<(u64, Sends<B>), (Error, Sends<B>)> {
        let Self { buffer, offset } = self;
        parts(offset.unwrap_or(0), Sends(buffer), check_offset(on, offset))
    }

    #[inline(always)]
    fn start(offset: u64, region: Region, starter: Starter<'_, Self>) -> Submitted<'_> {
        if !starter.is_socket() {
            return starter.at(offset).call_with(|file, overlapped, counts| {
                sys::write_file(file, &region, overlapped, counts)
            });
        }
        match check_message(&starter, region.length()) {
            Ok(()) => starter.call_with(|socket, overlapped, counts| {
                sys::send(socket, [region], overlapped, counts)
            }),
            Err(cause) => starter.refuse(cause),
        }
    }
}

impl<B: IoBufMut + Send, const N: usize> Operation for ReadVectored<B, N> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::WSARecv);
    const FINISH: Finish<Self> =
        Finish::with(|memory: Self::Memory, _| Some(memory.map(|Fills(b)| b)));
    type On = Socket;
    type Memory = [Fills<B>; N];
    type Arguments = ();
    type Output = [B; N];

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), self.buffers.map(Fills)))
    }

    fn start((): (), regions: [RegionMut; N], starter: Starter<'_, Self>) -> Submitted<'_> {
        starter.call_with(|socket, overlapped, counts| {
            sys::receive(socket, regions, overlapped, counts)
        })
    }
}

impl<B: IoBuf + Send, const N: usize> Operation for WriteVectored<B, N> {
    const FACTS: FactsOn = FactsOn::Sockets(Facts::WSASend);
    const FINISH: Finish<Self> =
        Finish::with(|memory: Self::Memory, _| Some(memory.map(|Sends(b)| b)));
    type On = Socket;
    type Memory = [Sends<B>; N];
    type Arguments = ();
    type Output = [B; N];

    fn split(self, _: &Object<'_>) -> Result<((), Self::Memory), (Error, Self::Memory)> {
        Ok(((), self.buffers.map(Sends)))
    }

    fn start((): (), regions: [Region; N], starter: Starter<'_, Self>) -> Submitted<'_> {
        let length = regions.iter().map(Region::length).fold(0, u32::saturating_add);
        match check_message(&starter, length) {
            Ok(()) => starter.call_with(|socket, overlapped, counts| {
                sys::send(socket, regions, overlapped, counts)
            }),
            Err(cause) => starter.refuse(cause),
        }
    }
}
