//! The packet rule: whether a packet comes for an operation, decided in this
//! one function from what the call answered and nothing else.

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_IO_PENDING, ERROR_MORE_DATA,
};
use windows_sys::Win32::Networking::WinSock::WSAEMSGSIZE;

use crate::error::{Call, STATUS_END_OF_FILE};
use crate::sys::Answer;

/// What follows from the answer of a call that starts an operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A packet was queued or will be: nothing of the operation may be touched
    /// any more, because another thread may have dequeued it by now.
    PacketComes,
    /// The operation is over, with this status and byte count, and there will
    /// be no packet.
    Finished { status: u32, bytes: u32 },
    /// The operation was not started.
    NotStarted { code: u32 },
}

const MESSAGE_TRUNCATED: u32 = WSAEMSGSIZE as u32;

/// `skips`: the handle is in the mode `FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`.
#[inline]
pub(super) fn verdict(answer: Answer, call: Call, skips: bool) -> Verdict {
    match answer {
        Answer::Code(ERROR_IO_PENDING) => Verdict::PacketComes,
        // "a completion packet is queued [...] even if the I/O operation
        // succeeds immediately", unless the handle's mode says otherwise
        // (https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-setfilecompletionnotificationmodes).
        Answer::Finished(_) if !skips => Verdict::PacketComes,
        Answer::Finished(bytes) => Verdict::Finished { status: 0, bytes },
        Answer::Code(code) => refused(code, call),
    }
}

#[cold]
fn refused(code: u32, call: Call) -> Verdict {
    match (code, call) {
        // A truncated message is a warning, STATUS_BUFFER_OVERFLOW, not an
        // error: the call says that it failed, and the packet comes all the
        // same. Skip-on-success is never on where messages can be truncated.
        (ERROR_MORE_DATA, Call::ReadFile) | (MESSAGE_TRUNCATED, Call::WSARecv) => {
            Verdict::PacketComes
        }
        // The end of a file or pipe is a success without bytes, whichever way
        // it is found. "If lpOverlapped is not NULL [...] and the read is
        // past the end, the function returns FALSE with ERROR_HANDLE_EOF"
        // (https://learn.microsoft.com/windows/win32/fileio/testing-for-the-end-of-a-file).
        (ERROR_HANDLE_EOF | ERROR_BROKEN_PIPE, Call::ReadFile) => {
            Verdict::Finished { status: STATUS_END_OF_FILE, bytes: 0 }
        }
        // "Any other error code indicates that the overlapped operation was
        // not successfully initiated and no completion indication will occur"
        // (https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv).
        _ => Verdict::NotStarted { code },
    }
}
