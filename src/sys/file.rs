//! Files, pipes and devices.

use std::mem;
use std::ptr;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_INFORMATION_CLASS, FILE_MODE_INFORMATION, FILE_NO_INTERMEDIATE_BUFFERING,
    FILE_STANDARD_INFORMATION, FILE_SYNCHRONOUS_IO_ALERT, FILE_SYNCHRONOUS_IO_NONALERT,
    FileIoCompletionNotificationInformation, FileModeInformation, FileStandardInformation,
    NtQueryInformationFile,
};
use windows_sys::Win32::Foundation::{ERROR_HANDLE_EOF, ERROR_INVALID_PARAMETER, ERROR_IO_PENDING};
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

use super::{Answer, Handle, LentOverlapped, Region, RegionMut, last_error};
use crate::error::{Error, Facts, Result};

/// Starts a read. The byte count is asked for only where it is used: "use NULL
/// for this parameter if this is an asynchronous operation to avoid
/// potentially erroneous results"
/// (<https://learn.microsoft.com/windows/win32/api/fileapi/nf-fileapi-readfile>).
#[inline(always)]
pub(crate) fn read_file(
    file: Handle,
    offset: u64,
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
    match answer(succeeded, count) {
        Answer::Code(code) if code != ERROR_IO_PENDING => refused_read(file, offset, code),
        answer => answer,
    }
}

/// What a read that was refused has found: at the end of a file that is not
/// buffered, which need not be the end of a sector, some file systems call the
/// offset invalid.
#[cold]
#[inline(never)]
pub(super) fn refused_read(file: Handle, offset: u64, code: u32) -> Answer {
    let is_end = code == ERROR_INVALID_PARAMETER && is_unbuffered_end(file, offset);
    Answer::Code(if is_end { ERROR_HANDLE_EOF } else { code })
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
    // SAFETY: Region and OVERLAPPED are lent for the operation's whole life;
    // the count is written before the call returns, if at all.
    let succeeded = unsafe {
        WriteFile(file.raw(), region.start(), region.length(), counter, overlapped.into_raw())
    };
    answer(succeeded, count)
}

/// A control code for [`DeviceControl`](crate::op::DeviceControl).
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
pub(crate) enum HandleKind {
    Disk,
    Pipe,
    Console,
    Device,
}

pub(crate) fn handle_kind(handle: Handle) -> HandleKind {
    let mut mode = 0;
    // SAFETY: The handle is checked.
    match unsafe { GetFileType(handle.raw()) } {
        FILE_TYPE_DISK => HandleKind::Disk,
        FILE_TYPE_PIPE => HandleKind::Pipe,
        // SAFETY: `mode` is a local; the handle is checked.
        FILE_TYPE_CHAR if unsafe { GetConsoleMode(handle.raw(), &raw mut mode) } != 0 => {
            HandleKind::Console
        }
        _ => HandleKind::Device,
    }
}

/// What the system knows of an open file of any kind, by the class of
/// information.
///
/// # Safety
///
/// `T` is the structure of the class.
unsafe fn query<T: Default>(handle: Handle, class: FILE_INFORMATION_CLASS) -> Option<T> {
    let mut status_block = IO_STATUS_BLOCK::default();
    let mut information = T::default();
    // SAFETY: Both out-parameters are locals, and the length is that of the
    // second; a query of the classes used here completes before it returns.
    let status = unsafe {
        NtQueryInformationFile(
            handle.raw(),
            &raw mut status_block,
            (&raw mut information).cast(),
            mem::size_of::<T>() as u32,
            class,
        )
    };
    (status >= 0).then_some(information)
}

/// How the handle was opened: `FILE_SYNCHRONOUS_IO_NONALERT` and others.
fn mode(handle: Handle) -> Option<u32> {
    // SAFETY: The class has this structure.
    let information = unsafe { query::<FILE_MODE_INFORMATION>(handle, FileModeInformation) };
    information.map(|information| information.Mode)
}

/// Whether the handle was opened without `FILE_FLAG_OVERLAPPED`; `None` if the
/// system does not tell.
pub(crate) fn is_synchronous(handle: Handle) -> Option<bool> {
    const SYNCHRONOUS: u32 = FILE_SYNCHRONOUS_IO_ALERT | FILE_SYNCHRONOUS_IO_NONALERT;
    Some(mode(handle)? & SYNCHRONOUS != 0)
}

/// Whether an offset is at or behind the end of a file that is not buffered.
fn is_unbuffered_end(file: Handle, offset: u64) -> bool {
    // SAFETY: The class has this structure.
    let size = || unsafe { query::<FILE_STANDARD_INFORMATION>(file, FileStandardInformation) };
    mode(file).is_some_and(|mode| mode & FILE_NO_INTERMEDIATE_BUFFERING != 0)
        && size().is_some_and(|size| i64::try_from(offset).map_or(true, |at| at >= size.EndOfFile))
}

/// Whether the packets of operations that succeed at once are turned off.
/// Where the system does not tell, nobody is known to have done so.
pub(crate) fn skips_completion_port_on_success(handle: Handle) -> bool {
    // SAFETY: FILE_IO_COMPLETION_NOTIFICATION_INFORMATION is a ULONG of flags.
    let flags = unsafe { query::<u32>(handle, FileIoCompletionNotificationInformation) };
    flags.is_some_and(|flags| flags & FILE_SKIP_COMPLETION_PORT_ON_SUCCESS != 0)
}

/// Whether a pipe has messages; `None` if the system does not tell.
pub(crate) fn has_messages(pipe: Handle) -> Option<bool> {
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
    (known != 0).then_some(flags & PIPE_TYPE_MESSAGE != 0)
}

/// Turns off the packets of operations that succeed at once, and on a socket
/// the file object's own event, which nobody waits on there. On files and pipes
/// the standard library's blocking calls do. Lasts as long as the file object.
pub(crate) fn skip_completion_port_on_success(handle: Handle, is_socket: bool) -> Result<()> {
    let event = if is_socket { FILE_SKIP_SET_EVENT_ON_HANDLE } else { 0 };
    let flags = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | event;
    // SAFETY: Writes no memory; the handle is checked.
    if unsafe { SetFileCompletionNotificationModes(handle.raw(), flags as u8) } == 0 {
        return Err(Error::os(Facts::SetFileCompletionNotificationModes, last_error()));
    }
    Ok(())
}
