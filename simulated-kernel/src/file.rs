//! Files, opened for overlapped I/O.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::windows::io::AsRawHandle;
use std::path::{Path, PathBuf};
use std::ptr;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_FUNCTION, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER,
    HANDLE,
};
use windows_sys::Win32::Storage::FileSystem::FILE_SEGMENT_ELEMENT;
use windows_sys::Win32::System::IO::OVERLAPPED;

use crate::handle::{fail, open_real};
use crate::kernel::{Kernel, enter};
use crate::memory::put;
use crate::object::{Body, Object};
use crate::operation::{Kind, Operation, Outcome, pending_code, start};
use crate::status::{
    STATUS_DISK_FULL, STATUS_END_OF_FILE, STATUS_INVALID_PARAMETER, note, win32_code,
};

pub struct File {
    /// What it is on the host.
    contents: std::fs::File,
    path: PathBuf,
    is_readable: bool,
    is_writable: bool,
    /// Whatever the offset of a write is.
    only_appends: bool,
}

/// Opens a file for overlapped I/O, as `FILE_FLAG_OVERLAPPED` does, which Miri
/// does not know.
///
/// # Errors
///
/// As opening it otherwise.
pub fn open(path: impl AsRef<Path>, read: bool, write: bool) -> io::Result<std::fs::File> {
    let token = open_real(path.as_ref(), read, write)?;
    overlap(&token, path.as_ref(), read, write, false)?;
    Ok(token)
}

/// Makes the handle of a file one for overlapped I/O.
pub fn overlap(
    token: &impl AsRawHandle,
    path: &Path,
    is_readable: bool,
    is_writable: bool,
    only_appends: bool,
) -> io::Result<()> {
    let contents = open_real(path, is_readable, is_writable)?;
    let path = path.to_owned();
    let file = File { contents, path, is_readable, is_writable, only_appends };
    let mut kernel = enter();
    let id = kernel.add(Object::new(Body::File(file)));
    kernel.make_token(token.as_raw_handle(), id);
    Ok(())
}

impl File {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where it ends.
    pub fn end(&self) -> i64 {
        self.contents.metadata().expect("a file").len() as i64
    }

    pub fn transfer(&mut self, operation: &Operation) -> Outcome {
        let appends = matches!(operation.kind, Kind::Write(_)) && operation.offset == u64::MAX;
        if i64::try_from(operation.offset).is_err() && !appends {
            return Outcome::status(STATUS_INVALID_PARAMETER);
        }
        match operation.kind {
            Kind::Read => self.read(operation).expect("a read of the file"),
            // Where the host's files have no bytes, there is no room for any.
            Kind::Write(_) => {
                self.write(operation).unwrap_or_else(|_| Outcome::status(STATUS_DISK_FULL))
            }
            _ => unreachable!("files are read and written"),
        }
    }

    fn read(&mut self, operation: &Operation) -> io::Result<Outcome> {
        if operation.length == 0 {
            return Ok(Outcome::read(Vec::new()));
        }
        let data = self.read_at(operation.offset, operation.length)?;
        if data.is_empty() {
            return Ok(Outcome::status(STATUS_END_OF_FILE));
        }
        Ok(Outcome::read(data))
    }

    fn read_at(&mut self, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        self.contents.seek(SeekFrom::Start(offset))?;
        let mut data = Vec::new();
        (&self.contents).take(length as u64).read_to_end(&mut data)?;
        Ok(data)
    }

    fn write(&mut self, operation: &Operation) -> io::Result<Outcome> {
        let place = match operation.offset {
            _ if self.only_appends => SeekFrom::End(0),
            u64::MAX => SeekFrom::End(0),
            offset => SeekFrom::Start(offset),
        };
        if operation.length > 0 {
            self.contents.seek(place)?;
            self.contents.write_all(&operation.source(0, operation.length))?;
        }
        Ok(Outcome::wrote(operation.length))
    }
}

