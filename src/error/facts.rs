//! The system calls that this crate makes: one row a call, with all that the
//! packet rule and the errors have to know of it.

use windows_sys::Win32::Foundation::{
    ERROR_BAD_PIPE, ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_INVALID_LOCK_RANGE, ERROR_MORE_DATA,
    ERROR_NO_DATA, ERROR_PIPE_CONNECTED, ERROR_SUCCESS,
};
use windows_sys::Win32::Networking::WinSock::{WSAEMSGSIZE, WSAENOTCONN};

use super::{
    ErrorKind, STATUS_BUFFER_OVERFLOW, STATUS_END_OF_FILE, STATUS_NOTIFY_ENUM_DIR, STATUS_PENDING,
    STATUS_PIPE_BROKEN,
};

/// The kind of operation that a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperationKind {
    /// A read or a receive.
    Read,
    /// A write or a send.
    Write,
    /// An accept.
    Accept,
    /// A connect.
    Connect,
    /// A packet of [`Iocp::post`](crate::Iocp::post).
    Post,
    /// A wait of [`Iocp::initiate_wait`](crate::Iocp::initiate_wait).
    Wait,
    /// A timer of [`Iocp::after`](crate::Iocp::after) or [`Iocp::at`](crate::Iocp::at).
    Timer,
    /// Any other operation.
    Other,
}

/// Describes a function that starts operations: what its errors mean, and when a packet
/// follows.
///
/// Every overlapped function keeps to these rules: after `ERROR_IO_PENDING` a packet comes;
/// after a success one comes, unless the handle [skips](crate::Associated::skip_on_success)
/// it; after an error none comes.
///
/// [`new`](Self::new) assumes the worst of everything else. The other methods say more about
/// a function, and are unsafe where a packet that comes in spite of them would be taken for
/// another operation's.
///
/// ```
/// use completion_port::op::Facts;
///
/// static WAIT_COMM_EVENT: Facts = Facts::new("WaitCommEvent");
/// ```
#[derive(Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
pub struct Facts {
    pub(crate) name: &'static str,
    /// Whether its codes, and those of its completions, are Winsock's.
    pub(crate) is_winsock: bool,
    pub(crate) kind: OperationKind,
    /// Whether it fills memory, and is refused without room.
    pub(crate) fills: bool,
    pub(crate) over: &'static [(u32, u32)],
    pub(crate) warnings: &'static [u32],
    pub(crate) errors: Errors,
    /// Whether it can be started on a handle that skips packets.
    pub(crate) skips: bool,
    pub(crate) ends: &'static [u32],
    pub(crate) kinds: &'static [(u32, ErrorKind)],
    /// Whether it is one of this crate's that receive from a socket.
    pub(crate) receives: bool,
}

/// Which codes of a failed call are certain to be errors, of which no packet comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Errors {
    /// All but these.
    AllBut(&'static [u32]),
    /// All but those that the system's drivers warn with.
    AllButDeviceWarnings,
    /// None: a driver may return whatever it likes, and
    /// [0x8007xxxx](https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-rtlntstatustodoserror),
    /// which is a warning, becomes any code.
    Unknown,
}

