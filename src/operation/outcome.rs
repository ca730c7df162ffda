//! The packet rule: whether a packet comes for an operation, decided in this
//! one function from what the call answered and nothing else.

use windows_sys::Win32::Foundation::ERROR_IO_PENDING;
use windows_sys::Win32::Networking::WinSock::WSAEMSGSIZE;

use crate::error::{Errors, Facts, is_warning, win32_code};
use crate::sys::Answer;

/// What follows from the answer of a call that starts an operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A packet was queued or will be: nothing of the operation may be touched
    /// any more, because another thread may have dequeued it by now.
    PacketComes,
    /// The operation has succeeded with this byte count, and there will be no
    /// packet.
    Finished { bytes: u32 },
    /// The call has failed with this code; see [`failure`]. `cut`: the length of the memory
    /// that a message was too long for, if it was, and is full then.
    Failed { code: u32, cut: Option<u32> },
}

/// What follows from the code of a call that has failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The operation has ended with a warning. A packet was queued if the system
    /// has written a status.
    Warned,
    /// The code says that the operation is over, with this status, and there will
    /// be no packet.
    Over { status: u32 },
    /// The operation was not started.
    NotStarted,
}

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
        Answer::Code(code) => Verdict::Failed { code, cut: None },
        Answer::Cut(length) => Verdict::Failed { code: WSAEMSGSIZE as u32, cut: Some(length) },
    }
}

/// `last_status`: the status of the last call of the thread's that has noted one.
pub(super) fn failure(code: u32, facts: &'static Facts, last_status: u32) -> Failure {
    // A code alone does not tell a device's warning from an error.
    let is_devices_warning = || is_warning(last_status) && win32_code(last_status) == code;
    let warns = match facts.errors {
        // Of some it is not certain that they are errors.
        Errors::AllBut(codes) => codes.contains(&code),
        Errors::AllButDeviceWarnings | Errors::Unknown => is_devices_warning(),
    };
    // Of a warning the call says that it failed, and the packet comes all the
    // same. "The status block [...] is not updated until the packet is
    // removed, except when the original call returned an error synchronously"
    // (https://learn.microsoft.com/windows/win32/fileio/i-o-completion-ports).
    // Or of a message that was cut to fit into the buffer.
    if warns || facts.warnings.contains(&code) {
        return Failure::Warned;
    }
    match facts.over.iter().find(|(over, _)| *over == code) {
        Some(&(_, status)) => Failure::Over { status },
        // "Any other error code indicates that the overlapped operation was
        // not successfully initiated and no completion indication will occur"
        // (https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv).
        None => Failure::NotStarted,
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Foundation::{
        ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_MORE_DATA, ERROR_PIPE_CONNECTED,
    };

    use super::*;
    use crate::error::STATUS_END_OF_FILE;

    const MESSAGE_TRUNCATED: u32 = 10040;

    const CALLS: [&Facts; 10] = [
        Facts::ReadFile,
        Facts::WriteFile,
        Facts::WSARecv,
        Facts::WSASend,
        Facts::WSARecvFrom,
        Facts::WSASendTo,
        Facts::AcceptEx,
        Facts::ConnectEx,
        Facts::ConnectNamedPipe,
        Facts::DeviceIoControl,
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
            (ERROR_MORE_DATA, Facts::ReadFile),
            (ERROR_MORE_DATA, Facts::DeviceIoControl),
            (MESSAGE_TRUNCATED, Facts::WSARecv),
            (MESSAGE_TRUNCATED, Facts::WSARecvFrom),
            (MESSAGE_TRUNCATED, Facts::WSASend),
            (MESSAGE_TRUNCATED, Facts::WSASendTo),
        ];
        let over = [
            (ERROR_HANDLE_EOF, Facts::ReadFile, STATUS_END_OF_FILE),
            (ERROR_BROKEN_PIPE, Facts::ReadFile, STATUS_END_OF_FILE),
            (ERROR_PIPE_CONNECTED, Facts::ConnectNamedPipe, 0),
        ];
        let others = [5, 6, 64, 87, 995, 10038, 10054, 10057];
        let codes = warned.iter().map(|row| row.0).chain(over.map(|row| row.0)).chain(others);
        for code in codes {
            for facts in CALLS {
                let is_over = over.iter().find(|row| (row.0, row.1) == (code, facts));
                let expected = match is_over {
                    Some(&(_, _, status)) => Failure::Over { status },
                    None if warned.contains(&(code, facts)) => Failure::Warned,
                    None => Failure::NotStarted,
                };
                // Whatever the last status is of.
                assert_eq!(failure(code, facts, 0xC000_0022), expected, "{code} {facts:?}");
            }
        }
    }

    #[test]
    fn a_device_warns_where_the_status_says_so() {
        for status in [0x8000_000D, 0x8000_000E, 0x8000_0010, 0x8000_001E] {
            let code = crate::error::win32_code(status);
            for call in [Facts::ReadFile, Facts::WriteFile, Facts::DeviceIoControl] {
                assert_eq!(failure(code, call, status), Failure::Warned);
                assert_eq!(failure(5, call, status), Failure::NotStarted, "of another call");
            }
            assert_eq!(failure(code, Facts::WSARecv, status), Failure::NotStarted, "none noted");
        }
        // The code of a device's warning, too.
        let code = crate::error::win32_code(0xC000_00A3);
        assert_eq!(failure(code, Facts::ReadFile, 0xC000_00A3), Failure::NotStarted);
    }
}
