//! The two status tables: what an `NTSTATUS` means on a socket, and what on
//! everything else.
//!
//! Four distinct socket statuses collapse into Win32 error 64
//! (`ERROR_NETNAME_DELETED`), so the status itself is read, not the error that
//! `GetQueuedCompletionStatus` makes of it.

use windows_sys::Win32::Foundation as win;
use windows_sys::Win32::Networking::WinSock as ws;

use super::facts::Facts;
use super::{Error, ErrorKind, Repr};

pub(crate) const STATUS_END_OF_FILE: u32 = 0xC000_0011;
pub(crate) const STATUS_BUFFER_OVERFLOW: u32 = 0x8000_0005;
pub(crate) const STATUS_CONNECTION_ABORTED: u32 = 0xC000_0241;
pub(crate) const STATUS_CANCELLED: u32 = 0xC000_0120;
pub(crate) const STATUS_PENDING: u32 = 0x0000_0103;
pub(crate) const STATUS_TIMEOUT: u32 = 0x0000_0102;
pub(crate) const STATUS_NOTIFY_ENUM_DIR: u32 = 0x0000_010C;
const STATUS_NOTIFY_CLEANUP: u32 = 0x0000_010B;
const STATUS_HANDLES_CLOSED: u32 = 0x8000_000A;
pub(crate) const STATUS_PIPE_BROKEN: u32 = 0xC000_014B;
const STATUS_NO_SUCH_DEVICE: u32 = 0xC000_000E;

/// An error, and no value that the system reserves: bit 28 is never set in an `NTSTATUS`.
pub(crate) fn is_failure(status: u32) -> bool {
    is_error(status) && status & 0x1000_0000 == 0
}

/// Whether a status says that the operation failed: severity 3 of
/// [the four](https://learn.microsoft.com/windows-hardware/drivers/kernel/using-ntstatus-values).
pub(crate) fn is_error(status: u32) -> bool {
    status >> 30 == 3
}

/// Whether a status is a warning: the operation did something, its bytes are
/// valid, and there is more to say.
pub(crate) fn is_warning(status: u32) -> bool {
    status >> 30 == 2
}

/// What `status` means for an operation that has transferred `bytes`: success,
/// or an error of the kind of object that it happened on.
#[inline]
pub(crate) fn completion_error(
    status: u32,
    bytes: u32,
    facts: &'static Facts,
) -> Result<(), Error> {
    let kind = match status {
        0 => return Ok(()),
        // What is seen most often, without the tables.
        STATUS_CANCELLED => Some(ErrorKind::Cancelled),
        _ => failure(status, bytes, facts),
    };
    kind.map_or(Ok(()), |kind| Err(Error(Repr::Operation { facts, status, kind })))
}

/// The general cause of an operation's failure, if that is what a status means.
#[cold]
#[inline(never)]
fn failure(status: u32, bytes: u32, facts: &'static Facts) -> Option<ErrorKind> {
    match status {
        // A device's time-out ends an operation, and does not fail it: "the
        // ReadFile operation is completed and any buffered data is returned"
        // (https://learn.microsoft.com/windows/win32/api/winbase/ns-winbase-commtimeouts).
        // Only without data would that be taken for the end.
        STATUS_TIMEOUT if bytes > 0 && !facts.is_winsock => None,
        _ => code_of(status, facts).map(|code| kind_of_code(code, facts)),
    }
}

/// The Win32 or Winsock code of an operation's status; `None` if that means
/// success, whatever was transferred.
///
/// The end of a file or of a pipe is a success with no bytes for a read, as
/// the end of a stream is on a socket.
pub(super) fn code_of(status: u32, facts: &'static Facts) -> Option<u32> {
    let socket = facts.is_winsock;
    Some(match status {
        _ if facts.ends.contains(&status) => return None,
        // The last says that a directory's handle was closed, with the severity of a
        // success.
        STATUS_CANCELLED | STATUS_HANDLES_CLOSED | STATUS_NOTIFY_CLEANUP => {
            win::ERROR_OPERATION_ABORTED
        }
        // These two have the severity of a success.
        STATUS_TIMEOUT if socket => ws::WSAETIMEDOUT as u32,
        STATUS_TIMEOUT => win::ERROR_TIMEOUT,
        STATUS_NOTIFY_ENUM_DIR => win::ERROR_NOTIFY_ENUM_DIR,
        STATUS_BUFFER_OVERFLOW if !socket => win::ERROR_MORE_DATA,
        // Some systems translate it to ERROR_FILE_NOT_FOUND.
        STATUS_NO_SUCH_DEVICE => win::ERROR_NO_SUCH_DEVICE,
        _ if !is_error(status) && !is_warning(status) => return None,
        _ if socket => winsock_code(status).unwrap_or_else(|| win32_code(status)),
        _ => win32_code(status),
    })
}

