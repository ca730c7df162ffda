//! Files and directories: opening them for overlapped I/O, and giving locks back.
//!
//! ```
//! use completion_port::fs::OpenOverlapped;
//! use completion_port::{Iocp, op};
//! use std::fs::OpenOptions;
//!
//! # let path = std::env::temp_dir().join(format!("completion-port-fs-{}", std::process::id()));
//! let port = Iocp::new()?;
//! let file = OpenOptions::new().read(true).write(true).create(true).open_overlapped(&path)?;
//! let file = port.add_handle(file, 1)?;
//! port.initiate(&file, 2, op::Write::new("hello").at(0))?;
//! port.get_completion()?.error_status?;
//! # drop(file);
//! # std::fs::remove_file(path)?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::{File, OpenOptions};
use std::io;
use std::os::windows::fs::OpenOptionsExt;
use std::os::windows::io::AsRawHandle;
use std::path::Path;

use windows_sys::Win32::Storage::FileSystem::{
    FILE_FLAG_BACKUP_SEMANTICS, FILE_FLAG_OVERLAPPED, FILE_LIST_DIRECTORY, FILE_SHARE_DELETE,
    FILE_SHARE_READ, FILE_SHARE_WRITE,
};

use crate::error::Result;
use crate::handle::Associated;
use crate::op::on::{self, Supports};
use crate::sys::{self, Handle};

/// Opening a file for overlapped I/O, with the standard library's [`OpenOptions`].
///
/// The standard library's own reads and writes do not work on such a file.
pub trait OpenOverlapped {
    /// Opens a file for overlapped I/O. Otherwise as [`OpenOptions::open`].
    ///
    /// Other [custom flags](OpenOptionsExt::custom_flags) are lost, because the
    /// standard library does not tell which were set: pass them to
    /// [`open_overlapped_with`](Self::open_overlapped_with).
    ///
    /// # Errors
    ///
    /// As for [`OpenOptions::open`].
    fn open_overlapped(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_overlapped_with(path, 0)
    }

    /// The same with more flags of `CreateFileW`, such as `FILE_FLAG_NO_BUFFERING`
    /// (`0x2000_0000`), whose buffers can be [`Pages`](crate::Pages).
    ///
    /// # Errors
    ///
    /// As for [`OpenOptions::open`].
    fn open_overlapped_with(&self, path: impl AsRef<Path>, flags: u32) -> io::Result<File>;
}

impl OpenOverlapped for OpenOptions {
    fn open_overlapped_with(&self, path: impl AsRef<Path>, flags: u32) -> io::Result<File> {
        self.clone().custom_flags(flags | FILE_FLAG_OVERLAPPED).open(path)
    }
}

/// Opens a directory, to be watched by
/// [`op::WatchDirectory`](crate::op::WatchDirectory).
///
/// Meanwhile others can create, rename and delete all that is in it, and the directory
/// itself; directories that it is in cannot be renamed.
///
/// # Errors
///
/// `NotADirectory` if it is a file, and as for [`OpenOptions::open`].
pub fn open_directory(path: impl AsRef<Path>) -> io::Result<File> {
    let directory = OpenOptions::new()
        .access_mode(FILE_LIST_DIRECTORY)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE | FILE_SHARE_DELETE)
        .open_overlapped_with(path, FILE_FLAG_BACKUP_SEMANTICS)?;
    if !directory.metadata()?.is_dir() {
        return Err(io::ErrorKind::NotADirectory.into());
    }
    Ok(directory)
}

/// Gives a lock back that [`op::Lock`](crate::op::Lock) has got, for this range and no
/// other.
///
/// It does not wait, and needs no completion.
///
/// # Errors
///
/// [`NotFound`](crate::ErrorKind::NotFound) if this handle has no lock of just this range.
pub fn unlock<H, M>(file: &Associated<H, M>, offset: u64, length: u64) -> Result<()>
where
    H: Supports<on::File> + AsRawHandle,
{
    sys::unlock_file(Handle(file.as_raw_handle().addr()), offset, length)
}
