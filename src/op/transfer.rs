//! Reading and writing, of whatever object: `WSARecv` and `WSASend` on sockets,
//! `ReadFile` and `WriteFile` on everything else.

use super::flags::{check_flags, receive_flags, send_flags};
use super::on::Anything;
use super::{Fills, Finish, Region, RegionMut, Sends, Starter, Submitted};
use crate::buffer::{IoBuf, IoBufMut};
use crate::error::{Cause, Error, Facts, FactsOn, UsageError, refusal};
use crate::operation::{Object, Operation};
use crate::sys::{self};

/// Reads from a socket, file, pipe or device: `WSARecv` or `ReadFile`.
///
/// Returns the buffer. [`Iocp::initiate_read`](crate::Iocp::initiate_read), which starts this
/// operation, says more about reads.
///
/// ```
/// # use completion_port::{Iocp, fs::OpenOverlapped, op};
/// # use std::fs::OpenOptions;
/// # let path = std::env::temp_dir().join(format!("op-read-{}", std::process::id()));
/// # std::fs::write(&path, "hello world")?;
/// let port = Iocp::new()?;
/// let file = OpenOptions::new().read(true).open_overlapped(&path)?;
/// let file = port.add_handle(file, 1)?;
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
    flags: u32,
}

/// Writes to a socket, file, pipe or device: `WSASend` or `WriteFile`.
///
/// Returns the buffer. [`Iocp::initiate_write`](crate::Iocp::initiate_write), which starts
/// this operation, says more about writes.
#[derive(Clone, Debug)]
#[must_use]
pub struct Write<B> {
    buffer: B,
    offset: Option<u64>,
    flags: u32,
}

impl<B: IoBufMut> Read<B> {
    /// Reads into `buffer`.
    #[inline(always)]
    pub fn new(buffer: B) -> Self {
        Self { buffer, offset: None, flags: 0 }
    }

    /// Reads from `offset` on, in bytes. Files need this; sockets have no offsets.
    #[inline(always)]
    pub fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    receive_flags!();
}

impl<B: IoBuf> Write<B> {
    /// Writes the bytes of `buffer`.
    #[inline(always)]
    pub fn new(buffer: B) -> Self {
        Self { buffer, offset: None, flags: 0 }
    }

    /// Writes from `offset` on, in bytes. Files need this, or [`append`](Self::append);
    /// sockets have no offsets.
    #[inline(always)]
    pub fn at(self, offset: u64) -> Self {
        Self { offset: Some(offset), ..self }
    }

    /// Writes at the end of the file, wherever that is at the moment of the write: the offset
    /// [`u64::MAX`].
    ///
    /// Writes through several handles and from several processes do not overwrite each other.
    /// (On Wine they may, because it finds the end first and writes then.)
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

    send_flags!();
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
    /// Offset and flags.
    type Arguments = (u64, u32);
    type Output = B;

    #[inline(always)]
    fn split(self, on: &Object<'_>) -> Result<((u64, u32), Fills<B>), (Error, Fills<B>)> {
        let Self { buffer, offset, flags } = self;
        let checked = check_offset(on, offset).and_then(|()| check_flags(on, flags));
        parts((offset.unwrap_or(0), flags), Fills(buffer), checked)
    }

    #[inline(always)]
    fn start(
        (offset, flags): (u64, u32),
        region: RegionMut,
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        if starter.is_socket() {
            starter.call_with(|socket, overlapped, counts| {
                sys::receive(socket, &[region], flags, overlapped, counts)
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
    /// Offset and flags.
    type Arguments = (u64, u32);
    type Output = B;

    #[inline(always)]
    fn split(self, on: &Object<'_>) -> Result<((u64, u32), Sends<B>), (Error, Sends<B>)> {
        let Self { buffer, offset, flags } = self;
        let checked = check_offset(on, offset).and_then(|()| check_flags(on, flags));
        parts((offset.unwrap_or(0), flags), Sends(buffer), checked)
    }

    #[inline(always)]
    fn start(
        (offset, flags): (u64, u32),
        region: Region,
        starter: Starter<'_, Self>,
    ) -> Submitted<'_> {
        if !starter.is_socket() {
            return starter.at(offset).call_with(|file, overlapped, counts| {
                sys::write_file(file, &region, overlapped, counts)
            });
        }
        match check_message(&starter, region.length()) {
            Ok(()) => starter.call_with(|socket, overlapped, counts| {
                sys::send(socket, &[region], flags, overlapped, counts)
            }),
            Err(cause) => starter.refuse(cause),
        }
    }
}