/// Whether an operation that succeeds with this status has found the end of what it reads.
/// The other statuses that such a call succeeds with are no errors.
pub(crate) fn is_end(status: u32, facts: &'static Facts) -> bool {
    is_error(status) && facts.ends.contains(&status)
}

/// The Winsock code of a status that has one.
fn winsock_code(status: u32) -> Option<u32> {
    let code = match status {
        STATUS_BUFFER_OVERFLOW | 0xC000_0206 /* INVALID_BUFFER_SIZE */ => ws::WSAEMSGSIZE,
        0xC000_0008 /* INVALID_HANDLE */ | 0xC000_0024 /* OBJECT_TYPE_MISMATCH */ => ws::WSAENOTSOCK,
        0xC000_009A /* INSUFFICIENT_RESOURCES */
        | 0xC000_0017 /* NO_MEMORY */
        | 0xC000_0044 /* QUOTA_EXCEEDED */
        | 0xC000_00A1 /* WORKING_SET_QUOTA */
        | 0xC000_012D /* COMMITMENT_LIMIT */
        | 0xC000_012C /* PAGEFILE_QUOTA */
        | 0xC000_0209 /* TOO_MANY_ADDRESSES */
        | 0xC000_0218 /* CONFLICTING_ADDRESSES */ => ws::WSAENOBUFS,
        0xC000_0043 /* SHARING_VIOLATION */ | 0xC000_020A /* ADDRESS_ALREADY_EXISTS */ => ws::WSAEADDRINUSE,
        0xC000_00B5 /* IO_TIMEOUT */ | 0xC000_013F /* LINK_TIMEOUT */ => ws::WSAETIMEDOUT,
        0xC000_013B /* LOCAL_DISCONNECT */
        | 0xC000_013D /* TRANSACTION_ABORTED */
        | 0xC000_0241 /* CONNECTION_ABORTED */ => ws::WSAECONNABORTED,
        0xC000_013C /* REMOTE_DISCONNECT */
        | 0xC000_020C /* CONNECTION_DISCONNECTED */
        | 0xC000_020D /* CONNECTION_RESET */
        | 0xC000_013E /* LINK_FAILED */
        | 0xC000_023F /* PORT_UNREACHABLE */ => ws::WSAECONNRESET,
        0xC000_A013 /* HOPLIMIT_EXCEEDED */ => ws::WSAENETRESET,
        0xC000_0236 /* CONNECTION_REFUSED */ | 0xC000_00BC /* REMOTE_NOT_LISTENING */ => ws::WSAECONNREFUSED,
        0xC000_0237 /* GRACEFUL_DISCONNECT */ => ws::WSAEDISCON,
        0xC000_023C /* NETWORK_UNREACHABLE */
        | 0xC000_023E /* PROTOCOL_UNREACHABLE */
        | 0xC000_00BE /* BAD_NETWORK_PATH */ => ws::WSAENETUNREACH,
        0xC000_00BF /* NETWORK_BUSY */ | 0xC000_00C4 /* UNEXPECTED_NETWORK_ERROR */ => ws::WSAENETDOWN,
        0xC000_023D /* HOST_UNREACHABLE */ => ws::WSAEHOSTUNREACH,
        0xC000_0240 /* REQUEST_ABORTED */ => ws::WSAEINTR,
        0xC000_00B0 /* PIPE_DISCONNECTED */ => ws::WSAESHUTDOWN,
        0xC000_011F /* TOO_MANY_OPENED_FILES */ => ws::WSAEMFILE,
        0xC000_0023 /* BUFFER_TOO_SMALL */ | 0xC000_0005 /* ACCESS_VIOLATION */ => ws::WSAEFAULT,
        0xC000_0141 /* INVALID_ADDRESS_COMPONENT */ | 0xC000_0207 /* INVALID_ADDRESS */ => ws::WSAEADDRNOTAVAIL,
        0xC000_0022 /* ACCESS_DENIED */ => ws::WSAEACCES,
        0xC000_020B /* ADDRESS_CLOSED */
        | 0xC000_0239 /* ADDRESS_NOT_ASSOCIATED */
        | 0xC000_0140 /* INVALID_CONNECTION */
        | 0xC000_023A /* CONNECTION_INVALID */ => ws::WSAENOTCONN,
        0xC000_023B /* CONNECTION_ACTIVE */ => ws::WSAEISCONN,
        0xC000_0010 /* INVALID_DEVICE_REQUEST */
        | 0xC000_00BB /* NOT_SUPPORTED */
        | 0xC000_0002 /* NOT_IMPLEMENTED */ => ws::WSAEOPNOTSUPP,
        0xC000_000D /* INVALID_PARAMETER */ => ws::WSAEINVAL,
        _ => return None,
    };
    Some(code as u32)
}

