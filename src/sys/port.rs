//! The port itself: create, associate, post, dequeue, cancel, close.

use std::mem::{self, MaybeUninit};
use std::os::windows::io::BorrowedHandle;
use std::ptr;

use windows_sys::Win32::Foundation::{CloseHandle, ERROR_NOT_FOUND, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::IO::{
    CancelIoEx, CreateIoCompletionPort, GetQueuedCompletionStatus, GetQueuedCompletionStatusEx,
    OVERLAPPED, OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};

use super::Handle;
use crate::error::{Error, Facts, ForeignPacket, Result};

/// The time-out that never ends.
pub(crate) const INFINITE: u32 = u32::MAX;

/// An owned port handle, closed when dropped.
#[derive(Debug)]
pub(crate) struct Port(Handle);

/// A packet that was dequeued. None of its values is trusted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    /// The address that it carries, which need not be one.
    pub overlapped: usize,
    pub key: usize,
    pub bytes: u32,
}

impl From<Packet> for ForeignPacket {
    fn from(Packet { overlapped, key, bytes }: Packet) -> Self {
        Self { completion_key: key, bytes_transferred: bytes, overlapped }
    }
}

impl Packet {
    /// One with this address, as it is posted.
    pub fn posted(overlapped: usize) -> Self {
        Self { overlapped, key: 0, bytes: 0 }
    }
}

/// Where the system puts a packet that it dequeues, if it dequeues one.
pub(crate) struct RawDequeue {
    overlapped: *mut OVERLAPPED,
    key: MaybeUninit<usize>,
    bytes: MaybeUninit<u32>,
}

impl Port {
    /// `concurrency` 0 means one running thread per processor.
    pub fn create(concurrency: u32) -> Result<Self> {
        // SAFETY: Creates a port that is associated with nothing.
        let port = unsafe {
            CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, concurrency)
        };
        if port.is_null() {
            return Err(last_error(Facts::CreateIoCompletionPort));
        }
        Ok(Self(Handle(port.addr())))
    }

    pub fn handle(&self) -> Handle {
        self.0
    }

    pub fn as_handle(&self) -> BorrowedHandle<'_> {
        // SAFETY: The handle is open until `self` is dropped.
        unsafe { BorrowedHandle::borrow_raw(self.0.raw()) }
    }

    /// Sends the packets of `handle`'s file object to this port, with `key`,
    /// from now until the object is gone.
    pub fn associate(&self, handle: Handle, key: usize) -> Result<(), u32> {
        // SAFETY: Writes no memory of this process; handles are checked.
        let port = unsafe { CreateIoCompletionPort(handle.raw(), self.0.raw(), key, 0) };
        if port.is_null() {
            return Err(super::last_error());
        }
        Ok(())
    }

    /// Queues a packet. Its values are not followed by the kernel.
    #[inline]
    pub fn post(&self, key: usize, bytes: u32, overlapped: usize) -> Result<()> {
        post(self.0, key, bytes, overlapped)
    }

    /// Waits for a packet and takes it off the queue.
    #[inline]
    pub fn dequeue(&self, milliseconds: u32) -> Result<Packet> {
        let mut landing = RawDequeue::empty();
        let succeeded = self.dequeue_to(&mut landing, milliseconds);
        landing.check(succeeded)
    }

    /// The same to where nothing is yet, and not [checked](RawDequeue::check).
    /// Returns whether the call has succeeded.
    #[inline(always)]
    pub fn dequeue_to(&self, landing: &mut RawDequeue, milliseconds: u32) -> bool {
        // SAFETY: The three out-parameters are of the right types.
        let succeeded = unsafe {
            GetQueuedCompletionStatus(
                self.0.raw(),
                landing.bytes.as_mut_ptr(),
                landing.key.as_mut_ptr(),
                &raw mut landing.overlapped,
                milliseconds,
            )
        };
        succeeded != 0
    }

    /// Waits for at least one packet and takes as many as there are and fit. If it is
    /// `alertable`, procedure calls that are queued for this thread end the wait, if there is
    /// one: "If there are no available entries, the function performs an alertable wait"
    /// (<https://learn.microsoft.com/windows/win32/fileio/getqueuedcompletionstatusex-func>).
    #[inline]
    pub fn dequeue_batch(
        &self,
        entries: &mut [Entry],
        milliseconds: u32,
        alertable: bool,
    ) -> Result<usize> {
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let mut removed = 0;
        // SAFETY: `Entry` is a transparent OVERLAPPED_ENTRY, and `count` of
        // them are writable. What calls are made in an alertable wait is their code's own.
        let succeeded = unsafe {
            GetQueuedCompletionStatusEx(
                self.0.raw(),
                entries.as_mut_ptr().cast(),
                count,
                &raw mut removed,
                milliseconds,
                i32::from(alertable && milliseconds != 0),
            )
        };
        if succeeded == 0 {
            return Err(last_error(Facts::GetQueuedCompletionStatusEx));
        }
        Ok(removed as usize)
    }
}

impl RawDequeue {
    /// Not a constant, which would be copied with all that is not in it.
    #[inline]
    pub fn empty() -> Self {
        Self {
            overlapped: ptr::null_mut(),
            key: MaybeUninit::uninit(),
            bytes: MaybeUninit::uninit(),
        }
    }

    /// The address that the packet carries; 0 also if there is none.
    #[inline]
    pub fn overlapped(&self) -> usize {
        self.overlapped.addr()
    }

