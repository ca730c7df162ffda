//! Statuses and their codes.

use std::cell::Cell;

use windows_sys::Win32::Foundation as win32;
use windows_sys::Win32::Networking::WinSock as ws;

macro_rules! statuses {
    ($($name:ident)*) => {
        $(pub const $name: u32 = win32::$name as u32;)*
    };
}

statuses! {
    STATUS_SUCCESS STATUS_PENDING STATUS_BUFFER_OVERFLOW STATUS_END_OF_FILE STATUS_CANCELLED
    STATUS_PIPE_BROKEN STATUS_PIPE_DISCONNECTED STATUS_PIPE_CLOSING STATUS_PIPE_EMPTY
    STATUS_CONNECTION_RESET STATUS_CONNECTION_REFUSED STATUS_CONNECTION_ABORTED
    STATUS_CONNECTION_INVALID STATUS_PORT_UNREACHABLE STATUS_PIPE_LISTENING STATUS_PIPE_CONNECTED
    STATUS_INVALID_DEVICE_REQUEST STATUS_INVALID_READ_MODE STATUS_LOCK_NOT_GRANTED STATUS_NOTIFY_ENUM_DIR STATUS_INVALID_LOCK_RANGE STATUS_INVALID_PIPE_STATE STATUS_PIPE_BUSY
    STATUS_INSUFFICIENT_RESOURCES STATUS_DISK_FULL STATUS_INVALID_PARAMETER
}

/// An error, not a success, information or warning.
pub fn is_error(status: u32) -> bool {
    status >> 30 == 3
}

pub fn is_warning(status: u32) -> bool {
    status >> 30 == 2
}

/// A success or information, as the system's `NT_SUCCESS` has it.
pub fn is_success(status: u32) -> bool {
    status >> 31 == 0
}

thread_local! {
    /// Of the last call to read or write a file or pipe that has failed.
    static LAST: Cell<u32> = const { Cell::new(STATUS_SUCCESS) };
}

/// Takes note of the status that a call has failed with.
pub fn note(status: u32) {
    LAST.set(status);
}

#[unsafe(no_mangle)]
extern "system" fn RtlGetLastNtStatus() -> i32 {
    LAST.get() as i32
}

/// What the call answers that a file or pipe operation fails with.
pub fn win32_code(status: u32) -> u32 {
    match status {
        STATUS_BUFFER_OVERFLOW => win32::ERROR_MORE_DATA,
        STATUS_END_OF_FILE => win32::ERROR_HANDLE_EOF,
        STATUS_CANCELLED => win32::ERROR_OPERATION_ABORTED,
        STATUS_PIPE_BROKEN => win32::ERROR_BROKEN_PIPE,
        STATUS_PIPE_DISCONNECTED => win32::ERROR_PIPE_NOT_CONNECTED,
        STATUS_PIPE_CLOSING | STATUS_PIPE_EMPTY => win32::ERROR_NO_DATA,
        STATUS_PIPE_LISTENING => win32::ERROR_PIPE_LISTENING,
        STATUS_PIPE_CONNECTED => win32::ERROR_PIPE_CONNECTED,
        STATUS_INVALID_DEVICE_REQUEST => win32::ERROR_INVALID_FUNCTION,
        STATUS_INVALID_READ_MODE | STATUS_INVALID_PIPE_STATE => win32::ERROR_BAD_PIPE,
        STATUS_LOCK_NOT_GRANTED => win32::ERROR_LOCK_VIOLATION,
        STATUS_INVALID_LOCK_RANGE => win32::ERROR_INVALID_LOCK_RANGE,
        STATUS_PIPE_BUSY => win32::ERROR_PIPE_BUSY,
        STATUS_CONNECTION_REFUSED => win32::ERROR_CONNECTION_REFUSED,
        STATUS_CONNECTION_ABORTED => win32::ERROR_CONNECTION_ABORTED,
        STATUS_CONNECTION_RESET => win32::ERROR_NETNAME_DELETED,
        STATUS_PORT_UNREACHABLE => win32::ERROR_PORT_UNREACHABLE,
        STATUS_INSUFFICIENT_RESOURCES => win32::ERROR_NO_SYSTEM_RESOURCES,
        STATUS_DISK_FULL => win32::ERROR_DISK_FULL,
        STATUS_INVALID_PARAMETER => win32::ERROR_INVALID_PARAMETER,
        // SAFETY: A table look-up.
        _ => unsafe { win32::RtlNtStatusToDosError(status as i32) },
    }
}

/// What the call answers that a socket operation fails with.
pub fn winsock_code(status: u32) -> u32 {
    (match status {
        STATUS_BUFFER_OVERFLOW => ws::WSAEMSGSIZE,
        STATUS_CONNECTION_RESET | STATUS_PORT_UNREACHABLE => ws::WSAECONNRESET,
        STATUS_CONNECTION_REFUSED => ws::WSAECONNREFUSED,
        STATUS_CONNECTION_ABORTED => ws::WSAECONNABORTED,
        STATUS_CONNECTION_INVALID => ws::WSAENOTCONN,
        STATUS_PIPE_DISCONNECTED => ws::WSAESHUTDOWN,
        STATUS_INSUFFICIENT_RESOURCES => ws::WSAENOBUFS,
        STATUS_CANCELLED => return win32::ERROR_OPERATION_ABORTED,
        _ => ws::WSAEINVAL,
    }) as u32
}