impl Facts {
    /// Describes the function with this documented name, whose codes are those of
    /// `GetLastError`.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self {
            name,
            is_winsock: false,
            kind: OperationKind::Other,
            fills: false,
            over: &[],
            warnings: &[],
            errors: Errors::Unknown,
            skips: false,
            ends: &[],
            kinds: &[],
            receives: false,
        }
    }

    /// Says that its codes are those of `WSAGetLastError`.
    #[must_use]
    pub const fn winsock(self) -> Self {
        Self { is_winsock: true, ..self }
    }

    /// Sets what [`Finished::kind`](crate::Finished::kind) returns for its operations.
    #[must_use]
    pub const fn kind(self, kind: OperationKind) -> Self {
        Self { kind, ..self }
    }

    /// Says that it fills the [`Fills`](crate::op::Fills) of an operation's memory. Without
    /// room there, the operation is refused, because it would report the end of a stream.
    #[must_use]
    pub const fn fills(self) -> Self {
        Self { fills: true, ..self }
    }

    /// Sets the codes of a failed call that only warn, such as that a message was cut: a
    /// packet still follows. (If none does, the operation never ends.)
    #[must_use]
    pub const fn warnings(self, codes: &'static [u32]) -> Self {
        Self { warnings: codes, ..self }
    }

    /// Sets the statuses of a completion that mean a success without bytes: the end of what
    /// is read.
    #[must_use]
    pub const fn ends(self, statuses: &'static [u32]) -> Self {
        Self { ends: statuses, ..self }
    }

    /// Sets the [`ErrorKind`] of codes that mean something else here than elsewhere.
    #[must_use]
    pub const fn kinds(self, codes: &'static [(u32, ErrorKind)]) -> Self {
        Self { kinds: codes, ..self }
    }

    /// Sets the codes of a failed call after which the operation has completed, each with the
    /// `NTSTATUS` of its completion, which is delivered as if a packet had come.
    ///
    /// # Safety
    ///
    /// No packet comes after these codes.
    ///
    /// # Panics
    ///
    /// If a status is `STATUS_PENDING`, or has the reserved bit 28, which are none to be
    /// over with.
    #[must_use]
    pub const unsafe fn over(self, codes: &'static [(u32, u32)]) -> Self {
        let mut index = 0;
        while index < codes.len() {
            let status = codes[index].1;
            assert!(status != STATUS_PENDING, "an operation that is over is not pending");
            assert!(status & 0x1000_0000 == 0, "bit 28 of a status is reserved");
            index += 1;
        }
        Self { over: codes, ..self }
    }

    /// Says that no packet follows any code of a failed call but the
    /// [warnings](Self::warnings), so that the port can use its memory again at once.
    /// (Otherwise it waits, because a driver may warn with any code.)
    ///
    /// # Safety
    ///
    /// No packet comes after any code of a failed call but warnings.
    #[must_use]
    pub const unsafe fn errors_have_no_packet(self) -> Self {
        Self { errors: Errors::AllBut(&[]), ..self }
    }

    /// Says that it can be started on a handle that [skips the
    /// port](crate::Associated::skip_on_success).
    ///
    /// # Safety
    ///
    /// On such a handle no packet comes after a success, and then the function has
    /// written its byte count to [`RawCall::count`](crate::op::RawCall::count), or
    /// transfers no bytes. It has no [warnings](Self::warnings) there.
    #[must_use]
    pub const unsafe fn skips(self) -> Self {
        Self { skips: true, ..self }
    }
}

/// The function that an operation calls, depending on what it is started on.
#[derive(Clone, Copy, Debug)]
pub enum FactsOn {
    /// The function on sockets; other handles are refused.
    Sockets(&'static Facts),
    /// The function on files, pipes and devices; sockets are refused.
    Handles(&'static Facts),
    /// One function on sockets, another elsewhere.
    Either {
        /// The function on sockets.
        sockets: &'static Facts,
        /// The function on files, pipes and devices.
        handles: &'static Facts,
    },
}

impl FactsOn {
    pub(crate) const fn get(self, is_socket: bool) -> Option<&'static Facts> {
        match self {
            Self::Sockets(facts) | Self::Either { sockets: facts, .. } if is_socket => Some(facts),
            Self::Handles(facts) | Self::Either { handles: facts, .. } if !is_socket => Some(facts),
            _ => None,
        }
    }
}

/// Declares the functions of this crate. All columns have to be there; those of
/// functions that start no operation are left out.
macro_rules! facts {
    ($($name:ident = $text:literal $codes:ident
        $({ $kind:ident, fills: $fills:expr, over: $over:expr, warnings: $warnings:expr, errors: $errors:expr,
            skips: $skips:expr, ends: $ends:expr, kinds: $kinds:expr $(, receives: $receives:expr)? })?;
    )*) => {
        #[allow(non_upper_case_globals, reason = "they are the functions' own names")]
        impl Facts {
            $(pub(crate) const $name: &'static Facts = &Facts {
                is_winsock: facts!(@$codes),
                $(kind: OperationKind::$kind, fills: $fills, over: $over, warnings: $warnings, errors: $errors,
                    skips: $skips, ends: $ends, kinds: $kinds, $(receives: $receives,)?)?
                ..Facts::new($text)
            };)*
        }
    };
    (@Winsock) => { true };
    (@Win32) => { false };
}

const END: u32 = STATUS_END_OF_FILE;
const CUT: u32 = WSAEMSGSIZE as u32;

/// The end of a file or pipe is a success without bytes, whichever way it is
/// found. "If lpOverlapped is not NULL [...] and the read is past the end, the
/// function returns FALSE with `ERROR_HANDLE_EOF`"
/// (<https://learn.microsoft.com/windows/win32/fileio/testing-for-the-end-of-a-file>).
const ENDS: &[u32] = &[STATUS_END_OF_FILE, STATUS_PIPE_BROKEN];

/// A listener is never connected: this is the client that went away.
const GONE: &[(u32, ErrorKind)] = &[(WSAENOTCONN as u32, ErrorKind::ConnectionAborted)];

/// "Using a nonblocking-wait handle, the function returns zero immediately, and the
/// `GetLastError` function returns `ERROR_NO_DATA`", if the pipe is empty
/// (<https://learn.microsoft.com/windows/win32/ipc/named-pipe-type-read-and-wait-modes>).
/// Of a write, it says that the other end is being closed.
const EMPTY: &[(u32, ErrorKind)] = &[(ERROR_NO_DATA, ErrorKind::WouldBlock)];

