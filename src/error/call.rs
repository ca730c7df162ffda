//! The system calls that this crate makes: one row a call, with all that the
//! packet rule and the errors have to know of it.

use windows_sys::Win32::Foundation::{
    ERROR_BROKEN_PIPE, ERROR_HANDLE_EOF, ERROR_MORE_DATA, ERROR_PIPE_CONNECTED,
};
use windows_sys::Win32::Networking::WinSock::WSAEMSGSIZE;

use super::status::{STATUS_END_OF_FILE, STATUS_INVALID_CONNECTION, STATUS_PIPE_BROKEN};

/// What is known of a system call: how its errors are called, and when a packet
/// comes of it.
///
/// All fields have to be there: a call of which not everything has been looked
/// up does not compile.
///
/// ```compile_fail,E0063
/// use completion_port::op::{Call, Codes};
/// static LOCK_FILE_EX: Call = Call { name: "LockFileEx", codes: Codes::Win32 };
/// ```
///
/// What every overlapped call has in common is not said here: that
/// `ERROR_IO_PENDING` means a packet, that success means one unless the handle
/// [skips](crate::Associated::skip_on_success) it, and that an error means none.
#[derive(Debug)]
pub struct Call {
    /// Its documented name.
    pub name: &'static str,
    /// Whose codes it and its completions have.
    pub codes: Codes,
    /// Codes of a failed call that say that the operation is over all the same,
    /// that no packet comes, and the `NTSTATUS` that stands for it.
    pub over: &'static [(u32, u32)],
    /// Codes of a failed call of which a packet comes all the same (warnings).
    pub leaves_packet: &'static [u32],
    /// Whether it hands on what a driver makes of it, so that any warning of a
    /// device may leave a packet.
    pub asks_driver: bool,
    /// Statuses of a completion that mean a success without bytes: the end of
    /// what is read.
    pub ends: &'static [u32],
    /// Statuses of a completion that mean something else than elsewhere, and the
    /// code that they mean.
    pub means: &'static [(u32, u32)],
}

/// Whose codes a call has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codes {
    /// `WSAGetLastError`.
    Winsock,
    /// `GetLastError`.
    Win32,
}

/// Which call an operation is: on sockets, and on all other handles.
#[derive(Clone, Copy, Debug)]
pub struct Calls {
    pub(crate) socket: Option<&'static Call>,
    pub(crate) handle: Option<&'static Call>,
}

impl Calls {
    /// This one on sockets, and none elsewhere.
    #[must_use]
    pub const fn socket(call: &'static Call) -> Self {
        Self { socket: Some(call), handle: None }
    }

    /// This one on files, pipes and devices, and none on sockets.
    #[must_use]
    pub const fn handle(call: &'static Call) -> Self {
        Self { socket: None, handle: Some(call) }
    }

    /// The first on sockets, the second elsewhere.
    #[must_use]
    pub const fn either(socket: &'static Call, handle: &'static Call) -> Self {
        Self { socket: Some(socket), handle: Some(handle) }
    }

    pub(crate) const fn on(self, socket: bool) -> Option<&'static Call> {
        if socket { self.socket } else { self.handle }
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Call {}

/// Declares the calls of this crate. The columns of one that starts no
/// operation are left out.
macro_rules! calls {
    ($($name:ident = $text:literal $codes:ident
        $({ over: $over:expr, packet: $packet:expr, driver: $driver:expr, ends: $ends:expr, means: $means:expr })?;
    )*) => {
        #[allow(non_upper_case_globals, reason = "they are the calls' own names")]
        impl Call {
            $(pub(crate) const $name: &'static Call = &Call {
                name: $text,
                codes: Codes::$codes,
                $(over: $over, leaves_packet: $packet, asks_driver: $driver, ends: $ends, means: $means,)?
                ..Call::PLAIN
            };)*
        }
    };
}

const END: u32 = STATUS_END_OF_FILE;
const CUT: u32 = WSAEMSGSIZE as u32;

/// The end of a file or pipe is a success without bytes, whichever way it is
/// found. "If lpOverlapped is not NULL [...] and the read is past the end, the
/// function returns FALSE with ERROR_HANDLE_EOF"
/// (<https://learn.microsoft.com/windows/win32/fileio/testing-for-the-end-of-a-file>).
const ENDS: &[u32] = &[STATUS_END_OF_FILE, STATUS_PIPE_BROKEN];

/// The client went away while it was being accepted.
const GONE: &[(u32, u32)] = &[(STATUS_INVALID_CONNECTION, 10053)];

impl Call {
    const PLAIN: Self = Self {
        name: "",
        codes: Codes::Win32,
        over: &[],
        leaves_packet: &[],
        asks_driver: false,
        ends: &[],
        means: &[],
    };
}

// A truncated message is a warning, STATUS_BUFFER_OVERFLOW, not an error: the
// call says that it failed, and the packet comes all the same. Skip-on-success
// is never on where messages can be truncated.
#[rustfmt::skip]
calls! {
    AcceptEx = "AcceptEx" Winsock { over: &[], packet: &[], driver: false, ends: &[], means: GONE };
    ConnectEx = "ConnectEx" Winsock { over: &[], packet: &[], driver: false, ends: &[], means: &[] };
    ConnectNamedPipe = "ConnectNamedPipe" Win32 { over: &[(ERROR_PIPE_CONNECTED, 0)], packet: &[], driver: false, ends: &[], means: &[] };
    ReadFile = "ReadFile" Win32 { over: &[(ERROR_HANDLE_EOF, END), (ERROR_BROKEN_PIPE, END)], packet: &[ERROR_MORE_DATA], driver: true, ends: ENDS, means: &[] };
    WSARecv = "WSARecv" Winsock { over: &[], packet: &[CUT], driver: false, ends: ENDS, means: &[] };
    WSARecvFrom = "WSARecvFrom" Winsock { over: &[], packet: &[CUT], driver: false, ends: ENDS, means: &[] };
    WSASend = "WSASend" Winsock { over: &[], packet: &[], driver: false, ends: &[], means: &[] };
    WSASendTo = "WSASendTo" Winsock { over: &[], packet: &[], driver: false, ends: &[], means: &[] };
    WriteFile = "WriteFile" Win32 { over: &[], packet: &[], driver: true, ends: &[], means: &[] };

    Bind = "bind" Winsock;
    CancelIoEx = "CancelIoEx" Win32;
    CreateIoCompletionPort = "CreateIoCompletionPort" Win32;
    GetQueuedCompletionStatus = "GetQueuedCompletionStatus" Win32;
    GetQueuedCompletionStatusEx = "GetQueuedCompletionStatusEx" Win32;
    Getsockopt = "getsockopt" Winsock;
    PostQueuedCompletionStatus = "PostQueuedCompletionStatus" Win32;
    SetFileCompletionNotificationModes = "SetFileCompletionNotificationModes" Win32;
    Setsockopt = "setsockopt" Winsock;
    VirtualAlloc = "VirtualAlloc" Win32;
    WSASocketW = "WSASocketW" Winsock;
}
