//! Memory that belongs to the kernel until a packet gives it back.

use windows_sys::Win32::System::IO::OVERLAPPED;

/// An `OVERLAPPED` that the kernel may write until the operation's packet is
/// dequeued. Not `Copy`: one call, one `OVERLAPPED`.
pub(crate) struct LentOverlapped(*mut OVERLAPPED);

impl LentOverlapped {
    /// # Safety
    ///
    /// The `OVERLAPPED` is initialised, stays where it is, and nobody forms a
    /// reference to it until its packet has been dequeued or the call has
    /// answered that no packet will come.
    pub unsafe fn new(overlapped: *mut OVERLAPPED) -> Self {
        Self(overlapped)
    }

    pub(super) fn into_raw(self) -> *mut OVERLAPPED {
        self.0
    }
}

/// A stretch of memory that the kernel may read or write for as long as the
/// [`LentOverlapped`] that it is passed with.
pub(crate) struct LentRegion {
    start: *mut u8,
    length: u32,
}

impl LentRegion {
    /// Lengths over `u32::MAX` are cut to that, because the kernel's are 32
    /// bits wide; the operation then transfers less than was asked for, which
    /// every operation may.
    ///
    /// # Safety
    ///
    /// The region is valid for what the call does with it, reads or writes,
    /// and nobody else touches it (for a call that only reads: writes to it),
    /// until the packet has been dequeued or the call has answered that no
    /// packet will come.
    pub unsafe fn new(start: *mut u8, length: usize) -> Self {
        Self { start, length: Self::cut(length) }
    }

    /// So much of a length as one operation can transfer.
    pub fn cut(length: usize) -> u32 {
        u32::try_from(length).unwrap_or(u32::MAX)
    }

    pub(super) fn start(&self) -> *mut u8 {
        self.start
    }

    pub fn length(&self) -> u32 {
        self.length
    }
}
