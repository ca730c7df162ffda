//! Another port for a handle, or none.

use std::ptr;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_COMPLETION_INFORMATION, FileReplaceCompletionInformation, NtSetInformationFile,
};
use windows_sys::Win32::Foundation::{STATUS_INVALID_INFO_CLASS, STATUS_NOT_IMPLEMENTED};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use super::{Handle, Port};
use crate::error::{Error, Facts, Result, refusal, win32_code};

/// Sends the packets of `handle`'s file object to another port, with another key, or to none:
/// "To remove an existing completion port for a file handle, Port is set to NULL"
/// (<https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/ns-ntifs-_file_completion_information>).
pub(crate) fn replace_port(handle: Handle, port: Option<(&Port, usize)>) -> Result<()> {
    let (to, key) = port.map_or((ptr::null_mut(), 0), |(port, key)| (port.handle().raw(), key));
    let information =
        FILE_COMPLETION_INFORMATION { Port: to, Key: ptr::without_provenance_mut(key) };
    let mut status_block = IO_STATUS_BLOCK::default();
    // SAFETY: Both structures are locals, and the length is that of the second; the call is
    // over when it returns. Handles are checked.
    let status = unsafe {
        NtSetInformationFile(
            handle.raw(),
            &raw mut status_block,
            (&raw const information).cast(),
            size_of::<FILE_COMPLETION_INFORMATION>() as u32,
            FileReplaceCompletionInformation,
        )
    };
    match status {
        0.. => Ok(()),
        STATUS_INVALID_INFO_CLASS | STATUS_NOT_IMPLEMENTED => {
            Err(Error::usage(&refusal::STAYS_AT_ITS_PORT))
        }
        status => Err(Error::os(Facts::NtSetInformationFile, win32_code(status as u32))),
    }
}