    /// The packet.
    ///
    /// # Safety
    ///
    /// A packet was dequeued to here.
    #[inline]
    pub unsafe fn packet(&self) -> Packet {
        // SAFETY: The system has written all three.
        let (key, bytes) = unsafe { (self.key.assume_init(), self.bytes.assume_init()) };
        Packet { overlapped: self.overlapped(), key, bytes }
    }

    /// The packet, if one was dequeued; why not otherwise. At once after the
    /// call.
    ///
    /// "If the function dequeues a completion packet for a failed I/O
    /// operation, [it] returns zero and lpOverlapped is non-NULL"
    /// (<https://learn.microsoft.com/windows/win32/api/ioapiset/nf-ioapiset-getqueuedcompletionstatus>).
    /// A posted packet may have a null pointer, then with a non-zero return.
    #[inline]
    pub fn check(&self, succeeded: bool) -> Result<Packet> {
        if !succeeded && self.overlapped.is_null() {
            return Err(last_error(Facts::GetQueuedCompletionStatus));
        }
        // SAFETY: The call says so.
        Ok(unsafe { self.packet() })
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        // SAFETY: The handle is ours, and this is its last use.
        unsafe { CloseHandle(self.0.raw()) };
    }
}

/// One slot of a batch. The system puts a packet into it; whoever looks at that
/// may put down what it has found out.
#[repr(transparent)]
pub(crate) struct Entry(OVERLAPPED_ENTRY);

// SAFETY: The pointer inside is only ever read as an address, or as whoever has
// put it there says.
unsafe impl Send for Entry {}
// SAFETY: A shared entry is plain data.
unsafe impl Sync for Entry {}

impl Entry {
    pub const EMPTY: Self = Self(OVERLAPPED_ENTRY {
        lpCompletionKey: 0,
        lpOverlapped: ptr::null_mut(),
        Internal: 0,
        dwNumberOfBytesTransferred: 0,
    });

    #[inline]
    pub fn packet(&self) -> Packet {
        // `Internal` is "reserved", and not read.
        Packet {
            overlapped: self.0.lpOverlapped.addr(),
            key: self.0.lpCompletionKey,
            bytes: self.0.dwNumberOfBytesTransferred,
        }
    }

    /// Puts down another pointer, and the result of an operation.
    #[inline]
    pub fn note(&mut self, overlapped: *mut OVERLAPPED, status: u32, bytes: u32) {
        self.0.lpOverlapped = overlapped;
        self.0.dwNumberOfBytesTransferred = bytes;
        self.store_status(status);
    }

    #[inline]
    pub fn store_status(&mut self, status: u32) {
        self.0.Internal = status as usize;
    }

    /// The status that was put down.
    #[inline]
    pub fn status(&self) -> u32 {
        self.0.Internal as u32
    }

    /// The pointer that the packet came with, or that was put down.
    #[inline]
    pub fn overlapped(&self) -> *mut OVERLAPPED {
        self.0.lpOverlapped
    }
}

/// [`Port::post`], to a port by its handle.
#[inline]
pub(crate) fn post(port: Handle, key: usize, bytes: u32, overlapped: usize) -> Result<()> {
    let overlapped = ptr::without_provenance(overlapped);
    // SAFETY: "The system does not use or validate these values"
    // (https://learn.microsoft.com/windows/win32/fileio/postqueuedcompletionstatus).
    let posted = unsafe { PostQueuedCompletionStatus(port.raw(), bytes, key, overlapped) };
    if posted == 0 {
        return Err(last_error(Facts::PostQueuedCompletionStatus));
    }
    Ok(())
}

/// Asks for one operation of `handle` to be cancelled; `false` if it is not,
/// or no longer, in flight on this handle.
#[inline]
pub(crate) fn cancel(handle: Handle, overlapped: usize) -> Result<bool> {
    // SAFETY: The pointer is compared with those of the operations in flight,
    // not followed.
    let asked = unsafe { CancelIoEx(handle.raw(), ptr::without_provenance(overlapped)) };
    if asked != 0 { Ok(true) } else { nothing_cancelled() }
}

/// Asks for all operations of `handle`'s file object that this process started
/// to be cancelled; `false` if there are none.
pub(crate) fn cancel_all(handle: Handle) -> Result<bool> {
    // SAFETY: Writes no memory; the handle is checked.
    let asked = unsafe { CancelIoEx(handle.raw(), ptr::null()) };
    if asked != 0 { Ok(true) } else { nothing_cancelled() }
}

#[cold]
fn nothing_cancelled() -> Result<bool> {
    // "If this function cannot find a request to cancel, the return value is 0
    // (zero), and GetLastError returns ERROR_NOT_FOUND"
    // (https://learn.microsoft.com/windows/win32/fileio/cancelioex-func).
    match super::last_error() {
        ERROR_NOT_FOUND => Ok(false),
        code => Err(Error::os(Facts::CancelIoEx, code)),
    }
}

/// The status of the calling thread's last call that the system has failed, if
/// it was one that notes it, as those that read and write files do.
pub(crate) fn last_status() -> u32 {
    // Not in windows-sys.
    #[link(name = "ntdll")]
    // SAFETY: As <https://learn.microsoft.com/windows/win32/api/winternl> lists its
    // like: it reads the thread's own block.
    unsafe extern "system" {
        safe fn RtlGetLastNtStatus() -> i32;
    }
    RtlGetLastNtStatus() as u32
}

#[cold]
fn last_error(facts: &'static Facts) -> Error {
    Error::os(facts, super::last_error())
}

const _: () = assert!(mem::size_of::<Entry>() == mem::size_of::<OVERLAPPED_ENTRY>());
