//! Creating and opening by name.

use std::sync::{Mutex, PoisonError};

/// How an instance of a named pipe was created, or refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    pub name: String,
    pub access: u32,
    pub mode: u32,
}

/// How something was opened, or refused, by the program or by the model itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    pub name: String,
    pub access: u32,
    pub share: u32,
    pub flags: u32,
}

static CREATED: Mutex<Vec<Created>> = Mutex::new(Vec::new());
static OPENED: Mutex<Vec<Opened>> = Mutex::new(Vec::new());

pub fn note_created(pipe: Created) {
    CREATED.lock().unwrap_or_else(PoisonError::into_inner).push(pipe);
}

/// How instances of a named pipe were created, in order.
#[must_use]
pub fn created(name: &str) -> Vec<Created> {
    let created = CREATED.lock().unwrap_or_else(PoisonError::into_inner);
    created.iter().filter(|pipe| pipe.name == name).cloned().collect()
}

/// How a name was opened, in order. Not under Miri, whose `CreateFileW` is its own.
#[must_use]
pub fn opened(name: &str) -> Vec<Opened> {
    let opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    opened.iter().filter(|file| file.name == name).cloned().collect()
}

/// # Safety
///
/// The text ends with a zero.
pub unsafe fn text(start: *const u16) -> String {
    // SAFETY: By the caller's promise.
    unsafe {
        let mut length = 0;
        while *start.add(length) != 0 {
            length += 1;
        }
        String::from_utf16_lossy(std::slice::from_raw_parts(start, length))
    }
}

#[cfg(not(miri))]
mod opening {
    use std::os::windows::io::AsRawHandle;
    use std::path::Path;
    use std::sync::PoisonError;

    use windows_sys::Win32::Foundation::{
        GENERIC_READ, GENERIC_WRITE, HANDLE, INVALID_HANDLE_VALUE,
    };
    use windows_sys::Win32::Security::SECURITY_ATTRIBUTES;
    use windows_sys::Win32::Storage::FileSystem::{
        CREATEFILE2_EXTENDED_PARAMETERS, CreateFile2, FILE_APPEND_DATA, FILE_FLAG_BACKUP_SEMANTICS,
        FILE_FLAG_NO_BUFFERING, FILE_FLAG_OVERLAPPED, FILE_READ_DATA, FILE_WRITE_DATA,
    };

    use super::{OPENED, Opened, text};
    use crate::file::overlap;
    use crate::handle::fail;
    use crate::pipe::open_client;
    use crate::pipe_wait;

    /// The attributes among the flags.
    const ATTRIBUTES: u32 = 0xFFFF;
    /// `SECURITY_VALID_SQOS_FLAGS`.
    const QUALITY: u32 = 0x001F_0000;
    const MODES: u32 = FILE_FLAG_OVERLAPPED | FILE_FLAG_NO_BUFFERING;

    /// Pipes are the model's, and so are files for overlapped I/O; the others are
    /// the system's.
    #[unsafe(no_mangle)]
    unsafe extern "system" fn CreateFileW(
        name: *const u16,
        access: u32,
        share: u32,
        security: *const SECURITY_ATTRIBUTES,
        disposition: u32,
        flags: u32,
        template: HANDLE,
    ) -> HANDLE {
        // SAFETY: The name ends with a zero.
        let path = unsafe { text(name) };
        let opened = Opened { name: path.clone(), access, share, flags };
        OPENED.lock().unwrap_or_else(PoisonError::into_inner).push(opened);
        if path == r"\\.\pipe\" {
            return pipe_wait::open_raw();
        }
        if path.starts_with(r"\\.\pipe\") {
            return open_client(&path).unwrap_or_else(|code| fail(code, INVALID_HANDLE_VALUE));
        }
        let more = CREATEFILE2_EXTENDED_PARAMETERS {
            dwSize: size_of::<CREATEFILE2_EXTENDED_PARAMETERS>() as u32,
            dwFileAttributes: flags & ATTRIBUTES,
            // The handle itself is only a token.
            dwFileFlags: flags & !ATTRIBUTES & !QUALITY & !MODES,
            dwSecurityQosFlags: flags & QUALITY,
            lpSecurityAttributes: security.cast_mut(),
            hTemplateFile: template,
        };
        // SAFETY: As the caller promises.
        let handle = unsafe { CreateFile2(name, access, share, disposition, &raw const more) };
        // Directories are the system's, and not overlapped.
        let is_file = flags & FILE_FLAG_BACKUP_SEMANTICS == 0;
        if handle != INVALID_HANDLE_VALUE && is_file && flags & FILE_FLAG_OVERLAPPED != 0 {
            let may = |rights| access & rights != 0;
            let appends = may(FILE_APPEND_DATA) && !may(GENERIC_WRITE | FILE_WRITE_DATA);
            let reads = may(GENERIC_READ | FILE_READ_DATA);
            let writes = appends || may(GENERIC_WRITE | FILE_WRITE_DATA);
            overlap(&Raw(handle), Path::new(&path), reads, writes, appends).expect("the file");
        }
        handle
    }

    struct Raw(HANDLE);

    impl AsRawHandle for Raw {
        fn as_raw_handle(&self) -> HANDLE {
            self.0
        }
    }
}
