//! Files, pipes and devices.

use std::mem;
use std::ptr;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_MODE_INFORMATION, FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT,
    FileModeInformation, NtQueryInformationFile,
};
use windows_sys::Win32::Storage::FileSystem::{
    FILE_TYPE_CHAR, FILE_TYPE_DISK, FILE_TYPE_PIPE, GetFileType, ReadFile,
    SetFileCompletionNotificationModes, WriteFile,
};
use windows_sys::Win32::System::Console::GetConsoleMode;
use windows_sys::Win32::System::IO::{DeviceIoControl, IO_STATUS_BLOCK};
use windows_sys::Win32::System::Pipes::{ConnectNamedPipe, GetNamedPipeInfo, PIPE_TYPE_MESSAGE};
use windows_sys::Win32::System::WindowsProgramming::{
    FILE_SKIP_COMPLETION_PORT_ON_SUCCESS, FILE_SKIP_SET_EVENT_ON_HANDLE,
};

use super::Facts;
use super::{Answer, Handle, LentOverlapped, Region, RegionMut, last_error};
use crate::error::{Error, Result};

/// Starts a read. The byte count is asked for only where it is used: "use NULL
/// for this parameter if this is an asynchronous operation to avoid
/// potentially erroneous results"
/// (<https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfile>).
#[inline(always)]
pub(crate) fn read_file(
    file: Handle,
    region: &RegionMut,
    overlapped: LentOverlapped,
    counts: bool,
) -> Answer {
    let mut count = 0;
    let counter = if counts { &raw mut count } else { ptr::null_mut() };
    // SAFETY: Region and OVERLAPPED are lent for the operation's whole life;
    // the count is written before the call returns, if at all.
    let succeeded = unsafe {
        ReadFile(file.raw(), region.start(), region.length(), counter, overlapped.into_raw())
    };
    answer(succeeded, count)
}

/// Starts a write.
#[inline(always)]
pub(crate) fn write_file(
    file: Handle,
    region: &Region,
    overlapped: LentOverlapped,
    counts: bool,
) -> Answer {
    let mut count = 0;
    let counter = if counts { &raw mut count } else { ptr::null_mut() };
    // SAFETY: As for `read_file`; the region is only read.
    let succeeded = unsafe {
        WriteFile(file.raw(), region.start(), region.length(), counter, overlapped.into_raw())
    };
    answer(succeeded, count)
}

/// What a driver or a file system can be asked to do, as
/// [`DeviceControl`](crate::op::DeviceControl) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlCode(u32);

impl ControlCode {
    /// # Safety
    ///
    /// Whatever handle, input and output it is used with, the code
    /// 1. uses no memory of this process but input and output: there are no pointers
    ///    in them that are followed;
    /// 2. does nothing else that safe code may rely on not to happen.
    ///
    /// It may read the output and write less, or more, than it counts, as those with
    /// the transfer methods other than `METHOD_BUFFERED` can.
    #[must_use]
    pub const unsafe fn new(code: u32) -> Self {
        Self(code)
    }
}

/// Starts what a driver or file system does for a control code.
pub(crate) fn control_device(
    device: Handle,
    code: ControlCode,
    input: &Region,
    output: &RegionMut,
    overlapped: LentOverlapped,
) -> Answer {
    // SAFETY: Regions and OVERLAPPED are lent for the operation's whole life, and
    // by the promise of `ControlCode::new` nothing else is used.
    let succeeded = unsafe {
        DeviceIoControl(
            device.raw(),
            code.0,
            input.start().cast(),
            input.length(),
            output.start().cast(),
            output.length(),
            ptr::null_mut(),
            overlapped.into_raw(),
        )
    };
    answer(succeeded, 0)
}

/// Starts to wait for a client.
pub(crate) fn connect_pipe(pipe: Handle, overlapped: LentOverlapped) -> Answer {
    // SAFETY: The OVERLAPPED is lent for the operation's whole life.
    answer(unsafe { ConnectNamedPipe(pipe.raw(), overlapped.into_raw()) }, 0)
}

#[inline(always)]
fn answer(succeeded: i32, count: u32) -> Answer {
    if succeeded != 0 { Answer::Finished(count) } else { Answer::Code(last_error()) }
}

/// What a handle that is not a socket refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Nature {
    Disk,
    Pipe,
    Console,
    Device,
}

pub(crate) fn nature(handle: Handle) -> Nature {
    let mut mode = 0;
    // SAFETY: `mode` is a local; the handle is checked.
    match unsafe { GetFileType(handle.raw()) } {
        FILE_TYPE_DISK => Nature::Disk,
        FILE_TYPE_PIPE => Nature::Pipe,
        // SAFETY: As above.
        FILE_TYPE_CHAR if unsafe { GetConsoleMode(handle.raw(), &raw mut mode) } != 0 => {
            Nature::Console
        }
        _ => Nature::Device,
    }
}

/// Whether the handle was opened without `FILE_FLAG_OVERLAPPED`; `None` if the
/// system does not tell.
pub(crate) fn is_synchronous(handle: Handle) -> Option<bool> {
    let mut status_block = IO_STATUS_BLOCK::default();
    let mut information = FILE_MODE_INFORMATION::default();
    // SAFETY: Both out-parameters are locals, and the length is that of the
    // second; a query of this class completes before it returns.
    let status = unsafe {
        NtQueryInformationFile(
            handle.raw(),
            &raw mut status_block,
            (&raw mut information).cast(),
            mem::size_of::<FILE_MODE_INFORMATION>() as u32,
            FileModeInformation,
        )
    };
    (status >= 0).then_some(
        information.Mode & (FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT) != 0,
    )
}

pub(crate) fn is_message_pipe(pipe: Handle) -> bool {
    let mut flags = 0;
    // SAFETY: The flags are a local, and the other out-parameters optional.
    let known = unsafe {
        GetNamedPipeInfo(
            pipe.raw(),
            &raw mut flags,
            ptr::null_mut(),
            ptr::null_mut(),
            ptr::null_mut(),
        )
    };
    known != 0 && flags & PIPE_TYPE_MESSAGE != 0
}

/// Turns off the packets of operations that succeed at once, and the handle's
/// own event, which nobody waits on. Lasts as long as the file object.
pub(crate) fn skip_completion_port_on_success(handle: Handle) -> Result<()> {
    let flags = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE;
    // SAFETY: Writes no memory; the handle is checked.
    if unsafe { SetFileCompletionNotificationModes(handle.raw(), flags as u8) } == 0 {
        return Err(Error::os(Facts::SetFileCompletionNotificationModes, last_error()));
    }
    Ok(())
}
