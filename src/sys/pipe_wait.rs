//! Waiting for a free instance of a named pipe.

use std::ffi::OsStr;
use std::os::windows::ffi::OsStrExt;
use std::ptr;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_PIPE_WAIT_FOR_BUFFER, FSCTL_PIPE_WAIT, NtFsControlFile,
};
use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, STATUS_PENDING};

use super::{Answer, Handle, LentOverlapped, Region};
use crate::error::{Error, Result, refusal, win32_code};

/// The device on which all named pipes of this machine are.
pub(crate) const PIPES: &str = r"\\.\pipe\";

/// What the file system of named pipes is asked: a `FILE_PIPE_WAIT_FOR_BUFFER`.
pub(crate) fn question(name: &OsStr) -> Result<Box<[u8]>> {
    // Until it is cancelled. In steps of 100 ns; "a negative value is an interval", of 100
    // years.
    const TIMEOUT: i64 = -100 * 366 * 86_400 * 10_000_000;
    let name: Vec<u16> = name.encode_wide().collect();
    let prefix: Vec<u16> = PIPES.encode_utf16().collect();
    let name = name.strip_prefix(&*prefix).ok_or_else(|| Error::usage(&refusal::NO_PIPE_NAME))?;
    if name.is_empty() || name.len() > 256 || name.contains(&0) {
        return Err(Error::usage(&refusal::NO_PIPE_NAME));
    }
    let length = 2 * name.len() as u32;
    let mut question = Vec::with_capacity(size_of::<FILE_PIPE_WAIT_FOR_BUFFER>() + 2 * name.len());
    question.extend(TIMEOUT.to_ne_bytes());
    question.extend(length.to_ne_bytes());
    question.extend([1, 0]); // the time-out counts
    question.extend(name.iter().flat_map(|unit| unit.to_ne_bytes()));
    Ok(question.into())
}

const _: () = assert!(std::mem::offset_of!(FILE_PIPE_WAIT_FOR_BUFFER, Name) == 8 + 4 + 2);

/// Starts to wait until an instance is free. `WaitNamedPipeW` makes the call, too, and blocks.
pub(crate) fn wait_for_instance(
    pipes: Handle,
    question: &Region,
    overlapped: LentOverlapped,
) -> Answer {
    let overlapped = overlapped.into_raw();
    // SAFETY: Question and OVERLAPPED, which begins with the IO_STATUS_BLOCK and is what the
    // packet carries, are lent for the operation's whole life. There is no routine, no event
    // and no output.
    let status = unsafe {
        NtFsControlFile(
            pipes.raw(),
            ptr::null_mut(),
            None,
            overlapped.cast(),
            overlapped.cast(),
            FSCTL_PIPE_WAIT,
            question.start().cast(),
            question.length(),
            ptr::null_mut(),
            0,
        )
    };
    match status {
        STATUS_PENDING => Answer::Code(ERROR_IO_PENDING),
        0.. => Answer::Finished(0),
        status => Answer::Code(win32_code(status as u32)),
    }
}
