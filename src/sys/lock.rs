//! Locks of parts of files.

use windows_sys::Win32::Foundation::{
    ERROR_CALL_NOT_IMPLEMENTED, ERROR_LOCK_VIOLATION, ERROR_NOT_LOCKED, ERROR_SUCCESS,
};
use windows_sys::Win32::Storage::FileSystem::{
    LOCKFILE_EXCLUSIVE_LOCK, LOCKFILE_FAIL_IMMEDIATELY, LockFileEx, UnlockFileEx,
};
use windows_sys::Win32::System::IO::OVERLAPPED;

use super::{Answer, Handle, LentOverlapped, is_wine, last_error};
use crate::error::{Error, ErrorKind, Facts, Result};

/// Starts to lock so many bytes, from the offset in the `OVERLAPPED` on.
pub(crate) fn lock_file(
    file: Handle,
    length: u64,
    exclusive: bool,
    waits: bool,
    overlapped: LentOverlapped,
) -> Answer {
    let wine = is_wine();
    let flag = |flag, is_set| if is_set { flag } else { 0 };
    let flags =
        flag(LOCKFILE_EXCLUSIVE_LOCK, exclusive) | flag(LOCKFILE_FAIL_IMMEDIATELY, !waits || wine);
    // SAFETY: The OVERLAPPED is lent for the operation's whole life.
    let locked = unsafe {
        LockFileEx(
            file.raw(),
            flags,
            0,
            length as u32,
            (length >> 32) as u32,
            overlapped.into_raw(),
        )
    };
    let code = if locked == 0 { last_error() } else { ERROR_SUCCESS };
    match code {
        // Wine queues no packet of any lock ("I/O completion on lock not implemented
        // yet"), so that one which waits would do so for ever: `NtLockFile` in
        // <https://gitlab.winehq.org/wine/wine/-/blob/wine-10.0/dlls/ntdll/unix/file.c>.
        // The operation is over with this code, as its facts say.
        ERROR_SUCCESS if !wine => Answer::Finished(0),
        ERROR_LOCK_VIOLATION if wine && waits => Answer::Code(ERROR_CALL_NOT_IMPLEMENTED),
        code => Answer::Code(code),
    }
}

/// Gives a lock back. "The unlock operation [...] is always synchronous", and has no
/// packet.
pub(crate) fn unlock_file(file: Handle, offset: u64, length: u64) -> Result<()> {
    let mut place = OVERLAPPED::default();
    place.Anonymous.Anonymous.Offset = offset as u32;
    place.Anonymous.Anonymous.OffsetHigh = (offset >> 32) as u32;
    // SAFETY: The OVERLAPPED is only used during the call.
    let unlocked = unsafe {
        UnlockFileEx(file.raw(), 0, length as u32, (length >> 32) as u32, &raw mut place)
    };
    if unlocked != 0 {
        return Ok(());
    }
    Err(match last_error() {
        code @ (ERROR_NOT_LOCKED | ERROR_LOCK_VIOLATION) => {
            Error::os_as(Facts::UnlockFileEx, ErrorKind::NotFound, code)
        }
        code => Error::os(Facts::UnlockFileEx, code),
    })
}