/// The general cause behind a Win32 or a Winsock code of a call; the two ranges
/// do not overlap.
pub(super) fn kind_of_code(code: u32, facts: &'static Facts) -> ErrorKind {
    if let Some((_, kind)) = facts.kinds.iter().find(|(known, _)| *known == code) {
        return *kind;
    }
    match code {
        win::ERROR_OPERATION_ABORTED | win::ERROR_REQUEST_ABORTED => ErrorKind::Cancelled,
        win::ERROR_ABANDONED_WAIT_0 => ErrorKind::Closed,
        win::ERROR_INVALID_HANDLE => ErrorKind::InvalidHandle,
        win::ERROR_INVALID_PARAMETER => ErrorKind::InvalidInput,
        win::ERROR_NOT_SUPPORTED
        | win::ERROR_INVALID_FUNCTION
        | win::ERROR_CALL_NOT_IMPLEMENTED => ErrorKind::Unsupported,
        win::ERROR_NOT_ENOUGH_MEMORY
        | win::ERROR_OUTOFMEMORY
        | win::ERROR_NO_SYSTEM_RESOURCES
        | win::ERROR_NOT_ENOUGH_QUOTA
        | win::ERROR_WORKING_SET_QUOTA
        | win::ERROR_COMMITMENT_LIMIT
        | win::ERROR_INVALID_USER_BUFFER
        | win::ERROR_TOO_MANY_OPEN_FILES => ErrorKind::ResourceExhausted,
        win::ERROR_MORE_DATA => ErrorKind::MoreData,
        win::ERROR_CONNECTION_ABORTED | win::ERROR_GRACEFUL_DISCONNECT => {
            ErrorKind::ConnectionAborted
        }
        win::ERROR_CONNECTION_REFUSED => ErrorKind::ConnectionRefused,
        win::ERROR_PIPE_NOT_CONNECTED | win::ERROR_PIPE_LISTENING => ErrorKind::NotConnected,
        win::ERROR_BROKEN_PIPE | win::ERROR_NO_DATA => ErrorKind::BrokenPipe,
        win::ERROR_PIPE_BUSY | win::ERROR_BUSY => ErrorKind::Busy,
        win::ERROR_DEVICE_NOT_CONNECTED
        | win::ERROR_DEVICE_REMOVED
        | win::ERROR_NO_SUCH_DEVICE
        | win::ERROR_DEV_NOT_EXIST => ErrorKind::DeviceRemoved,
        win::ERROR_NETWORK_UNREACHABLE | win::ERROR_PROTOCOL_UNREACHABLE => {
            ErrorKind::NetworkUnreachable
        }
        win::ERROR_HOST_UNREACHABLE => ErrorKind::HostUnreachable,
        win::ERROR_NETNAME_DELETED | win::ERROR_PORT_UNREACHABLE => ErrorKind::ConnectionReset,
        win::ERROR_SEM_TIMEOUT | win::ERROR_TIMEOUT | win::WAIT_TIMEOUT => ErrorKind::TimedOut,
        win::ERROR_FILE_NOT_FOUND | win::ERROR_PATH_NOT_FOUND => ErrorKind::NotFound,
        win::ERROR_ACCESS_DENIED => ErrorKind::PermissionDenied,
        win::ERROR_LOCK_VIOLATION | win::ERROR_SHARING_VIOLATION => ErrorKind::Locked,
        win::ERROR_DISK_FULL | win::ERROR_HANDLE_DISK_FULL => ErrorKind::StorageFull,
        _ => match code as i32 {
            ws::WSAEINTR | ws::WSA_E_CANCELLED | ws::WSAECANCELLED => ErrorKind::Cancelled,
            ws::WSAENOTSOCK | ws::WSAEBADF => ErrorKind::InvalidHandle,
            ws::WSAEINVAL | ws::WSAEFAULT => ErrorKind::InvalidInput,
            ws::WSAEOPNOTSUPP
            | ws::WSAENOPROTOOPT
            | ws::WSAEAFNOSUPPORT
            | ws::WSAEPROTONOSUPPORT => ErrorKind::Unsupported,
            // WSARecv: "Too many outstanding overlapped I/O requests."
            ws::WSAENOBUFS | ws::WSAEWOULDBLOCK | ws::WSAEMFILE => ErrorKind::ResourceExhausted,
            ws::WSAEMSGSIZE => ErrorKind::MessageTruncated,
            ws::WSAECONNRESET | ws::WSAENETRESET => ErrorKind::ConnectionReset,
            ws::WSAECONNABORTED | ws::WSAEDISCON => ErrorKind::ConnectionAborted,
            ws::WSAECONNREFUSED => ErrorKind::ConnectionRefused,
            ws::WSAENOTCONN => ErrorKind::NotConnected,
            ws::WSAEISCONN => ErrorKind::AlreadyConnected,
            ws::WSAESHUTDOWN => ErrorKind::BrokenPipe,
            ws::WSAEADDRINUSE => ErrorKind::AddressInUse,
            ws::WSAEADDRNOTAVAIL => ErrorKind::AddressNotAvailable,
            ws::WSAENETUNREACH | ws::WSAENETDOWN => ErrorKind::NetworkUnreachable,
            ws::WSAEHOSTUNREACH | ws::WSAEHOSTDOWN => ErrorKind::HostUnreachable,
            ws::WSAETIMEDOUT => ErrorKind::TimedOut,
            ws::WSAEACCES => ErrorKind::PermissionDenied,
            _ => ErrorKind::Other,
        },
    }
}

