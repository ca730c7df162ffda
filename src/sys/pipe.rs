//! Named pipes.

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt;
use std::os::windows::io::{FromRawHandle, OwnedHandle};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_ALREADY_EXISTS, ERROR_BAD_PIPE, ERROR_BROKEN_PIPE, ERROR_PIPE_BUSY,
    ERROR_SUCCESS, INVALID_HANDLE_VALUE, STATUS_INVALID_PIPE_STATE, SetLastError,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_FIRST_PIPE_INSTANCE, FILE_FLAG_OVERLAPPED, PIPE_ACCESS_INBOUND, PIPE_ACCESS_OUTBOUND,
};
use windows_sys::Win32::System::Pipes::{
    CreateNamedPipeW, DisconnectNamedPipe, PIPE_ACCEPT_REMOTE_CLIENTS, PIPE_READMODE_BYTE,
    PIPE_READMODE_MESSAGE, PIPE_REJECT_REMOTE_CLIENTS, PIPE_TYPE_BYTE, PIPE_TYPE_MESSAGE,
    SetNamedPipeHandleState, TransactNamedPipe,
};

use super::security::{attributes, zero_terminated};
use super::{
    Answer, Handle, LentOverlapped, Region, RegionMut, SecurityDescriptor, last_error, last_status,
};
use crate::error::{Error, ErrorKind, Facts, Result};

/// What a named pipe is created with.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::struct_excessive_bools, reason = "each is independent of the others")]
pub(crate) struct PipeTraits {
    pub inbound: bool,
    pub outbound: bool,
    pub messages: bool,
    pub accepts_remote: bool,
    pub instances: u8,
    pub incoming_size: u32,
    pub outgoing_size: u32,
}

/// Creates an instance of a named pipe, which must be the first one if it `claims`
/// the name.
pub(crate) fn create_pipe(
    name: &OsStr,
    traits: &PipeTraits,
    security: Option<&SecurityDescriptor>,
    claims: bool,
) -> Result<OwnedHandle> {
    let name = zero_terminated(name.encode_wide())?;
    let flag = |flag, is_set| if is_set { flag } else { 0 };
    let access = FILE_FLAG_OVERLAPPED
        | flag(PIPE_ACCESS_INBOUND, traits.inbound)
        | flag(PIPE_ACCESS_OUTBOUND, traits.outbound)
        | flag(FILE_FLAG_FIRST_PIPE_INSTANCE, claims);
    let kind = if traits.messages {
        PIPE_TYPE_MESSAGE | PIPE_READMODE_MESSAGE
    } else {
        PIPE_TYPE_BYTE | PIPE_READMODE_BYTE
    };
    let remote =
        if traits.accepts_remote { PIPE_ACCEPT_REMOTE_CLIENTS } else { PIPE_REJECT_REMOTE_CLIENTS };
    let security = attributes(security);
    // SAFETY: Name and security attributes are only used during the call.
    let (handle, code) = unsafe {
        SetLastError(ERROR_SUCCESS);
        let handle = CreateNamedPipeW(
            name.as_ptr(),
            access,
            kind | remote,
            traits.instances.into(),
            traits.outgoing_size,
            traits.incoming_size,
            0,
            &raw const security,
        );
        (handle, last_error())
    };
    // SAFETY: The handle is new, and nobody else's.
    let pipe =
        (handle != INVALID_HANDLE_VALUE).then(|| unsafe { OwnedHandle::from_raw_handle(handle) });
    match (pipe, code) {
        // "If you attempt to create multiple instances of a pipe with this flag,
        // creation of the first instance succeeds, but creation of the next
        // instance fails with ERROR_ACCESS_DENIED"
        // (https://learn.microsoft.com/windows/win32/api/namedpipeapi/nf-namedpipeapi-createnamedpipew).
        // Wine ignores the flag, and says that the pipe was there.
        (None, ERROR_ACCESS_DENIED | ERROR_PIPE_BUSY) | (Some(_), ERROR_ALREADY_EXISTS)
            if claims =>
        {
            Err(Error::os_as(Facts::CreateNamedPipeW, ErrorKind::AddressInUse, code))
        }
        (Some(pipe), _) => Ok(pipe),
        (None, code) => Err(Error::os(Facts::CreateNamedPipeW, code)),
    }
}

/// Ends the connection of a pipe's server to its client.
pub(crate) fn disconnect_pipe(pipe: Handle) -> Result<()> {
    // SAFETY: Writes no memory; the handle is checked.
    if unsafe { DisconnectNamedPipe(pipe.raw()) } == 0 {
        return Err(Error::os(Facts::DisconnectNamedPipe, last_error()));
    }
    Ok(())
}

/// Lets the end of a pipe read messages, not bytes.
pub(crate) fn read_messages(pipe: Handle) -> Result<()> {
    let mode = PIPE_READMODE_MESSAGE;
    // SAFETY: The mode is read during the call; what else it could set is optional.
    let set =
        unsafe { SetNamedPipeHandleState(pipe.raw(), &raw const mode, ptr::null(), ptr::null()) };
    if set == 0 {
        return Err(Error::os(Facts::SetNamedPipeHandleState, last_error()));
    }
    Ok(())
}

/// Starts to send a message and to receive another.
pub(crate) fn transact(
    pipe: Handle,
    request: &Region,
    answer: &RegionMut,
    overlapped: LentOverlapped,
) -> Answer {
    // SAFETY: Regions and OVERLAPPED are lent for the operation's whole life; the
    // request is only read.
    let succeeded = unsafe {
        TransactNamedPipe(
            pipe.raw(),
            request.start().cast(),
            request.length(),
            answer.start().cast(),
            answer.length(),
            ptr::null_mut(),
            overlapped.into_raw(),
        )
    };
    if succeeded != 0 {
        return Answer::Finished(0);
    }
    // The code is that of a pipe without messages, too.
    match last_error() {
        ERROR_BAD_PIPE if last_status() == STATUS_INVALID_PIPE_STATE as u32 => {
            Answer::Code(ERROR_BROKEN_PIPE)
        }
        code => Answer::Code(code),
    }
}
