//! Memory that belongs to the kernel until a packet gives it back.

use std::fmt;
use std::mem::offset_of;
use std::net::SocketAddr;
use std::ptr;

use windows_sys::Win32::Networking::WinSock as ws;
use windows_sys::Win32::System::IO::OVERLAPPED;

/// An `OVERLAPPED` that the kernel may write until the operation's packet is
/// dequeued. Not `Copy`: one call, one `OVERLAPPED`.
#[derive(Debug)]
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

    #[inline(always)]
    pub fn into_raw(self) -> *mut OVERLAPPED {
        self.0
    }
}

/// The proof that a value is at its final place: it is neither moved, borrowed mutably nor
/// dropped before the operation that it is [lent](crate::op::Lend) to is over.
#[derive(Debug)]
pub struct InPlace(());

/// The number of bytes that an operation has put into its memory.
#[derive(Debug)]
pub struct Transferred(usize);

/// Memory that the kernel may read for as long as the operation is in flight.
#[derive(Debug)]
#[repr(C)] // as a `WSABUF`
pub struct Region {
    length: u32,
    start: *const u8,
}

/// Memory that the kernel may read and write for as long as the operation is in
/// flight.
#[derive(Debug)]
#[repr(C)] // as a `WSABUF`
pub struct RegionMut {
    length: u32,
    start: *mut u8,
}

const _: () = {
    assert!(size_of::<Region>() == size_of::<ws::WSABUF>());
    assert!(offset_of!(Region, length) == offset_of!(ws::WSABUF, len));
    assert!(offset_of!(Region, start) == offset_of!(ws::WSABUF, buf));
    assert!(size_of::<RegionMut>() == size_of::<ws::WSABUF>());
    assert!(offset_of!(RegionMut, length) == offset_of!(ws::WSABUF, len));
    assert!(offset_of!(RegionMut, start) == offset_of!(ws::WSABUF, buf));
};

/// So much of a length as one operation can transfer. The kernel's lengths are 32 bits
/// wide, so longer ones are cut: the operation then transfers less than was asked for,
/// as every operation may.
#[inline]
pub(crate) fn cut(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl InPlace {
    /// # Safety
    ///
    /// As the type says, of the one value that it is passed to.
    #[inline(always)]
    pub(crate) unsafe fn new() -> Self {
        Self(())
    }

    /// Makes a region of the value's memory, which may be read from any thread, and which
    /// nobody writes to.
    #[inline(always)]
    #[must_use]
    pub fn region(&self, start: *const u8, length: usize) -> Region {
        Region { start, length: cut(length) }
    }

    /// Makes a region of the value's memory, which may be written from any thread, and which
    /// nobody else reads or writes.
    #[inline(always)]
    #[must_use]
    pub fn region_mut(&self, start: *mut u8, length: usize) -> RegionMut {
        RegionMut { start, length: cut(length) }
    }

    /// No memory.
    pub(crate) fn nothing() -> RegionMut {
        RegionMut { start: ptr::null_mut(), length: 0 }
    }

    /// The same for an address.
    #[inline(always)]
    pub(crate) fn address(&self, address: *mut SocketAddress) -> AddressRegion {
        let Self(()) = self;
        AddressRegion(address)
    }
}

impl Transferred {
    /// # Safety
    ///
    /// An operation has put so many bytes into the memory that it is passed to, one
    /// part after the other.
    #[inline(always)]
    pub(crate) unsafe fn new(bytes: u32) -> Self {
        Self(bytes as usize)
    }

    /// Returns how many bytes are in a part of the memory with this much `room`, and those
    /// that are in the parts behind it.
    #[inline(always)]
    #[must_use]
    pub fn split(self, room: usize) -> (usize, Self) {
        // A broken layered provider may report more than was asked for.
        let bytes = self.0.min(room);
        (bytes, Self(self.0 - bytes))
    }
}

impl Region {
    /// Returns the address of its start.
    #[inline]
    #[must_use]
    pub fn start(&self) -> *const u8 {
        self.start
    }

    /// Returns its length in bytes.
    #[inline]
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }
}

impl RegionMut {
    /// Returns the address of its start.
    #[inline]
    #[must_use]
    pub fn start(&self) -> *mut u8 {
        self.start
    }

    /// Returns its length in bytes.
    #[inline]
    #[must_use]
    pub fn length(&self) -> u32 {
        self.length
    }
}

/// Room for a socket address, and for its length.
#[derive(Clone)]
#[repr(C)]
pub(crate) struct SocketAddress {
    storage: ws::SOCKADDR_IN6,
    length: i32,
}

impl Default for SocketAddress {
    fn default() -> Self {
        Self { storage: ws::SOCKADDR_IN6::default(), length: size_of::<ws::SOCKADDR_IN6>() as i32 }
    }
}

impl SocketAddress {
    pub fn get(&self) -> Option<SocketAddr> {
        super::socket::address_of(&self.storage)
    }
}

impl fmt::Debug for SocketAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Room for a socket address, and for its length, that the kernel may write for as
/// long as the operation is in flight.
#[derive(Debug)]
pub struct AddressRegion(*mut SocketAddress);

impl AddressRegion {
    /// Returns a `SOCKADDR` with room for an IPv6 address, and the `int` of its length.
    #[must_use]
    pub fn into_raw(self) -> (*mut u8, *mut i32) {
        // SAFETY: Projections within the value, which is there.
        unsafe { ((&raw mut (*self.0).storage).cast(), &raw mut (*self.0).length) }
    }
}
