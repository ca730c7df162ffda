//! Transfers between files and pages in several places.

use std::ptr;

use windows_sys::Win32::Foundation::ERROR_IO_PENDING;
use windows_sys::Win32::Storage::FileSystem::{
    FILE_SEGMENT_ELEMENT, ReadFileScatter, WriteFileGather,
};

use super::file::refused_read;
use super::{Answer, Handle, InPlace, LentOverlapped, cut, last_error};

/// Pages that the kernel may read and write for as long as the operation is in flight,
/// and the list of them.
#[derive(Debug)]
pub struct SegmentRegion {
    segments: *const FILE_SEGMENT_ELEMENT,
    length: u32,
}

impl InPlace {
    /// A list of pages, ended by a null pointer, and their length in bytes: both are
    /// the value's, and nobody else reads or writes them.
    pub(crate) fn segments(
        &self,
        segments: *const FILE_SEGMENT_ELEMENT,
        length: usize,
    ) -> SegmentRegion {
        const PAGE: u32 = crate::Pages::SIZE as u32;
        let Self { .. } = self;
        SegmentRegion { segments, length: cut(length) / PAGE * PAGE }
    }
}

/// Starts to read into pages in several places.
pub(crate) fn read_scatter(
    file: Handle,
    offset: u64,
    region: &SegmentRegion,
    overlapped: LentOverlapped,
) -> Answer {
    // SAFETY: Pages, list and OVERLAPPED are lent for the operation's whole life.
    let succeeded = unsafe {
        let SegmentRegion { segments, length } = *region;
        ReadFileScatter(file.raw(), segments, length, ptr::null(), overlapped.into_raw())
    };
    match succeeded {
        0 => match last_error() {
            ERROR_IO_PENDING => Answer::Code(ERROR_IO_PENDING),
            code => refused_read(file, offset, code),
        },
        _ => Answer::Finished(0),
    }
}

/// Starts to write pages from several places.
pub(crate) fn write_gather(
    file: Handle,
    _offset: u64,
    region: &SegmentRegion,
    overlapped: LentOverlapped,
) -> Answer {
    // SAFETY: Pages, array and OVERLAPPED are lent for the operation's whole life.
    let succeeded = unsafe {
        let SegmentRegion { segments, length } = *region;
        WriteFileGather(file.raw(), segments, length, ptr::null(), overlapped.into_raw())
    };
    if succeeded != 0 { Answer::Finished(0) } else { Answer::Code(last_error()) }
}
