//! Handles that are not sockets.
//!
//! Miri has its own `CloseHandle` and `DuplicateHandle`, which want handles of
//! Miri's. So a handle here is a real one, of some small file, and its file
//! pointer, which duplicates share, says what it stands for.

use std::fs::{File, OpenOptions};
use std::os::windows::io::RawHandle;
use std::ptr;

use windows_sys::Wdk::Storage::FileSystem::{
    FILE_INFORMATION_CLASS, FILE_MODE_INFORMATION, FILE_NO_INTERMEDIATE_BUFFERING,
    FILE_STANDARD_INFORMATION, FILE_SYNCHRONOUS_IO_NONALERT,
    FileIoCompletionNotificationInformation, FileModeInformation, FileStandardInformation,
};
use windows_sys::Win32::Foundation::{
    ERROR_INVALID_HANDLE, ERROR_INVALID_PARAMETER, ERROR_MOD_NOT_FOUND, GENERIC_READ, HANDLE,
    INVALID_HANDLE_VALUE, STATUS_INVALID_HANDLE, SetLastError,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_ATTRIBUTE_NORMAL, FILE_BEGIN, FILE_SHARE_DELETE, FILE_SHARE_READ,
    FILE_SHARE_WRITE, FILE_TYPE_DISK, FILE_TYPE_PIPE, FILE_TYPE_UNKNOWN, OPEN_EXISTING,
    SetFilePointerEx,
};
use windows_sys::Win32::System::IO::IO_STATUS_BLOCK;

use crate::kernel::{Id, Kernel, announce, enter};
use crate::object::Body;

/// A file that is there.
const TOKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml\0");

/// File pointers from here on are ours.
const FIRST: i64 = 1 << 40;

/// Opens the token's file. (The standard library's way is fifty times as long.)
pub fn open() -> HANDLE {
    const LENGTH: usize = TOKEN.len();
    const PATH: [u16; LENGTH] = {
        let mut path = [0; LENGTH];
        let mut index = 0;
        while index < LENGTH {
            assert!(TOKEN.as_bytes()[index].is_ascii());
            path[index] = TOKEN.as_bytes()[index] as u16;
            index += 1;
        }
        path
    };
    // SAFETY: The path ends with a zero.
    let handle = unsafe {
        CreateFileW(
            PATH.as_ptr(),
            GENERIC_READ,
            FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE,
            ptr::null(),
            OPEN_EXISTING,
            FILE_ATTRIBUTE_NORMAL,
            ptr::null_mut(),
        )
    };
    assert_ne!(handle, INVALID_HANDLE_VALUE, "the token's file");
    handle
}

/// Moves a handle's file pointer, and returns where it is then.
///
/// # Safety
///
/// The handle is open.
pub unsafe fn seek(handle: HANDLE, distance: i64, from: u32) -> i64 {
    let mut position = 0;
    // SAFETY: By the caller's promise; the out-parameter is a local.
    let moved = unsafe { SetFilePointerEx(handle, distance, &raw mut position, from) };
    assert_ne!(moved, 0, "a seek");
    position
}

impl Kernel {
    /// A handle for an object.
    pub fn open_token(&mut self, id: Id) -> HANDLE {
        let handle = open();
        self.make_token(handle, id);
        handle
    }

    /// Makes the handle of a file stand for an object.
    pub fn make_token(&mut self, handle: RawHandle, id: Id) {
        self.sweep();
        // SAFETY: The handle has just been opened.
        unsafe { seek(handle, FIRST + id as i64, FILE_BEGIN) };
        self.note_token(handle.addr(), id);
    }

    fn note_token(&mut self, value: usize, id: Id) {
        if self.tokens.get(&value) == Some(&id) {
            return;
        }
        if self.tokens.contains_key(&value) {
            self.forget_token(value);
        }
        self.tokens.insert(value, id);
        self.objects[id].handles += 1;
    }

    pub fn forget_token(&mut self, value: usize) {
        if let Some(id) = self.tokens.remove(&value) {
            self.close(id);
        }
    }

    /// One handle of the object is closed.
    pub fn close(&mut self, id: Id) {
        let Some(object) = self.objects.get_mut(id) else { return };
        object.handles -= 1;
        if object.handles == 0 {
            self.look(id);
            self.destroy(id);
        }
    }

    /// What a handle or socket stands for, which may be closed.
    pub fn find(&mut self, value: usize) -> Option<Id> {
        if let Some(id) = self.sockets.get(&value) {
            return Some(*id);
        }
        self.sweep();
        self.tokens.get(&value).copied()
    }

    /// The same for calls whose caller keeps it open: duplicates are found too.
    pub fn resolve(&mut self, value: usize) -> Option<Id> {
        if let Some(id) = self.find(value) {
            return Some(id);
        }
        let id = Id::try_from(self.position(value)? - FIRST).ok()?;
        self.objects.get(id).is_some().then(|| {
            self.note_token(value, id);
            id
        })
    }

    /// A file that has nothing to do with the model.
    pub fn is_ordinary_file(&mut self, value: usize) -> bool {
        self.position(value).is_some_and(|position| position < FIRST)
    }
}

