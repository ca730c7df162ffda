//! The changes of directories.

use std::ptr;

use windows_sys::Win32::Storage::FileSystem::ReadDirectoryChangesW;

use super::{Answer, Handle, LentOverlapped, RegionMut, last_error};

/// Starts to wait for changes of these kinds.
pub(crate) fn watch_directory(
    directory: Handle,
    region: &RegionMut,
    subtree: bool,
    filter: u32,
    overlapped: LentOverlapped,
) -> Answer {
    // SAFETY: Region and OVERLAPPED are lent for the operation's whole life; there is
    // no completion routine.
    let succeeded = unsafe {
        ReadDirectoryChangesW(
            directory.raw(),
            region.start().cast(),
            region.length(),
            subtree.into(),
            filter,
            ptr::null_mut(),
            overlapped.into_raw(),
            None,
        )
    };
    if succeeded != 0 { Answer::Finished(0) } else { Answer::Code(last_error()) }
}