/// The Win32 code of a status, by the system's own table.
#[allow(unsafe_code)]
pub(crate) fn win32_code(status: u32) -> u32 {
    // SAFETY: It looks the status up in a table, and touches no other memory.
    unsafe { win::RtlNtStatusToDosError(status as i32) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Status, Win32 code on files, Winsock code on sockets, kinds of both.
    type Row = (u32, u32, i32, ErrorKind, ErrorKind);

    #[test]
    fn a_status_has_the_meaning_of_the_object_it_happened_on() {
        use ErrorKind as K;
        #[rustfmt::skip]
        let rows: [Row; 26] = [
            (0xC000_013B, 64, 10053, K::ConnectionReset, K::ConnectionAborted),
            (0xC000_013C, 64, 10054, K::ConnectionReset, K::ConnectionReset),
            (0xC000_020C, 64, 10054, K::ConnectionReset, K::ConnectionReset),
            (0xC000_020D, 64, 10054, K::ConnectionReset, K::ConnectionReset),
            (0xC000_0241, 1236, 10053, K::ConnectionAborted, K::ConnectionAborted),
            (0xC000_0236, 1225, 10061, K::ConnectionRefused, K::ConnectionRefused),
            (0xC000_0237, 1226, 10101, K::ConnectionAborted, K::ConnectionAborted),
            (0xC000_023C, 1231, 10051, K::NetworkUnreachable, K::NetworkUnreachable),
            (0xC000_023D, 1232, 10065, K::HostUnreachable, K::HostUnreachable),
            (0xC000_023E, 1233, 10051, K::NetworkUnreachable, K::NetworkUnreachable),
            (0xC000_023F, 1234, 10054, K::ConnectionReset, K::ConnectionReset),
            (0xC000_0240, 1235, 10004, K::Cancelled, K::Cancelled),
            (0xC000_00B5, 121, 10060, K::TimedOut, K::TimedOut),
            (0xC000_0120, 995, 995, K::Cancelled, K::Cancelled),
            (0xC000_00B0, 233, 10058, K::NotConnected, K::BrokenPipe),
            (0x8000_0005, 234, 10040, K::MoreData, K::MessageTruncated),
            (0xC000_009A, 1450, 10055, K::ResourceExhausted, K::ResourceExhausted),
            (0xC000_0044, 1816, 10055, K::ResourceExhausted, K::ResourceExhausted),
            (0x0000_0102, 1460, 10060, K::TimedOut, K::TimedOut),
            (0xC000_020A, 52, 10048, K::Other, K::AddressInUse),
            (0x0000_010B, 995, 995, K::Cancelled, K::Cancelled),
            (0x0000_010C, 1022, 1022, K::Other, K::Other),
            (0xC000_009D, 1167, 1167, K::DeviceRemoved, K::DeviceRemoved),
            (0xC000_02B6, 1617, 1617, K::DeviceRemoved, K::DeviceRemoved),
            (0xC000_000E, 433, 433, K::DeviceRemoved, K::DeviceRemoved),
            (0xC000_011F, 4, 10024, K::ResourceExhausted, K::ResourceExhausted),
        ];
        for (status, win32, winsock, on_file, on_socket) in rows {
            let file = completion_error(status, 0, Facts::WriteFile).unwrap_err();
            assert_eq!(
                (file.raw_os_error(), file.kind()),
                (Some(win32 as i32), on_file),
                "{status:#x}"
            );
            assert_eq!(file.ntstatus(), Some(status));
            assert_eq!(file.call(), Some("WriteFile"));
            let socket = completion_error(status, 0, Facts::WSASend).unwrap_err();
            assert_eq!(
                (socket.raw_os_error(), socket.kind()),
                (Some(winsock), on_socket),
                "{status:#x}"
            );
        }
    }

    #[test]
    fn a_status_on_a_socket_has_the_code_that_winsock_gives_it() {
        #[rustfmt::skip]
        let rows: [(i32, &[u32]); 22] = [
            (10004, &[0xC000_0240]),
            (10013, &[0xC000_0022]),
            (10014, &[0xC000_0023, 0xC000_0005]),
            (10022, &[0xC000_000D]),
            (10024, &[0xC000_011F]),
            (10038, &[0xC000_0008, 0xC000_0024]),
            (10040, &[0x8000_0005, 0xC000_0206]),
            (10045, &[0xC000_0010, 0xC000_00BB, 0xC000_0002]),
            (10048, &[0xC000_0043, 0xC000_020A]),
            (10049, &[0xC000_0141, 0xC000_0207]),
            (10050, &[0xC000_00BF, 0xC000_00C4]),
            (10051, &[0xC000_023C, 0xC000_023E, 0xC000_00BE]),
            (10052, &[0xC000_A013]),
            (10053, &[0xC000_013B, 0xC000_013D, 0xC000_0241]),
            (10054, &[0xC000_013C, 0xC000_020C, 0xC000_020D, 0xC000_013E, 0xC000_023F]),
            (10055, &[
                0xC000_009A, 0xC000_0017, 0xC000_0044, 0xC000_00A1,
                0xC000_012D, 0xC000_012C, 0xC000_0209, 0xC000_0218,
            ]),
            (10056, &[0xC000_023B]),
            (10057, &[0xC000_020B, 0xC000_0239, 0xC000_0140, 0xC000_023A]),
            (10058, &[0xC000_00B0]),
            (10060, &[0xC000_00B5, 0xC000_013F, 0x0000_0102]),
            (10061, &[0xC000_0236, 0xC000_00BC]),
            (10065, &[0xC000_023D]),
        ];
        for (code, statuses) in rows {
            for &status in statuses {
                let error = completion_error(status, 0, Facts::WSASend).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(code), "{status:#x}");
            }
        }
    }

    #[test]
    fn a_code_has_the_kind_of_its_cause() {
        use ErrorKind as K;
        #[rustfmt::skip]
        let rows: [(K, &[u32]); 25] = [
            (K::Cancelled, &[995, 1235, 10004, 10103, 10111]),
            (K::Closed, &[735]),
            (K::InvalidHandle, &[6, 10009, 10038]),
            (K::InvalidInput, &[87, 10014, 10022]),
            (K::Unsupported, &[1, 50, 120, 10043, 10045, 10047]),
            (K::ResourceExhausted, &[4, 8, 14, 1450, 1453, 1455, 1784, 1816, 10024, 10035, 10055]),
            (K::MoreData, &[234]),
            (K::MessageTruncated, &[10040]),
            (K::ConnectionAborted, &[1226, 1236, 10053, 10101]),
            (K::ConnectionRefused, &[1225, 10061]),
            (K::ConnectionReset, &[64, 1234, 10052, 10054]),
            (K::NotConnected, &[233, 536, 10057]),
            (K::AlreadyConnected, &[10056]),
            (K::BrokenPipe, &[109, 232, 10058]),
            (K::DeviceRemoved, &[55, 433, 1167, 1617]),
            (K::AddressInUse, &[10048]),
            (K::AddressNotAvailable, &[10049]),
            (K::NetworkUnreachable, &[1231, 1233, 10050, 10051]),
            (K::HostUnreachable, &[1232, 10064, 10065]),
            (K::TimedOut, &[121, 258, 1460, 10060]),
            (K::NotFound, &[2, 3]),
            (K::PermissionDenied, &[5, 10013]),
            (K::Locked, &[32, 33]),
            (K::StorageFull, &[39, 112]),
            (K::Other, &[0, 52, 11_001, u32::MAX]),
        ];
        for (kind, codes) in rows {
            for &code in codes {
                assert_eq!(kind_of_code(code, Facts::WriteFile), kind, "{code}");
            }
        }
    }

    #[test]
    fn a_read_of_an_empty_pipe_that_does_not_wait_would_block() {
        let at_once = kind_of_code(win::ERROR_NO_DATA, Facts::ReadFile);
        assert_eq!(at_once, ErrorKind::WouldBlock);
        for status in [0xC000_00D9 /* PIPE_EMPTY */, 0xC000_00B1 /* PIPE_CLOSING */] {
            let read = completion_error(status, 0, Facts::ReadFile).unwrap_err();
            assert_eq!((read.kind(), read.raw_os_error()), (ErrorKind::WouldBlock, Some(232)));
            let write = completion_error(status, 0, Facts::WriteFile).unwrap_err();
            assert_eq!((write.kind(), write.raw_os_error()), (ErrorKind::BrokenPipe, Some(232)));
        }
    }

    #[test]
    fn a_client_that_goes_away_is_told_alike_at_once_and_later() {
        let at_once = [64, 10052, 10053, 10054, 10057, 1236];
        let later = [0xC000_013B, 0xC000_013C, 0xC000_0140, 0xC000_020D, 0xC000_0241];
        let kinds = at_once
            .map(|code| Error::os(Facts::AcceptEx, code))
            .into_iter()
            .chain(later.map(|status| completion_error(status, 0, Facts::AcceptEx).unwrap_err()));
        for error in kinds {
            let is_the_clients =
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted);
            assert!(is_the_clients, "{error:?}");
        }
        // On other sockets it is what it says.
        assert_eq!(kind_of_code(10057, Facts::WSASend), ErrorKind::NotConnected);
    }

    #[test]
    fn a_time_out_of_a_device_with_data_is_a_success() {
        for call in [Facts::ReadFile, Facts::WriteFile] {
            assert_eq!(completion_error(STATUS_TIMEOUT, 1, call), Ok(()));
            let error = completion_error(STATUS_TIMEOUT, 0, call).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
        for call in [Facts::WSARecv, Facts::WSASend] {
            let error = completion_error(STATUS_TIMEOUT, 1, call).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
    }

    #[test]
    fn the_two_highest_bits_tell_errors_and_warnings() {
        for (status, error, warning) in [
            (0x0000_0000, false, false),
            (0x7FFF_FFFF, false, false),
            (0x8000_0000, false, true),
            (0xBFFF_FFFF, false, true),
            (0xC000_0000, true, false),
            (0xFFFF_FFFF, true, false),
        ] {
            assert_eq!((is_error(status), is_warning(status)), (error, warning), "{status:#x}");
        }
    }

    #[test]
    fn the_end_of_a_file_or_pipe_is_a_success_for_reads_only() {
        for status in [STATUS_END_OF_FILE, STATUS_PIPE_BROKEN] {
            for call in [Facts::ReadFile, Facts::WSARecv] {
                assert_eq!(completion_error(status, 0, call), Ok(()));
            }
            for call in [Facts::WriteFile, Facts::WSASend, Facts::AcceptEx, Facts::ConnectEx] {
                assert!(completion_error(status, 0, call).is_err());
            }
        }
        let write = completion_error(STATUS_PIPE_BROKEN, 0, Facts::WriteFile).unwrap_err();
        assert_eq!(write.kind(), ErrorKind::BrokenPipe);
    }

    #[test]
    fn a_success_with_something_to_say_is_a_success() {
        // STATUS_WAIT_1 and other informational ones.
        assert_eq!(completion_error(1, 0, Facts::WSARecv), Ok(()));
        assert_eq!(completion_error(0x4000_0000, 0, Facts::WSARecv), Ok(()));
    }

    #[test]
    fn a_handle_closed_under_an_operation_cancels_it() {
        for call in [Facts::ReadFile, Facts::WSARecv] {
            let error = completion_error(STATUS_HANDLES_CLOSED, 0, call).unwrap_err();
            assert!(error.is_cancelled());
        }
    }
}
