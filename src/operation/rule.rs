//! The packet rule: whether a packet comes for an operation, decided in this
//! one function from what the call answered and nothing else.

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_IO_PENDING, ERROR_MORE_DATA,
};
use windows_sys::Win32::Networking::WinSock::WSAEMSGSIZE;

use crate::error::{Call, is_warning};
use crate::sys::{self, Answer};

/// What follows from the answer of a call that starts an operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A packet was queued or will be: nothing of the operation may be touched
    /// any more, because another thread may have dequeued it by now.
    PacketComes,
    /// The operation has succeeded with this byte count, and there will be no
    /// packet.
    Finished { bytes: u32 },
    /// The call has failed with this code; see [`failure`].
    Failed { code: u32 },
}

/// What follows from the code of a call that has failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The operation has ended with a warning. A packet was queued if the system
    /// has written a status.
    Warned,
    /// The read has found the end of its file or pipe, and there will be no
    /// packet.
    AtEnd,
    /// The operation was not started.
    NotStarted,
}

const MESSAGE_TRUNCATED: u32 = WSAEMSGSIZE as u32;

/// `skips`: the handle is in the mode `FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`.
#[inline]
pub(super) fn verdict(answer: Answer, skips: bool) -> Verdict {
    match answer {
        Answer::Code(ERROR_IO_PENDING) => Verdict::PacketComes,
        // "a completion packet is queued [...] even if the I/O operation
        // succeeds immediately", unless the handle's mode says otherwise
        // (https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-setfilecompletionnotificationmodes).
        Answer::Finished(_) if !skips => Verdict::PacketComes,
        Answer::Finished(bytes) => Verdict::Finished { bytes },
        Answer::Code(code) => Verdict::Failed { code },
    }
}

/// `last_status`: the status of the last call of the thread's that has noted one.
pub(super) fn failure(code: u32, call: Call, last_status: u32) -> Failure {
    // A code alone does not tell a device's warning from an error.
    let is_devices_warning = || {
        matches!(call, Call::ReadFile | Call::WriteFile)
            && is_warning(last_status)
            && sys::win32_code(last_status) == code
    };
    match (code, call) {
        // Of a warning the call says that it failed, and the packet comes all the
        // same. "The status block [...] is not updated until the packet is
        // removed, except when the original call returned an error synchronously"
        // (https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports).
        _ if is_cut(code, call) || is_devices_warning() => Failure::Warned,
        // A message that is too long to be sent is an error, but for Wine.
        (MESSAGE_TRUNCATED, Call::WSASend) => Failure::Warned,
        // The end of a file or pipe is a success without bytes, whichever way
        // it is found. "If lpOverlapped is not NULL [...] and the read is
        // past the end, the function returns FALSE with ERROR_HANDLE_EOF"
        // (https://learn.microsoft.com/windows/win32/fileio/testing-for-the-end-of-a-file).
        (ERROR_HANDLE_EOF | ERROR_BROKEN_PIPE, Call::ReadFile) => Failure::AtEnd,
        // "Any other error code indicates that the overlapped operation was
        // not successfully initiated and no completion indication will occur"
        // (https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv).
        _ => Failure::NotStarted,
    }
}

/// Whether the call says that a message was cut to fit into the buffer.
fn is_cut(code: u32, call: Call) -> bool {
    matches!((code, call), (ERROR_MORE_DATA, Call::ReadFile) | (MESSAGE_TRUNCATED, Call::WSARecv))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: [Call; 6] = [
        Call::ReadFile,
        Call::WriteFile,
        Call::WSARecv,
        Call::WSASend,
        Call::AcceptEx,
        Call::ConnectEx,
    ];

    #[test]
    fn what_pends_has_a_packet_whatever_the_mode() {
        for skips in [false, true] {
            assert_eq!(verdict(Answer::Code(ERROR_IO_PENDING), skips), Verdict::PacketComes);
        }
    }

    #[test]
    fn an_inline_success_has_a_packet_unless_it_is_skipped() {
        assert_eq!(verdict(Answer::Finished(7), false), Verdict::PacketComes);
        assert_eq!(verdict(Answer::Finished(7), true), Verdict::Finished { bytes: 7 });
    }

    #[test]
    fn what_a_code_means_depends_on_the_call() {
        let warned = [
            (ERROR_MORE_DATA, Call::ReadFile),
            (MESSAGE_TRUNCATED, Call::WSARecv),
            (MESSAGE_TRUNCATED, Call::WSASend),
        ];
        let at_end = [(ERROR_HANDLE_EOF, Call::ReadFile), (ERROR_BROKEN_PIPE, Call::ReadFile)];
        let others = [5, 6, 64, 87, 995, 10038, 10054, 10057];
        for code in warned.iter().chain(&at_end).map(|row| row.0).chain(others) {
            for call in CALLS {
                let expected = match (code, call) {
                    row if warned.contains(&row) => Failure::Warned,
                    row if at_end.contains(&row) => Failure::AtEnd,
                    _ => Failure::NotStarted,
                };
                // Whatever the last status is of.
                assert_eq!(failure(code, call, 0xC000_0022), expected, "{code} {call:?}");
            }
        }
    }

    #[test]
    fn a_device_warns_where_the_status_says_so() {
        for status in [0x8000_000D, 0x8000_000E, 0x8000_0010, 0x8000_001E] {
            let code = sys::win32_code(status);
            for call in [Call::ReadFile, Call::WriteFile] {
                assert_eq!(failure(code, call, status), Failure::Warned);
                assert_eq!(failure(5, call, status), Failure::NotStarted, "of another call");
            }
            assert_eq!(failure(code, Call::WSARecv, status), Failure::NotStarted, "none noted");
        }
        // The code of a device's warning, too.
        let code = sys::win32_code(0xC000_00A3);
        assert_eq!(failure(code, Call::ReadFile, 0xC000_00A3), Failure::NotStarted);
    }
}
