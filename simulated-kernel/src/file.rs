//! Files, opened for overlapped I/O.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::windows::io::AsRawHandle;
use std::path::Path;

use windows_sys::Win32::Foundation::{
    ERROR_ACCESS_DENIED, ERROR_INVALID_FUNCTION, ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER,
    HANDLE,
};
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
    is_readable: bool,
    is_writable: bool,
}

/// Opens a file for overlapped I/O, as `FILE_FLAG_OVERLAPPED` does, which Miri
/// does not know.
///
/// # Errors
///
/// As opening it otherwise.
pub fn open(path: impl AsRef<Path>, read: bool, write: bool) -> io::Result<std::fs::File> {
    let path = path.as_ref();
    let token = open_real(path, read, write)?;
    let contents = open_real(path, read, write)?;
    let mut kernel = enter();
    let file = File { contents, is_readable: read, is_writable: write };
    let id = kernel.add(Object::new(Body::File(file)));
    kernel.make_token(token.as_raw_handle(), id);
    Ok(token)
}

impl File {
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
        Body::Port(_) | Body::Socket(_) => Some(ERROR_INVALID_FUNCTION),
    };
    let refused = refused.or_else(|| kernel.behaviour.refuse.pop_front());
    if let Some(code) = refused {
        drop(kernel);
        return fail(code, 0);
    }
    // SAFETY: As the caller promises.
    let operation = unsafe { Operation::new(kind, buffer, length as usize, overlapped) };
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
