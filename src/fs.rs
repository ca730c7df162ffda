//! Files and directories: opening them for overlapped I/O, going through them in order, and
//! giving locks back.
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

use crate::buffer::{IoBuf, IoBufMut};
use crate::error::Result;
use crate::handle::Associated;
use crate::op;
use crate::op::on::{self, Supports};
use crate::sys::{self, Handle};

/// Opens files for overlapped I/O by the standard library's [`OpenOptions`].
///
/// The standard library's own reads and writes do not work on such a file.
pub trait OpenOverlapped {
    /// Opens a file for overlapped I/O, like [`OpenOptions::open`].
    ///
    /// Other [custom flags](OpenOptionsExt::custom_flags) are lost, because the
    /// standard library does not tell which were set: pass them to
    /// [`open_overlapped_with`](Self::open_overlapped_with).
    ///
    /// # Errors
    ///
    /// Those of [`OpenOptions::open`].
    fn open_overlapped(&self, path: impl AsRef<Path>) -> io::Result<File> {
        self.open_overlapped_with(path, 0)
    }

    /// Opens a file for overlapped I/O with more flags of `CreateFileW`, such as
    /// `FILE_FLAG_NO_BUFFERING` (`0x2000_0000`), whose buffers can be
    /// [`Pages`](crate::Pages).
    ///
    /// # Errors
    ///
    /// Those of [`OpenOptions::open`].
    fn open_overlapped_with(&self, path: impl AsRef<Path>, flags: u32) -> io::Result<File>;
}

impl OpenOverlapped for OpenOptions {
    fn open_overlapped_with(&self, path: impl AsRef<Path>, flags: u32) -> io::Result<File> {
        self.clone().custom_flags(flags | FILE_FLAG_OVERLAPPED).open(path)
    }
}

/// Opens a directory for [`op::WatchDirectory`].
///
/// Meanwhile others can create, rename and delete all that is in it, and the directory
/// itself; directories that it is in cannot be renamed.
///
/// # Errors
///
/// `NotADirectory` if it is a file, and those of [`OpenOptions::open`].
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

/// Releases a lock that [`op::Lock`] has acquired, of exactly this range.
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

/// Goes through a file in order: keeps where the next read or write starts.
///
/// The file has no position of its own, and several cursors can go through one file, or
/// none. A cursor starts nothing itself: it makes operations, and is told how far they came.
/// Start one at a time, since nobody knows before where the next one begins.
///
/// At the end of the file, a read transfers 0 bytes, and leaves the cursor where it is: if
/// the file grows, the next read goes on.
///
/// ```
/// use completion_port::Iocp;
/// use completion_port::fs::{Cursor, OpenOverlapped};
/// use std::fs::OpenOptions;
///
/// # let path = std::env::temp_dir().join(format!("completion-port-cursor-{}", std::process::id()));
/// # std::fs::write(&path, "one line\nand another\n")?;
/// let port: Iocp<()> = Iocp::builder().build()?;
/// let file = port.add_handle(OpenOptions::new().read(true).open_overlapped(&path)?, 1)?;
/// let (mut cursor, mut contents) = (Cursor::new(), Vec::new());
/// port.block_on(async {
///     loop {
///         let read = cursor.read(Vec::with_capacity(8));
///         let (bytes, buffer) = port.initiate(&file, (), read)?.await?;
///         if bytes == 0 {
///             break Ok::<(), std::io::Error>(());
///         }
///         cursor.advance(bytes);
///         contents.extend(buffer);
///     }
/// })??;
/// assert_eq!(contents, b"one line\nand another\n");
/// assert_eq!(cursor.position(), 21);
/// # drop(file);
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cursor {
    position: u64,
}

impl Cursor {
    /// At the start of a file.
    #[must_use]
    pub const fn new() -> Self {
        Self { position: 0 }
    }

    /// At `position`, in bytes. The largest offset in a file is [`i64::MAX`], and stands for
    /// all that are greater.
    #[must_use]
    pub const fn at(position: u64) -> Self {
        // Greater ones have meanings of their own.
        const LARGEST: u64 = i64::MAX as u64;
        Self { position: if position < LARGEST { position } else { LARGEST } }
    }

    /// Where the next operation starts, in bytes.
    #[must_use]
    pub const fn position(&self) -> u64 {
        self.position
    }

    /// Moves by what an operation has transferred:
    /// [`bytes_transferred`](crate::CompletionStatus::bytes_transferred), 0 of one that has
    /// failed.
    pub const fn advance(&mut self, bytes: u32) {
        *self = Self::at(self.position.saturating_add(bytes as u64));
    }

    /// A read from here on. Its buffer need not be filled, even before the end of the file.
    pub fn read<B: IoBufMut>(&self, buffer: B) -> op::Read<B> {
        op::Read::new(buffer).at(self.position)
    }

    /// A write from here on.
    pub fn write<B: IoBuf>(&self, buffer: B) -> op::Write<B> {
        op::Write::new(buffer).at(self.position)
    }
}