/// Closes what a handle stands for, past its owner, who may go on to use the
/// value and to close it. It is given to nobody else.
///
/// # Panics
///
/// If the handle stands for nothing.
pub fn close_elsewhere(handle: RawHandle) {
    let mut kernel = enter();
    let id = kernel.resolve(handle.addr()).expect("an object");
    let values: Vec<_> = kernel.tokens.iter().filter(|token| *token.1 == id).collect();
    assert_eq!(values.len(), 1, "it has duplicates");
    kernel.forget_token(handle.addr());
    announce();
}

/// Opens a real file.
pub fn open_real(path: &std::path::Path, read: bool, write: bool) -> std::io::Result<File> {
    OpenOptions::new().read(read).write(write).open(path)
}

/// Sets the last error, and returns what the call returns then.
pub fn fail<T>(code: u32, returned: T) -> T {
    // SAFETY: Sets the calling thread's last error.
    unsafe { SetLastError(code) };
    returned
}

/// The answer of a call that returns a `BOOL`.
pub fn truth(answer: Result<(), u32>) -> i32 {
    answer.map_or_else(|code| fail(code, 0), |()| 1)
}

/// Miri has one for the standard library's `is_terminal`, and accepts no other if
/// that is called. So the tests run with `--color never`, which does not ask.
#[unsafe(no_mangle)]
extern "system" fn GetFileType(handle: HANDLE) -> u32 {
    let mut kernel = enter();
    let kind = match kernel.resolve(handle.addr()) {
        Some(id) => match kernel.objects[id].body {
            Body::File(_) | Body::Directory(_) => FILE_TYPE_DISK,
            Body::Pipe(_) | Body::PipeFileSystem | Body::Socket(_) => FILE_TYPE_PIPE,
            Body::Port(_) | Body::Waitable(_) | Body::Thread(_) => FILE_TYPE_UNKNOWN,
        },
        None if kernel.is_ordinary_file(handle.addr()) => FILE_TYPE_DISK,
        None => {
            drop(kernel);
            return fail(ERROR_INVALID_HANDLE, FILE_TYPE_UNKNOWN);
        }
    };
    drop(kernel);
    fail(0, kind)
}

/// No module is loaded, Wine's neither.
#[unsafe(no_mangle)]
extern "system" fn GetModuleHandleW(_name: *const u16) -> HANDLE {
    fail(ERROR_MOD_NOT_FOUND, ptr::null_mut())
}

#[unsafe(no_mangle)]
unsafe extern "system" fn NtQueryInformationFile(
    handle: HANDLE,
    _status_block: *mut IO_STATUS_BLOCK,
    information: *mut core::ffi::c_void,
    length: u32,
    class: FILE_INFORMATION_CLASS,
) -> i32 {
    let mut kernel = enter();
    let unbuffered = kernel.behaviour.unbuffered;
    let (is_overlapped, skips, end) = match kernel.resolve(handle.addr()) {
        Some(id) => {
            let object = &kernel.objects[id];
            let end = if let Body::File(file) = &object.body { file.end() } else { 0 };
            (object.is_overlapped, object.skips, end)
        }
        None if kernel.is_ordinary_file(handle.addr()) => (false, false, 0),
        None => return STATUS_INVALID_HANDLE,
    };
    let synchronous = if is_overlapped { 0 } else { FILE_SYNCHRONOUS_IO_NONALERT };
    let unbuffered = if unbuffered { FILE_NO_INTERMEDIATE_BUFFERING } else { 0 };
    // SAFETY: The caller gives room for the structure of the class.
    unsafe {
        if class == FileModeInformation {
            let mode = FILE_MODE_INFORMATION { Mode: synchronous | unbuffered };
            answer(information, length, mode);
        } else if class == FileStandardInformation {
            let size = FILE_STANDARD_INFORMATION { EndOfFile: end, ..Default::default() };
            answer(information, length, size);
        } else {
            assert_eq!(class, FileIoCompletionNotificationInformation);
            // FILE_IO_COMPLETION_NOTIFICATION_INFORMATION is a ULONG of flags.
            answer(information, length, u32::from(skips));
        }
    }
    0
}

/// # Safety
///
/// The caller gives room for so many bytes.
unsafe fn answer<T>(information: *mut core::ffi::c_void, length: u32, value: T) {
    assert_eq!(length as usize, size_of::<T>());
    // SAFETY: By the caller's promise.
    unsafe { information.cast::<T>().write(value) };
}

#[unsafe(no_mangle)]
extern "system" fn SetFileCompletionNotificationModes(handle: HANDLE, flags: u8) -> i32 {
    const SKIP_COMPLETION_PORT_ON_SUCCESS: u8 = 1;
    let mut kernel = enter();
    let answer = match kernel.resolve(handle.addr()) {
        None => Err(ERROR_INVALID_HANDLE),
        Some(id) => {
            let object = &mut kernel.objects[id];
            if object.is_overlapped {
                object.skips |= flags & SKIP_COMPLETION_PORT_ON_SUCCESS != 0;
                Ok(())
            } else {
                Err(ERROR_INVALID_PARAMETER)
            }
        }
    };
    drop(kernel);
    truth(answer)
}