impl Kernel {
    /// A part of a file, or as much of it as there is.
    pub fn read_part(&mut self, file: usize, offset: u64, length: usize) -> Result<Vec<u8>, u32> {
        let id = self.resolve(file).ok_or(STATUS_INVALID_PARAMETER)?;
        let Body::File(file) = &mut self.objects[id].body else {
            return Err(STATUS_INVALID_PARAMETER);
        };
        file.read_at(offset, length).map_err(|_| STATUS_INVALID_PARAMETER)
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ReadFile(
    file: HANDLE,
    buffer: *mut u8,
    length: u32,
    count: *mut u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    // SAFETY: As the caller promises.
    unsafe { transfer(file, Kind::Read, buffer, length, count, overlapped) }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WriteFile(
    file: HANDLE,
    buffer: *const u8,
    length: u32,
    count: *mut u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    // SAFETY: As the caller promises.
    unsafe { transfer(file, Kind::Write(0), buffer.cast_mut(), length, count, overlapped) }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ReadFileScatter(
    file: HANDLE,
    segments: *const FILE_SEGMENT_ELEMENT,
    length: u32,
    _reserved: *const u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    // SAFETY: As the caller promises.
    unsafe { transfer_all(file, Kind::Read, &pages(segments, length), ptr::null_mut(), overlapped) }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn WriteFileGather(
    file: HANDLE,
    segments: *const FILE_SEGMENT_ELEMENT,
    length: u32,
    _reserved: *const u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    // SAFETY: As the caller promises.
    unsafe {
        transfer_all(file, Kind::Write(0), &pages(segments, length), ptr::null_mut(), overlapped)
    }
}

/// The pages of a list, which a null pointer ends.
///
/// # Safety
///
/// The list is as long as the length in bytes says, and one element longer.
unsafe fn pages(segments: *const FILE_SEGMENT_ELEMENT, length: u32) -> Vec<(*mut u8, usize)> {
    const PAGE: usize = 4096;
    assert_eq!(length as usize % PAGE, 0, "whole pages");
    // SAFETY: By the caller's promise.
    let segments = unsafe { std::slice::from_raw_parts(segments, length as usize / PAGE + 1) };
    // SAFETY: Each has been written as a pointer, all 64 bits of which count.
    let mut pages: Vec<_> = segments
        .iter()
        .map(|segment| unsafe { (segment.Buffer.cast::<u8>(), segment.Alignment) })
        .collect();
    assert_eq!(pages.pop().expect("the last element").1, 0, "the end of the list");
    assert!(pages.iter().all(|(page, all)| page.addr() as u64 == *all && page.addr() % PAGE == 0));
    pages.into_iter().map(|(page, _)| (page, PAGE)).collect()
}

/// # Safety
///
/// As for the two calls.
unsafe fn transfer(
    file: HANDLE,
    kind: Kind,
    buffer: *mut u8,
    length: u32,
    count: *mut u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    // SAFETY: As the caller promises.
    unsafe { transfer_all(file, kind, &[(buffer, length as usize)], count, overlapped) }
}

/// # Safety
///
/// As for the calls.
unsafe fn transfer_all(
    file: HANDLE,
    kind: Kind,
    buffers: &[(*mut u8, usize)],
    count: *mut u32,
    overlapped: *mut OVERLAPPED,
) -> i32 {
    assert!(!overlapped.is_null(), "the model's files are overlapped");
    let mut kernel = enter();
    let Some(id) = kernel.resolve(file.addr()) else {
        drop(kernel);
        return fail(ERROR_INVALID_HANDLE, 0);
    };
    let refused = match &kernel.objects[id].body {
        Body::File(file) => match kind {
            Kind::Read if !file.is_readable => Some(ERROR_ACCESS_DENIED),
            Kind::Write(_) if !file.is_writable => Some(ERROR_ACCESS_DENIED),
            _ => None,
        },
        Body::Pipe(_) => None,
        Body::Port(_)
        | Body::Socket(_)
        | Body::Directory(_)
        | Body::PipeFileSystem
        | Body::Waitable(_)
        | Body::Thread(_) => Some(ERROR_INVALID_FUNCTION),
    };
    let refused = refused.or_else(|| kernel.behaviour.refuse.pop_front());
    if let Some(code) = refused {
        drop(kernel);
        return fail(code, 0);
    }
    // SAFETY: As the caller promises.
    let operation = unsafe { Operation::scattered(kind, buffers, overlapped) };
    if let (true, Body::File(file), Kind::Read) =
        (kernel.behaviour.unbuffered, &kernel.objects[id].body, &operation.kind)
        && i64::try_from(operation.offset).is_ok_and(|offset| offset >= file.end())
    {
        drop(kernel);
        return fail(ERROR_INVALID_PARAMETER, 0);
    }
    match start(kernel, id, operation) {
        Ok(bytes) => {
            // SAFETY: The count is null or writable.
            unsafe { put(count, bytes) };
            1
        }
        Err(status) => {
            note(status);
            fail(pending_code(status, win32_code), 0)
        }
    }
}
