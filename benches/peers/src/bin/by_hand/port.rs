//! A completion port.

use std::io;
use std::ptr;

use peers::BATCH;
use windows_sys::Win32::Foundation::{CloseHandle, HANDLE, INVALID_HANDLE_VALUE, WAIT_TIMEOUT};
use windows_sys::Win32::Storage::FileSystem::SetFileCompletionNotificationModes;
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatus, GetQueuedCompletionStatusEx,
    OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};
use windows_sys::Win32::System::Threading::INFINITE;
use windows_sys::Win32::System::WindowsProgramming::FILE_SKIP_COMPLETION_PORT_ON_SUCCESS;

pub struct Port(HANDLE);

// SAFETY: A handle is a number, and the port is made for several threads.
unsafe impl Sync for Port {}

pub type Entries = [OVERLAPPED_ENTRY; BATCH];

pub fn entries() -> Entries {
    [OVERLAPPED_ENTRY::default(); BATCH]
}

impl Port {
    pub fn new() -> io::Result<Self> {
        Self::with_concurrency(1)
    }

    pub fn with_concurrency(threads: u32) -> io::Result<Self> {
        let none = ptr::null_mut();
        // SAFETY: Makes a new port.
        let port = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, none, 0, threads) };
        if port.is_null() { Err(io::Error::last_os_error()) } else { Ok(Self(port)) }
    }

    /// Associates a handle, which skips the port from here on when an
    /// operation succeeds at once.
    pub fn associate(&self, handle: HANDLE) -> io::Result<()> {
        self.associate_queued(handle)?;
        let mode = FILE_SKIP_COMPLETION_PORT_ON_SUCCESS as u8;
        // SAFETY: Follows no pointer.
        check(unsafe { SetFileCompletionNotificationModes(handle, mode) })
    }

    /// Associates a handle, all of whose completions come through the port.
    pub fn associate_queued(&self, handle: HANDLE) -> io::Result<()> {
        // SAFETY: Follows no pointer.
        let port = unsafe { CreateIoCompletionPort(handle, self.0, 0, 0) };
        check(i32::from(!port.is_null()))
    }

    /// Queues a packet without an operation.
    pub fn post(&self) -> io::Result<()> {
        // SAFETY: Nobody follows the pointer, which is null.
        check(unsafe { PostQueuedCompletionStatus(self.0, 0, 0, ptr::null()) })
    }

    /// Takes such a packet.
    pub fn dequeue_one(&self) -> io::Result<()> {
        let (mut bytes, mut key, mut overlapped) = (0, 0, ptr::null_mut());
        let (bytes, key) = (&raw mut bytes, &raw mut key);
        // SAFETY: The out-parameters are locals.
        check(unsafe {
            GetQueuedCompletionStatus(self.0, bytes, key, &raw mut overlapped, INFINITE)
        })
    }

    /// Takes what is there; waits for something if `wait`.
    pub fn dequeue<'a>(
        &self,
        entries: &'a mut Entries,
        wait: bool,
    ) -> io::Result<&'a [OVERLAPPED_ENTRY]> {
        let timeout = if wait { INFINITE } else { 0 };
        let mut count = 0;
        let (first, room) = (entries.as_mut_ptr(), BATCH as u32);
        // SAFETY: There is room for so many entries.
        let dequeued =
            unsafe { GetQueuedCompletionStatusEx(self.0, first, room, &raw mut count, timeout, 0) };
        match check(dequeued) {
            Ok(()) => Ok(&entries[..count as usize]),
            Err(error) if error.raw_os_error() == Some(WAIT_TIMEOUT as i32) => Ok(&[]),
            Err(error) => Err(error),
        }
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // SAFETY: The handle is ours, and nobody uses it any more.
        unsafe { CloseHandle(self.0) };
    }
}

fn check(result: i32) -> io::Result<()> {
    if result == 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
