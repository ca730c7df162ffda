//! The packet rule: whether a packet comes for an operation, decided in this
//! one function from what the call answered and nothing else.

use windows_sys::Win32::Foundation::{
    ERROR_BEGINNING_OF_MEDIA, ERROR_BUS_RESET, ERROR_BUSY, ERROR_DEVICE_DOOR_OPEN,
    ERROR_DEVICE_REQUIRES_CLEANING, ERROR_END_OF_MEDIA, ERROR_FILEMARK_DETECTED, ERROR_IO_PENDING,
    ERROR_MEDIA_CHANGED, ERROR_NO_DATA_DETECTED, ERROR_NO_MORE_FILES, ERROR_NO_MORE_ITEMS,
    ERROR_NOT_READY, ERROR_OUT_OF_PAPER, ERROR_PARTIAL_COPY, ERROR_SETMARK_DETECTED,
};

use crate::sys::Answer;
use crate::sys::{Errors, Facts};

/// What follows from the answer of a call that starts an operation.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// A packet was queued or will be: nothing of the operation may be touched
    /// any more, because another thread may have dequeued it by now.
    PacketComes,
    /// The operation has succeeded with this byte count, and there will be no
    /// packet.
    Finished { bytes: u32 },
    /// The call has failed with a code that says that the operation is over,
    /// with this status, and there will be no packet.
    Over { status: u32 },
    /// The operation was not started: the call says so.
    NotStarted { code: u32 },
}

/// `skips`: the handle is in the mode `FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`.
#[inline(always)]
pub(super) fn verdict(answer: Answer, facts: &'static Facts, skips: bool) -> Verdict {
    match answer {
        Answer::Code(ERROR_IO_PENDING) => Verdict::PacketComes,
        // "a completion packet is queued [...] even if the I/O operation
        // succeeds immediately", unless the handle's mode says otherwise
        // (https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-setfilecompletionnotificationmodes).
        Answer::Finished(_) if !skips => Verdict::PacketComes,
        Answer::Finished(bytes) => Verdict::Finished { bytes },
        Answer::Code(code) => refused(code, facts),
    }
}

#[cold]
fn refused(code: u32, facts: &'static Facts) -> Verdict {
    if facts.warnings.contains(&code) {
        return Verdict::PacketComes;
    }
    match facts.over.iter().find(|(over, _)| *over == code) {
        Some((_, status)) => Verdict::Over { status: *status },
        // "Any other error code indicates that the overlapped operation was
        // not successfully initiated and no completion indication will occur"
        // (https://learn.microsoft.com/windows/win32/api/winsock2/nf-winsock2-wsarecv).
        None => Verdict::NotStarted { code },
    }
}

/// Whether the code of a call that failed may stand for a warning, of which a
/// packet comes, as well as for an error, of which none comes: the code alone does
/// not tell. (Devices warn with the statuses 0x80000006 to 0x80000289, here as
/// `RtlNtStatusToDosError` translates them, but for the buffer overflow.)
pub(super) fn may_be_a_warning(code: u32, facts: &'static Facts) -> bool {
    match facts.errors {
        Errors::Unknown => true,
        Errors::AllBut(codes) => codes.contains(&code),
        Errors::AllButDeviceWarnings => matches!(
            code,
            ERROR_BEGINNING_OF_MEDIA
                | ERROR_BUS_RESET
                | ERROR_BUSY
                | ERROR_DEVICE_DOOR_OPEN
                | ERROR_DEVICE_REQUIRES_CLEANING
                | ERROR_END_OF_MEDIA
                | ERROR_FILEMARK_DETECTED
                | ERROR_MEDIA_CHANGED
                | ERROR_NO_DATA_DETECTED
                | ERROR_NO_MORE_FILES
                | ERROR_NO_MORE_ITEMS
                | ERROR_NOT_READY
                | ERROR_OUT_OF_PAPER
                | ERROR_PARTIAL_COPY
                | ERROR_SETMARK_DETECTED
        ),
    }
}

#[cfg(test)]
mod tests {
    use windows_sys::Win32::Foundation::{ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_MORE_DATA};

    use super::*;
    use crate::error::STATUS_END_OF_FILE;

    const MESSAGE_TRUNCATED: u32 = 10040;

