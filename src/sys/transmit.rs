//! Files that go to a socket: `TransmitFile`.

use std::os::windows::io::RawHandle;
use std::{fmt, mem, ptr};

use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::extension::{Extension, Provider};
use super::socket::answer;
use super::{Answer, Handle, InPlace, LentOverlapped, Region};
use crate::error::Cause;

/// "The maximum number of bytes that can be transmitted using a single call to the
/// `TransmitFile` function is 2,147,483,646", what is sent before and after the file included
/// (<https://learn.microsoft.com/windows/win32/api/mswsock/nf-mswsock-transmitfile>).
pub(crate) const MOST_TRANSMITTED: u32 = i32::MAX as u32 - 1;

/// The buffers that are sent before and after a file, in the memory of an operation.
pub struct TransmitHeader(ws::TRANSMIT_FILE_BUFFERS);

/// A `TRANSMIT_FILE_BUFFERS`, which the kernel may read for as long as the operation is in
/// flight.
#[derive(Debug)]
pub struct TransmitRegion(*mut ws::TRANSMIT_FILE_BUFFERS);

// SAFETY: Its pointers are for the kernel alone, and lead to memory that is lent.
unsafe impl Send for TransmitHeader {}

impl TransmitHeader {
    pub(crate) fn empty() -> Self {
        let nothing = ptr::null_mut();
        Self(ws::TRANSMIT_FILE_BUFFERS {
            Head: nothing,
            HeadLength: 0,
            Tail: nothing,
            TailLength: 0,
        })
    }

    pub(crate) fn region(&mut self, _: &InPlace) -> TransmitRegion {
        TransmitRegion(&raw mut self.0)
    }
}

impl fmt::Debug for TransmitHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransmitHeader").finish_non_exhaustive()
    }
}

type TransmitFileFunction = unsafe extern "system" fn(
    ws::SOCKET,
    RawHandle,
    u32,
    u32,
    *mut OVERLAPPED,
    *const ws::TRANSMIT_FILE_BUFFERS,
    u32,
) -> i32;

/// The provider's `TransmitFile`.
#[derive(Clone, Copy)]
pub(crate) struct TransmitFile(TransmitFileFunction);

impl TransmitFile {
    pub fn of(socket: Handle, provider: Provider) -> Result<Self, Cause> {
        static EXTENSION: Extension = Extension::new(ws::WSAID_TRANSMITFILE);
        let function = EXTENSION.of(socket, provider)?;
        // SAFETY: The provider gave this address for TransmitFile.
        Ok(Self(unsafe { mem::transmute::<*const (), TransmitFileFunction>(function) }))
    }
}

/// Starts to send so many bytes of a file, from where the OVERLAPPED says, between two
/// regions. No bytes of it are no file: "set to zero in order to transmit the entire
/// file".
pub(crate) fn transmit_file(
    TransmitFile(transmit_file): TransmitFile,
    socket: Handle,
    (file, length): (RawHandle, u32),
    TransmitRegion(buffers): TransmitRegion,
    (head, tail): (Option<&Region>, Option<&Region>),
    overlapped: LentOverlapped,
) -> Answer {
    let file = if length == 0 { ptr::null_mut() } else { file };
    let start = |part: Option<&Region>| part.map_or(ptr::null(), Region::start).cast_mut().cast();
    let (head_length, tail_length) =
        (head.map_or(0, Region::length), tail.map_or(0, Region::length));
    // SAFETY: The buffers are where they were lent, and not the kernel's yet. They, the
    // regions and the OVERLAPPED are lent for the operation's whole life; the file is
    // looked up before the call returns.
    let succeeded = unsafe {
        buffers.write(ws::TRANSMIT_FILE_BUFFERS {
            Head: start(head),
            HeadLength: head_length,
            Tail: start(tail),
            TailLength: tail_length,
        });
        transmit_file(socket.0, file, length, 0, overlapped.into_raw(), buffers, 0)
    };
    answer(succeeded != 0, 0)
}