/// "`ERROR_BAD_PIPE`: the pipe is not of messages, or this end does not read them".
const NO_MESSAGES: &[(u32, ErrorKind)] = &[(ERROR_BAD_PIPE, ErrorKind::Unsupported)];

/// A range that the system does not take.
const RANGE: &[(u32, ErrorKind)] = &[(ERROR_INVALID_LOCK_RANGE, ErrorKind::InvalidInput)];

use Errors::{AllBut, AllButDeviceWarnings, Unknown};

// A truncated message is a warning, STATUS_BUFFER_OVERFLOW, not an error: the
// call says that it failed, and the packet comes all the same. Skip-on-success
// is never on where messages can be truncated.
//
// A datagram that is too long to be sent is an error, but Wine queues a packet of
// it.
#[rustfmt::skip]
facts! {
    AcceptEx = "AcceptEx" Winsock { Accept, fills: false, over: &[], warnings: &[], errors: AllBut(&[]), skips: true, ends: &[], kinds: GONE };
    ConnectEx = "ConnectEx" Winsock { Connect, fills: false, over: &[], warnings: &[], errors: AllBut(&[]), skips: true, ends: &[], kinds: &[] };
    // "If a client connects before the function is called, the function returns
    // zero and GetLastError returns ERROR_PIPE_CONNECTED"
    // (https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-connectnamedpipe).
    ConnectNamedPipe = "ConnectNamedPipe" Win32 { Accept, fills: false, over: &[(ERROR_PIPE_CONNECTED, 0)], warnings: &[], errors: AllBut(&[]), skips: true, ends: &[], kinds: &[] };
    DeviceIoControl = "DeviceIoControl" Win32 { Other, fills: false, over: &[], warnings: &[ERROR_MORE_DATA], errors: Unknown, skips: false, ends: &[], kinds: &[] };
    // Wine says on a handle that skips that it pends, and queues no packet.
    DisconnectEx = "DisconnectEx" Winsock { Other, fills: false, over: &[], warnings: &[], errors: AllBut(&[]), skips: false, ends: &[], kinds: &[] };
    // On Wine, which queues no packet of a lock: see `sys::lock_file`.
    LockFileEx = "LockFileEx" Win32 { Other, fills: false, over: &[(ERROR_SUCCESS, 0)], warnings: &[], errors: AllBut(&[]), skips: false, ends: &[], kinds: RANGE };
    NtFsControlFile = "NtFsControlFile" Win32 { Other, fills: false, over: &[], warnings: &[], errors: AllButDeviceWarnings, skips: false, ends: &[], kinds: &[] };
    PostQueuedCompletionStatus = "PostQueuedCompletionStatus" Win32 { Post, fills: false, over: &[], warnings: &[], errors: AllBut(&[]), skips: true, ends: &[], kinds: &[] };
    // "ReadDirectoryChangesW fails with ERROR_NOTIFY_ENUM_DIR when the system was
    // unable to record all the changes"
    // (https://learn.microsoft.com/windows/win32/api/winbase/nf-winbase-readdirectorychangesw).
    ReadDirectoryChangesW = "ReadDirectoryChangesW" Win32 { Other, fills: true, over: &[], warnings: &[], errors: Unknown, skips: false, ends: &[STATUS_NOTIFY_ENUM_DIR], kinds: &[] };
    ReadFile = "ReadFile" Win32 { Read, fills: true, over: &[(ERROR_HANDLE_EOF, END), (ERROR_BROKEN_PIPE, END)], warnings: &[ERROR_MORE_DATA], errors: AllButDeviceWarnings, skips: true, ends: ENDS, kinds: EMPTY };
    ReadFileScatter = "ReadFileScatter" Win32 { Read, fills: true, over: &[(ERROR_HANDLE_EOF, END)], warnings: &[], errors: AllButDeviceWarnings, skips: false, ends: ENDS, kinds: &[] };
    SetThreadpoolWait = "SetThreadpoolWait" Win32 { Wait, fills: false, over: &[], warnings: &[], errors: AllBut(&[]), skips: false, ends: &[], kinds: &[] };
    SetThreadpoolTimer = "SetThreadpoolTimer" Win32 { Timer, fills: false, over: &[], warnings: &[], errors: AllBut(&[]), skips: true, ends: &[], kinds: &[] };
    TransactNamedPipe = "TransactNamedPipe" Win32 { Other, fills: true, over: &[], warnings: &[ERROR_MORE_DATA], errors: AllButDeviceWarnings, skips: false, ends: &[], kinds: NO_MESSAGES };
    TransmitFile = "TransmitFile" Winsock { Write, fills: false, over: &[], warnings: &[], errors: AllBut(&[]), skips: false, ends: &[], kinds: &[] };
    TransmitPackets = "TransmitPackets" Winsock { Write, fills: false, over: &[], warnings: &[], errors: AllBut(&[]), skips: false, ends: &[], kinds: &[] };
    WSARecv = "WSARecv" Winsock { Read, fills: true, over: &[], warnings: &[CUT], errors: AllBut(&[]), skips: true, ends: ENDS, kinds: &[], receives: true };
    // Without a buffer: of no use where messages come.
    WSARecvOfNothing = "WSARecv" Winsock { Read, fills: false, over: &[], warnings: &[], errors: AllBut(&[]), skips: true, ends: ENDS, kinds: &[], receives: true };
    WSARecvFrom = "WSARecvFrom" Winsock { Read, fills: true, over: &[], warnings: &[CUT], errors: AllBut(&[]), skips: false, ends: ENDS, kinds: &[], receives: true };
    // What was cut, the output says.
    WSARecvMsg = "WSARecvMsg" Winsock { Read, fills: true, over: &[], warnings: &[CUT], errors: AllBut(&[]), skips: false, ends: &[STATUS_BUFFER_OVERFLOW, STATUS_END_OF_FILE, STATUS_PIPE_BROKEN], kinds: &[], receives: true };
    WSASend = "WSASend" Winsock { Write, fills: false, over: &[], warnings: &[], errors: AllBut(&[CUT]), skips: true, ends: &[], kinds: &[] };
    WSASendMsg = "WSASendMsg" Winsock { Write, fills: false, over: &[], warnings: &[], errors: AllBut(&[CUT]), skips: false, ends: &[], kinds: &[] };
    WSASendTo = "WSASendTo" Winsock { Write, fills: false, over: &[], warnings: &[], errors: AllBut(&[CUT]), skips: false, ends: &[], kinds: &[] };
    WriteFileGather = "WriteFileGather" Win32 { Write, fills: false, over: &[], warnings: &[], errors: AllButDeviceWarnings, skips: false, ends: &[], kinds: &[] };
    WriteFile = "WriteFile" Win32 { Write, fills: false, over: &[], warnings: &[], errors: AllButDeviceWarnings, skips: true, ends: &[], kinds: &[] };

    AssignProcessToJobObject = "AssignProcessToJobObject" Win32;
    Bind = "bind" Winsock;
    CancelIoEx = "CancelIoEx" Win32;
    Connect = "connect" Winsock;
    ConvertSecurityDescriptor = "ConvertStringSecurityDescriptorToSecurityDescriptorW" Win32;
    CreateFileW = "CreateFileW" Win32;
    CreateIoCompletionPort = "CreateIoCompletionPort" Win32;
    CreateJobObjectW = "CreateJobObjectW" Win32;
    CreateNamedPipeW = "CreateNamedPipeW" Win32;
    CreateThreadpoolWait = "CreateThreadpoolWait" Win32;
    CreateThreadpoolTimer = "CreateThreadpoolTimer" Win32;
    DisconnectNamedPipe = "DisconnectNamedPipe" Win32;
    GetQueuedCompletionStatus = "GetQueuedCompletionStatus" Win32;
    GetQueuedCompletionStatusEx = "GetQueuedCompletionStatusEx" Win32;
    Listen = "listen" Winsock;
    NtSetInformationFile = "NtSetInformationFile" Win32;
    NtResumeProcess = "NtResumeProcess" Win32;
    OpenThread = "OpenThread" Win32;
    QueryInformationJobObject = "QueryInformationJobObject" Win32;
    QueueUserAPC = "QueueUserAPC" Win32;
    SetFileCompletionNotificationModes = "SetFileCompletionNotificationModes" Win32;
    SetInformationJobObject = "SetInformationJobObject" Win32;
    SetNamedPipeHandleState = "SetNamedPipeHandleState" Win32;
    Setsockopt = "setsockopt" Winsock;
    TerminateJobObject = "TerminateJobObject" Win32;
    UnlockFileEx = "UnlockFileEx" Win32;
    VirtualAlloc = "VirtualAlloc" Win32;
    WaitForSingleObjectEx = "WaitForSingleObjectEx" Win32;
    WSAIoctl = "WSAIoctl" Winsock;
    WSASocketW = "WSASocketW" Winsock;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The status word has values of its own there.
    #[test]
    #[should_panic = "reserved"]
    fn no_operation_is_over_with_a_status_that_is_reserved() {
        // SAFETY: No operation has these facts.
        let _ = unsafe { Facts::new("None").over(&[(1, 0xD000_0103)]) };
    }
}