    #[test]
    fn a_code_that_a_device_warns_with_may_leave_a_packet() {
        for code in
            [1100, 1101, 1102, 1103, 1104, 1110, 1111, 1165, 1166, 18, 21, 28, 170, 259, 299]
        {
            assert!(may_be_a_warning(code, Facts::ReadFile), "{code}");
            assert!(may_be_a_warning(code, Facts::WriteFile), "{code}");
            assert!(!may_be_a_warning(code, Facts::WSARecv), "{code}");
        }
        for code in [2, 5, 6, 38, 87, 109, 232, 995] {
            assert!(!may_be_a_warning(code, Facts::ReadFile), "{code}");
        }
    }

    const CALLS: [&Facts; 6] = [
        Facts::ReadFile,
        Facts::WriteFile,
        Facts::WSARecv,
        Facts::WSASend,
        Facts::AcceptEx,
        Facts::ConnectEx,
    ];

    #[test]
    fn what_pends_has_a_packet_whatever_the_mode() {
        for call in CALLS {
            for skips in [false, true] {
                let answer = Answer::Code(ERROR_IO_PENDING);
                assert_eq!(verdict(answer, call, skips), Verdict::PacketComes);
            }
        }
    }

    #[test]
    fn an_inline_success_has_a_packet_unless_it_is_skipped() {
        for call in CALLS {
            let answer = Answer::Finished(7);
            assert_eq!(verdict(answer, call, false), Verdict::PacketComes);
            assert_eq!(verdict(answer, call, true), Verdict::Finished { bytes: 7 });
        }
    }

    #[test]
    fn an_inline_warning_has_a_packet_though_the_call_fails() {
        let (pipe, datagram) = (Answer::Code(ERROR_MORE_DATA), Answer::Code(MESSAGE_TRUNCATED));
        assert_eq!(verdict(pipe, Facts::ReadFile, false), Verdict::PacketComes);
        assert_eq!(verdict(datagram, Facts::WSARecv, false), Verdict::PacketComes);
    }

    /// It is an error, but Wine queues a packet of it.
    #[test]
    fn a_message_too_long_to_send_may_leave_a_packet() {
        for call in [Facts::WSASend, Facts::WSASendTo] {
            let verdict = verdict(Answer::Code(MESSAGE_TRUNCATED), call, false);
            assert_eq!(verdict, Verdict::NotStarted { code: MESSAGE_TRUNCATED });
            assert!(may_be_a_warning(MESSAGE_TRUNCATED, call));
            assert!(!may_be_a_warning(10054, call));
        }
    }

    #[test]
    fn any_error_of_a_function_of_which_nothing_is_known_may_leave_a_packet() {
        static UNKNOWN: Facts = Facts::new("Unknown");
        // SAFETY: It is not called.
        static KNOWN: Facts = unsafe { Facts::new("Known").errors_have_no_packet() };
        for code in [1, 5, 6, 87, 317, 1165] {
            assert!(may_be_a_warning(code, &UNKNOWN), "{code}");
            assert!(!may_be_a_warning(code, &KNOWN), "{code}");
        }
    }

    #[test]
    fn an_inline_end_of_file_is_finished_without_a_packet() {
        for code in [ERROR_HANDLE_EOF, ERROR_BROKEN_PIPE] {
            for skips in [false, true] {
                assert_eq!(
                    verdict(Answer::Code(code), Facts::ReadFile, skips),
                    Verdict::Over { status: STATUS_END_OF_FILE }
                );
            }
            let written = verdict(Answer::Code(code), Facts::WriteFile, false);
            assert_eq!(written, Verdict::NotStarted { code });
        }
    }

    #[test]
    fn every_other_error_has_no_packet() {
        for call in CALLS {
            for code in [5, 6, 64, 87, 995, 10038, 10054, 10057] {
                let refused = verdict(Answer::Code(code), call, false);
                assert_eq!(refused, Verdict::NotStarted { code });
            }
        }
    }

    /// The same code on another call is an error like any other.
    #[test]
    fn a_code_means_a_packet_or_an_end_only_on_the_call_that_it_is_known_of() {
        for call in CALLS {
            let files = [ERROR_MORE_DATA, ERROR_BROKEN_PIPE];
            for (code, known) in files
                .map(|code| (code, Facts::ReadFile))
                .into_iter()
                .chain([(MESSAGE_TRUNCATED, Facts::WSARecv)])
            {
                if call != known {
                    let refused = verdict(Answer::Code(code), call, false);
                    assert_eq!(refused, Verdict::NotStarted { code }, "{call:?}");
                }
            }
        }
    }
}
